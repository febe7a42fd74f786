//! What a device's lock guards: the multiplexer, the requests that it decides about, and who is in service.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use edgemux_calibration::estimate::{Presence, SpeedUpEstimator, Stay};
use edgemux_multiplexer::{Action, Multiplexer, Refusal, RequestId, SessionId};
use edgemux_runtime_api::client::{Job, Worker};
use tokio::sync::oneshot;

use super::batch;
use super::hardware::Absence;
use super::request::{Answer, Beside, Failure, Pending, Responder};
use super::supervisor::WorkerStatus;
use super::utilisation::Utilisation;
use super::workers::WorkerKey;
use crate::config::{Isolation, Multiplexing, Sharing};
use crate::session::Session;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) isolation: Isolation,
    pub(super) multiplexer: Multiplexer,
    pub(super) requests: HashMap<RequestId, Pending>,
    pub(super) last_request: RequestId,
    pub(super) workers: HashMap<WorkerKey, Arc<Worker>>,
    pub(super) status: BTreeMap<WorkerKey, WorkerStatus>,
    pub(super) drains: HashMap<SessionId, oneshot::Sender<()>>,
    pub(super) utilisation: Utilisation,
    /// Who was in service with how many, for how long.
    pub(super) presence: Presence,
    /// How requests in service slow one another down.
    pub(super) speed_up: SpeedUpEstimator,
    pub(super) multiplexing: Multiplexing,
    pub(super) sharing: Sharing,
    pub(super) predicted_utilisation: f64,
    /// Why an operator lets nothing reach the device, if so.
    pub(super) fenced: Option<String>,
    /// Of its hardware, if so.
    pub(super) absence: Option<Absence>,
    /// Scratch, kept for its capacity.
    pub(super) actions: Vec<Action>,
    /// The requests of the batch that is being put together.
    pub(super) batch: Vec<RequestId>,
}

/// What a decision asks of the world outside the lock.
pub(super) enum Effect {
    Start(RequestId, Arc<Worker>, usize, Job),
    Answer(Responder, Answer),
    Drained(oneshot::Sender<()>),
}

impl Inner {
    /// The worker that runs `session`.
    pub(super) fn key(&self, session: &Session) -> WorkerKey {
        WorkerKey::of(session, self.isolation)
    }

    pub(super) fn with_worker(&self, key: WorkerKey) -> impl Iterator<Item = (RequestId, &Pending)> {
        self.requests
            .iter()
            .filter(move |(_, pending)| pending.is_with_worker() && self.key(&pending.session) == key)
            .map(|(&request, pending)| (request, pending))
    }

    /// Why nothing is to reach the device, if so.
    pub(super) fn why_fenced(&self) -> Option<&str> {
        self.absence.as_ref().map(Absence::reason).or(self.fenced.as_deref())
    }

    /// Is the daemon's own warm-up kept from it as well?
    pub(super) fn is_closed(&self) -> bool {
        self.fenced.is_some() || self.absence.as_ref().is_some_and(|absence| !absence.is_returning())
    }

    pub(super) fn effect(&mut self, action: Action, effects: &mut Vec<Effect>) {
        match action {
            Action::Dispatch { request, lane, more } => {
                self.batch.push(request);
                if !more {
                    self.start(lane, effects);
                }
            }
            Action::Demoted(request) => {
                if let Some(pending) = self.requests.get_mut(&request) {
                    pending.conforming = false;
                    pending.session.live().demoted_one();
                }
            }
            Action::Refuse(request, refusal) => {
                if let (Refusal::Excess { .. }, Some(pending)) = (refusal, self.requests.get(&request)) {
                    pending.session.live().refused_one();
                }
                effects.extend(self.turn_away(request, Failure::Refused(refusal)));
            }
            Action::Expire(request) => effects.extend(self.turn_away(request, Failure::Expired)),
            Action::Drained(session) => effects.extend(self.drains.remove(&session).map(Effect::Drained)),
        }
    }

