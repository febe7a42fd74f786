//! What a panel shows.

use plotters::style::RGBColor;

use super::mark::Mark;

/// A panel's contents.
#[derive(Debug)]
pub(crate) struct Panel<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) x_range: (f64, f64),
    /// Both above 0: the axis is logarithmic.
    pub(crate) y_range: (f64, f64),
    pub(crate) ticks: Ticks,
    pub(crate) series: &'a [Series],
}

/// How the horizontal axis is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    pub(crate) count: usize,
    pub(crate) label: fn(f64) -> String,
}

/// Points, joined or not.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) look: Look,
}

/// A line of the legend.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) text: String,
    pub(crate) look: Look,
}

/// What a series looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) colour: RGBColor,
    pub(crate) line: Line,
    pub(crate) mark: Option<Mark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Solid,
    Dashed,
    Dotted,
    /// Markers alone.
    None,
}

impl Line {
    /// Lengths of dashes and gaps, in points.
    pub(super) fn dashes(self) -> Option<(i32, i32)> {
        match self {
            Self::Solid | Self::None => None,
            Self::Dashed => Some((7, 5)),
            Self::Dotted => Some((2, 4)),
        }
    }
}

/// The least and the most of what is above 0, a little widened so that nothing lies on the frame.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| *value > 0.0 && value.is_finite())
        .fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
    if low <= high { (low / 1.25, high * 1.25) } else { (1.0, 10.0) }
}
