//! An API server, nodes and a controller, in memory, with time that passes when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use edgemux_cluster_api::FINALIZER;
use edgemux_cluster_api::node::READY;
use edgemux_cluster_api::session::{InferenceSession, InferenceSessionStatus, PlacementState};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::decide::answers::{Answer, Held, rejection};
use crate::decide::{Ask, Call, Cluster, Now, Step, Verb, Work};
use crate::identity;
use crate::memory::Memory;
use crate::nodes::{Look, Nodes, Standing};
use crate::samples::{accelerator, node, session, there};
use crate::sweep;

pub(super) const TTL: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(40);
const LEASE: Duration = Duration::from_secs(40);

#[derive(Clone, Debug)]
struct Place {
    reservation: String,
    generation: i64,
    /// None once it is committed.
    until: Option<Instant>,
    runs: bool,
    /// What serves until this is committed, where a daemon keeps that.
    old: Option<Box<Place>>,
}

/// A node's daemon and its publisher.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    pub(super) name: String,
    epoch: u32,
    count: u32,
    places: BTreeMap<String, Place>,
    /// Whether it and its publisher are reached.
    pub(super) up: bool,
    /// Whether there is an AcceleratorNode.
    pub(super) listed: bool,
    pub(super) takes: bool,
    pub(super) loads: bool,
    pub(super) risky: bool,
    /// Whether what is replaced keeps its place until what replaces it is committed; else it has lost it when that is reserved.
    pub(super) keeps: bool,
}

impl Daemon {
    /// Lets go of those that are so, and brings back what they were to replace.
    fn drop_places(&mut self, is_so: impl Fn(&Place) -> bool) {
        for (uid, mut place) in std::mem::take(&mut self.places) {
            if place.old.as_ref().is_some_and(|old| is_so(old)) {
                place.old = None;
            }
            if !is_so(&place) {
                self.places.insert(uid, place);
            } else if let Some(old) = place.old {
                self.places.insert(uid, *old);
            }
        }
    }
}

/// What goes wrong with one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The step is not done, and the controller hears so: a conflict, or nobody there.
    NotDone,
    /// The step is done, and the controller hears nothing.
    Unheard,
    /// The controller dies before the step.
    DiesBefore,
    /// The controller dies after the step, before it hears.
    DiesAfter,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Instant,
    start: Instant,
    /// None once it is gone.
    pub(super) session: Option<InferenceSession>,
    version: u64,
    pub(super) daemons: Vec<Daemon>,
    nodes: Nodes,
    work: Option<Work>,
    memory: Memory,
    pub(super) notes: Vec<String>,
    pub(super) writes: usize,
}

struct Seen<'a> {
    nodes: &'a Nodes,
    daemons: &'a [Daemon],
    now: Instant,
}

impl World {
    pub(super) fn new(nodes: &[&str], replicas: i64) -> Self {
        let daemon = |name: &&str| Daemon {
            name: (*name).to_owned(),
            epoch: 1,
            count: 0,
            places: BTreeMap::new(),
            up: true,
            listed: true,
            takes: true,
            loads: true,
            risky: false,
            keeps: true,
        };
        let mut session = session("detector");
        session.spec.replicas = replicas;
        let now = Instant::now();
        let mut world = Self {
            now,
            start: now,
            session: Some(session),
            version: 1,
            daemons: nodes.iter().map(daemon).collect(),
            nodes: Nodes::new(GRACE),
            work: None,
            memory: Memory::default(),
            notes: Vec::new(),
            writes: 0,
        };
        world.publish();
        world
    }

    pub(super) fn daemon(&mut self, name: &str) -> &mut Daemon {
        self.daemons.iter_mut().find(|daemon| daemon.name == name).unwrap()
    }

    pub(super) fn status(&self) -> InferenceSessionStatus {
        self.session.as_ref().and_then(|session| session.status.clone()).unwrap_or_default()
    }

    /// `NODE STATE GENERATION`, by place.
    pub(super) fn places(&self) -> Vec<String> {
        let status = self.status();
        let places = status.placements.iter();
        places.map(|p| format!("{} {:?} {}", p.node, p.state, p.generation)).collect()
    }

