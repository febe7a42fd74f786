//! What a node hosts, and how it runs it.

mod class;
mod system;

use edgemux_calibration::system::{Mode, Slicing};
use edgemux_calibration::terms::Objective;

pub use class::Class;

use crate::app::{App, AppId};
use crate::catalogue::{Catalogue, Kind, KindId, ModelId};

/// How a node runs what it hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// How the device is shared.
    pub mode: Mode,
    /// Whether the node's models are compiled together: on a device that reloads they then share the on-chip memory, the
    /// most frequent model first, and what finds no room there is fetched by every inference. Nothing is ever reloaded.
    pub together: bool,
}

/// An application on a node, or the part of one that the node serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// Whose.
    pub app: AppId,
    /// What it runs.
    pub model: ModelId,
    /// Requests per second that come to this node.
    pub rate: f64,
    /// Squared coefficient of variation of the time between these.
    pub arrivals: f64,
    /// What is to be kept.
    pub objective: Option<Objective>,
}

/// All that is on a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    kind: KindId,
    setting: Setting,
    tenants: Vec<Tenant>,
    /// The tenants by what they run, in the order of models.
    classes: Vec<Class>,
    at_rest: u64,
    /// The most that one of them needs on top while it runs.
    running: u64,
    /// Of the tenants, whatever their order.
    print: u64,
}

impl Setting {
    /// What nobody has chosen: the kind's own mode, every model compiled alone.
    #[must_use]
    pub fn of(kind: &Kind) -> Self {
        Self { mode: kind.device.mode, together: false }
    }

    /// All that a kind allows.
    pub fn all(kind: &Kind) -> impl Iterator<Item = Self> + '_ {
        let own = std::iter::once(kind.device.mode);
        let modes = own.chain(kind.modes.iter().copied().filter(|mode| *mode != kind.device.mode));
        modes.flat_map(|mode| {
            let together: &[bool] = if kind.reloads() { &[false, true] } else { &[false] };
            together.iter().map(move |&together| Self { mode, together })
        })
    }
}

impl Tenant {
    /// The part of `app` with this rate, at most its own. Requests go there by chance: of arrivals with a spread of c² a
    /// part of x keeps one of 1 + x(c² − 1).
    #[must_use]
    pub fn part(id: AppId, app: &App, rate: f64) -> Self {
        let share = rate / app.terms.rate.get();
        let arrivals = 1.0 + share * (app.terms.arrivals.get() - 1.0);
        Self { app: id, model: app.model, rate, arrivals, objective: app.terms.objective }
    }

    /// All of `app`.
    #[must_use]
    pub fn whole(id: AppId, app: &App) -> Self {
        Self::part(id, app, app.terms.rate.get())
    }
}

impl Load {
    /// Nothing.
    #[must_use]
    pub fn idle(kind: KindId, setting: Setting) -> Self {
        Self { kind, setting, tenants: Vec::new(), classes: Vec::new(), at_rest: 0, running: 0, print: 0 }
    }

    /// The kind of the node.
    #[must_use]
    pub fn kind(&self) -> KindId {
        self.kind
    }

    /// How it runs.
    #[must_use]
    pub fn setting(&self) -> Setting {
        self.setting
    }

    /// Who is there.
    #[must_use]
    pub fn tenants(&self) -> &[Tenant] {
        &self.tenants
    }

