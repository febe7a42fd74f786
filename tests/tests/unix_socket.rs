//! The unix socket: served, for its group only, and gone with the daemon.

use std::os::unix::fs::PermissionsExt;

use edgemux_tests::{Client, Emulated, Setup, assert_echo, echo};

#[tokio::test]
async fn it_serves_its_owner_and_group_and_is_removed_at_exit() {
    let setup = Setup::default().emulated("model", Emulated::new(1.0));
    let path = setup.path("run/edgemuxd.sock");
    let address = format!("unix:{}", path.display());
    let daemon = setup.argument("--listen", &address).start().await;
    assert_eq!(daemon.address(), address);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "{mode:o}");
    let client = daemon.client().await;
    assert_echo(&client.infer(echo("model", [1.0; 4])).await.unwrap(), [1.0; 4]);
    daemon.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn it_serves_beside_tcp() {
    let setup = Setup::default().emulated("model", Emulated::new(1.0));
    let unix = format!("unix:{}", setup.path("edgemuxd.sock").display());
    let daemon = setup.argument("--listen", "127.0.0.1:0").argument("--listen", &unix).start().await;
    for address in [daemon.address(), &unix] {
        let client = Client::connect(address).await;
        assert_echo(&client.infer(echo("model", [1.0; 4])).await.unwrap(), [1.0; 4]);
    }
    daemon.stop().await;
}
