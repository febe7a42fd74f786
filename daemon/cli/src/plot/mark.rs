//! Markers: shapes for points.

use plotters::chart::ChartContext;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::combinators::{LogCoord, WithKeyPoints};
use plotters::coord::types::RangedCoordf64;
use plotters::element::{Circle, Cross, EmptyElement, Rectangle, TriangleMarker};
use plotters::prelude::{Color, DrawingBackend};
use plotters::style::RGBColor;

use super::{Area, Failed};

/// Half of a marker's width in points.
const SIZE: i32 = 4;

/// A chart whose vertical axis is logarithmic.
pub(super) type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, WithKeyPoints<LogCoord<f64>>>>;

/// A shape for points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Disc,
    Triangle,
    Square,
    Cross,
}

impl Mark {
    pub(crate) const ALL: [Self; 4] = [Self::Disc, Self::Triangle, Self::Square, Self::Cross];

    /// Draws it at points of a chart.
    pub(super) fn on_chart<B: DrawingBackend>(
        self,
        chart: &mut Chart<'_, B>,
        points: &[(f64, f64)],
        colour: RGBColor,
        scale: u32,
    ) -> Result<(), Failed> {
        let (size, fill, stroke) = (SIZE * scale as i32, colour.filled(), colour.stroke_width(2 * scale));
        let points = points.iter().copied();
        match self {
            Self::Disc => chart.draw_series(points.map(|at| Circle::new(at, size, fill)))?,
            Self::Triangle => {
                chart.draw_series(points.map(|at| TriangleMarker::new(at, size * 5 / 4, fill)))?
            }
            Self::Square => chart.draw_series(
                points.map(|at| EmptyElement::at(at) + Rectangle::new([(-size, -size), (size, size)], fill)),
            )?,
            Self::Cross => chart.draw_series(points.map(|at| Cross::new(at, size, stroke)))?,
        };
        Ok(())
    }

    /// Draws it at a place of an area.
    pub(super) fn on_area<B: DrawingBackend>(
        self,
        area: &Area<B>,
        (x, y): (i32, i32),
        colour: RGBColor,
        scale: u32,
    ) -> Result<(), Failed> {
        let (size, fill, stroke) = (SIZE * scale as i32, colour.filled(), colour.stroke_width(2 * scale));
        match self {
            Self::Disc => area.draw(&Circle::new((x, y), size, fill))?,
            Self::Triangle => area.draw(&TriangleMarker::new((x, y), size * 5 / 4, fill))?,
            Self::Square => area.draw(&Rectangle::new([(x - size, y - size), (x + size, y + size)], fill))?,
            Self::Cross => area.draw(&Cross::new((x, y), size, stroke))?,
        }
        Ok(())
    }
}
