//! One session, from what it is to what it should be: `decide` says what to do, this does it.

use std::sync::Arc;
use std::time::Duration;

use edgemux_cluster_api::FINALIZER;
use edgemux_cluster_api::session::InferenceSession;
use futures_util::future::join_all;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};
use serde_json::json;
use tracing::{debug, info, warn};

use crate::context::{Context, now};
use crate::daemons::{Daemons, Request};
use crate::decide::answers::Answer;
use crate::decide::{Call, Step, Verb, Work};

/// Longest time that the API server may take for a request.
const API_MAX: Duration = Duration::from_secs(10);
/// Longest time for telling people.
const EVENT_MAX: Duration = Duration::from_secs(2);
/// Steps of one look: a bound, far beyond what any session takes.
const STEPS_MAX: usize = 200;
/// How long after a look that ended early there is another; twice as long each further time.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Why a look ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Somebody else has written it meanwhile.
    #[error("{name} was changed meanwhile")]
    Conflict {
        /// Which.
        name: String,
        /// Looks in a row that ended early.
        failures: u32,
    },
    /// The API server did not do it.
    #[error("the API server did not take a change of {name}: {error}")]
    Api {
        /// Which.
        name: String,
        /// Why not.
        error: ApiError,
        /// Looks in a row that ended early.
        failures: u32,
    },
    /// It does not come to rest.
    #[error("{name} does not come to rest after {STEPS_MAX} steps")]
    Restless {
        /// Which.
        name: String,
    },
}

/// A request to the API server that was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It says so.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// It says nothing.
    #[error("no answer in {} s", API_MAX.as_secs())]
    Silent(#[from] tokio::time::error::Elapsed),
}

impl ApiError {
    fn has_code(&self, code: u16) -> bool {
        matches!(self, Self::Kube(kube::Error::Api(status)) if status.code == code)
    }
}

/// Does for a session what is to be done.
///
/// # Errors
/// The API server did not take a change; [`retry`] says when to look again.
pub async fn reconcile<D: Daemons>(
    session: Arc<InferenceSession>,
    context: Arc<Context<D>>,
) -> Result<Action, ReconcileError> {
    let began = tokio::time::Instant::now();
    let mut work = context.take_up(&session);
    let name = format!("{}/{}", session.namespace().unwrap_or_default(), session.name_any());
    let result = work_on(&mut work, &context).await;
    context.metrics.reconciled(began.elapsed());
    match result {
        Ok(End::Rest(wait)) => {
            context.put_down(work, true);
            Ok(wait.map_or_else(Action::await_change, Action::requeue))
        }
        Ok(End::Gone) => {
            context.forget(session.metadata.uid.as_deref().unwrap_or_default());
            Ok(Action::await_change())
        }
        Ok(End::Restless) => {
            context.put_down(work, false);
            context.metrics.failed("restless");
            Err(ReconcileError::Restless { name })
        }
        Err(error) if error.has_code(409) => {
            let failures = context.put_down(work, false);
            context.metrics.failed("conflict");
            Err(ReconcileError::Conflict { name, failures })
        }
        Err(error) => {
            let failures = context.put_down(work, false);
            context.metrics.failed("api");
            Err(ReconcileError::Api { name, error, failures })
        }
    }
}

/// When to look again after a look that ended early.
pub fn retry<D>(_: Arc<InferenceSession>, error: &ReconcileError, _: Arc<Context<D>>) -> Action {
    let failures = match error {
        ReconcileError::Conflict { failures, .. } => {
            debug!(%error, "look again");
            *failures
        }
        ReconcileError::Api { failures, .. } => {
            warn!(%error, "look again");
            *failures
        }
        ReconcileError::Restless { .. } => {
            warn!(%error, "look again");
            u32::MAX
        }
    };
    let times = 1 << failures.saturating_sub(1).min(8);
    Action::requeue(RETRY.saturating_mul(times).min(RETRY_MAX))
}

/// How a look ends.
enum End {
    /// Nothing is to be done, for so long.
    Rest(Option<Duration>),
    /// The session is gone.
    Gone,
    /// It went on and on.
    Restless,
}

