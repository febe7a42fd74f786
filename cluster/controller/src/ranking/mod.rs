//! Which nodes are to be asked first.
//!
//! Nodes of which it is known what the model costs there come in the order of the placement policy, each as far as it is
//! expected to take the session. Nodes of which nothing is known follow, the least loaded first, and then a few that are
//! expected to refuse: their daemons know better, and give the reasons. The node decides; this only saves questions.
//!
//! | module | what it holds |
//! |---|---|
//! | [`book`] | what this controller has placed, from the moment that a node is asked |
//! | [`picture`] | nodes, what runs there and what models cost, as the policy takes them |

pub mod book;
pub mod picture;

use std::time::Duration;

use edgemux_cluster_api::session::{InferenceSession, InferenceSessionStatus};
use tokio::time::Instant;

use self::book::{Book, Load};
use self::picture::Picture;
use crate::decide::Ask;
use crate::nodes::Nodes;

/// Most nodes that are expected to take a session.
const EXPECTED_MAX: usize = 8;
/// Most nodes of which nothing is known.
const UNKNOWN_MAX: usize = 16;
/// Most nodes that are expected to refuse.
const FULL_MAX: usize = 4;
/// How long a picture of the cluster is good enough, unless room may have come about.
const PICTURE_AGE: Duration = Duration::from_secs(1);
/// How long it is at most.
const PICTURE_AGE_MAX: Duration = Duration::from_secs(30);

/// Puts nodes in order.
#[derive(Debug, Default)]
pub struct Ranking {
    book: Book,
    picture: Option<Picture>,
    touched: bool,
}

impl Ranking {
    /// Something has changed on nodes.
    pub fn touched(&mut self) {
        self.touched = true;
    }

    /// Takes note of what a session has, and is being asked for.
    pub fn book(&mut self, session: &InferenceSession, status: &InferenceSessionStatus) {
        let Some(uid) = &session.metadata.uid else { return };
        let change = self.book.set(uid, session, status);
        let Some(picture) = &mut self.picture else { return };
        for (node, uid) in &change.gone {
            picture.remove(node, uid);
        }
        for booked in &change.new {
            picture.add(booked);
        }
    }

    /// A session is gone.
    pub fn forget(&mut self, uid: &str) {
        for (node, place) in self.book.remove(uid) {
            if let Some(picture) = &mut self.picture {
                picture.remove(&node, &place);
            }
        }
    }

    /// The sessions that have a place on a node, or are being asked for there.
    pub fn on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.book.on(node)
    }

    /// Whether a session has a place of this uid on a node, or is being asked for there.
    #[must_use]
    pub fn has(&self, session: &str, node: &str, uid: &str) -> bool {
        self.book.has(session, node, uid)
    }

    /// Nodes that may be asked for a place, the likeliest first.
    pub fn rank(&mut self, nodes: &Nodes, ask: &Ask<'_>, now: Instant) -> Vec<String> {
        let stale = self.picture.as_ref().is_none_or(|picture| {
            let age = now.saturating_duration_since(picture.drawn_at());
            let changed = nodes.changes() != picture.changes();
            age > PICTURE_AGE_MAX || (self.touched && (age > PICTURE_AGE || changed))
        });
        if stale {
            self.picture = Some(Picture::draw(nodes, &self.book, now));
            self.touched = false;
        }
        let Some(picture) = &mut self.picture else { return Vec::new() };
        let fit = picture.fitting(ask);
        let load = Load::of(ask.session);
        let expected = picture.expected(&load, &fit, EXPECTED_MAX);
        let (mut unknown, mut full) = picture.others(&load, &fit, &expected);
        unknown.truncate(UNKNOWN_MAX);
        full.truncate(if ask.better { 0 } else { FULL_MAX });
        let ranked = expected.into_iter().chain(unknown).chain(full);
        ranked.map(|at| picture.name(at).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests;
