//! Where a command's words go: its result to stdout (as text or as JSON), narration and errors around it.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Error;

/// The result of a command: a stable JSON object, and the same for people.
pub(crate) trait Report: Serialize {
    /// The text, with a newline at its end.
    fn text(&self) -> String;
}

/// Whether somebody reads what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    There,
    /// As in `edgemux calibration watch | head -3`: a command that goes on may end.
    Gone,
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
        print(io::stdout().lock(), &text).map(|_| ())
    }

    /// Prints one of several results of a command that goes on: a line each, also of JSON.
    pub(crate) fn report_line(&self, report: &impl Report) -> Result<Reader, Error> {
        if !self.json {
            return print(io::stdout().lock(), &report.text());
        }
        let line = serde_json::to_string(report).map_err(|error| Error::Stdout(error.into()))?;
        print(io::stdout().lock(), &format!("{line}\n"))
    }

    /// Whether stdout is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a text as it is, for people and programs alike.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Error> {
        print(io::stdout().lock(), text).map(|_| ())
    }

    /// A line on the way to the result. It goes to stderr where stdout is for JSON.
    pub(crate) fn note(&self, line: &str) -> Result<(), Error> {
        let line = format!("{line}\n");
        let printed =
            if self.json { print(io::stderr().lock(), &line) } else { print(io::stdout().lock(), &line) };
        printed.map(|_| ())
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
fn print(mut to: impl Write, text: &str) -> Result<Reader, Error> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Error::Stdout(error)),
    }
}
