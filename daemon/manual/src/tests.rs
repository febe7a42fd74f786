//! The pages that are made of a command line and of the configuration as it is shipped.

use clap::{Arg, Command};

use super::*;

const SHIPPED: &str = include_str!("../../../systemd/edgemuxd.toml");

/// What a page says, without roff's marks.
fn said(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with(".\\\"") && !line.starts_with(".ie"));
    let plain: Vec<_> = lines
        .map(|line| {
            // Bold, roman, a hyphen, a full stop or apostrophe at the start of a line, a backslash.
            [("\\fB", ""), ("\\fR", ""), ("\\-", "-"), ("\\&", ""), ("\\*(Aq", "'"), ("\\\\", "\\")]
                .iter()
                .fold(line.to_owned(), |line, (mark, plain)| line.replace(mark, plain))
        })
        .collect();
    plain.join("\n")
}

fn shipped() -> String {
    let also = [("edgemuxd", 8)];
    said(&of_configuration("edgemuxd.toml", "/etc/edgemuxd.toml", "configuration", SHIPPED, &also).text)
}

#[test]
fn every_key_of_the_shipped_file_is_on_its_page() {
    fn keys(table: &toml::Table, found: &mut Vec<String>) {
        for (key, value) in table {
            match value {
                toml::Value::Table(table) => keys(table, found),
                toml::Value::Array(tables) if tables.iter().all(toml::Value::is_table) => {
                    tables.iter().filter_map(toml::Value::as_table).for_each(|table| keys(table, found));
                }
                _ => found.push(format!("{key} = ")),
            }
        }
    }
    let page = shipped();
    let mut found = Vec::new();
    keys(&toml::from_str(SHIPPED).unwrap(), &mut found);
    assert!(found.len() > 20, "{found:?}");
    for key in found {
        assert!(page.lines().any(|line| line.starts_with(&key)), "{key} is not in\n{page}");
    }
}

#[test]
fn no_word_of_the_shipped_file_is_lost() {
    let page = shipped();
    let mut left: Vec<_> = page.split_whitespace().collect();
    let of_file = SHIPPED.lines().flat_map(|line| line.trim_start_matches('#').split_whitespace());
    for word in of_file {
        let plain = word.replace('`', "");
        let at = left.iter().position(|on_page| *on_page == plain);
        let at = at.unwrap_or_else(|| panic!("{word} is there fewer times than in the file:\n{page}"));
        left.swap_remove(at);
    }
}

#[test]
fn keys_that_are_commented_out_are_shown_and_a_table_that_is_is_an_example() {
    let file = "# Of all.\n\n# Where.\n# here = \"/x\"\n\n# Tried.\n# [t]\n# a = 1  # b\n";
    let page = of_configuration("f", "/f", "a file", file, &[]).text;
    assert!(said(&page).ends_with(
        ".PP\nOf all.\n.SH KEYS\n.TP\nhere = \"/x\"\nWhere.\n.SH EXAMPLE\n.PP\nTried.\n.EX\n[t]\na = 1  # b\n.EE"
    ));
}

fn made_up() -> Command {
    let load = Command::new("load").about("Load it").arg(Arg::new("name").help("Whose"));
    let load = load.after_help("Examples:\n  tool load a\n  tool load b").subcommand(Command::new("now"));
    Command::new("tool")
        .about("A tool")
        .version("1")
        .subcommand(load)
        .subcommand(Command::new("x").hide(true))
}

#[test]
fn a_command_has_a_page_for_each_subcommand_that_is_not_hidden() {
    let files = [Section { heading: "FILES", terms: &[("/etc/x", "What it is.")] }];
    let pages = of_command(made_up(), 8, &files, &[("file", 5)]).unwrap();
    let names: Vec<_> = pages.iter().map(Page::file_name).collect();
    assert_eq!(names, ["tool.8", "tool-load.8", "tool-load-now.8"]);
    for page in &pages {
        let text = said(&page.text);
        assert!(text.contains(&format!(".TH {} 8", page.name)), "{text}");
        assert!(text.contains(&format!(".SH NAME\n{}", page.name)), "{text}");
        assert!(text.ends_with("file(5)"), "{text}");
    }
    assert!(said(&pages[0].text).contains(".SH FILES\n.TP\n/etc/x\nWhat it is.\n"));
    let load = said(&pages[1].text);
    assert!(load.contains(".SH EXAMPLES\n.EX\n  tool load a\n  tool load b\n.EE"), "{load}");
    assert!(!load.contains("FILES") && load.contains("tool(8),"), "{load}");
}

#[test]
fn pages_are_written_under_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("man");
    let pages = of_command(made_up(), 1, &[], &[]).unwrap();
    write(&pages, &below).unwrap();
    assert_eq!(std::fs::read_to_string(below.join("tool-load.1")).unwrap(), pages[1].text);
}
