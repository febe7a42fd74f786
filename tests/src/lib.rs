//! What the end-to-end tests share: a real `edgemuxd` over a folder of its own, real clients, and counts of what its
//! processes hold.
//!
//! Each file under `tests/` keeps one promise. They find the daemon beside themselves, in `target/PROFILE/edgemuxd`, or
//! where `EDGEMUXD` says; `cargo build -p edgemuxd` puts it there.

mod binary;
mod bystanders;
mod client;
mod daemon;
mod http;
mod load;
mod overhead;
mod poisson;
mod process;
mod quiet;
mod repository;
mod setup;

use std::fmt::Debug;
use std::time::{Duration, Instant};

pub use self::binary::edgemuxd;
pub use self::bystanders::Bystanders;
pub use self::client::{Client, Parameter, assert_echo, echo, keywords, parameter, request, terms};
pub use self::daemon::Daemon;
pub use self::http::get;
pub use self::load::{Load, Outcome, latency};
pub use self::overhead::{overhead, overhead_head};
pub use self::poisson::{Poisson, Seen};
pub use self::process::{Held, Process, shared_objects};
pub use self::quiet::is_quiet;
pub use self::repository::Emulated;
pub use self::setup::{Refused, Setup};

/// Anything that is to happen happens within this time, or the test fails: a bound on hanging, not a promise.
pub const PATIENCE: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks again and again until there is something to see, and returns it; panics with `what` after `within`.
pub async fn eventually<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks again and again until it sees `expected`; panics with what it saw last once [`PATIENCE`] is at its end.
pub async fn eventually_equal<T: PartialEq + Debug>(
    what: &str,
    expected: T,
    mut look: impl AsyncFnMut() -> T,
) {
    let begun = Instant::now();
    loop {
        let seen = look().await;
        if seen == expected {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {seen:?}, and not {expected:?} within {PATIENCE:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
