//! Waits for a moment, to some ten microseconds.
//!
//! The runtime's own timers have a resolution of a millisecond, which is longer than a small model takes: requests would
//! leave in bunches and late. A timerfd wakes at the nanosecond asked, and costs no spinning.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub(super) struct Pacer {
    timer: AsyncFd<OwnedFd>,
}

// === impl Pacer ===

impl Pacer {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "the promise that the unsafe replacement asks for is one that an OwnedFd keeps by itself"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self { timer })
    }

    /// Returns at `due`, at once where that has passed.
    pub(super) async fn until(&mut self, due: Instant) -> io::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let spec = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(left) };
        rustix::time::timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &spec)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut expirations)?)) {
                return read.map(|_| ());
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_waits_as_long_as_asked_and_not_for_what_has_passed() {
        let mut pacer = Pacer::new().unwrap();
        for micros in [0, 200, 3000] {
            let due = Instant::now() + Duration::from_micros(micros);
            pacer.until(due).await.unwrap();
            assert!(Instant::now() >= due);
        }
        pacer.until(Instant::now() - Duration::from_secs(1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_does_not_end_the_next_one_early() {
        let mut pacer = Pacer::new().unwrap();
        let far = Instant::now() + Duration::from_millis(5);
        tokio::select! {
            biased;
            _ = pacer.until(far) => panic!("came too early"),
            () = std::future::ready(()) => {}
        }
        let due = far + Duration::from_millis(10);
        pacer.until(due).await.unwrap();
        assert!(Instant::now() >= due);
    }
}
