//! The status page: one file that asks nobody else, over a document that tells what is so, what happened, and why.

use edgemux_proto::edgemux::v1::FenceRequest;
use edgemux_tests::{Emulated, PATIENCE, Poisson, Setup, echo, eventually, get, terms};

const DEVICE: &str = "
[[device]]
name = 'gpu0'
kind = 'gpu'
runtimes = ['emulator']
multiplexing = 'exclusive'
";

async fn document(metrics: &str) -> String {
    let (status, body) = get(metrics, "/status.json").await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn the_page_is_one_file_that_asks_nobody_else() {
    let daemon = Setup::bare(DEVICE).start().await;
    let (status, page) = get(daemon.metrics(), "/").await;
    assert_eq!(status, 200);
    assert!(page.starts_with("<!doctype html>") && page.contains("/status.json"));
    // The name of a vocabulary is the one address in it that is not its own.
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!elsewhere.contains("://") && !elsewhere.contains("src="), "it names another place");
    // What others have written is never taken for markup.
    assert!(!page.contains("innerHTML") && !page.contains("document.write"));
}

#[tokio::test]
async fn admissions_refusals_fences_and_drift_are_told_with_their_reasons() {
    let slow = "kind = 'slow-down'\nafter-requests = 40\nfactor = 9.0\nrequests = 400";
    let daemon = Setup::bare(DEVICE)
        .emulated("a", Emulated::new(5.0).not_at_start().fault(slow))
        .emulated("b", Emulated::new(20.0).not_at_start())
        .start()
        .await;
    let client = daemon.client().await;
    client.admit(&terms("a", 20.0, 0.99, 100.0)).await;
    let reserved = client.reserve("uid", &terms("b", 45.0, 0.99, 21.0)).await.unwrap();
    assert!(reserved.reservation.is_empty(), "{reserved:?}");
    let told = document(daemon.metrics()).await;
    for part in [
        r#""kind":"admitted","subject":"a/1","text":"20/s, p99 within 100 ms: on gpu0""#,
        r#""kind":"refused","subject":"b/1","text":"45/s, p99 within 21 ms: gpu0: "#,
        r#""name":"a/1","device":"gpu0","runtime":"emulator","state":"ready""#,
        r#""objective":["p99",100.0]"#,
        r#""configured":"exclusive""#,
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let requests = Poisson { request: echo("a", [1.0; 4]), rate_hz: 20.0, count: 400, seed: 1 };
    let running = tokio::spawn(requests.run(client.clone()));
    for part in [r#""kind":"drift","subject":"a/1""#, r#""kind":"at_risk","subject":"a/1""#] {
        eventually(part, PATIENCE, async || document(daemon.metrics()).await.contains(part).then_some(()))
            .await;
    }
    // The last minutes are drawn from points like these.
    let point = r#"{"observed_ms":"#;
    eventually("a point of history", PATIENCE, async || {
        document(daemon.metrics()).await.contains(point).then_some(())
    })
    .await;
    let fence = FenceRequest { device: "gpu0".into(), reason: "being <serviced>".into() };
    client.devices.clone().fence(fence).await.unwrap();
    let part = r#""kind":"fenced","subject":"gpu0","text":"being <serviced>""#;
    eventually(part, PATIENCE, async || document(daemon.metrics()).await.contains(part).then_some(())).await;
    running.abort();
}
