//! Places that are held on devices: by reservations, and by loads that are under way.
//!
//! A reservation is asked for under the caller's own uid and generation, so that a caller who does not know whether its
//! request arrived may repeat it. It ends when its time is over, unless it is being committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use edgemux_calibration::profile::Profile;
use edgemux_multiplexer::SessionId;

use super::Verdict;
use crate::repository::{ModelFile, ModelVersion};
use crate::terms::Terms;

/// Most places held at once: a caller that reserves without end is refused, not remembered.
pub(crate) const PLACES_MAX: usize = 10_000;
/// Longest uid, bytes.
const UID_BYTES_MAX: usize = 256;

/// A place's number, never used again while the daemon runs.
pub(crate) type PlaceId = u64;

/// A place on a device.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) file: ModelFile,
    pub(crate) terms: Terms,
    pub(crate) device: String,
    pub(crate) profile: Option<Profile>,
    pub(crate) verdict: Verdict,
    state: State,
    /// None of a load.
    caller: Option<Caller>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Caller {
    uid: String,
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reserved { until: Instant },
    Loading,
    Serving(SessionId),
}

/// What a reservation can be refused for besides admission.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReservationError {
    /// A newer generation was reserved already.
    #[error("uid '{uid}' has reserved generation {present}; generation {asked} is out of date")]
    OutOfDate {
        /// The caller's uid.
        uid: String,
        /// What is there.
        present: u64,
        /// What was asked for.
        asked: u64,
    },
    /// The same generation with other terms.
    #[error("uid '{uid}' has reserved generation {generation} with other terms: count the generation up")]
    OtherTerms {
        /// The caller's uid.
        uid: String,
        /// The generation.
        generation: u64,
    },
    /// No such reservation, or its time is over.
    #[error("no reservation '{0}': it was never made, was released, or its time is over; reserve again")]
    Unknown(String),
    /// It is being loaded.
    #[error("reservation '{0}' is being committed; wait for that to end")]
    Committing(String),
    /// Too many.
    #[error("{PLACES_MAX} places are held; release some, or wait until they end")]
    TooMany,
    /// A uid that is none.
    #[error("a uid of {0} bytes: 1 to {UID_BYTES_MAX}")]
    Uid(usize),
    /// A time that is none.
    #[error("ttl_s = {0}: above 0, at most 86400 seconds; 0 takes the default")]
    Ttl(f64),
}

/// What is there for a uid already.
#[derive(Debug)]
pub(crate) enum Known {
    /// Nothing, or an older generation, which is given up by the new one.
    New { replaces: Vec<PlaceId> },
    /// The same was asked for before.
    Same(PlaceId),
}

/// What committing a reservation finds.
#[derive(Debug)]
pub(crate) enum Commit {
    /// It is the caller's to load now.
    Load,
    /// It was committed before.
    Serves(SessionId),
}

/// All places that are held.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Of this run of the daemon: what is reserved ends with it, and no other run knows the names of this one.
    epoch: String,
    places: BTreeMap<PlaceId, Held>,
    last: PlaceId,
}

impl Held {
    /// A place for a load that is under way.
    pub(crate) fn loading(
        file: ModelFile,
        terms: Terms,
        device: String,
        profile: Option<Profile>,
        verdict: Verdict,
    ) -> Self {
        Self { file, terms, device, profile, verdict, state: State::Loading, caller: None }
    }

    /// The same for a caller who will decide within a time.
    pub(crate) fn reserved(self, uid: &str, generation: u64, until: Instant) -> Self {
        let caller = Caller { uid: uid.to_owned(), generation };
        Self { state: State::Reserved { until }, caller: Some(caller), ..self }
    }

    /// Is it a place for this version of this model, under this name?
    pub(crate) fn is_of(&self, asked: &ModelVersion) -> bool {
        let is_source = |file: &ModelFile| file.source == self.file.source;
        (&self.file.model, self.file.version) == (&asked.model, asked.version)
            && asked.files.iter().all(is_source)
    }

