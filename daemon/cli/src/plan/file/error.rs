//! What can be wrong with a plan's file. Each message is one line: the file, the line, the key, and what it may be.

use std::io;

use edgemux_calibration::system::SystemError;
use edgemux_calibration::units::RangeError;
use thiserror::Error;

/// Why a file is no plan.
#[derive(Debug, Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("cannot read {file}: {cause}; `edgemux plan --example coral` prints a file to start from")]
    Read { file: String, cause: io::Error },
    /// It can, but says what cannot be.
    #[error("{file}:{line}: {wrong}")]
    Wrong { file: String, line: usize, wrong: Wrong },
}

/// What is wrong in a line.
#[derive(Debug, Error)]
pub(crate) enum Wrong {
    /// Not TOML, an unknown or missing key, a value of another type.
    #[error("{0}")]
    Toml(String),
    /// A number out of its range, in the unit of its key.
    #[error("{key} = {} is no {}: {}", number(*given), cause.quantity, cause.want)]
    Range { key: &'static str, given: f64, cause: RangeError },
    /// A whole number out of its range.
    #[error("{key} = {given}: a whole number from {least} to {most}")]
    Count { key: &'static str, given: i64, least: u32, most: u32 },
    /// A curve that is none.
    #[error("{key}: {cause}")]
    System { key: &'static str, cause: SystemError },
    /// A name that nothing has.
    #[error("{key} = \"{given}\": there is no {what} of this name, only {known}")]
    Unknown { key: &'static str, given: String, what: &'static str, known: String },
    /// A name that two have.
    #[error("name = \"{name}\": line {first} has a {what} of this name; give each its own")]
    Twice { name: String, what: &'static str, first: usize },
    /// A name that would not survive a table, a label or a shell.
    #[error("{key} = \"{given}\": a name is 1 to 64 letters, digits, `.`, `_` and `-`")]
    Name { key: &'static str, given: String },
    /// A list without entries.
    #[error("no [[{0}]]: a plan needs at least one")]
    None(&'static str),
    /// Keys that contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// As somebody would write it: not with three hundred zeros.
fn number(value: f64) -> String {
    if value == 0.0 || (1e-9..1e15).contains(&value.abs()) { value.to_string() } else { format!("{value:e}") }
}
