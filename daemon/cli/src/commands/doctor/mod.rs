//! `edgemux doctor`: what is wrong with this node, its runtimes and its daemon, and what to do about it.

mod hardware;
mod machine;
mod node;
mod runtimes;
mod server;

use std::time::Duration;

use serde::Serialize;

use self::machine::{Hardware, Machine, Runtime};
use self::server::Server;
use super::{Context, Outcome};
use crate::daemon;
use crate::error::Error;
use crate::output::Report;
use crate::table::printable;

/// Check this node, its runtimes and its daemon; say what is wrong and what to do
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runtimes and hardware are this machine's, as its edgemuxd finds them; no daemon has to run for that. Runtimes are looked for in
the folder that EDGEMUX_RUNTIME_DIR names, beside edgemuxd, and in /usr/lib/edgemux.

Exit code 1 if any check fails; a warning is no failure.")]
pub(crate) struct Args {
    /// How long each runtime may take to say what it is, in seconds; libraries of a gigabyte are read from a cold disk
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
}

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
    /// What the checks of runtimes and hardware are made of.
    runtimes: Vec<Runtime>,
    hardware: Vec<Hardware>,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let patience = Duration::from_secs(args.patience);
    let (binary, server, looked) =
        tokio::join!(binary(), Server::look(&context.server, &context.credentials), look(patience));
    let mut checks = vec![binary];
    checks.extend(server.checks.iter().cloned());
    let machine = looked.unwrap_or_else(|check| {
        checks.push(check);
        Machine::default()
    });
    checks.extend(runtimes::checks(&machine));
    checks.extend(hardware::checks(&machine, &server));
    checks.extend(node::checks());
    let grade = worst(&checks);
    let Machine { runtimes, hardware, .. } = machine;
    let server = context.server.to_string();
    context.output.report(&Diagnosis { grade, server, checks, runtimes, hardware })?;
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

/// A machine without the daemon has nothing to be looked at here, which the check of its binary says.
async fn look(patience: Duration) -> Result<Machine, Check> {
    let Ok(binary) = daemon::find() else { return Ok(Machine::default()) };
    Machine::look(&binary, patience).await.map_err(|error| {
        Check::fail("runtimes", error.to_string(), "install the daemon and this command from one release")
    })
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
