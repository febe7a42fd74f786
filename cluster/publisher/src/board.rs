//! What is to be told to the cluster, and when: decided here, done elsewhere. Nothing here has a clock or a socket.

use std::time::Duration;

use edgemux_cluster_api::node::{AcceleratorNodeStatus, READY};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::daemon::{Away, Observation};
use crate::mapping::{Mapped, map};
use crate::matters::{Urgency, urgency};

/// Writes of a status are at least so far apart, whatever has happened.
const BETWEEN_WRITES_MIN: Duration = Duration::from_millis(250);
/// A status that nothing new is to be said in is written again after this time: it may have been changed by others, or be gone.
const REFRESH: Duration = Duration::from_secs(300);
/// Looks that fail in a row before the node is said not to be ready: one may be a daemon that restarts.
const FAILED_LOOKS: u32 = 2;
/// Most of a condition's message.
const LEFT_OUT_SHOWN: usize = 8;

/// What may be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The AcceleratorNode and its endpoint are to be there.
    Declare,
    /// Its status is to be this.
    Tell(Box<AcceleratorNodeStatus>),
    /// The Lease is to be renewed.
    Renew,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is so. Of [`Action::Declare`]: the status that the object has.
    Done(Option<Box<AcceleratorNodeStatus>>),
    /// The object is not there.
    Missing,
    /// It failed, and may succeed later.
    Failed,
}

/// What is known, what was told, and what failed.
#[derive(Debug)]
pub struct Board {
    period: Duration,
    /// The last that was seen, with the conditions as they are to be.
    known: AcceleratorNodeStatus,
    /// There is something to tell: the daemon was looked at, or given up.
    has_looked: bool,
    /// The last look went well.
    reached: bool,
    failed_looks: u32,
    declared: bool,
    told: Option<(Instant, AcceleratorNodeStatus)>,
    renewed: Option<Instant>,
    declaring: Attempt,
    telling: Attempt,
    renewing: Attempt,
}

/// What is tried until it succeeds.
#[derive(Debug, Default)]
struct Attempt {
    backoff: Backoff,
    not_before: Option<Instant>,
}

// === impl Board ===

