//! The cluster as the placement policy takes it: every accelerator that is in service is a node of its own, of a kind that
//! it shares with all that are of the same hardware and shared in the same way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use edgemux_calibration::profile::{Memory, Profile};
use edgemux_calibration::system::{Device, DeviceKind, Host, Mode, Slicing, SpeedUp};
use edgemux_calibration::terms::{Objective, Statistic, Terms};
use edgemux_calibration::units::{Hertz, Quantile, Scv, Seconds};
use edgemux_cluster_api::node::{
    Accelerator, AcceleratorKind, AcceleratorNode, AcceleratorNodeStatus, ModelProfile, Multiplexing,
};
use edgemux_cluster_api::objective::LatencyObjective;
use edgemux_cluster_api::session::ModelReference;
use edgemux_placement::app::{App, AppId};
use edgemux_placement::assess::{Limits, Undecided};
use edgemux_placement::catalogue::{Catalogue, Cost, Kind, KindId, ModelId};
use edgemux_placement::cluster::{Cluster, NodeId};
use edgemux_placement::plan::Step;
use edgemux_placement::policy::Ours;
use edgemux_placement::policy::ours::Options;
use kube::ResourceExt;
use tokio::time::Instant;

use super::book::{Book, Booked, Load};
use crate::decide::Ask;
use crate::nodes::{Nodes, Standing};

/// Memory of a device without a limit, bytes.
const UNLIMITED: u64 = 1 << 50;

/// Place of a node in the picture.
pub type At = usize;

/// Nodes, what runs there, and what models cost.
#[derive(Debug)]
pub struct Picture {
    drawn_at: Instant,
    changes: u64,
    nodes: Vec<Node>,
    by_name: HashMap<String, At>,
    /// Of each device of the cluster, its node.
    owners: Vec<At>,
    cluster: Cluster,
    policy: Ours,
    digests: HashMap<String, ModelId>,
    /// The file of each model and version, as far as it was seen running.
    files: BTreeMap<(String, i64), String>,
    /// Who is where, by node and uid.
    tenants: HashMap<(At, String), Option<(AppId, NodeId)>>,
}

#[derive(Debug)]
struct Node {
    object: Arc<AcceleratorNode>,
    /// In service.
    devices: Vec<(NodeId, AcceleratorKind)>,
    /// Versions of each model.
    models: HashMap<String, BTreeSet<i64>>,
    /// Sessions there, best effort among them.
    sessions: usize,
    /// What the publisher says of its least loaded device; permille.
    load: i64,
}

/// What tells kinds apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KindKey {
    kind: AcceleratorKind,
    hardware: String,
    power_mode: String,
    multiplexing: Multiplexing,
    auto: bool,
    width: i64,
    quantum: i64,
    memory: i64,
    speed_up: Vec<i64>,
}

impl Picture {
    /// The cluster as it is now.
    #[must_use]
    pub fn draw(nodes: &Nodes, book: &Book, now: Instant) -> Self {
        let open: Vec<_> = nodes.all(now).filter(|(_, standing)| *standing == Standing::Open).collect();
        let mut kinds: HashMap<KindKey, usize> = HashMap::new();
        let mut samples = Vec::new();
        let mut best: Vec<HashMap<&str, &ModelProfile>> = Vec::new();
        let mut digests: HashMap<String, ModelId> = HashMap::new();
        let mut files = BTreeMap::new();
        let mut found = Vec::with_capacity(open.len());
        let mut of_devices = Vec::new();
        let mut owners = Vec::new();
        for (object, _) in &open {
            let Some(status) = &object.status else { continue };
            let at = found.len();
            let mut devices = Vec::new();
            for device in status.accelerators.iter().filter(|device| device.fenced.is_none()) {
                let key = KindKey::of(device);
                let kind = *kinds.entry(key).or_insert_with(|| {
                    samples.push(device);
                    best.push(HashMap::new());
                    samples.len() - 1
                });
                devices.push((NodeId(of_devices.len() as u32), device.kind));
                of_devices.push(KindId(kind as u32));
                owners.push(at);
                for profile in &status.profiles {
                    let fits = profile.accelerator == device.name && profile.power_mode == device.power_mode;
                    if !fits || profile.service_micros <= 0 {
                        continue;
                    }
                    let next = ModelId(digests.len() as u32);
                    digests.entry(profile.digest.clone()).or_insert(next);
                    let best = best[kind].entry(&profile.digest).or_insert(profile);
                    if profile.samples > best.samples {
                        *best = profile;
                    }
                }
            }
            for session in status.sessions.iter().filter(|session| !session.digest.is_empty()) {
                if let Some(model) = versioned(&session.model) {
                    files.insert(model, session.digest.clone());
                }
            }
            found.push(Node::of(object, status, devices));
        }
        let mut models = vec![String::new(); digests.len()];
        for (digest, model) in &digests {
            models[model.0 as usize].clone_from(digest);
        }
        let kinds = samples.iter().zip(&best).map(|(device, profiles)| {
            let cost = |digest: &String| profiles.get(digest.as_str()).map(|profile| cost(profile));
            kind(device, models.iter().map(cost).collect())
        });
        let catalogue = Catalogue { kinds: kinds.collect(), models };
        let options = Options {
            limits: Limits { memory: 1.0, utilisation: 0.95 },
            undecided: Undecided::Refuse,
            parts: 1,
            ..Options::default()
        };
        let mut picture = Self {
            drawn_at: now,
            changes: nodes.changes(),
            by_name: found.iter().enumerate().map(|(at, node)| (node.object.name_any(), at)).collect(),
            nodes: found,
            owners,
            cluster: Cluster::new(catalogue, of_devices),
            policy: Ours::new(options),
            digests,
            files,
            tenants: HashMap::new(),
        };
        picture.populate(book);
        picture
    }

