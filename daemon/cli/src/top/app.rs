//! What the live view remembers between two looks, and what its keys do.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::widgets::TableState;

use super::Snapshot;
use crate::view::Session;

/// How often it may look.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));

/// What a key asks of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing but to be shown.
    Nothing,
    /// Look at the node at once.
    Look,
    Leave,
}

/// By what sessions are sorted: names upwards, figures downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    Device,
    Rate,
    P99,
    Queued,
    Policed,
    AtRisk,
}

#[derive(Debug)]
pub(super) struct App {
    pub(super) snapshot: Snapshot,
    /// When the snapshot was taken.
    pub(super) taken: Instant,
    /// Why there is no newer one.
    pub(super) failure: Option<String>,
    pub(super) interval: Duration,
    pub(super) paused: bool,
    pub(super) help: bool,
    pub(super) sort: Sort,
    /// The chosen session, which keeps its mark wherever sorting puts it.
    chosen: Option<String>,
    /// What part of a long table is shown.
    pub(super) scroll: TableState,
}

// === impl App ===

impl App {
    pub(super) fn new(snapshot: Snapshot, interval: Duration, now: Instant) -> Self {
        Self {
            snapshot,
            taken: now,
            failure: None,
            interval,
            paused: false,
            help: false,
            sort: Sort::Name,
            chosen: None,
            scroll: TableState::new(),
        }
    }

