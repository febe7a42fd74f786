//! Follows the model repository, where the configuration asks for that: what loads at start is loaded when it appears or
//! changes, and unloaded when it is gone.
//!
//! It looks at intervals: notices of changes are not to be had of every file system that models lie on. What has changed is
//! left alone until two looks have seen the same, since files are copied piece by piece.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Weak;
use std::time::{Duration, SystemTime};

use super::{Node, Wanted};
use crate::access::Caller;
use crate::config::LoadAtStart;
use crate::repository::RepositoryError;

/// How often it is looked whether to look: a reload may have changed that.
const IDLE: Duration = Duration::from_secs(1);

/// What there is of a model: its declaration, its newest version, and when each file changed, and how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sight {
    version: u64,
    files: Vec<(SystemTime, u64)>,
}

/// The models that load at start. None of one that is there and cannot be read, or has no file yet: that is no reason to do
/// anything.
type Sights = BTreeMap<String, Option<Sight>>;

/// What was seen, and what was done about it.
#[derive(Debug, Default)]
struct Seen {
    before: Sights,
    settled: Sights,
}

/// Looks for as long as the node is there.
pub(super) async fn run(node: Weak<Node>) {
    // What there is before the models are loaded that load at start is loaded then, or was not to be.
    let mut seen = look(&node).await;
    loop {
        let Some(period) = node.upgrade().map(|node| node.config().repository_poll_s) else { return };
        tokio::time::sleep(if period > 0.0 { Duration::from_secs_f64(period) } else { IDLE }).await;
        let Some(strong) = node.upgrade() else { return };
        if period == 0.0 {
            seen = None;
        } else if strong.is_started() {
            let now = look(&node).await;
            match (&mut seen, now) {
                (Some(seen), Some(now)) => strong.follow(seen, now.settled).await,
                // A repository that cannot be read for a while is not an empty one.
                (Some(_), None) => {}
                (seen @ None, now) => *seen = now,
            }
        }
    }
}

async fn look(node: &Weak<Node>) -> Option<Seen> {
    let node = node.upgrade()?;
    let sights = tokio::task::spawn_blocking(move || node.sights()).await.ok()?;
    let sights =
        sights.inspect_err(|error| tracing::warn!(%error, "the model repository cannot be followed")).ok()?;
    Some(Seen { before: sights.clone(), settled: sights })
}

impl Node {
    /// The models that load at start, as they are now.
    fn sights(&self) -> Result<Sights, RepositoryError> {
        let seen = |model: String| match self.sight(&model) {
            Ok(None) => None,
            Ok(sight) => Some((model, sight)),
            Err(_) => Some((model, None)),
        };
        Ok(self.repository.models()?.into_keys().filter_map(seen).collect())
    }

    /// None of a model that does not load at start.
    fn sight(&self, model: &str) -> Result<Option<Sight>, RepositoryError> {
        let declared = self.repository.declared(model)?;
        let is_wanted = match self.config().load_at_start {
            LoadAtStart::All => true,
            LoadAtStart::Declared => declared.is_some(),
            LoadAtStart::None => false,
        };
        if !is_wanted {
            return Ok(None);
        }
        let version = declared.and_then(|terms| terms.version).map(|version| version.to_string());
        let found = self.repository.find(model, version.as_deref().unwrap_or_default())?;
        let declaration = self.repository.root().join(model).join("model.toml");
        let paths = found.files.iter().map(|file| file.path.as_path()).chain([declaration.as_path()]);
        Ok(Some(Sight { version: found.version, files: paths.filter_map(mark).collect() }))
    }

    async fn follow(&self, seen: &mut Seen, now: Sights) {
        let Seen { before, settled } = seen;
        let is_still = |model: &str| before.get(model) == now.get(model);
        let all: BTreeSet<_> = settled.keys().chain(now.keys()).cloned().collect();
        for model in all.iter().filter(|model| is_still(model) && settled.get(*model) != now.get(*model)) {
            match now.get(model) {
                Some(Some(_)) => {
                    tracing::info!(model, "the repository has something new of it");
                    let wanted = Wanted { model, alone: true, ..Wanted::default() };
                    if let Err(error) = self.load(&Caller::daemon(), wanted).await {
                        tracing::error!(%error, "what is new in the repository is not loaded; what serves goes on");
                    }
                }
                Some(None) => {
                    tracing::warn!(model, "what the repository has of it cannot be read; what serves goes on")
                }
                None => {
                    tracing::info!(model, "it is gone from the repository, and is unloaded");
                    self.unload(model).await;
                }
            }
        }
        for model in all.iter().filter(|model| is_still(model)) {
            match now.get(model) {
                Some(sight) => drop(settled.insert(model.clone(), sight.clone())),
                None => drop(settled.remove(model)),
            }
        }
        *before = now;
    }
}

fn mark(path: &Path) -> Option<(SystemTime, u64)> {
    let about = path.metadata().ok()?;
    Some((about.modified().ok()?, about.len()))
}
