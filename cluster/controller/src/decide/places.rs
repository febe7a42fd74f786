//! What has become of the places there are, and which are wanted.

use std::collections::BTreeSet;
use std::time::Duration;

use edgemux_cluster_api::session::{Placement, PlacementState};
use kube::ResourceExt;
use tokio::time::Instant;

use super::{Ask, Cluster, Now, Work};
use crate::identity;
use crate::nodes::{Look, Standing};

/// How long an objective is at risk before its session is moved: longer than what passes by itself.
pub const RISK_PATIENCE: Duration = Duration::from_secs(60);
/// How long a node may not show a session that it has: longer than its publisher takes.
pub const MISSING_PATIENCE: Duration = Duration::from_secs(60);
/// Most nodes that are asked in one round.
pub const ASKED_MAX: usize = 16;
/// Most nodes that are asked for a better place.
const BETTER_ASKED_MAX: usize = 4;

/// What has become of a place.
enum Fate {
    /// It may be held.
    There(Look),
    /// The daemon's run that held it is over.
    Ended(Look),
    /// Nothing is heard of its node.
    Lost,
    /// The node was taken out of the cluster.
    Gone,
}

impl Work {
    /// The session is to go: every place is to be let go.
    pub(super) fn leave(&mut self, cluster: &impl Cluster) {
        for mut place in std::mem::take(&mut self.status.placements) {
            let held = matches!(fate(cluster, &place), Fate::There(_)) && !place.reservation.is_empty();
            // What was only asked for ends by itself, with the reservation's time.
            if held {
                place.state = PlacementState::Leaving;
                self.status.placements.push(place);
            }
        }
    }

    /// Takes note of what has happened to places.
    pub(super) fn settle(&mut self, cluster: &impl Cluster, now: Now) {
        let before = self.status.placements.clone();
        let generation = self.generation();
        for mut place in std::mem::take(&mut self.status.placements) {
            match fate(cluster, &place) {
                Fate::Gone => self.lost(&place, "is gone"),
                Fate::Lost => {
                    match place.state {
                        PlacementState::Leaving => {}
                        PlacementState::Asking | PlacementState::Reserved | PlacementState::Ready => {
                            self.lost(&place, "is not heard of any more");
                        }
                    }
                    self.abandon(place);
                }
                Fate::Ended(look) => {
                    self.lost(&place, "has started anew");
                    let other = before.iter().any(|other| {
                        other.replica == place.replica
                            && other.generation == generation
                            && other.state != PlacementState::Leaving
                            && other.node != place.node
                    });
                    let wanted = place.state != PlacementState::Leaving
                        && place.generation == generation
                        && place.replica < self.session.spec.replicas
                        && look.standing == Standing::Open
                        && !other;
                    if wanted {
                        // A daemon that comes back has its models on disk, and what it learned of them.
                        ask_again(&mut place, &look, true);
                        self.status.placements.push(place);
                    }
                }
                Fate::There(look) => {
                    place.endpoint.clone_from(&look.endpoint);
                    self.watch(&mut place, &look, now);
                    if place.state == PlacementState::Asking && place.generation != self.generation() {
                        self.abandon(place);
                    } else {
                        self.status.placements.push(place);
                    }
                }
            }
        }
        let there = |node: &str| self.status.placements.iter().any(|place| place.node == node);
        let serves = |node: &str| {
            let mut places = self.status.placements.iter();
            places.any(|place| place.node == node && place.state == PlacementState::Ready)
        };
        self.memory.risky.retain(|node, _| serves(node));
        self.memory.missing.retain(|node, _| serves(node));
        self.memory.troubles.retain(|(node, _), _| there(node));
    }

    /// Lets go of what is of no use any more.
    pub(super) fn retire(&mut self) {
        let (generation, replicas) = (self.generation(), self.session.spec.replicas);
        for place in std::mem::take(&mut self.status.placements) {
            if place.state == PlacementState::Leaving {
                self.status.placements.push(place);
                continue;
            }
            if place.replica >= replicas {
                self.abandon(place);
                continue;
            }
            if place.state == PlacementState::Reserved
                && place.generation != generation
                && self.memory.asking.is_resting()
            {
                self.abandon(place);
                continue;
            }
            // Of those that come before: what has taken a part stands behind what had it.
            let replaces = |old: &Placement| match place.state {
                _ if place.generation != generation => false,
                PlacementState::Ready => true,
                // What serves goes on until this does.
                PlacementState::Reserved => {
                    old.state == PlacementState::Reserved && old.generation != generation
                }
                PlacementState::Asking | PlacementState::Leaving => false,
            };
            let replaced = |old: &Placement| {
                old.replica == place.replica && old.state != PlacementState::Leaving && replaces(old)
            };
            while let Some(at) = self.status.placements.iter().position(replaced) {
                let old = self.status.placements.remove(at);
                if old.node == place.node {
                    // Reserving under a newer generation has taken the old one's place.
                    continue;
                }
                if old.generation == place.generation && old.state == PlacementState::Ready {
                    let text = format!("replica {} from {} to {}", place.replica, old.node, place.node);
                    self.note(false, "Migrated", text);
                }
                self.abandon(old);
            }
            self.status.placements.push(place);
        }
    }

