//! Spectra of the waiting time: its transforms on the imaginary axis, for the inversion.

use num_complex::Complex64;

use super::Fcfs;
use crate::queueing::tail::{Decay, Inverter, Spectrum};

/// Spectra of P(W > t), then of P(W > t, J = h) for the groups asked for.
pub(super) fn of(queue: &Fcfs<'_>, inverter: &Inverter, length: f64, joint: &[usize]) -> Vec<Spectrum> {
    let points = inverter.points();
    let mut transforms = vec![Vec::with_capacity(points); 1 + joint.len()];
    transforms[0].push(queue.wait.mean());
    for (values, &h) in transforms[1..].iter_mut().zip(joint) {
        values.push(queue.groups[h].wait.mean());
    }
    let mut waves = Waves::new(queue, inverter.frequency(1, length));
    let mut sums = vec![Sums::default(); queue.groups.len()];
    for k in 1..points {
        let s = Complex64::new(0.0, inverter.frequency(k, length));
        waves.next(&mut sums);
        let (mut a, mut b) = (Complex64::default(), Complex64::default());
        for (group, sums) in queue.groups.iter().zip(&mut sums) {
            sums.inverse = (queue.rate - s - sums.difference * queue.rate).inv();
            a += group.idle * sums.inverse;
            b += sums.with_reload * sums.inverse * queue.rate;
        }
        let all = -s * a / (1.0 - b);
        transforms[0].push(((1.0 - all) / s).re);
        for (values, &h) in transforms[1..].iter_mut().zip(joint) {
            let (group, sums) = (&queue.groups[h], &sums[h]);
            let phi = (all * sums.with_reload * queue.rate - s * group.idle) * sums.inverse;
            values.push(((group.share - phi) / s).re);
        }
    }
    let decays = std::iter::once((1.0, queue.decay)).chain(joint.iter().map(|&h| {
        let group = &queue.groups[h];
        let decay = queue.decay.map(|all| {
            // Φ_h/F is Λ·q_h/D_h at the pole.
            let (d, q) = group.at(queue.classes, queue.rate, all.rate);
            Decay { factor: all.factor * queue.rate * q / d, ..all }
        });
        (group.share, decay)
    }));
    let spectra = transforms.into_iter().zip(decays);
    spectra.map(|(transform, (mass, decay))| Spectrum { transform, mass, decay }).collect()
}

/// Of one group at one frequency.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// r_h − q_h.
    difference: Complex64,
    /// q_h.
    with_reload: Complex64,
    /// 1/D_h.
    inverse: Complex64,
}

/// Transforms of all groups at the multiples of one frequency: by recurrence instead of an exponential each.
struct Waves {
    groups: Vec<Vec<Wave>>,
    frequency: f64,
    k: f64,
}

/// Of one class.
struct Wave {
    share: f64,
    /// Probability of no reload after the own group, and after another.
    resident: (f64, f64),
    atoms: Vec<(f64, Phasor)>,
    /// Shape and scale.
    gamma: Option<(f64, f64)>,
    reload: Phasor,
}

/// e^{−ikωt} for k = 1, 2, …
struct Phasor {
    now: Complex64,
    step: Complex64,
}

impl Phasor {
    fn new(frequency: f64, t: f64) -> Self {
        Self { now: Complex64::new(1.0, 0.0), step: Complex64::cis(-frequency * t) }
    }

    fn next(&mut self) -> Complex64 {
        self.now *= self.step;
        self.now
    }
}

impl Waves {
    fn new(queue: &Fcfs<'_>, frequency: f64) -> Self {
        let groups = queue.groups.iter().map(|group| {
            let waves = group.members.iter().map(|member| {
                let class = &queue.classes[member.class];
                let (atoms, gamma) = class.service.parts();
                let shift = gamma.map_or(0.0, |g| g.shift);
                Wave {
                    share: member.share,
                    resident: if group.rest {
                        (member.resident, member.resident)
                    } else {
                        (member.kept, 0.0)
                    },
                    atoms: atoms.iter().map(|a| (a.weight, Phasor::new(frequency, a.at + shift))).collect(),
                    gamma: gamma.map(|g| (g.k, g.theta)),
                    reload: Phasor::new(frequency, class.overhead),
                }
            });
            waves.collect()
        });
        Self { groups: groups.collect(), frequency, k: 0.0 }
    }

    fn next(&mut self, sums: &mut [Sums]) {
        self.k += 1.0;
        for (group, sums) in self.groups.iter_mut().zip(sums) {
            *sums = Sums::default();
            for wave in group {
                let mut service: Complex64 = wave.atoms.iter_mut().map(|(w, p)| p.next() * *w).sum();
                if let Some((shape, theta)) = wave.gamma {
                    service *= Complex64::new(1.0, self.k * self.frequency * theta).powf(-shape);
                }
                service *= wave.share;
                // What a reload takes away from the transform.
                let loss = service - service * wave.reload.next();
                let (kept, resident) = wave.resident;
                sums.difference += loss * (kept - resident);
                sums.with_reload += service - loss * (1.0 - resident);
            }
        }
    }
}
