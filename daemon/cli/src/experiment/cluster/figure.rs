//! The plot: for each mix of nodes and kind of objective a panel, for each policy a line over the size of the cluster.

use plotters::prelude::DrawingBackend;

use super::contest::Family;
use super::report::{ClusterReport, Row};
use super::setting::{Arrivals, Mix, Objective};
use crate::plot::{self, Area, COLOURS, Failed, Figure, INK, Label, Line, Look, Mark, Panel, Series, Ticks};

const WIDTH: u32 = 980;
const HEIGHT: u32 = 800;
/// Of this the legend's, below the panels.
const LEGEND: u32 = 60;

/// Hosted with none violated, under Poisson arrivals: ours, and the best of each other family.
#[derive(Debug)]
pub(super) struct ClusterFigure<'a> {
    report: &'a ClusterReport,
}

/// What is drawn of each family.
const DRAWN: [(Family, &str, Look); 5] = [
    (Family::Ours, "ours", look(0, Line::Solid, Mark::Disc)),
    (Family::Corrected, "paper's orders, corrected predictor", look(2, Line::Dashed, Mark::Triangle)),
    (Family::Paper, "paper", look(1, Line::Solid, Mark::Square)),
    (Family::Knapsack, "knapsack of memory and utilisation", look(3, Line::Dashed, Mark::Cross)),
    (
        Family::MemoryKnapsack,
        "knapsack of memory",
        Look { colour: INK, line: Line::Dotted, mark: Some(Mark::Disc) },
    ),
];

const fn look(colour: usize, line: Line, mark: Mark) -> Look {
    Look { colour: COLOURS[colour], line, mark: Some(mark) }
}

impl<'a> ClusterFigure<'a> {
    pub(super) fn new(report: &'a ClusterReport) -> Self {
        Self { report }
    }

    /// Size and applications of the best of a family, for each size.
    fn best(&self, mix: Mix, objective: Objective, family: Family) -> Vec<(f64, f64)> {
        let of = |row: &&Row| {
            row.setting.mix == mix
                && row.setting.objective == objective
                && row.setting.arrivals == Arrivals::Poisson
                && row.family == family
        };
        let mut best: Vec<(f64, f64)> = Vec::new();
        for row in self.report.rows.iter().filter(of) {
            let (nodes, clean) = (row.setting.nodes as f64, row.clean.mean);
            match best.iter_mut().find(|(at, _)| *at == nodes) {
                Some((_, most)) => *most = most.max(clean),
                None => best.push((nodes, clean)),
            }
        }
        best.sort_by(|a, b| a.0.total_cmp(&b.0));
        best
    }
}

// === impl Figure for ClusterFigure ===

impl Figure for ClusterFigure<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH, HEIGHT)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>, scale: u32) -> Result<(), Failed> {
        let (panels, legend) = area.split_vertically((HEIGHT - LEGEND) * scale);
        let areas = panels.split_evenly((2, 3));
        let panels = [Objective::Mean, Objective::P99]
            .into_iter()
            .flat_map(|objective| [Mix::Coral, Mix::Nano, Mix::Mixed].map(|mix| (objective, mix)));
        for ((objective, mix), area) in panels.zip(&areas) {
            let series: Vec<Series> = DRAWN
                .iter()
                .map(|&(family, _, look)| Series { points: self.best(mix, objective, family), look })
                .collect();
            let sizes = series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
            let (least, most) =
                sizes.fold((f64::INFINITY, 0.0_f64), |(low, high), at| (low.min(at), high.max(at)));
            let panel = Panel {
                title: &format!("{}, {} objectives", mix.name(), objective.name()),
                x: "nodes",
                y: "hosted, none violated",
                x_range: if least <= most { (least * 0.8, most * 1.1) } else { (0.0, 1.0) },
                y_range: plot::range(
                    series.iter().flat_map(|series| series.points.iter().map(|point| point.1)),
                ),
                ticks: Ticks { count: 6, label: |nodes| format!("{nodes:.0}") },
                series: &series,
            };
            plot::panel(area, &panel, scale)?;
        }
        let labels: Vec<Label> =
            DRAWN.iter().map(|&(_, text, look)| Label { text: text.to_owned(), look }).collect();
        let columns = legend.split_evenly((1, 3));
        let mut labels = labels.into_iter();
        for area in &columns {
            let column: Vec<Label> = labels.by_ref().take(2).collect();
            plot::legend(&area.margin(0, 0, 20 * scale, 0), &column, scale)?;
        }
        Ok(())
    }
}
