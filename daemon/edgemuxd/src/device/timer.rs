//! Wakes a device's multiplexer at the time that it named.

use std::sync::Weak;
use std::time::{Duration, Instant};

use edgemux_multiplexer::Event;
use tokio::sync::watch;

use super::Device;

/// Runs until the device is gone. `origin` is where its clock begins.
pub(super) async fn run(device: Weak<Device>, mut wake: watch::Receiver<Option<Duration>>, origin: Instant) {
    let mut woken_at = None;
    loop {
        let at = *wake.borrow_and_update();
        let due = async {
            match at {
                // Once for each time that was named.
                at if at == woken_at => std::future::pending().await,
                Some(at) => tokio::time::sleep_until((origin + at).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {
                woken_at = at;
                match device.upgrade() {
                    Some(device) => device.handle(Event::Woken),
                    None => return,
                }
            }
            changed = wake.changed() => if changed.is_err() {
                return;
            },
        }
    }
}
