//! A worker reaches its models, its device and its daemon, and nothing else, whatever the model that it runs tries.

use edgemux_tests::{Daemon, Setup, request};

/// EPERM, EACCES, ENOMEM.
const NOT_PERMITTED: f32 = 1.0;
const DENIED: f32 = 13.0;
const NO_MEMORY: f32 = 12.0;

/// A daemon whose device, of that kind, is driven by the trespasser under the name of a runtime.
async fn daemon(kind: &str, device: &str, attempts: &dyn Fn(&Setup) -> Vec<String>) -> Daemon {
    let setup = Setup::bare(&format!(
        "[[device]]\nname = 'd'\nkind = '{kind}'\nruntimes = ['tflite']\nthreads = 1\n{device}"
    ));
    let runtimes = setup.path("runtimes");
    std::fs::create_dir(&runtimes).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_trespasser"), runtimes.join("edgemux-runtime-tflite"))
        .unwrap();
    let socket = setup.path("edgemuxd.sock");
    let attempts = attempts(&setup).join("\n");
    setup
        .file("model", "1/model.tflite", attempts.as_bytes())
        .file("model", "model.toml", b"")
        .argument("--listen", format!("unix:{}", socket.display()))
        .variable("EDGEMUX_RUNTIME_DIR", runtimes)
        .start()
        .await
}

/// What became of each attempt.
async fn errors(daemon: &Daemon) -> Vec<f32> {
    let client = daemon.client().await;
    let answer = client.infer(request("model", "x", &[1], &[0.0])).await.unwrap();
    let (errors, _) = answer.raw_output_contents[0].as_chunks::<4>();
    errors.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Does this machine's kernel keep files from a worker? An old one does not, and the worker says so.
fn knows_landlock(daemon: &Daemon) -> bool {
    let knows = !daemon.log().contains("this kernel knows no Landlock");
    if !knows {
        eprintln!("not looked at: files, for want of Landlock");
    }
    knows
}

#[tokio::test]
async fn a_worker_that_tries_what_is_none_of_its_business_is_refused_by_the_kernel() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap();
    let parent = std::process::id();
    let attempts = |setup: &Setup| {
        let path = |name: &str| setup.path(name).display().to_string();
        vec![
            // Its models, and the system's libraries, it may read.
            format!("read {}", path("models/model/1/model.tflite")),
            "list /usr".into(),
            "device /dev/null".into(),
            // The network, and the daemon's own socket, by which it would be an operator.
            format!("tcp {port}"),
            "udp 127.0.0.1:0".into(),
            format!("unix {}", path("edgemuxd.sock")),
            "unbound".into(),
            "raw".into(),
            "pair".into(),
            // Another file: the configuration, what the daemon remembers, anybody's.
            format!("read {}", path("edgemuxd.toml")),
            format!("list {}", path("state")),
            "read /etc/passwd".into(),
            format!("write {}", path("models/model/1/model.tflite")),
            format!("write {}", path("models/new")),
            format!("remove {}", path("models/model/1/model.tflite")),
            "write /tmp/edgemux-trespassed".into(),
            // Another device.
            "device /dev/full".into(),
            "device /dev/tty".into(),
            // Another process: a program, a signal, an address space.
            "run /bin/true".into(),
            format!("signal {parent}"),
            format!("read /proc/{parent}/environ"),
        ]
    };
    let daemon = daemon("cpu", "", &attempts).await;
    let became = errors(&daemon).await;
    let tried = attempts(daemon.setup());
    let refused: Vec<_> = tried.iter().zip(&became).skip(3).collect();
    println!("{refused:#?}");
    assert_eq!(became.len(), tried.len());
    assert_eq!(became[..3], [0.0; 3], "{tried:?}");
    let by_landlock = ["read", "list", "write", "remove", "device", "signal"];
    let has_landlock = knows_landlock(&daemon);
    for (attempt, &error) in refused {
        if has_landlock || !by_landlock.iter().any(|what| attempt.starts_with(what)) {
            assert!([NOT_PERMITTED, DENIED].contains(&error), "{attempt}: {error}");
        }
    }
    assert!(!has_landlock || !std::path::Path::new("/tmp/edgemux-trespassed").exists());
    daemon.stop().await;
}

#[tokio::test]
async fn an_operator_may_let_it_read_more_limit_its_memory_or_trust_it() {
    let attempts =
        |_: &Setup| vec!["read /etc/passwd".into(), "udp 127.0.0.1:0".into(), "memory 1000000000".into()];
    for (device, became) in [
        ("", [DENIED, NOT_PERMITTED, 0.0]),
        ("sandbox-read = ['/etc/passwd']\n", [0.0, NOT_PERMITTED, 0.0]),
        ("worker-memory-bytes = 500000000\n", [DENIED, NOT_PERMITTED, NO_MEMORY]),
        ("sandbox = 'network'\n", [0.0, NOT_PERMITTED, 0.0]),
        ("sandbox = 'none'\n", [0.0; 3]),
    ] {
        let daemon = daemon("cpu", device, &attempts).await;
        let files = if knows_landlock(&daemon) { became[0] } else { 0.0 };
        assert_eq!(errors(&daemon).await, [files, became[1], became[2]], "{device}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_gpus_worker_may_do_what_its_driver_needs_and_reaches_nobody() {
    let attempts = |setup: &Setup| {
        let daemon = setup.path("edgemuxd.sock").display().to_string();
        let others =
            [&format!("unix {daemon}"), "unbound", "raw", "pair", "udp 127.0.0.1:0", "read /etc/passwd"];
        ["name", "socket"].into_iter().chain(others).map(str::to_owned).collect()
    };
    for (device, file) in [("", 0.0), ("sandbox = 'files'\n", DENIED)] {
        let daemon = daemon("gpu", device, &attempts).await;
        let file = if knows_landlock(&daemon) { file } else { 0.0 };
        let became = errors(&daemon).await;
        let refused = [NOT_PERMITTED; 5];
        assert_eq!(became, [&[0.0, 0.0], &refused[..], &[file]].concat(), "{device}");
        daemon.stop().await;
    }
}
