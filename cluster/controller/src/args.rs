//! The command line.

use std::net::SocketAddr;
use std::path::Path;

use clap::{Parser, Subcommand};
use edgemux_client::Credentials;

/// Where a pod finds the namespace that it is in.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Where Leases are outside of a cluster.
const NAMESPACE: &str = "edgemux-system";

/// Places inference sessions on the accelerator nodes of a Kubernetes cluster
///
/// Reads InferenceSessions and AcceleratorNodes, asks the nodes' daemons for places, the likeliest first, and writes into
/// each session's status where it is and why other nodes refused it. Several controllers may run; one of them acts. The
/// cluster is found as kubectl finds it: by KUBECONFIG, ~/.kube/config, or the service account of the pod.
#[derive(Debug, Parser)]
#[command(
    name = "edgemux-controller",
    version,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
pub struct Args {
    /// Instead of running the controller
    #[command(subcommand)]
    pub command: Option<Command>,

    /// How the controller runs
    #[command(flatten)]
    pub run: Run,
}

/// What else can be done.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Print the definitions of the resources as YAML, for `kubectl apply -f -`
    Crds,
}

/// How the controller runs.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Where the Leases of nodes and of the controller are [default: the pod's namespace, else edgemux-system]
    #[arg(long, env = "EDGEMUX_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,

    /// Serves /metrics, /healthz and /readyz
    #[arg(long, env = "EDGEMUX_METRICS", value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub metrics: SocketAddr,

    /// Seconds beyond the end of its Lease, or without its daemon being reached, after which a node counts as lost and its
    /// sessions are placed elsewhere
    #[arg(long, value_name = "SECONDS", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub grace_s: u64,

    /// Seconds for which the leader's Lease holds: after so long at most another controller acts
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=300))]
    pub lease_duration_s: u64,

    /// Seconds for which a node holds a place that is not committed
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub reservation_ttl_s: u64,

    /// Most sessions that are worked on at a time; each may wait for a model to be loaded
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_concurrent: u16,

    /// What this controller is called among others [default: the pod's name, else the host's]
    #[arg(long, env = "EDGEMUX_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// How daemons are reached
    #[command(flatten, next_help_heading = "Options of connections to daemons")]
    pub credentials: Credentials,
}

impl Run {
    /// The namespace of Leases.
    #[must_use]
    pub fn namespace(&self) -> String {
        let pods = || {
            let text = std::fs::read_to_string(Path::new(NAMESPACE_FILE)).ok()?;
            Some(text.trim().to_owned()).filter(|name| !name.is_empty())
        };
        self.namespace.clone().or_else(pods).unwrap_or_else(|| NAMESPACE.to_owned())
    }

    /// A name that no other controller has: a process that starts anew is another.
    #[must_use]
    pub fn identity(&self) -> String {
        let said = |name| std::env::var(name).ok().filter(|name| !name.is_empty());
        let host = || said("POD_NAME").or_else(|| said("HOSTNAME"));
        let name = self.identity.clone().or_else(host).unwrap_or_else(|| "controller".to_owned());
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        format!("{name}_{:x}-{:x}", since.as_nanos(), std::process::id())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["edgemux-controller", "--grace-s", "20"]).unwrap();
        assert!(args.command.is_none());
        assert_eq!((args.run.grace_s, args.run.max_concurrent), (20, 256));
        let args = Args::try_parse_from(["edgemux-controller", "crds"]).unwrap();
        assert!(matches!(args.command, Some(Command::Crds)));
    }

    #[test]
    fn two_processes_never_have_one_identity() {
        let run = Args::try_parse_from(["edgemux-controller", "--identity", "a"]).unwrap().run;
        assert_ne!(run.identity(), run.identity());
        assert!(run.identity().starts_with("a_"));
    }
}
