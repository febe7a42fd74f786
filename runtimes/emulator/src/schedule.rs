//! What the emulated device does, as arithmetic: requests come and go at times that are passed in, nobody waits here.
//!
//! Times are nanoseconds since the device was opened, kept as `f64`: exact to the nanosecond for a hundred days, and
//! shares of a processor have fractions anyway. Requests end at the times the arithmetic gives, however late the threads
//! that wait for them wake up: back to back, one starts exactly when the one before it ended.

use crate::options::Sharing;

/// Work below this is done; it is what rounding leaves.
const DONE_NS: f64 = 1e-3;

/// Models whose parameters stay on the chip together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group(pub(crate) u64);

/// One request as the device sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work {
    /// Time it takes alone on the device, parameters in place. Infinite for one that hangs.
    pub(crate) service_ns: f64,
    /// Whose parameters it runs with.
    pub(crate) group: Group,
    /// Time to bring its parameters on the chip when another group's are there; 0 for a model that keeps none there.
    pub(crate) reload_ns: f64,
}

/// Where one request's time on the device went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spent {
    /// From its start on the device to its end.
    pub(crate) service_ns: f64,
    /// The part of it that reloaded parameters.
    pub(crate) reload_ns: f64,
}

/// Names one request on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// The requests on one device, and how far each has come.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    sharing: Sharing,
    now_ns: f64,
    /// In order of arrival; those in service come first.
    jobs: Vec<Job>,
    finished: Vec<(Ticket, Spent)>,
    /// Whose parameters are on the chip. None at first: the first to run loads its own.
    resident: Option<Group>,
    last_ticket: u64,
}

#[derive(Clone, Debug)]
struct Job {
    ticket: Ticket,
    work: Work,
    left_ns: f64,
    started: Option<Start>,
}

#[derive(Clone, Copy, Debug)]
struct Start {
    at_ns: f64,
    reload_ns: f64,
}

impl Schedule {
    pub(crate) fn new(sharing: Sharing) -> Self {
        Self { sharing, now_ns: 0.0, jobs: Vec::new(), finished: Vec::new(), resident: None, last_ticket: 0 }
    }

    /// Lets time pass up to `now_ns`; a time already past changes nothing.
    pub(crate) fn advance(&mut self, now_ns: f64) {
        self.start();
        while let Some((work_ns, end_ns)) = self.next_end().filter(|&(_, end_ns)| end_ns <= now_ns) {
            // Work is taken off as work, not as time: what ends now has exactly nothing left, however time is rounded.
            self.work_off(work_ns);
            self.now_ns = end_ns;
            self.finish();
            self.start();
        }
        if now_ns > self.now_ns {
            self.work_off((now_ns - self.now_ns) * self.rate());
            self.now_ns = now_ns;
        }
    }

    /// The time up to which this schedule was brought.
    pub(crate) fn now_ns(&self) -> f64 {
        self.now_ns
    }

    /// A request arrives at `now_ns`.
    pub(crate) fn arrive(&mut self, now_ns: f64, work: Work) -> Ticket {
        self.advance(now_ns);
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.jobs.push(Job { ticket, work, left_ns: work.service_ns, started: None });
        // One that takes no time on a free device is over at once.
        self.advance(now_ns);
        ticket
    }

    /// A request is given up at `now_ns`, wherever it is.
    pub(crate) fn abandon(&mut self, now_ns: f64, ticket: Ticket) {
        self.advance(now_ns);
        self.jobs.retain(|job| job.ticket != ticket);
        self.finished.retain(|(finished, _)| *finished != ticket);
        self.start();
    }

    /// Takes a request off the books, if it is over.
    pub(crate) fn collect(&mut self, ticket: Ticket) -> Option<Spent> {
        let at = self.finished.iter().position(|(finished, _)| *finished == ticket)?;
        Some(self.finished.swap_remove(at).1)
    }

    /// When the request has only `left_ns` of its work to do, if nobody comes or goes; now if it already has, infinity
    /// if never.
    pub(crate) fn predict(&self, ticket: Ticket, left_ns: f64) -> f64 {
        let mut future = self.clone();
        future.start();
        loop {
            let Some(job) = future.jobs.iter().find(|job| job.ticket == ticket) else { return future.now_ns };
            if job.started.is_some() {
                let reached = future.now_ns + (job.left_ns - left_ns).max(0.0) / future.rate();
                if future.next_end().is_none_or(|(_, end_ns)| reached <= end_ns) {
                    return reached;
                }
            }
            match future.next_end() {
                Some((_, end_ns)) if end_ns.is_finite() => future.advance(end_ns),
                _ => return f64::INFINITY,
            }
        }
    }

    /// How many are in service; they are the first of `jobs`.
    fn in_service(&self) -> usize {
        match self.sharing {
            Sharing::Exclusive => self.jobs.len().min(1),
            Sharing::Together { .. } => self.jobs.len(),
        }
    }

    fn rate(&self) -> f64 {
        self.sharing.rate(self.in_service())
    }

    fn start(&mut self) {
        let (in_service, at_ns) = (self.in_service(), self.now_ns);
        for job in self.jobs[..in_service].iter_mut().filter(|job| job.started.is_none()) {
            let reload_ns = if self.resident == Some(job.work.group) { 0.0 } else { job.work.reload_ns };
            self.resident = Some(job.work.group);
            job.left_ns += reload_ns;
            job.started = Some(Start { at_ns, reload_ns });
        }
    }

    /// The next of those in service to end: its work that is left, and when.
    fn next_end(&self) -> Option<(f64, f64)> {
        let left_ns = self.jobs[..self.in_service()].iter().map(|job| job.left_ns).reduce(f64::min)?;
        let left_ns = left_ns.max(0.0);
        Some((left_ns, self.now_ns + left_ns / self.rate()))
    }

    fn work_off(&mut self, work_ns: f64) {
        let in_service = self.in_service();
        for job in &mut self.jobs[..in_service] {
            job.left_ns -= work_ns;
        }
    }

    fn finish(&mut self) {
        let Self { jobs, finished, now_ns, .. } = self;
        let over = |job: &Job| job.started.is_some() && job.left_ns < DONE_NS;
        for job in jobs.iter().filter(|job| over(job)) {
            finished.push((job.ticket, job.spent(*now_ns)));
        }
        jobs.retain(|job| !over(job));
    }
}

impl Job {
    fn spent(&self, end_ns: f64) -> Spent {
        let Some(Start { at_ns, reload_ns }) = self.started else { return Spent::default() };
        let service_ns = end_ns - at_ns;
        let work_ns = self.work.service_ns + reload_ns;
        // Under sharing, the reload is slowed down as the rest is.
        let reload_ns = if work_ns > 0.0 { service_ns * (reload_ns / work_ns) } else { 0.0 };
        Spent { service_ns, reload_ns }
    }
}

#[cfg(test)]
mod tests;
