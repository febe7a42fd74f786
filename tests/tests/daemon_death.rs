//! A daemon killed by SIGKILL leaves nothing behind, and another takes its place at the same addresses.

use edgemux_tests::{
    Emulated, Load, PATIENCE, Setup, assert_echo, echo, eventually, keywords, shared_objects,
};

#[tokio::test]
async fn workers_follow_a_killed_daemon_at_once_and_it_starts_again_at_the_same_addresses() {
    let objects = shared_objects();
    let setup = Setup::default().keywords("keywords").emulated("model", Emulated::new(1.0));
    let socket = setup.path("edgemuxd.sock");
    let unix = format!("unix:{}", socket.display());
    let daemon = setup.argument("--listen", "127.0.0.1:0").argument("--listen", &unix).start().await;
    let (tcp, metrics) = (daemon.address().to_owned(), daemon.metrics().to_owned());
    let load = Load::start(&daemon, &keywords("keywords"), 2).await;
    load.until_succeeded(20).await;
    assert!(daemon.process().children().len() >= 2);

    // Killing it asserts that its workers end too.
    let mut setup = daemon.kill().await;
    let outcomes = load.ended().await;
    assert!(outcomes.len() >= 20);
    for _ in 0..3 {
        assert!(socket.exists(), "a killed daemon cannot remove its socket");
        setup = setup
            .again()
            .argument("--listen", &tcp)
            .argument("--listen", &unix)
            .argument("--metrics", &metrics);
        let daemon = setup.start().await;
        for address in [&tcp, &unix] {
            let client = edgemux_tests::Client::connect(address).await;
            assert_echo(&client.infer(echo("model", [1.0; 4])).await.unwrap(), [1.0; 4]);
        }
        setup = daemon.kill().await;
    }
    assert_eq!(shared_objects(), objects);
}

#[tokio::test]
async fn workers_that_hang_or_load_follow_a_killed_daemon_too() {
    let hangs = Emulated::new(1.0).fault("kind = 'hang'\nafter-requests = 3");
    let daemon = Setup::default()
        .emulated("hangs", hangs)
        .emulated("warms-up", Emulated::new(30_000.0).on_tpu())
        .listen()
        .await;
    let client = daemon.client().await;
    client.until_ready("hangs").await;
    client.spawn(echo("hangs", [1.0; 4]));
    client.until_load("hangs", 0, 1).await;
    // It is loaded after the other.
    let there = async || client.session_names().await.contains(&"warms-up/1".to_owned()).then_some(());
    eventually("there is the session that warms up", PATIENCE, there).await;
    client.until_load("warms-up", 0, 1).await;
    daemon.kill().await;
}
