//! Plans as a whole: who is let in where, and what is reported of it.

use edgemux_calibration::admission::Policy;
use edgemux_calibration::predict::{Effort, Predictor, Simulation};
use serde_json::Value;

use super::admit::{Admitted, Answer, admit};
use super::node::Node;
use super::{Plan, Wishes, file, forecast};

const RUN: Simulation = Simulation { requests: 20_000, seed: 1 };

/// Two edgeTPUs, or one; a model of 10 ms that never reloads.
fn node(devices: usize, applications: &str) -> Node {
    let mut text = "[host]\ncores = 2\n[[model]]\nname = \"m\"\nedgetpu = { service-ms = 10, service-cv = 0, cpu-before-ms = 1 }\n".to_owned();
    for device in 0..devices {
        text.push_str(&format!(
            "[[device]]\nname = \"tpu{device}\"\nkind = \"edgetpu\"\nmultiplexing = \"exclusive\"\n"
        ));
    }
    text.push_str(applications);
    file::parse("test.toml", &text).unwrap()
}

fn application(name: &str, rest: &str) -> String {
    format!("[[application]]\nname = \"{name}\"\nmodel = \"m\"\n{rest}\n")
}

fn admitted(node: &Node) -> Admitted {
    let policy = Policy { simulation: Some(RUN), ..Policy::default() };
    admit(node, &mut Predictor::new(Effort::Needed(RUN)), &policy).unwrap()
}

fn report(node: &Node) -> Plan {
    let admitted = admitted(node);
    let mut predictor = Predictor::new(Effort::Needed(RUN));
    let forecasts = forecast::forecast(&admitted.systems, &mut predictor, Some(RUN)).unwrap();
    Plan::new("test.toml".to_owned(), &node.applications, &admitted, &forecasts)
}

#[test]
fn who_comes_first_is_served_first() {
    let (heavy, light) = (application("heavy", "rate-hz = 60"), application("light", "rate-hz = 50"));
    for (order, first) in [([&heavy, &light], "heavy"), ([&light, &heavy], "light")] {
        let admitted = admitted(&node(1, &order.map(String::as_str).concat()));
        let places: Vec<_> = admitted.decisions.iter().map(|decision| decision.device).collect();
        assert_eq!(places, [Some(0), None], "together they need 1.1 devices");
        assert_eq!(admitted.systems[0].sessions[0].name, first);
    }
}

#[test]
fn of_two_devices_the_one_with_more_slack_is_taken() {
    let asked = "rate-hz = 20\nlatency-ms = 100\nquantile = 0.95";
    let applications: String = ["a", "b", "c", "d"].map(|name| application(name, asked)).concat();
    let admitted = admitted(&node(2, &applications));
    let places: Vec<_> = admitted.decisions.iter().map(|decision| decision.device).collect();
    assert_eq!(places, [Some(0), Some(1), Some(0), Some(1)]);
}

#[test]
fn a_pinned_application_goes_nowhere_else() {
    let heavy = application("heavy", "rate-hz = 90");
    let pinned = application("pinned", "rate-hz = 20\ndevice = \"tpu0\"");
    let admitted = admitted(&node(2, &(heavy + &pinned)));
    assert_eq!(admitted.decisions[1].device, None);
    assert_eq!(admitted.decisions[1].offers.len(), 1, "the other device is not asked");
}

#[test]
fn a_model_without_a_profile_for_a_device_is_told_so() {
    let gpu = "[[device]]\nname = \"gpu0\"\nkind = \"gpu\"\nmultiplexing = \"exclusive\"\n";
    let node = node(1, &format!("{gpu}{}", application("a", "rate-hz = 1\ndevices = [\"gpu\"]")));
    let plan = report(&node);
    assert_eq!(plan.applications[0].offers[0].reasons, ["the model has no profile for devices of kind gpu"]);
    assert_eq!((plan.admitted, plan.refused), (0, 1));
}

