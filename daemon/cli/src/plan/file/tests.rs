//! What a plan file may say, and how each mistake in one is answered.

use edgemux_calibration::system::{DeviceKind, Mode, Slicing};
use edgemux_calibration::terms::Statistic;

use super::parse;
use crate::plan::Example;
use crate::plan::node::Node;

/// Line 1 is empty, so that the numbers below are those of an editor.
const GOOD: &str = "
[host]
cores = 4
[[device]]
name = \"tpu0\"
kind = \"edgetpu\"
multiplexing = \"exclusive\"
[[device]]
name = \"gpu0\"
kind = \"gpu\"
multiplexing = \"auto\"
speed-up = [1.0, 1.5]
[[model]]
name = \"small\"
[model.edgetpu]
service-ms = 5
group = \"both\"
reload-ms = 10
[model.gpu]
service-ms = 2
memory-mb = 300
[[application]]
name = \"camera\"
model = \"small\"
rate-hz = 10
latency-ms = 50
quantile = 0.99
";

fn good() -> Node {
    parse("good.toml", GOOD).unwrap()
}

/// What is said where one text is replaced by another.
fn said(from: &str, to: &str) -> String {
    let text = GOOD.replacen(from, to, 1);
    assert_ne!(text, GOOD, "{from}");
    let error = parse("bad.toml", &text).expect_err(to).to_string();
    assert!(!error.contains('\n'), "one line: {error}");
    error
}

#[test]
fn a_file_becomes_what_it_says() {
    let node = good();
    assert_eq!(node.host.cores.get(), 4);
    let [tpu, gpu] = node.devices.as_slice() else { panic!("two devices") };
    assert_eq!(tpu.device.on_chip, 8 << 20);
    assert_eq!(tpu.modes, [Mode::FIRST_COME]);
    assert_eq!(gpu.device.speed_up.at(2), 1.5);
    assert_eq!(gpu.modes.len(), 3, "auto: every way of sharing");
    assert!(gpu.modes.contains(&Mode::Concurrent { width: 2.try_into().unwrap() }), "as wide as it gains");
    let [camera] = node.applications.as_slice() else { panic!("one application") };
    assert_eq!(camera.allowed, [0, 1]);
    let session = camera.session(DeviceKind::EdgeTpu).unwrap();
    assert_eq!(session.profile.service.mean(), 0.005);
    assert_eq!(session.profile.reload.unwrap().overhead.ms(), 10.0);
    assert_eq!(camera.session(DeviceKind::Gpu).unwrap().profile.memory.peak, 300_000_000);
    let objective = camera.terms.objective.unwrap();
    assert!(matches!(objective.statistic, Statistic::Quantile(q) if q.get() == 0.99));
    assert_eq!(camera.terms.arrivals.get(), 1.0, "Poisson unless it says otherwise");
}

#[test]
fn the_shipped_examples_are_plans() {
    for example in [Example::Coral, Example::JetsonNano] {
        assert!(parse("example.toml", example.text()).unwrap().applications.len() > 3);
    }
}

#[test]
fn every_number_out_of_its_range_is_refused_with_line_and_key() {
    let rate = "bad.toml:25: rate-hz = ";
    for (given, shown) in [("nan", "NaN"), ("inf", "inf"), ("-1", "-1"), ("0", "0"), ("1e300", "= 1e300 is")]
    {
        let error = said("rate-hz = 10", &format!("rate-hz = {given}"));
        assert!(error.starts_with(rate) && error.contains(shown), "{error}");
        assert!(error.ends_with("is no rate: 0.000001 to 1000000 per second"), "{error}");
    }
    for (from, to, error) in [
        ("cores = 4", "cores = 0", "bad.toml:3: cores = 0: a whole number from 1 to 4096"),
        (
            "cores = 4",
            "cores = 4\nbusy-cores = 5",
            "bad.toml:4: busy-cores = 5 is no number of cores: 0 to `cores`",
        ),
        (
            "service-ms = 5",
            "service-ms = 0",
            "bad.toml:16: service-ms = 0 is no length of time: above 0, up to 1000000000 ms",
        ),
        (
            "service-ms = 5",
            "service-ms = -3",
            "bad.toml:16: service-ms = -3 is no length of time: above 0, up to 1000000000 ms",
        ),
        (
            "service-ms = 5",
            "service-ms = inf",
            "bad.toml:16: service-ms = inf is no length of time: above 0, up to 1000000000 ms",
        ),
        (
            "service-ms = 5",
            "service-ms = 5\nservice-cv = -0.1",
            "bad.toml:17: service-cv = -0.1 is no coefficient of variation: 0 to 100",
        ),
        (
            "reload-ms = 10",
            "reload-ms = nan",
            "bad.toml:18: reload-ms = NaN is no length of time: 0 to 1000000000 ms",
        ),
        (
            "memory-mb = 300",
            "memory-mb = -1",
            "bad.toml:21: memory-mb = -1 is no size: 0 to 1000000000 MB of 10⁶ bytes",
        ),
        (
            "memory-mb = 300",
            "memory-mb = 300\nuncertainty = 2",
            "bad.toml:22: uncertainty = 2 is no relative standard error: 0 to 1",
        ),
        ("quantile = 0.99", "quantile = 1", "bad.toml:27: quantile = 1 is no quantile: 0.000001 to 0.999999"),
        (
            "latency-ms = 50",
            "latency-ms = 0",
            "bad.toml:26: latency-ms = 0 is no length of time: above 0, up to 1000000000 ms",
        ),
        (
            "latency-ms = 50",
            "latency-ms = 50\narrivals-cv2 = -1",
            "bad.toml:27: arrivals-cv2 = -1 is no squared coefficient of variation: 0 to 10000",
        ),
        (
            "latency-ms = 50",
            "latency-ms = 50\nburst = 0",
            "bad.toml:27: burst = 0: a whole number from 1 to 1000000",
        ),
        (
            "\"auto\"",
            "\"auto\"\nbus-mb-per-s = 0",
            "bad.toml:12: bus-mb-per-s = 0 is no bus bandwidth: 0.000001 to 10000000 MB/s",
        ),
        (
            "\"auto\"",
            "\"auto\"\nquantum-ms = 0",
            "bad.toml:12: quantum-ms = 0 is no length of time: above 0, up to 1000000000 ms",
        ),
    ] {
        assert_eq!(said(from, to), error);
    }
    assert!(
        said("[1.0, 1.5]", "[1.0, 2.5]").starts_with("bad.toml:12: speed-up: speed-up curve: φ(2) = 2.5")
    );
}

