//! What happened, in words: the last events of the node.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use edgemux_multiplexer::SessionId;
use serde::Serialize;

use crate::node::Node;
use crate::session::State;

/// Events that are remembered.
const ENTRIES_MAX: usize = 200;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A newcomer was let in.
    Admitted,
    /// A newcomer was not.
    Refused,
    /// An objective is not predicted to hold any more.
    AtRisk,
    /// It is again.
    Recovered,
    /// A service time changed at once.
    Drift,
    /// Nothing is to reach a device.
    Fenced,
    /// It is to be used again.
    Unfenced,
    /// A device is shared in another way.
    Mode,
    /// A session cannot run.
    Failed,
}

/// One event.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    /// Counted from 1 since the daemon started.
    pub(crate) number: u64,
    /// Seconds since 1970.
    pub(crate) unix_s: f64,
    pub(crate) kind: Kind,
    /// The model, session or device.
    pub(crate) subject: String,
    pub(crate) text: String,
}

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    last: u64,
    entries: VecDeque<Entry>,
}

impl Journal {
    /// Takes note of an event, and forgets the oldest if there are too many.
    pub(crate) fn note(&self, kind: Kind, subject: &str, text: impl Into<String>) {
        let mut entries = self.lock();
        if entries.entries.len() == ENTRIES_MAX {
            entries.entries.pop_front();
        }
        entries.last += 1;
        let entry = Entry {
            number: entries.last,
            unix_s: unix_s(),
            kind,
            subject: subject.to_owned(),
            text: text.into(),
        };
        entries.entries.push_back(entry);
    }

    /// The events, newest first.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.iter().rev().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
pub(super) fn unix_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// What was so when it was last looked, by which changes are seen.
#[derive(Debug, Default)]
pub(super) struct Changes {
    devices: HashMap<String, (Option<String>, String)>,
    sessions: HashMap<SessionId, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    at_risk: bool,
    drifts: u64,
    failed: bool,
}

impl Changes {
    /// Notes what has changed since the last look.
    pub(super) fn look(&mut self, node: &Node) {
        let journal = &node.journal;
        for device in &node.devices {
            let snapshot = device.snapshot();
            let mode = super::document::mode(snapshot.mode);
            let before = self.devices.insert(device.name.clone(), (snapshot.fenced.clone(), mode.clone()));
            let (was_fenced, was_mode) = before.unwrap_or_else(|| (None, mode.clone()));
            match (was_fenced, snapshot.fenced) {
                (None, Some(reason)) => journal.note(Kind::Fenced, &device.name, reason),
                (Some(_), None) => journal.note(Kind::Unfenced, &device.name, "it is to be used again"),
                _ => {}
            }
            if mode != was_mode {
                journal.note(Kind::Mode, &device.name, format!("{was_mode} before, {mode} now"));
            }
        }
        let sessions = node.sessions();
        self.sessions.retain(|id, _| sessions.iter().any(|session| session.id == *id));
        for session in sessions {
            let (at_risk, drifts) = {
                let live = session.live();
                (live.at_risk().map(str::to_owned), live.drifts())
            };
            let seen = self.sessions.entry(session.id).or_default();
            let name = session.name();
            match (seen.at_risk, &at_risk) {
                (false, Some(reason)) => {
                    let itself = format!("{name}: ");
                    journal.note(Kind::AtRisk, &name, reason.strip_prefix(&itself).unwrap_or(reason));
                }
                (true, None) => {
                    journal.note(Kind::Recovered, &name, "its objective is predicted to hold again")
                }
                _ => {}
            }
            if drifts.count > seen.drifts {
                let factor = drifts.last_factor;
                journal.note(
                    Kind::Drift,
                    &name,
                    format!("its inferences take {factor:.2} times what they took"),
                );
            }
            let state = session.state();
            if let (State::Failed(reason), false) = (&state, seen.failed) {
                journal.note(Kind::Failed, &name, reason.clone());
            }
            *seen = Seen {
                at_risk: at_risk.is_some(),
                drifts: drifts.count,
                failed: matches!(state, State::Failed(_)),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_events_are_forgotten_and_numbers_go_on() {
        let journal = Journal::default();
        for number in 1..=ENTRIES_MAX + 5 {
            journal.note(Kind::Admitted, "m/1", format!("{number}"));
        }
        let entries = journal.entries();
        assert_eq!(entries.len(), ENTRIES_MAX);
        assert_eq!((entries[0].number, entries[0].text.as_str()), (205, "205"));
        assert_eq!(entries.last().map(|entry| entry.number), Some(6));
    }
}
