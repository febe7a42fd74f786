//! Verdicts in words, with their numbers.

use edgemux_calibration::admission::{Alternative, Reason};
use edgemux_calibration::predict::{Formula, KnownError, Method};
use edgemux_calibration::system::{Mode, Slicing};
use edgemux_calibration::terms::{Objective, Statistic};

use super::admit::{Answer, Offer};
use super::node::kind;

/// `p99`, `mean`, `p99.9`
pub(crate) fn statistic(statistic: Statistic) -> String {
    match statistic {
        Statistic::Mean => "mean".to_owned(),
        // Six decimals are all that a quantile has.
        Statistic::Quantile(q) => {
            let percent = format!("{:.4}", q.get() * 100.0);
            format!("p{}", percent.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

/// `p99 ≤ 80 ms`, or that there is none.
pub(crate) fn objective(objective: Option<Objective>) -> String {
    match objective {
        Some(Objective { statistic: of, latency }) => {
            format!("{} ≤ {} ms", statistic(of), short(latency.ms()))
        }
        None => "best effort".to_owned(),
    }
}

/// `exclusive`, `time-sliced`, `concurrent`
pub(crate) fn multiplexing(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive { .. } => "exclusive",
        Mode::TimeSliced(_) => "time-sliced",
        Mode::Concurrent { .. } => "concurrent",
    }
}

/// A mode with its parameter.
pub(crate) fn mode(mode: Mode) -> String {
    match mode {
        Mode::Exclusive { run_max } if run_max.get() == 1 => "exclusive".to_owned(),
        Mode::Exclusive { run_max } => format!("exclusive, runs of up to {run_max}"),
        Mode::TimeSliced(Slicing::RoundRobin { quantum }) => {
            format!("time-sliced, turns of {} ms", short(quantum.ms()))
        }
        Mode::TimeSliced(Slicing::Driver) => "time-sliced by the driver".to_owned(),
        Mode::Concurrent { width } => format!("concurrent, up to {width} in service"),
    }
}

/// How a prediction was found, for people.
pub(crate) fn method(method: Method) -> String {
    match method {
        Method::Simulation { requests } => format!("simulation of {requests} requests"),
        Method::Formula(formula) => format!("formula ({})", words_of(formula).1),
    }
}

/// The same for programs.
pub(crate) fn method_name(method: Method) -> &'static str {
    match method {
        Method::Simulation { .. } => "simulation",
        Method::Formula(formula) => words_of(formula).0,
    }
}

fn words_of(formula: Formula) -> (&'static str, &'static str) {
    match formula {
        Formula::FirstCome => ("first-come", "first come, first served"),
        Formula::Ranked => ("ranked", "first come, first served, by priority"),
        Formula::FirstComeStretched => ("first-come-stretched", "first come, first served, stretched"),
        Formula::Sharing => ("sharing", "processor sharing"),
        Formula::SharingBounded => ("sharing-bounded", "processor sharing with a speed-up or a bound"),
        Formula::Batching => ("batching", "batching"),
    }
}

/// `mean within 0.5 %, p95 within 0.5 %, p99 within 1 %`
pub(crate) fn known_error(error: KnownError) -> String {
    let percent = |value: f64| short(value * 100.0);
    format!(
        "mean within {} %, p95 within {} %, p99 within {} %",
        percent(error.mean),
        percent(error.p95),
        percent(error.p99)
    )
}

/// Why a device does not take an application; `names` are those of the devices.
pub(crate) fn refusal(offer: &Offer, names: &[String]) -> Vec<String> {
    let name = |device: usize| names.get(device).map_or("", String::as_str);
    match &offer.answer {
        Answer::NoProfile(of) => {
            vec![format!("the model has no profile for devices of kind {}", kind(*of))]
        }
        Answer::Decided(_) => offer.reasons().iter().map(reason).collect(),
        Answer::Elsewhere { device, .. } => {
            let reasons = offer.reasons().iter();
            reasons
                .map(|r| format!("by its work on the processor, on {}: {}", name(*device), reason(r)))
                .collect()
        }
    }
}

/// A reason with its numbers.
pub(crate) fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Objective { session, statistic: of, wanted, predicted, with_margin } => format!(
            "the {} of {session} would be {} ms ({} ms with the margin), its objective is {} ms",
            statistic(*of),
            short(predicted * 1e3),
            short(with_margin * 1e3),
            short(wanted * 1e3)
        ),
        Reason::Memory { needed, capacity } => format!(
            "the models would need {} MB of memory, the device has {} MB",
            short(*needed as f64 / 1e6),
            short(*capacity as f64 / 1e6)
        ),
        Reason::Utilisation { stage, utilisation, most } => format!(
            "the {stage} would have to be busy {} % of the time, at most {} % is allowed",
            short(utilisation * 100.0),
            short(most * 100.0)
        ),
        Reason::Undecided(why) => format!("no decision: {why}"),
    }
}

/// What could be had instead.
pub(crate) fn alternative(alternative: &Alternative) -> String {
    match alternative {
        Alternative::Rate(rate) => format!("up to {} requests/s", rounded_down(rate.get())),
        Alternative::Latency(latency) => {
            format!("an objective of {} ms at its rate", rounded_up(latency.ms()))
        }
    }
}

/// Three digits that count, without trailing zeros.
pub(crate) fn short(value: f64) -> String {
    digits(value, f64::round)
}

/// A rate that was found to hold must not be told as a larger one.
fn rounded_down(value: f64) -> String {
    digits(value, f64::floor)
}

fn rounded_up(value: f64) -> String {
    digits(value, f64::ceil)
}

fn digits(value: f64, round: fn(f64) -> f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 9);
    let scale = 10_f64.powi(decimals);
    let text = format!("{:.*}", decimals as usize, round(value * scale) / scale);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgemux_calibration::units::Quantile;

    #[test]
    fn numbers_keep_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.000_123_4, "0.000123"),
            (1.0, "1"),
            (12.345, "12.3"),
            (99.96, "100"),
            (1234.6, "1235"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(short(100.0), "100");
        assert_eq!(rounded_down(3.149), "3.14");
        assert_eq!(rounded_up(81.01), "81.1");
    }

    #[test]
    fn statistics_have_their_usual_names() {
        assert_eq!(statistic(Statistic::Mean), "mean");
        for (q, name) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (0.1, "p10")] {
            assert_eq!(statistic(Statistic::Quantile(Quantile::new(q).unwrap())), name);
        }
    }

    #[test]
    fn reasons_name_their_numbers() {
        let memory = Reason::Memory { needed: 4_100_000_000, capacity: 4_000_000_000 };
        assert_eq!(reason(&memory), "the models would need 4100 MB of memory, the device has 4000 MB");
        let busy = Reason::Utilisation { stage: "device", utilisation: 1.234, most: 0.95 };
        assert_eq!(
            reason(&busy),
            "the device would have to be busy 123 % of the time, at most 95 % is allowed"
        );
    }
}
