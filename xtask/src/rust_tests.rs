//! The Rust tests: run, and what failed told once more at the end, where it is found.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::native::Environment;
use crate::run::{cargo_command, say};

/// How cargo names a target of the end-to-end tests among those that failed.
const END_TO_END: &str = "-p edgemux-tests --test ";

/// Runs every test of the workspace.
///
/// The end-to-end tests keep time with real processes, and a machine that stands still for a moment can fail one. A target
/// of theirs is given a second chance, by itself, and that it needed one is said; no other test is.
pub(crate) fn run(native: &Environment) -> Result<()> {
    let failed = cargo_test(native, &["--workspace", "--all-features", "--no-fail-fast"])?;
    if failed.is_empty() {
        return Ok(());
    }
    let targets: Option<Vec<_>> = failed.iter().map(|target| target.strip_prefix(END_TO_END)).collect();
    let Some(targets) = targets else {
        bail!("failed: {}", failed.join(", "));
    };
    for target in &targets {
        say(&format!("UNSTEADY: {target} failed; once more, by itself"));
        // Of the whole workspace: of its package alone it would be built anew, with that package's features.
        let again = cargo_test(native, &["--workspace", "--all-features", "--test", target])?;
        if !again.is_empty() {
            bail!("{target} failed twice");
        }
    }
    say(&format!("UNSTEADY: passed the second time only: {}", targets.join(", ")));
    Ok(())
}

/// Runs `cargo test`, passing on what it prints, and returns the targets that failed, as cargo names them.
fn cargo_test(native: &Environment, arguments: &[&str]) -> Result<Vec<String>> {
    let mut command = cargo_command();
    native.apply(&mut command)?.arg("test").args(arguments);
    let mut child = Command::stdout(&mut command, Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (failures, failed) = std::thread::scope(|scope| {
        let failures = scope.spawn(|| passed_on(stdout, |line| println!("{line}"), Failures::default()));
        let failed = passed_on(stderr, |line| eprintln!("{line}"), Targets::default());
        (failures.join().unwrap_or_default(), failed)
    });
    let status = child.wait()?;
    if !status.success() {
        say("what failed");
        eprintln!("{}", failures.0.join("\n"));
        if failed.0.is_empty() {
            bail!("{command:?} ended with {status}");
        }
    }
    Ok(failed.0)
}

/// Something that is looked for in a program's output.
trait Look {
    fn look(&mut self, line: &str);
}

fn passed_on<L: Look>(from: Option<impl Read>, print: impl Fn(&str), mut looking: L) -> L {
    for line in from.into_iter().flat_map(|from| BufReader::new(from).split(b'\n')).map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        print(&line);
        looking.look(&line);
    }
    looking
}

/// The sections of libtest's output that say which tests failed, and how.
#[derive(Default)]
struct Failures(Vec<String>, bool);

impl Look for Failures {
    fn look(&mut self, line: &str) {
        self.1 |= line == "failures:";
        if self.1 {
            self.0.push(line.to_owned());
        }
        self.1 &= !line.starts_with("test result:");
    }
}

/// The targets that cargo names at the end: "error: 1 target failed:", then one to a line, each in back quotes.
#[derive(Default)]
struct Targets(Vec<String>, bool);

impl Look for Targets {
    fn look(&mut self, line: &str) {
        let named = line.trim().strip_prefix('`').and_then(|line| line.strip_suffix('`'));
        self.0.extend(named.filter(|_| self.1).map(str::to_owned));
        self.1 |= line.starts_with("error:") && line.contains("failed:");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_what_lies_between_their_heading_and_the_result() {
        let output = "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nb panicked\n\n\
            failures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed\n\nrunning 1 test\ntest c ... ok\n";
        let Failures(lines, _) = passed_on(Some(output.as_bytes()), |_| (), Failures::default());
        assert_eq!(lines.first().map(String::as_str), Some("failures:"));
        assert!(lines.iter().any(|line| line == "b panicked"), "{lines:?}");
        assert_eq!(lines.last().map(String::as_str), Some("test result: FAILED. 1 passed; 1 failed"));
    }

    #[test]
    fn targets_are_those_that_cargo_names_last() {
        let output = "     Running `x`\nerror: test failed, to rerun pass `-p edgemux-tests --test recalibration`\n\
            error: 2 targets failed:\n    `-p edgemux-tests --test recalibration`\n    `-p edgemux --lib`\n";
        let Targets(targets, _) = passed_on(Some(output.as_bytes()), |_| (), Targets::default());
        assert_eq!(targets, ["-p edgemux-tests --test recalibration", "-p edgemux --lib"]);
    }
}