impl Board {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            known: AcceleratorNodeStatus::default(),
            has_looked: false,
            reached: false,
            failed_looks: 0,
            declared: false,
            told: None,
            renewed: None,
            declaring: Attempt::default(),
            telling: Attempt::default(),
            renewing: Attempt::default(),
        }
    }

    /// The daemon was looked at.
    pub fn looked(&mut self, wall: Timestamp, seen: &Result<Observation, Away>) {
        match seen {
            Ok(seen) => {
                let Mapped { status, left_out } = map(seen);
                self.reached = true;
                self.failed_looks = 0;
                self.has_looked = true;
                let conditions = std::mem::take(&mut self.known.conditions);
                self.known = AcceleratorNodeStatus { conditions, ..status };
                self.say(wall, true, "DaemonAnswers", answers(&left_out));
            }
            Err(away) => {
                self.reached = false;
                self.failed_looks = self.failed_looks.saturating_add(1);
                if self.failed_looks >= FAILED_LOOKS {
                    self.has_looked = true;
                    self.say(wall, false, away.reason, away.message.clone());
                }
            }
        }
    }

    /// The publisher ends: nobody will say any more how the node is.
    pub fn stopping(&mut self, wall: Timestamp) {
        self.reached = false;
        self.has_looked = true;
        self.say(wall, false, "Stopping", "the publisher was told to end".into());
        self.telling = Attempt::default();
    }

    /// Whether the last look went well.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.reached
    }

    /// Looks that have failed since one went well.
    #[must_use]
    pub fn failed_looks(&self) -> u32 {
        self.failed_looks
    }

    /// Whether the present state was told.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told.as_ref().is_some_and(|(_, told)| urgency(told, &self.known) == Urgency::Never)
    }

    /// What is to be done now, if anything: whether the node is alive first, since others wait for it.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Action> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.renew_at(now)) {
            Some(Action::Renew)
        } else if due(self.declare_at(now)) {
            Some(Action::Declare)
        } else if due(self.tell_at(now)) {
            Some(Action::Tell(Box::new(self.known.clone())))
        } else {
            None
        }
    }

    /// When there will be something to do, if nothing is heard until then.
    #[must_use]
    pub fn next_at(&self, now: Instant) -> Option<Instant> {
        [self.renew_at(now), self.declare_at(now), self.tell_at(now)].into_iter().flatten().min()
    }

    fn renew_at(&self, now: Instant) -> Option<Instant> {
        // Without a daemon there is no node to vouch for.
        let at = self.renewed.map_or(now, |renewed| renewed + self.period);
        self.reached.then(|| self.renewing.at(at))
    }

    fn declare_at(&self, now: Instant) -> Option<Instant> {
        (!self.declared).then(|| self.declaring.at(now))
    }

    fn tell_at(&self, now: Instant) -> Option<Instant> {
        if !self.declared || !self.has_looked {
            return None;
        }
        let at = match &self.told {
            None => now,
            Some((at, told)) => match urgency(told, &self.known) {
                Urgency::Now => *at + BETWEEN_WRITES_MIN,
                Urgency::Period => *at + self.period,
                Urgency::Never => *at + REFRESH,
            },
        };
        Some(self.telling.at(at))
    }

    /// An action has come to an end. `share` in [0, 1) is by chance.
    pub fn done(&mut self, now: Instant, action: &Action, outcome: Outcome, share: f64) {
        let attempt = match action {
            Action::Declare => &mut self.declaring,
            Action::Tell(_) => &mut self.telling,
            Action::Renew => &mut self.renewing,
        };
        if matches!(outcome, Outcome::Done(_)) {
            *attempt = Attempt::default();
        } else {
            attempt.not_before = Some(now + attempt.backoff.failed(share));
        }
        match (action, outcome) {
            (Action::Declare, Outcome::Done(status)) => {
                self.declared = true;
                self.resume(status.map(|status| *status));
            }
            (Action::Tell(status), Outcome::Done(_)) => self.told = Some((now, (**status).clone())),
            (Action::Renew, Outcome::Done(_)) => self.renewed = Some(now),
            (Action::Tell(_), Outcome::Missing) => (self.declared, self.told) = (false, None),
            (_, Outcome::Missing | Outcome::Failed) => (),
        }
    }

    /// What was told before this publisher began, or before the object was made anew: how long a condition has held is kept, and
    /// a daemon that cannot be reached yet is not forgotten.
    fn resume(&mut self, before: Option<AcceleratorNodeStatus>) {
        let Some(before) = before else { return };
        for condition in &mut self.known.conditions {
            let same = before
                .conditions
                .iter()
                .find(|old| old.type_ == condition.type_ && old.status == condition.status);
            if let Some(old) = same
                && old.last_transition_time.0 < condition.last_transition_time.0
            {
                condition.last_transition_time = old.last_transition_time.clone();
            }
        }
        if self.known.epoch.is_empty() {
            let conditions = std::mem::take(&mut self.known.conditions);
            let conditions = if conditions.is_empty() { before.conditions } else { conditions };
            self.known = AcceleratorNodeStatus { conditions, ..before };
        }
    }

    fn say(&mut self, wall: Timestamp, ready: bool, reason: &str, message: String) {
        let status = if ready { "True" } else { "False" };
        let before = self.known.conditions.iter().find(|condition| condition.type_ == READY);
        let since =
            before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
        self.known.conditions = vec![Condition {
            type_: READY.into(),
            status: status.into(),
            reason: reason.into(),
            message,
            last_transition_time: since.unwrap_or(Time(wall)),
            observed_generation: None,
        }];
    }
}

impl Attempt {
    fn at(&self, wished: Instant) -> Instant {
        self.not_before.map_or(wished, |not_before| not_before.max(wished))
    }
}

