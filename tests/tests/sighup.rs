//! SIGHUP: the configuration holds as a whole from then on, or not at all, and no request notices.

use edgemux_tests::{Daemon, Emulated, Load, PATIENCE, Setup, echo, eventually};
use rustix::process::Signal;
use tonic::Code;

const DEVICE: &str =
    "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\nmultiplexing = 'exclusive'\n";

/// Writes the file, has the daemon read it, and waits until it has said `said` once more.
async fn reload(daemon: &Daemon, config: &str, said: &str) {
    let count = |log: String| log.matches(said).count();
    let before = count(daemon.log());
    std::fs::write(daemon.setup().path("edgemuxd.toml"), config).unwrap();
    daemon.process().signal(Signal::HUP);
    eventually(&format!("it says {said:?}"), PATIENCE, async || (count(daemon.log()) > before).then_some(()))
        .await;
}

#[tokio::test]
async fn a_good_file_holds_at_once_a_bad_one_changes_nothing_and_no_request_is_lost() {
    let config = |queue: usize| format!("drain-grace-s = 9.0\n[limits]\nqueue-requests = {queue}\n{DEVICE}");
    let daemon = Setup::bare(&config(200)).emulated("model", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    let load = Load::start(&daemon, &echo("model", [1.0; 4]), 4).await;
    const REFUSED: &str = "the configuration is not reloaded, nothing is changed";
    for round in 0..20 {
        reload(&daemon, &config(100 + round), "the configuration is reloaded").await;
        for (bad, why) in [
            ("listen = [".to_owned(), "TOML parse error"),
            (format!("colour = 'red'\n{DEVICE}"), "unknown field `colour`"),
            (format!("drain-grace-s = -1.0\n{DEVICE}"), "0 to 3600 seconds"),
            (
                config(1).replace("gpu0", "gpu1"),
                "only a start of the daemon can change: which devices there are",
            ),
            (format!("threads = 3\n{}", config(1)), "only a start of the daemon can change: threads"),
        ] {
            reload(&daemon, &bad, REFUSED).await;
            let log = daemon.log();
            let last = log.lines().rfind(|line| line.contains(REFUSED)).unwrap();
            assert!(last.contains(why), "{last}");
        }
    }
    let failed: Vec<_> = load.stop().await.into_iter().filter(|outcome| outcome.code != Code::Ok).collect();
    assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed.first());

    // The last good file holds: of the requests beyond its queue, and only of those, the next are refused.
    reload(&daemon, &config(3), "the configuration is reloaded").await;
    Emulated::new(300.0).write(&daemon.setup().models(), "model");
    client.load("model").await.unwrap();
    let waiting: Vec<_> = (0..4).map(|_| client.spawn(echo("model", [1.0; 4]))).collect();
    client.until_load("model", 3, 1).await;
    let refused = client.infer(echo("model", [1.0; 4])).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    for request in waiting {
        request.await.unwrap().unwrap();
    }
    daemon.stop().await;
}

#[tokio::test]
async fn how_a_device_is_shared_changes_with_the_file_and_an_operators_word_stays_until_it_does() {
    use edgemux_proto::edgemux::v1::{Multiplexing, SetMultiplexingRequest};
    let config = |mode: &str| DEVICE.replace("exclusive", mode);
    let daemon = Setup::bare(&config("exclusive")).start().await;
    let client = daemon.client().await;
    let mode = async || client.device("gpu0").await.multiplexing();
    reload(&daemon, &config("time-sliced"), "the configuration is reloaded").await;
    assert_eq!(mode().await, Multiplexing::TimeSliced);
    let mut request = SetMultiplexingRequest { device: "gpu0".into(), ..Default::default() };
    request.set_multiplexing(Multiplexing::Concurrent);
    client.devices.clone().set_multiplexing(request).await.unwrap();
    reload(&daemon, &config("time-sliced"), "the configuration is reloaded").await;
    assert_eq!(mode().await, Multiplexing::Concurrent);
    reload(&daemon, &config("exclusive"), "the configuration is reloaded").await;
    assert_eq!(mode().await, Multiplexing::Exclusive);
    daemon.stop().await;
}
