//! Whether this process may open a device's node, and if not, what would let it.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::fs::Access;
use rustix::io::Errno;

use super::tree::Tree;

const GROUPS: &str = "etc/group";
/// Read and write, for a node's group.
const GROUP_MAY: u32 = 0o060;

/// Why hardware that is there cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// What is so.
    pub(super) what: String,
    /// What to do.
    pub(super) remedy: String,
}

/// Why this process could not open the first of `nodes` that it could not, if any. Nothing is opened for this: that may
/// wake a device.
pub(super) fn denied(tree: &Tree, nodes: &[&str]) -> Option<Problem> {
    nodes.iter().find_map(|node| {
        let error = rustix::fs::access(tree.path(node), Access::READ_OK | Access::WRITE_OK).err()?;
        let path = tree.path(node).display().to_string();
        let what = format!("{path} cannot be opened by this user: {}", io::Error::from(error));
        Some(Problem { what, remedy: remedy(tree, node, error, &path) })
    })
}

fn remedy(tree: &Tree, node: &str, error: Errno, path: &str) -> String {
    let metadata = match tree.path(node).metadata() {
        Ok(metadata) => metadata,
        Err(_) if error == Errno::NOENT => return format!("in a container, pass {path} into it"),
        Err(_) => return format!("look at the permissions of {path} and of its folders"),
    };
    let (gid, mode) = (metadata.gid(), metadata.permissions().mode());
    let group = group(tree, gid).unwrap_or_else(|| gid.to_string());
    // Nobody is to be told to join root's group.
    if gid != 0 && mode & GROUP_MAY == GROUP_MAY {
        return format!(
            "join its group {group}: `usermod --append --groups {group} USER`, for the user that the daemon runs as, which \
             is then to be started anew"
        );
    }
    format!(
        "give it to a group by a udev rule (GROUP=\"NAME\", MODE=\"0660\") and let the daemon's user join that; now it is \
         {group}'s with mode {:04o}",
        mode & 0o7777
    )
}

/// The name of a group of this machine.
fn group(tree: &Tree, gid: u32) -> Option<String> {
    let groups = tree.text(GROUPS)?;
    let mut lines = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find_map(|fields| match fields[..] {
        [name, _, number, ..] if number.parse() == Ok(gid) => Some(name.to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    /// A node of this group and mode, and the remedy for it.
    fn remedy_of(gid: u32, mode: u32) -> String {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("apex_0");
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join(GROUPS), format!("root:x:0:\nbroken\ncoral:x:{gid}:me\n")).unwrap();
        fs::write(&node, "").unwrap();
        std::os::unix::fs::chown(&node, None, Some(gid)).unwrap();
        fs::set_permissions(&node, Permissions::from_mode(mode)).unwrap();
        remedy(&Tree::new(folder.path()), "apex_0", Errno::ACCESS, "/dev/apex_0")
    }

    #[test]
    fn the_group_to_join_is_the_nodes_own() {
        // Whoever runs this may give a file to a group of theirs; root to any.
        let gid =
            if rustix::process::geteuid().is_root() { 4242 } else { rustix::process::getegid().as_raw() };
        let said = remedy_of(gid, 0o660);
        assert!(said.contains("join its group coral") && said.contains("--groups coral USER"), "{said}");
        for mode in [0o600, 0o640] {
            let said = remedy_of(gid, mode);
            assert!(said.contains("udev rule") && said.contains(&format!("{mode:04o}")), "{said}");
        }
    }

    #[test]
    fn nobody_is_told_to_join_roots_group() {
        if rustix::process::geteuid().is_root() {
            let said = remedy_of(0, 0o660);
            assert!(said.contains("udev rule") && said.contains("root's with mode 0660"), "{said}");
        } else {
            println!("only root can give a file to root's group");
        }
    }

    #[test]
    fn a_node_that_is_not_there_is_to_be_passed_in() {
        let folder = tempfile::tempdir().unwrap();
        let problem = denied(&Tree::new(folder.path()), &["dev/apex_0"]).unwrap();
        assert!(problem.what.contains("No such file"), "{problem:?}");
        assert!(problem.remedy.contains("into it"), "{problem:?}");
        assert_eq!(denied(&Tree::new(folder.path()), &[]), None);
    }
}
