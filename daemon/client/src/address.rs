//! Where a daemon is, and the connection to it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint, Error};

use crate::{ConnectError, Credentials, innermost};

/// The longest that connecting may take.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);

/// `HOST:PORT`, `https://HOST:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// As tonic takes it.
    uri: String,
}

// === impl ServerAddress ===

impl FromStr for ServerAddress {
    type Err = ConnectError;

    fn from_str(text: &str) -> Result<Self, ConnectError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.starts_with('/') {
                return Ok(Self { uri: format!("unix:{path}") });
            }
            let wrong = format!("`{text}` names no absolute path; write unix:/run/edgemux/edgemuxd.sock");
            return Err(ConnectError::Address(wrong));
        }
        let tls = text.strip_prefix("https://").or_else(|| text.strip_prefix("tls:"));
        let bare = tls.or_else(|| text.strip_prefix("http://")).unwrap_or(text).trim_end_matches('/');
        let uri = format!("{}://{bare}", if tls.is_some() { "https" } else { "http" });
        // Nothing besides host and port, and both of them.
        let whole = |to: Endpoint| {
            let authority = to.uri().authority();
            authority.is_some_and(|authority| authority.as_str() == bare && !authority.host().is_empty())
        };
        match bare.rsplit_once(':').map(|(_, port)| port.parse::<u16>()) {
            Some(Ok(1..)) if Endpoint::from_shared(uri.clone()).is_ok_and(whole) => Ok(Self { uri }),
            _ => Err(ConnectError::Address(format!(
                "`{text}` is neither HOST:PORT (127.0.0.1:8001) nor https://HOST:PORT nor unix:PATH"
            ))),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.strip_prefix("http://").unwrap_or(&self.uri))
    }
}

impl ServerAddress {
    /// Is what listens there on the machine that asks?
    #[must_use]
    pub fn is_this_machine(&self) -> bool {
        let Some((_, address)) = self.uri.split_once("://") else { return true };
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// How to connect, with the certificates as they are now. Each program is known by its `user_agent`, and adds what it
    /// needs besides.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], if the certificates cannot be used.
    pub fn endpoint(
        &self,
        credentials: &Credentials,
        user_agent: &'static str,
    ) -> Result<Endpoint, ConnectError> {
        let endpoint = Endpoint::from_shared(self.uri.clone())
            .and_then(|endpoint| endpoint.user_agent(user_agent))
            .map_err(|error| self.failed(&error))?
            .connect_timeout(CONNECT_MAX);
        if !self.is_tls() {
            return Ok(endpoint);
        }
        endpoint.tls_config(credentials.tls()?).map_err(|error| self.failed(&error))
    }

    /// Connects by what [`Self::endpoint`] has given.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], after [`CONNECT_MAX`] at the latest.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, ConnectError> {
        // Neither a unix socket nor a handshake has a time-out of its own: one who says nothing would hold us.
        match tokio::time::timeout(CONNECT_MAX, endpoint.connect()).await {
            Ok(connected) => connected.map_err(|error| self.failed(&error)),
            Err(_) => Err(self.without(format!("no connection within {} s", CONNECT_MAX.as_secs()))),
        }
    }

    fn is_tls(&self) -> bool {
        self.uri.starts_with("https:")
    }

    fn failed(&self, error: &Error) -> ConnectError {
        self.without(innermost(error))
    }

    fn without(&self, cause: String) -> ConnectError {
        let server = self.clone();
        if self.is_tls() {
            ConnectError::Tls { server, cause }
        } else {
            ConnectError::Unreached { server, cause }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_sockets_are_this_machine() {
        let here = |text: &str| text.parse::<ServerAddress>().unwrap().is_this_machine();
        for text in
            ["127.0.0.1:8001", "https://127.1.2.3:1", "[::1]:8001", "localhost:8001", "unix:/run/e.sock"]
        {
            assert!(here(text), "{text}");
        }
        for text in ["edge-7:8001", "10.0.0.1:8001", "[fe80::1]:8001", "localhost.example:1"] {
            assert!(!here(text), "{text}");
        }
    }

    #[test]
    fn addresses_are_host_and_port_or_a_socket() {
        for (text, shown) in [
            ("127.0.0.1:8001", "127.0.0.1:8001"),
            ("[::1]:8001", "[::1]:8001"),
            ("http://edge-7:8001/", "edge-7:8001"),
            ("https://edge-7:8443", "https://edge-7:8443"),
            ("tls:edge-7:8443", "https://edge-7:8443"),
            ("unix:/run/e.sock", "unix:/run/e.sock"),
            ("unix:///run/e.sock", "unix:/run/e.sock"),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "8001",
            "host",
            "host:",
            ":8001",
            "host:0",
            "host:99999",
            "a b:1",
            "::1:8001",
            "http://:x",
            "http://h:1/x",
            "h?x:1",
            "h#x:1",
            "ftp://h:1",
            "unix:",
            "unix:e.sock",
        ] {
            let error = text.parse::<ServerAddress>().expect_err(text).to_string();
            assert!(error.starts_with(&format!("`{text}` ")), "{error}");
        }
    }

    async fn refused(server: &str) -> String {
        let server: ServerAddress = server.parse().unwrap();
        let endpoint = server.endpoint(&Credentials::default(), "test").unwrap();
        server.connect(&endpoint).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_named() {
        let error = refused("unix:/nowhere/edgemuxd.sock").await;
        assert!(error.starts_with("no edgemuxd at unix:/nowhere/edgemuxd.sock (No such file"), "{error}");
        assert!(error.contains("edgemuxd --listen unix:/nowhere/edgemuxd.sock"), "{error}");
    }
}
