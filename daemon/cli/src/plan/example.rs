//! Files to start from.

/// A file that is shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Example {
    /// A Coral edgeTPU
    Coral,
    /// A Jetson Nano
    JetsonNano,
}

impl Example {
    /// The file as it is.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Coral => include_str!("../../../../examples/plan/coral.toml"),
            Self::JetsonNano => include_str!("../../../../examples/plan/jetson-nano.toml"),
        }
    }
}
