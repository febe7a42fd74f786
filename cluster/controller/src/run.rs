//! Everything together: what is heard goes into the queue, and whoever leads works it off.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use edgemux_cluster_api::node::AcceleratorNode;
use edgemux_cluster_api::session::InferenceSession;
use futures_util::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use kube::runtime::controller::Config;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, applier, watcher};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::context::{CONTROLLER, Context};
use crate::daemons::{Daemons, Request};
use crate::decide::Verb;
use crate::decide::answers::Answer;
use crate::leader::Candidate;
use crate::metrics;
use crate::reconcile::{reconcile, retry};
use crate::{identity, sweep, watching};

/// Sessions that wait to be taken into the queue proper, which holds each only once.
const QUEUE_MAX: usize = 1024;
/// How often nodes are looked over for places that nobody remembers.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts before it is begun anew where it was, s. A client that hears nothing for longer than this has lost
/// the server.
pub const WATCH_S: u32 = 60;
/// Longest time for a list of all sessions.
const LIST_MAX: Duration = Duration::from_secs(30);

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where Leases are: the nodes' and the leader's.
    pub namespace: String,
    /// What this controller is called among others; no other may be.
    pub identity: String,
    /// How long the leader's Lease holds.
    pub lease_duration: Duration,
    /// Most sessions that are worked on at a time.
    pub concurrency: u16,
}

/// The controller.
pub struct Controller<D> {
    context: Arc<Context<D>>,
    options: Options,
    leads: watch::Sender<bool>,
    sessions: Store<InferenceSession>,
    queue: mpsc::Receiver<ObjectRef<InferenceSession>>,
    watchers: JoinSet<()>,
}

/// What is shown of a controller to whoever asks over HTTP.
pub struct Shown<D> {
    context: Arc<Context<D>>,
    sessions: Store<InferenceSession>,
}

impl<D: Daemons> Controller<D> {
    /// Begins to listen. `leads` is the sender of what the context hears.
    pub fn start(context: Arc<Context<D>>, leads: watch::Sender<bool>, options: Options) -> Self {
        let client = &context.client;
        let config = watcher::Config::default().timeout(WATCH_S);
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let (sessions, writer) = store();
        let mut watchers = JoinSet::new();
        let events = watcher(Api::<InferenceSession>::all(client.clone()), config.clone()).default_backoff();
        watchers.spawn(watching::sessions(Arc::clone(&context), writer, sender.clone(), events));
        let events = watcher(Api::<AcceleratorNode>::all(client.clone()), config.clone()).default_backoff();
        watchers.spawn(watching::nodes(Arc::clone(&context), sender.clone(), events));
        let leases = Api::<Lease>::namespaced(client.clone(), &options.namespace);
        let events = watcher(leases, config).default_backoff();
        watchers.spawn(watching::leases(Arc::clone(&context), events));
        watchers.spawn(watching::ticks(Arc::clone(&context), sessions.clone(), sender));
        Self { context, options, leads, sessions, queue, watchers }
    }

    /// What can be shown.
    #[must_use]
    pub fn shown(&self) -> Shown<D> {
        Shown { context: Arc::clone(&self.context), sessions: self.sessions.clone() }
    }

    /// Works whenever it leads, until `stop`; then it gives its Lease back.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let api = Api::namespaced(self.context.client.clone(), &self.options.namespace);
        let (identity, duration) = (self.options.identity.clone(), self.options.lease_duration);
        let mut candidate = Candidate::new(api, CONTROLLER, &identity, duration);
        let leads = self.leads.clone();
        {
            let mut heard = leads.subscribe();
            let leading = candidate.run(&leads, stop);
            let mut leading = std::pin::pin!(leading);
            loop {
                tokio::select! {
                    biased;
                    () = &mut leading => break,
                    watcher = self.watchers.join_next() => {
                        warn!(?watcher, "a watcher has ended");
                        break;
                    }
                    // What is worked on ends here, wherever it is, when it no longer leads.
                    () = work_while_leading(&mut heard, &self.context, &self.sessions, &mut self.queue, &self.options) => {}
                }
            }
        }
        leads.send_replace(false);
        candidate.release().await;
        self.watchers.shutdown().await;
    }
}

