//! Admits who may come in, drives them as they declared, and sets what they saw against what was predicted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use edgemux_client::{Credentials, ServerAddress};

use super::node::{APPLICANTS, Applicant};
use super::report::{Demo, Tenant};
use crate::client::Client;
use crate::commands::admit::{Admission, Asked, admit};
use crate::commands::load_test;
use crate::error::Error;
use crate::generator::{ArrivalKind, Demand, Limits, LoadResult, Recorder, Sender, Target};
use crate::model::ModelInfo;
use crate::output::{Output, Report};
use crate::view::{Device, Latency};

const WARM_UP_REQUESTS: u64 = 5;
const TIMEOUT: Duration = Duration::from_secs(30);
const OUTSTANDING_MAX: usize = 1000;

/// Everyone who was admitted, as a client of the daemon.
struct Clients<'a> {
    seed: u64,
    address: &'a ServerAddress,
    admitted: Vec<&'static Applicant>,
}

pub(super) async fn tell(
    seconds: f64,
    seed: u64,
    client: &Client,
    address: &ServerAddress,
    output: &Output,
) -> Result<Demo, Error> {
    let (mut admissions, mut admitted) = (Vec::new(), Vec::new());
    for applicant in &APPLICANTS {
        let admission = ask(applicant, client).await?;
        output.note(&format!("\n$ {}\n{}", applicant.command(), admission.text().trim_end()))?;
        if admission.session.is_some() {
            admitted.push(applicant);
        }
        admissions.push(admission);
    }
    let predictions = predictions(&admissions);
    output.note(&format!(
        "\nPoisson clients over gRPC send each what it declared, for {seconds} s (seed {seed})"
    ))?;
    let clients = Clients { seed, address, admitted };
    let seen = clients.drive(seconds).await?;
    let devices = client.devices().await?.into_iter().map(Device::from_wire).collect();
    let tenants = seen.into_iter().zip(&clients.admitted).map(|((run, recorder), applicant)| Tenant {
        latency_ms: applicant.latency_ms,
        quantile: applicant.quantile,
        predicted: predictions.get(&format!("{}/{}", run.model, run.version)).copied(),
        objective_kept: recorder.share_within(applicant.latency_ms),
        run,
    });
    Ok(Demo::new(seconds, seed, tenants.collect(), admissions, devices))
}

async fn ask(applicant: &Applicant, client: &Client) -> Result<Admission, Error> {
    let asked = Asked {
        model: applicant.name.to_owned(),
        version: None,
        session_name: None,
        digest: None,
        terms: applicant.terms(),
        device_kinds: Vec::new(),
        dry_run: false,
        ttl_s: None,
    };
    admit(client, asked).await
}

/// What each session was last told that it would see: with everybody there who was admitted.
fn predictions(admissions: &[Admission]) -> BTreeMap<String, Latency> {
    let admitted = admissions.iter().filter(|admission| admission.session.is_some());
    let tenants = admitted.flat_map(|admission| &admission.verdict.tenants);
    tenants.filter_map(|tenant| Some((tenant.session.clone(), tenant.after?))).collect()
}

// === impl Clients ===

impl Clients<'_> {
    /// Sends to all at once for so long.
    async fn drive(&self, seconds: f64) -> Result<Vec<(LoadResult, Arc<Recorder>)>, Error> {
        let (mut targets, mut recorders) = (Vec::new(), Vec::new());
        for (number, applicant) in (0..).zip(&self.admitted) {
            let (client, target) = self.target(applicant, number).await?;
            recorders.push(Arc::clone(&target.recorder));
            targets.push((client, target));
        }
        let duration = Some(Duration::from_secs_f64(seconds));
        let limits = Limits { requests: None, duration, outstanding: OUTSTANDING_MAX };
        let (runs, interrupted) = load_test::drive(targets, limits).await?;
        if interrupted {
            return Err(Error::Interrupted);
        }
        Ok(runs.into_iter().zip(recorders).collect())
    }

    /// Each has a connection of its own.
    async fn target(&self, applicant: &Applicant, number: u64) -> Result<(Client, Target), Error> {
        let client = Client::connect(self.address, &Credentials::default()).await?;
        let info = ModelInfo::fetch(&client, applicant.name, "").await?;
        let demand = Demand::Open { rate_hz: applicant.rate_hz, arrivals: ArrivalKind::Poisson };
        let sender = Sender::Unary { client: client.clone(), timeout: TIMEOUT };
        let seed = self.seed.wrapping_add(number);
        let target = Target::new(info, demand, &BTreeMap::new(), seed, sender)?;
        target.warm_up(WARM_UP_REQUESTS).await?;
        Ok((client, target))
    }
}
