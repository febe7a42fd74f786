//! What the multiplexer decides in: one arrival and one end of a request, among 32 sessions with 128 requests waiting.
//! Allocations are counted.
//!
//! `cargo bench -p edgemux-multiplexer --bench decide`

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use divan::{AllocProfiler, Bencher};
use edgemux_multiplexer::{
    Action, Event, Excess, Mode, Multiplexer, Policing, Priority, RequestId, SessionId, Settings,
};

const SESSIONS: SessionId = 32;
const WAITING: usize = 128;
const SERVICE: Duration = Duration::from_millis(1);

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A device that is busy all the time.
struct Device {
    multiplexer: Multiplexer,
    now: Duration,
    arrived: RequestId,
    running: VecDeque<RequestId>,
    actions: Vec<Action>,
}

impl Device {
    fn new(mode: Mode, policing: Option<Policing>, group: Option<u32>) -> Self {
        let mut device = Self {
            multiplexer: Multiplexer::new(mode),
            now: Duration::ZERO,
            arrived: 0,
            running: VecDeque::new(),
            actions: Vec::new(),
        };
        for session in 0..SESSIONS {
            let settings = Settings {
                queue_limit: 1024,
                guaranteed: true,
                priority: Priority::new(session % 3),
                policing,
                group: group.map(|groups| session % groups),
                batching: None,
                expected: Some(SERVICE),
            };
            device.tell(Event::Added { session, worker: 0, settings });
            device.tell(Event::Resumed(session));
        }
        for _ in 0..WAITING {
            device.arrive();
        }
        device
    }

    fn tell(&mut self, event: Event) {
        self.multiplexer.handle(self.now, event, &mut self.actions);
        for action in self.actions.drain(..) {
            if let Action::Dispatch { request, .. } = action {
                self.running.push_back(request);
            }
        }
    }

    fn arrive(&mut self) {
        self.arrived += 1;
        // Neither in turn nor at random: an odd number of sessions further on each time.
        let session = (self.arrived.wrapping_mul(11) % u64::from(SESSIONS)) as SessionId;
        let deadline = Some(self.now + Duration::from_secs(3600));
        let request = self.arrived;
        self.tell(Event::Arrived { request, session, priority: Priority::DEFAULT, deadline });
    }

    fn step(&mut self) {
        self.now += SERVICE;
        self.arrive();
        if let Some(request) = self.running.pop_front() {
            self.tell(Event::Finished { request, service: Some(SERVICE) });
        }
    }
}

fn measure(bencher: Bencher<'_, '_>, mode: Mode, policing: Option<Policing>, group: Option<u32>) {
    let mut device = Device::new(mode, policing, group);
    (0..10_000).for_each(|_| device.step());
    bencher.bench_local(|| device.step());
}

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

/// The rate at which each session's requests come here is 31 per second.
fn policed() -> Option<Policing> {
    Some(Policing { rate_hz: 32.0, burst: 50.0, excess: Excess::BestEffort })
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn exclusive(bencher: Bencher<'_, '_>) {
    measure(bencher, Mode::default(), None, None);
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn exclusive_policed(bencher: Bencher<'_, '_>) {
    measure(bencher, Mode::default(), policed(), None);
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn exclusive_in_runs_policed(bencher: Bencher<'_, '_>) {
    measure(bencher, Mode::Exclusive { run_max: number(4) }, policed(), Some(8));
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn time_sliced_policed(bencher: Bencher<'_, '_>) {
    measure(bencher, Mode::TimeSliced { quantum: Duration::from_micros(500) }, policed(), None);
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn concurrent_policed(bencher: Bencher<'_, '_>) {
    measure(bencher, Mode::Concurrent { width: number(8) }, policed(), None);
}

/// What is allocated in 10⁷ requests is given back: as much is held afterwards as before.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn ten_million_policed(bencher: Bencher<'_, '_>) {
    let mut device = Device::new(Mode::default(), policed(), None);
    (0..10_000).for_each(|_| device.step());
    bencher.bench_local(|| (0..10_000_000).for_each(|_| device.step()));
}
