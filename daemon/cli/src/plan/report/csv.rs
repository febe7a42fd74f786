//! The plan as CSV: one line per application, admitted or not.

use super::{DeviceRow, Figures, Plan, SessionRow};
use crate::csv;

const COLUMNS: [&str; 17] = [
    "application",
    "model",
    "admitted",
    "device",
    "kind",
    "multiplexing",
    "rate_hz",
    "latency_ms",
    "quantile",
    "mean_ms",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "slack",
    "holds",
    "device_utilisation",
    "method",
];
const SIMULATED: [&str; 4] =
    ["simulated_mean_ms", "simulated_p50_ms", "simulated_p95_ms", "simulated_p99_ms"];

impl Plan {
    /// What was not asked for or does not apply is empty.
    pub(crate) fn csv(&self) -> String {
        let sessions = || self.devices.iter().flat_map(|device| &device.sessions);
        let simulated = sessions().any(|session| session.simulated.is_some());
        let mut columns = COLUMNS.to_vec();
        if simulated {
            columns.extend(SIMULATED);
        }
        columns.push("reasons");
        let mut text = csv::line(columns);
        for row in &self.applications {
            let place = self.place(&row.application);
            let (device, session) = (place.map(|(device, _)| device), place.map(|(_, session)| session));
            let mut cells = vec![
                row.application.clone(),
                row.model.clone(),
                row.admitted.to_string(),
                device.map(|device| device.device.clone()).unwrap_or_default(),
                device.map(|device| device.kind.to_owned()).unwrap_or_default(),
                device.map(|device| device.multiplexing.to_owned()).unwrap_or_default(),
                row.asked.rate_hz.to_string(),
                csv::number(row.asked.latency_ms),
                csv::number(row.asked.quantile),
            ];
            cells.extend(figures(session.map(|session| session.predicted)));
            cells.push(csv::number(session.and_then(|session| session.slack)));
            cells.push(
                session.and_then(|session| session.holds).map(|holds| holds.to_string()).unwrap_or_default(),
            );
            cells.push(csv::number(device.map(|device| device.utilisation)));
            cells.push(device.map(|device| device.method.to_owned()).unwrap_or_default());
            if simulated {
                cells.extend(figures(session.and_then(|session| session.simulated)));
            }
            let reasons =
                row.offers.iter().filter(|_| !row.admitted).flat_map(|offer| {
                    offer.reasons.iter().map(|reason| format!("{}: {reason}", offer.device))
                });
            cells.push(reasons.collect::<Vec<_>>().join("; "));
            text.push_str(&csv::line(cells.iter().map(String::as_str)));
        }
        text
    }

    fn place(&self, application: &str) -> Option<(&DeviceRow, &SessionRow)> {
        self.devices.iter().find_map(|device| {
            let session = device.sessions.iter().find(|session| session.session == application)?;
            Some((device, session))
        })
    }
}

fn figures(figures: Option<Figures>) -> [String; 4] {
    let of = |figure: fn(&Figures) -> f64| csv::number(figures.as_ref().map(figure));
    [of(|f| f.mean_ms), of(|f| f.p50_ms), of(|f| f.p95_ms), of(|f| f.p99_ms)]
}
