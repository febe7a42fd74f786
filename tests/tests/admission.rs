//! Nobody comes in who would break anybody's objective, and who is in keeps its word or is held to it.

use std::time::Instant;

use edgemux_proto::edgemux::v1::reason::Kind;
use edgemux_proto::edgemux::v1::{Multiplexing, Terms};
use edgemux_tests::{Emulated, Poisson, Setup, echo, eventually_equal, terms};
use tokio::task::JoinSet;
use tonic::Code;

const DEVICE: &str = "
[[device]]
name = 'gpu0'
kind = 'gpu'
runtimes = ['emulator']
";

/// A takes 5 ms and B 20 ms, neither loaded at start, on one device.
fn two(config: &str) -> Setup {
    Setup::bare(&format!("{DEVICE}{config}"))
        .emulated("a", Emulated::new(5.0).not_at_start())
        .emulated("b", Emulated::new(20.0).not_at_start())
}

#[tokio::test]
async fn the_last_place_is_given_once_however_many_ask_at_the_same_time() {
    let daemon = two("multiplexing = 'exclusive'").start().await;
    let client = daemon.client().await;
    // 20 ms at 25/s keep the device busy for half of the time: there is room for one.
    let wanted = terms("b", 25.0, 0.99, 200.0);
    let first = client.evaluate(&wanted).await.unwrap();
    assert!(first.admitted, "{first:#?}");
    // The same model under as many uids would be the same session: each asks for a version of its own.
    for version in 2..=100 {
        let model = Emulated::new(20.0).not_at_start();
        model.write_version(&daemon.setup().models(), "b", version);
    }
    let mut asking = JoinSet::new();
    for version in 1..=100 {
        let (client, wanted) = (client.clone(), Terms { version: version.to_string(), ..wanted.clone() });
        asking.spawn(async move { client.reserve(&format!("uid-{version}"), &wanted).await.unwrap() });
    }
    let answers = asking.join_all().await;
    let admitted: Vec<_> = answers.iter().filter(|answer| !answer.reservation.is_empty()).collect();
    let verdicts = || answers.iter().map(|answer| answer.verdict.as_ref().unwrap());
    assert_eq!(verdicts().filter(|verdict| verdict.admitted).count(), admitted.len());
    assert_eq!(admitted.len(), 1, "{} were admitted", admitted.len());
    for refused in verdicts().filter(|verdict| !verdict.admitted) {
        assert!(!refused.reasons.is_empty());
    }
    // The place is free again once it is released.
    client.release(&admitted[0].reservation).await.unwrap();
    assert!(client.evaluate(&wanted).await.unwrap().admitted);
}

#[tokio::test]
async fn a_refusal_says_whose_objective_breaks_and_which_rate_would_do() {
    let daemon = two("multiplexing = 'exclusive'").start().await;
    let client = daemon.client().await;
    client.admit(&terms("a", 40.0, 0.99, 30.0)).await;
    let asked = terms("b", 25.0, 0.99, 500.0);
    let refused = client.evaluate(&asked).await.unwrap();
    assert!(!refused.admitted);
    let reason = &refused.reasons[0];
    assert_eq!((reason.kind(), reason.session.as_str(), reason.wanted), (Kind::Objective, "a/1", 30.0));
    assert!(reason.predicted > 30.0 && reason.message.contains("a/1"), "{reason:?}");
    let rate = refused.largest_admissible_rate_hz;
    // Two tenants: who is there is shown before and after.
    assert_eq!(refused.tenants.len(), 2);
    let (a, b) = (&refused.tenants[0], &refused.tenants[1]);
    assert!(a.before.as_ref().unwrap().p99_ms < a.after.as_ref().unwrap().p99_ms);
    assert!(b.before.is_none() && b.objective_holds && !a.objective_holds);
    if rate > 0.0 {
        assert!(client.evaluate(&Terms { rate_hz: rate, ..asked.clone() }).await.unwrap().admitted);
    }
    // Triton's way in is the same, and is refused in the same way.
    let refused = client.load_with(&asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("a/1: its p99 would be"), "{}", refused.message());
    assert!(!refused.details().is_empty());
}

#[tokio::test]
async fn a_reservation_is_the_same_when_asked_for_again_and_ends_with_its_time() {
    let daemon = two("").start().await;
    let client = daemon.client().await;
    let wanted = terms("a", 10.0, 0.99, 100.0);
    let first = client.reserve_for("u", 3, &wanted, 60.0).await.unwrap();
    let again = client.reserve_for("u", 3, &wanted, 60.0).await.unwrap();
    assert_eq!(first.reservation, again.reservation);
    assert!(again.expires_in_s > 0.0 && again.expires_in_s <= 60.0);
    let older = client.reserve_for("u", 2, &wanted, 60.0).await.unwrap_err();
    assert_eq!(older.code(), Code::FailedPrecondition);
    let other = client.reserve_for("u", 3, &terms("a", 11.0, 0.99, 100.0), 60.0).await.unwrap_err();
    assert_eq!(other.code(), Code::FailedPrecondition);
    let newer = client.reserve_for("u", 4, &terms("a", 11.0, 0.99, 100.0), 60.0).await.unwrap();
    assert_ne!(newer.reservation, first.reservation);
    assert_eq!(client.commit(&first.reservation).await.unwrap_err().code(), Code::NotFound);
    let session = client.commit(&newer.reservation).await.unwrap();
    assert_eq!(session.terms.unwrap().rate_hz, 11.0);
    assert_eq!(client.commit(&newer.reservation).await.unwrap().id, "a/1");

    let short = client.reserve_for("short", 1, &terms("b", 5.0, 0.99, 500.0), 0.05).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(80)).await;
    assert_eq!(client.commit(&short.reservation).await.unwrap_err().code(), Code::NotFound);
    for (ttl, uid) in [(-1.0, "u2"), (f64::NAN, "u2"), (1e9, "u2"), (1.0, "")] {
        let refused = client.reserve_for(uid, 1, &wanted, ttl).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{ttl} {uid:?}");
    }

    client.release(&newer.reservation).await.unwrap();
    eventually_equal("sessions", 0, async || client.session_names().await.len()).await;
}

