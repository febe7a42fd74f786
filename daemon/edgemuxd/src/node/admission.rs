//! Who may come in: from what a client asks to a place on a device.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edgemux_calibration::profile::Profile;
use edgemux_runtime_api::runtime::DeviceKind;

use super::{LoadError, Node};
use crate::access::Caller;
use crate::desk::{
    Candidate, Commit, Held, Known, Place, PlaceId, Reason, ReservationError, Tenant, Verdict, Weighed, Why,
};
use crate::device::Device;
use crate::repository::{ModelFile, ModelVersion, RepositoryError};
use crate::session::{Session, State};
use crate::status::Kind;
use crate::terms::{Terms, statistic_name};

/// Longest time that a reservation is held, s.
const TTL_S_MAX: f64 = 86_400.0;

/// What a caller asks for, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) model: &'a str,
    /// By default the newest, or what its `model.toml` says.
    pub(crate) version: Option<&'a str>,
    /// By default those of its `model.toml`.
    pub(crate) terms: Option<Terms>,
    /// Whether its other versions go once it is ready.
    pub(crate) alone: bool,
    /// By default the model's.
    pub(crate) session_name: Option<&'a str>,
    /// SHA-256 of the file; by default any.
    pub(crate) digest: Option<&'a str>,
}

/// A model and the terms under which it is to run.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) caller: Caller,
    pub(crate) alone: bool,
    pub(crate) model: ModelVersion,
    pub(crate) terms: Terms,
    pub(crate) digest: Option<String>,
}

/// What becomes of a place that is admitted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hold<'a> {
    /// It is not held.
    Nothing,
    /// It is held until the load is over.
    Load,
    /// It is held for a caller, for a time.
    Reservation { uid: &'a str, generation: u64, ttl: Duration },
}

/// What a caller is told who reserved.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) verdict: Verdict,
    /// Its name, and how long it is held; none of a refusal.
    pub(crate) held: Option<(String, Duration)>,
}

/// Whose reservation a session came of.
#[derive(Debug, Default)]
pub(crate) struct ReservedBy {
    pub(crate) reservation: String,
    pub(crate) uid: String,
    pub(crate) generation: u64,
}

impl Node {
    /// Finds the model, and its declared terms if none are given.
    pub(crate) fn ask(
        &self,
        caller: &Caller,
        Wanted { model, version, terms, alone, session_name, digest }: Wanted<'_>,
    ) -> Result<Ask, LoadError> {
        let own_name = session_name.filter(|name| *name != model);
        if let Some(name) = [Some(model), own_name].into_iter().flatten().find(|name| !caller.may_use(name)) {
            let tenant = caller.tenant().unwrap_or_default().to_owned();
            return Err(LoadError::NotYours { model: name.to_owned(), tenant });
        }
        if let Some(name) = own_name {
            self.repository.check_session_name(name)?;
        }
        let terms = match terms {
            Some(terms) => terms,
            None => {
                // The name is checked before it becomes a path.
                self.repository.find(model, "").map(drop).or_else(unless_missing)?;
                self.repository.declared(model)?.unwrap_or_default()
            }
        };
        terms.check()?;
        let declared = terms.version.map(|version| version.to_string());
        let model = self.repository.find(model, version.or(declared.as_deref()).unwrap_or_default())?;
        let model = match own_name {
            Some(name) => model.served_as(name),
            None => model,
        };
        Ok(Ask { caller: caller.clone(), alone, model, terms, digest: digest.map(str::to_owned) })
    }

    /// The verdict that a reservation would get; nothing is held.
    pub(crate) async fn evaluate(&self, ask: &Ask) -> Result<Verdict, LoadError> {
        Ok(self.decide(ask, Hold::Nothing).await?.0)
    }