    /// When it was drawn.
    #[must_use]
    pub fn drawn_at(&self) -> Instant {
        self.drawn_at
    }

    /// What [`Nodes::changes`] was then.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// A node's name.
    #[must_use]
    pub fn name(&self, at: At) -> &str {
        self.nodes[at].object.metadata.name.as_deref().unwrap_or_default()
    }

    /// A place counts from now on.
    pub fn add(&mut self, booked: &Booked) {
        let Some(&at) = self.by_name.get(&booked.node) else { return };
        let key = (at, booked.uid.clone());
        if self.tenants.contains_key(&key) {
            return;
        }
        let tenant = self.host(at, &booked.uid, &booked.device, &booked.load);
        self.tenants.insert(key, tenant);
        self.nodes[at].sessions += 1;
    }

    /// A place counts no longer.
    pub fn remove(&mut self, node: &str, uid: &str) {
        let Some(&at) = self.by_name.get(node) else { return };
        let Some(tenant) = self.tenants.remove(&(at, uid.to_owned())) else { return };
        self.nodes[at].sessions = self.nodes[at].sessions.saturating_sub(1);
        if let Some((app, _)) = tenant {
            self.cluster.withdraw(app);
        }
    }

    /// The nodes that may run it, and none that is out of the question.
    #[must_use]
    pub fn fitting(&self, ask: &Ask<'_>) -> HashSet<At> {
        let spec = &ask.session.spec;
        let fits = |node: &Node| {
            let labels = node.object.metadata.labels.as_ref();
            let labelled = |(key, value)| labels.is_some_and(|labels| labels.get(key) == Some(value));
            node.has(&spec.model)
                && spec.node_selector.iter().all(labelled)
                && node.devices.iter().any(|(_, kind)| is_allowed(&spec.kinds, *kind))
        };
        let nodes = self.nodes.iter().enumerate();
        let nodes = nodes.filter(|(at, node)| !ask.not.contains(self.name(*at)) && fits(node));
        nodes.map(|(at, _)| at).collect()
    }

    /// Those that are expected to take it, best first.
    pub fn expected(&mut self, load: &Load, fit: &HashSet<At>, most: usize) -> Vec<At> {
        let (Some(model), Some(terms)) = (self.model(&load.model), terms(load)) else { return Vec::new() };
        let app = self.cluster.announce(App { name: String::new(), model, terms });
        let not: Vec<_> = self
            .owners
            .iter()
            .enumerate()
            .map(|(device, at)| (NodeId(device as u32), *at))
            .filter(|(device, at)| !fit.contains(at) || !self.allows(*at, *device, load))
            .map(|(device, _)| device)
            .collect();
        // A node may have several devices that do.
        let ranked = self.policy.rank_without(&self.cluster, app, 2 * most, &not);
        let mut nodes = Vec::with_capacity(most);
        for device in ranked {
            let at = self.owners[device.0 as usize];
            if nodes.len() < most && !nodes.contains(&at) {
                nodes.push(at);
            }
        }
        nodes
    }

    /// The others, the least loaded first: those of which it is not known what it costs there, and those that are expected to
    /// refuse.
    #[must_use]
    pub fn others(&self, load: &Load, fit: &HashSet<At>, expected: &[At]) -> (Vec<At>, Vec<At>) {
        let model = self.model(&load.model).filter(|_| load.rate_hz.is_some());
        let is_known = |at: At| {
            let kind = |device: NodeId| self.cluster.catalogue().kind(self.cluster.node(device).kind());
            let known = |device| model.is_some_and(|model| kind(device).cost(model).is_some());
            self.nodes[at]
                .devices
                .iter()
                .any(|(device, kind)| is_allowed(&load.kinds, *kind) && known(*device))
        };
        let mut others: Vec<_> = fit.iter().copied().filter(|at| !expected.contains(at)).collect();
        others.sort_by_cached_key(|&at| (self.load(at), self.nodes[at].sessions, self.name(at).to_owned()));
        let (full, unknown) = others.into_iter().partition(|&at| is_known(at));
        (unknown, full)
    }