#[test]
fn work_on_the_processor_counts_on_other_devices_too() {
    let text = "[host]\ncores = 1
[[device]]\nname = \"a\"\nkind = \"edgetpu\"\nmultiplexing = \"exclusive\"
[[device]]\nname = \"b\"\nkind = \"gpu\"\nmultiplexing = \"exclusive\"
[[model]]\nname = \"m\"\nedgetpu = { service-ms = 10, cpu-before-ms = 10 }\ngpu = { service-ms = 1, cpu-before-ms = 20 }
[[application]]\nname = \"first\"\nmodel = \"m\"\nrate-hz = 10\nlatency-ms = 30\ndevices = [\"edgetpu\"]
[[application]]\nname = \"second\"\nmodel = \"m\"\nrate-hz = 40\ndevices = [\"gpu\"]\n";
    let admitted = admitted(&file::parse("test.toml", text).unwrap());
    assert_eq!(admitted.decisions[0].device, Some(0));
    assert_eq!(admitted.decisions[1].device, None);
    let answer = &admitted.decisions[1].offers[0].answer;
    assert!(matches!(answer, Answer::Elsewhere { device: 0, .. }), "the first would be late: {answer:?}");
}

#[test]
fn csv_has_one_line_per_application_of_equal_length() {
    let applications = application("a", "rate-hz = 30\nlatency-ms = 50") + &application("b", "rate-hz = 90");
    let csv = report(&node(1, &applications)).csv();
    let lines: Vec<&str> = csv.lines().collect();
    let [header, a, b] = lines.as_slice() else { panic!("{csv}") };
    assert!(
        header
            .starts_with("application,model,admitted,device,kind,multiplexing,rate_hz,latency_ms,quantile,")
    );
    assert!(header.ends_with(",simulated_p99_ms,reasons"));
    let columns = header.split(',').count();
    assert_eq!(a.split(',').count(), columns, "{a}");
    assert!(a.starts_with("a,m,true,tpu0,edgetpu,exclusive,30,50,,"), "{a}");
    assert!(b.starts_with("b,m,false,,,,90,,,,,,,,,,,,,,,\"tpu0: the device would "), "{b}");
}

#[test]
fn json_says_everything_and_null_for_what_is_not() {
    let applications = application("a", "rate-hz = 30\nlatency-ms = 50") + &application("b", "rate-hz = 90");
    let plan: Value = serde_json::to_value(report(&node(1, &applications))).unwrap();
    assert_eq!((&plan["admitted"], &plan["refused"]), (&1.into(), &1.into()));
    assert_eq!(plan["applications"][0]["device"], "tpu0");
    assert_eq!(plan["applications"][0]["quantile"], Value::Null);
    assert_eq!(plan["applications"][1]["device"], Value::Null);
    let offer = &plan["applications"][1]["offers"][0];
    assert!(offer["largest_rate_hz"].as_f64().is_some_and(|rate| rate > 1.0 && rate < 90.0), "{offer}");
    let session = &plan["devices"][0]["sessions"][0];
    for figure in ["mean_ms", "p50_ms", "p95_ms", "p99_ms"] {
        assert!(session[figure].as_f64().is_some_and(|ms| ms > 10.0), "{session}");
        assert!(session["simulated"][figure].as_f64().is_some_and(|ms| ms > 10.0), "{session}");
    }
    assert_eq!(session["holds"], true);
    assert_eq!(plan["devices"][0]["memory_capacity_bytes"], Value::Null);
}

#[test]
fn a_file_that_is_not_there_is_told_with_what_to_do() {
    let wishes = Wishes { simulate: false, simulation: RUN, plot: None };
    let error = super::plan("/nonexistent/node.toml".as_ref(), &wishes).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nonexistent/node.toml: "), "{error}");
    assert!(error.to_string().contains("edgemux plan --example coral"), "{error}");
}
