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
    fn bytes_take_the_fitting_unit() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }
}
