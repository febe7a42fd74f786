//! Where a command's words go: its result to stdout (as text or as JSON), narration and errors around it.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Error;

/// The result of a command: a stable JSON object, and the same for people.
pub(crate) trait Report: Serialize {
    /// The text, with a newline at its end.
    fn text(&self) -> String;
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

#[derive(Serialize)]
struct Failure<'a> {
    error: FailureDetail<'a>,
}

#[derive(Serialize)]
struct FailureDetail<'a> {
    code: &'a str,
    message: String,
    exit_code: u8,
}

// === impl Output ===

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints a command's result.
    pub(crate) fn report(&self, report: &impl Report) -> Result<(), Error> {
        let text = if self.json { json(report)? } else { report.text() };
        print(io::stdout().lock(), &text)
    }

    /// Prints a text as it is, for people and programs alike.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Error> {
        print(io::stdout().lock(), text)
    }

    /// A line on the way to the result. It goes to stderr where stdout is for JSON.
    pub(crate) fn note(&self, line: &str) -> Result<(), Error> {
        let line = format!("{line}\n");
        if self.json { print(io::stderr().lock(), &line) } else { print(io::stdout().lock(), &line) }
    }

    /// Says why the command failed: on stderr, and as JSON on stdout where that was asked for.
    pub(crate) fn error(&self, error: &Error) {
        // Nobody is left to be told when stderr is gone.
        let _ = writeln!(io::stderr().lock(), "edgemux: {error}");
        if self.json {
            let detail = FailureDetail {
                code: error.code(),
                message: error.to_string(),
                exit_code: error.exit_code(),
            };
            let _ = json(&Failure { error: detail }).and_then(|text| print(io::stdout().lock(), &text));
        }
    }
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| Error::Stdout(error.into()))?;
    text.push('\n');
    Ok(text)
}

/// A reader that has seen enough (`edgemux models | head -1`) is no failure.
fn print(mut to: impl Write, text: &str) -> Result<(), Error> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Stdout(error)),
        _ => Ok(()),
    }
}
