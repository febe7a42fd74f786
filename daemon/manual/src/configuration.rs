//! The page of a configuration file, made from its comments.
//!
//! The file is written for people: paragraphs of comment explain the key or the table that follows. A key that is commented out
//! is shown like the others, with the value it would have; a table that is commented out is an example, and stands as it is.

use roff::{Inline, Roff, bold, roman};

use crate::{Page, Reference, see_also};

/// What a line of the file is.
enum Line<'a> {
    Nothing,
    Comment(&'a str),
    /// `key = value`, commented out or not.
    Key(&'a str, &'a str),
    Table(&'a str),
    /// The head of a table that is commented out.
    Example(&'a str),
}

/// The page `name`(5) of the file `path`, which holds `toml`.
pub fn of_configuration(name: &str, path: &str, about: &str, toml: &str, also: &[Reference<'_>]) -> Page {
    let mut roff = Roff::new();
    roff.control("TH", [name, "5"]);
    roff.control("SH", ["NAME"]).text([roman(format!("{name} - {about}"))]);
    roff.control("SH", ["SYNOPSIS"]).text([bold(path)]);
    roff.control("SH", ["DESCRIPTION"]);
    body(&mut roff, toml);
    see_also(&mut roff, also);
    Page { name: name.to_owned(), section: 5, text: roff.to_roff() }
}

fn body(roff: &mut Roff, toml: &str) {
    // Comment that explains what is still to come.
    let mut comment: Vec<&str> = Vec::new();
    let mut in_keys = false;
    let mut lines = toml.lines();
    while let Some(line) = lines.next() {
        match Line::of(line) {
            Line::Comment(text) => comment.push(text),
            // It explained nothing but the file itself.
            Line::Nothing => paragraph(roff, &mut comment),
            Line::Key(key, value) => {
                if !in_keys {
                    roff.control("SH", ["KEYS"]);
                    in_keys = true;
                }
                roff.control("TP", []).text([bold(key), roman(format!(" = {value}"))]);
                prose(roff, &comment);
                comment.clear();
            }
            Line::Table(head) => {
                roff.control("SH", [head]);
                paragraph(roff, &mut comment);
                in_keys = true;
            }
            Line::Example(head) => {
                roff.control("SH", ["EXAMPLE"]);
                paragraph(roff, &mut comment);
                roff.control("EX", []).text([roman(head)]);
                for line in lines.by_ref().take_while(|line| !line.is_empty()) {
                    roff.text([roman(uncommented(line).unwrap_or(line))]);
                }
                roff.control("EE", []);
            }
        }
    }
    paragraph(roff, &mut comment);
}

/// The comment as a paragraph of its own, if there is any.
fn paragraph(roff: &mut Roff, comment: &mut Vec<&str>) {
    if !comment.is_empty() {
        roff.control("PP", []);
        prose(roff, comment);
        comment.clear();
    }
}

/// Lines of comment; what stands between backticks is bold.
fn prose(roff: &mut Roff, lines: &[&str]) {
    for line in lines {
        let pieces = line.split('`').enumerate();
        let inlines: Vec<Inline> =
            pieces.map(|(at, piece)| if at % 2 == 1 { bold(piece) } else { roman(piece) }).collect();
        roff.text(inlines);
    }
}

fn uncommented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?;
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        let (text, is_comment) = match uncommented(line) {
            Some(text) => (text, true),
            None => (line.trim(), false),
        };
        match text.split_once(" = ") {
            Some((key, value)) if is_key(key) => return Self::Key(key, value),
            _ => {}
        }
        match (is_comment, text.starts_with('[')) {
            (true, true) => Self::Example(text),
            (true, false) if !text.trim().is_empty() => Self::Comment(text),
            (false, true) => Self::Table(text),
            _ => Self::Nothing,
        }
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte == b'_')
}
