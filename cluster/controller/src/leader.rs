//! Of several controllers one acts: the one that holds a Lease.
//!
//! Whoever leads renews the Lease every third of its duration, and stops acting at once when it could not for two thirds,
//! counted from before it asked. Others take over when they have not seen it change for all of its duration, by their own
//! clock. So a third of the duration lies between one and the next. Two that write at the same time are told apart by the
//! version that the API server keeps.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// How long an attempt to give the Lease back may take.
const RELEASE_MAX: Duration = Duration::from_secs(3);

/// One that may lead.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    /// The Lease as it was last seen to change, and when.
    seen: Option<(Mark, Instant)>,
}

/// What changes when a Lease is renewed.
#[derive(Clone, Debug, PartialEq)]
struct Mark {
    holder: Option<String>,
    version: Option<String>,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// The Lease is held.
    Held,
    /// Somebody else holds it.
    Others,
}

impl Candidate {
    /// One that is called `identity`, which no other may be, for a Lease of this duration.
    #[must_use]
    pub fn new(api: Api<Lease>, name: &str, identity: &str, duration: Duration) -> Self {
        Self { api, name: name.to_owned(), identity: identity.to_owned(), duration, seen: None }
    }

    /// Tries to lead, and says through `leads` whether it does, until `stop`.
    pub async fn run(&mut self, leads: &watch::Sender<bool>, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        // Until when it may act.
        let mut deadline: Option<Instant> = None;
        loop {
            let asked = Instant::now();
            let limit = deadline.unwrap_or(asked + self.duration / 3);
            let attempt = tokio::select! {
                attempt = tokio::time::timeout_at(limit, self.attempt()) => attempt,
                () = &mut stop => break,
            };
            let wait = match attempt {
                Ok(Ok(Attempt::Held)) => {
                    deadline = Some(asked + self.duration * 2 / 3);
                    if !leads.send_replace(true) {
                        info!(identity = self.identity, "this controller acts from now on");
                    }
                    self.duration / 3
                }
                Ok(Ok(Attempt::Others)) => {
                    deadline = None;
                    self.step_down(leads, "another controller holds the Lease");
                    self.duration / 3
                }
                Ok(Err(error)) => {
                    debug!(%error, "the Lease could not be renewed");
                    self.duration / 15
                }
                Err(_) => {
                    debug!("the Lease could not be renewed in time");
                    self.duration / 15
                }
            };
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                deadline = None;
                self.step_down(leads, "the Lease could not be renewed");
            }
            let until = (now + wait).min(deadline.unwrap_or(now + wait));
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = &mut stop => break,
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                deadline = None;
                self.step_down(leads, "the Lease could not be renewed");
            }
        }
        self.step_down(leads, "it is told to stop");
    }

    /// Gives the Lease back, if this one holds it, so that another need not wait. Nothing may be done any more by then.
    pub async fn release(&self) {
        let released = async {
            let mut lease = self.api.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            self.api.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
        };
        match tokio::time::timeout(RELEASE_MAX, released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "the Lease was not given back"),
            Err(_) => debug!("the Lease was not given back in time"),
        }
    }

    fn step_down(&self, leads: &watch::Sender<bool>, why: &str) {
        if leads.send_replace(false) {
            warn!(identity = self.identity, "this controller no longer acts: {why}");
        }
    }

    async fn attempt(&mut self) -> Result<Attempt, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(0, None)),
            };
            return held(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let now = Instant::now();
        let mark = Mark {
            holder: spec.holder_identity.clone().filter(|holder| !holder.is_empty()),
            version: lease.metadata.resource_version.clone(),
        };
        let since = match &self.seen {
            Some((seen, since)) if *seen == mark => *since,
            _ => now,
        };
        self.seen = Some((mark.clone(), since));
        let transitions = spec.lease_transitions.unwrap_or_default();
        let next = match &mark.holder {
            Some(holder) if *holder == self.identity => self.spec(transitions, spec.acquire_time),
            Some(_) => {
                let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
                let duration = seconds.map_or(self.duration, Duration::from_secs);
                if now.duration_since(since) < duration {
                    return Ok(Attempt::Others);
                }
                self.spec(transitions + 1, None)
            }
            None => self.spec(transitions + 1, None),
        };
        lease.spec = Some(next);
        held(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn spec(&self, transitions: i32, acquired: Option<MicroTime>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.duration.as_secs()).unwrap_or(i32::MAX)),
            lease_transitions: Some(transitions),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }
}

fn held(written: Result<Lease, kube::Error>) -> Result<Attempt, kube::Error> {
    match written {
        Ok(_) => Ok(Attempt::Held),
        // Somebody was faster.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Attempt::Others),
        Err(error) => Err(error),
    }
}
