//! By the formulas of Liang, Hanafy, Ali-Eldin and Shenoy as they were published. They know means only: an objective on a
//! quantile is taken for one on the mean.

use edgemux_calibration::queueing::fcfs::Class;
use edgemux_calibration::queueing::paper;
use edgemux_calibration::system::DeviceKind;

use super::{Assess, Breach, Limits, Outlook};
use crate::catalogue::Catalogue;
use crate::load::Load;

/// The paper's judgement.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// How full a node may be.
    pub limits: Limits,
}

// === impl Assess for Paper ===

impl Assess for Paper {
    fn assess(&mut self, catalogue: &Catalogue, load: &Load) -> Result<Outlook, Breach> {
        self.limits.check_memory(catalogue, load)?;
        let kind = catalogue.kind(load.kind());
        let cores = kind.host.cores.get();
        let servers = if kind.device.kind == DeviceKind::Cpu { f64::from(cores) } else { 1.0 };
        let utilisation = load.work() / servers;
        if utilisation > self.limits.utilisation {
            return Err(Breach::Utilisation);
        }
        let rate = load.rate();
        let classes: Vec<Class<'_>> = load
            .classes()
            .iter()
            .enumerate()
            .map(|(group, class)| Class {
                rate: class.rate,
                service: &class.service,
                overhead: class.overhead,
                group,
            })
            .collect();
        let mut slack = 1.0_f64;
        for (at, class) in load.classes().iter().enumerate() {
            let latency = match kind.device.kind {
                DeviceKind::EdgeTpu => paper::edgetpu_sojourn(&classes, at),
                DeviceKind::Gpu => paper::gpu_sojourn(&classes, at),
                DeviceKind::Cpu => {
                    let mean = load.work() / rate;
                    paper::cpu_sojourn(cores, rate, mean) + class.service.mean() - mean
                }
            };
            for objective in &class.objectives {
                slack = slack.min(1.0 - latency / objective.latency.get());
            }
        }
        if slack >= 0.0 { Ok(Outlook { utilisation, slack }) } else { Err(Breach::Objective) }
    }
}
