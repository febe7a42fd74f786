//! A command's pages: one for itself and one for each of its subcommands.

use std::io;

use clap::Command;
use clap::builder::Resettable;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use crate::{Page, Reference, Section, see_also};

/// The pages of `command` and of its subcommands, hidden ones aside. `sections` stand on its own page alone; every page refers
/// to `also`, and to the pages above it.
///
/// # Errors
/// None but those of writing to memory.
pub fn of_command(
    command: Command,
    section: u8,
    sections: &[Section<'_>],
    also: &[Reference<'_>],
) -> io::Result<Vec<Page>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&mut pages, &command, section, sections, also)?;
    Ok(pages)
}

/// This command's page, and then its subcommands'.
fn add(
    pages: &mut Vec<Page>,
    command: &Command,
    section: u8,
    sections: &[Section<'_>],
    also: &[Reference<'_>],
) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let mut text = Vec::new();
    // What follows the help is set as it is, which clap_mangen would fill like prose.
    let without_end = command.clone().after_help(Resettable::Reset);
    // No source: roff drops the empty date before it, whose place it would take.
    let man = Man::new(without_end).title(name).section(section.to_string()).source("");
    man.render(&mut text)?;
    let mut text = String::from_utf8_lossy(&text).into_owned();

    let mut roff = Roff::new();
    if let Some(end) = command.get_after_help() {
        as_it_is(&mut roff, &end.to_string());
    }
    for section in sections {
        roff.control("SH", [section.heading]);
        for (term, what) in section.terms {
            roff.control("TP", []).text([bold(*term)]).text([roman(*what)]);
        }
    }
    see_also(&mut roff, also);
    text.push_str(&roff.to_roff());
    pages.push(Page { name: name.to_owned(), section, text });

    let also: Vec<_> = std::iter::once((name, section)).chain(also.iter().copied()).collect();
    let shown = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    for subcommand in shown {
        add(pages, subcommand, section, &[], &also)?;
    }
    Ok(())
}

/// The end of a help: its first line is the heading if it ends like one.
fn as_it_is(roff: &mut Roff, end: &str) {
    let (heading, lines) = match end.split_once(":\n") {
        Some((heading, lines)) if !heading.contains('\n') => (heading.to_uppercase(), lines),
        _ => ("NOTES".to_owned(), end),
    };
    roff.control("SH", [heading.as_str()]).control("EX", []);
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("EE", []);
}
