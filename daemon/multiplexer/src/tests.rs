//! What cannot be seen from outside: nothing is kept of requests that are done with.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::queue::Queue;

/// Places in all collections.
fn size(multiplexer: &Multiplexer) -> usize {
    let queues = multiplexer.sessions.values().flat_map(|state| [false, true].map(|at| state.queue(at)));
    multiplexer.waiting.capacity()
        + multiplexer.sessions.len()
        + multiplexer.ready.len()
        + multiplexer.in_service.capacity()
        + queues.map(Queue::capacity).sum::<usize>()
}

#[test]
fn a_million_requests_leave_nothing_behind() {
    const SESSIONS: u32 = 8;
    let modes = [
        Mode::Exclusive { run_max: NonZeroU32::MIN },
        Mode::Exclusive { run_max: NonZeroU32::new(4).unwrap() },
        Mode::TimeSliced { quantum: Duration::from_micros(700) },
        Mode::Concurrent { width: NonZeroU32::new(3).unwrap() },
    ];
    let mut multiplexer = Multiplexer::new(Mode::default());
    let mut actions = Vec::new();
    let mut now = Duration::ZERO;
    for session in 0..SESSIONS {
        let batching =
            Batching { size_max: NonZeroU32::new(3).unwrap(), delay_max: Duration::from_millis(2) };
        let settings = Settings {
            queue_limit: 20,
            guaranteed: session % 4 != 0,
            priority: Priority::new(session % 2),
            policing: Some(Policing { rate_hz: 120.0, burst: 5.0, excess: Excess::BestEffort }),
            group: (session % 3 == 0).then_some(1),
            batching: (session == 5).then_some(batching),
            expected: None,
        };
        multiplexer.handle(now, Event::Added { session, worker: session, settings }, &mut actions);
        multiplexer.handle(now, Event::Resumed(session), &mut actions);
    }
    let mut early = 0;
    let mut outcomes = 0;
    for request in 0..1_000_000_u64 {
        now += Duration::from_micros(800);
        if request % 5_000 == 0 {
            let mode = modes[(request / 5_000) as usize % modes.len()];
            multiplexer.handle(now, Event::ModeChanged(mode), &mut actions);
        }
        let session = (request.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 61) as SessionId;
        let deadline = (request % 7 == 0).then_some(now + Duration::from_millis(5));
        let priority = Priority::new((request % 3) as u32);
        multiplexer.handle(now, Event::Arrived { request, session, priority, deadline }, &mut actions);
        if request % 11 == 0 {
            multiplexer.handle(now, Event::Cancelled(request - 1.min(request)), &mut actions);
        }
        let service = Some(Duration::from_micros(100 + request % 1_400));
        let running = multiplexer.on_device().next();
        if let Some(request) = running {
            multiplexer.handle(now, Event::Finished { request, service }, &mut actions);
        }
        outcomes += actions.drain(..).filter(|action| !matches!(action, Action::Demoted(_))).count();
        if request == 100_000 {
            early = size(&multiplexer);
        }
    }
    assert!(outcomes > 800_000, "they did get somewhere: {outcomes}");
    let late = size(&multiplexer);
    assert!(late <= early * 5 / 4 + 64, "{early} places after a tenth, {late} after all");
}