    /// Asks for what is missing.
    pub(super) fn place(&mut self, cluster: &impl Cluster, now: Now) {
        for replica in 0..self.session.spec.replicas {
            let generation = self.generation();
            let current = self.active(replica).rfind(|place| place.generation == generation);
            let risky = |place: &Placement| place.state == PlacementState::Ready && self.is_risky(place, now);
            match current.map(risky) {
                None => self.find(cluster, replica, now),
                Some(true) => self.find_better(cluster, replica, now),
                Some(false) => {}
            }
        }
        // Not before it is loaded, which may fail as well.
        let serves =
            |place: &Placement| place.generation == self.generation() && place.state == PlacementState::Ready;
        if (0..self.session.spec.replicas).all(|replica| self.active(replica).any(serves)) {
            self.memory.asking.over();
        }
    }

    /// When something has to be looked at again though nothing changes.
    pub(super) fn timers(&self, cluster: &impl Cluster, now: Now) -> Option<Instant> {
        if self.is_deleted() {
            return None;
        }
        let changes = cluster.changes();
        let risky = self.memory.risky.values().map(|&since| since + RISK_PATIENCE);
        let missing = self.memory.missing.values().map(|&since| since + MISSING_PATIENCE);
        let patience = risky.chain(missing).filter(|&at| at > now.instant);
        let rests = [self.memory.asking.until(changes), self.memory.moving.until(changes)];
        patience.chain(rests.into_iter().flatten()).min()
    }

    /// Whether a place is asked for because another one is at risk.
    pub(super) fn is_better(&self, place: &Placement) -> bool {
        self.active(place.replica)
            .any(|other| other.generation == place.generation && other.state == PlacementState::Ready)
    }

    /// Lets a place go that may be held; what was only asked for ends by itself.
    pub(super) fn abandon(&mut self, place: Placement) {
        if !place.reservation.is_empty() {
            self.status.placements.push(Placement { state: PlacementState::Leaving, ..place });
        }
    }

    fn active(&self, replica: i64) -> impl DoubleEndedIterator<Item = &Placement> {
        let places = self.status.placements.iter();
        places.filter(move |place| place.replica == replica && place.state != PlacementState::Leaving)
    }

    fn is_asking(&self) -> bool {
        self.status.placements.iter().any(|place| place.state == PlacementState::Asking)
    }

    fn is_risky(&self, place: &Placement, now: Now) -> bool {
        self.memory.risky.get(&place.node).is_some_and(|&since| now.instant >= since + RISK_PATIENCE)
    }

    /// What a node says of a place of its own.
    fn watch(&mut self, place: &mut Placement, look: &Look, now: Now) {
        let node = &place.node;
        if place.state != PlacementState::Ready {
            return;
        }
        match look.report.as_ref().and_then(|report| report.at_risk.as_ref()) {
            Some(why) => {
                self.memory.risky.entry(node.clone()).or_insert(now.instant);
                // The figures in it change all the time.
                place.at_risk.get_or_insert_with(|| why.clone());
            }
            None => {
                self.memory.risky.remove(node);
                place.at_risk = None;
            }
        }
        let shown = look.report.as_ref().is_some_and(|report| report.serves);
        if shown || !matches!(look.standing, Standing::Open | Standing::Closed) {
            self.memory.missing.remove(node);
            return;
        }
        let since = *self.memory.missing.entry(node.clone()).or_insert(now.instant);
        if now.instant >= since + MISSING_PATIENCE {
            self.memory.missing.remove(node);
            if place.generation == self.generation() {
                // If it is there after all, asking again finds it.
                ask_again(place, look, false);
            } else {
                place.state = PlacementState::Leaving;
            }
        }
    }

    fn lost(&mut self, place: &Placement, what: &str) {
        if matches!(place.state, PlacementState::Ready | PlacementState::Reserved) {
            let text = format!("replica {}: {} {what}", place.replica, place.node);
            self.note(true, "Lost", text);
        }
    }

