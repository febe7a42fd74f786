//! As comma-separated values.

use super::{ClusterReport, MEASURES};
use crate::csv;
use crate::experiment::cluster::setting::Setting;

impl ClusterReport {
    /// One line for each policy in each setting.
    pub(in super::super) fn csv(&self) -> String {
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
    pub(in super::super) fn runs_csv(&self) -> String {
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
    pub(in super::super) fn small_csv(&self) -> String {
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
}

fn setting_cells(setting: Setting) -> Vec<String> {
    let Setting { mix, nodes, arrivals, objective } = setting;
    vec![mix.name().to_owned(), nodes.to_string(), arrivals.name().to_owned(), objective.name().to_owned()]
}