    #[cfg(test)]
    pub(super) fn by_name(&self, name: &str) -> At {
        self.by_name[name]
    }

    /// How busy the least loaded device of a node will be; permille.
    pub(super) fn load(&self, at: At) -> i64 {
        let node = &self.nodes[at];
        let work = node.devices.iter().map(|(device, _)| self.cluster.node(*device).work());
        let work = work.fold(f64::INFINITY, f64::min);
        node.load.max((work.min(1e3) * 1e3) as i64)
    }

    fn populate(&mut self, book: &Book) {
        for at in 0..self.nodes.len() {
            let object = Arc::clone(&self.nodes[at].object);
            let sessions =
                object.status.as_ref().map(|status| status.sessions.as_slice()).unwrap_or_default();
            for session in sessions {
                let Some((model, version)) = versioned(&session.model) else { continue };
                let digest = Some(session.digest.clone()).filter(|digest| !digest.is_empty());
                let load = Load {
                    model: ModelReference { name: model, version: Some(version), digest },
                    rate_hz: (session.rate_millihertz > 0).then_some(session.rate_millihertz as f64 / 1e3),
                    objective: session.objective,
                    kinds: Vec::new(),
                };
                let tenant = self.host(at, &session.name, &session.accelerator, &load);
                let known_as = if session.uid.is_empty() { &session.name } else { &session.uid };
                self.tenants.insert((at, known_as.clone()), tenant);
                self.nodes[at].sessions += 1;
            }
        }
        for booked in book.all() {
            self.add(booked);
        }
    }

    /// Puts a tenant where it is, or will probably be. None where it takes no part in predictions.
    fn host(&mut self, at: At, name: &str, device: &str, load: &Load) -> Option<(AppId, NodeId)> {
        let model = self.model(&load.model)?;
        let terms = terms(load)?;
        let node = &self.nodes[at];
        let devices =
            node.object.status.as_ref()?.accelerators.iter().filter(|device| device.fenced.is_none());
        let names = devices.map(|device| device.name.as_str());
        let runs =
            |id: NodeId| self.cluster.catalogue().kind(self.cluster.node(id).kind()).cost(model).is_some();
        let mut on = names.zip(&node.devices).filter(|(_, (id, _))| runs(*id));
        let (_, (on, _)) = if device.is_empty() {
            on.filter(|(_, (_, kind))| is_allowed(&load.kinds, *kind)).min_by(|a, b| {
                let work = |id: NodeId| self.cluster.node(id).work();
                work(a.1.0).total_cmp(&work(b.1.0))
            })?
        } else {
            on.find(|(name, _)| *name == device)?
        };
        let (on, rate) = (*on, terms.rate.get());
        let app = self.cluster.announce(App { name: name.to_owned(), model, terms });
        self.cluster.step(&Step::Host { app, node: on, rate });
        Some((app, on))
    }

    /// The model that is meant, if it is known what it costs anywhere.
    fn model(&self, wanted: &ModelReference) -> Option<ModelId> {
        let digest = match (&wanted.digest, wanted.version) {
            (Some(digest), _) => digest,
            (None, Some(version)) => self.files.get(&(wanted.name.clone(), version))?,
            (None, None) => {
                let versions = (wanted.name.clone(), 0)..=(wanted.name.clone(), i64::MAX);
                self.files.range(versions).next_back()?.1
            }
        };
        self.digests.get(digest).copied()
    }

    fn allows(&self, at: At, device: NodeId, load: &Load) -> bool {
        let mut devices = self.nodes[at].devices.iter();
        devices.any(|(id, kind)| *id == device && is_allowed(&load.kinds, *kind))
    }
}

impl Node {
    fn of(
        object: &Arc<AcceleratorNode>,
        status: &AcceleratorNodeStatus,
        devices: Vec<(NodeId, AcceleratorKind)>,
    ) -> Self {
        let mut models: HashMap<String, BTreeSet<i64>> = HashMap::new();
        for (name, version) in status.models.iter().filter_map(|model| versioned(model)) {
            models.entry(name).or_default().insert(version);
        }
        let in_service = status.accelerators.iter().filter(|device| device.fenced.is_none());
        let load = in_service.map(|device| device.load_permille).min().unwrap_or_default();
        Self { object: Arc::clone(object), devices, models, sessions: 0, load }
    }

