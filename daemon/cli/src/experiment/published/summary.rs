//! Errors over all settings.

use serde::Serialize;

use super::compare::{Point, Statistics};
use super::data::ProfileName;

/// Errors under one profile.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub(crate) profile: ProfileName,
    pub(crate) paper: Vec<Error>,
    pub(crate) ours: Vec<Error>,
}

/// Relative errors of one statistic, as fractions of one.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Error {
    pub(crate) statistic: &'static str,
    pub(crate) mean_error: f64,
    pub(crate) worst_error: f64,
}

pub(super) fn of(profile: ProfileName, points: &[Point]) -> Summary {
    let error = |statistic, at: usize, predicted: &dyn Fn(&Point) -> f64| {
        let errors: Vec<f64> =
            points.iter().map(|point| (predicted(point) / point.measured.all()[at] - 1.0).abs()).collect();
        Error {
            statistic,
            mean_error: errors.iter().sum::<f64>() / errors.len().max(1) as f64,
            worst_error: errors.iter().copied().fold(0.0, f64::max),
        }
    };
    let ours = Statistics::NAMES.iter().enumerate();
    Summary {
        profile,
        paper: vec![error("mean", 0, &|point| point.paper_mean_ms)],
        ours: ours.map(|(at, name)| error(name, at, &|point| point.ours.all()[at])).collect(),
    }
}
