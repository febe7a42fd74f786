//! The messages that the page of troubles quotes are those that the programs print.

use std::path::Path;

use anyhow::{Context, Result};

/// Where messages come from.
const SOURCES: [&str; 4] = ["daemon", "runtimes", "calibration", "proto"];
/// Pieces of a message that are shorter are found anywhere, and say nothing.
const PIECE_MIN: usize = 9;
/// What others print, and how the system's own words go.
const OF_OTHERS: [&str; 3] = ["Connection refused", "Permission denied", "expected one of"];

/// The quotes of the page that no source has.
pub(super) fn unknown(page: &str, root: &Path) -> Result<Vec<String>> {
    let mut sources = String::new();
    for folder in SOURCES {
        read(&root.join(folder), &mut sources)?;
    }
    Ok(quoted(page)
        .filter(|quote| !pieces(quote).all(|piece| sources.contains(piece)))
        .map(str::to_owned)
        .collect())
}

/// What stands between back quotes in the first cell of each row.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2))
}

/// The words of a message between what is put into it: names and numbers, told by `…` or given as examples, and the end of
/// one sentence, at which messages are put together.
fn pieces(quote: &str) -> impl Iterator<Item = &str> {
    let pieces =
        quote.split(|c: char| c == '…' || c == ';' || c == ':' || c == '=' || c == '(' || c.is_ascii_digit());
    let pieces = pieces.map(|piece| piece.trim_matches(|c: char| !c.is_alphanumeric()));
    pieces.filter(|piece| piece.len() >= PIECE_MIN && !OF_OTHERS.contains(piece))
}

/// All Rust below a folder; a string that goes on in the next line is put together.
fn read(folder: &Path, sources: &mut String) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let mut parts = text.split("\\\n");
            sources.extend(parts.next());
            parts.for_each(|part| sources.push_str(part.trim_start()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_nobody_prints_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for source in SOURCES {
            std::fs::create_dir(folder.path().join(source)).unwrap();
        }
        let code = "#[error(\"the queue of model '{0}' is \\\n     full: wait, or ask for less\")]";
        std::fs::write(folder.path().join("daemon/x.rs"), code).unwrap();
        let page = "| it says | do |\n|---|---|\n| `the queue of model '…' is full: wait, or ask for less` | `no message` |\n";
        assert_eq!(unknown(page, folder.path()).unwrap(), [""; 0]);
        let page = "| `the queue of model '…' is rather full` | do |\n";
        assert_eq!(unknown(page, folder.path()).unwrap(), ["the queue of model '…' is rather full"]);
    }
}
