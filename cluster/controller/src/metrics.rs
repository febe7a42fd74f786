//! What `/metrics` shows, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use edgemux_cluster_api::session::Phase;

use crate::decide::Verb;
use crate::decide::answers::Answer;
use crate::nodes::Standing;

/// Upper bounds of the classes of durations, s.
const BOUNDS: [f64; 10] = [0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];
const PHASES: [Phase; 6] =
    [Phase::Pending, Phase::Placing, Phase::Ready, Phase::Degraded, Phase::Refused, Phase::Releasing];
const STANDINGS: [Standing; 4] = [Standing::Open, Standing::Closed, Standing::Down, Standing::Lost];

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    classes: [u64; BOUNDS.len()],
    reconciles: u64,
    seconds: f64,
    errors: BTreeMap<&'static str, u64>,
    calls: BTreeMap<(&'static str, &'static str), u64>,
    refusals: BTreeMap<String, u64>,
    events: BTreeMap<&'static str, u64>,
    orphans: u64,
    rankings: u64,
    ranking_seconds: f64,
}

/// What there is at the moment.
#[derive(Debug, Default)]
pub struct Now {
    /// Sessions by phase.
    pub sessions: Vec<Phase>,
    /// Nodes by how they stand.
    pub nodes: Vec<Standing>,
    /// Whether this controller is the one that acts.
    pub leads: bool,
}

impl Metrics {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session was looked at, and that took so long.
    pub fn reconciled(&self, took: Duration) {
        let mut counts = self.counts();
        let seconds = took.as_secs_f64();
        counts.reconciles += 1;
        counts.seconds += seconds;
        for (class, bound) in counts.classes.iter_mut().zip(BOUNDS) {
            *class += u64::from(seconds <= bound);
        }
    }

    /// The API server did not do what was asked.
    pub fn failed(&self, why: &'static str) {
        *self.counts().errors.entry(why).or_default() += 1;
    }

    /// A daemon was asked.
    pub fn called(&self, verb: Verb, answer: &Answer) {
        let mut counts = self.counts();
        *counts.calls.entry((verb_word(verb), answer_word(answer))).or_default() += 1;
        if let Answer::Refused(why) = answer {
            for rejection in why {
                *counts.refusals.entry(rejection.reason.clone()).or_default() += 1;
            }
        }
    }

    /// Something happened that people are told.
    pub fn happened(&self, what: &'static str) {
        *self.counts().events.entry(what).or_default() += 1;
    }

    /// A place that nobody remembered was let go.
    pub fn swept(&self) {
        self.counts().orphans += 1;
    }

    /// Nodes were put in order, and that took so long.
    pub fn ranked(&self, took: Duration) {
        let mut counts = self.counts();
        counts.rankings += 1;
        counts.ranking_seconds += took.as_secs_f64();
    }

