//! Many at once: who knows all that is asked for can begin with what asks least, and take back what turns out to be in the
//! way, since nothing runs yet.

use super::Ours;
use super::headroom::headroom;
use crate::app::AppId;
use crate::catalogue::{Catalogue, KindId};
use crate::cluster::Cluster;
use crate::load::{Load, Setting, Tenant};
use crate::policy::Policy;

/// Most applications for which exchanges are tried: each try places all that were left out again.
const EXCHANGED_MAX: usize = 64;

impl Ours {
    /// Hosts as many of `apps` as it finds places for, each announced and not hosted.
    pub fn place_all(&mut self, cluster: &mut Cluster, apps: &[AppId]) {
        let needs =
            |cluster: &Cluster, app: AppId| least(cluster.catalogue(), &Tenant::whole(app, cluster.app(app)));
        let mut order: Vec<(f64, AppId)> = apps.iter().map(|&app| (needs(cluster, app), app)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let order: Vec<AppId> = order.into_iter().map(|(_, app)| app).collect();
        self.place_each(cluster, &order);
        if apps.len() <= EXCHANGED_MAX {
            while self.exchange(cluster, &order) {}
        }
    }

    fn place_each(&mut self, cluster: &mut Cluster, apps: &[AppId]) {
        for &app in apps {
            if cluster.homes(app).is_empty()
                && let Ok(plan) = self.place(cluster, app)
            {
                cluster.apply(&plan);
            }
        }
    }

    /// Leaves one out, the most demanding first, if others can then come in that are more; or else one of each two.
    fn exchange(&mut self, cluster: &mut Cluster, order: &[AppId]) -> bool {
        let hosted: Vec<AppId> =
            order.iter().rev().copied().filter(|&app| !cluster.homes(app).is_empty()).collect();
        if hosted.len() == order.len() {
            return false;
        }
        for (at, &first) in hosted.iter().enumerate() {
            let seconds = std::iter::once(None).chain(hosted[at + 1..].iter().copied().map(Some));
            for second in seconds {
                let mut other = cluster.clone();
                let out: Vec<AppId> = std::iter::once(first).chain(second).collect();
                out.iter().for_each(|&app| other.withdraw(app));
                let rest: Vec<AppId> = order.iter().copied().filter(|app| !out.contains(app)).collect();
                self.place_each(&mut other, &rest);
                self.place_each(&mut other, &out);
                if other.hosted() > cluster.hosted() {
                    *cluster = other;
                    return true;
                }
            }
        }
        false
    }
}

/// The least headroom that a tenant takes of any kind of node, alone there.
fn least(catalogue: &Catalogue, tenant: &Tenant) -> f64 {
    let mut least = f64::INFINITY;
    for (kind, at) in catalogue.kinds.iter().zip(0..) {
        if kind.cost(tenant.model).is_none() {
            continue;
        }
        for setting in Setting::all(kind) {
            let load = Load::idle(KindId(at), setting).with(catalogue, tenant.clone());
            least = least.min(1.0 - headroom(catalogue, &load, 1.0));
        }
    }
    least
}