#[tokio::test]
async fn a_lease_that_ends_in_the_middle_of_its_load_is_loaded_to_the_end() {
    let slow = Emulated::new(150.0).not_at_start();
    let daemon = two("").emulated("slow", slow).start().await;
    let client = daemon.client().await;
    let wanted = terms("slow", 1.0, 0.99, 2000.0);
    // The first decision measures the model; from then on only the load takes time.
    client.evaluate(&wanted).await.unwrap();
    let reserved = client.reserve_for("u", 1, &wanted, 0.1).await.unwrap();
    let session = client.commit(&reserved.reservation).await.unwrap();
    assert_eq!(session.id, "slow/1");
    assert!(client.is_ready("slow").await);
    assert_eq!(client.commit(&reserved.reservation).await.unwrap().id, "slow/1");
}

#[tokio::test]
async fn an_objective_that_cannot_be_met_and_rates_that_cannot_be_are_refused_in_words() {
    let daemon = two("").start().await;
    let client = daemon.client().await;
    let impossible = client.evaluate(&terms("b", 1.0, 0.99, 5.0)).await.unwrap();
    assert!(!impossible.admitted);
    assert_eq!(impossible.largest_admissible_rate_hz, 0.0);
    assert!(impossible.reasons.iter().all(|reason| reason.kind() == Kind::Objective), "{impossible:#?}");
    let too_much = client.evaluate(&terms("b", 1000.0, 0.99, 500.0)).await.unwrap();
    assert!(!too_much.admitted && too_much.largest_admissible_rate_hz > 1.0);
    assert!(too_much.reasons.iter().any(|reason| reason.kind() == Kind::Stability), "{too_much:#?}");
    for rate in [0.0, -1.0, 1e9, f64::NAN, f64::INFINITY] {
        let refused = client.evaluate(&terms("b", rate, 0.99, 500.0)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{rate}");
    }
    let unknown = client.evaluate(&terms("none", 1.0, 0.99, 500.0)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn memory_is_a_dimension_of_admission() {
    let model = || Emulated::new(5.0).memory(600).not_at_start();
    let daemon = Setup::bare(&format!("{DEVICE}memory-bytes = 1000"))
        .emulated("a", model())
        .emulated("b", model())
        .start()
        .await;
    let client = daemon.client().await;
    client.admit(&terms("a", 1.0, 0.99, 500.0)).await;
    let refused = client.evaluate(&terms("b", 1.0, 0.99, 500.0)).await.unwrap();
    assert!(!refused.admitted);
    assert_eq!(refused.reasons[0].kind(), Kind::Memory);
    assert_eq!((refused.memory_bytes, refused.memory_capacity_bytes), (1200, 1000));
}

#[tokio::test]
async fn best_effort_comes_in_only_if_one_inference_of_it_breaks_no_objective() {
    let daemon = two("").emulated("long", Emulated::new(500.0).not_at_start()).start().await;
    let client = daemon.client().await;
    // Far from what B takes, one of whose few trials a machine may hold up, and from what the long one takes.
    client.admit(&terms("a", 20.0, 0.99, 200.0)).await;
    client.load("b").await.unwrap();
    let refused = client.load("long").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("a/1"), "{}", refused.message());
    let session = client.session("b").await;
    assert_eq!(session.terms.unwrap().rate_hz, 0.0);
}

#[tokio::test]
async fn a_mode_is_chosen_under_which_everybody_fits() {
    // Two equal tenants with p99 far above what each takes alone: whatever is chosen, it is one of the device's modes.
    let daemon = two(
        "multiplexing = 'auto'\n[device.emulator]\nsharing = 'speed-up'\nspeed-up = [1.0, 1.8, 2.4, 2.8]",
    )
    .start()
    .await;
    let client = daemon.client().await;
    let verdict = client.admit(&terms("a", 60.0, 0.99, 100.0)).await;
    assert_eq!(client.device("gpu0").await.multiplexing(), verdict.multiplexing());
    assert_eq!(client.device("gpu0").await.configured_multiplexing(), Multiplexing::Auto);
    assert!(client.device("gpu0").await.predicted_utilisation < 0.5);
}

#[tokio::test]
async fn what_exceeds_the_terms_is_refused_with_the_time_to_come_again() {
    let daemon = two("multiplexing = 'exclusive'").start().await;
    let client = daemon.client().await;
    client.admit(&Terms { burst: 5.0, ..terms("a", 20.0, 0.99, 5_000.0) }).await;
    let flood = Poisson { request: echo("a", [1.0; 4]), rate_hz: 400.0, count: 200, seed: 1 };
    let begun = Instant::now();
    let seen = flood.run(client.clone()).await;
    assert_eq!(seen.failed, Vec::<String>::new());
    // 5 at once and 20 per second, a twentieth more being tolerated.
    let most = 6.0 + 21.0 * begun.elapsed().as_secs_f64();
    let through = seen.latencies.len() as f64;
    assert!(through <= most && through >= 6.0, "{through} got through; {most} may");
    let session = client.session("a").await;
    assert_eq!(session.excess_refused as usize, seen.refused);
    let refused = loop {
        if let Err(refused) = client.infer(echo("a", [1.0; 4])).await {
            break refused;
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("more than its terms allow; try again in"), "{}", refused.message());
}