#[test]
fn what_the_file_cannot_mean_is_refused() {
    for (from, to, error) in [
        ("rate-hz = 10", "rate-hz = 10\nlatency = 5", "bad.toml:26: unknown field `latency`"),
        ("rate-hz = 10", "", "bad.toml:22: missing field `rate-hz`"),
        (
            "rate-hz = 10",
            "rate-hz = \"fast\"",
            "bad.toml:25: rate-hz: invalid type: string \"fast\", expected a number",
        ),
        ("\"gpu\"", "\"fpga\"", "bad.toml:10: kind: unknown variant `fpga`"),
        ("rate-hz = 10", "rate-hz = ", "bad.toml:25: "),
        (
            "model = \"small\"",
            "model = \"large\"",
            "bad.toml:24: model = \"large\": there is no model of this name, only small",
        ),
        (
            "rate-hz = 10",
            "rate-hz = 10\ndevice = \"tpu1\"",
            "bad.toml:26: device = \"tpu1\": there is no device of this name, only tpu0 and gpu0",
        ),
        (
            "name = \"gpu0\"",
            "name = \"tpu0\"",
            "bad.toml:9: name = \"tpu0\": line 5 has a device of this name",
        ),
        ("name = \"gpu0\"", "name = \"a b\"", "bad.toml:9: name = \"a b\": a name is 1 to 64 letters"),
        (
            "name = \"camera\"",
            "name = \"a\\n\\u001b[31m\"",
            "bad.toml:23: name = \"a\\n\\u{1b}[31m\": a name is",
        ),
        ("latency-ms = 50", "", "bad.toml:27: quantile without latency-ms"),
        (
            "rate-hz = 10",
            "rate-hz = 10\narrivals = \"poisson\"\narrivals-cv2 = 1",
            "bad.toml:26: both arrivals and arrivals-cv2",
        ),
        ("memory-mb = 300", "memory-mb = 300\npeak-mb = 200", "bad.toml:22: peak-mb below memory-mb"),
        ("\"exclusive\"", "\"concurrent\"", "bad.toml:7: multiplexing = \"concurrent\" on an edgetpu"),
        (
            "\"exclusive\"",
            "\"time-sliced\"\nslicing = \"driver\"",
            "bad.toml:8: slicing = \"driver\" on an edgetpu",
        ),
        (
            "\"auto\"\nspeed-up = [1.0, 1.5]",
            "\"concurrent\"",
            "bad.toml:11: multiplexing = \"concurrent\" without `width`",
        ),
        ("[[application]]", "[[applications]]", "bad.toml:22: unknown field `applications`"),
    ] {
        let said = said(from, to);
        assert!(said.starts_with(error), "{said}\n{error}");
    }
    let none = parse("bad.toml", "[host]\ncores = 1\n").unwrap_err().to_string();
    assert_eq!(none, "bad.toml:1: no [[device]]: a plan needs at least one");
}

#[test]
fn an_application_may_choose_kinds_and_one_device() {
    for (chosen, allowed) in [
        ("devices = [\"gpu\"]", &[1][..]),
        ("devices = [\"gpu\", \"edgetpu\"]", &[0, 1]),
        ("device = \"tpu0\"", &[0]),
        ("device = \"tpu0\"\ndevices = [\"gpu\"]", &[]),
    ] {
        let node = parse("f", &GOOD.replace("rate-hz = 10", &format!("rate-hz = 10\n{chosen}"))).unwrap();
        assert_eq!(node.applications[0].allowed, allowed, "{chosen}");
    }
}

#[test]
fn modes_follow_the_file() {
    let sliced = GOOD.replace("\"auto\"", "\"time-sliced\"\nslicing = \"driver\"");
    assert_eq!(parse("f", &sliced).unwrap().devices[1].modes, [Mode::TimeSliced(Slicing::Driver)]);
    let sliced = GOOD.replace("\"auto\"", "\"time-sliced\"\nquantum-ms = 4");
    let modes = &parse("f", &sliced).unwrap().devices[1].modes;
    assert!(
        matches!(modes.as_slice(), [Mode::TimeSliced(Slicing::RoundRobin { quantum })] if quantum.ms() == 4.0)
    );
}
