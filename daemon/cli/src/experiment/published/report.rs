//! The comparison as it is told: text, Markdown, CSV.

use std::path::PathBuf;

use serde::Serialize;

use super::compare::{Point, Statistics};
use super::data::ProfileName;
use super::summary::{Error, Summary};
use super::together::Discipline;
use crate::csv;
use crate::output::Report;
use crate::table::{Align, Table};

/// Everything that was compared.
#[derive(Debug, Serialize)]
pub(crate) struct Published {
    pub(crate) profile: ProfileName,
    pub(crate) points: Vec<Point>,
    pub(crate) summaries: Vec<Summary>,
    pub(crate) together: Vec<Discipline>,
    pub(crate) files: Vec<PathBuf>,
}

/// The titles of a table; the first few are texts.
struct Titles {
    texts: usize,
    titles: &'static [&'static str],
}

const POINTS: Titles = Titles {
    texts: 1,
    titles: &["model", "load", "mean ms", "paper", "ours", "p95 ms", "ours", "p99 ms", "ours"],
};
const SUMMARY: Titles =
    Titles { texts: 1, titles: &["profile", "paper's mean", "our mean", "our p95", "our p99"] };
const TOGETHER: Titles =
    Titles { texts: 2, titles: &["device", "model", "alone ms", "together ms", "predicted ms", "error"] };

impl Published {
    pub(super) fn new(
        profile: ProfileName,
        points: Vec<Point>,
        summaries: Vec<Summary>,
        together: Vec<Discipline>,
    ) -> Self {
        Self { profile, points, summaries, together, files: Vec::new() }
    }

    /// One line per point.
    pub(super) fn csv(&self) -> String {
        let mut text = csv::line([
            "pair",
            "setting",
            "model",
            "rate_hz",
            "utilisation",
            "measured_mean_ms",
            "measured_p95_ms",
            "measured_p99_ms",
            "paper_mean_ms",
            "our_mean_ms",
            "our_p95_ms",
            "our_p99_ms",
        ]);
        for point in &self.points {
            let mut cells = vec![point.pair.clone(), point.setting.clone(), point.model.clone()];
            let measured = point.measured.all();
            let numbers = [point.rate_hz, point.utilisation].into_iter().chain(measured);
            let numbers = numbers.chain([point.paper_mean_ms]).chain(point.ours.all());
            cells.extend(numbers.map(|number| csv::number(Some(number))));
            text.push_str(&csv::line(cells.iter().map(String::as_str)));
        }
        text
    }

    /// The tables for a page.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("Profile: {}.\n", self.profile.name());
        for (titles, rows) in self.tables() {
            let rule = (0..titles.titles.len()).map(|at| if at < titles.texts { "---" } else { "---:" });
            text.push_str(&format!("\n| {} |\n", titles.titles.join(" | ")));
            text.push_str(&format!("|{}|\n", rule.collect::<Vec<_>>().join("|")));
            text.extend(rows.iter().map(|row| format!("| {} |\n", row.join(" | "))));
        }
        text
    }

    fn tables(&self) -> [(Titles, Vec<Vec<String>>); 3] {
        [
            (POINTS, self.points.iter().map(point).collect()),
            (SUMMARY, self.summaries.iter().map(summary).collect()),
            (TOGETHER, self.together.iter().flat_map(together).collect()),
        ]
    }
}

fn point(point: &Point) -> Vec<String> {
    let mut row = vec![point.model.clone(), format!("{:.2}", point.utilisation)];
    for (at, (measured, ours)) in point.measured.all().into_iter().zip(point.ours.all()).enumerate() {
        row.push(format!("{measured:.1}"));
        if at == 0 {
            row.push(off(point.paper_mean_ms, measured));
        }
        row.push(off(ours, measured));
    }
    row
}

fn summary(summary: &Summary) -> Vec<String> {
    let errors = summary.paper.iter().chain(&summary.ours);
    let error = |Error { mean_error, worst_error, .. }: &Error| {
        format!("{:.1} % (≤ {:.1} %)", mean_error * 100.0, worst_error * 100.0)
    };
    std::iter::once(summary.profile.name().to_owned()).chain(errors.map(error)).collect()
}

fn together(discipline: &Discipline) -> Vec<Vec<String>> {
    let rows = discipline.models.iter().map(|model| {
        vec![
            format!("{}, {}", discipline.device, discipline.discipline),
            model.model.clone(),
            format!("{:.1}", model.alone_ms),
            format!("{:.1}", model.measured_ms),
            format!("{:.1}", model.predicted_ms),
            format!("{:+.1} %", (model.predicted_ms / model.measured_ms - 1.0) * 100.0),
        ]
    });
    rows.collect()
}

/// A prediction with its error.
fn off(predicted: f64, measured: f64) -> String {
    format!("{predicted:.1} ({:+.1} %)", (predicted / measured - 1.0) * 100.0)
}

// === impl Report for Published ===

impl Report for Published {
    fn text(&self) -> String {
        let [points, summaries, together] = self.tables();
        let files = self.files.iter().map(|file| format!("wrote {}\n", file.display()));
        format!(
            "Two models on an edgeTPU, measured and predicted with profile {}; {} with their errors\n{}\n\
             Errors over the {} points, on average and at most\n{}\n\
             Models submitted together\n{}\n{}",
            self.profile.name(),
            Statistics::NAMES.join(", "),
            table(&points),
            self.points.len(),
            table(&summaries),
            table(&together),
            files.collect::<String>()
        )
    }
}

fn table((titles, rows): &(Titles, Vec<Vec<String>>)) -> String {
    let columns: Vec<(&'static str, Align)> = titles
        .titles
        .iter()
        .enumerate()
        .map(|(at, title)| (*title, if at < titles.texts { Align::Left } else { Align::Right }))
        .collect();
    let mut table = Table::new(&columns);
    for row in rows {
        table.push(row.iter().cloned());
    }
    table.to_string()
}
