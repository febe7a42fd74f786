//! What nodes' daemons are asked, and what their answers mean.

pub mod grpc;
pub mod wording;

use std::time::Duration;

use edgemux_cluster_api::session::{InferenceSession, Placement};
use edgemux_proto::edgemux::v1 as wire;

use crate::decide::answers::Answer;
use crate::decide::{Call, Verb};
use crate::sweep::Orphan;

/// A question to a daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Where.
    pub endpoint: String,
    /// What.
    pub what: What,
}

/// What a daemon is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// To decide, and hold a place.
    Reserve(Box<wire::ReserveRequest>),
    /// To load.
    Commit(Token),
    /// To let go.
    Release(Token),
}

/// A place as a daemon knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its name.
    pub reservation: String,
    /// The daemon's run in which it has that name.
    pub epoch: String,
    /// Whose it is.
    pub uid: String,
}

/// All daemons.
pub trait Daemons: Send + Sync + 'static {
    /// Asks one of them. Comes to an end, whatever becomes of it.
    fn ask(&self, request: Request) -> impl Future<Output = Answer> + Send;
}

impl Request {
    /// What a call comes to.
    #[must_use]
    pub fn new(session: &InferenceSession, Call { place, verb }: &Call, ttl: Duration) -> Self {
        let what = match verb {
            Verb::Reserve => What::Reserve(Box::new(wording::reserve(session, place, ttl))),
            Verb::Commit => What::Commit(token(place)),
            Verb::Release => What::Release(token(place)),
        };
        Self { endpoint: place.endpoint.clone(), what }
    }

    /// To let go of what nobody remembers.
    #[must_use]
    pub fn release(orphan: &Orphan, endpoint: &str) -> Self {
        let Orphan { epoch, reservation, uid, .. } = orphan.clone();
        Self { endpoint: endpoint.to_owned(), what: What::Release(Token { reservation, epoch, uid }) }
    }
}

fn token(place: &Placement) -> Token {
    Token { reservation: place.reservation.clone(), epoch: place.epoch.clone(), uid: place.uid.clone() }
}
