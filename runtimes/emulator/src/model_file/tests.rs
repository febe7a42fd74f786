//! Every field of a model file, good and bad.

use super::*;
use crate::faults::{FaultKind, Trigger};

const WHOLE: &str = r#"
    responses = 2
    seed = 7
    [[input]]
    name = "INPUT0"
    datatype = "FP32"
    shape = [-1, 1024]
    [[output]]
    name = "OUTPUT0"
    datatype = "UINT8"
    shape = [-1]
    [service]
    mean-ms = 5.0
    cv = 0.03
    [reload]
    overhead-ms = 15.0
    on-chip-bytes = 4000000
    group = "together"
    [memory]
    at-rest-bytes = 1000000
    peak-bytes = 200000
    [[fault]]
    kind = "slow-down"
    after-requests = 100
    factor = 2.0
    requests = 10
    [[fault]]
    kind = "crash"
    probability = 0.01
"#;

#[test]
fn every_field_is_read() {
    let file = ModelFile::parse(WHOLE).unwrap();
    assert!(file.signature.decoupled);
    assert_eq!((file.responses, file.seed), (2, 7));
    assert_eq!(file.signature.inputs[0].shape, [-1, 1024]);
    assert_eq!(file.signature.outputs[0].datatype, DataType::Uint8);
    assert_eq!(file.reload.unwrap().group.as_deref(), Some("together"));
    assert_eq!(file.memory, MemoryTable { at_rest_bytes: 1_000_000, peak_bytes: 200_000 });
    assert_eq!(file.faults[0].kind, FaultKind::SlowDown);
    assert_eq!(file.faults[1].trigger(), Some(Trigger::Probability(0.01)));
}

#[test]
fn what_is_left_out_has_a_default() {
    let file = ModelFile::parse(
        "[[input]]\nname = \"A\"\ndatatype = \"BYTES\"\nshape = [1]\n\
         [[output]]\nname = \"B\"\ndatatype = \"BYTES\"\nshape = [1]\n[service]\nmean-ms = 0\n",
    )
    .unwrap();
    assert!(!file.signature.decoupled && file.reload.is_none() && file.faults.is_empty());
    assert_eq!(file.memory, MemoryTable::default());
}

/// Replaces one line of a good file by a bad one; the answer must name the field.
#[test]
fn every_bad_field_is_refused_by_name() {
    for (good, bad, said) in [
        ("responses = 2", "responses = 0", "responses = 0: 1 to 10000"),
        ("responses = 2", "responses = -1", "responses"),
        ("responses = 2", "respones = 2", "unknown field `respones`"),
        ("seed = 7", "seed = -7", "seed"),
        ("name = \"INPUT0\"", "name = \"\"", "input.name: a name of 0 bytes"),
        ("datatype = \"FP32\"", "datatype = \"FP99\"", "input \"INPUT0\": datatype \"FP99\""),
        ("datatype = \"UINT8\"", "datatype = \"BYTES\"", "output \"OUTPUT0\" of datatype BYTES"),
        ("[-1, 1024]", "[-2]", "dimension -2"),
        ("[-1, 1024]", "[0]", "dimension 0"),
        ("[-1, 1024]", "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", "17 dimensions"),
        ("[-1, 1024]", "[4611686018427387904, 4611686018427387904]", "is over"),
        ("mean-ms = 5.0", "mean-ms = -1.0", "service.mean-ms = -1"),
        ("mean-ms = 5.0", "mean-ms = nan", "service.mean-ms = NaN"),
        ("mean-ms = 5.0", "mean-ms = inf", "service.mean-ms = inf"),
        ("mean-ms = 5.0", "", "mean-ms"),
        ("cv = 0.03", "cv = -0.5", "service.cv = -0.5"),
        ("cv = 0.03", "cv = nan", "service.cv = NaN"),
        ("cv = 0.03", "cv = 0.03\ndistribution = \"normal\"", "normal"),
        ("cv = 0.03", "cv = 0.03\ndistribution = \"exponential\"", "exponential"),
        ("cv = 0.03", "cv = 0.03\ndistribution = \"deterministic\"", "deterministic"),
        ("overhead-ms = 15.0", "overhead-ms = 3600001.0", "reload.overhead-ms = 3600001"),
        ("on-chip-bytes = 4000000", "on-chip-bytes = -1", "on-chip-bytes"),
        ("group = \"together\"", "group = \"\"", "reload.group"),
        ("at-rest-bytes = 1000000", "at-rest-bytes = -1", "at-rest-bytes"),
        ("peak-bytes = 200000", "peek-bytes = 200000", "peek-bytes"),
        ("kind = \"crash\"", "kind = \"smoke\"", "smoke"),
        ("probability = 0.01", "probability = 1.5", "fault 2: probability = 1.5"),
        ("probability = 0.01", "probability = nan", "fault 2: probability = NaN"),
        ("probability = 0.01", "", "fault 2: one of after-requests and probability"),
        ("probability = 0.01", "probability = 0.01\nfactor = 2.0", "fault 2: factor"),
        ("after-requests = 100", "after-requests = 0", "fault 1: after-requests = 0"),
        ("after-requests = 100", "after-requests = 1\nprobability = 0.1", "fault 1: one of"),
        ("factor = 2.0", "factor = 0.0", "fault 1: factor = 0"),
        ("factor = 2.0", "", "fault 1: slow-down needs a factor"),
        (" requests = 10", " requests = 0", "fault 1: requests = 0"),
        ("kind = \"crash\"", "kind = \"load-crash\"\nafter-requests = 3", "fault 2: after-requests"),
    ] {
        assert!(WHOLE.contains(good), "{good}");
        let error = ModelFile::parse(&WHOLE.replacen(good, bad, 1)).unwrap_err();
        assert!(error.contains(said), "{bad}: {error}");
    }
    assert!(ModelFile::parse("[service]\nmean-ms = 1.0\n").unwrap_err().contains("0 tables [[input]]"));
    assert!(ModelFile::parse("no toml [").is_err());
}

#[test]
fn a_name_may_be_there_once_per_side() {
    let table = |kind: &str| format!("[[{kind}]]\nname = \"A\"\ndatatype = \"FP32\"\nshape = [1]\n");
    let service = "[service]\nmean-ms = 1.0\n";
    assert!(ModelFile::parse(&(table("input") + &table("output") + service)).is_ok());
    let twice = ModelFile::parse(&(table("input") + &table("input") + &table("output") + service));
    assert!(twice.unwrap_err().contains("input \"A\" is there twice"));
}