fn answers(left_out: &[String]) -> String {
    if left_out.is_empty() {
        return "edgemuxd answers".into();
    }
    let shown = left_out.iter().take(LEFT_OUT_SHOWN).cloned().collect::<Vec<_>>().join("; ");
    let more = left_out.len().saturating_sub(LEFT_OUT_SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("edgemuxd answers; not shown here: {shown}{more}")
}

#[cfg(test)]
mod tests {
    use edgemux_proto::edgemux::v1 as wire;

    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);

    fn seen(epoch: &str) -> Result<Observation, Away> {
        Ok(Observation { epoch: epoch.into(), ..Default::default() })
    }

    fn busy(utilisation: f64) -> Result<Observation, Away> {
        let device = wire::Device {
            name: "gpu0".into(),
            kind: wire::DeviceKind::Gpu.into(),
            multiplexing: wire::Multiplexing::Exclusive.into(),
            utilisation,
            ..Default::default()
        };
        Ok(Observation { epoch: "e".into(), devices: vec![device], ..Default::default() })
    }

    fn away() -> Result<Observation, Away> {
        Err(Away { reason: "DaemonUnreachable", message: "no edgemuxd".into() })
    }

    fn wall(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// Does all that is to be done, with success, and returns its names.
    fn all(board: &mut Board, now: Instant) -> Vec<&'static str> {
        let mut done = Vec::new();
        while let Some(action) = board.next(now) {
            done.push(match action {
                Action::Declare => "declare",
                Action::Tell(_) => "tell",
                Action::Renew => "renew",
            });
            board.done(now, &action, Outcome::Done(None), 0.5);
        }
        done
    }

    fn ready(board: &Board) -> (&str, &str, i64) {
        let condition = &board.known.conditions[0];
        (&condition.status, &condition.reason, condition.last_transition_time.0.as_second())
    }

    #[test]
    fn a_node_is_declared_before_it_is_told_of_and_told_of_only_once_it_was_looked_at() {
        let now = Instant::now();
        let mut board = Board::new(PERIOD);
        assert_eq!(all(&mut board, now), ["declare"]);
        board.looked(wall(1), &seen("e"));
        assert_eq!(all(&mut board, now), ["renew", "tell"]);
        assert_eq!(board.next_at(now), Some(now + PERIOD));
        assert_eq!(all(&mut board, now + PERIOD), ["renew"]);
    }

    #[test]
    fn a_daemon_that_is_away_loses_its_lease_and_after_a_second_look_its_readiness() {
        let now = Instant::now();
        let mut board = Board::new(PERIOD);
        board.looked(wall(1), &seen("e"));
        all(&mut board, now);
        board.looked(wall(2), &away());
        assert_eq!(all(&mut board, now + PERIOD), [""; 0]);
        board.looked(wall(3), &away());
        assert_eq!(ready(&board), ("False", "DaemonUnreachable", 3));
        assert_eq!(board.known.epoch, "e", "what was known stays");
        assert_eq!(all(&mut board, now + PERIOD), ["tell"]);
        board.looked(wall(4), &away());
        assert_eq!(ready(&board).2, 3, "since when does not change with every look");
        board.looked(wall(5), &seen("f"));
        assert_eq!(ready(&board), ("True", "DaemonAnswers", 5));
        assert_eq!(all(&mut board, now + 2 * PERIOD), ["renew", "tell"]);
    }

    #[test]
    fn a_busy_node_is_told_of_once_a_period_and_a_new_run_at_once() {
        let now = Instant::now();
        let mut board = Board::new(PERIOD);
        board.looked(wall(1), &busy(0.0));
        all(&mut board, now);
        let second = Duration::from_secs(1);
        board.looked(wall(2), &busy(0.5));
        assert_eq!(all(&mut board, now + second), [""; 0]);
        assert_eq!(all(&mut board, now + PERIOD), ["renew", "tell"]);
        board.looked(wall(7), &busy(0.55));
        assert_eq!(all(&mut board, now + 2 * PERIOD), ["renew"], "that is not far");
        board.looked(wall(8), &seen("f"));
        assert_eq!(all(&mut board, now + 2 * PERIOD + second), ["tell"]);
    }

    #[test]
    fn writes_keep_a_distance_whatever_happens() {
        let now = Instant::now();
        let mut board = Board::new(PERIOD);
        board.looked(wall(1), &seen("e"));
        all(&mut board, now);
        board.looked(wall(1), &seen("f"));
        assert_eq!(all(&mut board, now), [""; 0]);
        assert_eq!(board.next_at(now), Some(now + BETWEEN_WRITES_MIN));
        assert_eq!(all(&mut board, now + BETWEEN_WRITES_MIN), ["tell"]);
    }

    #[test]
    fn what_fails_is_tried_again_later_and_the_rest_goes_on() {
        let now = Instant::now();
        let mut board = Board::new(PERIOD);
        board.looked(wall(1), &seen("e"));
        board.done(now, &Action::Declare, Outcome::Done(None), 0.5);
        let tell = Action::Tell(Box::default());
        board.done(now, &tell, Outcome::Failed, 0.5);
        assert_eq!(all(&mut board, now), ["renew"]);
        let at = board.next_at(now).unwrap();
        assert!(at > now && at < now + PERIOD);
        assert_eq!(all(&mut board, at), ["tell"]);
    }

    #[test]
    fn a_node_that_was_deleted_is_declared_again() {
        let now = Instant::now();
        let mut board = Board::new(PERIOD);
        board.looked(wall(1), &seen("e"));
        all(&mut board, now);
        let later = now + REFRESH;
        let tell = Action::Tell(Box::new(board.known.clone()));
        assert_eq!(board.next(later), Some(Action::Renew));
        board.done(later, &Action::Renew, Outcome::Done(None), 0.5);
        assert_eq!(board.next(later), Some(tell.clone()), "a quiet node is told of from time to time");
        board.done(later, &tell, Outcome::Missing, 0.5);
        assert_eq!(board.next(later), Some(Action::Declare));
        board.done(later, &Action::Declare, Outcome::Done(None), 0.5);
        assert_eq!(all(&mut board, later + REFRESH), ["renew", "tell"]);
    }

    #[test]
    fn a_publisher_that_begins_keeps_what_the_last_one_knew() {
        let now = Instant::now();
        let mut last = Board::new(PERIOD);
        last.looked(wall(1), &seen("e"));
        let before = Some(Box::new(last.known.clone()));

        let mut board = Board::new(PERIOD);
        board.done(now, &Action::Declare, Outcome::Done(before.clone()), 0.5);
        assert_eq!(board.next(now), None, "nothing was seen yet");
        board.looked(wall(9), &away());
        board.looked(wall(9), &away());
        assert_eq!((board.known.epoch.as_str(), ready(&board)), ("e", ("False", "DaemonUnreachable", 9)));

        let mut board = Board::new(PERIOD);
        board.looked(wall(9), &seen("f"));
        board.done(now, &Action::Declare, Outcome::Done(before), 0.5);
        assert_eq!((board.known.epoch.as_str(), ready(&board)), ("f", ("True", "DaemonAnswers", 1)));
    }

    #[test]
    fn one_that_ends_says_so_and_vouches_for_nothing() {
        let now = Instant::now();
        let mut board = Board::new(PERIOD);
        board.looked(wall(1), &seen("e"));
        all(&mut board, now);
        board.stopping(wall(2));
        assert!(!board.is_told());
        assert_eq!(all(&mut board, now + PERIOD), ["tell"]);
        assert_eq!(ready(&board), ("False", "Stopping", 2));
        assert!(board.is_told());
    }

    #[test]
    fn what_is_not_shown_is_said() {
        let mut board = Board::new(PERIOD);
        let device = wire::Device { name: "new".into(), kind: 9, ..Default::default() };
        board.looked(
            wall(1),
            &Ok(Observation { epoch: "e".into(), devices: vec![device], ..Default::default() }),
        );
        assert_eq!(
            board.known.conditions[0].message,
            "edgemuxd answers; not shown here: device new, of an unknown kind 9"
        );
    }
}
