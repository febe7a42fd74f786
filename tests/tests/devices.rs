//! The hardware of a node: what is there is found, belongs to one daemon, and is fenced while it is gone. The machine is
//! made up of files, the accelerators on it are emulated.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use edgemux_proto::edgemux::v1::{FenceRequest, SessionState, UnfenceRequest};
use edgemux_tests::{
    Client, Daemon, Emulated, Load, PATIENCE, Setup, assert_echo, echo, edgemuxd, eventually, get, terms,
};
use tempfile::TempDir;
use tonic::Code;

/// A fence is to be seen within this time.
const FENCED_WITHIN: Duration = Duration::from_secs(1);

/// A machine of files.
struct MadeUp(TempDir);

impl MadeUp {
    fn new() -> Self {
        let made_up = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(made_up.root().join("run")).unwrap();
        made_up
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Renamed into place: a file that is being written is not read.
        let beside = self.root().join("beside");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
        self
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.root().join(path)).unwrap();
    }

    /// A Coral on PCIe.
    fn coral(&self, celsius: f64) -> &Self {
        self.file("sys/class/apex/apex_0/temp", &format!("{}\n", celsius * 1e3)).file("dev/apex_0", "")
    }

    /// A Coral on USB, its firmware loaded or not. Its vendor's number comes last: it makes it one.
    fn usb(&self, loaded: bool, device: u32) -> &Self {
        let (vendor, product) = if loaded { ("18d1", "9302") } else { ("1a6e", "089a") };
        self.file("sys/bus/usb/devices/1-2/busnum", "1\n")
            .file("sys/bus/usb/devices/1-2/devnum", &format!("{device}\n"))
            .file(&format!("dev/bus/usb/001/{device:03}"), "")
            .file("sys/bus/usb/devices/1-2/idProduct", &format!("{product}\n"))
            .file("sys/bus/usb/devices/1-2/idVendor", &format!("{vendor}\n"))
    }

    /// A Jetson in this power mode.
    fn jetson(&self, mode: u32) -> &Self {
        self.file("proc/device-tree/compatible", "nvidia,tegra234\0")
            .file("etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n")
            .file("var/lib/nvpmodel/status", &format!("pmode:{mode:04}\n"))
    }

    /// A driver whose library says what the file `gpus` does.
    fn nvidia(&self, gpus: &str) -> &Self {
        self.file("gpus", gpus).file("usr/lib/x", "");
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/edgemuxd/src/discovery/tests/nvml.c");
        let library: PathBuf = self.root().join("usr/lib/libnvidia-ml.so.1");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(format!("-DGPUS=\"{}\"", self.root().join("gpus").display()))
            .arg(source)
            .status();
        assert!(built.unwrap().success());
        self
    }

    /// A daemon on this machine with one emulated device.
    fn setup(&self, name: &str, kind: &str, source: &str) -> Setup {
        let config = format!(
            "[calibration]\nsave-period-s = 1.0\n[[device]]\nname = '{name}'\nkind = '{kind}'\nsource = '{source}'\n\
             runtimes = ['emulator']\nmultiplexing = 'exclusive'\n"
        );
        Setup::bare(&config).argument("--device-root", self.root())
    }
}

async fn until_fenced(client: &Client, device: &str) -> String {
    let gone = Instant::now();
    let reason = eventually("it is fenced", FENCED_WITHIN, async || {
        let device = client.device(device).await;
        device.fenced.then_some(device.fence_reason)
    })
    .await;
    println!("fenced {:?} after it was gone", gone.elapsed());
    reason
}

async fn until_unfenced(client: &Client, device: &str) {
    eventually("it is fenced no more", PATIENCE, async || {
        (!client.device(device).await.fenced).then_some(())
    })
    .await;
}

async fn metric(daemon: &Daemon, line: &str) -> String {
    let name = format!("{line} ");
    let (_, page) = get(daemon.metrics(), "/metrics").await;
    let found = page.lines().find_map(|shown| shown.strip_prefix(&name));
    found.unwrap_or_else(|| panic!("no {line:?} in {page}")).to_owned()
}

