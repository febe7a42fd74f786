//! A file's text, and where in it something is wrong.

use std::ops::Range;

use edgemux_calibration::units::{RangeError, Seconds};

use super::error::{FileError, Wrong};
use super::wire::{Count, Number, Word};

/// Bytes of a megabyte: 10⁶, as in the figures of data sheets.
const MB: f64 = 1e6;
/// The most memory that can be named.
const MB_MAX: f64 = 1e9;

/// The text under its name; every error says where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Reader<'_> {
    /// The number of the line that this place is in.
    pub(super) fn line(self, at: usize) -> usize {
        1 + self.text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count()
    }

    pub(super) fn wrong(self, at: &Range<usize>, wrong: Wrong) -> FileError {
        FileError::Wrong { file: self.file.to_owned(), line: self.line(at.start), wrong }
    }

    /// What the TOML parser says, on one line and with the key.
    pub(super) fn toml(self, error: &toml::de::Error) -> FileError {
        let at = error.span().unwrap_or(0..0);
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        let message = message.replace("expected f64", "expected a number");
        let message = message.replace("expected i64", "expected a whole number");
        // A value of the wrong type is told without its key.
        let start = self.text.get(..at.start).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let key =
            self.text.get(start..at.start).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
        let message = match key {
            Some(key) if message.starts_with("invalid") || message.starts_with("unknown variant") => {
                format!("{key}: {message}")
            }
            _ => message,
        };
        self.wrong(&at, Wrong::Toml(message))
    }

    /// A number through the constructor of its quantity.
    pub(super) fn number<T>(
        self,
        key: &'static str,
        number: &Number,
        make: impl FnOnce(f64) -> Result<T, RangeError>,
    ) -> Result<T, FileError> {
        let given = *number.get_ref();
        make(given).map_err(|cause| self.wrong(&number.span(), Wrong::Range { key, given, cause }))
    }

    /// Milliseconds; none is no time.
    pub(super) fn ms(self, key: &'static str, number: Option<&Number>) -> Result<Seconds, FileError> {
        number.map_or(Ok(Seconds::ZERO), |number| {
            self.number(key, number, |ms| within(ms, Seconds::from_ms(ms), "0 to 1000000000 ms"))
        })
    }

    /// Milliseconds that have to be more than none.
    pub(super) fn ms_above_0(self, key: &'static str, number: &Number) -> Result<Seconds, FileError> {
        const WANT: &str = "above 0, up to 1000000000 ms";
        self.number(key, number, |ms| {
            within(ms, Seconds::from_ms(ms), WANT).and_then(|time| match time.get() > 0.0 {
                true => Ok(time),
                false => Err(RangeError { quantity: "length of time", value: ms, want: WANT }),
            })
        })
    }

    /// Megabytes in bytes.
    pub(super) fn mb(self, key: &'static str, number: &Number) -> Result<u64, FileError> {
        self.number(key, number, |mb| match (0.0..=MB_MAX).contains(&mb) {
            true => Ok((mb * MB).round() as u64),
            false => {
                Err(RangeError { quantity: "size", value: mb, want: "0 to 1000000000 MB of 10⁶ bytes" })
            }
        })
    }

    /// Kilobytes in bytes.
    pub(super) fn kb(self, key: &'static str, number: &Number) -> Result<u64, FileError> {
        self.number(key, number, |kb| match (0.0..=MB_MAX).contains(&kb) {
            true => Ok((kb * 1e3).round() as u64),
            false => {
                Err(RangeError { quantity: "size", value: kb, want: "0 to 1000000000 kB of 1000 bytes" })
            }
        })
    }

    /// A whole number.
    pub(super) fn count(
        self,
        key: &'static str,
        count: &Count,
        (least, most): (u32, u32),
    ) -> Result<u32, FileError> {
        let given = *count.get_ref();
        u32::try_from(given)
            .ok()
            .filter(|count| (least..=most).contains(count))
            .ok_or_else(|| self.wrong(&count.span(), Wrong::Count { key, given, least, most }))
    }

    /// A name that fits everywhere a name has to go.
    pub(super) fn name(self, key: &'static str, word: &Word) -> Result<String, FileError> {
        let given = word.get_ref();
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if (1..=64).contains(&given.len()) && given.chars().all(fits) {
            Ok(given.clone())
        } else {
            let given = given.chars().flat_map(char::escape_default).take(80).collect();
            Err(self.wrong(&word.span(), Wrong::Name { key, given }))
        }
    }
}

/// The same error in the unit of the file.
fn within<T>(value: f64, made: Result<T, RangeError>, want: &'static str) -> Result<T, RangeError> {
    made.map_err(|error| RangeError { value, want, ..error })
}
