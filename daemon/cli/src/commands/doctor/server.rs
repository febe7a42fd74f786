//! What the daemon says of itself.

use std::time::Instant;

use edgemux_client::{Credentials, ServerAddress};
use edgemux_proto::edgemux::v1;
use edgemux_proto::inference::repository_index_response::ModelIndex;

use super::Check;
use crate::client::Client;
use crate::format;
use crate::rpc::RpcError;

/// Reasons of a model that is not served because nobody asked for it.
const NOT_WANTED: [&str; 3] = ["", "not loaded", "unloaded"];
const LOGS: &str = "look at the daemon's log (journalctl -u edgemuxd)";

/// What came of asking the daemon.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) checks: Vec<Check>,
    /// Name and source of its devices; none if it was not reached, or is not on this machine.
    devices_here: Option<Vec<(String, String)>>,
}

// === impl Server ===

impl Server {
    pub(super) async fn look(server: &ServerAddress, credentials: &Credentials) -> Self {
        let client = match Client::connect(server, credentials).await {
            Ok(client) => client,
            Err(error) => {
                let advice = "start the daemon (systemctl start edgemuxd), or name its address with --server";
                return Self {
                    checks: vec![Check::fail("server", error.to_string(), advice)],
                    devices_here: None,
                };
            }
        };
        let mut checks = vec![live(&client, server).await, ready(&client).await, metadata(&client).await];
        let asked = client.devices().await;
        let here = asked.as_ref().ok().filter(|_| server.is_this_machine());
        let names = |device: &v1::Device| (device.name.clone(), device.source.clone());
        let devices_here = here.map(|devices| devices.iter().map(names).collect());
        checks.extend(answered("devices", asked, devices));
        checks.extend(answered("models", client.repository_index().await, models));
        checks.extend(answered("sessions", client.sessions().await, sessions));
        Self { checks, devices_here }
    }

    /// Is it a daemon of this machine that has said which devices it has?
    pub(super) fn is_here(&self) -> bool {
        self.devices_here.is_some()
    }

    /// The name of its device with this source.
    pub(super) fn device_of(&self, source: &str) -> Option<&str> {
        let mut devices = self.devices_here.iter().flatten();
        devices.find_map(|(name, of)| (of == source).then_some(name.as_str()))
    }

    #[cfg(test)]
    pub(super) fn of_devices(devices: Option<&[(&str, &str)]>) -> Self {
        let owned = |(name, source): &(&str, &str)| ((*name).to_owned(), (*source).to_owned());
        let devices_here = devices.map(|devices| devices.iter().map(owned).collect());
        Self { checks: Vec::new(), devices_here }
    }
}

/// The checks of an answer, or the one that there is none.
fn answered<T>(name: &str, answer: Result<T, RpcError>, checks: impl FnOnce(T) -> Vec<Check>) -> Vec<Check> {
    answer.map_or_else(|error| vec![Check::fail(name, error.to_string(), LOGS)], checks)
}

async fn live(client: &Client, server: &ServerAddress) -> Check {
    let start = Instant::now();
    match client.live().await {
        Ok(true) => {
            let round_trip = format::ms(Some(start.elapsed().as_secs_f64() * 1e3));
            Check::ok("server", format!("{server} is alive, round trip {round_trip} ms"))
        }
        Ok(false) => Check::fail("server", format!("{server} says that it is not alive"), LOGS),
        Err(error) => Check::fail("server", error.to_string(), "is this address an edgemuxd's?"),
    }
}

async fn ready(client: &Client) -> Check {
    match client.ready().await {
        Ok(true) => Check::ok("ready", "every model that loads at start has been dealt with"),
        Ok(false) => {
            Check::warn("ready", "models are still being loaded", "wait, then look at `edgemux sessions`")
        }
        Err(error) => Check::fail("ready", error.to_string(), LOGS),
    }
}

async fn metadata(client: &Client) -> Check {
    let ours = env!("CARGO_PKG_VERSION");
    match client.server_metadata().await {
        Ok(server) if server.version == ours => {
            Check::ok("version", format!("{} {}", server.name, server.version))
        }
        Ok(server) => Check::warn(
            "version",
            format!("the server is {} {}, this command {ours}", server.name, server.version),
            "restart the daemon after an upgrade; install both from the same release",
        ),
        Err(error) => Check::fail("version", error.to_string(), LOGS),
    }
}

fn devices(devices: Vec<v1::Device>) -> Vec<Check> {
    if devices.is_empty() {
        return vec![Check::fail(
            "devices",
            "the daemon has no device",
            "add a [[device]] to its configuration",
        )];
    }
    devices.into_iter().flat_map(device).collect()
}