    /// Everything, as it is now.
    #[must_use]
    pub fn exposition(&self, now: &Now) -> String {
        let mut text = String::new();
        let gauge = |of: usize| of.to_string();
        let sessions = PHASES.map(|phase| {
            let of = now.sessions.iter().filter(|other| **other == phase).count();
            (format!("phase=\"{phase:?}\""), gauge(of))
        });
        family(&mut text, "edgemux_controller_sessions", "gauge", "Inference sessions by phase", sessions);
        let nodes = STANDINGS.map(|standing| {
            let of = now.nodes.iter().filter(|other| **other == standing).count();
            (format!("state=\"{standing:?}\""), gauge(of))
        });
        family(&mut text, "edgemux_controller_nodes", "gauge", "Accelerator nodes by state", nodes);
        let leads = [(String::new(), u8::from(now.leads))];
        family(
            &mut text,
            "edgemux_controller_leader",
            "gauge",
            "1 where this controller is the one that acts",
            leads,
        );
        let counts = self.counts();
        let name = "edgemux_controller_reconcile_duration_seconds";
        describe(
            &mut text,
            name,
            "histogram",
            "Time that a look at a session took, calls to daemons included",
        );
        for (bound, class) in BOUNDS.iter().zip(counts.classes) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {class}");
        }
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", counts.reconciles);
        let _ = writeln!(text, "{name}_sum {}\n{name}_count {}", counts.seconds, counts.reconciles);
        let errors = counts.errors.iter().map(|(why, count)| (format!("reason=\"{why}\""), *count));
        family(
            &mut text,
            "edgemux_controller_reconcile_errors_total",
            "counter",
            "Looks that ended early, by why",
            errors,
        );
        let calls = counts
            .calls
            .iter()
            .map(|((verb, answer), count)| (format!("call=\"{verb}\",answer=\"{answer}\""), *count));
        family(
            &mut text,
            "edgemux_controller_daemon_calls_total",
            "counter",
            "Calls to daemons, by what they answered",
            calls,
        );
        let refusals = counts.refusals.iter().map(|(reason, count)| (format!("reason=\"{reason}\""), *count));
        family(
            &mut text,
            "edgemux_controller_refusals_total",
            "counter",
            "Reasons for which daemons refused a reservation",
            refusals,
        );
        let events = counts.events.iter().map(|(what, count)| (format!("event=\"{what}\""), *count));
        family(
            &mut text,
            "edgemux_controller_session_events_total",
            "counter",
            "What happened to sessions: Admitted, Serving, Refused, NoNode, AtRisk, Migrated, Lost",
            events,
        );
        let orphans = [(String::new(), counts.orphans)];
        let help = "Places that nobody remembered and that were let go";
        family(&mut text, "edgemux_controller_orphans_released_total", "counter", help, orphans);
        let rankings = [(String::new(), counts.rankings)];
        let help = "Times that nodes were put in order";
        family(&mut text, "edgemux_controller_rankings_total", "counter", help, rankings);
        let seconds = [(String::new(), counts.ranking_seconds)];
        let help = "Time that this took, all together";
        family(&mut text, "edgemux_controller_ranking_seconds_total", "counter", help, seconds);
        text
    }
}

fn describe(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn family(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    values: impl IntoIterator<Item = (String, impl Display)>,
) {
    describe(text, name, kind, help);
    for (labels, value) in values {
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

fn verb_word(verb: Verb) -> &'static str {
    match verb {
        Verb::Reserve => "reserve",
        Verb::Commit => "commit",
        Verb::Release => "release",
    }
}

fn answer_word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Held(_) => "held",
        Answer::Refused(_) => "refused",
        Answer::Serves => "done",
        Answer::NoSuch(_) => "not-there",
        Answer::Failed(_) => "failed",
        Answer::Busy(_) => "busy",
        Answer::None(_) => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::answers::rejection;

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.reconciled(Duration::from_millis(20));
        metrics.called(Verb::Reserve, &Answer::Refused(vec![rejection("Memory", "")]));
        metrics.failed("conflict");
        metrics.happened("Migrated");
        let now =
            Now { sessions: vec![Phase::Ready, Phase::Ready], nodes: vec![Standing::Lost], leads: true };
        let text = metrics.exposition(&now);
        for line in [
            "edgemux_controller_sessions{phase=\"Ready\"} 2",
            "edgemux_controller_sessions{phase=\"Refused\"} 0",
            "edgemux_controller_nodes{state=\"Lost\"} 1",
            "edgemux_controller_leader 1",
            "edgemux_controller_reconcile_duration_seconds_bucket{le=\"0.01\"} 0",
            "edgemux_controller_reconcile_duration_seconds_bucket{le=\"0.05\"} 1",
            "edgemux_controller_reconcile_duration_seconds_count 1",
            "edgemux_controller_reconcile_errors_total{reason=\"conflict\"} 1",
            "edgemux_controller_daemon_calls_total{call=\"reserve\",answer=\"refused\"} 1",
            "edgemux_controller_refusals_total{reason=\"Memory\"} 1",
            "edgemux_controller_session_events_total{event=\"Migrated\"} 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
