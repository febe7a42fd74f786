//! A node's load as `calibration` sees it.

use edgemux_calibration::profile::{Group, Profile, Reload};
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::{Device, Session, System};
use edgemux_calibration::terms::{Priority, Terms};
use edgemux_calibration::units::{Hertz, RangeError, Scv, Seconds};

use super::{Class, Load, Tenant};
use crate::catalogue::{Catalogue, ModelId};

impl Load {
    /// One session for each class, in their order: what the formulas need, which see no difference.
    ///
    /// # Errors
    /// Rates out of range.
    pub fn merged(&self, catalogue: &Catalogue) -> Result<System, RangeError> {
        let sessions = self
            .classes
            .iter()
            .map(|class| self.session(catalogue, class, Rate { hz: class.rate, arrivals: class.arrivals }));
        self.system(catalogue, sessions.collect::<Result<_, _>>()?)
    }

    /// What a simulation needs, and which of its sessions each tenant is, in their order.
    ///
    /// Of Poisson arrivals a class is as good as its tenants, and gives them all the same latency. Bursts of several do not
    /// come at the same time, so there each tenant is a session; but not where models are reloaded one by one: two
    /// sessions would have parameters of their own there, and tenants of one model have not. The merged arrivals are then
    /// of the tenants' average spread, which is a little more than theirs.
    ///
    /// # Errors
    /// Rates out of range.
    pub fn simulated(&self, catalogue: &Catalogue) -> Result<(System, Vec<usize>), RangeError> {
        let class = |tenant: &Tenant| self.classes.binary_search_by_key(&tenant.model, |class| class.model);
        let of: Vec<usize> = self.tenants.iter().filter_map(|tenant| class(tenant).ok()).collect();
        let poisson = self.tenants.iter().all(|tenant| tenant.arrivals == 1.0);
        if poisson || (catalogue.kind(self.kind).reloads() && !self.setting.together) {
            return Ok((self.merged(catalogue)?, of));
        }
        let sessions = self.tenants.iter().zip(&of).map(|(tenant, &class)| {
            let rate = Rate { hz: tenant.rate, arrivals: tenant.arrivals };
            self.session(catalogue, &self.classes[class], rate)
        });
        let system = self.system(catalogue, sessions.collect::<Result<_, _>>()?)?;
        Ok((system, (0..self.tenants.len()).collect()))
    }

    fn system(&self, catalogue: &Catalogue, sessions: Vec<Session>) -> Result<System, RangeError> {
        let kind = catalogue.kind(self.kind);
        let device = Device { mode: self.setting.mode, ..kind.device.clone() };
        Ok(System { device, host: kind.host, sessions })
    }

    fn session(&self, catalogue: &Catalogue, class: &Class, rate: Rate) -> Result<Session, RangeError> {
        let profile = match catalogue.kind(self.kind).cost(class.model) {
            Some(cost) => cost.profile.clone(),
            None => Profile::new(ServiceTime::constant(Seconds::ZERO)),
        };
        let group = Some(self.group(class.model));
        let profile = Profile {
            service: class.service.clone(),
            reload: (class.overhead > 0.0 || profile.reload.is_some())
                .then(|| Reload { overhead: Seconds::clamped(class.overhead), group }),
            ..profile
        };
        let terms = Terms {
            rate: Hertz::new(rate.hz)?,
            burst: 1,
            arrivals: Scv::new(rate.arrivals)?,
            objective: None,
            priority: Priority::default(),
        };
        Ok(Session { name: String::new(), profile, terms })
    }

    /// Tenants of one model keep each other's parameters, as do all where their models are compiled together.
    fn group(&self, model: ModelId) -> Group {
        Group(if self.setting.together { 0 } else { model.0 })
    }
}

#[derive(Clone, Copy)]
struct Rate {
    hz: f64,
    arrivals: f64,
}
