//! Kinds of node, and what models cost on each.

use edgemux_calibration::profile::Profile;
use edgemux_calibration::system::{Device, Host, Mode};

/// Place of a model in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(pub u32);

/// Place of a kind of node in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(pub u32);

/// All that is known of kinds and models.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalogue {
    /// What models are called.
    pub models: Vec<String>,
    /// Kinds of node.
    pub kinds: Vec<Kind>,
}

/// A kind of node: one accelerator and its host.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// What it is called.
    pub name: String,
    /// Its accelerator, in the mode in which it runs if nobody chooses one.
    pub device: Device,
    /// The modes that may be chosen; the device's own is always one.
    pub modes: Vec<Mode>,
    /// Its processor.
    pub host: Host,
    /// What each model costs there, by [`ModelId`]; none where it does not run.
    pub costs: Vec<Option<Cost>>,
}

/// What a model costs on a kind of node.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Compiled alone, with all of the on-chip memory to itself. Its reload group is not looked at: here a model is a
    /// group, unless a node's models are compiled together.
    pub profile: Profile,
    /// Bytes of its parameters that are then kept on the chip.
    pub on_chip: u64,
}

/// A catalogue that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// Not one cost for each model.
    #[error("{kind} has {given} costs for {models} models")]
    Costs {
        /// Which kind.
        kind: String,
        /// How many it has.
        given: usize,
        /// How many there should be.
        models: usize,
    },
    /// A model that takes no time.
    #[error("{model} takes no time on {kind}")]
    NoService {
        /// Which model.
        model: String,
        /// On which kind.
        kind: String,
    },
}

impl Catalogue {
    /// Checks that every kind says of every model what it costs, or that it does not run there.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), CatalogueError> {
        for kind in &self.kinds {
            let (given, models) = (kind.costs.len(), self.models.len());
            if given != models {
                return Err(CatalogueError::Costs { kind: kind.name.clone(), given, models });
            }
            for (cost, model) in kind.costs.iter().zip(&self.models) {
                if cost.as_ref().is_some_and(|cost| cost.profile.service.mean() <= 0.0) {
                    return Err(CatalogueError::NoService { model: model.clone(), kind: kind.name.clone() });
                }
            }
        }
        Ok(())
    }

    /// A kind of this catalogue.
    #[must_use]
    pub fn kind(&self, id: KindId) -> &Kind {
        &self.kinds[id.0 as usize]
    }
}

impl Kind {
    /// What a model costs here; none where it does not run.
    #[must_use]
    pub fn cost(&self, model: ModelId) -> Option<&Cost> {
        self.costs.get(model.0 as usize)?.as_ref()
    }

    /// Whether the device drops parameters.
    #[must_use]
    pub fn reloads(&self) -> bool {
        self.device.on_chip > 0
    }
}
