//! How figures look: milliseconds with two decimals, rates with one.

/// Milliseconds, two decimals; a dash for what was not measured.
pub(crate) fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"))
}

/// Something per second, one decimal.
pub(crate) fn rate(value: f64) -> String {
    format!("{value:.1}")
}

/// A fraction of one, in per cent.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.0} %", fraction * 100.0)
}

/// A share of requests in per cent, rounded down: 99.99 % kept is not all of them.
pub(crate) fn share(fraction: f64) -> String {
    // A little is added so that 0.999, which binary has just below, keeps its digits.
    format!("{:.1} %", ((fraction * 1000.0 + 1e-9).floor() / 10.0).max(0.0))
}

/// A time that has passed, in the unit that fits: `0.4 s`, `12 s`, `5 min`, `3 h`, `2 d`
pub(crate) fn age(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// Three digits that count, without trailing zeros.
pub(crate) fn short(value: f64) -> String {
    digits(value, f64::round)
}

/// The same rounded down: a rate that was found to hold must not be told as a larger one.
pub(crate) fn short_down(value: f64) -> String {
    digits(value, f64::floor)
}

/// The same rounded up.
pub(crate) fn short_up(value: f64) -> String {
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

/// Bytes in the largest binary unit that keeps at least one whole of it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A tensor's shape as the protocol gives it, for example `[-1,3,224,224]`.
pub(crate) fn shape(dims: &[i64]) -> String {
    let dims: Vec<String> = dims.iter().map(i64::to_string).collect();
    format!("[{}]", dims.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_fixed_decimals() {
        assert_eq!(ms(Some(1.005_6)), "1.01");
        assert_eq!(ms(None), "-");
        assert_eq!(rate(1234.56), "1234.6");
        assert_eq!(percent(0.496), "50 %");
        assert_eq!(shape(&[-1, 3]), "[-1,3]");
        assert_eq!(shape(&[]), "[]");
    }

    #[test]
    fn a_share_is_whole_only_if_nothing_is_missing() {
        assert_eq!(share(1.0), "100.0 %");
        assert_eq!(share(0.999_9), "99.9 %");
        assert_eq!(share(0.999), "99.9 %");
        assert_eq!(share(0.0), "0.0 %");
    }

    #[test]
    fn times_and_short_figures_take_what_fits() {
        for (seconds, text) in
            [(0.44, "0.4 s"), (59.6, "60 s"), (300.0, "5 min"), (9000.0, "2 h"), (2e6, "23 d")]
        {
            assert_eq!(age(seconds), text);
        }
        assert_eq!((short(12.345), short(1234.6), short(0.0)), ("12.3".into(), "1235".into(), "0".into()));
        assert_eq!((short_down(3.149), short_up(81.01)), ("3.14".into(), "81.1".into()));
    }

    #[test]
    fn bytes_take_the_fitting_unit() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }
}
