//! Places that nodes hold and nobody remembers: of sessions that were removed by force, of a node that was taken out of the
//! cluster and came back, of a status that was written over. What was only reserved ends by itself; what was loaded stays
//! until it is found here.

use std::collections::HashMap;

use edgemux_cluster_api::node::NodeSession;
use edgemux_cluster_api::session::InferenceSession;

use crate::identity;

/// A place that nobody remembers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Orphan {
    /// The node that holds it.
    pub node: String,
    /// The run of its daemon.
    pub epoch: String,
    /// The daemon's name for it.
    pub reservation: String,
    /// Whose it was.
    pub uid: String,
}

/// The orphans among places of nodes (node, daemon's run, place): places of ours of which no session knows.
pub fn orphans<'a>(
    places: impl IntoIterator<Item = (&'a str, &'a str, &'a NodeSession)>,
    sessions: impl IntoIterator<Item = &'a InferenceSession>,
) -> Vec<Orphan> {
    let sessions: HashMap<&str, &InferenceSession> = sessions
        .into_iter()
        .filter_map(|session| Some((session.metadata.uid.as_deref()?, session)))
        .collect();
    let mut orphans = Vec::new();
    for (node, epoch, place) in places {
        let Some((owner, _)) = identity::owner_of(&place.uid) else { continue };
        let status = sessions.get(owner).and_then(|session| session.status.as_ref());
        let mut known = status.iter().flat_map(|status| &status.placements);
        let is_known = known.any(|known| known.node == node && known.uid == place.uid);
        if !is_known && !place.reservation.is_empty() {
            orphans.push(Orphan {
                node: node.to_owned(),
                epoch: epoch.to_owned(),
                reservation: place.reservation.clone(),
                uid: place.uid.clone(),
            });
        }
    }
    orphans
}

#[cfg(test)]
mod tests {
    use edgemux_cluster_api::session::{InferenceSessionStatus, Placement, PlacementState};

    use super::*;
    use crate::samples::{session, there};

    #[test]
    fn only_places_of_ours_that_no_session_knows_are_orphans() {
        let mut known = session("known");
        known.status = Some(InferenceSessionStatus {
            placements: vec![Placement {
                replica: 0,
                state: PlacementState::Leaving,
                node: "a".into(),
                device: String::new(),
                endpoint: String::new(),
                session_name: String::new(),
                uid: identity::place_uid("uid-of-known", 0),
                generation: 1,
                reservation: "r-1".into(),
                epoch: "e".into(),
                prediction: None,
                at_risk: None,
            }],
            ..InferenceSessionStatus::default()
        });
        let ours = there(&identity::place_uid("uid-of-known", 0), "r-1", "gpu");
        let gone = there(&identity::place_uid("uid-of-gone", 0), "r-2", "gpu");
        let others = there("somebody", "r-3", "gpu");
        let by_hand = there("", "", "gpu");
        let places = [
            ("a", "e", &ours),
            ("b", "e", &ours),
            ("a", "e", &gone),
            ("a", "e", &others),
            ("a", "e", &by_hand),
        ];
        let found = orphans(places, [&known]);
        let found: Vec<_> = found.iter().map(|o| (o.node.as_str(), o.reservation.as_str())).collect();
        assert_eq!(found, [("b", "r-1"), ("a", "r-2")]);
    }
}
