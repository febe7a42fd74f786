//! All that is known of one session and of what it runs on, in a few lines.

use crate::format;
use crate::table::printable;
use crate::view::{Device, Latency, Session};

/// The most lines there are.
pub(super) const LINES_MAX: u16 = 7;

/// Of a session on `device`.
pub(super) fn details(of: &Session, device: Option<&Device>) -> Vec<String> {
    let mut lines =
        vec![format!("{} on {} by {}, {}: {}", of.id, of.device, of.runtime, of.state, of.terms_text())];
    if of.predicted.is_some() || of.observed.is_some() {
        let [mean, p50, p95, p99] = ["mean", "p50", "p95", "p99"];
        lines.push(format!("{:10}{mean:>9}{p50:>9}{p95:>9}{p99:>9}  ms", ""));
        lines.push(figures("predicted", of.predicted) + &margin(of));
        lines.push(figures("observed", of.observed) + &behind(of));
    }
    lines.push(format!(
        "{} done, {} failed, {} crashes; on average {} ms in its queue and {} ms of service; {}",
        of.succeeded,
        of.failed,
        of.crashes,
        format::ms(Some(of.mean_queue_ms)),
        format::ms(Some(of.mean_service_ms)),
        format::bytes(of.memory_bytes)
    ));
    let hardware = device.and_then(|device| Some((&device.name, device.hardware_text()?)));
    lines.extend(hardware.map(|(device, text)| format!("{device}: {text}")));
    if !of.why().is_empty() {
        let is = if of.slo_at_risk { "at risk" } else { of.state };
        lines.push(format!("{is}: {}", of.why()));
    }
    lines.iter().map(|line| printable(line)).collect()
}

fn figures(what: &str, of: Option<Latency>) -> String {
    let figures = of.map_or([None; 4], |latency| latency.figures().map(Some)).map(format::ms);
    let [mean, p50, p95, p99] = figures;
    format!("{what:10}{mean:>9}{p50:>9}{p95:>9}{p99:>9}")
}

fn margin(of: &Session) -> String {
    of.margin.map_or_else(String::new, |margin| format!("  with a margin of ×{margin:.2}"))
}

fn behind(of: &Session) -> String {
    let coverage = of.coverage.map_or_else(String::new, |coverage| {
        format!(", {} within the predicted quantile", format::share(coverage))
    });
    format!("  of {} requests lately{coverage}", of.observed_samples)
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;

    #[test]
    fn a_session_is_told_in_as_many_lines_as_there_is_room_for() {
        let node = examples::node();
        for session in &node.sessions {
            let lines = details(session, Some(&node.devices[0]));
            assert!(lines.iter().any(|line| line.starts_with("gpu0: NVIDIA T4")), "{lines:#?}");
            assert!(lines.len() <= usize::from(LINES_MAX), "{lines:#?}");
            assert!(lines[0].starts_with(&session.id));
            let why = lines.last().unwrap().starts_with("at risk: its p99");
            assert_eq!(why, session.slo_at_risk);
        }
    }
}
