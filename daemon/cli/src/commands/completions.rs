//! `edgemux completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Context, Outcome};
use crate::args::Cli;
use crate::error::Error;

const EXAMPLES: &str = "\
Examples:
  edgemux completions bash > ~/.local/share/bash-completion/completions/edgemux
  edgemux completions zsh > ~/.zfunc/_edgemux
  edgemux completions fish > ~/.config/fish/completions/edgemux.fish

The Debian package brings them along.";

/// Print a script by which a shell completes this command
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<Outcome, Error> {
    context.output.raw(&script(args.shell))?;
    Ok(Outcome::Done)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "edgemux", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn every_shell_is_told_of_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }

    #[test]
    fn bash_completes_commands_options_and_their_values() {
        let script = script(Shell::Bash);
        for (line, last, wanted) in [
            ("edgemux dev", "dev", "devices"),
            ("edgemux load --qu", "--qu", "--quantile"),
            ("edgemux completions z", "z", "zsh"),
        ] {
            let asked = format!(
                "{script}\nCOMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
                 _edgemux edgemux {last} ''; echo \"${{COMPREPLY[*]}}\""
            );
            let Ok(output) = Command::new("bash").args(["--norc", "-c", &asked]).output() else {
                println!("there is no bash to try it with");
                return;
            };
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), wanted, "{line}: {output:?}");
        }
    }
}
