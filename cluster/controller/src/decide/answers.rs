//! What a node's answer makes of a place.

use edgemux_cluster_api::objective::Latency;
use edgemux_cluster_api::session::{PlacementState, Rejection};
use tokio::time::Instant;

use super::{Call, Verb, Work};

/// Most rejections that a status shows.
pub const REJECTIONS_MAX: usize = 16;
/// Longest message that is written down.
const MESSAGE_CHARS_MAX: usize = 512;
/// How often a node that does not answer is asked for a place.
const ASKED_IN_VAIN_MAX: u32 = 3;

/// A node's answer, or that there was none.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It holds a place.
    Held(Held),
    /// It does not take the session: why not, by device.
    Refused(Vec<Rejection>),
    /// It takes requests.
    Serves,
    /// There is no such place, or none any more.
    NoSuch(String),
    /// It could not be loaded.
    Failed(String),
    /// It cannot be said at the moment, since something else is being done with the place.
    Busy(String),
    /// None: whether it was done is not known.
    None(String),
}

/// A place that a node holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The daemon's name for it.
    pub reservation: String,
    /// The daemon's run.
    pub epoch: String,
    /// The node's device.
    pub device: String,
    /// What is predicted there.
    pub prediction: Option<Latency>,
}

impl Work {
    /// Takes note of an answer to a call.
    pub fn answered(&mut self, call: &Call, answer: Answer, now: Instant) {
        let at = self.status.placements.iter().position(|place| {
            place.node == call.place.node
                && place.generation == call.place.generation
                && place.state == call.place.state
        });
        let Some(at) = at else { return };
        let (node, generation) = (call.place.node.as_str(), call.place.generation);
        let place = &mut self.status.placements[at];
        match (call.verb, answer) {
            (_, Answer::Busy(_)) => {
                self.memory.trouble(node, generation, now);
                return;
            }
            (Verb::Reserve, Answer::None(why)) => {
                if self.memory.trouble(node, generation, now) < ASKED_IN_VAIN_MAX {
                    return;
                }
                // If it holds a place all the same, that ends with its time.
                self.refused(at, vec![rejection("Unreachable", &why)]);
            }
            (Verb::Commit | Verb::Release, Answer::None(_)) => {
                self.memory.trouble(node, generation, now);
                return;
            }
            (Verb::Reserve, Answer::Held(held)) => {
                place.state = PlacementState::Reserved;
                place.reservation = held.reservation;
                place.epoch = held.epoch;
                place.device = held.device;
                place.prediction = held.prediction;
                // How often this went wrong is forgotten only when it is loaded.
                return;
            }
            (Verb::Reserve, Answer::Refused(why)) => {
                // What was held there before is not, or it would not have been decided anew.
                place.reservation.clear();
                self.refused(at, why);
            }
            (Verb::Reserve, Answer::NoSuch(why) | Answer::Failed(why)) => {
                self.refused(at, vec![rejection("Failed", &why)]);
            }
            (Verb::Commit, Answer::Serves) => place.state = PlacementState::Ready,
            (Verb::Commit, Answer::NoSuch(why)) => {
                // Its time was over before it was committed.
                place.state = PlacementState::Asking;
                place.reservation.clear();
                place.epoch.clear();
                if self.memory.trouble(node, generation, now) < ASKED_IN_VAIN_MAX {
                    return;
                }
                self.refused(at, vec![rejection("Expired", &why)]);
            }
            (Verb::Commit, Answer::Failed(why)) => {
                self.refused(at, vec![rejection("LoadFailed", &why)]);
                // What it was to replace there may serve still; if it does not, its node will not show it.
            }
            (Verb::Release, Answer::NoSuch(_) | Answer::Serves) => {
                self.status.placements.remove(at);
            }
            // Answers to other questions.
            (Verb::Commit, Answer::Held(_) | Answer::Refused(_))
            | (Verb::Reserve, Answer::Serves)
            | (Verb::Release, Answer::Held(_) | Answer::Refused(_) | Answer::Failed(_)) => {
                self.memory.trouble(node, generation, now);
                return;
            }
        }
        self.memory.answered(node, generation);
    }

    fn refused(&mut self, at: usize, why: Vec<Rejection>) {
        let place = self.status.placements.remove(at);
        if self.is_better(&place) {
            self.memory.moving.refused(&place.node);
        } else {
            if self.memory.asking.asked == 0 {
                self.status.rejections.clear();
            }
            self.memory.asking.refused(&place.node);
            let why = why.into_iter().map(|rejection| Rejection {
                node: place.node.clone(),
                message: rejection.message.chars().take(MESSAGE_CHARS_MAX).collect(),
                ..rejection
            });
            self.status.rejections.extend(why);
            self.status.rejections.truncate(REJECTIONS_MAX);
        }
        self.abandon(place);
    }
}

/// Why a node does not take a session, of no device in particular.
#[must_use]
pub fn rejection(reason: &str, message: &str) -> Rejection {
    Rejection {
        node: String::new(),
        device: String::new(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        largest_rate_millihertz: None,
    }
}
