//! Profiles as they are told.

use serde::Serialize;

use crate::format;
use crate::output::Report;
use crate::table::{Align, Table};
use crate::view::Profile;

/// Profiles of several sessions.
#[derive(Debug, Serialize)]
pub(super) struct Profiles {
    pub(super) profiles: Vec<Profile>,
}

/// One profile among those that are watched.
#[derive(Debug, Serialize)]
pub(super) struct Watched {
    #[serde(flatten)]
    pub(super) profile: Profile,
    /// Whether the columns' titles go before it.
    #[serde(skip)]
    pub(super) titled: bool,
}

/// What was forgotten.
#[derive(Debug, Serialize)]
pub(super) struct Reset {
    /// Absent for all.
    pub(super) session: Option<String>,
    pub(super) reset: bool,
}

// === impl Report for Profiles ===

impl Report for Profiles {
    fn text(&self) -> String {
        if self.profiles.is_empty() {
            return "no sessions: profiles come with them; `edgemux load NAME` loads a model\n".to_owned();
        }
        format!("{}\n{}", times(&self.profiles), origins(&self.profiles))
    }
}

// === impl Report for Watched ===

impl Report for Watched {
    fn text(&self) -> String {
        let table = times(std::slice::from_ref(&self.profile)).widened(WATCHED_WIDTHS);
        if self.titled { table.to_string() } else { table.rows() }
    }
}

// === impl Report for Reset ===

impl Report for Reset {
    fn text(&self) -> String {
        match &self.session {
            Some(session) => format!("forgotten what was measured of {session}\n"),
            None => "forgotten what was measured of all sessions\n".to_owned(),
        }
    }
}

/// Lines that come one by one cannot know how wide the next will be.
const WATCHED_WIDTHS: &[usize] = &[24, 8, 8, 10, 6, 6, 9, 6, 7, 8, 6, 10];

fn times(profiles: &[Profile]) -> Table {
    let right = |title| (title, Align::Right);
    let left = |title| (title, Align::Left);
    let mut table = Table::new(&[
        left("SESSION"),
        left("DEVICE"),
        right("SAMPLES"),
        right("SERVICE ms"),
        right("±"),
        right("CV"),
        right("RELOAD ms"),
        right("±"),
        right("PATH ms"),
        right("RATE/s"),
        right("c_a²"),
        right("DRIFTS"),
        right("AGE"),
    ]);
    for profile in profiles {
        let error = |error: f64| if error > 0.0 { format::percent(error) } else { "-".to_owned() };
        table.push([
            profile.session.clone(),
            profile.device.clone(),
            profile.samples.to_string(),
            format::ms(Some(profile.service_mean_ms)),
            error(profile.service_error),
            format!("{:.2}", profile.service_cv),
            format::ms(Some(profile.reload_ms)),
            error(profile.reload_error),
            format::ms(Some(profile.path_ms)),
            format::rate(profile.rate_hz),
            format!("{:.2}", profile.arrival_scv),
            profile.drift_text(),
            profile.age_s.map_or_else(|| "-".to_owned(), format::age),
        ]);
    }
    table
}

/// What a profile belongs to, and what else is known.
fn origins(profiles: &[Profile]) -> Table {
    let right = |title| (title, Align::Right);
    let left = |title| (title, Align::Left);
    let mut table = Table::new(&[
        left("SESSION"),
        left("MODEL DIGEST"),
        left("POWER MODE"),
        right("AT REST"),
        right("PEAK"),
        left("SPEED BY REQUESTS TOGETHER"),
    ]);
    for profile in profiles {
        let speed_up: Vec<String> = profile.speed_up.iter().map(|&speed| format::short(speed)).collect();
        table.push([
            profile.session.clone(),
            profile.model_digest.chars().take(16).collect(),
            profile.power_mode.clone(),
            format::bytes(profile.memory_at_rest_bytes),
            format::bytes(profile.memory_peak_bytes),
            speed_up.join(" "),
        ]);
    }
    table
}
