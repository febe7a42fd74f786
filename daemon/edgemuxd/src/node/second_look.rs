//! Looks at all tenants again when what they cost has moved: what is predicted of them now, and whose objective no longer
//! holds. What was learned goes into the store from here.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use edgemux_calibration::admission::Summary;
use edgemux_multiplexer::{Mode, SessionId};

use super::Node;
use super::admission::place;
use crate::config::AtRisk;
use crate::desk::{Look, Why};
use crate::device::Device;
use crate::live::Forecast;
use crate::session::Session;

/// How often it is looked whether anything has moved.
const PERIOD: Duration = Duration::from_millis(500);
/// A parameter that moved by less than this part is not worth a look.
const WORTH: f64 = 0.02;

/// What a prediction of one session rests on.
#[derive(Clone, Debug, PartialEq)]
struct Ground {
    mean: f64,
    scv: f64,
    reload: f64,
    shortfall: f64,
    demoted: bool,
}

/// What the last look at a device rested on.
#[derive(Clone, Debug, PartialEq)]
struct Grounds {
    mode: Mode,
    speed_up: Vec<f64>,
    sessions: HashMap<SessionId, Ground>,
}

/// Runs until the node is gone.
pub(super) async fn run(node: Weak<Node>) {
    let (mut seen, mut saved) = (HashMap::new(), Instant::now());
    while let Some(node) = node.upgrade() {
        for device in &node.devices {
            node.look(device, &mut seen).await;
        }
        if saved.elapsed().as_secs_f64() >= node.config().calibration.save_period_s {
            node.save().await;
            saved = Instant::now();
        }
        // A daemon that stops should not wait for this.
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = node.looks.notified() => {}
        }
    }
}

impl Node {
    /// Saves what was learned. What cannot be saved is kept, and tried again.
    pub(crate) async fn save(&self) {
        for session in self.sessions() {
            self.remember(&session);
        }
        for device in &self.devices {
            let _filing = self.filing();
            if let Some((speed_up, samples)) = device.learned_speed_up() {
                self.desk.profiles.put_speed_up(&device.name, &device.power_mode(), &speed_up, samples);
            }
        }
        let profiles = Arc::clone(&self.desk.profiles);
        let saved = tokio::task::spawn_blocking(move || profiles.save()).await;
        if let Ok(Err(error)) = saved {
            tracing::error!(%error, "what was learned cannot be saved");
        }
    }

    /// Puts into the store what was learned of a session.
    pub(crate) fn remember(&self, session: &Session) {
        let Some(digest) = self.desk.profiles.known_digest(&session.file.path) else { return };
        let Some(device) = self.device(&session.device) else { return };
        let _filing = self.filing();
        let Some(profile) = session.profile() else { return };
        let samples = session.live().samples();
        if samples > 0 && session.state().loaded().is_some() {
            self.desk.profiles.put(&digest, &session.device, &device.power_mode(), &profile, samples);
        }
    }

    /// Forgets what was learned of a session in any power mode, or of all if the name is empty.
    pub(crate) fn forget(&self, name: &str) {
        for session in self.sessions().iter().filter(|session| name.is_empty() || session.name() == name) {
            session.live().reset();
            if let Some(digest) = self.desk.profiles.known_digest(&session.file.path) {
                self.desk.profiles.forget(&digest, &session.device);
            }
        }
        self.look_soon();
    }

    async fn look(&self, device: &Arc<Device>, seen: &mut HashMap<String, Grounds>) {
        let sessions: Vec<_> = self
            .sessions()
            .into_iter()
            .filter(|session| session.device == device.name && !session.state().is_over())
            .collect();
        let mut moved = false;
        let mut grounds = HashMap::new();
        for session in &sessions {
            moved |= session.live().take_moved();
            if let Some(ground) = ground(session) {
                grounds.insert(session.id, ground);
            }
        }
        let snapshot = device.snapshot();
        let curve = (1..=snapshot.speed_up.len()).map(|n| snapshot.speed_up.at(n)).collect();
        let now = Grounds { mode: snapshot.mode, speed_up: curve, sessions: grounds };
        let before = seen.get(&device.name);
        if !moved && before.is_some_and(|before| before.is_near(&now)) {
            return;
        }
        seen.insert(device.name.clone(), now);
        self.look_at(device, &sessions).await;
    }

