//! What a multiplexer is told, and what it answers.

use std::time::Duration;

use crate::{Mode, Priority, RequestId, SessionId, Settings, WorkerId};

/// What happened. What names something unknown, or comes a second time, is no event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A session takes its place, suspended.
    Added {
        /// The session.
        session: SessionId,
        /// The worker that runs it.
        worker: WorkerId,
        /// What it is entitled to.
        settings: Settings,
    },
    /// A session is entitled to something else from now on, what waits of it included.
    Changed {
        /// The session.
        session: SessionId,
        /// What it is entitled to.
        settings: Settings,
    },
    /// The session can run.
    Resumed(SessionId),
    /// The worker cannot run anything for now; the requests of its sessions wait.
    WorkerDown(WorkerId),
    /// The session takes no more requests; those that wait still run.
    Closed(SessionId),
    /// The session is gone; those that wait are refused.
    Removed(SessionId),
    /// A request arrived.
    Arrived {
        /// The request.
        request: RequestId,
        /// Its session.
        session: SessionId,
        /// Its priority among the requests of its session.
        priority: Priority,
        /// When it is of no more use, on the clock of `now`.
        deadline: Option<Duration>,
    },
    /// Nobody waits for this request any more. One that is in service runs on until it is finished.
    Cancelled(RequestId),
    /// The device is done with this request, and with all of its batch, one way or the other.
    Finished {
        /// The request, or any one of a batch.
        request: RequestId,
        /// Time on the device, if it ran to its end.
        service: Option<Duration>,
    },
    /// The device is shared in another way from now on. What is in service finishes as it began.
    ModeChanged(Mode),
    /// Nothing more is to reach the device; or, if false, it may again.
    Fenced(bool),
    /// The time that [`crate::Multiplexer::wake_at`] named has come.
    Woken,
}

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many requests wait as may.
    QueueFull {
        /// When there is likely to be room, 1 ms to 60 s.
        retry_after: Duration,
    },
    /// It is beyond the session's terms.
    Excess {
        /// When the next is within them again.
        retry_after: Duration,
    },
    /// The session is draining.
    Closed,
    /// The session is not, or no more, on this device.
    NoSession,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start this request on the device.
    Dispatch {
        /// The request. Those of a batch follow one another; the first leads.
        request: RequestId,
        /// Where among those in service; 0 where one runs at a time. Those of a batch share it.
        lane: usize,
        /// The next action is the dispatch of another that runs together with it.
        more: bool,
    },
    /// It came beyond its session's terms and waits as best effort.
    Demoted(RequestId),
    /// Answer that it was refused.
    Refuse(RequestId, Refusal),
    /// Answer that its deadline passed while it waited.
    Expire(RequestId),
    /// A closed session has nothing waiting and nothing in service.
    Drained(SessionId),
}
