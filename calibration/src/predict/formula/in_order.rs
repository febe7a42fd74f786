//! One at a time, in the order of arrival; a guess where the order is another.

use std::sync::Arc;

use super::{ATOMS, Device, all_poisson, ranked, reloads, resident_load, same_rank, service_scv};
use crate::predict::known::KnownError;
use crate::predict::{Formula, PredictError};
use crate::queueing::allen_cunneen;
use crate::queueing::fcfs::{Class, Fcfs, Resident, Waits};
use crate::queueing::law::{Law, atoms};
use crate::queueing::tail::Inverter;
use crate::system::{Mode, System};

pub(super) fn predict(
    system: &System,
    classes: &[Class<'_>],
    inverter: &mut Inverter,
) -> Result<Device, PredictError> {
    let (reloads, same_rank, poisson) = (reloads(classes), same_rank(system), all_poisson(system));
    let turns = matches!(system.device.mode, Mode::TimeSliced(_)) && classes.len() > 1;
    let runs = reloads && matches!(system.device.mode, Mode::Exclusive { run_max } if run_max.get() > 1);
    if !same_rank && !reloads && !turns && poisson {
        return ranked::predict(system, classes, inverter);
    }
    let queue = match Fcfs::solve(classes) {
        Ok(queue) => queue,
        // Fewer reloads than in order of arrival might still fit.
        Err(_) if (runs || turns || !same_rank) && resident_load(classes) < 1.0 => {
            return Err(PredictError::NoFormula("reloads in another order than that of arrival"));
        }
        Err(unstable) => return Err(unstable.into()),
    };
    let scv =
        allen_cunneen::merged(system.sessions.iter().map(|s| (s.terms.rate.get(), s.terms.arrivals.get())));
    let Waits { mut all, mut groups } = queue.waits(inverter);
    let mut wait = queue.mean_wait();
    if !poisson {
        let factor = allen_cunneen::factor(scv, service_scv(classes));
        wait *= factor;
        all = all.stretched(factor);
        groups = groups.iter().map(|tail| tail.stretched(factor)).collect();
    }
    let all = Arc::new(all);
    let groups: Vec<_> = groups.into_iter().map(Arc::new).collect();
    let laws = (0..classes.len()).map(|at| {
        let class = &classes[at];
        let mut law = Law::new(queue.mean_sojourn(at) - queue.mean_wait() + wait);
        for atom in atoms(class.service, ATOMS) {
            let (fresh, reloaded) = (atom.at, atom.at + class.overhead);
            match queue.resident(at) {
                _ if class.overhead == 0.0 => law.add(atom.weight, fresh, &all),
                Resident::Coin(resident) => {
                    law.add(atom.weight * resident, fresh, &all);
                    law.add(atom.weight * (1.0 - resident), reloaded, &all);
                }
                Resident::Group { group, kept, .. } => {
                    law.add(atom.weight * kept, fresh, &groups[group]);
                    law.add(atom.weight, reloaded, &all);
                    law.add(-atom.weight * kept, reloaded, &groups[group]);
                }
            }
        }
        law
    });
    let laws = laws.collect();
    let exact = same_rank && !turns && !runs && poisson;
    let several = reloads && has_groups_of_several(classes);
    let (formula, error) = match (exact, several) {
        (true, false) => (Formula::FirstCome, KnownError::FIRST_COME),
        (true, true) => (Formula::FirstCome, KnownError::GROUPS),
        (false, _) => (Formula::FirstComeStretched, KnownError::GUESS),
    };
    Ok(Device { laws, utilisation: queue.utilisation(), formula, error })
}

fn has_groups_of_several(classes: &[Class<'_>]) -> bool {
    let mut groups: Vec<usize> = classes.iter().map(|class| class.group).collect();
    groups.sort_unstable();
    groups.windows(2).any(|pair| pair[0] == pair[1])
}
