//! Values of options: what is refused before anything is done.

#[cfg(feature = "plot")]
use std::path::PathBuf;

/// A finite number above 0.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err(format!("`{text}` is no number above 0")),
    }
}

/// A time in seconds, above 0 and up to thirty days.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    const MAX: f64 = 30.0 * 24.0 * 3600.0;
    positive(text)
        .ok()
        .filter(|seconds| *seconds <= MAX)
        .ok_or(format!("`{text}` is no time from 0 to {MAX} s"))
}

/// Requests per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    const MAX: f64 = 1e6;
    positive(text)
        .ok()
        .filter(|rate| *rate <= MAX)
        .ok_or(format!("`{text}` is no rate above 0 and up to {MAX} requests per second"))
}

/// Requests that may come at once.
pub(super) fn burst(text: &str) -> Result<f64, String> {
    positive(text).ok().filter(|burst| *burst >= 1.0).ok_or(format!("`{text}` is no number of at least 1"))
}

/// A time between two looks, in seconds.
pub(super) fn interval(text: &str) -> Result<f64, String> {
    let within = positive(text).ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    within.ok_or(format!("`{text}` is no time from 0.1 to 3600 s"))
}

/// How long a place is held, in seconds.
pub(super) fn ttl(text: &str) -> Result<f64, String> {
    positive(text)
        .ok()
        .filter(|seconds| *seconds <= 86_400.0)
        .ok_or(format!("`{text}` is no time above 0 and up to 86400 s"))
}

/// `MODEL` or `MODEL/VERSION`
pub(super) fn model_version(text: &str) -> Result<(String, String), String> {
    let (model, version) = text.split_once('/').unwrap_or((text, ""));
    let lacks = model.is_empty() || version.contains('/') || text.ends_with('/');
    if lacks {
        Err(format!("`{text}` is neither MODEL nor MODEL/VERSION"))
    } else {
        Ok((model.to_owned(), version.to_owned()))
    }
}

/// A number between 0 and 1, both excluded.
pub(super) fn quantile(text: &str) -> Result<f64, String> {
    positive(text)
        .ok()
        .filter(|value| *value < 1.0)
        .ok_or(format!("`{text}` is no quantile: it lies between 0 and 1, both excluded (0.99 is the p99)"))
}

/// A file whose name says what kind of picture it is.
#[cfg(feature = "plot")]
pub(super) fn plot_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match crate::plot::Picture::of(&path) {
        Some(_) => Ok(path),
        None => Err(format!("`{text}` ends neither in .svg nor in .png")),
    }
}

/// `NAME=VALUE`
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("`{text}` is no NAME=VALUE")),
    }
}

/// `NAME=RATE`
pub(super) fn model_rate(text: &str) -> Result<(String, f64), String> {
    let (name, rate) = pair(text)?;
    Ok((name, positive(&rate)?))
}
