//! What an application asks for.

use edgemux_calibration::terms::Terms;

use crate::catalogue::ModelId;

/// An application: a model, served under terms. Several may share one model.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// What it is called in messages.
    pub name: String,
    /// What it runs.
    pub model: ModelId,
    /// What it declared.
    pub terms: Terms,
}

/// Place of an application in its cluster's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(pub u32);