    fn has(&self, model: &ModelReference) -> bool {
        let versions = self.models.get(&model.name);
        versions.is_some_and(|versions| model.version.is_none_or(|version| versions.contains(&version)))
    }
}

impl KindKey {
    fn of(device: &Accelerator) -> Self {
        Self {
            kind: device.kind,
            hardware: device.hardware.clone(),
            power_mode: device.power_mode.clone(),
            multiplexing: device.multiplexing,
            auto: device.multiplexing_auto,
            width: device.width,
            quantum: device.quantum_micros,
            memory: device.memory_bytes,
            speed_up: device.speed_up_permille.clone(),
        }
    }
}

/// `NAME/VERSION`.
fn versioned(model: &str) -> Option<(String, i64)> {
    let (name, version) = model.rsplit_once('/')?;
    Some((name.to_owned(), version.parse().ok()?))
}

fn is_allowed(kinds: &[AcceleratorKind], kind: AcceleratorKind) -> bool {
    kinds.is_empty() || kinds.contains(&kind)
}

fn terms(load: &Load) -> Option<Terms> {
    let (rate, objective) = (load.rate_hz?, load.objective?);
    let rate = Hertz::new(rate).ok().filter(|rate| rate.get() > 0.0)?;
    Some(Terms::poisson(rate, Some(self::objective(objective)?)))
}

fn objective(objective: LatencyObjective) -> Option<Objective> {
    let statistic = match objective.quantile_permille {
        Some(permille) => Statistic::Quantile(Quantile::new(permille as f64 / 1e3).ok()?),
        None => Statistic::Mean,
    };
    Some(Objective { statistic, latency: Seconds::new(objective.latency_micros as f64 / 1e6).ok()? })
}

fn cost(profile: &ModelProfile) -> Cost {
    let seconds = |micros: i64| Seconds::clamped(micros as f64 / 1e6);
    let spread = profile.service_cv_permille.max(0) as f64 / 1e3;
    let scv = Scv::new(spread * spread).unwrap_or(Scv::ONE);
    let mut known = Profile::of(seconds(profile.service_micros), scv);
    if profile.reload_micros > 0 {
        known = known.with_reload(seconds(profile.reload_micros), None);
    }
    let bytes = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
    known.memory = Memory {
        at_rest: bytes(profile.memory_at_rest_bytes),
        peak: bytes(profile.memory_peak_bytes.max(profile.memory_at_rest_bytes)),
    };
    // What a model keeps on the chip is not published. Beside a chip of one byte it is next to nothing, so that models are
    // never thought of as compiled together, which is not for a daemon to do.
    Cost { profile: known, on_chip: 1 << 20 }
}

fn kind(device: &Accelerator, costs: Vec<Option<Cost>>) -> Kind {
    let number = |n: i64| u32::try_from(n).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let mode_of = |multiplexing| match multiplexing {
        Multiplexing::Exclusive => Mode::Exclusive { run_max: NonZeroU32::MIN },
        Multiplexing::TimeSliced => {
            let quantum = Seconds::clamped(device.quantum_micros.max(1) as f64 / 1e6);
            Mode::TimeSliced(Slicing::RoundRobin { quantum })
        }
        Multiplexing::Concurrent => Mode::Concurrent { width: number(device.width) },
    };
    let mode = mode_of(device.multiplexing);
    let modes = match device.multiplexing_auto {
        true => vec![
            mode_of(Multiplexing::Exclusive),
            mode_of(Multiplexing::TimeSliced),
            mode_of(Multiplexing::Concurrent),
        ],
        false => vec![mode],
    };
    let memory = match u64::try_from(device.memory_bytes) {
        Ok(0) | Err(_) => UNLIMITED,
        Ok(bytes) => bytes,
    };
    let reloads = costs.iter().flatten().any(|cost| cost.profile.reload.is_some());
    let curve = device.speed_up_permille.iter().map(|&permille| permille as f64 / 1e3).collect();
    Kind {
        name: device.hardware.clone(),
        device: Device {
            name: device.name.clone(),
            kind: match device.kind {
                AcceleratorKind::Cpu => DeviceKind::Cpu,
                AcceleratorKind::Gpu => DeviceKind::Gpu,
                AcceleratorKind::EdgeTpu => DeviceKind::EdgeTpu,
            },
            mode,
            memory,
            on_chip: u64::from(reloads),
            speed_up: SpeedUp::new(curve).unwrap_or_else(|_| SpeedUp::none()),
            bus: None,
            background: None,
        },
        modes,
        host: Host { cores: NonZeroU32::MIN, busy: 0.0 },
        costs,
    }
}
