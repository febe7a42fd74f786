//! Whether the machine has nothing else to do.

/// Is the machine said to be quiet (`EDGEMUX_QUIET=1`)?
///
/// Only then are latencies held against the promises' own figures. Elsewhere they are held against bounds that a machine
/// which builds something at the same time keeps as well, and that a daemon which does not do its work breaks.
pub fn is_quiet() -> bool {
    std::env::var_os("EDGEMUX_QUIET").is_some_and(|value| value == "1")
}