fn device(device: v1::Device) -> Vec<Check> {
    let name = format!("device:{}", device.name);
    let mut checks = vec![if device.fenced {
        let finding = format!("fenced, no request reaches it: {}", device.fence_reason);
        Check::warn(name.clone(), finding, "unfence it once the reason is gone")
    } else {
        let busy = format::percent(device.utilisation);
        Check::ok(
            name.clone(),
            format!("{} sessions, {} queued, {busy} busy", device.sessions, device.queued),
        )
    }];
    // Where sessions are isolated, workers come and go with them.
    if device.workers.is_empty() && !device.isolates_sessions {
        checks.push(Check::fail(
            format!("runtimes:{}", device.name),
            "no runtime serves this device",
            "install one, or name it in the device's `runtimes`; the daemon's log says what it tried",
        ));
    }
    checks.extend(device.workers.iter().map(|of| worker(&device.name, of)));
    checks
}

fn worker(device: &str, worker: &v1::Worker) -> Check {
    let name = format!("worker:{device}/{}", worker.runtime);
    let finding =
        format!("{}, version {}, {} restarts", worker.state, worker.runtime_version, worker.restarts);
    let wait = "wait, then ask again; the daemon's log has a worker's last words (journalctl -u edgemuxd)";
    match (worker.pid, worker.state.as_str()) {
        (0, "starting") => Check::warn(name, finding, wait),
        (0, _) => Check::fail(name, finding, wait),
        _ if worker.restarts > 0 => {
            let advice =
                "the worker has died before: `edgemux sessions` shows the model that is blamed for it";
            Check::warn(name, finding, advice)
        }
        _ => Check::ok(name, finding),
    }
}

fn models(models: Vec<ModelIndex>) -> Vec<Check> {
    let broken = |model: &&ModelIndex| model.state != "READY" && !NOT_WANTED.contains(&model.reason.as_str());
    let mut checks: Vec<Check> = models
        .iter()
        .filter(broken)
        .map(|model| {
            let name = format!("model:{}/{}", model.name, model.version);
            let advice = format!("mend or replace its file, then `edgemux load {}`", model.name);
            Check::fail(name, format!("{}: {}", model.state, model.reason), advice)
        })
        .collect();
    if checks.is_empty() {
        let ready = models.iter().filter(|model| model.state == "READY").count();
        checks.push(Check::ok("models", format!("{} in the repository, {ready} ready", models.len())));
    }
    checks
}

/// Sessions that failed are in the models' list too; here is what else may be wrong with one.
fn sessions(sessions: Vec<v1::Session>) -> Vec<Check> {
    let crashing = sessions.iter().filter(|session| session.crashes > 0);
    crashing
        .map(|session| {
            let finding = format!("its worker has crashed {} times", session.crashes);
            Check::warn(
                format!("session:{}", session.id),
                finding,
                "after three crashes it is taken out of service",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    fn entry(state: &str, reason: &str) -> ModelIndex {
        ModelIndex { name: "m".into(), version: "1".into(), state: state.into(), reason: reason.into() }
    }

    #[test]
    fn a_model_that_failed_is_a_failure_and_one_that_is_not_loaded_is_not() {
        let fine =
            models(vec![entry("READY", ""), entry("UNAVAILABLE", "unloaded"), entry("UNAVAILABLE", "")]);
        assert_eq!(fine, [Check::ok("models", "3 in the repository, 1 ready")]);
        let broken = models(vec![entry("UNAVAILABLE", "no such operator"), entry("READY", "")]);
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].grade, Grade::Fail);
        assert!(broken[0].finding.contains("no such operator"));
    }

    #[test]
    fn devices_without_runtimes_fenced_ones_and_crashing_workers_are_noticed() {
        let of = |pid, restarts, state: &str| v1::Worker {
            pid,
            restarts,
            state: state.into(),
            ..Default::default()
        };
        let grades =
            |device: v1::Device| devices(vec![device]).iter().map(|check| check.grade).collect::<Vec<_>>();
        let with = |workers| v1::Device { workers, ..Default::default() };
        assert_eq!(grades(with(vec![of(7, 0, "up")])), [Grade::Ok, Grade::Ok]);
        assert_eq!(grades(with(vec![of(7, 2, "up")])), [Grade::Ok, Grade::Warn]);
        assert_eq!(grades(with(vec![of(0, 0, "starting")])), [Grade::Ok, Grade::Warn]);
        assert_eq!(grades(with(vec![of(0, 3, "died: signal 11")])), [Grade::Ok, Grade::Fail]);
        assert_eq!(grades(with(vec![])), [Grade::Ok, Grade::Fail]);
        let fenced = v1::Device { fenced: true, ..with(vec![of(7, 0, "up")]) };
        assert_eq!(grades(fenced), [Grade::Warn, Grade::Ok]);
        assert_eq!(devices(vec![])[0].grade, Grade::Fail);
    }
}
