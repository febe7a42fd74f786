//! Phase and conditions, as the places stand.

use edgemux_cluster_api::session::{
    ADMITTED, InferenceSessionStatus, Phase, Placement, PlacementState, READY, SLO_AT_RISK,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{Now, Work};

const REFUSED: &str = "Refused";
const NO_NODE: &str = "NoNode";
const ADMISSION: &str = "Admitted";
const SERVING: &str = "Serving";
const AT_RISK: &str = "AtRisk";

/// A condition as it should be.
struct Wanted {
    type_: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Work {
    /// Says in a few words how it stands.
    pub(super) fn summarise(&mut self, now: Now) {
        let generation = self.generation();
        let replicas = self.session.spec.replicas;
        let of = |replica| {
            let places = self.status.placements.iter();
            places.filter(move |p| p.replica == replica && p.state != PlacementState::Leaving)
        };
        let held = |p: &Placement| {
            p.generation == generation && matches!(p.state, PlacementState::Reserved | PlacementState::Ready)
        };
        let admitted = (0..replicas).filter(|&replica| of(replica).any(held)).count() as i64;
        let serves = |p: &Placement| p.state == PlacementState::Ready;
        let ready = (0..replicas).filter(|&replica| of(replica).any(serves)).count() as i64;
        let admission = self.admission(admitted);
        let refused = matches!(admission.reason, REFUSED | NO_NODE);
        let phase = if self.is_deleted() {
            Phase::Releasing
        } else if refused && ready > 0 {
            Phase::Degraded
        } else if refused && admitted == 0 {
            Phase::Refused
        } else if admission.holds && ready == replicas {
            Phase::Ready
        } else {
            Phase::Placing
        };
        let serving = Wanted {
            type_: READY,
            holds: ready == replicas && !self.is_deleted(),
            reason: match () {
                () if self.is_deleted() => "Deleted",
                () if ready == replicas => SERVING,
                () if admitted > ready => "Loading",
                () => "NoPlace",
            },
            message: format!("{ready} of {replicas} replicas take requests"),
        };
        let risk = self.risk();
        let status = &mut self.status;
        status.observed_generation = generation;
        status.ready_replicas = ready;
        status.phase = phase;
        for wanted in [admission, serving, risk] {
            let (reason, message) = (wanted.reason, wanted.message.clone());
            let bad = matches!(reason, REFUSED | NO_NODE | AT_RISK);
            if set(&mut self.status, wanted, generation, now)
                && (bad || matches!(reason, ADMISSION | SERVING))
            {
                self.note(bad, reason, message);
            }
        }
    }

    fn admission(&self, admitted: i64) -> Wanted {
        let replicas = self.session.spec.replicas;
        if admitted == replicas && !self.is_deleted() {
            let nodes = self.status.placements.iter().filter(|p| p.state != PlacementState::Leaving);
            let mut nodes: Vec<_> = nodes.map(|place| place.node.as_str()).collect();
            nodes.sort_unstable();
            nodes.dedup();
            let message = match nodes.as_slice() {
                [] => "no replica is wanted".to_owned(),
                nodes => format!("by {}", nodes.join(", ")),
            };
            return Wanted { type_: ADMITTED, holds: true, reason: ADMISSION, message };
        }
        let (reason, message) = if self.is_deleted() {
            ("Deleted", "its places are being given back".to_owned())
        } else if self.memory.asking.is_resting() {
            self.refusal()
        } else {
            // While it is asked for again, that nobody took it last time is what is known.
            let known = self.status.conditions.iter().find(|known| known.type_ == ADMITTED);
            let known =
                known.filter(|c| c.status == "False" && c.observed_generation == Some(self.generation()));
            match known.map(|known| (known.reason.as_str(), known.message.clone())) {
                Some((REFUSED, message)) => (REFUSED, message),
                Some((NO_NODE, message)) => (NO_NODE, message),
                _ => ("Asking", format!("{admitted} of {replicas} replicas have a place")),
            }
        };
        Wanted { type_: ADMITTED, holds: false, reason, message }
    }

    fn refusal(&self) -> (&'static str, String) {
        let rejections = &self.status.rejections;
        let Some(first) = rejections.first() else {
            let message = "no node is open that has the model, a device of these kinds and these labels";
            return (NO_NODE, message.to_owned());
        };
        let others = match rejections.len() - 1 {
            0 => String::new(),
            others => format!(" (and {others} more)"),
        };
        (REFUSED, format!("{}: {}{others}", first.node, first.message))
    }

    fn risk(&self) -> Wanted {
        let risky = self.status.placements.iter().filter(|place| place.state != PlacementState::Leaving);
        let risky = risky.filter_map(|place| Some((&place.node, place.at_risk.as_ref()?))).next();
        let (holds, reason, message) = match risky {
            Some((node, why)) => (true, AT_RISK, format!("{node}: {why}")),
            None if self.session.spec.objective.is_none() => {
                (false, "BestEffort", "no objective is to be kept".to_owned())
            }
            None => (false, "AsPredicted", "the objective is predicted to hold".to_owned()),
        };
        Wanted { type_: SLO_AT_RISK, holds, reason, message }
    }
}

/// Sets a condition. Whether it says something new.
fn set(status: &mut InferenceSessionStatus, wanted: Wanted, generation: i64, now: Now) -> bool {
    let Wanted { type_, holds, reason, message } = wanted;
    let holds = if holds { "True" } else { "False" };
    let known = status.conditions.iter_mut().find(|known| known.type_ == type_);
    let Some(known) = known else {
        status.conditions.push(Condition {
            type_: type_.to_owned(),
            status: holds.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(generation),
            last_transition_time: Time(now.wall),
        });
        return true;
    };
    let turned = known.status != holds || known.reason != reason;
    if known.status != holds {
        known.status = holds.to_owned();
        known.last_transition_time = Time(now.wall);
    }
    known.reason = reason.to_owned();
    known.message = message;
    known.observed_generation = Some(generation);
    turned
}
