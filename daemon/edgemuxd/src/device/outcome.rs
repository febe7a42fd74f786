//! What comes of a request on the device: its answer, and what is learned from it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use edgemux_calibration::estimate::Completed;
use edgemux_multiplexer::{Event, RequestId};
use edgemux_runtime_api::client::OutputTensor;
use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::runtime::Timing;

use super::batch;
use super::request::{Beside, Failure, Pending, Response};
use super::{Device, Purpose};
use crate::traces::Course;

impl Device {
    /// A worker has a response; the device is free again if it is the last.
    pub(super) fn responded(
        &self,
        request: RequestId,
        outputs: Vec<OutputTensor>,
        last: bool,
        timing: Timing,
    ) {
        let now = Instant::now();
        let mut inner = self.lock();
        if !last {
            if let Some(pending) = inner.requests.get_mut(&request) {
                let started = pending.started.unwrap_or(pending.arrived);
                let course = Course { arrived: pending.arrived, started, finished: now };
                pending.respond(Response { outputs, last, course });
            }
            return;
        }
        let Some(pending) = inner.requests.remove(&request) else { return };
        let started = pending.started.unwrap_or(pending.arrived);
        let stay = inner.leave(&pending, now, self.seconds(now));
        let alone = stay.map_or(0.0, |stay| inner.speed_up.work(&stay.occupied));
        let beside = inner.take_beside(&pending);
        let usual = self.learn(&pending, started, now, alone, timing);
        if let Some(stay) = stay.filter(|_| self.lanes > 1) {
            inner.speed_up.observe(stay.beside, &stay.occupied, usual);
        }
        // What a request that runs beside others takes says nothing about what it keeps the device from them.
        let service = Duration::from_nanos(timing.input_ns + timing.infer_ns + timing.output_ns);
        let service = service.min(Duration::from_secs_f64(alone.max(0.0)));
        let finished =
            inner.is_whole(&pending).then_some(Event::Finished { request, service: Some(service) });
        if let Some(event) = finished {
            self.decide(inner, now, event);
        } else {
            inner.enter(now, self.seconds(now));
            drop(inner);
        }
        if beside.is_empty() {
            if let Some(responder) = pending.responder {
                let course = Course { arrived: pending.arrived, started, finished: now };
                responder.send(Ok(Response { outputs, last, course }));
            }
            return;
        }
        self.answer_batch(pending, beside, &outputs, now, timing);
    }

    /// Gives each of those that ran together its part.
    fn answer_batch(
        &self,
        leader: Pending,
        members: Vec<(Pending, i64)>,
        outputs: &[OutputTensor],
        now: Instant,
        timing: Timing,
    ) {
        let rows = match &leader.beside {
            Beside::Leads(members) => members.iter().map(|&(_, rows)| rows).collect::<Vec<_>>(),
            Beside::Nobody | Beside::Follows(_) | Beside::Before(_) => Vec::new(),
        };
        let parts = batch::split(outputs, &rows);
        let started = leader.started.unwrap_or(leader.arrived);
        let members = members.into_iter().map(|(member, _)| member).inspect(|member| {
            if parts.is_some() && member.purpose == Purpose::Client {
                let (waited, took) = (started - member.arrived, now - member.arrived);
                member.session.statistics().succeeded_beside(waited, took, timing);
                let sojourn = (now - member.received).as_secs_f64();
                let foreseen = !self.measuring.load(Ordering::Relaxed);
                member.session.live().answered(sojourn, member.conforming, foreseen);
            }
        });
        let all: Vec<_> = std::iter::once(leader).chain(members).collect();
        match parts {
            Some(parts) => {
                for (pending, outputs) in all.into_iter().zip(parts) {
                    if let Some(responder) = pending.responder {
                        let course = Course { arrived: pending.arrived, started, finished: now };
                        responder.send(Ok(Response { outputs, last: true, course }));
                    }
                }
            }
            None => {
                let message =
                    "the model does not give a row for each row of a batch: load it without batching";
                let failure = Failure::Run(RunError::Failed(message.to_owned()));
                all.iter().for_each(Pending::count_failure);
                for responder in all.into_iter().filter_map(|pending| pending.responder) {
                    responder.send(Err(failure.clone()));
                }
            }
        }
    }

    /// A request in service has come to nothing.
    pub(super) fn failed(&self, request: RequestId, failure: Failure) {
        let now = Instant::now();
        let mut inner = self.lock();
        let Some(pending) = inner.requests.remove(&request) else { return };
        inner.leave(&pending, now, self.seconds(now));
        let members = inner.take_beside(&pending);
        let finished = inner.is_whole(&pending);
        let all = std::iter::once(pending).chain(members.into_iter().map(|(member, _)| member));
        let all: Vec<_> = all.collect();
        all.iter().for_each(Pending::count_failure);
        if finished {
            self.decide(inner, now, Event::Finished { request, service: None });
        } else {
            inner.enter(now, self.seconds(now));
            drop(inner);
        }
        for responder in all.into_iter().filter_map(|pending| pending.responder) {
            responder.send(Err(failure.clone()));
        }
    }

    /// Takes note of a request's times. Returns what its session's requests take alone, on average, s.
    fn learn(&self, pending: &Pending, started: Instant, now: Instant, alone: f64, timing: Timing) -> f64 {
        let reload = Duration::from_nanos(timing.reload_ns).as_secs_f64();
        let (waited, took) = (started - pending.arrived, now - pending.arrived);
        let mut live = pending.session.live();
        match pending.purpose {
            Purpose::Client => pending.session.statistics().succeeded(waited, took, timing),
            Purpose::Trial => {}
            Purpose::WarmUp => {
                live.warmed_up(alone - reload, reload);
                return 0.0;
            }
        }
        let size = match &pending.beside {
            Beside::Leads(members) => members.len() as u32,
            Beside::Nobody | Beside::Follows(_) | Beside::Before(_) => 1,
        };
        live.completed(
            self.seconds(now),
            size,
            Completed {
                waited: waited.as_secs_f64(),
                occupied: (now - started).as_secs_f64(),
                work_alone: (alone - reload).max(0.0),
                reload,
                sojourn: (now - pending.received).as_secs_f64(),
                conforming: pending.conforming,
            },
            !self.measuring.load(Ordering::Relaxed),
        );
        live.estimator().alone()
    }
}
