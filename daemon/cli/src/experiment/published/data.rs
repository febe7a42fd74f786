//! The tables, as they are built in.

use clap::ValueEnum;
use serde::Serialize;

use super::PublishedError;

const SHARED: &str = include_str!("../../../../../calibration/data/edgetpu_shared_latency.csv");
const PROFILES: &str = include_str!("../../../../../calibration/data/edgetpu_profiles.csv");
const EDGETPU: &str = include_str!("../../../../../calibration/data/edgetpu_together.csv");
const NANO: &str = include_str!("../../../../../calibration/data/jetson_nano_together.csv");

/// Which figures the models are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProfileName {
    /// As published
    Published,
    /// As published, with the reload of MobileNetV2 as the request traces show it
    Corrected,
    /// All times from the request traces
    Traces,
}

/// What a model costs, in ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) resident: f64,
    pub(super) cv: f64,
    pub(super) reload: f64,
    /// After the device, while it serves the next.
    pub(super) after: f64,
}

/// What was measured of one model in one setting.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) pair: String,
    pub(super) setting: String,
    pub(super) model: String,
    pub(super) rate: f64,
    /// Mean, p95 and p99, ms.
    pub(super) latency: [f64; 3],
}

/// A model alone and among others, ms.
#[derive(Debug, Clone)]
pub(super) struct Together {
    pub(super) model: String,
    pub(super) alone: f64,
    pub(super) together: f64,
}

impl ProfileName {
    pub(super) const ALL: [Self; 3] = [Self::Published, Self::Corrected, Self::Traces];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Corrected => "corrected",
            Self::Traces => "traces",
        }
    }

    /// What a model costs by this profile.
    pub(super) fn cost(self, model: &str) -> Result<Cost, PublishedError> {
        let mut rows = rows(PROFILES);
        let row = rows.find(|row| row.is(0, self.name()) && row.is(1, model));
        let row = row.ok_or_else(|| PublishedError::Data(format!("no profile of {model}")))?;
        Ok(Cost {
            resident: row.number(2)?,
            cv: row.number(3)?,
            reload: row.number(4)?,
            after: row.number(5)?,
        })
    }
}

/// All settings, in the order of the table: two models each.
pub(super) fn shared() -> Result<Vec<Measured>, PublishedError> {
    rows(SHARED)
        .map(|row| {
            Ok(Measured {
                pair: row.text(0)?.to_owned(),
                setting: row.text(1)?.to_owned(),
                model: row.text(2)?.to_owned(),
                rate: row.number(4)?,
                latency: [row.number(5)?, row.number(7)?, row.number(8)?],
            })
        })
        .collect()
}

/// Models alone and together on an edgeTPU, in the order of submission.
pub(super) fn edgetpu() -> Result<Vec<Together>, PublishedError> {
    together(EDGETPU)
}

/// The same on a Jetson Nano.
pub(super) fn nano() -> Result<Vec<Together>, PublishedError> {
    together(NANO)
}

fn together(text: &'static str) -> Result<Vec<Together>, PublishedError> {
    let read = |row: Row| {
        Ok(Together { model: row.text(0)?.to_owned(), alone: row.number(1)?, together: row.number(2)? })
    };
    rows(text).map(read).collect()
}

/// Lines below the comments and the header.
fn rows(text: &'static str) -> impl Iterator<Item = Row> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.skip(1).map(|line| Row { line, cells: line.split(',').collect() })
}

struct Row {
    line: &'static str,
    cells: Vec<&'static str>,
}

impl Row {
    fn is(&self, at: usize, text: &str) -> bool {
        self.cells.get(at).is_some_and(|cell| *cell == text)
    }

    fn text(&self, at: usize) -> Result<&'static str, PublishedError> {
        self.cells.get(at).copied().ok_or_else(|| PublishedError::Data(format!("too short: {}", self.line)))
    }

    fn number(&self, at: usize) -> Result<f64, PublishedError> {
        self.text(at)?.parse().map_err(|_| PublishedError::Data(format!("not a number in: {}", self.line)))
    }
}
