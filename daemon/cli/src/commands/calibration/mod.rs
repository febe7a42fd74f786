//! `edgemux calibration`: what was measured of each session on its device, and how it moves between boxes.

mod archive;
mod report;

use std::path::PathBuf;

use clap::Subcommand;
use tonic::Code;

use self::report::{Profiles, Reset, Watched};
use super::{Context, Outcome};
use crate::client::Client;
use crate::error::Error;
use crate::generator::EndSignals;
use crate::output::Reader;
use crate::rpc::RpcError;
use crate::view::Profile;

const NOTES: &str = "\
Examples:
  edgemux calibration                            what was measured, of all sessions
  edgemux calibration watch detector/1           the same as it changes, until Ctrl-C
  edgemux calibration export orin-nano.profiles  everything this box learned
  edgemux --server unit-7:8001 calibration import orin-nano.profiles
                                                 a box that starts with it

A profile belongs to a model's content, a device and its power mode. What is imported is where a box starts from: its own
measurements take over as they come, and profiles here that rest on more samples are kept.";

/// Show what was measured of each session; forget it, save it to a file, load it from one
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What was measured [the default]
    Show {
        /// Only this session
        #[arg(value_name = "MODEL/VERSION")]
        session: Option<String>,
    },
    /// What is measured, a line per session and second, until Ctrl-C; with --json an object per line
    Watch {
        /// Only this session
        #[arg(value_name = "MODEL/VERSION")]
        session: Option<String>,
    },
    /// Forget what was measured: what follows starts anew
    Reset {
        /// This session
        #[arg(value_name = "MODEL/VERSION", required_unless_present = "all")]
        session: Option<String>,
        /// All sessions
        #[arg(long, conflicts_with = "session")]
        all: bool,
    },
    /// Save all profiles to a file
    Export {
        /// The file; one that is there is replaced
        file: PathBuf,
    },
    /// Take profiles over from a file
    Import {
        /// What `export` wrote, here or elsewhere
        file: PathBuf,
    },
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    match args.what.unwrap_or(What::Show { session: None }) {
        What::Show { session } => {
            let profiles = profiles(&context.connect().await?, session).await?;
            context.output.report(&Profiles { profiles })?;
        }
        What::Watch { session } => watch(&session.unwrap_or_default(), context).await?,
        What::Reset { session, all: _ } => {
            context.connect().await?.reset_calibration(session.as_deref().unwrap_or_default()).await?;
            context.output.report(&Reset { session, reset: true })?;
        }
        What::Export { file } => context.output.report(&archive::export(file, context).await?)?,
        What::Import { file } => context.output.report(&archive::import(file, context).await?)?,
    }
    Ok(Outcome::Done)
}

/// The named one's, or all that there are.
async fn profiles(client: &Client, session: Option<String>) -> Result<Vec<Profile>, Error> {
    if let Some(session) = session {
        return Ok(vec![Profile::from_wire(client.calibration(&session).await?)]);
    }
    let mut profiles = Vec::new();
    for session in client.sessions().await? {
        match client.calibration(&session.id).await {
            Ok(profile) => profiles.push(Profile::from_wire(profile)),
            // It was unloaded between the two calls.
            Err(error) if error.code() == Code::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(profiles)
}

/// Ends well by a signal, by the end of the server, or once nobody reads on.
async fn watch(session: &str, context: &Context<'_>) -> Result<(), Error> {
    let mut profiles = context.connect().await?.watch_calibration(session).await?;
    let mut first = true;
    let mut signals = EndSignals::catch()?;
    loop {
        let next = tokio::select! {
            next = profiles.message() => next,
            () = signals.come() => return Ok(()),
        };
        let failed = |status| RpcError::new("watch the profiles", &status);
        let Some(profile) = next.map_err(failed)? else { return Ok(()) };
        let watched = Watched { profile: Profile::from_wire(profile), titled: first };
        first = false;
        if context.output.report_line(&watched)? == Reader::Gone {
            return Ok(());
        }
    }
}