#[test]
fn what_is_there_is_shown_without_a_daemon() {
    let made_up = MadeUp::new();
    made_up.coral(48.8).usb(false, 4).jetson(1);
    let output = Command::new(edgemuxd()).arg("devices").arg("--device-root").arg(made_up.root()).output();
    let output = output.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for said in [
        "\"source\": \"cpu\"",
        "\"source\": \"jetson\"",
        "\"power-mode\": \"7W\"",
        "\"source\": \"coral-pci:0\"",
        "\"temperature-c\": 48.8",
        "\"source\": \"coral-usb:1-2\"",
        "\"index\": \"coral-usb:0\"",
        "\"firmware-loaded\": false",
        "no NVIDIA driver",
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    // And of the real machine: whatever is there, it is said.
    let output = Command::new(edgemuxd()).arg("devices").output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("\"source\": \"cpu\"")
    );
}

#[tokio::test]
async fn a_device_has_one_daemon_and_a_second_says_who_that_is() {
    let made_up = MadeUp::new();
    made_up.coral(40.0);
    let owner = made_up.setup("tpu0", "edgetpu", "coral-pci:0").start().await;
    let second = made_up.setup("mine", "edgetpu", "coral-pci:0");
    let refused = second.refused().await;
    let pid = owner.process().pid();
    assert_eq!(refused.code, Some(1), "{}", refused.said);
    assert!(refused.said.contains(&format!("coral-pci:0 is owned by process {pid}")), "{}", refused.said);
    // However the owner ends, its lock goes with it.
    owner.kill().await;
    second.start().await.stop().await;
}

#[tokio::test]
async fn hardware_that_vanishes_fences_its_device_at_once_and_is_used_again_when_all_is_warmed_up() {
    let made_up = MadeUp::new();
    made_up.coral(40.0);
    // Its warm-up takes long enough to be seen: two requests.
    let daemon = made_up
        .setup("tpu0", "edgetpu", "coral-pci:0")
        .emulated("model", Emulated::new(300.0).on_tpu())
        .start()
        .await;
    let client = daemon.client().await;
    let worker = daemon.worker(&client, "tpu0").await;
    let (in_service, waits) = (client.spawn(echo("model", [1.0; 4])), client.spawn(echo("model", [2.0; 4])));
    client.until_load("model", 1, 1).await;

    made_up.remove("dev/apex_0");
    let reason = until_fenced(&client, "tpu0").await;
    assert!(reason.contains("/dev/apex_0"), "{reason}");
    let gone = client.device("tpu0").await;
    assert_eq!((gone.source.as_str(), gone.hardware_name.as_str()), ("coral-pci:0", ""));
    for request in [in_service, waits] {
        assert_eq!(request.await.unwrap().unwrap_err().code(), Code::Unavailable);
    }
    eventually("its worker ends", PATIENCE, async || (!worker.is_running()).then_some(())).await;
    assert_eq!(client.infer(echo("model", [1.0; 4])).await.unwrap_err().code(), Code::Unavailable);
    let verdict = client.evaluate(&terms("model", 1.0, 0.99, 1000.0)).await.unwrap();
    assert!(!verdict.admitted && format!("{verdict:?}").contains("/dev/apex_0"), "{verdict:?}");

    made_up.file("dev/apex_0", "");
    let mut seen_warming = false;
    eventually("it is fenced no more", PATIENCE, async || {
        // The session first: what is ready then is so when the device is asked.
        let session = client.session("model").await;
        let device = client.device("tpu0").await;
        seen_warming |= session.state() == SessionState::Warming;
        assert!(device.fenced || seen_warming, "unfenced before its session was warmed up: {session:?}");
        (!device.fenced).then_some(())
    })
    .await;
    client.until_ready("model").await;
    assert_echo(&client.infer(echo("model", [3.0; 4])).await.unwrap(), [3.0; 4]);
    assert_ne!(daemon.worker(&client, "tpu0").await, worker);
    assert_eq!(client.session("model").await.crashes, 0, "nobody is blamed");
    daemon.stop().await;
}

