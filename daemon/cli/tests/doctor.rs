//! `edgemux doctor` on runtimes: which are installed, what each drives, and why not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use std::path::Path;
use std::process::{Command, Stdio};

use fake::doctor::{Diagnosis, NOBODY, edgemuxd, executable, runtime, says, script};
use serde_json::Value;

#[tokio::test]
async fn each_runtime_says_what_it_is_what_it_drives_and_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    runtime(folder.path(), "torch", &says(r#""cpu""#, r#""gpu: libcuda.so.1 is not there""#));
    runtime(folder.path(), "tflite", "echo 'libtensorflowlite_c.so: cannot open' >&2; exit 127");
    runtime(folder.path(), "edgetpu", &says("", r#""libedgetpu.so.1 is not there""#));
    let told = Diagnosis::of(&edgemuxd(), folder.path(), NOBODY).await;

    told.assert("runtime:onnx", "ok", &["rten", "model.onnx", "drives cpu"]);
    let torch = folder.path().join("edgemux-runtime-torch");
    let parts = ["libx 7.1", "model.pt", "drives cpu", "libcuda.so.1 is not there", torch.to_str().unwrap()];
    told.assert("runtime:torch", "warn", &parts);
    told.assert("runtime:tflite", "fail", &["libtensorflowlite_c.so: cannot open", "LD_LIBRARY_PATH"]);
    let grade = if told.has_hardware("coral") { "fail" } else { "warn" };
    told.assert("runtime:edgetpu", grade, &["drives nothing here", "libedgetpu.so.1 is not there"]);
    told.assert("hardware:cpu", "ok", &["onnx, torch can drive it"]);
    told.assert("server", "fail", &["start the daemon"]);
    let runtimes = told.0["runtimes"].as_array().unwrap();
    let torch = runtimes.iter().find(|runtime| runtime["runtime"] == "torch").unwrap();
    assert_eq!((&torch["version"], &torch["formats"][0]), (&"libx 7.1".into(), &"x".into()));
    assert_eq!((&torch["devices"][0], &torch["remedy"]), (&"cpu".into(), &Value::Null));
}

#[tokio::test]
async fn a_runtime_that_is_not_installed_or_cannot_be_run_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    script(&folder.path().join("edgemux-runtime-tflite"), &says(r#""cpu""#, "null"), 0o644);
    executable(&folder.path().join("edgemux-runtime-torch"), "no program of any machine", 0o755);
    // Of the daemon's binary alone, beside which there is nothing.
    let alone = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let daemon = alone.path().join("edgemuxd");
    std::fs::hard_link(edgemuxd(), &daemon).unwrap();
    let told = Diagnosis::of(&daemon, folder.path(), NOBODY).await;
    told.assert("runtime:tflite", "fail", &["ermission denied", "chmod a+rx"]);
    told.assert("runtime:torch", "fail", &["cannot run", "for this kind of machine"]);
    let installed = Path::new("/usr/lib/edgemux/edgemux-runtime-edgetpu").exists();
    if installed {
        println!("edgemux-runtime-edgetpu is installed on this machine: it cannot be missed");
    } else {
        let looked_in = [folder.path(), alone.path(), Path::new("/usr/lib/edgemux")];
        let looked_in = looked_in.map(|folder| folder.to_str().unwrap());
        told.assert("runtime:edgetpu", "ok", &looked_in);
        told.assert("runtime:edgetpu", "ok", &["not installed", "EDGEMUX_RUNTIME_DIR"]);
    }
}

#[tokio::test]
async fn a_runtime_that_prints_nonsense_or_crashes_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    runtime(folder.path(), "torch", "echo hello");
    runtime(folder.path(), "tflite", "kill -SEGV $$");
    let told = Diagnosis::of(&edgemuxd(), folder.path(), NOBODY).await;
    told.assert("runtime:torch", "fail", &["no account of itself", "one release"]);
    told.assert("runtime:tflite", "fail", &["SIGSEGV", "--probe"]);
}

#[tokio::test]
async fn runtimes_that_hang_are_given_up_and_do_not_keep_the_others_from_being_told() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["torch", "tflite", "edgetpu"] {
        runtime(folder.path(), name, "exec sleep 1000");
    }
    let told = Diagnosis::asked(&edgemuxd(), folder.path(), NOBODY, &["--patience", "3"]).await;
    for name in ["runtime:torch", "runtime:tflite"] {
        told.assert(name, "fail", &["no answer within 3s", "--probe"]);
    }
    told.check("runtime:edgetpu");
    told.check("hardware:cpu");
}

#[tokio::test]
async fn runtimes_are_asked_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    // Each answers once the other has been started.
    for (name, other) in [("torch", "tflite"), ("tflite", "torch")] {
        let wait = format!("touch {place}/{name}; until [ -e {place}/{other} ]; do sleep 0.01; done");
        runtime(folder.path(), name, &format!("{wait}; {}", says(r#""cpu""#, "null")));
    }
    let told = Diagnosis::of(&edgemuxd(), folder.path(), NOBODY).await;
    told.assert("runtime:torch", "ok", &["libx 7.1"]);
    told.assert("runtime:tflite", "ok", &["libx 7.1"]);
}

#[tokio::test]
async fn a_binary_of_another_release_or_none_is_a_finding_too() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("edgemuxd");
    script(
        &old,
        "[ \"$1\" = --version ] && echo edgemuxd 0.0.1 && exit\necho 'no such command' >&2; exit 2",
        0o755,
    );
    let told = Diagnosis::of(&old, folder.path(), NOBODY).await;
    told.assert("binary", "warn", &["0.0.1", "same release"]);
    told.assert("runtimes", "fail", &["no such command", "one release"]);
    let told = Diagnosis::of(&folder.path().join("none"), folder.path(), NOBODY).await;
    told.assert("binary", "warn", &["none"]);
    assert_eq!((&told.0["runtimes"], &told.0["hardware"]), (&Value::Array(vec![]), &Value::Array(vec![])));
}

/// The runtimes as they are built here, with whatever libraries they find: the doctor says what they say themselves.
#[tokio::test]
async fn of_real_runtimes_it_says_what_they_say_themselves() {
    let built = edgemuxd().parent().unwrap().to_owned();
    for name in ["torch", "tflite", "edgetpu"] {
        let program = built.join(format!("edgemux-runtime-{name}"));
        if !program.exists() {
            println!("{} is not built: not looked at", program.display());
            continue;
        }
        let alone = Command::new(&program).arg("--probe").stdin(Stdio::null()).output().unwrap();
        let told = Diagnosis::of(&edgemuxd(), &built, NOBODY).await;
        let check = format!("runtime:{name}");
        let finding = told.check(&check)["finding"].as_str().unwrap();
        if !alone.status.success() {
            let said = String::from_utf8_lossy(&alone.stderr);
            let last = said.lines().last().unwrap_or_default();
            assert!(finding.contains(last) && finding.contains("drives nothing here"), "{finding}");
            assert_ne!(told.check(&check)["advice"], Value::Null);
            continue;
        }
        let probe: Value = serde_json::from_slice(&alone.stdout).unwrap();
        assert!(finding.contains(probe["version"].as_str().unwrap()), "{probe} {finding}");
        if let Some(problem) = probe["problem"].as_str() {
            assert!(finding.contains(problem), "{probe} {finding}");
            assert_ne!(told.check(&check)["grade"], "ok");
        }
        let drives_cpu = probe["devices"].as_array().unwrap().iter().any(|kind| kind == "cpu");
        assert_eq!(finding.contains("drives cpu"), drives_cpu, "{probe} {finding}");
    }
}