    /// Has its session a name of its own?
    pub(crate) fn is_renamed(&self) -> bool {
        self.file.source.is_some()
    }

    /// Who reserved it; none of a load.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.caller.as_ref().map(|caller| caller.uid.as_str())
    }

    /// Under which generation it was reserved; 0 of a load.
    pub(crate) fn generation(&self) -> u64 {
        self.caller.as_ref().map_or(0, |caller| caller.generation)
    }

    /// The session that stands for this place, once there is one.
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self.state {
            State::Serving(session) => Some(session),
            State::Reserved { .. } | State::Loading => None,
        }
    }

    /// How long it is held still; none once it is being loaded.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Reserved { until } => Some(until.saturating_duration_since(now)),
            State::Loading | State::Serving(_) => None,
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        // Nanoseconds since 1970 and the process: no two runs on one machine share both.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let epoch = format!("{:x}-{:x}", since.as_nanos(), std::process::id());
        Self { epoch, places: BTreeMap::new(), last: 0 }
    }
}

impl Ledger {
    /// Tells this run of the daemon from every other.
    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// A reservation's name, as callers know it.
    pub(crate) fn name(&self, id: PlaceId) -> String {
        format!("r-{}-{id}", self.epoch)
    }

    /// Forgets reservations whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.places.retain(|_, held| !matches!(held.state, State::Reserved { until } if until <= now));
    }

    /// Looks whether `uid` has asked before.
    pub(crate) fn known(
        &self,
        uid: &str,
        generation: u64,
        asked: &ModelVersion,
        terms: &Terms,
    ) -> Result<Known, ReservationError> {
        if !(1..=UID_BYTES_MAX).contains(&uid.len()) {
            return Err(ReservationError::Uid(uid.len()));
        }
        // An older one serves until the newest does.
        let present = || self.places.iter().filter(|(_, held)| held.uid() == Some(uid));
        let newest = present().max_by_key(|(_, held)| held.generation());
        let Some((&id, held)) = newest else { return Ok(Known::New { replaces: Vec::new() }) };
        let there = held.generation();
        let uid = uid.to_owned();
        match generation.cmp(&there) {
            std::cmp::Ordering::Less => {
                Err(ReservationError::OutOfDate { uid, present: there, asked: generation })
            }
            std::cmp::Ordering::Equal if held.is_of(asked) && held.terms == *terms => Ok(Known::Same(id)),
            std::cmp::Ordering::Equal => Err(ReservationError::OtherTerms { uid, generation }),
            std::cmp::Ordering::Greater if held.state == State::Loading => {
                Err(ReservationError::Committing(self.name(id)))
            }
            std::cmp::Ordering::Greater => {
                Ok(Known::New { replaces: present().map(|(&id, _)| id).collect() })
            }
        }
    }

    /// Holds a place.
    pub(crate) fn hold(&mut self, held: Held) -> Result<PlaceId, ReservationError> {
        if self.places.len() >= PLACES_MAX {
            return Err(ReservationError::TooMany);
        }
        self.last += 1;
        self.places.insert(self.last, held);
        Ok(self.last)
    }

    /// Begins to commit a reservation: from now on its time does not end.
    pub(crate) fn commit(&mut self, reservation: &str) -> Result<(PlaceId, Commit), ReservationError> {
        let id = self.find(reservation)?;
        let Some(held) = self.places.get_mut(&id) else {
            return Err(ReservationError::Unknown(reservation.to_owned()));
        };
        match held.state {
            State::Loading => Err(ReservationError::Committing(reservation.to_owned())),
            State::Serving(session) => Ok((id, Commit::Serves(session))),
            State::Reserved { .. } => {
                held.state = State::Loading;
                Ok((id, Commit::Load))
            }
        }
    }

    /// The place is that of a session now.
    pub(crate) fn serves(&mut self, id: PlaceId, session: SessionId) {
        match self.places.get_mut(&id) {
            // A load's place is the session's from here on; a reservation can still be asked about and released.
            Some(held) if held.caller.is_some() => held.state = State::Serving(session),
            _ => drop(self.places.remove(&id)),
        }
    }

    /// Gives a place back, and the session that it had become.
    pub(crate) fn release(&mut self, reservation: &str) -> Result<Option<SessionId>, ReservationError> {
        let id = self.find(reservation)?;
        if self.places.get(&id).is_some_and(|held| held.state == State::Loading) {
            return Err(ReservationError::Committing(reservation.to_owned()));
        }
        Ok(self.remove(id).and_then(|held| held.session()))
    }

    /// Takes a place out.
    pub(crate) fn remove(&mut self, id: PlaceId) -> Option<Held> {
        self.places.remove(&id)
    }

    /// Forgets reservations that had become this session, which is gone.
    pub(crate) fn gone(&mut self, session: SessionId) {
        self.places.retain(|_, held| held.session() != Some(session));
    }

    /// The files of all places that are held.
    pub(crate) fn files(&self) -> impl Iterator<Item = &ModelFile> {
        self.places.values().map(|held| &held.file)
    }

    /// The model that a reservation is of.
    pub(crate) fn model_of(&self, reservation: &str) -> Option<&str> {
        Some(&self.get(self.find(reservation).ok()?)?.file.model)
    }

    /// A place that is held.
    pub(crate) fn get(&self, id: PlaceId) -> Option<&Held> {
        self.places.get(&id)
    }

    /// Takes note of what the caller was told.
    pub(crate) fn heard(&mut self, id: PlaceId, verdict: &Verdict) {
        if let Some(held) = self.places.get_mut(&id) {
            held.verdict = verdict.clone();
        }
    }

    /// Places of this name, whatever the version.
    pub(crate) fn named<'a>(&'a self, model: &'a str) -> impl Iterator<Item = &'a Held> + 'a {
        self.places.values().filter(move |held| held.file.model == model)
    }

    /// The reservation that a session came of. Of one that is loading still, the place is known by its file alone.
    pub(crate) fn of(&self, session: SessionId, loading: Option<&ModelFile>) -> Option<(PlaceId, &Held)> {
        let is_it = |held: &Held| match held.state {
            State::Serving(id) => id == session,
            State::Loading => loading == Some(&held.file),
            State::Reserved { .. } => false,
        };
        let found = self.places.iter().find(|(_, held)| held.caller.is_some() && is_it(held));
        found.map(|(&id, held)| (id, held))
    }

    /// Places on `device` that are not a session yet.
    pub(crate) fn on<'a>(&'a self, device: &'a str) -> impl Iterator<Item = &'a Held> + 'a {
        self.places.values().filter(move |held| held.device == device && held.session().is_none())
    }

    fn find(&self, reservation: &str) -> Result<PlaceId, ReservationError> {
        let number =
            reservation.strip_prefix("r-").and_then(|name| name.strip_prefix(&self.epoch)?.strip_prefix('-'));
        let id = number.and_then(|number| number.parse().ok());
        id.filter(|id| self.places.get(id).is_some_and(|held| held.caller.is_some()))
            .ok_or_else(|| ReservationError::Unknown(reservation.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::verdict::tests::admitted;

    const TTL: Duration = Duration::from_secs(60);

    fn file(version: u64) -> ModelFile {
        let path = format!("m/{version}/model.onnx").into();
        ModelFile { model: "m".into(), source: None, version, path, format: crate::runtimes::Format::Onnx }
    }

    fn asked(version: u64) -> ModelVersion {
        ModelVersion { model: "m".into(), version, files: vec![file(version)] }
    }

    fn held(now: Instant, uid: &str, generation: u64) -> Held {
        Held::loading(file(1), Terms::default(), "d".into(), None, admitted()).reserved(
            uid,
            generation,
            now + TTL,
        )
    }

    #[test]
    fn asking_again_finds_the_same_place_and_a_newer_generation_replaces_it() {
        let (now, mut ledger) = (Instant::now(), Ledger::default());
        let ask = |ledger: &Ledger, generation, version| {
            ledger.known("u", generation, &asked(version), &Terms::default())
        };
        assert!(matches!(ask(&ledger, 2, 1), Ok(Known::New { replaces }) if replaces.is_empty()));
        let id = ledger.hold(held(now, "u", 2)).unwrap();
        assert!(matches!(ask(&ledger, 2, 1), Ok(Known::Same(same)) if same == id));
        assert!(matches!(ask(&ledger, 2, 7), Err(ReservationError::OtherTerms { .. })));
        assert!(matches!(ask(&ledger, 1, 1), Err(ReservationError::OutOfDate { present: 2, .. })));
        assert!(matches!(ask(&ledger, 3, 1), Ok(Known::New { replaces }) if replaces == [id]));
        let other = ledger.known("v", 1, &asked(1), &Terms::default());
        assert!(matches!(other, Ok(Known::New { replaces }) if replaces.is_empty()));
        for uid in [String::new(), "x".repeat(257)] {
            let known = ledger.known(&uid, 1, &asked(1), &Terms::default());
            assert!(matches!(known, Err(ReservationError::Uid(_))));
        }
    }

    #[test]
    fn a_reservation_ends_with_its_time_but_not_while_it_is_committed() {
        let (now, mut ledger) = (Instant::now(), Ledger::default());
        let kept = ledger.hold(held(now, "kept", 1)).unwrap();
        let lost = ledger.hold(held(now, "lost", 1)).unwrap();
        assert!(matches!(ledger.commit(&ledger.name(kept)), Ok((_, Commit::Load))));
        assert_eq!(
            ledger.commit(&ledger.name(kept)).unwrap_err(),
            ReservationError::Committing(ledger.name(kept))
        );
        assert_eq!(
            ledger.release(&ledger.name(kept)).unwrap_err(),
            ReservationError::Committing(ledger.name(kept))
        );
        ledger.expire(now + TTL);
        assert_eq!(ledger.on("d").count(), 1);
        assert_eq!(
            ledger.commit(&ledger.name(lost)).unwrap_err(),
            ReservationError::Unknown(ledger.name(lost))
        );
        ledger.serves(kept, 9);
        assert_eq!(ledger.on("d").count(), 0, "its session stands for it");
        assert!(matches!(ledger.commit(&ledger.name(kept)), Ok((_, Commit::Serves(9)))));
        assert_eq!(ledger.release(&ledger.name(kept)), Ok(Some(9)));
        assert_eq!(
            ledger.release(&ledger.name(kept)).unwrap_err(),
            ReservationError::Unknown(ledger.name(kept))
        );
    }

    #[test]
    fn a_load_holds_its_place_only_until_its_session_serves() {
        let mut ledger = Ledger::default();
        let load = Held::loading(file(1), Terms::default(), "d".into(), None, admitted());
        let id = ledger.hold(load).unwrap();
        assert_eq!(ledger.on("d").count(), 1);
        assert_eq!(ledger.on("e").count(), 0);
        assert!(ledger.commit(&ledger.name(id)).is_err(), "it is nobody's reservation");
        ledger.serves(id, 3);
        assert!(ledger.get(id).is_none());
    }

    #[test]
    fn places_are_bounded_and_nonsense_finds_none() {
        let (now, mut ledger) = (Instant::now(), Ledger::default());
        for at in 0..PLACES_MAX {
            ledger.hold(held(now, &at.to_string(), 1)).unwrap();
        }
        assert_eq!(ledger.hold(held(now, "u", 1)).unwrap_err(), ReservationError::TooMany);
        for nonsense in ["", "r-", "r-0", "r-x", "1", "r--1", "r-99999999999999999999999"] {
            assert!(matches!(ledger.release(nonsense), Err(ReservationError::Unknown(_))), "{nonsense}");
        }
        let other = Ledger { epoch: "another run".into(), ..Ledger::default() };
        assert!(matches!(ledger.release(&other.name(1)), Err(ReservationError::Unknown(_))));
        assert!(ledger.release(&ledger.name(1)).is_ok());
    }
}
