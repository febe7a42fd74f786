//! A verdict as it is told.

use serde::Serialize;

use crate::format;
use crate::output::Report;
use crate::table::{Align, Table};
use crate::view::{Latency, Session, Terms, Verdict};

/// What was asked, what was decided, and what came of it.
#[derive(Debug, Serialize)]
pub(in crate::commands) struct Admission {
    pub(in crate::commands) model: String,
    /// Absent where the newest was asked for.
    pub(super) version: Option<String>,
    pub(super) dry_run: bool,
    #[serde(skip)]
    pub(super) guarantee_asked: bool,
    pub(in crate::commands) verdict: Verdict,
    /// Absent unless it was loaded.
    pub(in crate::commands) session: Option<Session>,
    pub(super) load_ms: Option<f64>,
}

// === impl Admission ===

impl Admission {
    fn name(&self) -> String {
        match &self.version {
            Some(version) => format!("{}/{version}", self.model),
            None => self.model.clone(),
        }
    }

    fn headline(&self) -> String {
        let (name, verdict) = (self.name(), &self.verdict);
        let effort = if verdict.best_effort { " as best effort" } else { "" };
        if !verdict.admitted {
            let is = if self.dry_run { "would not be admitted" } else { "is not admitted" };
            return format!("{name} {is}{effort}\n");
        }
        let is = if self.dry_run { "would be admitted" } else { "is admitted" };
        let device = verdict.device.as_deref().unwrap_or("an unnamed device");
        let mut text = format!("{name} {is}{effort} to {device}, {}\n", verdict.multiplexing);
        if let (Some(session), Some(load_ms)) = (&self.session, self.load_ms) {
            let load_ms = format::short(load_ms);
            text.push_str(&format!(
                "{} is {} on {} after {load_ms} ms\n",
                session.id, session.state, session.device
            ));
        }
        if verdict.best_effort {
            let more = if self.guarantee_asked { "" } else { "; --rate and --latency ask for one" };
            text.push_str(&format!(
                "  it runs in what the other sessions leave: no latency is promised{more}\n"
            ));
        }
        text
    }
}

// === impl Report for Admission ===

impl Report for Admission {
    fn text(&self) -> String {
        let verdict = &self.verdict;
        let mut text = self.headline();
        if !verdict.admitted {
            text.push_str(&refusal(verdict, self.guarantee_asked));
        }
        if let Some(facts) = facts(verdict) {
            text.push_str(&facts);
        }
        if !verdict.tenants.is_empty() {
            text.push_str(&format!("\n{}", tenants(verdict)));
        }
        text
    }
}

/// Every reason, and what could be had instead.
fn refusal(verdict: &Verdict, guarantee_asked: bool) -> String {
    let mut text = String::new();
    for reason in &verdict.reasons {
        match reason.device.as_str() {
            "" => text.push_str(&format!("  {}\n", reason.message)),
            device => text.push_str(&format!("  {device}: {}\n", reason.message)),
        }
    }
    if !guarantee_asked {
        return text;
    }
    let largest = verdict.largest_admissible_rate_hz.map(format::short_down);
    match &largest {
        Some(rate) => text.push_str(&format!("largest admissible rate: {rate} requests/s\n")),
        None => text.push_str("no smaller rate helps\n"),
    }
    let others: Vec<String> = verdict
        .alternatives
        .iter()
        .filter_map(|other| match (other.rate_hz.map(format::short_down), other.latency_ms) {
            // It was just told.
            (Some(rate), _) if Some(&rate) == largest.as_ref() => None,
            (Some(rate), _) => Some(format!("up to {rate} requests/s")),
            (None, latency_ms) => {
                latency_ms.map(|ms| format!("an objective of {} ms at its rate", format::short_up(ms)))
            }
        })
        .collect();
    if let (Some(device), false) = (&verdict.device, others.is_empty()) {
        text.push_str(&format!("{device} could take it with {}\n", others.join(", or with ")));
    }
    text
}

/// What holds of the device with the newcomer on it.
fn facts(verdict: &Verdict) -> Option<String> {
    let device = verdict.device.as_ref()?;
    let mut facts = Vec::new();
    if let Some(method) = &verdict.method {
        facts.push(format!("predicted by {method}"));
    }
    if let Some(slack) = verdict.slack {
        facts.push(format!("slack {}", format::percent(slack)));
    }
    if !verdict.best_effort {
        facts.push(format!("utilisation {}", format::percent(verdict.utilisation)));
    }
    match verdict.memory_capacity_bytes.map(format::bytes) {
        Some(capacity) => facts.push(format!("memory {} of {capacity}", format::bytes(verdict.memory_bytes))),
        None if verdict.memory_bytes > 0 => {
            facts.push(format!("memory {}", format::bytes(verdict.memory_bytes)))
        }
        None => {}
    }
    (!facts.is_empty()).then(|| format!("{device} with it: {}\n", facts.join(", ")))
}

/// Everyone before and after.
fn tenants(verdict: &Verdict) -> Table {
    let right = |title| (title, Align::Right);
    let left = |title| (title, Align::Left);
    let mut table = Table::new(&[
        left("SESSION"),
        right("RATE/s"),
        left("OBJECTIVE"),
        right("MEAN ms"),
        right("P50 ms"),
        right("P95 ms"),
        right("P99 ms"),
        right("WITH MARGIN ms"),
        left("HOLDS"),
    ]);
    for tenant in &verdict.tenants {
        let terms = tenant.terms.as_ref();
        let objective = terms.and_then(Terms::objective);
        let holds = match (&objective, tenant.objective_holds) {
            (None, _) => "-",
            (Some(_), true) => "yes",
            (Some(_), false) => "no",
        };
        let mut row = vec![
            tenant.session.clone(),
            terms.map_or_else(|| "-".to_owned(), |terms| format::rate(terms.rate_hz)),
            objective.unwrap_or_else(|| "best effort".to_owned()),
        ];
        row.extend(changes(tenant.before, tenant.after));
        row.push(format::ms(tenant.with_margin_ms));
        row.push(holds.to_owned());
        table.push(row);
    }
    table
}

/// `5.10 → 6.20`; the newcomer has no before, and where the device would not keep up there is no after.
fn changes(before: Option<Latency>, after: Option<Latency>) -> [String; 4] {
    let (before, after) = (before.map(|of| of.figures()), after.map(|of| of.figures()));
    std::array::from_fn(|at| {
        let after = after.map_or_else(|| "unbounded".to_owned(), |of| format::ms(Some(of[at])));
        before.map_or_else(|| after.clone(), |of| format!("{} → {after}", format::ms(Some(of[at]))))
    })
}
