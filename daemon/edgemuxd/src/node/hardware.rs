//! Looks at the hardware of all devices: whether it is there, how warm it is, and in which power mode.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Node;
use crate::device::Device;
use crate::discovery::{Change, Hardware};

/// How often what can be unplugged is looked at: it is to be noticed within a second.
const PERIOD: Duration = Duration::from_millis(250);
/// Looks of which one goes to everything.
const LOOKS_PER_FULL: u64 = 4;

/// Runs until the node is gone.
pub(super) async fn run(node: Weak<Node>, mut hardware: Hardware) {
    let mut never_there: Vec<_> = hardware.watched().iter().map(|one| one.absence().is_some()).collect();
    let mut fenced = never_there.clone();
    for looks in 0_u64.. {
        let full = looks.is_multiple_of(LOOKS_PER_FULL);
        let looked = tokio::task::spawn_blocking(move || {
            let changes = hardware.look(full);
            let figures = full.then(|| hardware.machine().node());
            (hardware, changes, figures)
        });
        let (changes, figures);
        (hardware, changes, figures) = match looked.await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::error!(%error, "hardware is not looked at any more");
                return;
            }
        };
        let Some(node) = node.upgrade() else { return };
        if let Some(figures) = figures {
            node.figures.send_replace(figures);
        }
        for (at, (device, change)) in node.devices.iter().zip(changes).enumerate() {
            let watched = &hardware.watched()[at];
            let there = watched.seen().filter(|_| watched.absence().is_none());
            // Workers that start because it is there find out which it is.
            let new_mode = there.and_then(|found| device.saw(found));
            node.take_note(device, &change);
            if let Some(mode) = new_mode {
                node.change_power_mode(device, &mode);
            }
            let now = device.is_fenced();
            if std::mem::replace(&mut fenced[at], now) && !now && never_there[at] {
                never_there[at] = false;
                load_what_waited(Arc::clone(&node));
            }
        }
        drop(node);
        tokio::time::sleep(PERIOD).await;
    }
}

/// What loads at start could not be loaded before its hardware was there.
fn load_what_waited(node: Arc<Node>) {
    tokio::spawn(async move {
        node.wait_started().await;
        node.load_at_start().await;
    });
}

impl Node {
    fn take_note(&self, device: &Arc<Device>, change: &Change) {
        match change {
            Change::None => return,
            Change::Loading(reason) => device.lost(reason, true),
            Change::Gone(reason) => device.lost(reason, false),
            Change::Loaded => device.found_again(true),
            Change::Back => device.found_again(false),
            Change::Replaced => {
                device.lost("it was unplugged and plugged in again", false);
                device.found_again(false);
            }
        }
        self.look_soon();
    }

    /// What was learned in another power mode is not true in this one. Where this one is known, its profiles are what
    /// sessions begin with; where not, what was learned in the other is taken until there is a sample.
    fn change_power_mode(&self, device: &Arc<Device>, mode: &str) {
        let before = device.power_mode();
        tracing::warn!(device = %device.name, before, now = mode, "power mode");
        {
            // What is put into the store meanwhile would be filed under the wrong mode.
            let _filing = self.filing();
            for session in self.sessions().iter().filter(|session| session.device == device.name) {
                let digest = self.desk.profiles.known_digest(&session.file.path);
                let known = digest.and_then(|digest| self.desk.profiles.get(&digest, &device.name, mode));
                session.live().begin_anew(known);
            }
            device.change_power_mode(mode, self.desk.profiles.speed_up(&device.name, mode));
        }
        for session in self.sessions().iter().filter(|session| session.device == device.name) {
            device.entitle(session);
        }
        self.look_soon();
    }
}
