//! What the service manager is told, where one has started the daemon: that it is ready, what it is doing, that it is alive.
//!
//! systemd's protocol is used: datagrams to `NOTIFY_SOCKET`. Without that variable nothing is said to anybody.

use std::sync::Weak;

use sd_notify::NotifyState;

use crate::node::Node;

/// The daemon serves, whatever is still being loaded.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What it is doing now, in a line.
pub(crate) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// It reads its configuration once more.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        // Without the time a manager takes the message for none.
        Err(error) => tracing::warn!(%error, "the time cannot be read"),
    }
}

/// It has, and goes by it, or it does not, and why.
pub(crate) fn reloaded(refused: Option<anyhow::Error>) {
    let status = match refused {
        None => "serving, the configuration is reloaded".to_owned(),
        Some(error) => format!("serving; the configuration was not reloaded: {error:#}"),
    };
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// It takes no more requests, and ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Says that the daemon is alive for as long as it is, twice in each period that the manager allows. Before each time it has
/// looked at every device, under the lock by which requests are decided about and on a thread that serves them: a daemon that
/// can decide nothing any more falls silent, and is started anew.
pub(crate) async fn stay_alive(node: Weak<Node>) {
    let Some(allowed) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(allowed / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(node) = node.upgrade() else { return };
        let in_service: usize = node.devices.iter().map(|device| device.snapshot().in_service).sum();
        let (sessions, devices) = (node.sessions().len(), node.devices.len());
        let status = format!("{sessions} sessions on {devices} devices, {in_service} requests in service");
        tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told anything");
    }
}