    /// Decides and, if that admits, holds the place for a time. 0 takes the configured one.
    pub(crate) async fn reserve(
        &self,
        uid: &str,
        generation: u64,
        ask: &Ask,
        ttl_s: f64,
    ) -> Result<Reserved, LoadError> {
        let ttl_s = if ttl_s == 0.0 { self.config().admission.reservation_ttl_s } else { ttl_s };
        if !(ttl_s > 0.0 && ttl_s <= TTL_S_MAX) {
            return Err(ReservationError::Ttl(ttl_s).into());
        }
        let hold = Hold::Reservation { uid, generation, ttl: Duration::from_secs_f64(ttl_s) };
        let (verdict, place) = self.decide(ask, hold).await?;
        self.decided(ask, &verdict);
        let ledger = self.desk.ledger();
        let left = |place| ledger.get(place)?.left(Instant::now());
        let held = place.map(|place| (ledger.name(place), left(place).unwrap_or_default()));
        Ok(Reserved { verdict, held })
    }

    /// Loads a reserved session; returns when it is ready. Once more is harmless.
    pub(crate) async fn commit(&self, reservation: &str) -> Result<Arc<Session>, LoadError> {
        let (place, commit) = {
            let mut ledger = self.desk.ledger();
            ledger.expire(Instant::now());
            ledger.commit(reservation)?
        };
        match commit {
            Commit::Load => self.bring_in(place).await,
            Commit::Serves(id) => {
                self.sessions().into_iter().find(|session| session.id == id).ok_or(LoadError::NoPlace)
            }
        }
    }

    /// Gives a reservation back; a session that was loaded for it is drained and unloaded.
    pub(crate) async fn release(&self, reservation: &str) -> Result<(), LoadError> {
        let session = self.desk.ledger().release(reservation)?;
        let session = self.sessions().into_iter().find(|known| Some(known.id) == session);
        if let Some(session) = session {
            self.unload_one(&session).await;
        }
        self.looks.notify_one();
        Ok(())
    }

    /// The reservation that a session came of.
    pub(crate) fn reservation_of(&self, session: &Session) -> Option<ReservedBy> {
        let ledger = self.desk.ledger();
        let (place, held) = ledger.of(session.id, loading_file(session))?;
        // What a tenant's uid is scoped by is the daemon's own.
        let uid = held.uid().unwrap_or_default().rsplit('\0').next().unwrap_or_default().to_owned();
        Some(ReservedBy { reservation: ledger.name(place), uid, generation: held.generation() })
    }

    /// Somebody was told a decision: it is counted, and noted.
    pub(super) fn decided(&self, ask: &Ask, verdict: &Verdict) {
        self.desk.count(verdict);
        let rate = ask.terms.guarantee().map(|(rate_hz, objective)| {
            let statistic = statistic_name(objective.quantile);
            format!("{rate_hz}/s, {statistic} within {} ms", objective.latency_ms)
        });
        let asked = rate.unwrap_or_else(|| "best effort".into());
        let (kind, text) = if verdict.admitted {
            (Kind::Admitted, format!("{asked}: on {}", verdict.device))
        } else {
            (Kind::Refused, format!("{asked}: {}", verdict.why_not()))
        };
        self.journal.note(kind, &ask.model.name(), text);
    }

    /// Decides and, if that admits, holds the place as `hold` says.
    pub(super) async fn decide(
        &self,
        ask: &Ask,
        hold: Hold<'_>,
    ) -> Result<(Verdict, Option<PlaceId>), LoadError> {
        let (weighed, place) = self.weigh(ask, hold).await?;
        // Who loads by Triton's way hears nothing of an admission but that.
        let mut verdict = match (hold, place) {
            (Hold::Load, Some(_)) => weighed.verdict,
            _ => self.desk.look_further(weighed).await,
        };
        if let Some(place) = place {
            // Who asks again hears the same.
            self.desk.ledger().heard(place, &verdict);
        }
        // Of reasons that several devices share, one is enough.
        let mut said = BTreeSet::new();
        verdict.reasons.retain(|reason| said.insert((reason.device.clone(), reason.message.clone())));
        Ok((verdict, place))
    }

