//! The plan for people.

use super::{DeviceRow, Figures, OfferRow, Plan, SessionRow};
use crate::format;
use crate::output::Report;
use crate::plan::words::short;
use crate::table::{Align, Table};

// === impl Report for Plan ===

impl Report for Plan {
    fn text(&self) -> String {
        let all = self.admitted + self.refused;
        let mut text = format!("{}: {} of {all} applications admitted\n\n", self.file, self.admitted);
        text.push_str(&self.verdicts());
        for row in self.applications.iter().filter(|row| !row.admitted) {
            text.push_str(&format!("\n{} is refused:\n", row.application));
            if row.offers.is_empty() {
                text.push_str("  no device of the kinds that it allows\n");
            }
            text.extend(row.offers.iter().map(refusal));
        }
        for device in &self.devices {
            text.push_str(&format!("\n{}", self::device(device)));
        }
        text
    }
}

impl Plan {
    fn verdicts(&self) -> String {
        let left = |title| (title, Align::Left);
        let mut table = Table::new(&[
            left("APPLICATION"),
            left("MODEL"),
            ("RATE/s", Align::Right),
            left("OBJECTIVE"),
            left("VERDICT"),
        ]);
        for row in &self.applications {
            let verdict = match (&row.device, row.multiplexing) {
                (Some(device), Some(mode)) => format!("admitted to {device}, {mode}"),
                _ => "refused".to_owned(),
            };
            let rate = format::rate(row.asked.rate_hz);
            table.push([row.application.clone(), row.model.clone(), rate, row.asked.words.clone(), verdict]);
        }
        table.to_string()
    }
}

fn refusal(offer: &OfferRow) -> String {
    let mut text: String =
        offer.reasons.iter().map(|reason| format!("  {}: {reason}\n", offer.device)).collect();
    match offer.alternatives.as_deref() {
        None => {}
        Some([]) => text.push_str(&format!("  {}: no smaller rate helps\n", offer.device)),
        Some(some) => {
            text.push_str(&format!("  {} could take it with {}\n", offer.device, some.join(", or with ")))
        }
    }
    text
}

fn device(row: &DeviceRow) -> String {
    let mb = |bytes: u64| short(bytes as f64 / 1e6);
    let mut facts = vec![format!("{} busy", format::percent(row.utilisation))];
    if row.processor_utilisation > 0.0 {
        facts.push(format!("processor {} busy", format::percent(row.processor_utilisation)));
    }
    if row.bus_utilisation > 0.0 {
        facts.push(format!("bus {} busy", format::percent(row.bus_utilisation)));
    }
    match (row.memory_capacity_bytes, row.memory_peak_bytes) {
        (Some(capacity), peak) => {
            facts.push(format!("memory {} of {} MB at the peak", mb(peak), mb(capacity)))
        }
        (None, 0) => {}
        (None, peak) => facts.push(format!("memory {} MB at the peak", mb(peak))),
    }
    let right = |title| (title, Align::Right);
    let mut table = Table::new(&[
        ("SESSION", Align::Left),
        right("RATE/s"),
        ("OBJECTIVE", Align::Left),
        right("MEAN ms"),
        right("P50 ms"),
        right("P95 ms"),
        right("P99 ms"),
        right("SLACK"),
        ("HOLDS", Align::Left),
    ]);
    for session in &row.sessions {
        table.push(predicted(session));
        if let (Some(figures), Some(by)) = (&session.simulated, &session.difference) {
            let more = |part: f64| format!("{:+.1} %", part * 100.0);
            table.push(beside("  simulated", cells(figures)));
            table.push(beside("  prediction off by", [by.mean, by.p50, by.p95, by.p99].map(more)));
        }
    }
    let beside = row.simulated_error.as_ref().map(|error| format!("simulated beside it: {}\n", error.words));
    format!(
        "{}: {}, {}, {}\npredicted by {}: {}\n{}{table}",
        row.device,
        row.kind,
        row.mode,
        facts.join(", "),
        row.method_words,
        row.known_error.words,
        beside.unwrap_or_default()
    )
}

fn predicted(session: &SessionRow) -> Vec<String> {
    let mut row =
        vec![session.session.clone(), format::rate(session.asked.rate_hz), session.asked.words.clone()];
    row.extend(cells(&session.predicted));
    row.push(session.slack.map_or_else(|| "-".to_owned(), format::percent));
    row.push(match session.holds {
        Some(true) => "yes".to_owned(),
        Some(false) => "no".to_owned(),
        None => "-".to_owned(),
    });
    row
}

/// A line below a session's own.
fn beside(what: &str, cells: [String; 4]) -> Vec<String> {
    let mut row = vec![what.to_owned(), String::new(), String::new()];
    row.extend(cells);
    row
}

fn cells(figures: &Figures) -> [String; 4] {
    [figures.mean_ms, figures.p50_ms, figures.p95_ms, figures.p99_ms].map(|ms| format::ms(Some(ms)))
}
