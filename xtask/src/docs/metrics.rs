//! What the dashboard and the alerts ask Prometheus for is listed on the page of metrics, labels included.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The metrics of the page, each with its labels.
pub(super) type Listed = BTreeMap<String, BTreeSet<String>>;

/// Labels that Prometheus adds to what it scrapes.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];
/// What Prometheus knows of a scrape itself.
const METRICS_OF_PROMETHEUS: [&str; 1] = ["up"];
/// Words of PromQL that stand where a metric could.
const WORDS: [&str; 13] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "inf",
    "nan",
];
/// Those after which labels stand in parentheses.
const LABELS_FOLLOW: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The metrics of the page: rows of ``| `name` | type | `label`, `label` | ...``.
pub(super) fn listed(page: &str) -> Result<Listed> {
    let mut listed = Listed::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, _, labels, ..] = cells[..] else { bail!("a row of fewer cells: {row}") };
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        if listed.insert(name.trim_matches('`').to_owned(), labels).is_some() {
            bail!("listed twice: {row}");
        }
    }
    Ok(listed)
}

/// The expressions of the dashboard's panels and variables.
pub(super) fn of_dashboard(json: &str) -> Result<Vec<String>> {
    let dashboard: Value = serde_json::from_str(json).context("the dashboard is no JSON")?;
    let mut expressions = Vec::new();
    collect(&dashboard, &mut expressions);
    if expressions.is_empty() {
        bail!("the dashboard asks for nothing");
    }
    Ok(expressions)
}

fn collect(value: &Value, expressions: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "expr" || key == "definition" => {
                        expressions.push(text.clone())
                    }
                    _ => collect(value, expressions),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, expressions)),
        _ => {}
    }
}

/// The expressions of the alerts, each on one line.
pub(super) fn of_alerts(yaml: &str) -> Result<Vec<String>> {
    let lines = || yaml.lines().map(str::trim);
    let expressions: Vec<_> =
        lines().filter_map(|line| line.strip_prefix("expr: ")).map(str::to_owned).collect();
    let alerts = lines().filter(|line| line.starts_with("- alert: ")).count();
    if alerts == 0 || expressions.len() != alerts {
        bail!("{alerts} alerts and {} expressions: write each expression on one line", expressions.len());
    }
    Ok(expressions)
}

/// What the expressions of `file` ask for and is not listed.
pub(super) fn wrong_in(file: &str, expressions: &[String], listed: &Listed) -> Vec<String> {
    let mut wrong = Vec::new();
    for expression in expressions {
        let Asked { metrics, labels } = asked(expression);
        for metric in metrics.iter().filter(|metric| !METRICS_OF_PROMETHEUS.contains(&metric.as_str())) {
            if !listed.contains_key(metric) {
                wrong.push(format!("{file}: {metric}, in {expression}"));
            }
        }
        let known = |label: &String| {
            OF_PROMETHEUS.contains(&label.as_str())
                || metrics.iter().filter_map(|metric| listed.get(metric)).any(|labels| labels.contains(label))
        };
        wrong.extend(
            labels
                .iter()
                .filter(|label| !known(label))
                .map(|label| format!("{file}: the label {label}, in {expression}")),
        );
    }
    wrong
}

#[derive(Default)]
struct Asked {
    metrics: BTreeSet<String>,
    labels: BTreeSet<String>,
}