    async fn weigh(&self, ask: &Ask, hold: Hold<'_>) -> Result<(Weighed, Option<PlaceId>), LoadError> {
        let files = looked_inside(ask.model.clone()).await.files;
        let devices = self.capable(ask, &files)?;
        let devices = self.of_digest(ask, devices).await?;
        let mut known = Vec::with_capacity(devices.len());
        for (device, file) in devices {
            // Nothing can be measured on one that is fenced.
            let profile = if device.is_fenced() { None } else { self.cost(ask, file, device).await? };
            known.push((device, file, profile));
        }
        let _turn = self.desk.turn.lock().await;
        let replaces = match self.asked_before(ask, hold)? {
            Known::Same(place) => {
                let verdict = self.desk.ledger().get(place).map(|held| held.verdict.clone());
                return Ok((verdict.ok_or(LoadError::NoPlace)?.into(), Some(place)));
            }
            Known::New { replaces } => replaces,
        };
        if !matches!(hold, Hold::Nothing) {
            self.check_name(ask, hold)?;
        }
        let replaced: Vec<Held> = {
            let ledger = self.desk.ledger();
            replaces.iter().filter_map(|&old| ledger.get(old).cloned()).collect()
        };
        if !matches!(hold, Hold::Nothing) {
            self.within_share(ask, &replaced)?;
        }
        let mut own = vec![ask.model.name()];
        own.extend(replaced.iter().map(|old| name(&old.file)));
        own.extend(self.others_of(ask).iter().map(|session| session.name()));
        let except: Vec<_> = own.iter().map(String::as_str).collect();
        let mut candidates = Vec::with_capacity(known.len());
        let mut fenced = Vec::new();
        for (device, _, profile) in &known {
            let (terms, profile) = (ask.terms.clone(), profile.clone());
            let newcomer = Tenant { name: ask.model.name(), terms, profile, demoted: false };
            match device.snapshot().fenced {
                Some(reason) => {
                    let message = format!("it is fenced: {reason}");
                    fenced.push(Reason::plain(Why::Fenced, &device.name, message));
                }
                None => {
                    let tenants = self.tenants(device, &except);
                    candidates.push(Candidate { place: place(device), tenants, newcomer });
                }
            }
        }
        let weighed = self.desk.weigh(candidates, fenced).await;
        let verdict = &weighed.verdict;
        let chosen = known.into_iter().find(|(device, ..)| verdict.admitted && device.name == verdict.device);
        let (Some((device, file, profile)), false) = (chosen, matches!(hold, Hold::Nothing)) else {
            return Ok((weighed, None));
        };
        let (file, terms) = (file.clone(), ask.terms.clone());
        let held = Held::loading(file, terms, device.name.clone(), profile, verdict.clone());
        let held = match hold {
            Hold::Reservation { uid, generation, ttl } => {
                held.reserved(uid, generation, Instant::now() + ttl)
            }
            Hold::Nothing | Hold::Load => held,
        };
        let place = self.desk.ledger().hold(held)?;
        // One that serves under the same name goes, and its place with it, when the new one is ready: if it never is, nothing
        // has changed.
        let gives_way = |old: &Held| old.session().is_none() || name(&old.file) != ask.model.name();
        for (old, _) in replaces.into_iter().zip(&replaced).filter(|(_, old)| gives_way(old)) {
            let session = self.desk.ledger().remove(old).and_then(|old| old.session());
            if let Some(old) = self.sessions().into_iter().find(|old| Some(old.id) == session) {
                self.unload_one(&old).await;
            }
        }
        Ok((weighed, Some(place)))
    }

    /// A name of one's own is nobody else's, whatever the version. A model's own name is everybody's who may use the model:
    /// whoever loads it takes the place of who loaded it before.
    fn check_name(&self, ask: &Ask, hold: Hold<'_>) -> Result<(), LoadError> {
        let caller = match hold {
            Hold::Reservation { uid, .. } => Some(uid),
            Hold::Nothing | Hold::Load => None,
        };
        let (name, ledger) = (&ask.model.model, self.desk.ledger());
        let taken = |whose: &str| Err(LoadError::NameTaken { name: name.clone(), whose: whose.to_owned() });
        let mut held = ledger.named(name).filter(|held| held.is_renamed() || ask.model.is_renamed());
        if held.any(|held| held.uid() != caller) {
            return taken("another caller holds or has reserved");
        }
        let sessions = self.sessions();
        let mut live = sessions.iter().filter(|s| s.file.model == *name && !s.state().is_over());
        let is_anothers = |session: &Arc<Session>| {
            let owner = ledger.of(session.id, loading_file(session)).and_then(|(_, held)| held.uid());
            (session.file.source.is_some() || ask.model.is_renamed()) && owner != caller
        };
        if live.any(is_anothers) { taken("serves already") } else { Ok(()) }
    }

