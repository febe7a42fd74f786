//! `docs/metrics.md` lists what `/metrics` emits: every name with its type and its labels, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use edgemux_proto::edgemux::v1::Terms;
use edgemux_tests::{Emulated, PATIENCE, Poisson, Setup, echo, eventually, get, terms};

/// An emulated GPU, and the processor, whose temperature and clock are those of a made-up machine.
const DEVICES: &str = "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\n\
    [[device]]\nname = 'cpu0'\nkind = 'cpu'\nruntimes = ['onnx']\nthreads = 1\n";

/// Type and labels by name.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

fn listed() -> Metrics {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed = rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [name, kind, labels, _unit, meaning, ""] = cells[..] else {
            panic!("a row of other cells: {row}")
        };
        assert!(!meaning.is_empty(), "{row}");
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        (name.trim_end_matches('`').to_owned(), (kind.to_owned(), labels))
    });
    let all: Vec<_> = listed.collect();
    let count = all.len();
    let listed: Metrics = all.into_iter().collect();
    assert_eq!(listed.len(), count, "a metric is listed twice");
    listed
}

/// The names between the braces of a sample: `{a="1",b="2"}`.
fn labels(sample: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = sample;
    while let Some((name, value)) = rest.split_once("=\"") {
        names.insert(name.trim_start_matches([',', '{']).to_owned());
        // A quote in a value stands after a backslash.
        let end = value.match_indices('"').find(|(at, _)| !value[..*at].ends_with('\\')).map(|(at, _)| at);
        rest = &value[end.expect("a value ends") + 1..];
    }
    names
}

fn emitted(text: &str) -> Metrics {
    let mut emitted = Metrics::new();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    for (name, kind) in types {
        let samples =
            text.lines().filter(|line| line.strip_prefix(name).is_some_and(|l| l.starts_with([' ', '{'])));
        let all: BTreeSet<_> = samples.map(|sample| labels(&sample[name.len()..])).collect();
        let labels = match all.len() {
            1 => all.into_iter().next().unwrap_or_default(),
            0 => panic!("{name} has no sample here: the test has to make it have one"),
            _ => panic!("{name} has samples of different labels: {all:?}"),
        };
        assert!(emitted.insert(name.to_owned(), (kind.to_owned(), labels)).is_none(), "{name} comes twice");
    }
    emitted
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
async fn the_metrics_listed_are_the_metrics_emitted() {
    let machine = tempfile::tempdir().unwrap();
    std::fs::create_dir(machine.path().join("run")).unwrap();
    write(machine.path(), "sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n");
    write(machine.path(), "sys/class/thermal/thermal_zone0/temp", "41000\n");
    write(machine.path(), "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "2100000\n");
    let daemon = Setup::bare(DEVICES)
        .argument("--device-root", machine.path())
        .emulated("a", Emulated::new(5.0).not_at_start())
        .emulated("b", Emulated::new(20.0).not_at_start())
        .start()
        .await;
    let client = daemon.client().await;
    client.admit(&Terms { burst: 5.0, ..terms("a", 20.0, 0.99, 200.0) }).await;
    assert!(client.load_with(&terms("b", 1000.0, 0.99, 500.0)).await.is_err());
    let seen =
        Poisson { request: echo("a", [1.0; 4]), rate_hz: 200.0, count: 100, seed: 1 }.run(client).await;
    assert!(seen.refused > 0 && !seen.latencies.is_empty());
    let shown = async || {
        let (_, text) = get(daemon.metrics(), "/metrics").await;
        let is_there = |name: &str| text.lines().any(|line| line.starts_with(name));
        (is_there("edgemux_session_predicted_latency_seconds{") && is_there("edgemux_device_clock_hertz{"))
            .then_some(text)
    };
    let text = eventually("a prediction and the hardware are shown", PATIENCE, shown).await;
    assert_eq!(listed(), emitted(&text), "left: on the page, right: emitted");
}

#[test]
fn labels_are_read_from_a_sample() {
    let names = |sample: &str| labels(sample).into_iter().collect::<Vec<_>>();
    assert_eq!(names(" 1"), [""; 0]);
    assert_eq!(names("{a=\"x\",b=\"y=\\\"z,\"} 1"), ["a", "b"]);
}
