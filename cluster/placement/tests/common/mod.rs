//! Small clusters for tests: two edgeTPUs' worth of models, a graphics processor, and a processor of four cores.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "what cannot be made here fails the test")]

use std::num::NonZeroU32;

use edgemux_calibration::profile::{Memory, Profile};
use edgemux_calibration::system::{Device, DeviceKind, Host, Mode, SpeedUp};
use edgemux_calibration::terms::{Objective, Statistic, Terms};
use edgemux_calibration::units::{Hertz, Quantile, Scv, Seconds};
use edgemux_placement::app::{App, AppId};
use edgemux_placement::assess::{Corrected, Limits, Paper as PaperJudge, Undecided};
use edgemux_placement::catalogue::{Catalogue, Cost, Kind, KindId, ModelId};
use edgemux_placement::cluster::Cluster;
use edgemux_placement::policy::ours::Options;
use edgemux_placement::policy::{Fit, Knapsack, Order, Ours, Paper, Policy};
use proptest::prelude::*;

pub(crate) const EDGETPU: KindId = KindId(0);
pub(crate) const GPU: KindId = KindId(1);
pub(crate) const CPU: KindId = KindId(2);
pub(crate) const MODELS: u32 = 4;

pub(crate) fn catalogue() -> Catalogue {
    let cores = NonZeroU32::new(4).unwrap();
    let shared = Mode::Concurrent { width: NonZeroU32::MAX };
    let edgetpu =
        Device { on_chip: 8 << 20, memory: 600 << 20, ..Device::new("edgetpu", DeviceKind::EdgeTpu) };
    let gpu = Device { mode: shared, memory: 900 << 20, ..Device::new("gpu", DeviceKind::Gpu) };
    let cpu = Device {
        mode: Mode::Concurrent { width: cores },
        speed_up: SpeedUp::cores(cores),
        memory: 2 << 30,
        ..Device::new("cpu", DeviceKind::Cpu)
    };
    // Milliseconds alone and for a reload, megabytes at rest and on the chip.
    let cost = |ms: f64, reload: f64, mb: u64, on_chip: u64| {
        let bytes = mb << 20;
        let profile = Profile::of(Seconds::from_ms(ms).unwrap(), Scv::new(0.0009).unwrap());
        let profile = Profile { memory: Memory { at_rest: bytes, peak: bytes + (8 << 20) }, ..profile };
        let profile = match reload {
            0.0 => profile,
            ms => profile.with_reload(Seconds::from_ms(ms).unwrap(), None),
        };
        Some(Cost { profile, on_chip: on_chip << 20 })
    };
    let models = ["small", "medium", "large", "gpu-only"].map(str::to_owned).to_vec();
    let kinds = vec![
        Kind {
            name: "edgetpu".into(),
            modes: vec![edgetpu.mode],
            device: edgetpu,
            host: Host::idle(cores),
            costs: vec![cost(5.0, 13.0, 60, 4), cost(18.0, 23.0, 90, 7), cost(60.0, 19.0, 120, 6), None],
        },
        Kind {
            name: "gpu".into(),
            modes: vec![shared, Mode::FIRST_COME],
            device: gpu,
            host: Host::idle(cores),
            costs: vec![
                cost(13.0, 0.0, 60, 0),
                cost(20.0, 0.0, 90, 0),
                cost(30.0, 0.0, 120, 0),
                cost(15.0, 0.0, 100, 0),
            ],
        },
        Kind {
            name: "cpu".into(),
            modes: vec![],
            device: cpu,
            host: Host::idle(cores),
            costs: vec![cost(40.0, 0.0, 60, 0), cost(90.0, 0.0, 90, 0), None, None],
        },
    ];
    let catalogue = Catalogue { models, kinds };
    catalogue.check().unwrap();
    catalogue
}

pub(crate) fn kinds() -> Vec<KindId> {
    vec![EDGETPU, EDGETPU, GPU, GPU, CPU]
}

/// An application: which model, how often, how long it may take over the model's longest service, of which statistic.
pub(crate) fn app(model: u32, rate: f64, latency_ms: f64, p99: bool) -> App {
    let statistic = if p99 { Statistic::Quantile(Quantile::P99) } else { Statistic::Mean };
    let objective = Objective { statistic, latency: Seconds::from_ms(latency_ms).unwrap() };
    let terms = Terms::poisson(Hertz::new(rate).unwrap(), Some(objective));
    App { name: format!("app-{model}"), model: ModelId(model), terms }
}

prop_compose! {
    pub(crate) fn any_app()(model in 0..MODELS, rate in 0.2..8.0, latency_ms in 60.0..900.0, p99 in any::<bool>()) -> App {
        app(model, rate, latency_ms, p99)
    }
}

pub(crate) fn apps(most: usize) -> impl Strategy<Value = Vec<App>> {
    prop::collection::vec(any_app(), 1..most)
}

pub(crate) fn ours() -> Ours {
    Ours::new(Options { parts: 3, ..Options::default() })
}

pub(crate) fn policies() -> Vec<Box<dyn Policy>> {
    let mut policies: Vec<Box<dyn Policy>> = vec![Box::new(ours())];
    for fit in [Fit::First, Fit::Best, Fit::Worst] {
        for utilisation in [false, true] {
            policies.push(Box::new(Knapsack { fit, utilisation, limits: Limits::PAPER }));
        }
    }
    for order in [Order::DepthFirst, Order::BreadthFirst, Order::Heterogeneous] {
        let judge = PaperJudge { limits: Limits::PAPER };
        policies.push(Box::new(Paper { order, judge, formulas: "paper" }));
        policies.push(Box::new(Paper { order, judge: corrected(0.8), formulas: "corrected" }));
    }
    policies
}

pub(crate) fn corrected(utilisation: f64) -> Corrected {
    Corrected::new(Limits { memory: 0.8, utilisation }, Undecided::Refuse)
}

/// All of them announced, and placed one after the other where there is room.
pub(crate) fn fill(cluster: &mut Cluster, policy: &mut dyn Policy, apps: &[App]) -> Vec<AppId> {
    let mut hosted = Vec::new();
    for app in apps {
        let id = cluster.announce(app.clone());
        if let Ok(plan) = policy.place(cluster, id) {
            cluster.apply(&plan);
            hosted.push(id);
        }
    }
    hosted
}
