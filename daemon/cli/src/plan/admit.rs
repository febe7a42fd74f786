//! Who may come in, one application after the other, each against those that came before it.

use edgemux_calibration::admission::{self, AdmissionError, Policy, Reason, Verdict};
use edgemux_calibration::predict::Predictor;
use edgemux_calibration::system::{DeviceKind, Host, Session, System};

use super::node::{Application, Choice, Node};

/// A node's devices with those who were admitted, and what became of each application.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) systems: Vec<System>,
    /// In the order of the applications.
    pub(crate) decisions: Vec<Decision>,
}

/// What became of an application.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) application: String,
    pub(crate) model: String,
    /// The place of the device it was admitted to.
    pub(crate) device: Option<usize>,
    /// What each device it may use said, in their order.
    pub(crate) offers: Vec<Offer>,
}

/// What a device said to an application.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The device's place.
    pub(crate) device: usize,
    pub(crate) answer: Answer,
}

#[derive(Debug)]
pub(crate) enum Answer {
    /// Admission has decided.
    Decided(Verdict),
    /// It would fit, but what it needs of the processor breaks objectives on another device.
    Elsewhere { device: usize, verdict: Verdict },
    /// The model's cost on devices of this kind is not known.
    NoProfile(DeviceKind),
}

/// Admits a node's applications in their order.
pub(crate) fn admit(
    node: &Node,
    predictor: &mut Predictor,
    policy: &Policy,
) -> Result<Admitted, AdmissionError> {
    let mut desk = Desk {
        predictor,
        policy,
        host: node.host,
        systems: node.devices.iter().map(|choice| empty(choice, node.host)).collect(),
    };
    let mut decisions = Vec::new();
    for application in &node.applications {
        decisions.push(desk.decide(application, &node.devices)?);
    }
    desk.share_processor();
    Ok(Admitted { systems: desk.systems, decisions })
}

fn empty(choice: &Choice, host: Host) -> System {
    System { device: choice.device.clone(), host, sessions: Vec::new() }
}

/// Everything that decisions rest on.
struct Desk<'a> {
    predictor: &'a mut Predictor,
    policy: &'a Policy,
    host: Host,
    systems: Vec<System>,
}

impl Desk<'_> {
    /// Asks every device that the application may use, and takes the one that admits it with the most slack.
    fn decide(&mut self, application: &Application, choices: &[Choice]) -> Result<Decision, AdmissionError> {
        let mut offers = Vec::new();
        for &device in &application.allowed {
            let kind = choices[device].device.kind;
            let answer = match application.session(kind) {
                None => Answer::NoProfile(kind),
                Some(newcomer) => self.ask(device, &choices[device], &newcomer)?,
            };
            offers.push(Offer { device, answer });
        }
        let best = offers.iter().filter_map(Offer::admission).fold(None, |best, (at, verdict)| match best {
            Some((_, before)) if !better(verdict, before) => best,
            _ => Some((at, verdict)),
        });
        let device = best.map(|(device, _)| device);
        if let Some((device, verdict)) = best
            && let Some(session) = application.session(choices[device].device.kind)
        {
            self.systems[device].device.mode = verdict.mode;
            self.systems[device].sessions.push(session);
        }
        let (application, model) = (application.name.clone(), application.model.clone());
        Ok(Decision { application, model, device, offers })
    }

    fn ask(&mut self, device: usize, choice: &Choice, newcomer: &Session) -> Result<Answer, AdmissionError> {
        self.share_processor();
        let quick = Policy { modes: choice.modes.clone(), largest_rate: false, ..self.policy.clone() };
        let verdict = admission::decide(self.predictor, &self.systems[device], None, newcomer, &quick)?;
        if !verdict.admitted {
            // What else could be had is worth looking for.
            let thorough = Policy { largest_rate: self.policy.largest_rate, ..quick };
            let verdict =
                admission::decide(self.predictor, &self.systems[device], None, newcomer, &thorough)?;
            return Ok(Answer::Decided(verdict));
        }
        let others: Vec<usize> = (0..self.systems.len()).filter(|&at| at != device).collect();
        for other in others {
            if let Some(verdict) = self.breaks(other, newcomer)? {
                return Ok(Answer::Elsewhere { device: other, verdict });
            }
        }
        Ok(Answer::Decided(verdict))
    }

    /// What a newcomer's work on the processor breaks on a device that it does not use.
    fn breaks(&mut self, device: usize, newcomer: &Session) -> Result<Option<Verdict>, AdmissionError> {
        let mut system = self.systems[device].clone();
        let load = processor(newcomer);
        if load == 0.0 || system.sessions.iter().all(|session| processor(session) == 0.0) {
            return Ok(None);
        }
        system.host = busier(system.host, load);
        // Whether all hold is the same question as whether the last of them may join the others.
        let Some(last) = system.sessions.pop() else { return Ok(None) };
        let policy = Policy { modes: Vec::new(), largest_rate: false, ..self.policy.clone() };
        let verdict = admission::decide(self.predictor, &system, None, &last, &policy)?;
        Ok((!verdict.admitted).then_some(verdict))
    }

    /// Tells every device how busy the others keep the processor.
    fn share_processor(&mut self) {
        let loads: Vec<f64> =
            self.systems.iter().map(|system| system.sessions.iter().map(processor).sum()).collect();
        let all: f64 = loads.iter().sum();
        for (system, own) in self.systems.iter_mut().zip(loads) {
            system.host = busier(self.host, all - own);
        }
    }
}

/// Cores that a session keeps busy.
fn processor(session: &Session) -> f64 {
    session.terms.rate.get() * (session.profile.cpu_before.mean() + session.profile.cpu_after.mean())
}

fn busier(host: Host, by: f64) -> Host {
    Host { busy: (host.busy + by).clamp(0.0, f64::from(host.cores.get())), ..host }
}

/// More slack; where that is equal, as among best effort, the device that stays less busy.
fn better(one: &Verdict, other: &Verdict) -> bool {
    one.slack.total_cmp(&other.slack).then(other.utilisation.total_cmp(&one.utilisation)).is_gt()
}

impl Decision {
    /// The verdict that let it in.
    pub(crate) fn verdict(&self) -> Option<&Verdict> {
        let offer = self.offers.iter().find(|offer| Some(offer.device) == self.device)?;
        offer.admission().map(|(_, verdict)| verdict)
    }
}

impl Offer {
    /// The place and verdict, where the device admits.
    pub(crate) fn admission(&self) -> Option<(usize, &Verdict)> {
        match &self.answer {
            Answer::Decided(verdict) if verdict.admitted => Some((self.device, verdict)),
            _ => None,
        }
    }

    /// What stands against it.
    pub(crate) fn reasons(&self) -> &[Reason] {
        match &self.answer {
            Answer::Decided(verdict) | Answer::Elsewhere { verdict, .. } => &verdict.reasons,
            Answer::NoProfile(_) => &[],
        }
    }
}
