//! Measures what a model costs on a device where it was never run.
//!
//! An inference has to run to be measured. It runs as best effort, so it starts only when no guaranteed request waits;
//! where there are guaranteed tenants, the device is then left alone for many times as long, so that few of their requests
//! meet one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edgemux_calibration::profile::Profile;

use super::{LoadError, Node};
use crate::device::{Device, Purpose};
use crate::repository::ModelFile;
use crate::session::{Session, Step};
use crate::terms::Terms;

/// Share of time that a trial may take from a device with guaranteed tenants.
const SHARE: f64 = 0.05;

impl Node {
    /// Loads the model, runs it on zeros, and unloads it.
    pub(super) async fn try_out(
        &self,
        file: &ModelFile,
        device: &Arc<Device>,
        digest: &str,
    ) -> Result<Profile, LoadError> {
        let _turn = self.turn.lock().await;
        let mode = device.power_mode();
        if let Some((profile, _)) = self.desk.profiles.get(digest, &device.name, &mode) {
            // Somebody else had it tried out meanwhile.
            return Ok(profile);
        }
        tracing::info!(model = %file.model, version = file.version, device = %device.name, "trial");
        let (id, terms) = (self.next_id(), Terms::default());
        let session = Arc::new(Session::new(id, file.clone(), terms, device.name.clone(), None));
        device.measure(true);
        let measured = match device.load(&session).await {
            Ok(()) => {
                self.measure(&session, device).await;
                Ok(session.profile())
            }
            Err(problem) => Err(LoadError::Problem { model: file.model.clone(), problem }),
        };
        device.measure(false);
        if measured.is_ok() {
            session.step(Step::Drain);
            device.unload(&session).await;
            session.step(Step::Unloaded);
        }
        let profile = measured?.ok_or_else(|| LoadError::NotMeasured(file.model.clone()))?;
        // What was measured partly in one mode and partly in another is true of neither.
        if device.power_mode() == mode {
            self.desk.profiles.put(digest, &device.name, &mode, &profile, session.live().samples());
        }
        Ok(profile)
    }

    async fn measure(&self, session: &Arc<Session>, device: &Arc<Device>) {
        let limits = &self.config().calibration;
        let (begun, longest) = (Instant::now(), Duration::from_secs_f64(limits.trial_s));
        let beside = self.tenants(device, &[]).iter().any(|tenant| tenant.is_guaranteed());
        for _ in 0..limits.trial_requests {
            let started = Instant::now();
            // The device may be fenced meanwhile, or have no time to spare.
            let run = tokio::time::timeout(longest, device.run_on_zeros(session, Purpose::Trial));
            if !matches!(run.await, Ok(Ok(()))) {
                return;
            }
            let rest = if beside { started.elapsed().mul_f64(1.0 / SHARE - 1.0) } else { Duration::ZERO };
            if begun.elapsed() + rest > longest {
                return;
            }
            tokio::time::sleep(rest).await;
        }
    }
}
