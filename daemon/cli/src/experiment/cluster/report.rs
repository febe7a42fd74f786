//! The result as it is told: text, Markdown, CSV.

use std::path::PathBuf;

use serde::Serialize;

use super::contest::{Family, Score};
use super::setting::Setting;
use super::statistics::Mean;
use super::{Options, change, large, small};
use crate::csv;
use crate::output::Report;
use crate::table::{Align, Table};

/// Everything that was run.
#[derive(Debug, Serialize)]
pub(crate) struct ClusterReport {
    pub(crate) seed: u64,
    pub(crate) seeds: u32,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) rows: Vec<Row>,
    pub(crate) small: Vec<small::Row>,
    pub(crate) changes: Vec<change::Row>,
    pub(crate) large: Vec<large::Row>,
    pub(crate) files: Vec<PathBuf>,
}

/// One policy in one setting, over all seeds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) setting: Setting,
    #[serde(skip)]
    pub(super) family: Family,
    pub(crate) policy: String,
    pub(crate) hosted: Mean,
    pub(crate) kept: Mean,
    pub(crate) violations: Mean,
    /// Hosted with none violated.
    pub(crate) clean: Mean,
    pub(crate) first: Mean,
    pub(crate) nodes: Mean,
    pub(crate) decision_us: Mean,
    #[serde(skip)]
    scores: Vec<Score>,
}

/// Ours against the best of others in one setting, by what is hosted with none violated.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) setting: Setting,
    pub(crate) ours: Mean,
    pub(crate) violations: Mean,
    pub(crate) over: Vec<Over>,
}

/// Against the best of a family.
#[derive(Debug, Serialize)]
pub(crate) struct Over {
    pub(crate) family: &'static str,
    pub(crate) policy: String,
    pub(crate) clean: Mean,
    /// Of hosted with none violated.
    pub(crate) ratio: Mean,
    /// Of hosted up to the first refusal or violation.
    pub(crate) first_ratio: Mean,
}

const FAMILIES: [(Family, &str); 4] = [
    (Family::MemoryKnapsack, "memory knapsack"),
    (Family::Knapsack, "memory and utilisation"),
    (Family::Paper, "paper"),
    (Family::Corrected, "paper, corrected"),
];

impl Row {
    pub(super) fn new(setting: Setting, family: Family, policy: String, scores: Vec<Score>) -> Self {
        let mean = |of: fn(&Score) -> f64| Mean::of(scores.iter().map(of));
        Self {
            setting,
            family,
            policy,
            hosted: mean(|s| s.hosted as f64),
            kept: mean(|s| s.kept as f64),
            violations: mean(|s| s.violations as f64),
            clean: mean(|s| s.clean as f64),
            first: mean(|s| s.first as f64),
            nodes: mean(|s| s.nodes as f64),
            decision_us: mean(|s| s.decision_us),
            scores,
        }
    }

    fn all(&self, of: fn(&Score) -> f64) -> Vec<f64> {
        self.scores.iter().map(of).collect()
    }
}

impl ClusterReport {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            seed: options.seed,
            seeds: options.seeds,
            comparisons: Vec::new(),
            rows: Vec::new(),
            small: Vec::new(),
            changes: Vec::new(),
            large: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Holds ours against the best of each other family, in each setting.
    pub(super) fn compare(&mut self) {
        let ours = self.rows.iter().filter(|row| row.family == Family::Ours);
        let comparisons = ours.map(|ours| {
            let over = FAMILIES.iter().filter_map(|&(family, name)| {
                let of = self.rows.iter().filter(|row| row.setting == ours.setting && row.family == family);
                let best = of.max_by(|a, b| a.clean.mean.total_cmp(&b.clean.mean))?;
                let first = |row: &Row| row.all(|s| s.first as f64);
                let clean = |row: &Row| row.all(|s| s.clean as f64);
                Some(Over {
                    family: name,
                    policy: best.policy.clone(),
                    clean: best.clean,
                    ratio: Mean::ratio(&clean(ours), &clean(best)),
                    first_ratio: Mean::ratio(&first(ours), &first(best)),
                })
            });
            Comparison {
                setting: ours.setting,
                ours: ours.clean,
                violations: ours.violations,
                over: over.collect(),
            }
        });
        self.comparisons = comparisons.collect();
    }

    /// One line for each policy in each setting.
    pub(super) fn csv(&self) -> String {
        let mut text = csv::line(
            ["mix", "nodes", "arrivals", "objective", "policy", "seeds"]
                .into_iter()
                .chain(MEASURES.iter().flat_map(|(name, _)| [*name, "within"])),
        );
        for row in &self.rows {
            let mut cells = setting_cells(row.setting);
            cells.extend([row.policy.clone(), self.seeds.to_string()]);
            for (_, of) in MEASURES {
                let mean = of(row);
                cells.extend([mean.mean, mean.within].map(|value| csv::number(Some(value))));
            }
            text.push_str(&csv::line(cells.iter().map(String::as_str)));
        }
        text
    }

    /// One line for each run.
    pub(super) fn runs_csv(&self) -> String {
        let mut text = csv::line([
            "mix",
            "nodes",
            "arrivals",
            "objective",
            "policy",
            "seed",
            "hosted",
            "kept",
            "violations",
            "clean",
            "first",
            "nodes_used",
            "decision_us",
        ]);
        for row in &self.rows {
            for (at, score) in (0..).zip(&row.scores) {
                let mut cells = setting_cells(row.setting);
                cells.extend([row.policy.clone(), self.seed.wrapping_add(at).to_string()]);
                let counts =
                    [score.hosted, score.kept, score.violations, score.clean, score.first, score.nodes];
                cells.extend(counts.map(|count| count.to_string()));
                cells.push(csv::number(Some(score.decision_us)));
                text.push_str(&csv::line(cells.iter().map(String::as_str)));
            }
        }
        text
    }

    /// The bound and ours on small instances.
    pub(super) fn small_csv(&self) -> String {
        let titles = ["exact", "relaxed", "online", "batch", "online_part", "batch_part"];
        let mut text = csv::line(
            ["mix", "objective", "seeds"]
                .into_iter()
                .chain(titles.into_iter().flat_map(|name| [name, "within"])),
        );
        for row in &self.small {
            let mut cells =
                vec![row.mix.name().to_owned(), row.objective.name().to_owned(), self.seeds.to_string()];
            for mean in [row.exact, row.relaxed, row.online, row.batch, row.online_part, row.batch_part] {
                cells.extend([mean.mean, mean.within].map(|value| csv::number(Some(value))));
            }
            text.push_str(&csv::line(cells.iter().map(String::as_str)));
        }
        text
    }

    /// The tables for a page.
    pub(super) fn markdown(&self) -> String {
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
                [comparison.setting.to_string(), plain(comparison.ours), plain(comparison.violations)]
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
                "10,000 applications on 1,000 nodes".to_owned(),
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

/// A heading, titles, rows.
type Titled = (String, Vec<&'static str>, Vec<Vec<String>>);

type Measure = (&'static str, fn(&Row) -> Mean);

const MEASURES: [Measure; 7] = [
    ("hosted", |row| row.hosted),
    ("objective kept", |row| row.kept),
    ("violations", |row| row.violations),
    ("none violated", |row| row.clean),
    ("first refusal", |row| row.first),
    ("nodes", |row| row.nodes),
    ("decision µs", |row| row.decision_us),
];

fn setting_cells(setting: Setting) -> Vec<String> {
    let Setting { mix, nodes, arrivals, objective } = setting;
    vec![mix.name().to_owned(), nodes.to_string(), arrivals.name().to_owned(), objective.name().to_owned()]
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
