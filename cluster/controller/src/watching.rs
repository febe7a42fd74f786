//! What is heard of sessions, nodes and Leases, whether this controller acts or not: one that takes over knows all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use edgemux_cluster_api::node::{AcceleratorNode, NodeSession};
use edgemux_cluster_api::session::{InferenceSession, Phase};
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{Error, Event};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use crate::context::Context;
use crate::daemons::Daemons;
use crate::identity;

/// Sessions that are to be looked at.
pub type Queue = mpsc::Sender<ObjectRef<InferenceSession>>;

/// Sessions: into the store, and each that has changed is to be looked at.
pub async fn sessions<D: Daemons>(
    context: Arc<Context<D>>,
    mut writer: Writer<InferenceSession>,
    queue: Queue,
    events: impl Stream<Item = Result<Event<InferenceSession>, Error>>,
) {
    let store = writer.as_reader();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                debug!(%error, "the watch of sessions was broken");
                continue;
            }
        };
        writer.apply_watcher_event(&event);
        match &event {
            Event::Apply(session) | Event::InitApply(session) => {
                notice(&context, session);
                if queue.send(ObjectRef::from_obj(session)).await.is_err() {
                    return;
                }
            }
            Event::Delete(session) => {
                context.forget(session.metadata.uid.as_deref().unwrap_or_default());
            }
            Event::Init => {}
            Event::InitDone => {
                let there = store.state();
                let there: BTreeSet<_> = there.iter().filter_map(|s| s.metadata.uid.as_deref()).collect();
                let known: Vec<_> = context.known().sessions.keys().cloned().collect();
                for gone in known.iter().filter(|uid| !there.contains(uid.as_str())) {
                    context.forget(gone);
                }
            }
        }
    }
}

/// Counts what a session has. Once this controller acts it knows that before the watch shows it.
fn notice<D: Daemons>(context: &Context<D>, session: &InferenceSession) {
    let uid = session.metadata.uid.as_deref().unwrap_or_default();
    let is_new = !context.known().sessions.contains_key(uid);
    if is_new || !*context.leads.borrow() {
        let work = context.take_up(session);
        context.book(&work);
    }
}

/// Nodes: sessions for which something has changed there are to be looked at.
pub async fn nodes<D: Daemons>(
    context: Arc<Context<D>>,
    queue: Queue,
    events: impl Stream<Item = Result<Event<AcceleratorNode>, Error>>,
) {
    let mut listed = BTreeSet::new();
    let mut last: BTreeMap<String, Arc<AcceleratorNode>> = BTreeMap::new();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let now = Instant::now();
        let affected = match event {
            Err(error) => {
                debug!(%error, "the watch of nodes was broken");
                continue;
            }
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::Apply(node)) => applied(&context, &mut last, node, now),
            Ok(Event::InitApply(node)) => {
                listed.insert(node.name_any());
                applied(&context, &mut last, node, now)
            }
            Ok(Event::Delete(node)) => removed(&context, &mut last, &node.name_any()),
            Ok(Event::InitDone) => {
                let gone: Vec<_> = last.keys().filter(|name| !listed.contains(*name)).cloned().collect();
                gone.iter().flat_map(|name| removed(&context, &mut last, name)).collect()
            }
        };
        if send(&context, &queue, affected).await.is_none() {
            return;
        }
    }
}

fn applied<D: Daemons>(
    context: &Context<D>,
    last: &mut BTreeMap<String, Arc<AcceleratorNode>>,
    node: AcceleratorNode,
    now: Instant,
) -> BTreeSet<String> {
    let (name, node) = (node.name_any(), Arc::new(node));
    let before = last.insert(name.clone(), Arc::clone(&node));
    let mut known = context.known();
    let standing = known.nodes.standing(&name, now);
    known.nodes.apply(Arc::clone(&node), now);
    known.ranking.touched();
    let epoch = |node: &AcceleratorNode| node.status.as_ref().map(|status| status.epoch.clone());
    let turned = known.nodes.standing(&name, now) != standing
        || before.as_ref().is_none_or(|before| before.spec != node.spec || epoch(before) != epoch(&node));
    let mut affected = differing(before.as_deref(), &node);
    if turned {
        affected.extend(known.ranking.on(&name).map(str::to_owned));
    }
    affected
}

