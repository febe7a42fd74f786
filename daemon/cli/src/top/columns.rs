//! The figures of a device and of a session, cell by cell, and how alarming each is.

use crate::format;
use crate::table::{Align, printable};
use crate::view::{Device, Latency, Session};

/// A session may send so much more than it declared before it is held back.
const RATE_TOLERANCE: f64 = 1.05;
/// An observed latency above the predicted one by this factor, of enough requests, asks for a look.
const PREDICTION_TOLERANCE: f64 = 1.25;
const SAMPLES_ENOUGH: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
}

pub(super) type Cells = Vec<Cell>;

/// A column; where the terminal is too narrow for all, those of the largest rank go first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) align: Align,
    pub(super) rank: u8,
}

const fn left(title: &'static str, rank: u8) -> Column {
    Column { title, align: Align::Left, rank }
}

const fn right(title: &'static str, rank: u8) -> Column {
    Column { title, align: Align::Right, rank }
}

/// What [`device`] gives.
pub(super) const DEVICES: [Column; 10] = [
    left("DEVICE", 0),
    left("KIND", 6),
    left("MODE", 1),
    right("BUSY", 0),
    right("PREDICTED", 2),
    right("QUEUED", 2),
    right("IN SERVICE", 3),
    right("SESSIONS", 5),
    right("MEMORY", 6),
    left("STATE", 1),
];

/// What [`session`] gives.
pub(super) const SESSIONS: [Column; 12] = [
    left("SESSION", 0),
    left("DEVICE", 4),
    left("STATE", 5),
    right("RATE/s", 0),
    left("OBJECTIVE", 2),
    right("KEPT", 1),
    right("P50", 6),
    right("P95", 5),
    right("P99", 1),
    right("QUEUED", 3),
    left("POLICED", 3),
    left("AT RISK", 1),
];

/// A device, whose sessions hold so many bytes.
pub(super) fn device(device: &Device, held_bytes: u64) -> Cells {
    let held = format::bytes(held_bytes);
    let together = if device.multiplexing == "concurrent" { device.width.max(1) } else { 1 };
    let memory =
        device.memory_capacity_bytes.map(|capacity| format!("{held} of {}", format::bytes(capacity)));
    vec![
        plain(device.name.clone()),
        plain(device.kind),
        plain(device.mode()),
        plain(bar(device.utilisation)),
        plain(format::percent(device.predicted_utilisation)),
        plain(device.queued.to_string()),
        plain(format!("{} of {}", device.in_service, together)),
        plain(device.sessions.to_string()),
        plain(memory.unwrap_or(held)),
        device_state(device),
    ]
}

/// A session, its latencies as `observed/predicted`.
pub(super) fn session(session: &Session) -> Cells {
    let state = match session.state {
        "ready" => plain(session.state),
        "failed" => bad(session.state),
        _ => warning(session.state),
    };
    let kept = session.kept_text();
    let objective = session.terms.as_ref().and_then(|terms| terms.objective());
    let policed = session.excess_refused + session.excess_best_effort > 0;
    let mut cells = vec![
        plain(session.id.clone()),
        plain(session.device.clone()),
        state,
        rate(session),
        plain(objective.unwrap_or_else(|| "best effort".to_owned())),
        match session.keeps_objective() {
            None => plain(kept),
            Some(true) => cell(kept, Tone::Good),
            Some(false) => bad(kept),
        },
    ];
    cells.extend([
        quantile(session, 0.5, |latency| latency.p50_ms),
        quantile(session, 0.95, |latency| latency.p95_ms),
        quantile(session, 0.99, |latency| latency.p99_ms),
        plain(session.queued.to_string()),
        if policed { warning(session.policed_text()) } else { plain("-") },
        if session.slo_at_risk { bad("yes") } else { plain("-") },
    ]);
    cells
}

fn device_state(device: &Device) -> Cell {
    if device.fenced {
        return match device.fence_reason.as_str() {
            "" => bad("fenced"),
            reason => bad(format!("fenced: {reason}")),
        };
    }
    let down = device.workers.iter().any(|worker| worker.state != "up");
    let workers: Vec<String> =
        device.workers.iter().map(|worker| format!("{} {}", worker.runtime, worker.state)).collect();
    cell(workers.join(", "), if down { Tone::Warning } else { Tone::Plain })
}

