//! The plot: for each pair of models a row, for each model a panel.

use plotters::prelude::DrawingBackend;

use super::compare::{Point, Statistics};
use crate::plot::{self, Area, COLOURS, Failed, Figure, INK, Label, Line, Look, Mark, Panel, Series, Ticks};

const WIDTH: u32 = 980;
const HEIGHT: u32 = 740;
/// Of this the legend's, below the panels.
const LEGEND: u32 = 60;

/// The published points with both models.
#[derive(Debug)]
pub(super) struct PublishedFigure<'a> {
    points: &'a [Point],
}

impl<'a> PublishedFigure<'a> {
    pub(super) fn new(points: &'a [Point]) -> Self {
        Self { points }
    }
}

// === impl Figure for PublishedFigure ===

impl Figure for PublishedFigure<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH, HEIGHT)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>, scale: u32) -> Result<(), Failed> {
        let (panels, legend) = area.split_vertically((HEIGHT - LEGEND) * scale);
        let mut models: Vec<(&str, &str)> = Vec::new();
        for point in self.points {
            if !models.contains(&(&point.pair, &point.model)) {
                models.push((&point.pair, &point.model));
            }
        }
        let areas = panels.split_evenly((models.len().div_ceil(2).max(1), 2));
        for ((pair, model), area) in models.into_iter().zip(&areas) {
            let points: Vec<&Point> =
                self.points.iter().filter(|point| point.pair == pair && point.model == model).collect();
            draw(pair, model, &points, area, scale)?;
        }
        for (labels, area) in labels().into_iter().zip(&legend.split_evenly((1, 5))) {
            plot::legend(&area.margin(0, 0, 20 * scale, 0), &labels, scale)?;
        }
        Ok(())
    }
}

fn draw<B: DrawingBackend>(
    pair: &str,
    model: &str,
    points: &[&Point],
    area: &Area<B>,
    scale: u32,
) -> Result<(), Failed> {
    let load = |point: &Point| point.utilisation * 100.0;
    let mut series = Vec::new();
    let mut add = |look: Look, latency: &dyn Fn(&Point) -> f64| {
        let points = points.iter().map(|point| (load(point), latency(point))).collect();
        series.push(Series { points, look });
    };
    for at in 0..Statistics::NAMES.len() {
        add(ours(at), &|point| point.ours.all()[at]);
        add(measured(at), &|point| point.measured.all()[at]);
    }
    add(PAPER, &|point| point.paper_mean_ms);
    let all = points.iter().flat_map(|point| {
        point.ours.all().into_iter().chain(point.measured.all()).chain([point.paper_mean_ms])
    });
    let panel = Panel {
        title: &title(pair, model),
        x: "device busy, %",
        y: "latency, ms",
        x_range: (10.0, 75.0),
        y_range: plot::range(all),
        ticks: Ticks { count: 7, label: |load| format!("{load:.0}") },
        series: &series,
    };
    plot::panel(area, &panel, scale)
}

/// A model and the one that shares the device with it.
fn title(pair: &str, model: &str) -> String {
    match pair.split(" + ").find(|other| *other != model) {
        Some(other) => format!("{model}, beside {other}"),
        None => model.to_owned(),
    }
}

const PAPER: Look = Look { colour: INK, line: Line::Dashed, mark: None };

fn ours(statistic: usize) -> Look {
    Look { colour: COLOURS[statistic], line: Line::Solid, mark: None }
}

fn measured(statistic: usize) -> Look {
    Look { colour: COLOURS[statistic], line: Line::None, mark: Some(Mark::ALL[statistic]) }
}

/// Columns of the legend.
fn labels() -> Vec<Vec<Label>> {
    let label = |text: String, look| Label { text, look };
    let columns = Statistics::NAMES.iter().enumerate().map(|(at, name)| {
        vec![label(format!("{name}, measured"), measured(at)), label(format!("{name}, ours"), ours(at))]
    });
    columns.chain([vec![label("mean, the paper's formula".to_owned(), PAPER)]]).collect()
}
