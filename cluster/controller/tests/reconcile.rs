//! One look at a session, while the API server does not do what is asked.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::api::{Fault, Server};
use common::fleet::Fleet;
use common::{context, create, edit, key, session};
use edgemux_cluster_api::session::{InferenceSession, PlacementState};
use edgemux_controller::context::Context;
use edgemux_controller::reconcile::{ReconcileError, reconcile, retry};
use http::Method;
use kube::runtime::controller::Action;
use tokio::sync::watch;
use tokio::time::Instant;

struct Setup {
    server: Server,
    fleet: Fleet,
    context: Arc<Context<Fleet>>,
    leads: watch::Sender<bool>,
}

fn setup() -> Setup {
    let (server, fleet) = (Server::new(), Fleet::new(2, 4));
    let (context, leads) = context(&server, &fleet);
    leads.send_replace(true);
    fleet.publish(&server);
    for object in server.all("acceleratornodes") {
        let node = serde_json::from_value(object).unwrap();
        context.known().nodes.apply(Arc::new(node), Instant::now());
    }
    create(&server, "s");
    Setup { server, fleet, context, leads }
}

impl Setup {
    /// One look at the session as it is.
    async fn look(&self) -> Result<Action, ReconcileError> {
        let session = session(&self.server, "s").unwrap();
        self.look_at(session).await
    }

    async fn look_at(&self, session: InferenceSession) -> Result<Action, ReconcileError> {
        reconcile(Arc::new(session), Arc::clone(&self.context)).await
    }

    fn places(&self) -> Vec<(PlacementState, i64)> {
        let status = session(&self.server, "s").and_then(|session| session.status).unwrap_or_default();
        status.placements.iter().map(|place| (place.state, place.generation)).collect()
    }

    /// The n-th write is not done as it should be.
    fn fail_write(&self, nth: usize, fault: Fault) {
        let mut count = 0;
        self.server.fail(move |method, path| {
            let write = *method != Method::GET && path.contains("inferencesessions");
            count += usize::from(write);
            if write && count == nth { fault } else { Fault::None }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_takes_a_session_from_nothing_to_ready() {
    let setup = setup();
    setup.look().await.unwrap();
    assert_eq!(setup.places(), [(PlacementState::Ready, 1)]);
    let requests = setup.server.requests();
    let writes: Vec<_> = requests.iter().filter(|request| request.contains("inferencesessions")).collect();
    let object = "/apis/edgemux.dev/v1alpha1/namespaces/shop/inferencesessions/s";
    let status = format!("PATCH {object}/status");
    // Finaliser; asked for; reserved; ready.
    assert_eq!(writes, [&format!("PATCH {object}"), &status, &status, &status]);
    assert_eq!(setup.fleet.calls(), 2);
    // Nothing is left to be done.
    setup.look().await.unwrap();
    assert_eq!(setup.fleet.calls(), 2);
    assert_eq!(setup.server.requests().len(), requests.len());
}

#[tokio::test(start_paused = true)]
async fn no_node_is_asked_before_the_status_is_written() {
    for fault in [Fault::Refused(409), Fault::Refused(500), Fault::Hangs, Fault::Unheard] {
        let setup = setup();
        setup.fail_write(2, fault);
        let began = Instant::now();
        let error = setup.look().await.unwrap_err();
        assert_eq!(setup.fleet.calls(), 0, "{fault:?}");
        assert!(began.elapsed() <= Duration::from_secs(11), "{fault:?} took {:?}", began.elapsed());
        let conflict = matches!(error, ReconcileError::Conflict { .. });
        assert_eq!(conflict, fault == Fault::Refused(409), "{error}");
        let shown = Arc::new(session(&setup.server, "s").unwrap());
        assert_eq!(retry(shown, &error, Arc::clone(&setup.context)), Action::requeue(Duration::from_secs(1)));
        setup.look().await.unwrap();
        assert_eq!(setup.places(), [(PlacementState::Ready, 1)], "{fault:?}");
        assert_eq!(setup.fleet.held().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn whichever_write_fails_the_place_is_held_once() {
    for nth in 1..=4 {
        for fault in [Fault::Refused(409), Fault::Refused(500), Fault::Hangs, Fault::Unheard] {
            let setup = setup();
            setup.fail_write(nth, fault);
            setup.look().await.unwrap_err();
            setup.look().await.unwrap();
            assert_eq!(setup.places(), [(PlacementState::Ready, 1)], "{fault:?} of write {nth}");
            assert_eq!(setup.fleet.held().len(), 1, "{fault:?} of write {nth}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_watch_shows_late_is_not_written_over_what_is_there() {
    let setup = setup();
    let old = session(&setup.server, "s").unwrap();
    setup.look().await.unwrap();
    // The watch is slow: the session is shown as it was before it was placed.
    let calls = setup.fleet.calls();
    setup.look_at(old.clone()).await.unwrap();
    assert_eq!(setup.fleet.calls(), calls, "what was written is remembered");
    // Another controller knows nothing of that; the API server does.
    let (other, leads) = context(&setup.server, &setup.fleet);
    leads.send_replace(true);
    for object in setup.server.all("acceleratornodes") {
        other.known().nodes.apply(Arc::new(serde_json::from_value(object).unwrap()), Instant::now());
    }
    let error = reconcile(Arc::new(old), other).await.unwrap_err();
    assert!(matches!(error, ReconcileError::Conflict { .. }), "{error}");
    assert_eq!(setup.places(), [(PlacementState::Ready, 1)]);
    assert_eq!(setup.fleet.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn one_that_no_longer_leads_does_nothing() {
    let setup = setup();
    setup.leads.send_replace(false);
    setup.look().await.unwrap();
    assert!(setup.server.requests().is_empty());
    assert_eq!(setup.fleet.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_deleted_meanwhile_is_let_go_first() {
    let setup = setup();
    setup.look().await.unwrap();
    setup.server.delete(&key("s"));
    setup.fail_write(2, Fault::Unheard);
    setup.look().await.unwrap_err();
    setup.server.fail(|_, _| Fault::None);
    if session(&setup.server, "s").is_some() {
        setup.look().await.unwrap();
    }
    assert!(session(&setup.server, "s").is_none());
    assert!(setup.fleet.held().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_are_tried_again_ever_less_often() {
    let setup = setup();
    setup.server.fail(|method, _| if *method == Method::GET { Fault::None } else { Fault::Refused(500) });
    let mut waits = Vec::new();
    for _ in 0..8 {
        let error = setup.look().await.unwrap_err();
        let shown = Arc::new(session(&setup.server, "s").unwrap());
        waits.push(retry(shown, &error, Arc::clone(&setup.context)));
    }
    let seconds = [1, 2, 4, 8, 16, 30, 30, 30];
    assert_eq!(waits, seconds.map(|s| Action::requeue(Duration::from_secs(s))));
    let text = setup.context.metrics.exposition(&edgemux_controller::metrics::Now::default());
    assert!(text.contains("edgemux_controller_reconcile_errors_total{reason=\"api\"} 8"), "{text}");
    setup.server.fail(|_, _| Fault::None);
    setup.look().await.unwrap();
    edit(&setup.server, "s", 2_000);
    setup.look().await.unwrap();
    assert_eq!(setup.places(), [(PlacementState::Ready, 2)]);
    assert_eq!(setup.fleet.held().len(), 1);
}