    pub(super) fn condition(&self, type_: &str) -> String {
        let status = self.status();
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_);
        condition.map(|c| format!("{} {}", c.status, c.reason)).unwrap_or_default()
    }

    pub(super) fn edit(&mut self, change: impl FnOnce(&mut InferenceSession)) {
        let Some(session) = &mut self.session else { return };
        change(session);
        *session.metadata.generation.as_mut().unwrap() += 1;
        self.touch();
    }

    pub(super) fn delete(&mut self) {
        let Some(session) = &mut self.session else { return };
        let at = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH);
        session.metadata.deletion_timestamp = Some(at);
        if session.metadata.finalizers.iter().flatten().next().is_none() {
            self.session = None;
        }
        self.touch();
    }

    fn touch(&mut self) {
        self.version += 1;
        if let Some(session) = &mut self.session {
            session.metadata.resource_version = Some(self.version.to_string());
        }
    }

    /// Time passes; publishers and Leases do what they do every five seconds.
    pub(super) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(5) {
            self.now += Duration::from_secs(5);
            let now = self.now;
            for daemon in &mut self.daemons {
                daemon.drop_places(|place| place.until.is_some_and(|until| until <= now));
            }
            self.publish();
        }
    }

    pub(super) fn publish(&mut self) {
        let stamp = self.now.duration_since(self.start).as_secs().to_string();
        self.nodes.renewed("leader", &stamp, Some(LEASE), self.now);
        let listed = self.daemons.iter().filter(|daemon| daemon.listed);
        let listed: BTreeSet<_> = listed.map(|daemon| daemon.name.clone()).collect();
        self.nodes.retain(&listed);
        for daemon in self.daemons.iter().filter(|daemon| daemon.up && daemon.listed) {
            self.nodes.renewed(&daemon.name, &stamp, Some(LEASE), self.now);
            let mut object = node(&daemon.name, &format!("e{}", daemon.epoch), vec![accelerator("gpu")]);
            let status = object.status.as_mut().unwrap();
            assert_eq!(status.conditions[0].type_, READY);
            let serving =
                daemon.places.iter().map(|(uid, place)| (uid, place.old.as_deref().unwrap_or(place)));
            for (uid, place) in serving.filter(|(_, place)| place.runs) {
                let mut session = there(uid, &place.reservation, "gpu");
                session.at_risk = daemon.risky.then(|| format!("p99 of {stamp} ms"));
                status.sessions.push(session);
            }
            self.nodes.apply(Arc::new(object), self.now);
        }
    }

    /// The daemon starts anew.
    pub(super) fn restart(&mut self, name: &str) {
        let daemon = self.daemon(name);
        daemon.epoch += 1;
        daemon.places.clear();
    }

    /// The controller dies, and another one begins.
    pub(super) fn die(&mut self) {
        self.work = None;
        self.memory = Memory::default();
        self.nodes = Nodes::new(GRACE);
        // Of nodes that are not up nothing is published, but they are listed.
        let silent = self.daemons.iter().filter(|daemon| daemon.listed && !daemon.up);
        for daemon in silent {
            let object = node(&daemon.name, &format!("e{}", daemon.epoch), vec![accelerator("gpu")]);
            self.nodes.apply(Arc::new(object), self.now);
        }
        self.publish();
    }

    /// One step; whether there was anything to be done.
    pub(super) fn step(&mut self, fault: Fault) -> bool {
        let Some(session) = self.session.clone() else { return false };
        let memory = std::mem::take(&mut self.memory);
        let mut work = self.work.take().unwrap_or_else(|| Work::new(session, memory));
        let seconds = self.now.duration_since(self.start).as_secs();
        let wall = Timestamp::from_second(seconds.try_into().unwrap()).unwrap();
        let seen = Seen { nodes: &self.nodes, daemons: &self.daemons, now: self.now };
        let step = work.next(&seen, Now { instant: self.now, wall });
        if let Step::Wait(_) = step {
            self.memory = work.memory;
            return false;
        }
        if fault == Fault::DiesBefore {
            self.die();
            return true;
        }
        let done = fault != Fault::NotDone;
        let heard = matches!(fault, Fault::None | Fault::NotDone);
        let mut goes_on = true;
        match step {
            Step::Wait(_) => {}
            Step::AddFinalizer | Step::RemoveFinalizer | Step::Write => {
                let written = done && self.write(&step, &work);
                if written
                    && heard
                    && let Some(session) = self.session.clone()
                {
                    self.notes.extend(work.notes.drain(..).map(|note| note.reason.to_owned()));
                    work.written(session);
                } else {
                    goes_on = false;
                }
            }
            Step::Call(calls) => {
                for call in calls {
                    let answer = if done { self.ask(&call) } else { Answer::None("not done".into()) };
                    let answer = if heard { answer } else { Answer::None("unheard".into()) };
                    if let Answer::Held(held) = &answer {
                        self.nodes.answered(&call.place.node, &held.epoch);
                    }
                    if matches!((call.verb, &answer), (Verb::Release, Answer::Serves)) {
                        self.nodes.freed();
                    }
                    work.answered(&call, answer, self.now);
                }
            }
        }
        if fault == Fault::DiesAfter {
            self.die();
        } else if goes_on {
            self.work = Some(work);
        } else {
            self.memory = work.memory;
        }
        true
    }

    /// Steps until nothing is left to be done now.
    pub(super) fn run(&mut self) {
        for _ in 0..500 {
            if !self.step(Fault::None) {
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.places());
    }

    /// Passes time and runs until then, with a sweep every minute.
    pub(super) fn run_for(&mut self, seconds: u64) {
        for at in 0..seconds.div_ceil(5) {
            self.pass(5);
            self.run();
            if at % 12 == 11 {
                self.sweep();
            }
        }
    }

    pub(super) fn sweep(&mut self) {
        let found = sweep::orphans(self.nodes.places(self.now), self.session.as_ref());
        for orphan in found {
            let daemon = self.daemon(&orphan.node);
            if daemon.up {
                daemon.drop_places(|place| place.reservation == orphan.reservation);
                self.nodes.freed();
            }
        }
    }

    fn write(&mut self, step: &Step, work: &Work) -> bool {
        let Some(session) = &mut self.session else { return false };
        if session.metadata.resource_version != work.session.metadata.resource_version {
            self.work = None;
            return false;
        }
        self.writes += 1;
        match step {
            Step::AddFinalizer => session.metadata.finalizers = Some(vec![FINALIZER.into()]),
            Step::RemoveFinalizer => {
                self.session = None;
                return true;
            }
            _ => session.status = Some(work.status.clone()),
        }
        self.touch();
        true
    }

    fn ask(&mut self, call: &Call) -> Answer {
        let (now, place) = (self.now, &call.place);
        // What is asked for is in the status that is written.
        let status = self.status();
        let written =
            status.placements.iter().any(|known| known.node == place.node && known.uid == place.uid);
        assert!(written, "{call:?} is not in {:?}", self.places());
        let daemon = self.daemons.iter_mut().find(|daemon| daemon.name == place.node).unwrap();
        if !daemon.up {
            return Answer::None("nobody there".into());
        }
        let known = daemon.places.values_mut().find(|known| known.reservation == place.reservation);
        match call.verb {
            Verb::Reserve => {
                let present = daemon.places.get(&place.uid);
                match present {
                    Some(known) if known.generation > place.generation => {
                        return Answer::Refused(vec![rejection("OutOfDate", "out of date")]);
                    }
                    Some(known) if known.generation == place.generation => {}
                    _ if !daemon.takes => {
                        return Answer::Refused(vec![rejection("Memory", "too little")]);
                    }
                    _ => {
                        daemon.count += 1;
                        let held = Place {
                            reservation: format!("r-{}.{}", daemon.epoch, daemon.count),
                            generation: place.generation,
                            until: Some(now + TTL),
                            runs: false,
                            // What was only reserved is given up by what replaces it.
                            old: present.filter(|_| daemon.keeps).and_then(|present| match &present.old {
                                Some(old) => Some(old.clone()),
                                None => present.runs.then(|| Box::new(present.clone())),
                            }),
                        };
                        daemon.places.insert(place.uid.clone(), held);
                    }
                }
                Answer::Held(Held {
                    reservation: daemon.places[&place.uid].reservation.clone(),
                    epoch: format!("e{}", daemon.epoch),
                    device: "gpu".into(),
                    prediction: None,
                })
            }
            Verb::Commit => match known {
                None => Answer::NoSuch("no such reservation".into()),
                Some(_) if !daemon.loads => Answer::Failed("cannot be read".into()),
                Some(known) => {
                    (known.until, known.runs, known.old) = (None, true, None);
                    Answer::Serves
                }
            },
            Verb::Release => {
                let all = daemon.places.values().flat_map(|known| [Some(known), known.old.as_deref()]);
                if !all.flatten().any(|known| known.reservation == place.reservation) {
                    return Answer::NoSuch("no such reservation".into());
                }
                daemon.drop_places(|known| known.reservation == place.reservation);
                Answer::Serves
            }
        }
    }

    /// Takes the session out of a daemon behind the controller's back.
    pub(super) fn unload(&mut self, name: &str) {
        self.daemon(name).places.clear();
    }

    /// Every session is placed once, or refused with a reason; nobody holds anything that it does not have.
    pub(super) fn check(&mut self) {
        self.pass(TTL.as_secs());
        let mut held: Vec<(String, String, String)> = Vec::new();
        for daemon in self.daemons.iter().filter(|daemon| daemon.listed && daemon.up) {
            for (uid, place) in &daemon.places {
                held.push((daemon.name.clone(), uid.clone(), place.reservation.clone()));
                assert!(place.runs && place.until.is_none(), "{place:?} is neither committed nor over");
            }
        }
        held.sort();
        let Some(session) = &self.session else {
            assert!(held.is_empty(), "nobody's: {held:?}");
            return;
        };
        assert!(session.metadata.deletion_timestamp.is_none(), "it should be gone: {:?}", self.places());
        let status = self.status();
        let places = status.placements.iter();
        let places = places.map(|p| (p.node.clone(), p.uid.clone(), p.reservation.clone()));
        let mut places: Vec<_> = places.collect();
        places.sort();
        assert_eq!(places, held, "{status:#?}");
        let generation = session.metadata.generation.unwrap();
        assert_eq!(status.observed_generation, generation);
        let replicas = session.spec.replicas;
        let current = status
            .placements
            .iter()
            .filter(|p| p.generation == generation && p.state == PlacementState::Ready);
        let current: BTreeSet<_> = current.map(|p| p.replica).collect();
        if self.condition("Admitted").starts_with("True") {
            assert_eq!(current, (0..replicas).collect(), "{:?}", self.places());
            assert_eq!(status.placements.len() as i64, replicas, "{:?}", self.places());
            assert_eq!(self.condition("Ready"), "True Serving");
        } else {
            assert!(
                matches!(self.condition("Admitted").as_str(), "False Refused" | "False NoNode"),
                "{} {:?}",
                self.condition("Admitted"),
                self.places()
            );
            let taking = self.daemons.iter().filter(|d| d.takes && d.loads && d.up && d.listed).count();
            assert!((taking as i64) < replicas, "{taking} nodes would take it");
        }
        let uids: BTreeSet<_> = places.iter().map(|(_, uid, _)| uid.clone()).collect();
        assert!(uids.iter().all(|uid| identity::owner_of(uid).is_some()));
        assert_eq!(uids.len(), places.len(), "a replica has two places: {:?}", self.places());
    }
}

impl Cluster for Seen<'_> {
    fn look(&self, node: &str, uid: &str) -> Option<Look> {
        self.nodes.look(node, uid, self.now)
    }

    fn rank(&self, ask: &Ask<'_>) -> Vec<String> {
        let names = self.daemons.iter().map(|daemon| daemon.name.clone());
        let open = |name: &String| self.nodes.standing(name, self.now) == Some(Standing::Open);
        names.filter(|name| open(name) && !ask.not.contains(name)).collect()
    }

    fn changes(&self) -> u64 {
        self.nodes.changes()
    }
}
