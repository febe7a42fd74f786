//! A line on stderr while requests are under way.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::recorder::Recorder;

/// A terminal's line is rewritten each second; a log gets a line now and then.
const TICK_S: Duration = Duration::from_secs(1);
const LOG_EVERY_TICKS: u32 = 10;

/// One model's counts, by its name.
pub(crate) struct Meter {
    pub(crate) name: String,
    pub(crate) recorder: Arc<Recorder>,
}

/// Shows the meters until `work` is done.
pub(crate) async fn with_progress<T>(meters: Vec<Meter>, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let terminal = io::stderr().is_terminal();
    let mut ticks = tokio::time::interval(TICK_S);
    let mut count = 0u32;
    tokio::pin!(work);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            _ = ticks.tick() => {
                let line = line(start.elapsed(), &meters);
                // Nobody reads a progress line that cannot be written.
                let _ = if terminal {
                    write!(io::stderr().lock(), "\r\x1b[2K{line}")
                } else if count > 0 && count.is_multiple_of(LOG_EVERY_TICKS) {
                    writeln!(io::stderr().lock(), "{line}")
                } else {
                    Ok(())
                };
                count = count.wrapping_add(1);
            }
        }
    };
    if terminal {
        let _ = write!(io::stderr().lock(), "\r\x1b[2K");
    }
    done
}

fn line(elapsed: Duration, meters: &[Meter]) -> String {
    let each: Vec<String> = meters
        .iter()
        .map(|meter| {
            let counts = meter.recorder.counts();
            let failed =
                if counts.failed > 0 { format!(", {} failed", counts.failed) } else { String::new() };
            format!("{} {} done{failed}", meter.name, counts.succeeded)
        })
        .collect();
    format!("{:3} s  {}", elapsed.as_secs(), each.join("  "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::sender::Failure;

    #[test]
    fn the_line_shows_each_model() {
        let recorder = Arc::new(Recorder::new().unwrap());
        let now = Instant::now();
        recorder.record(now, now, now, Ok(()));
        recorder.record(now, now, now, Err(Failure::new("UNAVAILABLE", "gone")));
        let meters = [Meter { name: "m".into(), recorder }];
        assert_eq!(line(Duration::from_secs(12), &meters), " 12 s  m 1 done, 1 failed");
    }
}
