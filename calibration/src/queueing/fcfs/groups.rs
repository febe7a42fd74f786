//! Reload groups of a first-come-first-served queue, and their transforms.

use super::{Class, group_shares};
use crate::queueing::series::Series;
use crate::service::ServiceTime;

/// The least share, of all requests or of all work, that makes a group worth solving for; what rarer and lighter ones
/// remember is lost in the noise, and a coin stands for it.
const SHARE_MIN: f64 = 0.04;

/// One reload group; or the rest: groups that lose nothing to others, or are too small to matter one by one.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) members: Vec<Member>,
    /// Whether this is the rest: its members reload by a coin, whatever ran before.
    pub(super) rest: bool,
    /// Probability that a request is of this group.
    pub(super) share: f64,
    /// r_h.
    pub(super) resident: Series,
    /// q_h.
    pub(super) with_reload: Series,
    /// v_h = P(W = 0, J = h).
    pub(super) idle: f64,
    /// Φ_h.
    pub(super) wait: Series,
}

/// One class in its group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) class: usize,
    /// Probability that a request is of this class.
    pub(super) share: f64,
    /// Probability of finding its parameters in place.
    pub(super) resident: f64,
    /// The same, given that the request before was of its group.
    pub(super) kept: f64,
}

impl Group {
    fn new(classes: &[Class<'_>], members: Vec<Member>, rest: bool) -> Self {
        let (mut resident, mut with_reload) = (Series::ZERO, Series::ZERO);
        for member in &members {
            let class = &classes[member.class];
            let service = Series::of(class.service).scaled(member.share);
            let reloaded = service.times(Series::exponential(class.overhead));
            let mixed = |coin: f64| service.scaled(coin).plus(reloaded.scaled(1.0 - coin));
            let (in_group, after_others) = if rest {
                (mixed(member.resident), mixed(member.resident))
            } else {
                (mixed(member.kept), reloaded)
            };
            (resident, with_reload) = (resident.plus(in_group), with_reload.plus(after_others));
        }
        let share = members.iter().map(|member| member.share).sum();
        Self { members, rest, share, resident, with_reload, idle: 0.0, wait: Series::ZERO }
    }

    /// D_h and q_h at s = −u, u real; infinite where a transform diverges. `rate` is Λ.
    pub(super) fn at(&self, classes: &[Class<'_>], rate: f64, u: f64) -> (f64, f64) {
        let (mut difference, mut with_reload) = (0.0, 0.0);
        for member in &self.members {
            let class = &classes[member.class];
            let service = member.share * real_transform(class.service, u);
            let reload = (u * class.overhead).exp();
            if self.rest {
                with_reload += service * (member.resident + (1.0 - member.resident) * reload);
            } else {
                difference += service * member.kept * (1.0 - reload);
                with_reload += service * reload;
            }
        }
        (rate + u - rate * difference, with_reload)
    }

    /// D_h as a series in u = −s.
    pub(super) fn denominator(&self, rate: f64) -> Series {
        let difference = self.resident.minus(self.with_reload).scaled(rate);
        Series([rate, 1.0, 0.0, 0.0]).minus(difference)
    }
}

/// Sorts classes into groups.
pub(super) fn gather(classes: &[Class<'_>], rate: f64, resident: &[f64]) -> Vec<Group> {
    let shares = group_shares(classes);
    let work: f64 = classes.iter().map(Class::longest_work).sum();
    let mut gathered: Vec<(bool, Vec<Member>)> = vec![(false, Vec::new()); shares.len()];
    for (at, class) in classes.iter().enumerate() {
        let share = class.rate / rate;
        let kept =
            if shares[class.group] > 0.0 { (resident[at] / shares[class.group]).min(1.0) } else { 0.0 };
        let member = Member { class: at, share, resident: resident[at], kept };
        let (solved, members) = &mut gathered[class.group];
        // A group without overhead has nothing to remember.
        let matters = f64::max(shares[class.group], class.longest_work() / work) >= SHARE_MIN;
        *solved |= class.overhead > 0.0 && matters;
        members.push(member);
    }
    gathered.retain(|(_, members)| !members.is_empty());
    // A group that is alone never reloads.
    let alone = gathered.len() == 1;
    let (solved, rest): (Vec<_>, Vec<_>) = gathered.into_iter().partition(|(solved, _)| *solved && !alone);
    let rest: Vec<Member> = rest.into_iter().flat_map(|(_, members)| members).collect();
    let mut groups: Vec<Group> =
        solved.into_iter().map(|(_, members)| Group::new(classes, members, false)).collect();
    if !rest.is_empty() {
        groups.push(Group::new(classes, rest, true));
    }
    groups
}

/// E\[e^{uS}\]; infinite where it diverges.
fn real_transform(service: &ServiceTime, u: f64) -> f64 {
    let (atoms, gamma) = service.parts();
    let discrete: f64 = atoms.iter().map(|atom| atom.weight * (u * atom.at).exp()).sum();
    match gamma {
        None => discrete,
        Some(g) if u * g.theta >= 1.0 => f64::INFINITY,
        Some(g) => discrete * (u * g.shift).exp() * (1.0 - u * g.theta).powf(-g.k),
    }
}
