//! As tables: for a terminal, and for a page.

use super::{ClusterReport, Comparison, MEASURES, Over, Row};
use crate::experiment::cluster::statistics::Mean;
use crate::experiment::cluster::{change, large, small};
use crate::output::Report;
use crate::table::{Align, Table};

/// A heading, titles, rows.
type Titled = (String, Vec<&'static str>, Vec<Vec<String>>);

impl ClusterReport {
    /// The tables for a page.
    pub(in super::super) fn markdown(&self) -> String {
        let mut text = format!("Seeds: {} from {}.\n", self.seeds, self.seed);
        for (title, titles, rows) in self.tables() {
            let rule = (0..titles.len()).map(|at| if at == 0 { "---" } else { "---:" });
            text.push_str(&format!("\n{title}\n\n| {} |\n", titles.join(" | ")));
            text.push_str(&format!("|{}|\n", rule.collect::<Vec<_>>().join("|")));
            text.extend(rows.iter().map(|row| format!("| {} |\n", row.join(" | "))));
        }
        text
    }

    fn tables(&self) -> Vec<Titled> {
        let mut tables = Vec::new();
        let ratios = |of: fn(&Over) -> Mean| -> Vec<Vec<String>> {
            let row = |comparison: &Comparison| {
                let over = comparison.over.iter().map(|over| times(of(over)));
                [
                    comparison.setting.to_string(),
                    plain(comparison.ours),
                    plain(comparison.violations),
                    plain(comparison.bound),
                ]
                .into_iter()
                .chain(over)
                .collect()
            };
            self.comparisons.iter().map(row).collect()
        };
        let titles = vec![
            "setting",
            "ours",
            "violations",
            "time bound",
            "over memory knapsack",
            "over memory and utilisation",
            "over paper",
            "over paper, corrected",
        ];
        tables.push((
            "Hosted with none violated: ours, and over the best of each other family".to_owned(),
            titles.clone(),
            ratios(|over| over.ratio),
        ));
        tables.push((
            "The same up to the first refusal or violation".to_owned(),
            titles,
            ratios(|over| over.first_ratio),
        ));
        if !self.small.is_empty() {
            let row = |row: &small::Row| {
                vec![
                    format!("2 {} nodes, {} objectives", row.mix.name(), row.objective.name()),
                    plain(row.exact),
                    plain(row.batch),
                    per_cent(row.batch_part),
                    plain(row.online),
                    per_cent(row.online_part),
                    plain(row.relaxed),
                ]
            };
            tables.push((
                "Small instances: the most that can be hosted, and ours".to_owned(),
                vec![
                    "setting",
                    "the most",
                    "ours, all at once",
                    "of it",
                    "ours, one by one",
                    "of it",
                    "relaxed",
                ],
                self.small.iter().map(row).collect(),
            ));
        }
        if !self.changes.is_empty() {
            let row = |row: &change::Row| {
                let counts = [
                    row.hosted,
                    row.missed_before,
                    row.missed,
                    row.moves,
                    row.nodes_before,
                    row.nodes,
                    row.missed_consolidated,
                ];
                std::iter::once(row.objective.name().to_owned()).chain(counts.map(plain)).collect()
            };
            tables.push((
                "8 mixed nodes, ours: a quarter of the rates drift by up to twice, then half of the applications leave"
                    .to_owned(),
                vec![
                    "objectives",
                    "hosted",
                    "missed by drift",
                    "after moving",
                    "moves",
                    "nodes",
                    "consolidated",
                    "missed then",
                ],
                self.changes.iter().map(row).collect(),
            ));
        }
        if !self.large.is_empty() {
            let row = |row: &large::Row| {
                vec![
                    row.policy.clone(),
                    row.hosted.to_string(),
                    row.nodes.to_string(),
                    format!("{:.2}", row.total_s),
                    format!("{:.0}", row.mean_us),
                    format!("{:.0}", row.p99_us),
                    format!("{:.0}", row.longest_us),
                    row.memory_mb.map_or_else(String::new, |mb| format!("{mb:.0}")),
                ]
            };
            tables.push((
                format!(
                    "10,000 applications on 1,000 mixed nodes, p99 objectives; by the devices' time at most {:.0}",
                    self.large_bound.unwrap_or(f64::NAN)
                ),
                vec!["policy", "hosted", "nodes", "total s", "mean µs", "p99 µs", "longest µs", "memory MB"],
                self.large.iter().map(row).collect(),
            ));
        }
        for comparison in &self.comparisons {
            let rows = self.rows.iter().filter(|row| row.setting == comparison.setting);
            let row = |row: &Row| {
                let measures = MEASURES.iter().map(|(_, of)| plain(of(row)));
                std::iter::once(row.policy.clone()).chain(measures).collect()
            };
            tables.push((
                comparison.setting.to_string(),
                std::iter::once("policy").chain(MEASURES.iter().map(|(name, _)| *name)).collect(),
                rows.map(row).collect(),
            ));
        }
        tables
    }
}

fn plain(Mean { mean, within }: Mean) -> String {
    format!("{mean:.1} ± {within:.1}")
}

fn times(Mean { mean, within }: Mean) -> String {
    format!("{mean:.2} ± {within:.2}×")
}

fn per_cent(Mean { mean, within }: Mean) -> String {
    format!("{:.1} ± {:.1} %", mean * 100.0, within * 100.0)
}

// === impl Report for ClusterReport ===

impl Report for ClusterReport {
    fn text(&self) -> String {
        let mut text = String::new();
        for (title, titles, rows) in self.tables() {
            let columns: Vec<(&'static str, Align)> = titles
                .iter()
                .enumerate()
                .map(|(at, title)| (*title, if at == 0 { Align::Left } else { Align::Right }))
                .collect();
            let mut table = Table::new(&columns);
            for row in rows {
                table.push(row);
            }
            text.push_str(&format!("{title}\n{table}\n"));
        }
        text.extend(self.files.iter().map(|file| format!("wrote {}\n", file.display())));
        text
    }
}
