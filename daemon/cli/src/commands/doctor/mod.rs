//! `edgemux doctor`: what is wrong with this node, its runtimes and its daemon, and what to do about it.

mod node;
mod runtimes;
mod server;

use serde::Serialize;

use super::{Context, Outcome};
use crate::daemon;
use crate::error::Error;
use crate::output::Report;
use crate::table::printable;

/// Check this node, its runtimes and its daemon; say what is wrong and what to do
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 1 if any check fails; a warning is no failure.")]
pub(crate) struct Args {}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    /// A stable name, with what it is about behind a colon: `worker:cpu0/onnx`
    name: String,
    grade: Grade,
    /// What is so.
    finding: String,
    /// What to do; absent where nothing is wrong.
    advice: Option<String>,
}

/// All checks.
#[derive(Debug, Serialize)]
struct Diagnosis {
    /// The worst grade.
    grade: Grade,
    server: String,
    checks: Vec<Check>,
}

pub(crate) async fn run(_: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let mut checks = vec![binary().await];
    checks.extend(server::checks(&context.server).await);
    checks.extend(runtimes::checks().await);
    checks.extend(node::checks());
    let grade = worst(&checks);
    context.output.report(&Diagnosis { grade, server: context.server.to_string(), checks })?;
    Ok(if grade == Grade::Fail { Outcome::Failed } else { Outcome::Done })
}

fn worst(checks: &[Check]) -> Grade {
    let any = |grade| checks.iter().any(|check| check.grade == grade);
    match (any(Grade::Fail), any(Grade::Warn)) {
        (true, _) => Grade::Fail,
        (false, true) => Grade::Warn,
        (false, false) => Grade::Ok,
    }
}

/// A machine that only has the client needs no daemon: its absence is a warning.
async fn binary() -> Check {
    let path = match daemon::find() {
        Ok(path) => path,
        Err(error) => {
            return Check::warn("binary", error.to_string(), "nothing, if the daemon runs elsewhere");
        }
    };
    let found = path.display();
    match daemon::version(&path).await {
        Ok(version) if version == env!("CARGO_PKG_VERSION") => {
            Check::ok("binary", format!("{found}, version {version}"))
        }
        Ok(version) => Check::warn(
            "binary",
            format!("{found} has version {version}, this command {}", env!("CARGO_PKG_VERSION")),
            "install both from the same release",
        ),
        Err(error) => Check::fail("binary", error.to_string(), "install edgemuxd anew"),
    }
}

// === impl Check ===

impl Check {
    fn ok(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self { name: name.into(), grade: Grade::Ok, finding: finding.into(), advice: None }
    }

    fn warn(name: impl Into<String>, finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { grade: Grade::Warn, advice: Some(advice.into()), ..Self::ok(name, finding) }
    }

    fn fail(name: impl Into<String>, finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { grade: Grade::Fail, advice: Some(advice.into()), ..Self::ok(name, finding) }
    }
}

// === impl Report for Diagnosis ===

impl Report for Diagnosis {
    fn text(&self) -> String {
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for check in &self.checks {
            let grade = match check.grade {
                Grade::Ok => "ok  ",
                Grade::Warn => "warn",
                Grade::Fail => "FAIL",
            };
            text.push_str(&format!(
                "{grade}  {:<width$}  {}\n",
                printable(&check.name),
                printable(&check.finding)
            ));
            if let Some(advice) = &check.advice {
                text.push_str(&format!("      {:<width$}  -> {}\n", "", printable(advice)));
            }
        }
        let count = |grade| self.checks.iter().filter(|check| check.grade == grade).count();
        let (ok, warned, failed) = (count(Grade::Ok), count(Grade::Warn), count(Grade::Fail));
        text.push_str(&format!("{ok} ok, {warned} to look at, {failed} failed\n"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_is_the_diagnosis() {
        let (ok, warn, fail) = (Check::ok("a", ""), Check::warn("b", "", "do"), Check::fail("c", "", "do"));
        assert_eq!(worst(std::slice::from_ref(&ok)), Grade::Ok);
        assert_eq!(worst(&[ok.clone(), warn.clone()]), Grade::Warn);
        assert_eq!(worst(&[warn, fail, ok]), Grade::Fail);
    }
}
