//! One line on stderr while something takes its time.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const TICK_S: Duration = Duration::from_secs(1);

/// Says what is under way until `work` is done: a terminal counts the seconds and is left clean, a log gets one line.
pub(crate) async fn while_waiting<T>(what: &str, work: impl Future<Output = T>) -> T {
    let terminal = io::stderr().is_terminal();
    // Nobody reads a progress line that cannot be written.
    if !terminal {
        let _ = writeln!(io::stderr().lock(), "{what} …");
        return work.await;
    }
    let start = Instant::now();
    let mut ticks = tokio::time::interval(TICK_S);
    tokio::pin!(work);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            _ = ticks.tick() => {
                let _ = write!(io::stderr().lock(), "\r\x1b[2K{what} … {} s", start.elapsed().as_secs());
            }
        }
    };
    let _ = write!(io::stderr().lock(), "\r\x1b[2K");
    done
}
