//! `edgemux sessions`: the models that are loaded, what they were promised, and how they fare.

mod report;

use self::report::Sessions;
use super::{Context, Outcome};
use crate::error::Error;
use crate::view::Session;

const NOTES: &str = "\
Examples:
  edgemux sessions
  edgemux sessions detector/1

The second table is of sessions with a latency objective: p50, p95 and p99 as predicted and as observed lately, of requests
within the terms; the share of them that kept the objective; the share that was no longer than predicted for the
objective's quantile (coverage); and the factor by which predictions are lengthened because they fell short (margin).";

/// List the sessions: their state, terms, load and times, predicted and observed
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// Only this one
    #[arg(value_name = "MODEL/VERSION")]
    session: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let client = context.connect().await?;
    let sessions = match args.session {
        Some(id) => vec![client.session(&id).await?],
        None => client.sessions().await?,
    };
    context.output.report(&Sessions { sessions: sessions.into_iter().map(Session::from_wire).collect() })?;
    Ok(Outcome::Done)
}
