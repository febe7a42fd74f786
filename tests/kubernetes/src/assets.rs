//! Where etcd and kube-apiserver are.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A folder with `etcd` and `kube-apiserver`.
#[derive(Clone, Debug)]
pub struct Assets(PathBuf);

/// Those that `KUBEBUILDER_ASSETS` names. Without any that is said, and the test that asked is to return.
#[must_use]
pub fn assets(test: &str) -> Option<Assets> {
    let named = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let why = match &named {
        None => "KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver".to_owned(),
        Some(folder) => match ["etcd", "kube-apiserver"].iter().find(|name| !folder.join(name).is_file()) {
            None => return named.map(Assets),
            // Whoever names a folder means it.
            Some(name) => panic!("KUBEBUILDER_ASSETS={}: no {name} in it", folder.display()),
        },
    };
    skipped(test, &why);
    None
}

/// Says that a test is skipped, past libtest's capture: who reads that it passed is to read this too.
pub fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

// === impl Assets ===

impl Assets {
    pub(crate) fn etcd(&self) -> PathBuf {
        self.0.join("etcd")
    }

    pub(crate) fn apiserver(&self) -> PathBuf {
        self.0.join("kube-apiserver")
    }

    /// The server of custom resources by itself, where the API server is too old to hold them to rules: it then passes on to it
    /// what is of our group.
    pub(crate) fn extensions(&self) -> Option<PathBuf> {
        Some(self.0.join("apiextensions-apiserver")).filter(|path| path.is_file())
    }
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
