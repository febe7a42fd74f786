//! Where the daemon's binary is.

use std::path::PathBuf;

/// `EDGEMUXD`, or `edgemuxd` in the folder above that of the running test.
pub fn edgemuxd() -> PathBuf {
    if let Some(given) = std::env::var_os("EDGEMUXD") {
        return given.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("a test lies in target/PROFILE/deps");
    let binary = profile.join("edgemuxd");
    let release = if profile.ends_with("release") { " --release" } else { "" };
    assert!(
        binary.exists(),
        "no {}: build it with `cargo build -p edgemuxd{release}`, or name one in EDGEMUXD",
        binary.display()
    );
    binary
}
