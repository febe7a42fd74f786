//! A node and what is to run on it, as checked values.

use edgemux_calibration::profile::Profile;
use edgemux_calibration::system::{Device, DeviceKind, Host, Mode, Session};
use edgemux_calibration::terms::Terms;

/// A node's devices and the applications that want to use them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) host: Host,
    pub(crate) devices: Vec<Choice>,
    /// In the order in which they come.
    pub(crate) applications: Vec<Application>,
}

/// A device and the ways in which it may be shared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    /// In the first of the modes.
    pub(crate) device: Device,
    /// At least one.
    pub(crate) modes: Vec<Mode>,
}

/// One application.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Application {
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) terms: Terms,
    /// What the model costs, for each kind of device that can run it.
    pub(crate) profiles: Vec<(DeviceKind, Profile)>,
    /// The devices it may run on, by their place in the node.
    pub(crate) allowed: Vec<usize>,
}

impl Application {
    /// Its session on a device of this kind; none where the model's cost there is not known.
    pub(crate) fn session(&self, kind: DeviceKind) -> Option<Session> {
        let (_, profile) = self.profiles.iter().find(|(of, _)| *of == kind)?;
        Some(Session { name: self.name.clone(), profile: profile.clone(), terms: self.terms })
    }
}

/// As files and tables call it.
pub(crate) fn kind(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::EdgeTpu => "edgetpu",
        DeviceKind::Gpu => "gpu",
        DeviceKind::Cpu => "cpu",
    }
}
