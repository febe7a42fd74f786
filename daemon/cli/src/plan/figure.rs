//! The plot of latency against load: a panel for each device.

use plotters::prelude::DrawingBackend;

use super::sweep::Sweep;
use super::words::{short, statistic};
use crate::plot::{self, Area, COLOURS, Failed, Figure, INK, Label, Line, Look, Mark, Panel, Series, Ticks};

const WIDTH: u32 = 860;
const HEIGHT: u32 = 420;
/// Of this the legend's.
const LEGEND: u32 = 250;
/// Above the legend.
const TOP: u32 = 30;
/// The most sessions in the legend of a device.
const LABELS_MAX: usize = 60;
/// Markers on a line.
const MARKERS: usize = 6;

/// Devices below each other.
#[derive(Debug)]
pub(super) struct LoadFigure {
    sweeps: Vec<Sweep>,
}

impl LoadFigure {
    pub(super) fn new(sweeps: Vec<Sweep>) -> Self {
        Self { sweeps }
    }
}

// === impl Figure for LoadFigure ===

impl Figure for LoadFigure {
    fn size(&self) -> (u32, u32) {
        let rows = self.sweeps.iter().map(|sweep| sweep.lines.len().min(LABELS_MAX) + 3).max().unwrap_or(0);
        let height = HEIGHT.max(TOP + plot::LEGEND_ROW * u32::try_from(rows).unwrap_or(u32::MAX));
        (WIDTH, height * u32::try_from(self.sweeps.len()).unwrap_or(u32::MAX).clamp(1, 64))
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>, scale: u32) -> Result<(), Failed> {
        if self.sweeps.is_empty() {
            return plot::title(area, "no application is admitted: nothing to show", (40, 40), scale);
        }
        let areas = area.split_evenly((self.sweeps.len(), 1));
        for (sweep, area) in self.sweeps.iter().zip(&areas) {
            draw(sweep, area, scale)?;
        }
        Ok(())
    }
}

fn draw<B: DrawingBackend>(sweep: &Sweep, area: &Area<B>, scale: u32) -> Result<(), Failed> {
    let (chart, legend) = area.split_horizontally((WIDTH - LEGEND) * scale);
    let latencies = sweep.lines.iter().flat_map(|line| line.points.iter().map(|(_, ms)| *ms));
    let objectives = sweep.lines.iter().filter_map(|line| line.objective_ms);
    let y_range = plot::range(latencies.chain(objectives));
    let mut series = Vec::new();
    let mut labels = Vec::new();
    for (at, line) in sweep.lines.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let mark = Some(Mark::ALL[at % Mark::ALL.len()]);
        let points: Vec<(f64, f64)> = line.points.iter().map(|(load, ms)| (load * 100.0, *ms)).collect();
        // Markers of different lines at different places, so that lines on top of each other are told apart.
        let every = points.len().div_ceil(MARKERS).max(1);
        let marked = points.iter().copied().skip(at % every).step_by(every).collect();
        if let Some(ms) = line.objective_ms {
            let look = Look { colour, line: Line::Dashed, mark: None };
            series.push(Series { points: vec![(0.0, ms), (100.0, ms)], look });
        }
        series.push(Series { points, look: Look { colour, line: Line::Solid, mark: None } });
        series.push(Series { points: marked, look: Look { colour, line: Line::None, mark } });
        let text = format!("{}, {}", line.session, statistic(line.statistic));
        labels.push(Label { text, look: Look { colour, line: Line::Solid, mark } });
    }
    if labels.len() > LABELS_MAX {
        let look = Look { colour: INK, line: Line::None, mark: None };
        let text = format!("and {} more", labels.len() - LABELS_MAX);
        labels.truncate(LABELS_MAX);
        labels.push(Label { text, look });
    }
    let present = sweep.present * 100.0;
    let now = Look { colour: INK, line: Line::Dotted, mark: None };
    series.push(Series { points: vec![(present, y_range.0), (present, y_range.1)], look: now });
    labels.push(Label { text: format!("the plan's load, {} %", short(present)), look: now });
    let objective = Look { colour: INK, line: Line::Dashed, mark: None };
    labels.push(Label { text: "objective, in its session's colour".to_owned(), look: objective });
    let panel = Panel {
        title: &sweep.device,
        x: "load, % of what the device can bear (all rates scaled together)",
        y: "latency, ms",
        x_range: (0.0, 100.0),
        y_range,
        ticks: Ticks { count: 11, label: |load| format!("{load:.0}") },
        series: &series,
    };
    plot::panel(&chart, &panel, scale)?;
    plot::legend(&legend.margin(TOP * scale, 0, 0, 0), &labels, scale)
}