    async fn look_at(&self, device: &Arc<Device>, sessions: &[Arc<Session>]) {
        let demotes = self.config().admission.at_risk == AtRisk::Demote;
        let mut tenants = self.tenants(device, &[]);
        // Whoever was demoted may be back if that breaks nobody's objective.
        tenants.iter_mut().for_each(|tenant| tenant.demoted = false);
        let mut look = self.desk.look_again(place(device), tenants.clone()).await;
        let first = look.as_ref().map(at_risk).unwrap_or_default();
        while demotes && let Some(broken) = look.as_ref().map(at_risk).filter(|broken| !broken.is_empty()) {
            // Of those that break, the one that is served last.
            let last = tenants
                .iter_mut()
                .filter(|tenant| tenant.is_guaranteed() && broken.contains_key(&tenant.name))
                .max_by_key(|tenant| tenant.terms.priority.wrapping_sub(1));
            let Some(last) = last else { break };
            last.demoted = true;
            look = self.desk.look_again(place(device), tenants.clone()).await;
        }
        device.predict_utilisation(look.as_ref().map_or(0.0, |look| look.verdict.utilisation));
        let mut news = false;
        for session in sessions {
            let name = session.name();
            let forecast = look.as_ref().and_then(|look| forecast(look, &name));
            let reason = first.get(&name).cloned();
            let demoted = tenants.iter().any(|tenant| tenant.name == name && tenant.demoted);
            if session.live().foresee(forecast, reason.clone()) {
                news = true;
                match &reason {
                    Some(reason) => tracing::warn!(session = %name, reason, "SLO at risk"),
                    None => tracing::info!(session = %name, "SLO no longer at risk"),
                }
            }
            let views = look.iter().flat_map(|look| &look.verdict.tenants);
            let delay = views.filter(|view| view.session == name).find_map(|view| view.batch_delay);
            if session.live().allow_batch_delay(delay.unwrap_or(0.0)) {
                device.entitle(session);
            }
            if session.live().demote(demoted) {
                news = true;
                tracing::warn!(session = %name, demoted, "runs as best effort while its objective cannot hold");
                device.entitle(session);
            }
        }
        if news {
            self.changed();
        }
    }
}

/// Why whose objectives do not hold. Where the device does not keep up, that is everybody's.
fn at_risk(look: &Look) -> HashMap<String, String> {
    let mut broken = HashMap::new();
    for reason in &look.verdict.reasons {
        let whose: Vec<_> = match reason.why {
            Why::Objective => vec![reason.session.clone()],
            _ => look.system.sessions.iter().map(|session| session.name.clone()).collect(),
        };
        for name in whose {
            broken.entry(name).or_insert_with(|| reason.message.clone());
        }
    }
    broken
}

fn forecast(look: &Look, name: &str) -> Option<Forecast> {
    let at = look.system.sessions.iter().position(|session| session.name == name)?;
    let latency = look.shown.as_ref()?.sessions.get(at)?;
    let objective = look.system.sessions[at].terms.objective?;
    Some(Forecast { latency: Summary::of(latency), objective: latency.of(objective.statistic) })
}

fn ground(session: &Session) -> Option<Ground> {
    let profile = session.profile()?;
    Some(Ground {
        mean: profile.service.mean(),
        scv: profile.service.scv(),
        reload: profile.reload.map_or(0.0, |reload| reload.overhead.get()),
        shortfall: profile.uncertainty.shortfall,
        demoted: session.live().is_demoted(),
    })
}

impl Grounds {
    fn is_near(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.speed_up.len() == other.speed_up.len()
            && self.speed_up.iter().zip(&other.speed_up).all(|(a, b)| near(*a, *b))
            && self.sessions.len() == other.sessions.len()
            && self
                .sessions
                .iter()
                .all(|(id, ground)| other.sessions.get(id).is_some_and(|o| ground.is_near(o)))
    }
}

impl Ground {
    fn is_near(&self, other: &Self) -> bool {
        near(self.mean, other.mean)
            && near(self.reload, other.reload)
            && (self.scv - other.scv).abs() < 2.0 * WORTH
            && (self.shortfall - other.shortfall).abs() < 2.0 * WORTH
            && self.demoted == other.demoted
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= WORTH * a.abs().max(b.abs())
}
