//! `edgemux top`: devices and sessions, live, or once as text.

use std::io::{self, IsTerminal};
use std::time::Duration;

use super::{Context, Outcome, values};
use crate::error::Error;
use crate::top::{Snapshot, live};

const NOTES: &str = "\
Examples:
  edgemux top
  edgemux top --interval 0.5
  edgemux top --once                    the same once, as text; also where the output is no terminal
  edgemux top --json                    once, as JSON

Keys:
  q, Esc, Ctrl-C    leave
  up/down, k/j      choose a session; its figures stand below the table
  Home/End, g/G     the first, the last
  s, S              sort sessions by the next column, by the one before
  p, Space          hold still, go on
  r                 look now
  +, -              look more often, less often
  ?, h              these keys

A latency is shown as observed lately / as predicted, of requests within the terms. Red: an objective missed or no longer
predicted to hold, a failed session, a fenced device. Yellow: more sent than declared, observed well above predicted.";

/// Watch devices and sessions: mode, utilisation, rates against terms, observed against predicted latency
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// How often to look, in seconds: 0.1 to 3600
    #[arg(long, value_name = "S", default_value = "1", value_parser = values::interval, allow_negative_numbers = true)]
    interval: f64,
    /// Print what is so now, and end
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let client = context.connect().await?;
    let first = Snapshot::take(&client, &context.server).await?;
    if args.once || context.output.is_json() || !io::stdout().is_terminal() {
        context.output.report(&first)?;
        return Ok(Outcome::Done);
    }
    live(client, &context.server, first, Duration::from_secs_f64(args.interval)).await?;
    Ok(Outcome::Done)
}