fn removed<D: Daemons>(
    context: &Context<D>,
    last: &mut BTreeMap<String, Arc<AcceleratorNode>>,
    name: &str,
) -> BTreeSet<String> {
    last.remove(name);
    let mut known = context.known();
    known.nodes.remove(name);
    known.ranking.touched();
    known.ranking.on(name).map(str::to_owned).collect()
}

/// The sessions of which a node says something else than before.
fn differing(before: Option<&AcceleratorNode>, now: &AcceleratorNode) -> BTreeSet<String> {
    let shown = |node: &AcceleratorNode| -> BTreeMap<String, (bool, String)> {
        let sessions = node.status.iter().flat_map(|status| &status.sessions);
        let told = |s: &NodeSession| (s.uid.clone(), (s.at_risk.is_some(), s.state.clone()));
        sessions.filter(|session| !session.uid.is_empty()).map(told).collect()
    };
    let (before, now) = (before.map(shown).unwrap_or_default(), shown(now));
    let uids = before.keys().chain(now.keys()).filter(|uid| before.get(*uid) != now.get(*uid));
    uids.filter_map(|uid| Some(identity::owner_of(uid)?.0.to_owned())).collect()
}

/// Leases: signs of life.
pub async fn leases<D: Daemons>(
    context: Arc<Context<D>>,
    events: impl Stream<Item = Result<Event<Lease>, Error>>,
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let now = Instant::now();
        match event {
            Err(error) => debug!(%error, "the watch of Leases was broken"),
            Ok(Event::Apply(lease) | Event::InitApply(lease)) => {
                let spec = lease.spec.as_ref();
                let stamp = spec.and_then(|spec| spec.renew_time.as_ref()).map(|at| at.0.to_string());
                let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
                let duration =
                    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
                context.known().nodes.renewed(&lease.name_any(), &stamp.unwrap_or_default(), duration, now);
            }
            Ok(Event::Delete(_)) => context.known().nodes.lease_removed(now),
            Ok(Event::Init | Event::InitDone) => {}
        }
    }
}

/// Once a second: what time alone has changed. Sessions of nodes that have become silent are to be looked at, and those that
/// nobody took, as soon as there may be room.
pub async fn ticks<D: Daemons>(context: Arc<Context<D>>, sessions: Store<InferenceSession>, queue: Queue) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    let mut standings = BTreeMap::new();
    let mut changes = 0;
    loop {
        every.tick().await;
        let now = Instant::now();
        let (affected, changed) = {
            let known = context.known();
            let current: BTreeMap<_, _> =
                known.nodes.all(now).map(|(node, standing)| (node.name_any(), standing)).collect();
            let turned = current.iter().filter(|(name, standing)| standings.get(*name) != Some(*standing));
            let affected: BTreeSet<_> =
                turned.flat_map(|(name, _)| known.ranking.on(name)).map(str::to_owned).collect();
            if current != standings {
                standings = current;
            }
            (affected, known.nodes.changes())
        };
        if !affected.is_empty() {
            context.known().ranking.touched();
        }
        if send(&context, &queue, affected).await.is_none() {
            return;
        }
        if changed != changes {
            changes = changed;
            for session in waiting(&sessions) {
                if queue.send(session).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Those that have not got all that they want, in the order of their priority and age.
fn waiting(sessions: &Store<InferenceSession>) -> Vec<ObjectRef<InferenceSession>> {
    let unhappy = |session: &InferenceSession| {
        session.status.as_ref().is_none_or(|status| {
            let risky = status.placements.iter().any(|place| place.at_risk.is_some());
            risky || matches!(status.phase, Phase::Refused | Phase::Degraded | Phase::Placing)
        })
    };
    let mut waiting = sessions.state_filter(unhappy);
    waiting.sort_by_key(|session| {
        // 0 comes last.
        let priority = (session.spec.priority as u64).wrapping_sub(1);
        (priority, session.metadata.creation_timestamp.clone().map(|at| at.0), session.name_any())
    });
    waiting.iter().map(|session| ObjectRef::from_obj(&**session)).collect()
}

/// None when nobody listens any more.
async fn send<D: Daemons>(context: &Context<D>, queue: &Queue, uids: BTreeSet<String>) -> Option<()> {
    let refs: Vec<_> = {
        let known = context.known();
        uids.iter().filter_map(|uid| Some(known.sessions.get(uid)?.at.clone())).collect()
    };
    for session in refs {
        queue.send(session).await.ok()?;
    }
    Some(())
}