    /// Takes what a look came to; what is shown stays where it failed.
    pub(super) fn looked(&mut self, seen: Result<Snapshot, String>, now: Instant) {
        match seen {
            // A look that was under way when `p` was pressed changes nothing.
            Ok(_) if self.paused => {}
            Ok(snapshot) => {
                self.snapshot = snapshot;
                self.taken = now;
                self.failure = None;
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Wish::Leave,
            _ if self.help => self.help = false,
            KeyCode::Char('q') | KeyCode::Esc => return Wish::Leave,
            KeyCode::Char('r') => return Wish::Look,
            KeyCode::Char('p' | ' ') => {
                self.paused = !self.paused;
                return if self.paused { Wish::Nothing } else { Wish::Look };
            }
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('S') => self.sort = self.sort.previous(),
            KeyCode::Char('+') => self.interval = (self.interval / 2).max(INTERVALS.0),
            KeyCode::Char('-') => self.interval = (self.interval * 2).min(INTERVALS.1),
            KeyCode::Down | KeyCode::Char('j') => self.choose(self.chosen_at() + 1),
            KeyCode::Up | KeyCode::Char('k') => self.choose(self.chosen_at().saturating_sub(1)),
            KeyCode::Home | KeyCode::Char('g') => self.choose(0),
            KeyCode::End | KeyCode::Char('G') => self.choose(usize::MAX),
            _ => {}
        }
        Wish::Nothing
    }

    /// Sessions in the order in which they are shown.
    pub(super) fn sessions(&self) -> Vec<&Session> {
        let mut sessions: Vec<&Session> = self.snapshot.sessions.iter().collect();
        let p99 = |session: &Session| session.observed.map_or(f64::MIN, |latency| latency.p99_ms);
        let policed = |session: &Session| session.excess_refused + session.excess_best_effort;
        sessions.sort_by(|a, b| {
            match self.sort {
                Sort::Name => a.id.cmp(&b.id),
                Sort::Device => a.device.cmp(&b.device),
                Sort::Rate => b.observed_rate_hz.total_cmp(&a.observed_rate_hz),
                Sort::P99 => p99(b).total_cmp(&p99(a)),
                Sort::Queued => b.queued.cmp(&a.queued),
                Sort::Policed => policed(b).cmp(&policed(a)),
                Sort::AtRisk => b.slo_at_risk.cmp(&a.slo_at_risk),
            }
            .then_with(|| a.id.cmp(&b.id))
        });
        sessions
    }

    /// The chosen session's place; that of the first where it has gone.
    pub(super) fn chosen_at(&self) -> usize {
        let sessions = self.sessions();
        let chosen = self.chosen.as_ref();
        chosen.and_then(|chosen| sessions.iter().position(|session| session.id == *chosen)).unwrap_or(0)
    }

    fn choose(&mut self, at: usize) {
        let sessions = self.sessions();
        let chosen = sessions.get(at.min(sessions.len().saturating_sub(1)));
        self.chosen = chosen.map(|session| session.id.clone());
    }
}

// === impl Sort ===

impl Sort {
    const ALL: [Self; 7] =
        [Self::Name, Self::Device, Self::Rate, Self::P99, Self::Queued, Self::Policed, Self::AtRisk];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Device => "device",
            Self::Rate => "rate",
            Self::P99 => "p99",
            Self::Queued => "queued",
            Self::Policed => "policed",
            Self::AtRisk => "at risk",
        }
    }

    fn next(self) -> Self {
        self.steps(1)
    }

    fn previous(self) -> Self {
        self.steps(Self::ALL.len() - 1)
    }

    fn steps(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;

    fn app() -> App {
        App::new(examples::node(), Duration::from_secs(1), Instant::now())
    }

    fn press(app: &mut App, code: KeyCode) -> Wish {
        app.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn chosen(app: &App) -> &str {
        &app.sessions()[app.chosen_at()].id
    }

    #[test]
    fn a_chosen_session_stays_chosen_wherever_it_moves() {
        let mut app = app();
        assert_eq!(chosen(&app), "detector/1");
        press(&mut app, KeyCode::End);
        press(&mut app, KeyCode::Down);
        assert_eq!(chosen(&app), "segmenter/2");
        press(&mut app, KeyCode::Char('S'));
        assert_eq!(app.sort, Sort::AtRisk);
        assert_eq!((app.chosen_at(), chosen(&app)), (0, "segmenter/2"));
        app.snapshot.sessions.retain(|session| session.id != "segmenter/2");
        assert_eq!(app.chosen_at(), 0, "the first, where it has gone");
        app.snapshot.sessions.clear();
        for key in [KeyCode::Up, KeyCode::Down, KeyCode::End] {
            press(&mut app, key);
        }
        assert_eq!(app.chosen_at(), 0);
    }

    #[test]
    fn every_order_is_reached_and_puts_the_largest_first() {
        let mut app = app();
        for (sort, first) in [
            (Sort::Device, "detector/1"),
            (Sort::Rate, "segmenter/2"),
            (Sort::P99, "segmenter/2"),
            (Sort::Queued, "segmenter/2"),
            (Sort::Policed, "segmenter/2"),
            (Sort::AtRisk, "segmenter/2"),
            (Sort::Name, "detector/1"),
        ] {
            press(&mut app, KeyCode::Char('s'));
            assert_eq!((app.sort, app.sessions()[0].id.as_str()), (sort, first));
        }
    }

    #[test]
    fn keys_leave_look_and_hold_still() {
        let mut app = app();
        for leave in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(press(&mut app, leave), Wish::Leave);
        }
        assert_eq!(app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Wish::Leave);
        assert_eq!(press(&mut app, KeyCode::Char('c')), Wish::Nothing);
        assert_eq!(press(&mut app, KeyCode::Char('r')), Wish::Look);
        assert_eq!((press(&mut app, KeyCode::Char('p')), app.paused), (Wish::Nothing, true));
        let sessions = app.snapshot.sessions.len();
        let empty = Snapshot { sessions: Vec::new(), ..examples::node() };
        app.looked(Ok(empty.clone()), Instant::now());
        assert_eq!(app.snapshot.sessions.len(), sessions, "it holds still");
        assert_eq!((press(&mut app, KeyCode::Char(' ')), app.paused), (Wish::Look, false));
        app.looked(Ok(empty), Instant::now());
        assert_eq!(app.snapshot.sessions.len(), 0);
        assert_eq!((press(&mut app, KeyCode::Char('?')), app.help), (Wish::Nothing, true));
        assert_eq!((press(&mut app, KeyCode::Esc), app.help), (Wish::Nothing, false), "help is left first");
    }

    #[test]
    fn it_looks_neither_all_the_time_nor_never() {
        let mut app = app();
        for (key, limit) in [('+', INTERVALS.0), ('-', INTERVALS.1)] {
            for _ in 0..30 {
                press(&mut app, KeyCode::Char(key));
            }
            assert_eq!(app.interval, limit);
        }
    }

    #[test]
    fn what_was_seen_stays_when_the_server_goes() {
        let mut app = app();
        app.looked(Err("gone".into()), Instant::now());
        assert_eq!((app.snapshot.sessions.len(), app.failure.as_deref()), (3, Some("gone")));
        app.looked(Ok(examples::node()), Instant::now());
        assert_eq!(app.failure, None);
    }
}