    /// Starts the requests in `batch`: together if they fit together, else one after the other.
    fn start(&mut self, lane: usize, effects: &mut Vec<Effect>) {
        let batch = std::mem::take(&mut self.batch);
        let mut jobs = Vec::with_capacity(batch.len());
        let mut worker = None;
        for request in &batch {
            let Some(pending) = self.requests.get_mut(request) else { continue };
            let Some(job) = pending.job.take() else { continue };
            pending.lane = lane;
            // Without a worker the session would be suspended: one that just died is about to be noticed, and its
            // death answers this request.
            worker = self.workers.get(&WorkerKey::of(&pending.session, self.isolation)).cloned();
            jobs.push(job);
        }
        self.batch = batch;
        self.batch.clear();
        let Some(worker) = worker else { return };
        let together = if jobs.len() > 1 { batch::combine(&jobs) } else { None };
        match together {
            Some((job, rows)) => {
                let members: Vec<_> = jobs.iter().map(|job| job.request).zip(rows).collect();
                for &(member, _) in &members[1..] {
                    if let Some(pending) = self.requests.get_mut(&member) {
                        pending.beside = Beside::Follows(job.request);
                        pending.has_turn = false;
                    }
                }
                if let Some(leader) = self.requests.get_mut(&job.request) {
                    leader.beside = Beside::Leads(members);
                }
                effects.push(Effect::Start(job.request, worker, lane, job));
            }
            None => {
                for (job, next) in jobs.iter().zip(jobs.iter().skip(1)) {
                    if let Some(pending) = self.requests.get_mut(&job.request) {
                        pending.beside = Beside::Before(next.request);
                    }
                    if let Some(pending) = self.requests.get_mut(&next.request) {
                        pending.has_turn = false;
                    }
                }
                let starts =
                    jobs.into_iter().map(|job| Effect::Start(job.request, Arc::clone(&worker), lane, job));
                effects.extend(starts);
            }
        }
    }

    /// Takes out those that ran in the same inference as `leader`, but for itself.
    pub(super) fn take_beside(&mut self, leader: &Pending) -> Vec<(Pending, i64)> {
        match &leader.beside {
            Beside::Leads(members) => members
                .iter()
                .skip(1)
                .filter_map(|&(member, rows)| Some((self.requests.remove(&member)?, rows)))
                .collect(),
            Beside::Nobody | Beside::Follows(_) | Beside::Before(_) => Vec::new(),
        }
    }

    /// Is the batch that a request was part of at its end with it? If not, the next of it has its turn.
    pub(super) fn is_whole(&mut self, pending: &Pending) -> bool {
        match pending.beside {
            Beside::Nobody | Beside::Leads(_) => true,
            Beside::Follows(leader) => !self.requests.contains_key(&leader),
            Beside::Before(next) => match self.requests.get_mut(&next) {
                Some(next) => {
                    next.has_turn = true;
                    false
                }
                None => true,
            },
        }
    }

    /// Takes note of those that have the device from now on: one that was handed over ahead of time has it when the one
    /// before it ends.
    pub(super) fn enter(&mut self, now: Instant, seconds: f64) {
        for request in self.multiplexer.on_device() {
            if let Some(pending) = self.requests.get_mut(&request)
                && pending.started.is_none()
                && pending.has_turn
            {
                pending.started = Some(now);
                pending.start = Some(self.presence.started(seconds));
            }
        }
    }

    /// A request has left the device, if it ever had it. Returns how long it was there with how many.
    pub(super) fn leave(&mut self, pending: &Pending, now: Instant, seconds: f64) -> Option<Stay> {
        let (started, start) = (pending.started?, pending.start.as_ref()?);
        let busy = now.saturating_duration_since(started);
        // Of several in service each counts for its share.
        let share = self.presence.in_service().max(1) as u32;
        self.utilisation.busy(busy / share);
        Some(self.presence.finished(seconds, start))
    }

    fn turn_away(&mut self, request: RequestId, failure: Failure) -> Option<Effect> {
        let pending = self.requests.remove(&request)?;
        pending.count_failure();
        pending.responder.map(|responder| Effect::Answer(responder, Err(failure)))
    }
}