    /// Of the devices those whose file is the one that is wanted, if one is.
    async fn of_digest<'a>(
        &self,
        ask: &Ask,
        devices: Vec<(&'a Arc<Device>, &'a ModelFile)>,
    ) -> Result<Vec<(&'a Arc<Device>, &'a ModelFile)>, LoadError> {
        let Some(wanted) = &ask.digest else { return Ok(devices) };
        let (mut fitting, mut found) = (Vec::with_capacity(devices.len()), String::new());
        for (device, file) in devices {
            let digest = self.digest(file).await?;
            if digest.eq_ignore_ascii_case(wanted) {
                fitting.push((device, file));
            } else {
                found = digest;
            }
        }
        if fitting.is_empty() {
            let (model, wanted) = (ask.model.model.clone(), wanted.clone());
            return Err(LoadError::OtherFile { model, wanted, found });
        }
        Ok(fitting)
    }

    /// The sessions of the model's other versions that go once this one is ready.
    pub(super) fn others_of(&self, ask: &Ask) -> Vec<Arc<Session>> {
        let mut sessions = self.sessions();
        let (model, version) = (&ask.model.model, ask.model.version);
        let is_other = |session: &Session| session.file.model == *model && session.file.version != version;
        sessions.retain(|session| ask.alone && is_other(session) && !session.state().is_over());
        sessions
    }

    /// Has the caller room for one more session, for which `replaced` give up their places?
    fn within_share(&self, ask: &Ask, replaced: &[Held]) -> Result<(), LoadError> {
        let Some(most) = ask.caller.sessions_max() else { return Ok(()) };
        let sessions = self.sessions();
        let live = sessions.iter().filter(|session| !session.state().is_over()).map(|session| &session.file);
        let ledger = self.desk.ledger();
        let files = live.chain(ledger.files()).filter(|file| ask.caller.may_use(&file.model));
        let mut has: BTreeSet<_> = files.map(name).collect();
        has.remove(&ask.model.name());
        for other in self.others_of(ask) {
            has.remove(&other.name());
        }
        for replaced in replaced {
            has.remove(&name(&replaced.file));
        }
        if has.len() < most {
            return Ok(());
        }
        let tenant = ask.caller.tenant().unwrap_or_default().to_owned();
        Err(LoadError::TooManySessions { tenant, most })
    }

    fn asked_before(&self, ask: &Ask, hold: Hold<'_>) -> Result<Known, LoadError> {
        let mut ledger = self.desk.ledger();
        ledger.expire(Instant::now());
        match hold {
            Hold::Reservation { uid, generation, .. } => {
                Ok(ledger.known(uid, generation, &ask.model, &ask.terms)?)
            }
            Hold::Nothing | Hold::Load => Ok(Known::New { replaces: Vec::new() }),
        }
    }

    /// Everybody with a place on `device`, but for those of these names, whose place a newcomer takes.
    pub(super) fn tenants(&self, device: &Device, except: &[&str]) -> Vec<Tenant> {
        let sessions = self.sessions();
        let there = sessions
            .iter()
            .filter(|session| session.device == device.name && !session.state().is_over())
            .map(|session| Tenant {
                name: session.name(),
                terms: session.terms.clone(),
                profile: session.profile(),
                demoted: session.live().is_demoted(),
            });
        let mut tenants: Vec<_> = there.filter(|tenant| !except.contains(&tenant.name.as_str())).collect();
        for held in self.desk.ledger().on(&device.name) {
            let name = name(&held.file);
            // A load that is under way may show among the sessions already.
            let shown = tenants.iter().any(|tenant| tenant.name == name);
            if !shown && !except.contains(&name.as_str()) {
                let (terms, profile) = (held.terms.clone(), held.profile.clone());
                tenants.push(Tenant { name, terms, profile, demoted: false });
            }
        }
        tenants
    }

    /// What the model costs on `device`: by what was learned here before, else by a trial. None where nobody has to know.
    async fn cost(
        &self,
        ask: &Ask,
        file: &ModelFile,
        device: &Arc<Device>,
    ) -> Result<Option<Profile>, LoadError> {
        let guaranteed = |tenant: &Tenant| tenant.is_guaranteed();
        let matters = ask.terms.guarantee().is_some() || self.tenants(device, &[]).iter().any(guaranteed);
        if !matters {
            return Ok(None);
        }
        if let Some(session) = self.sessions().iter().find(|session| {
            session.file.path == file.path && session.device == device.name && session.live().samples() > 0
        }) {
            return Ok(session.profile());
        }
        let digest = self.digest(file).await?;
        match self.desk.profiles.get(&digest, &device.name, &device.power_mode()) {
            Some((profile, _)) => Ok(Some(profile)),
            None => self.try_out(file, device, &digest).await.map(Some),
        }
    }

    /// The SHA-256 of a model's file.
    pub(super) async fn digest(&self, file: &ModelFile) -> Result<String, LoadError> {
        let (profiles, path) = (Arc::clone(&self.desk.profiles), file.path.clone());
        // Reading takes its time where the file is large and new.
        let digest = tokio::task::spawn_blocking(move || profiles.digest(&path)).await;
        let digest = digest.unwrap_or_else(|gone| Err(std::io::Error::other(gone)));
        digest.map_err(|error| RepositoryError::Read { path: file.path.clone(), error }.into())
    }

    /// The devices that the terms allow and whose runtimes can run one of the files, each with that file.
    fn capable<'a>(
        &'a self,
        ask: &Ask,
        files: &'a [ModelFile],
    ) -> Result<Vec<(&'a Arc<Device>, &'a ModelFile)>, LoadError> {
        let kinds = &ask.terms.devices;
        let allowed = |kind: DeviceKind| kinds.is_empty() || kinds.contains(&kind);
        let found: Vec<_> = self
            .devices
            .iter()
            .filter(|device| allowed(device.kind))
            .filter_map(|device| Some((device, device.file_for(files)?)))
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let join = |words: Vec<String>| words.join(", ");
        Err(LoadError::NoDevice {
            model: ask.model.model.clone(),
            runtime: files
                .iter()
                .map(|file| file.format.runtime().name())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
                .join(" or "),
            kinds: match kinds.is_empty() {
                true => "any".into(),
                false => join(kinds.iter().map(ToString::to_string).collect()),
            },
            has: join(
                self.config()
                    .device
                    .iter()
                    .map(|device| {
                        format!("{} ({}: {})", device.name, device.kind, device.runtimes.join(", "))
                    })
                    .collect(),
            ),
        })
    }
}

/// A device as predictions take it.
pub(super) fn place(device: &Device) -> Place {
    let snapshot = device.snapshot();
    Place {
        name: device.name.clone(),
        kind: device.kind,
        mode: snapshot.mode,
        multiplexing: snapshot.multiplexing,
        sharing: snapshot.sharing,
        memory: device.memory_bytes(),
        speed_up: snapshot.speed_up,
    }
}

/// The file of a session that is loading still.
fn loading_file(session: &Session) -> Option<&ModelFile> {
    matches!(session.state(), State::Loading | State::Warming(_)).then_some(&session.file)
}

/// What its files hold is known, not only what they are called.
async fn looked_inside(mut model: ModelVersion) -> ModelVersion {
    let known = model.clone();
    let looked = tokio::task::spawn_blocking(move || {
        model.look_inside();
        model
    });
    looked.await.unwrap_or(known)
}

fn name(file: &ModelFile) -> String {
    format!("{}/{}", file.model, file.version)
}

/// For looking at a name only: that the model's files are incomplete is said later, by name.
fn unless_missing(error: RepositoryError) -> Result<(), RepositoryError> {
    match error {
        RepositoryError::NoVersion { .. } | RepositoryError::NoFile { .. } => Ok(()),
        error => Err(error),
    }
}
