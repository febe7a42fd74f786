//! SIGHUP: the configuration is read once more, and holds from then on as a whole, or not at all.

use std::sync::Arc;

use anyhow::{Result, bail};
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::args::Args;
use crate::node::Node;
use crate::{start, tls};

/// Reads configuration and certificates, and goes by them. Of anything that is wrong nothing is changed.
pub(crate) fn reload(
    node: &Node,
    args: &Args,
    certificates: &watch::Sender<Option<Arc<ServerConfig>>>,
) -> Result<()> {
    let config = start::configuration(args)?;
    let fixed = node.config().needs_a_start(&config);
    if !fixed.is_empty() {
        bail!("it changes what only a start of the daemon can change: {}", fixed.join(", "));
    }
    let renewed = config.tls.as_ref().map(tls::read).transpose()?;
    node.reconfigure(config);
    certificates.send_replace(renewed);
    Ok(())
}
