//! Progress on stderr: a terminal's line is rewritten, a log gets one for each part.

use std::io::{self, IsTerminal, Write};

/// Who tells.
#[derive(Debug)]
pub(super) struct Teller {
    terminal: bool,
    parts: usize,
    part: usize,
    what: String,
}

impl Teller {
    pub(super) fn new(parts: usize) -> Self {
        Self { terminal: io::stderr().is_terminal(), parts, part: 0, what: String::new() }
    }

    /// A part begins.
    pub(super) fn begin(&mut self, what: &str) {
        self.part += 1;
        self.what = format!("{} of {}: {what}", self.part, self.parts);
        // Nobody reads a progress line that cannot be written.
        let _ = if self.terminal {
            write!(io::stderr().lock(), "\r\x1b[2K{}", self.what)
        } else {
            writeln!(io::stderr().lock(), "{}", self.what)
        };
    }

    /// So much of it is done.
    pub(super) fn done(&self, seeds: u64, of: u64) {
        if self.terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{}: {seeds} of {of} seeds", self.what);
        }
    }

    /// All is done: the line is left clean.
    pub(super) fn end(&self) {
        if self.terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
    }
}
