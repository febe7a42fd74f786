//! `edgemux man`: the command's pages of the manual.

use std::io;
use std::path::PathBuf;

use clap::CommandFactory;
use edgemux_manual::Page;

use super::{Context, Outcome};
use crate::args::Cli;
use crate::error::Error;

const EXAMPLES: &str = "\
Examples:
  edgemux man /usr/local/share/man/man1
  edgemuxd man /usr/local/share/man/man8

The Debian package brings them along.";

/// Write the command's pages of the manual into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args, _: &Context<'_>) -> Result<Outcome, Error> {
    pages()
        .and_then(|pages| edgemux_manual::write(&pages, &args.folder))
        .map_err(|cause| Error::Write { path: args.folder.clone(), cause })?;
    Ok(Outcome::Done)
}

fn pages() -> io::Result<Vec<Page>> {
    let also = [("edgemuxd", 8), ("edgemuxd.toml", 5)];
    edgemux_manual::of_command(Cli::command(), 1, &[], &also)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_says_what_it_is_and_what_its_help_says() {
        let pages = pages().unwrap();
        let command = Cli::command();
        assert!(command.get_subcommands().count() > 10);
        for command in command.get_subcommands() {
            let name = format!("edgemux-{}", command.get_name());
            let page = pages.iter().find(|page| page.name == name).unwrap_or_else(|| panic!("no {name}"));
            let plain = page.text.replace("\\-", "-");
            assert!(plain.contains(&format!(".TH {name} 1")), "{plain}");
            assert!(plain.contains(&format!(".SH NAME\n{name} - ")), "{plain}");
            assert!(
                plain.contains(&command.get_about().unwrap().to_string().replace('\'', "\\*(Aq")),
                "{plain}"
            );
        }
        let first = pages.iter().find(|page| page.name == "edgemux").unwrap();
        assert!(first.text.contains("Exit codes: 0 done, 1 failed"), "{}", first.text);
    }
}
