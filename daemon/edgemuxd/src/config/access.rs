//! Who may call: tenants and how they are known, and the certificates that the daemon shows.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, range, within};

/// The SHA-256 of a bearer token. What is kept is no secret: a token that is random and long is not found from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct TokenDigest(pub [u8; 32]);

impl TryFrom<String> for TokenDigest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            "a token is given by its SHA-256, 64 hexadecimal digits: printf %s TOKEN | sha256sum".to_owned()
        };
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(digest))
    }
}

/// Somebody who may call, how they are known, and how much of the node they may use.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tenant {
    /// Its name: letters, digits, `.`, `_`, `-`; at most 64.
    pub name: String,
    /// Whether it may do everything, to every session.
    #[serde(default)]
    pub admin: bool,
    /// The models that are its own: names, or beginnings of names that end in `*`. Of others it sees nothing.
    #[serde(default)]
    pub models: Vec<String>,
    /// Processes of these users are this tenant, on unix sockets.
    #[serde(default)]
    pub uids: Vec<u32>,
    /// So are those of these groups.
    #[serde(default)]
    pub gids: Vec<u32>,
    /// So is who sends one of these tokens.
    #[serde(default)]
    pub token_sha256: Vec<TokenDigest>,
    /// So is who shows a certificate with one of these DNS names, signed by `tls.client-ca`.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// Most sessions and reservations of its models at a time; 1 to 10,000. No limit by default.
    #[serde(default)]
    pub sessions: Option<usize>,
    /// Most of its requests under way at a time; 1 to 1,000,000. No limit by default.
    #[serde(default)]
    pub requests: Option<usize>,
}

impl Tenant {
    pub(super) fn check(&self, at: usize) -> Result<(), ConfigError> {
        let key = |field: &str| format!("tenant[{at}].{field}");
        if !crate::repository::is_name(&self.name) {
            return range(&key("name"), &self.name, "1 to 64 letters, digits, '.', '_' or '-'");
        }
        if self.models.is_empty() && !self.admin {
            return range(&key("models"), "[]", "at least one model, or admin = true");
        }
        for model in &self.models {
            let named = model.strip_suffix('*').unwrap_or(model);
            if !(model == "*" || crate::repository::is_name(named)) {
                return range(&key("models"), model, "a model's name, or the beginning of one and '*'");
            }
        }
        let is_known = [self.uids.len(), self.gids.len(), self.token_sha256.len(), self.certificates.len()];
        if is_known == [0; 4] {
            let want = "known by one of uids, gids, token-sha256 or certificates";
            return range(&key("name"), &self.name, want);
        }
        if let Some(sessions) = self.sessions {
            within(&key("sessions"), sessions, 1, 10_000, "1 to 10000")?;
        }
        if let Some(requests) = self.requests {
            within(&key("requests"), requests, 1, 1_000_000, "1 to 1000000")?;
        }
        Ok(())
    }
}

/// Nobody is two tenants: what one is known by is nobody else's.
pub(super) fn check_apart(tenants: &[Tenant]) -> Result<(), ConfigError> {
    let clash = |at: usize, field: &str, value: String| {
        range(&format!("tenant[{at}].{field}"), &value, "not that of a tenant before it")
    };
    for (at, tenant) in tenants.iter().enumerate() {
        for other in &tenants[..at] {
            if other.name == tenant.name {
                return clash(at, "name", tenant.name.clone());
            }
            if let Some(uid) = tenant.uids.iter().find(|uid| other.uids.contains(uid)) {
                return clash(at, "uids", uid.to_string());
            }
            if let Some(gid) = tenant.gids.iter().find(|gid| other.gids.contains(gid)) {
                return clash(at, "gids", gid.to_string());
            }
            if tenant.token_sha256.iter().any(|token| other.token_sha256.contains(token)) {
                return clash(at, "token-sha256", "(a digest)".into());
            }
            if let Some(name) = tenant.certificates.iter().find(|name| other.certificates.contains(name)) {
                return clash(at, "certificates", name.clone());
            }
        }
    }
    Ok(())
}

/// What the daemon shows on addresses of the kind `tls:`, and whom it wants to see there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the certificate, and of those that lead to its authority.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// PEM file of the authorities that sign clients' certificates. With it, who shows none is turned away.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}
