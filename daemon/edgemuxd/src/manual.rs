//! The daemon's pages of the manual: edgemuxd(8), and edgemuxd.toml(5) from the configuration file as it is shipped.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use edgemux_manual::Section;

use crate::args::Args;
use crate::config::DEFAULT_PATH;

const SHIPPED: &str = include_str!("../../../systemd/edgemuxd.toml");

const SECTIONS: &[Section<'_>] = &[
    Section {
        heading: "SIGNALS",
        terms: &[
            (
                "SIGHUP",
                "Read the configuration and the certificates once more, and go by them. A file that is wrong, or that changes \
                 what only a start can change, changes nothing, and the log says why. No request is dropped.",
            ),
            (
                "SIGTERM, SIGINT",
                "Take nothing more in, answer what was taken in, at most for drain-grace-s, and end. A second one changes nothing.",
            ),
        ],
    },
    Section {
        heading: "FILES",
        terms: &[
            (DEFAULT_PATH, "The configuration, if it is there; see edgemuxd.toml(5)."),
            ("/var/lib/edgemux", "What the daemon remembers; in models, the models."),
            (
                "/run/edgemux/edgemuxd.sock",
                "The socket that edgemuxd.socket makes, for members of the group edgemux.",
            ),
            ("/usr/lib/edgemux", "Runtimes that are packages of their own, and their libraries."),
        ],
    },
    Section {
        heading: "ENVIRONMENT",
        terms: &[
            ("RUST_LOG", "What is logged."),
            (
                crate::runtimes::FOLDER_VARIABLE,
                "A folder in which runtimes are looked for before all others.",
            ),
        ],
    },
];

/// Writes the pages into `folder`, which is made if it is not there.
///
/// # Errors
/// The folder or a file in it cannot be written.
pub fn write(folder: &Path) -> io::Result<()> {
    let also = [("edgemux", 1), ("edgemuxd.toml", 5)];
    let mut pages = edgemux_manual::of_command(Args::command(), 8, SECTIONS, &also)?;
    let also = [("edgemuxd", 8), ("edgemuxd-check-config", 8)];
    let about = "configuration of edgemuxd, the accelerator multiplexing daemon";
    pages.push(edgemux_manual::of_configuration("edgemuxd.toml", DEFAULT_PATH, about, SHIPPED, &also));
    edgemux_manual::write(&pages, folder)
}