async fn work_on<D: Daemons>(work: &mut Work, context: &Context<D>) -> Result<End, ApiError> {
    let namespace = work.session.namespace().unwrap_or_default();
    let api: Api<InferenceSession> = Api::namespaced(context.client.clone(), &namespace);
    context.book(work);
    for _ in 0..STEPS_MAX {
        if !*context.leads.borrow() {
            return Ok(End::Rest(None));
        }
        let now = now();
        let step = work.next(&context.seen(now.instant), now);
        context.book(work);
        match step {
            Step::AddFinalizer => match finalizers(&api, &work.session, true).await {
                Ok(session) => work.written(session),
                Err(error) if error.has_code(404) => return Ok(End::Gone),
                Err(error) => return Err(error),
            },
            Step::RemoveFinalizer => match finalizers(&api, &work.session, false).await {
                Ok(_) => return Ok(End::Gone),
                Err(error) if error.has_code(404) => return Ok(End::Gone),
                Err(error) => return Err(error),
            },
            Step::Write => match write(&api, work).await {
                Ok(session) => {
                    work.written(session);
                    tell(work, context).await;
                }
                Err(error) if error.has_code(404) => return Ok(End::Gone),
                Err(error) => return Err(error),
            },
            Step::Call(calls) => {
                let asked = calls.iter().map(|call| ask(&work.session, call, context));
                let answers = join_all(asked).await;
                for (call, answer) in calls.iter().zip(answers) {
                    work.answered(call, answer, tokio::time::Instant::now());
                }
            }
            Step::Wait(wait) => return Ok(End::Rest(wait)),
        }
    }
    Ok(End::Restless)
}

async fn ask<D: Daemons>(session: &InferenceSession, call: &Call, context: &Context<D>) -> Answer {
    let node = &call.place.node;
    let answer = context.daemons.ask(Request::new(session, call, context.reservation_ttl)).await;
    context.metrics.called(call.verb, &answer);
    debug!(node, verb = ?call.verb, ?answer, session = %session.name_any(), "a node was asked");
    match (call.verb, &answer) {
        (Verb::Reserve, Answer::Held(held)) => context.known().nodes.answered(node, &held.epoch),
        (Verb::Release, Answer::Serves | Answer::NoSuch(_)) => context.known().nodes.freed(),
        _ => {}
    }
    answer
}

/// Whoever has written since then is not written over: the version is that which was read.
async fn write(api: &Api<InferenceSession>, work: &Work) -> Result<InferenceSession, ApiError> {
    let patch = json!({
        "metadata": { "resourceVersion": work.session.resource_version() }, "status": &work.status
    });
    let (name, params, patch) = (work.session.name_any(), PatchParams::default(), Patch::Merge(patch));
    let written = api.patch_status(&name, &params, &patch);
    Ok(tokio::time::timeout(API_MAX, written).await??)
}

async fn finalizers(
    api: &Api<InferenceSession>,
    session: &InferenceSession,
    wanted: bool,
) -> Result<InferenceSession, ApiError> {
    let others = session.finalizers().iter().filter(|other| *other != FINALIZER);
    let ours = wanted.then(|| FINALIZER.to_owned());
    let finalizers: Vec<_> = others.cloned().chain(ours).collect();
    let patch = json!({
        "metadata": { "resourceVersion": session.resource_version(), "finalizers": finalizers }
    });
    let (name, params, patch) = (session.name_any(), PatchParams::default(), Patch::Merge(patch));
    let patched = api.patch(&name, &params, &patch);
    Ok(tokio::time::timeout(API_MAX, patched).await??)
}

async fn tell<D: Daemons>(work: &mut Work, context: &Context<D>) {
    let regarding = work.session.object_ref(&());
    for note in std::mem::take(&mut work.notes) {
        context.metrics.happened(note.reason);
        info!(session = %work.session.name_any(), namespace = work.session.namespace(), reason = note.reason, "{}", note.text);
        let event = Event {
            type_: if note.warning { EventType::Warning } else { EventType::Normal },
            reason: note.reason.into(),
            note: Some(note.text),
            action: "Place".into(),
            secondary: None,
        };
        let published = context.recorder.publish(&event, &regarding);
        match tokio::time::timeout(EVENT_MAX, published).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "an event was not taken"),
            Err(_) => debug!("an event was not taken in time"),
        }
    }
}
