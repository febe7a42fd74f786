//! What is varied: nodes, arrivals, objectives.

use serde::Serialize;

use edgemux_placement::catalogue::KindId;

use super::catalogue::{EDGETPU, NANO};

/// One combination, of which many random workloads are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    pub(crate) mix: Mix,
    pub(crate) nodes: usize,
    pub(crate) arrivals: Arrivals,
    pub(crate) objective: Objective,
}

/// Which nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mix {
    /// edgeTPUs alone
    Coral,
    /// Jetson Nanos alone
    Nano,
    /// Half and half.
    Mixed,
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    Poisson,
    /// Times between requests vary twice as much as Poisson's: a squared coefficient of variation of 4.
    Bursty,
}

/// What is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Objective {
    Mean,
    P99,
}

impl Setting {
    /// All that are run: every size and mix under Poisson arrivals; bursts on a mixed cluster of the first size.
    pub(super) fn all(sizes: &[usize]) -> Vec<Self> {
        let mut settings = Vec::new();
        for objective in [Objective::Mean, Objective::P99] {
            let arrivals = Arrivals::Poisson;
            for mix in [Mix::Coral, Mix::Nano, Mix::Mixed] {
                settings.extend(sizes.iter().map(|&nodes| Self { mix, nodes, arrivals, objective }));
            }
            let bursty = |&nodes| Self { mix: Mix::Mixed, nodes, arrivals: Arrivals::Bursty, objective };
            settings.extend(sizes.first().map(bursty));
        }
        settings
    }

    /// The nodes' kinds.
    pub(super) fn kinds(self) -> Vec<KindId> {
        let kind = |at: usize| match self.mix {
            Mix::Coral => EDGETPU,
            Mix::Nano => NANO,
            Mix::Mixed if at.is_multiple_of(2) => EDGETPU,
            Mix::Mixed => NANO,
        };
        (0..self.nodes).map(kind).collect()
    }
}

impl Mix {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Coral => "Coral",
            Self::Nano => "Nano",
            Self::Mixed => "mixed",
        }
    }
}

impl Arrivals {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Poisson => "Poisson",
            Self::Bursty => "bursty",
        }
    }

    /// Squared coefficient of variation of the time between requests.
    pub(super) fn scv(self) -> f64 {
        match self {
            Self::Poisson => 1.0,
            Self::Bursty => 4.0,
        }
    }
}

impl Objective {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P99 => "p99",
        }
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mix, nodes, arrivals, objective } = self;
        write!(
            f,
            "{nodes} {} nodes, {} objectives, {} arrivals",
            mix.name(),
            objective.name(),
            arrivals.name()
        )
    }
}