impl<D: Daemons> Shown<D> {
    /// Whether all sessions and nodes have been heard of.
    pub async fn is_ready(&self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.sessions.wait_until_ready())
            .await
            .is_ok_and(|ready| ready.is_ok())
    }

    /// All that is counted.
    #[must_use]
    pub fn exposition(&self) -> String {
        let phase = |session: Arc<InferenceSession>| {
            session.status.as_ref().map(|status| status.phase).unwrap_or_default()
        };
        let sessions = self.sessions.state().into_iter().map(phase).collect();
        let nodes = self.context.known().nodes.all(Instant::now()).map(|(_, standing)| standing).collect();
        let leads = *self.context.leads.borrow();
        self.context.metrics.exposition(&metrics::Now { sessions, nodes, leads })
    }
}

/// Ends when it no longer leads.
async fn work_while_leading<D: Daemons>(
    heard: &mut watch::Receiver<bool>,
    context: &Arc<Context<D>>,
    sessions: &Store<InferenceSession>,
    queue: &mut mpsc::Receiver<ObjectRef<InferenceSession>>,
    options: &Options,
) {
    // What comes before that is all looked at again when it does.
    while !*heard.borrow_and_update() {
        tokio::select! {
            changed = heard.changed() => if changed.is_err() { return std::future::pending().await },
            _ = queue.recv() => {}
        }
    }
    tokio::select! {
        () = work(context, sessions, queue, options) => {}
        () = sweeps(context) => {}
        _ = heard.wait_for(|leads| !leads) => {}
    }
}

async fn work<D: Daemons>(
    context: &Arc<Context<D>>,
    sessions: &Store<InferenceSession>,
    queue: &mut mpsc::Receiver<ObjectRef<InferenceSession>>,
    options: &Options,
) {
    let all: Vec<_> = sessions.state().iter().map(|session| ObjectRef::from_obj(&**session)).collect();
    let all = stream::iter(all);
    let heard = stream::poll_fn(|cx| queue.poll_recv(cx));
    let queue = all.chain(heard).map(Ok::<_, Infallible>);
    let config = Config::default().concurrency(options.concurrency);
    let reconciler = |session, context| Box::pin(reconcile(session, context));
    let looks = applier(reconciler, retry, Arc::clone(context), sessions.clone(), queue, config);
    looks.for_each(|_| std::future::ready(())).await;
}

async fn sweeps<D: Daemons>(context: &Arc<Context<D>>) {
    let mut every = tokio::time::interval(SWEEP_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Statuses of the last leader are to be taken up first.
    every.tick().await;
    loop {
        every.tick().await;
        sweep_once(context).await;
    }
}

/// Lets go of places that nobody remembers. That they are remembered by nobody is asked of the API server itself.
pub async fn sweep_once<D: Daemons>(context: &Arc<Context<D>>) {
    let now = Instant::now();
    // Places are looked at before sessions: what is placed in between is not among them.
    let places: Vec<_> = {
        let known = context.known();
        let places = known.nodes.places(now).filter(|(node, _, place)| {
            identity::owner_of(&place.uid)
                .is_some_and(|(owner, _)| !known.ranking.has(owner, node, &place.uid))
        });
        places.map(|(node, epoch, place)| (node.to_owned(), epoch.to_owned(), place.clone())).collect()
    };
    if places.is_empty() {
        return;
    }
    let api = Api::<InferenceSession>::all(context.client.clone());
    let params = ListParams::default();
    let listed = match tokio::time::timeout(LIST_MAX, api.list(&params)).await {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) => return warn!(%error, "sessions could not be listed; nothing is swept"),
        Err(_) => return warn!("sessions were not listed in time; nothing is swept"),
    };
    let places = places.iter().map(|(node, epoch, place)| (node.as_str(), epoch.as_str(), place));
    for orphan in sweep::orphans(places, &listed.items) {
        let endpoint = context.known().nodes.look(&orphan.node, "", Instant::now()).map(|look| look.endpoint);
        let Some(endpoint) = endpoint else { continue };
        let answer = context.daemons.ask(Request::release(&orphan, &endpoint)).await;
        context.metrics.called(Verb::Release, &answer);
        if answer == Answer::Serves {
            info!(node = orphan.node, uid = orphan.uid, "a place that nobody remembered was let go");
            context.metrics.swept();
            context.known().nodes.freed();
        } else {
            debug!(
                node = orphan.node,
                uid = orphan.uid,
                ?answer,
                "a place that nobody remembers is there still"
            );
        }
    }
}