/// The names in a PromQL expression: labels stand in braces and after `by` and its like, what is called is a function, what
/// is in quotes or brackets, and what begins with `$`, is none; all else is a metric.
fn asked(expression: &str) -> Asked {
    let mut found = Asked::default();
    let mut rest = expression;
    let (mut braces, mut labels_in_parentheses, mut labels_next) = (0_usize, false, false);
    // Of Grafana's own `label_values(metric, label)` the last argument is a label.
    if let Some(arguments) = expression.strip_prefix("label_values(").and_then(|text| text.strip_suffix(')'))
    {
        let (metric, label) = arguments.rsplit_once(',').unwrap_or((arguments, ""));
        found.labels.extend((!label.trim().is_empty()).then(|| label.trim().to_owned()));
        rest = metric;
    }
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let end = match first {
            '"' | '\'' => rest[1..].find(first).map_or(rest.len(), |at| at + 2),
            '[' => rest.find(']').map_or(rest.len(), |at| at + 1),
            '$' => 1 + rest[1..].find(|c| !is_name(c) && c != '{' && c != '}').unwrap_or(rest.len() - 1),
            c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        rest = after;
        match token {
            "{" => braces += 1,
            "}" => braces = braces.saturating_sub(1),
            "(" => labels_in_parentheses = std::mem::take(&mut labels_next),
            ")" => labels_in_parentheses = false,
            _ => {}
        }
        if !first.is_ascii_alphabetic() && first != '_' {
            continue;
        }
        if braces > 0 || labels_in_parentheses {
            found.labels.insert(token.to_owned());
        } else if WORDS.contains(&token.to_ascii_lowercase().as_str()) {
            labels_next = LABELS_FOLLOW.contains(&token);
        } else if !after.trim_start().starts_with('(') && !is_aggregation(token, after) {
            found.metrics.insert(token.to_owned());
        }
    }
    found
}

/// `sum by (device) (...)`: the word before `by`.
fn is_aggregation(token: &str, after: &str) -> bool {
    let next = after.trim_start();
    ["sum", "max", "min", "avg", "count", "topk", "bottomk"].contains(&token)
        && (next.starts_with("by") || next.starts_with("without"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(expression: &str) -> (Vec<String>, Vec<String>) {
        let Asked { metrics, labels } = asked(expression);
        (metrics.into_iter().collect(), labels.into_iter().collect())
    }

    #[test]
    fn metrics_and_labels_are_told_apart() {
        for (expression, metrics, labels) in [
            ("up == 0", &["up"][..], &[][..]),
            ("a:b{x=\"c\", y=~'d|e'} > 0.5", &["a:b"], &["x", "y"]),
            (
                "sum by (x) (rate(a{y=\"$z\"}[$__rate_interval])) / on (x) group_left (w) b",
                &["a", "b"],
                &["w", "x", "y"],
            ),
            ("sum(increase(a[5m])) by (x) and b unless c offset 5m", &["a", "b", "c"], &["x"]),
            ("label_values(a{x=\"$y\"}, z)", &["a"], &["x", "z"]),
            ("histogram_quantile(0.9, a) > bool 1e3 or vector(1)", &["a"], &[]),
            ("a{x=\"${y}\"} * ${z:raw} + b", &["a", "b"], &["x"]),
        ] {
            assert_eq!(
                names(expression),
                (metrics.iter().map(|m| (*m).into()).collect(), labels.iter().map(|l| (*l).into()).collect()),
                "{expression}"
            );
        }
    }

    #[test]
    fn what_is_not_listed_is_told() {
        let listed = listed("| name | type | labels |\n|---|---|---|\n| `a` | gauge | `x`, `y` | s | A. |\n| `b` | counter | | | B. |\n").unwrap();
        assert_eq!(listed["a"].len(), 2);
        assert!(listed["b"].is_empty());
        let ask = |expression: &str| wrong_in("f", &[expression.to_owned()], &listed);
        assert!(ask("sum by (x, instance) (a) > b and up == 1").is_empty());
        assert_eq!(ask("c"), ["f: c, in c"]);
        assert_eq!(ask("b{x=\"1\"}"), ["f: the label x, in b{x=\"1\"}"]);
    }

    #[test]
    fn every_expression_of_both_files_is_looked_at() {
        let dashboard = r#"{"panels": [{"targets": [{"expr": "a"}], "panels": [{"targets": [{"expr": "b"}]}]}],
                            "templating": {"list": [{"definition": "label_values(c, x)"}]}}"#;
        let mut found = of_dashboard(dashboard).unwrap();
        found.sort();
        assert_eq!(found, ["a", "b", "label_values(c, x)"]);
        assert!(of_dashboard("{}").is_err());
        assert_eq!(of_alerts("- alert: A\n  expr: a > 1\n").unwrap(), ["a > 1"]);
        assert!(of_alerts("- alert: A\n  expr:\n    a > 1\n").is_err());
        assert!(of_alerts("").is_err());
    }
}