/// `39.7 of 40.0`, or what comes where nothing was declared.
fn rate(session: &Session) -> Cell {
    let observed = session.observed_rate_hz;
    match session.terms.as_ref().map(|terms| terms.rate_hz).filter(|declared| *declared > 0.0) {
        None => plain(format::rate(observed)),
        Some(declared) => {
            let tone = if observed > declared * RATE_TOLERANCE { Tone::Warning } else { Tone::Plain };
            cell(format!("{} of {}", format::rate(observed), format::rate(declared)), tone)
        }
    }
}

/// `19.00/20.00`; alarming where it is the objective's own quantile and misses it.
fn quantile(session: &Session, quantile: f64, of: fn(&Latency) -> f64) -> Cell {
    let observed = session.observed.as_ref().map(of);
    let predicted = session.predicted.as_ref().map(of);
    let text = match (observed, predicted) {
        (None, None) => "-".to_owned(),
        _ => format!("{}/{}", format::ms(observed), format::ms(predicted)),
    };
    let promised = session.terms.as_ref().filter(|terms| terms.quantile == Some(quantile));
    let missed = observed.zip(promised.and_then(|terms| terms.latency_ms));
    let off = observed.zip(predicted).filter(|_| session.observed_samples >= SAMPLES_ENOUGH);
    match (missed, off) {
        (Some((observed, promised)), _) if observed > promised => bad(text),
        (_, Some((observed, predicted))) if observed > predicted * PREDICTION_TOLERANCE => warning(text),
        _ => plain(text),
    }
}

/// `█████░░░░░  50 %`
fn bar(fraction: f64) -> String {
    const WIDTH: usize = 10;
    let full = ((fraction * WIDTH as f64).round() as usize).min(WIDTH);
    format!("{}{} {:>5}", "█".repeat(full), "░".repeat(WIDTH - full), format::percent(fraction))
}

/// Names and reasons come from a server: they must not steer the terminal.
fn cell(text: impl AsRef<str>, tone: Tone) -> Cell {
    Cell { text: printable(text.as_ref()), tone }
}

fn plain(text: impl AsRef<str>) -> Cell {
    cell(text, Tone::Plain)
}

fn warning(text: impl AsRef<str>) -> Cell {
    cell(text, Tone::Warning)
}

fn bad(text: impl AsRef<str>) -> Cell {
    cell(text, Tone::Bad)
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;

    fn tones(of: &Session) -> Vec<(&'static str, Tone)> {
        let cells = session(of);
        assert_eq!(cells.len(), SESSIONS.len());
        SESSIONS.iter().map(|column| column.title).zip(cells.into_iter().map(|cell| cell.tone)).collect()
    }

    #[test]
    fn what_breaks_a_promise_stands_out() {
        let node = examples::node();
        let [kept, at_risk, best_effort] = &node.sessions[..] else { panic!("three sessions") };
        let odd = |session| tones(session).into_iter().filter(|(_, tone)| *tone != Tone::Plain).collect();
        let nothing: Vec<(&str, Tone)> = odd(kept);
        assert_eq!(nothing, [("KEPT", Tone::Good)]);
        let all: Vec<(&str, Tone)> = odd(at_risk);
        assert_eq!(
            all,
            [
                ("RATE/s", Tone::Warning),
                ("KEPT", Tone::Bad),
                ("P50", Tone::Warning),
                ("P95", Tone::Warning),
                ("P99", Tone::Bad),
                ("POLICED", Tone::Warning),
                ("AT RISK", Tone::Bad)
            ]
        );
        let nothing: Vec<(&str, Tone)> = odd(best_effort);
        assert_eq!(nothing, []);
        assert_eq!(device(&node.devices[0], 0).len(), DEVICES.len());
        assert_eq!(device(&node.devices[1], 0).pop().unwrap().tone, Tone::Bad);
    }

    #[test]
    fn a_bar_is_full_at_one_and_stays_so_beyond() {
        assert_eq!(bar(0.0), "░░░░░░░░░░   0 %");
        assert_eq!(bar(0.46), "█████░░░░░  46 %");
        assert_eq!(bar(1.2), "██████████ 120 %");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\n").text, "a [2Jb ");
    }
}
