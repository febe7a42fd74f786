//! The documentation that can be wrong without anybody noticing: a page made from a file, links, messages, names of metrics.

mod configuration;
mod links;
mod messages;
mod metrics;
mod options;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::{root, say};

const CONFIGURATION: &str = "systemd/edgemuxd.toml";
const CONFIGURATION_PAGE: &str = "docs/configuration.md";
const METRICS_PAGE: &str = "docs/metrics.md";
const TROUBLES_PAGE: &str = "docs/troubleshooting.md";
const DASHBOARD: &str = "docs/grafana/edgemux.json";
const ALERTS: &str = "docs/grafana/edgemux-alerts.yml";

/// Writes the pages that are made from something else.
pub(crate) fn write() -> Result<()> {
    let page = configuration::page(&read(CONFIGURATION)?)?;
    std::fs::write(root().join(CONFIGURATION_PAGE), page)
        .with_context(|| format!("cannot write {CONFIGURATION_PAGE}"))?;
    say(&format!("wrote {CONFIGURATION_PAGE}"));
    Ok(())
}

/// That those pages are up to date, that links lead somewhere, that messages quoted are messages printed, and that dashboard
/// and alerts ask for what there is.
pub(crate) fn check() -> Result<()> {
    if configuration::page(&read(CONFIGURATION)?)? != read(CONFIGURATION_PAGE)? {
        bail!("{CONFIGURATION_PAGE} is out of date: {CONFIGURATION} has changed. Run `cargo xtask docs`");
    }
    let page = read(CONFIGURATION_PAGE)?;
    for (runtime, source, name) in options::DECLARED {
        options::check(&page, runtime, &read(source)?, name)?;
    }
    links::check(&root())?;
    let unknown = messages::unknown(&read(TROUBLES_PAGE)?, &root())?;
    if !unknown.is_empty() {
        bail!("{TROUBLES_PAGE} quotes what nobody prints:\n  {}", unknown.join("\n  "));
    }
    let (page, alerts) = (read(METRICS_PAGE)?, read(ALERTS)?);
    let listed = metrics::listed(&page)?;
    let mut wrong = metrics::wrong_in(DASHBOARD, &metrics::of_dashboard(&read(DASHBOARD)?)?, &listed);
    wrong.extend(metrics::wrong_in(ALERTS, &metrics::of_alerts(&alerts)?, &listed));
    let names = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let unexplained = names.filter(|name| !page.contains(&format!("| {name} |")));
    wrong.extend(unexplained.map(|name| format!("{ALERTS}: the alert {name}")));
    if !wrong.is_empty() {
        bail!("what is asked for is not in {METRICS_PAGE}:\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path: PathBuf = root().join(path);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documentation_is_up_to_date_and_leads_somewhere() {
        super::check().unwrap();
    }
}
