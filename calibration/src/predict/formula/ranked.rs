//! One at a time by rank.

use std::sync::Arc;

use super::{ATOMS, Device};
use crate::predict::known::KnownError;
use crate::predict::{Formula, PredictError};
use crate::queueing::fcfs::Class;
use crate::queueing::law::{Law, atoms};
use crate::queueing::priority::Ranked;
use crate::queueing::tail::{Inverter, Tail};
use crate::system::System;

pub(super) fn predict(
    system: &System,
    classes: &[Class<'_>],
    inverter: &mut Inverter,
) -> Result<Device, PredictError> {
    let mut order: Vec<_> = system.sessions.iter().map(|s| s.terms.rank()).collect();
    order.sort_unstable();
    order.dedup();
    let ranks: Vec<usize> =
        system.sessions.iter().map(|s| order.partition_point(|rank| *rank < s.terms.rank())).collect();
    let queue = Ranked::new(classes, &ranks)?;
    let waits: Vec<(f64, Arc<Tail>)> = (0..order.len())
        .map(|rank| {
            let wait = queue.wait(rank, inverter);
            (wait.mean, Arc::new(wait.tail))
        })
        .collect();
    let laws = classes.iter().zip(&ranks).map(|(class, &rank)| {
        let (mean, tail) = &waits[rank];
        let mut law = Law::new(mean + class.service.mean());
        for atom in atoms(class.service, ATOMS) {
            law.add(atom.weight, atom.at, tail);
        }
        law
    });
    let laws = laws.collect();
    let utilisation = queue.utilisation();
    Ok(Device { laws, utilisation, formula: Formula::Ranked, error: KnownError::FIRST_COME })
}