    /// The tenants by what they run.
    #[must_use]
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Whether nobody is there.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tenants.is_empty()
    }

    /// Whether an application, or a part of it, is there.
    #[must_use]
    pub fn hosts(&self, app: AppId) -> bool {
        self.tenants.iter().any(|tenant| tenant.app == app)
    }

    /// Memory needed, bytes: every tenant's model at rest, and on top what the hungriest needs while it runs; where
    /// several run at a time, as often as there are tenants.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let at_once = match self.setting.mode {
            Mode::Exclusive { .. } => 1,
            Mode::TimeSliced(_) | Mode::Concurrent { .. } => self.tenants.len() as u64,
        };
        self.at_rest.saturating_add(self.running.saturating_mul(at_once))
    }

    /// The same run in another way.
    #[must_use]
    pub fn set(&self, catalogue: &Catalogue, setting: Setting) -> Self {
        let mut load = Self { setting, ..self.clone() };
        if load.setting.together != self.setting.together {
            class::settle(&mut load.classes, catalogue.kind(load.kind), setting.together);
        }
        load
    }

    /// With one more. Who is there already gets the sum of both rates.
    ///
    /// The model has to run on this kind: what does not is left out.
    #[must_use]
    pub fn with(&self, catalogue: &Catalogue, tenant: Tenant) -> Self {
        let mut load = self.clone();
        load.push(catalogue, tenant);
        load
    }

    /// Takes one more in.
    pub fn push(&mut self, catalogue: &Catalogue, tenant: Tenant) {
        let kind = catalogue.kind(self.kind);
        let Some(cost) = kind.cost(tenant.model) else {
            debug_assert!(false, "a model that does not run on this kind");
            return;
        };
        if let Some(at) = self.tenants.iter().position(|other| other.app == tenant.app) {
            let before = self.tenants.remove(at);
            let rate = before.rate + tenant.rate;
            let arrivals = (before.rate * before.arrivals + tenant.rate * tenant.arrivals) / rate;
            self.tenants.push(Tenant { rate, arrivals, ..tenant });
            self.gather(kind);
            return;
        }
        self.at_rest = self.at_rest.saturating_add(cost.profile.memory.at_rest);
        self.running = self.running.max(extra(cost));
        self.print = self.print.wrapping_add(tenant.print());
        class::join(&mut self.classes, &tenant, cost);
        class::settle(&mut self.classes, kind, self.setting.together);
        self.tenants.push(tenant);
    }

    /// Without one.
    #[must_use]
    pub fn without(&self, catalogue: &Catalogue, app: AppId) -> Self {
        let mut load = self.clone();
        load.remove(catalogue, app);
        load
    }

    /// Lets one go.
    pub fn remove(&mut self, catalogue: &Catalogue, app: AppId) {
        self.tenants.retain(|tenant| tenant.app != app);
        self.gather(catalogue.kind(self.kind));
    }

    /// Everything again from the tenants.
    fn gather(&mut self, kind: &Kind) {
        self.classes.clear();
        (self.at_rest, self.running, self.print) = (0, 0, 0);
        for tenant in &self.tenants {
            let Some(cost) = kind.cost(tenant.model) else { continue };
            self.at_rest = self.at_rest.saturating_add(cost.profile.memory.at_rest);
            self.running = self.running.max(extra(cost));
            self.print = self.print.wrapping_add(tenant.print());
            class::join(&mut self.classes, tenant, cost);
        }
        class::settle(&mut self.classes, kind, self.setting.together);
    }

    /// A number that tells this load from others: equal for equal ones, and next to never for different ones.
    #[must_use]
    pub fn print(&self) -> u64 {
        let mode = match self.setting.mode {
            Mode::Exclusive { run_max } => u64::from(run_max.get()) << 2,
            Mode::Concurrent { width } => u64::from(width.get()) << 2 | 1,
            Mode::TimeSliced(Slicing::RoundRobin { quantum }) => quantum.get().to_bits() << 2 | 2,
            Mode::TimeSliced(Slicing::Driver) => 3,
        };
        let setting = scatter(mode ^ scatter(u64::from(self.setting.together)));
        scatter(self.print ^ setting ^ scatter(u64::from(self.kind.0) << 32))
    }

    /// Requests per second, all together.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.classes.iter().map(|class| class.rate).sum()
    }

    /// Share of time for which the device would be busy, in seconds of work per second: reloads as they come about in order
    /// of arrival, no speed-up.
    #[must_use]
    pub fn work(&self) -> f64 {
        let rate = self.rate();
        let alone = self.classes.len() == 1;
        let work = self.classes.iter().map(|class| {
            let reloads = if alone || self.setting.together { 0.0 } else { 1.0 - class.rate / rate };
            class.rate * (class.service.mean() + reloads * class.overhead)
        });
        work.sum()
    }
}

impl Tenant {
    fn print(&self) -> u64 {
        let latency = self.objective.map_or(0, |objective| objective.latency.get().to_bits());
        let who = u64::from(self.app.0) << 32 | u64::from(self.model.0);
        scatter(who ^ scatter(self.rate.to_bits() ^ scatter(latency ^ scatter(self.arrivals.to_bits()))))
    }
}

/// Spreads a number over all bits (the finaliser of SplitMix64).
fn scatter(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn extra(cost: &crate::catalogue::Cost) -> u64 {
    let memory = cost.profile.memory;
    memory.peak.saturating_sub(memory.at_rest)
}
