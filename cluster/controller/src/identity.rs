//! What nodes are told of who asks: the uid of a place, and the name under which clients ask for it.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Longest name of a session that a daemon takes.
const NAME_CHARS_MAX: usize = 64;
/// Of a name's hash, hexadecimal digits that are kept.
const HASH_CHARS: usize = 24;
const PREFIX: &str = "edgemux.dev/";

/// The uid of a replica's place. Every node has it for itself, and a session has at most one place on a node, so that asking
/// again, whoever the controller then is, finds the same place.
#[must_use]
pub fn place_uid(session_uid: &str, replica: i64) -> String {
    format!("{PREFIX}{session_uid}/{replica}")
}

/// The session and the replica whose place this is; none of what others have reserved.
#[must_use]
pub fn owner_of(uid: &str) -> Option<(&str, i64)> {
    let (session, replica) = uid.strip_prefix(PREFIX)?.split_once('/')?;
    let replica = replica.parse().ok().filter(|&replica| replica >= 0)?;
    (!session.is_empty()).then_some((session, replica))
}

/// The name by which clients ask nodes for a session, `NAMESPACE.NAME`. A namespace has no dot, so that two sessions never
/// share one. What is too long for a daemon is cut, and ends in an underscore, which no name in Kubernetes has, and a hash.
#[must_use]
pub fn session_name(namespace: &str, name: &str) -> String {
    let full = format!("{namespace}.{name}");
    if full.len() <= NAME_CHARS_MAX {
        return full;
    }
    let mut short: String = full.chars().take(NAME_CHARS_MAX - HASH_CHARS - 1).collect();
    short.push('_');
    for byte in Sha256::digest(full.as_bytes()).iter().take(HASH_CHARS / 2) {
        let _ = write!(short, "{byte:02x}");
    }
    short
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_is_known_to_be_ours_and_whose_it_is() {
        assert_eq!(owner_of(&place_uid("1b4e-28ba", 3)), Some(("1b4e-28ba", 3)));
        for other in ["", "edgemux.dev/", "edgemux.dev/x", "edgemux.dev//0", "edgemux.dev/x/-1", "cli/x/0"] {
            assert_eq!(owner_of(other), None, "{other}");
        }
    }

    #[test]
    fn long_names_fit_and_differ_even_where_they_begin_alike() {
        let namespace = "n".repeat(63);
        let names = ["a".repeat(253), format!("{}b", "a".repeat(252)), "a".to_owned()];
        let called: BTreeSet<_> = names.iter().map(|name| session_name(&namespace, name)).collect();
        assert_eq!(called.len(), names.len());
        assert!(called.iter().all(|name| name.len() == NAME_CHARS_MAX));
        assert_eq!(session_name("shop", "detector"), "shop.detector");
    }

    proptest! {
        #[test]
        fn two_sessions_never_share_a_name(
            a in ("[a-z0-9]{1,3}|[a-z]{60}", "[a-z0-9.]{1,4}|[a-z.]{60,64}"),
            b in ("[a-z0-9]{1,3}|[a-z]{60}", "[a-z0-9.]{1,4}|[a-z.]{60,64}"),
        ) {
            let (one, other) = (session_name(&a.0, &a.1), session_name(&b.0, &b.1));
            prop_assert_eq!(a == b, one == other);
            prop_assert!(one.len() <= NAME_CHARS_MAX);
            prop_assert!(one.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)));
        }
    }
}
