//! Arrivals other than Poisson: cameras are periodic, motion triggers are bursty.

/// Factor by which the wait of the same queue under Poisson arrivals is to be multiplied, (c_a² + c_s²)/(1 + c_s²), from
/// the squared coefficients of variation of the times between arrivals and of service (A. O. Allen, *Probability,
/// Statistics, and Queueing Theory*, 1978, after Cunneen). An approximation: exact for c_a² = 1; good to some 10 % in the
/// mean of heavily loaded queues with renewal arrivals, and no promise elsewhere.
#[must_use]
pub fn factor(arrivals_scv: f64, service_scv: f64) -> f64 {
    (arrivals_scv + service_scv) / (1.0 + service_scv)
}

/// Squared coefficient of variation of the merged arrivals of independent sessions, each (rate, c_a²), weighed by rate:
/// exact for the variance of counts over long times, which is what a heavily loaded queue sees (Whitt, *The Queueing
/// Network Analyzer*, Bell System Technical Journal 62(9), 1983). 1 where nothing arrives.
#[must_use]
pub fn merged(sessions: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let (mut rates, mut weighed) = (0.0, 0.0);
    for (rate, scv) in sessions {
        rates += rate;
        weighed += rate * scv;
    }
    if rates > 0.0 { weighed / rates } else { 1.0 }
}