    /// A place for a replica that has none under the spec as it is.
    fn find(&mut self, cluster: &impl Cluster, replica: i64, now: Now) {
        if !self.memory.asking.may_ask(cluster.changes(), now.instant) {
            return;
        }
        if self.revive(cluster, replica) {
            return;
        }
        if let Some((node, look)) = self.same_node(cluster, replica) {
            self.ask(replica, &node, &look);
            return;
        }
        let enough = self.memory.asking.asked >= ASKED_MAX;
        let asks = !enough && self.ask_next(cluster, replica, false);
        // Where another replica is asked for, an answer comes still.
        if !asks && !self.is_asking() {
            self.memory.asking.rest(!enough, cluster.changes(), now.instant);
        }
    }

    fn find_better(&mut self, cluster: &impl Cluster, replica: i64, now: Now) {
        if !self.memory.moving.may_ask(cluster.changes(), now.instant) {
            return;
        }
        let enough = self.memory.moving.asked >= BETTER_ASKED_MAX;
        if enough || !self.ask_next(cluster, replica, true) {
            self.memory.moving.rest(!enough, cluster.changes(), now.instant);
        }
    }

    /// A place that was given up, and is held all the same, by a node that is back.
    fn revive(&mut self, cluster: &impl Cluster, replica: i64) -> bool {
        let generation = self.generation();
        let tried = &self.memory.asking.tried;
        let revived = self.status.placements.iter_mut().find_map(|place| {
            let leaving = place.state == PlacementState::Leaving
                && place.replica == replica
                && place.generation == generation
                && !tried.contains(&place.node);
            let look = leaving.then(|| cluster.look(&place.node, &place.uid)).flatten()?;
            (look.standing == Standing::Open).then_some((place, look))
        });
        let Some((place, look)) = revived else { return false };
        ask_again(place, &look, false);
        true
    }

    /// The node where it is under an older spec.
    fn same_node(&self, cluster: &impl Cluster, replica: i64) -> Option<(String, Look)> {
        let tried = &self.memory.asking.tried;
        let fits = |place: &Placement, look: &Look| {
            matches!(look.standing, Standing::Open | Standing::Closed) && !tried.contains(&place.node)
        };
        self.active(replica).find_map(|place| {
            let look = cluster.look(&place.node, &place.uid)?;
            fits(place, &look).then(|| (place.node.clone(), look))
        })
    }

    /// Asks the likeliest node that was not asked yet. Whether there is one.
    fn ask_next(&mut self, cluster: &impl Cluster, replica: i64, better: bool) -> bool {
        let round = if better { &self.memory.moving } else { &self.memory.asking };
        let own = self.status.placements.iter().map(|place| place.node.clone());
        let not: BTreeSet<_> = own.chain(round.tried.iter().cloned()).collect();
        let ask = Ask { session: &self.session, not: &not, better };
        let uid = self.uid_of(replica);
        let open = cluster.rank(&ask).into_iter().find_map(|node| {
            let look = cluster.look(&node, &uid)?;
            (look.standing == Standing::Open).then_some((node, look))
        });
        let Some((node, look)) = open else { return false };
        self.ask(replica, &node, &look);
        true
    }

    fn ask(&mut self, replica: i64, node: &str, look: &Look) {
        let namespace = self.session.namespace().unwrap_or_default();
        self.status.placements.push(Placement {
            replica,
            state: PlacementState::Asking,
            node: node.to_owned(),
            device: String::new(),
            endpoint: look.endpoint.clone(),
            session_name: identity::session_name(&namespace, &self.session.name_any()),
            uid: self.uid_of(replica),
            generation: self.generation(),
            reservation: String::new(),
            epoch: String::new(),
            prediction: None,
            at_risk: None,
        });
    }

    fn uid_of(&self, replica: i64) -> String {
        identity::place_uid(self.session.metadata.uid.as_deref().unwrap_or_default(), replica)
    }
}

/// Turns a place into one that is asked for again. `ended` where it is certain that it is not held.
fn ask_again(place: &mut Placement, look: &Look, ended: bool) {
    place.state = PlacementState::Asking;
    place.endpoint.clone_from(&look.endpoint);
    place.at_risk = None;
    if ended {
        place.reservation.clear();
        place.epoch.clear();
        place.device.clear();
        place.prediction = None;
    }
}

fn fate(cluster: &impl Cluster, place: &Placement) -> Fate {
    match cluster.look(&place.node, &place.uid) {
        None => Fate::Gone,
        Some(look) if !place.epoch.is_empty() && !look.epoch.is_empty() && place.epoch != look.epoch => {
            Fate::Ended(look)
        }
        Some(look) if look.standing == Standing::Lost => Fate::Lost,
        Some(look) => Fate::There(look),
    }
}
