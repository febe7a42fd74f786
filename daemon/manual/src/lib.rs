//! Pages of the manual, made from what is there already: a command's own help, and the comments of the configuration file.
//! So neither can say something else than the programs do.
#![forbid(unsafe_code)]

mod command;
mod configuration;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use roff::{Roff, bold, roman};

pub use self::command::of_command;
pub use self::configuration::of_configuration;

/// A page of the manual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What it is about: the command, or the file.
    pub name: String,
    /// The section of the manual, 1 to 8.
    pub section: u8,
    /// The page itself, in roff with the macros of man(7).
    pub text: String,
}

/// Another page, by name and section.
pub type Reference<'a> = (&'a str, u8);

/// A section of a page that no help has: a heading, and terms with their explanation.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// The heading, in capitals.
    pub heading: &'a str,
    /// Terms, and what there is to say of each.
    pub terms: &'a [(&'a str, &'a str)],
}

/// Writes each page as NAME.SECTION into `folder`, which is made if it is not there.
///
/// # Errors
/// The folder or a file in it cannot be written.
pub fn write(pages: &[Page], folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    pages.iter().try_for_each(|page| std::fs::write(folder.join(page.file_name()), &page.text))
}

impl Page {
    /// The name of its file.
    pub fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }
}

/// The end of every page.
fn see_also(roff: &mut Roff, references: &[Reference<'_>]) {
    if references.is_empty() {
        return;
    }
    roff.control("SH", ["SEE ALSO"]);
    for (at, (name, section)) in references.iter().enumerate() {
        let comma = if at + 1 < references.len() { "," } else { "" };
        roff.text([bold(*name), roman(format!("({section}){comma}"))]);
    }
}
