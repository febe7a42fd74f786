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

/// A number between 0 and 1, both excluded.
pub(super) fn quantile(text: &str) -> Result<f64, String> {
    positive(text).ok().filter(|value| *value < 1.0).ok_or(format!("`{text}` is no quantile between 0 and 1"))
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
