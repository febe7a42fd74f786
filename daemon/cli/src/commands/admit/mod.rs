//! `edgemux admit`: whether a model may run under given terms, what everyone would see, and its loading if it may.

mod report;

use std::time::Instant;

use edgemux_proto::edgemux::v1;

pub(super) use self::report::Admission;
use super::terms::{DeviceKind, TermsArgs};
use super::{Context, Outcome, values};
use crate::client::Client;
use crate::error::Error;
use crate::generator::EndSignals;
use crate::progress::while_waiting;
use crate::rpc::RpcError;
use crate::view::{Session, Verdict};

const NOTES: &str = "\
Examples:
  edgemux admit detector --rate 20 --latency 50 --quantile 0.99 --dry-run
  edgemux admit detector/3 --rate 20 --latency 50 --quantile 0.99 --device-kind gpu
  edgemux admit detector --name shop.camera --rate 5 --latency 80    a second one beside it, called `shop.camera`
  edgemux admit logger                           best effort: in what the others leave

The daemon predicts the latency of every session with this one beside them, and admits it only if every objective still
holds. Without --dry-run an admitted model is then loaded and warmed, which may take minutes; if that fails, or is
interrupted, its place is given back. A rate without a latency only limits the rate: no latency is promised.

Exit codes: 0 admitted (and ready), 3 not admitted, 1 failed, 2 wrong usage.";

/// Ask whether a model may run under given terms, and load it if it may
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The model in the repository, and its version [default: the newest]
    #[arg(value_name = "MODEL[/VERSION]", value_parser = values::model_version)]
    model: (String, String),
    #[command(flatten)]
    terms: TermsArgs,
    /// A kind of device that it may run on; may be given several times [default: any]
    #[arg(long, value_enum, value_name = "KIND", help_heading = "Terms")]
    device_kind: Vec<DeviceKind>,
    /// What the session is called and asked for, so that several of one model serve side by side under terms of their own
    /// [default: the model's name]
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    name: Option<String>,
    /// SHA-256 of the model's file, hexadecimal: another file is refused [default: any]
    #[arg(long, value_name = "SHA256", conflicts_with = "dry_run")]
    digest: Option<String>,
    /// Only ask: nothing is held, nothing is loaded
    #[arg(long)]
    dry_run: bool,
    /// How long the daemon holds the place should this command die before it loads, in seconds: up to 86400 [default: the daemon's]
    #[arg(long, value_name = "S", value_parser = values::ttl, conflicts_with = "dry_run")]
    ttl: Option<f64>,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) model: String,
    /// Absent: the newest.
    pub(super) version: Option<String>,
    /// Absent: the model's.
    pub(super) session_name: Option<String>,
    /// Absent: any file.
    pub(super) digest: Option<String>,
    pub(super) terms: TermsArgs,
    pub(super) device_kinds: Vec<DeviceKind>,
    /// Nothing is held, nothing is loaded.
    pub(super) dry_run: bool,
    /// Absent: the daemon's own.
    pub(super) ttl_s: Option<f64>,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let (model, version) = args.model;
    let asked = Asked {
        model,
        version: Some(version).filter(|version| !version.is_empty()),
        session_name: args.name,
        digest: args.digest,
        terms: args.terms,
        device_kinds: args.device_kind,
        dry_run: args.dry_run,
        ttl_s: args.ttl,
    };
    let admission = admit(&context.connect().await?, asked).await?;
    context.output.report(&admission)?;
    Ok(if admission.verdict.admitted { Outcome::Done } else { Outcome::NotAdmitted })
}

/// Asks, and unless it is a dry run loads what is admitted.
pub(super) async fn admit(client: &Client, asked: Asked) -> Result<Admission, Error> {
    let Asked { model, version, session_name, digest, terms, device_kinds, dry_run, ttl_s } = asked;
    let guarantee_asked = terms.is_guaranteed();
    let terms = terms.wire(&model, version.as_deref().unwrap_or_default(), &device_kinds);
    let asking = format!("asking whether {model} may run");
    // From before a place is held: a signal then is never this command's silent end.
    let mut signals = EndSignals::catch()?;
    let ask = async {
        if dry_run {
            return Ok((while_waiting(&asking, client.evaluate(terms)).await?, String::new()));
        }
        let request = v1::ReserveRequest {
            uid: format!("edgemux-{}-{:016x}", std::process::id(), rand::random::<u64>()),
            generation: 1,
            terms: Some(terms),
            ttl_s: ttl_s.unwrap_or_default(),
            session_name: session_name.unwrap_or_default(),
            model_digest: digest.unwrap_or_default(),
        };
        while_waiting(&asking, client.reserve(request)).await
    };
    let (verdict, reservation) = tokio::select! {
        answer = ask => answer?,
        () = signals.come() => return Err(Error::Interrupted),
    };
    let (mut session, mut load_ms) = (None, None);
    if verdict.admitted && !dry_run {
        let start = Instant::now();
        session = Some(Session::from_wire(commit(client, &model, &reservation, &mut signals).await?));
        load_ms = Some(start.elapsed().as_secs_f64() * 1e3);
    }
    let verdict = Verdict::from_wire(verdict);
    Ok(Admission { model, version, dry_run, guarantee_asked, verdict, session, load_ms })
}

/// Loads into the reserved place, or gives it back.
async fn commit(
    client: &Client,
    model: &str,
    reservation: &str,
    signals: &mut EndSignals,
) -> Result<v1::Session, Error> {
    let loading = format!("admitted; loading and warming {model}");
    let committed: Result<v1::Session, Error> = tokio::select! {
        session = while_waiting(&loading, client.commit(model, reservation)) => session.map_err(Error::Rpc),
        () = signals.come() => Err(Error::Interrupted),
    };
    match committed {
        Ok(session) => Ok(session),
        Err(cause) => Err(given_back(cause, client.release(reservation).await)),
    }
}

/// The place expires by itself where it could not be given back: the first failure is the one to tell.
fn given_back(cause: Error, released: Result<(), RpcError>) -> Error {
    match released {
        Ok(()) => cause,
        Err(error) => Error::NotReleased { cause: Box::new(cause), error },
    }
}
