//! What a daemon says of its node, as the commands show it: the same names in JSON everywhere, and `null` for what does
//! not apply or was not measured.

mod device;
mod latency;
mod profile;
mod session;
mod terms;
mod verdict;

pub(crate) use device::Device;
pub(crate) use latency::Latency;
pub(crate) use profile::Profile;
pub(crate) use session::Session;
pub(crate) use terms::Terms;
pub(crate) use verdict::Verdict;
