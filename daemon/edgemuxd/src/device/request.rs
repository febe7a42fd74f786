//! A request between its arrival and its answer.

use std::sync::Arc;
use std::time::Instant;

use edgemux_calibration::estimate::Start;
use edgemux_multiplexer::{Refusal, RequestId};
use edgemux_runtime_api::client::{Job, OutputTensor};
use edgemux_runtime_api::error::RunError;
use tokio::sync::{mpsc, oneshot};

use super::{Device, Purpose};
use crate::session::Session;
use crate::traces::Course;

/// Responses of a decoupled request that may wait for a slow client before the request is given up.
const RESPONSES_WAITING_MAX: usize = 64;

/// One response to a request.
#[derive(Debug)]
pub struct Response {
    /// The outputs that were wanted.
    pub outputs: Vec<OutputTensor>,
    /// No more to come.
    pub last: bool,
    /// When it had the device.
    pub course: Course,
}

/// Why a request has no, or no further, response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was turned away.
    Refused(Refusal),
    /// Its deadline passed while it waited.
    Expired,
    /// The worker died while it was in service.
    WorkerDied,
    /// The client did not take its responses as fast as the model gave them.
    SlowClient,
    /// The runtime said no.
    Run(RunError),
}

/// What a request comes to.
pub type Answer = Result<Response, Failure>;

#[derive(Debug)]
pub(super) enum Responder {
    One(oneshot::Sender<Answer>),
    Many(mpsc::Sender<Answer>),
}

impl Responder {
    /// Sends an answer; whoever waited may have gone, which their ticket has told the device.
    pub(super) fn send(self, answer: Answer) {
        match self {
            Self::One(sender) => drop(sender.send(answer)),
            Self::Many(sender) => {
                // A queue that is full ends here too: the receiver sees the channel close before its last response.
                drop(sender.try_send(answer));
            }
        }
    }
}

#[derive(Debug)]
pub(super) enum Answers {
    One(oneshot::Receiver<Answer>),
    Many(mpsc::Receiver<Answer>),
}

pub(super) fn channel(decoupled: bool) -> (Responder, Answers) {
    if decoupled {
        let (sender, receiver) = mpsc::channel(RESPONSES_WAITING_MAX);
        (Responder::Many(sender), Answers::Many(receiver))
    } else {
        let (sender, receiver) = oneshot::channel();
        (Responder::One(sender), Answers::One(receiver))
    }
}

/// Whom a request left for the device with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// It left alone, or last of those that run one after the other.
    Nobody,
    /// All these are one inference with it, itself the first, with their rows.
    Leads(Vec<(RequestId, i64)>),
    /// The one that leads it.
    Follows(RequestId),
    /// The one that runs after it on the same lane.
    Before(RequestId),
}

/// A request that waits or is in service.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) session: Arc<Session>,
    /// Taken when it goes to the worker.
    pub(super) job: Option<Job>,
    /// None once nobody waits for it.
    pub(super) responder: Option<Responder>,
    /// When the daemon had it.
    pub(super) received: Instant,
    /// When it came to the device.
    pub(super) arrived: Instant,
    /// When it had the device.
    pub(super) started: Option<Instant>,
    /// Who was in service then.
    pub(super) start: Option<Start>,
    pub(super) lane: usize,
    /// Within its session's terms.
    pub(super) conforming: bool,
    pub(super) beside: Beside,
    /// Neither part of another's inference nor behind another of its batch.
    pub(super) has_turn: bool,
    pub(super) purpose: Purpose,
}

impl Pending {
    pub(super) fn is_with_worker(&self) -> bool {
        self.job.is_none()
    }

    pub(super) fn count_failure(&self) {
        if self.purpose == Purpose::Client {
            self.session.statistics().failed(self.arrived.elapsed());
        }
    }

    /// Passes on a response with more to come.
    pub(super) fn respond(&mut self, response: Response) {
        if let Some(Responder::Many(sender)) = &self.responder
            && sender.try_send(Ok(response)).is_err()
        {
            self.responder = None;
        }
    }
}

/// Waits for the answer to one request. Dropping it before the last answer cancels the request.
#[derive(Debug)]
pub struct Ticket {
    device: Arc<Device>,
    request: RequestId,
    answers: Answers,
    over: bool,
}

impl Ticket {
    pub(super) fn new(device: Arc<Device>, request: RequestId, answers: Answers) -> Self {
        Self { device, request, answers, over: false }
    }

    /// The next answer; none after one that is an error or the last.
    pub async fn next(&mut self) -> Option<Answer> {
        if self.over {
            return None;
        }
        let answer = match &mut self.answers {
            Answers::One(receiver) => receiver.await.ok(),
            Answers::Many(receiver) => receiver.recv().await,
        };
        let answer = answer.unwrap_or(Err(Failure::SlowClient));
        // One whose client was too slow may still be in service: dropping the ticket cancels it.
        self.over = match &answer {
            Ok(response) => response.last,
            Err(failure) => *failure != Failure::SlowClient,
        };
        Some(answer)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.over {
            self.device.cancel(self.request);
        }
    }
}