#[tokio::test]
async fn no_request_of_a_client_reaches_hardware_that_is_back_before_all_of_its_sessions_are_warmed_up() {
    let made_up = MadeUp::new();
    made_up.coral(40.0);
    let daemon = made_up
        .setup("tpu0", "edgetpu", "coral-pci:0")
        .emulated("first", Emulated::new(1.0).on_tpu())
        .emulated("second", Emulated::new(200.0).on_tpu())
        .start()
        .await;
    let client = daemon.client().await;
    made_up.remove("dev/apex_0");
    until_fenced(&client, "tpu0").await;
    made_up.file("dev/apex_0", "");
    let (served, _) = tokio::join!(
        eventually("the first is served again", PATIENCE, async || {
            client.infer(echo("first", [1.0; 4])).await.ok().map(|_| Instant::now())
        }),
        async {
            eventually("the second is warming up", PATIENCE, async || {
                (client.session("second").await.state() == SessionState::Warming).then_some(())
            })
            .await;
            // It was loaded after the first, which thus is warm; two requests of 200 ms are ahead.
            assert!(client.device("tpu0").await.fenced);
            assert_eq!(client.infer(echo("first", [1.0; 4])).await.unwrap_err().code(), Code::Unavailable);
        }
    );
    assert!(served <= Instant::now());
    client.until_ready("second").await;
    daemon.stop().await;
}

