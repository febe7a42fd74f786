//! One application on several nodes: its requests go to each of them by chance.

use super::search::Search;
use crate::app::AppId;
use crate::load::Tenant;
use crate::plan::{Plan, Tally};

impl Search<'_> {
    /// Divides `app` equally over as few nodes as will do.
    pub(super) fn in_parts(&mut self, app: AppId) -> Option<Plan> {
        let wanted = self.cluster.app(app);
        let whole = wanted.terms.rate.get();
        for parts in 2..=self.options.parts {
            let rate = whole / f64::from(parts);
            let tenant = Tenant::part(app, wanted, rate);
            let places = self.several(&tenant, &[], parts as usize, &mut Tally::default());
            if places.len() == parts as usize {
                let steps = places.iter().flat_map(|place| place.steps(self.cluster, &tenant));
                return Some(Plan { steps: steps.collect() });
            }
        }
        None
    }
}
