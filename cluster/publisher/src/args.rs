//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use edgemux_client::{Credentials, ServerAddress};

/// The namespace of everything that is edgemux's own, if nothing else is said.
pub const NAMESPACE: &str = "edgemux-system";
/// Renewals that may fail before the Lease runs out, and one more.
const PERIODS_OF_LEASE_MIN: u32 = 3;

/// Publishes what this node's edgemuxd has and runs, as an AcceleratorNode of a Kubernetes cluster.
///
/// The cluster is that of KUBECONFIG or ~/.kube/config, or the one whose pod this is.
#[derive(Clone, Debug, Parser)]
#[command(name = "edgemux-publisher", version)]
pub struct Args {
    /// This node's name in the cluster
    #[arg(long, env = "NODE_NAME", value_name = "NAME", value_parser = object_name)]
    pub node: String,

    /// The daemon: unix:PATH, HOST:PORT or https://HOST:PORT
    #[arg(
        long,
        env = "EDGEMUX_SERVER",
        value_name = "ADDR",
        default_value = "unix:/run/edgemux/edgemuxd.sock"
    )]
    pub server: ServerAddress,

    /// Where the controller and applications reach the daemon: http://HOST:PORT or https://HOST:PORT
    #[arg(long, env = "EDGEMUX_ENDPOINT", value_name = "URL", value_parser = endpoint)]
    pub endpoint: String,

    /// The namespace of the Lease
    #[arg(long, env = "EDGEMUX_NAMESPACE", value_name = "NAME", default_value = NAMESPACE)]
    pub namespace: String,

    /// A label of the AcceleratorNode, by which sessions choose nodes; may be given more than once
    #[arg(long = "label", env = "EDGEMUX_NODE_LABELS", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    pub labels: Vec<(String, String)>,

    /// How often the Lease is renewed, and figures that change all the time are published at most; seconds
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    period_s: u32,

    /// How long the Lease holds without being renewed, at least three periods; seconds
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(3..=3600))]
    lease_s: u32,

    /// Serves /metrics, /healthz and /readyz there
    #[arg(long, env = "EDGEMUX_PUBLISHER_METRICS", value_name = "HOST:PORT")]
    pub metrics: Option<SocketAddr>,

    /// How the daemon is met
    #[command(flatten)]
    pub credentials: Credentials,
}

// === impl Args ===

impl Args {
    /// What `--period-s` says.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::from_secs(self.period_s.into())
    }

    /// What `--lease-s` says.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s.into())
    }

    /// What clap cannot see: that the options go together.
    ///
    /// # Errors
    ///
    /// In words, if they do not.
    pub fn check(&self) -> Result<(), String> {
        let least = PERIODS_OF_LEASE_MIN * self.period_s;
        if self.lease_s < least {
            return Err(format!(
                "--lease-s {} is shorter than three periods of {} s: one renewal that fails would lose the node; use {least} \
                 or more",
                self.lease_s, self.period_s
            ));
        }
        Ok(())
    }
}

/// Kubernetes' own rule for a node's name: of a DNS name.
fn object_name(text: &str) -> Result<String, String> {
    let ends = |label: &str| label.starts_with(letter_or_digit) && label.ends_with(letter_or_digit);
    let inside = |label: &str| label.chars().all(|c| letter_or_digit(c) || c == '-');
    if text.len() <= 253 && text.split('.').all(|label| ends(label) && inside(label)) {
        return Ok(text.to_owned());
    }
    Err("a node's name is lower-case letters, digits, '-' and '.', as `kubectl get nodes` shows it".into())
}

fn letter_or_digit(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// The rule that the AcceleratorNode's definition holds it to.
fn endpoint(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let port =
        bare.filter(|bare| !bare.contains('/') && text.len() <= 512).and_then(|bare| bare.rsplit_once(':'));
    match port {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0) => {
            Ok(text.to_owned())
        }
        _ => Err("an endpoint is http://HOST:PORT or https://HOST:PORT, as others reach it".into()),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && value.len() <= 63 => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE, its value at most 63 characters long".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("edgemux-publisher").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn a_node_and_an_endpoint_are_enough() {
        let args = parse("--node edge-1 --endpoint https://10.0.0.7:8001").unwrap();
        assert_eq!(args.server.to_string(), "unix:/run/edgemux/edgemuxd.sock");
        assert_eq!((args.period(), args.lease()), (Duration::from_secs(5), Duration::from_secs(20)));
        args.check().unwrap();
    }

    #[test]
    fn what_the_cluster_would_refuse_is_refused_here() {
        for line in [
            "--node Edge_1 --endpoint http://h:1",
            "--node -a --endpoint http://h:1",
            "--node a..b --endpoint http://h:1",
            "--node a --endpoint h:1",
            "--node a --endpoint http://h",
            "--node a --endpoint http://:1",
            "--node a --endpoint http://h:1/x",
            "--node a --endpoint http://h:70000",
            "--node a --endpoint http://h:1 --label x",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let args = parse("--node a --endpoint http://h:1 --period-s 10").unwrap();
        assert!(args.check().unwrap_err().contains("30 or more"));
    }

    #[test]
    fn labels_come_one_by_one_or_in_a_row() {
        let args = parse("--node a --endpoint http://h:1 --label a=1 --label b=2,c=").unwrap();
        let labels: Vec<_> = args.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["a=1", "b=2", "c="]);
    }
}
