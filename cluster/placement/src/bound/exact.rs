//! The most applications that can be hosted whole, by a set-packing integer program over all loads that a node can bear.

use microlp::{ComparisonOp, LinearExpr, OptimizationDirection, Problem};

use super::{BoundError, solve};
use crate::app::{App, AppId};
use crate::assess::Assess;
use crate::catalogue::{Catalogue, KindId};
use crate::load::{Load, Setting, Tenant};

/// Most applications: a set of them is a bit each.
pub const APPS_MAX: usize = 16;

/// The most of `apps` that nodes of these kinds can host at once, each on one node, in the settings that are allowed.
///
/// A load that breaks a promise may bear it again with one more (of an edgeTPU's models one that is asked for more often
/// is reloaded less often), so every set is judged. Sets within sets that can be borne are then left out: what a
/// larger set hosts twice can be thought away. That makes it a bound from above, and nearly always the very most.
///
/// # Errors
/// Too many applications; a solver that gives up.
pub fn most(
    catalogue: &Catalogue,
    nodes: &[KindId],
    apps: &[App],
    judge: &mut impl Assess,
    all_settings: bool,
) -> Result<usize, BoundError> {
    if apps.len() > APPS_MAX {
        return Err(BoundError::TooMany(apps.len()));
    }
    let mut problem = Problem::new(OptimizationDirection::Maximize);
    let hosted: Vec<_> = apps.iter().map(|_| problem.add_binary_var(1.0)).collect();
    let mut covers: Vec<LinearExpr> = hosted
        .iter()
        .map(|&app| {
            let mut cover = LinearExpr::empty();
            cover.add(app, 1.0);
            cover
        })
        .collect();
    for at in 0..catalogue.kinds.len() {
        let kind = KindId(at as u32);
        let count = nodes.iter().filter(|&&other| other == kind).count();
        if count == 0 {
            continue;
        }
        let mut used = LinearExpr::empty();
        for set in bearable(catalogue, kind, apps, judge, all_settings) {
            let nodes = problem.add_integer_var(0.0, (0, count as i32));
            used.add(nodes, 1.0);
            for (app, cover) in covers.iter_mut().enumerate() {
                if set & (1 << app) != 0 {
                    cover.add(nodes, -1.0);
                }
            }
        }
        problem.add_constraint(used, ComparisonOp::Le, count as f64);
    }
    for cover in covers {
        problem.add_constraint(cover, ComparisonOp::Le, 0.0);
    }
    Ok(solve(&problem)?.round() as usize)
}

/// The sets of applications that a node of this kind bears, none within another.
fn bearable(
    catalogue: &Catalogue,
    kind: KindId,
    apps: &[App],
    judge: &mut impl Assess,
    all_settings: bool,
) -> Vec<u32> {
    let of = catalogue.kind(kind);
    let settings: Vec<Setting> =
        if all_settings { Setting::all(of).collect() } else { vec![Setting::of(of)] };
    let able = (0..apps.len()).filter(|&app| of.cost(apps[app].model).is_some());
    let able = able.fold(0_u32, |set, app| set | 1 << app);
    let mut sets: Vec<u32> = (1..1_u32 << apps.len()).filter(|set| set & !able == 0).collect();
    // The largest first: what lies within one that can be borne need not be judged.
    sets.sort_by_key(|set| std::cmp::Reverse(set.count_ones()));
    let mut borne: Vec<u32> = Vec::new();
    for set in sets {
        if borne.iter().any(|larger| set & larger == set) {
            continue;
        }
        let loads = settings.iter().map(|&setting| {
            let members = (0..apps.len()).filter(|app| set & (1 << app) != 0);
            members.fold(Load::idle(kind, setting), |load, app| {
                load.with(catalogue, Tenant::whole(AppId(app as u32), &apps[app]))
            })
        });
        if loads.into_iter().any(|load| judge.assess(catalogue, &load).is_ok()) {
            borne.push(set);
        }
    }
    borne
}