#[tokio::test]
async fn every_request_ends_though_the_hardware_comes_and_goes() {
    let made_up = MadeUp::new();
    made_up.coral(40.0);
    let daemon = made_up
        .setup("tpu0", "edgetpu", "coral-pci:0")
        .emulated("a", Emulated::new(1.0).on_tpu())
        .emulated("b", Emulated::new(3.0).on_tpu())
        .start()
        .await;
    let client = daemon.client().await;
    let loads = [
        Load::start(&daemon, &echo("a", [1.0; 4]), 4).await,
        Load::start(&daemon, &echo("b", [1.0; 4]), 2).await,
    ];
    for _ in 0..4 {
        made_up.remove("dev/apex_0");
        until_fenced(&client, "tpu0").await;
        made_up.file("dev/apex_0", "");
        until_unfenced(&client, "tpu0").await;
        for model in ["a", "b"] {
            client.until_ready(model).await;
            assert_echo(&client.infer(echo(model, [3.0; 4])).await.unwrap(), [3.0; 4]);
        }
    }
    for load in loads {
        let outcomes = load.stop().await;
        assert!(outcomes.iter().any(|outcome| outcome.code == Code::Ok));
        let other = outcomes.iter().find(|outcome| !matches!(outcome.code, Code::Ok | Code::Unavailable));
        assert!(other.is_none(), "{other:?}");
    }
    for model in ["a", "b"] {
        client.until_load(model, 0, 0).await;
        assert_eq!(client.session(model).await.crashes, 0);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn hardware_that_comes_late_is_fenced_until_then_and_gets_the_models_that_load_at_start() {
    let made_up = MadeUp::new();
    let daemon = made_up
        .setup("tpu0", "edgetpu", "coral-usb:0")
        .emulated("model", Emulated::new(1.0).on_tpu())
        .start()
        .await;
    let client = daemon.client().await;
    let device = client.device("tpu0").await;
    assert!(device.fenced && device.fence_reason.contains("no Coral 0 on USB"), "{device:?}");
    assert_eq!(device.workers[0].state, "waits for its hardware");
    assert_eq!((device.source.as_str(), device.hardware_name.as_str()), ("coral-usb:0", ""));
    made_up.usb(true, 4);
    until_unfenced(&client, "tpu0").await;
    assert_eq!(client.device("tpu0").await.source, "coral-usb:1-2", "the name that stays");
    client.until_ready("model").await;
    assert_echo(&client.infer(echo("model", [3.0; 4])).await.unwrap(), [3.0; 4]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_coral_that_leaves_the_bus_to_load_its_firmware_keeps_its_worker_and_one_unplugged_does_not() {
    let made_up = MadeUp::new();
    made_up.usb(false, 4);
    let daemon = made_up
        .setup("tpu0", "edgetpu", "coral-usb:0")
        .emulated("model", Emulated::new(1.0).on_tpu())
        .start()
        .await;
    let client = daemon.client().await;
    let worker = daemon.worker(&client, "tpu0").await;
    made_up.remove("sys/bus/usb/devices/1-2/idVendor");
    let reason = until_fenced(&client, "tpu0").await;
    assert!(reason.contains("firmware"), "{reason}");
    made_up.usb(true, 5);
    until_unfenced(&client, "tpu0").await;
    assert_eq!(daemon.worker(&client, "tpu0").await, worker);
    assert_echo(&client.infer(echo("model", [3.0; 4])).await.unwrap(), [3.0; 4]);

    // Unplugged and plugged in again, be it faster than anybody looks.
    made_up.usb(true, 6);
    eventually("its worker is replaced", PATIENCE, async || (!worker.is_running()).then_some(())).await;
    until_unfenced(&client, "tpu0").await;
    client.until_ready("model").await;
    assert_echo(&client.infer(echo("model", [3.0; 4])).await.unwrap(), [3.0; 4]);
    assert_eq!(client.session("model").await.crashes, 0);
    daemon.stop().await;
}

#[tokio::test]
async fn an_operators_fence_outlives_what_becomes_of_the_hardware() {
    let made_up = MadeUp::new();
    made_up.coral(40.0);
    let daemon = made_up.setup("tpu0", "edgetpu", "coral-pci:0").start().await;
    let client = daemon.client().await;
    let fence = FenceRequest { device: "tpu0".into(), reason: "its fan is replaced".into() };
    client.devices.clone().fence(fence).await.unwrap();
    made_up.remove("dev/apex_0");
    let why = |part: &'static str| {
        let client = client.clone();
        async move {
            eventually(part, PATIENCE, async || {
                client.device("tpu0").await.fence_reason.contains(part).then_some(())
            })
            .await;
        }
    };
    why("/dev/apex_0").await;
    // Lifting it does not bring the hardware back.
    let lift = || UnfenceRequest { device: "tpu0".into() };
    assert!(client.devices.clone().unfence(lift()).await.unwrap().into_inner().fenced);
    let fence = FenceRequest { device: "tpu0".into(), reason: "its fan is replaced".into() };
    client.devices.clone().fence(fence).await.unwrap();
    made_up.file("dev/apex_0", "");
    why("its fan is replaced").await;
    assert!(!client.devices.clone().unfence(lift()).await.unwrap().into_inner().fenced);
    daemon.stop().await;
}

#[tokio::test]
async fn what_was_learned_in_one_power_mode_is_not_believed_in_another_and_is_there_when_it_comes_back() {
    let made_up = MadeUp::new();
    made_up.jetson(0);
    let daemon = made_up.setup("gpu0", "gpu", "jetson").emulated("model", Emulated::new(2.0)).start().await;
    let client = daemon.client().await;
    let run = async |count: u32| {
        for _ in 0..count {
            client.infer(echo("model", [1.0; 4])).await.unwrap();
        }
    };
    let until_mode = async |mode: &str| {
        eventually(&format!("power mode {mode}"), PATIENCE, async || {
            (client.calibration("model").await.power_mode == mode).then_some(())
        })
        .await;
    };
    run(40).await;
    let learned = client.calibration("model").await;
    assert_eq!(learned.power_mode, "15W");
    // On a busy machine some were so late that they count as a change, which begins anew.
    assert!(learned.samples > 0, "{learned:?}");
    let archive = daemon.setup().path("state").join("calibration");
    let saved = async |mode: &str, samples: u64| {
        eventually(&format!("{samples} samples of {mode} are saved"), PATIENCE, async || {
            let text = std::fs::read_to_string(&archive).ok()?;
            let text: String = text.split_whitespace().collect();
            let entries = text.split("\"model-digest\"").skip(1);
            let mut of_mode = entries.filter(|entry| entry.contains(&format!("\"power-mode\":\"{mode}\"")));
            of_mode.any(|entry| entry.contains(&format!("\"samples\":{samples}"))).then_some(())
        })
        .await;
    };
    saved("15W", learned.samples).await;

    made_up.jetson(1);
    until_mode("7W").await;
    let unknown = client.calibration("model").await;
    assert_eq!(unknown.samples, 0, "nothing was learned in this mode");
    assert!(
        (unknown.service_mean_ms / learned.service_mean_ms - 1.0).abs() < 0.2,
        "the best guess that there is"
    );
    run(10).await;
    let there = client.calibration("model").await.samples;
    assert!((1..=10).contains(&there), "only what was seen there: {there}");
    saved("7W", there).await;

    made_up.jetson(0);
    until_mode("15W").await;
    assert_eq!(client.calibration("model").await.samples, learned.samples, "as it was left");
    let (_, page) = get(daemon.metrics(), "/metrics").await;
    assert!(page.contains("edgemux_device_power_mode{device=\"gpu0\",mode=\"15W\"} 1"), "{page}");
    daemon.stop().await;
}

#[tokio::test]
async fn memory_of_a_gpu_is_what_its_driver_says_and_its_figures_are_in_the_metrics() {
    let made_up = MadeUp::new();
    made_up.nvidia("0 aa 45 1410 285000 1000000 100000 5000\n");
    let daemon = made_up
        .setup("gpu0", "gpu", "nvidia:0")
        .emulated("small", Emulated::new(1.0).memory(800_000).not_at_start())
        .emulated("large", Emulated::new(1.0).memory(950_000).not_at_start())
        .start()
        .await;
    let client = daemon.client().await;
    let shown = client.device("gpu0").await;
    assert_eq!(shown.memory_capacity_bytes, 900_000);
    assert_eq!((shown.source.as_str(), shown.hardware_name.as_str()), ("nvidia:GPU-aa", "Made-up GPU"));
    assert_eq!((shown.driver_version.as_str(), shown.power_mode.as_str()), ("580.65.06", "285W"));
    assert_eq!((shown.temperature_c, shown.clock_mhz), (Some(45.0), Some(1410.0)));
    assert_eq!((shown.memory_total_bytes, shown.memory_used_bytes), (Some(1_000_000), Some(5000)));
    let listed =
        Command::new(edgemuxd()).args(["devices", "--device-root"]).arg(made_up.root()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&format!("\"held-by\": {}", daemon.process().pid())), "{listed}");
    let small = client.evaluate(&terms("small", 1.0, 0.99, 1000.0)).await.unwrap();
    assert!(small.admitted, "{small:?}");
    let large = client.evaluate(&terms("large", 1.0, 0.99, 1000.0)).await.unwrap();
    assert!(!large.admitted && format!("{large:?}").contains("memory"), "{large:?}");

    assert_eq!(metric(&daemon, "edgemux_device_temperature_celsius{device=\"gpu0\"}").await, "45");
    assert_eq!(metric(&daemon, "edgemux_device_clock_hertz{device=\"gpu0\"}").await, "1410000000");
    assert_eq!(metric(&daemon, "edgemux_device_memory_total_bytes{device=\"gpu0\"}").await, "1000000");
    assert_eq!(metric(&daemon, "edgemux_device_memory_used_bytes{device=\"gpu0\"}").await, "5000");
    assert_eq!(metric(&daemon, "edgemux_device_power_mode{device=\"gpu0\",mode=\"285W\"}").await, "1");
    let info = "edgemux_device_info{device=\"gpu0\",source=\"nvidia:GPU-aa\",name=\"Made-up GPU\",driver=\"580.65.06\"}";
    assert_eq!(metric(&daemon, info).await, "1");
    let total: f64 = metric(&daemon, "edgemux_node_memory_total_bytes").await.parse().unwrap();
    let used: f64 = metric(&daemon, "edgemux_node_memory_used_bytes").await.parse().unwrap();
    assert!(used > 0.0 && used < total);
    let busy: f64 = metric(&daemon, "edgemux_node_cpu_utilisation").await.parse().unwrap();
    assert!((0.0..=1.0).contains(&busy));

    made_up.file("gpus", "0 aa lost 1410 285000 1000000 100000 5000\n");
    let reason = until_fenced(&client, "gpu0").await;
    assert!(reason.contains("fell off the bus"), "{reason}");
    let (_, page) = get(daemon.metrics(), "/metrics").await;
    assert!(!page.contains("edgemux_device_temperature_celsius{"), "what is gone has no temperature: {page}");
    daemon.stop().await;
}
