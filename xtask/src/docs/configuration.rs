//! `docs/configuration.md`, made from the comments of `systemd/edgemuxd.toml`.
//!
//! A key that is set there is shown with its value, which is its default. A key that is commented out is not set by default;
//! its value is an example. A section that is commented out is a section of such keys, or, if it was there before, an example.

use std::fmt::Write;

use anyhow::{Result, bail};

const HEAD: &str = "\
<!-- Made by `cargo xtask docs` from systemd/edgemuxd.toml: change it there. -->
# Configuration

Every key of `/etc/edgemux/edgemuxd.toml`. The file is TOML; a key that is left out keeps its default, and no file at all is
a valid configuration. A key that is not known, or a value out of its range, is refused with its name before anything starts:

```sh
edgemuxd check-config /etc/edgemux/edgemuxd.toml
```

[systemd/edgemuxd.toml](../systemd/edgemuxd.toml) is this page as a file. Flags of `edgemuxd` (`--listen`, `--metrics`,
`--model-repository`, `--state-dir`) go before it. When to change what is in [tuning.md](tuning.md). A model's own terms are in
its `model.toml`: [terms-and-verdicts.md](terms-and-verdicts.md).
";

#[derive(Default)]
struct Section {
    /// As the file writes it, brackets included; empty before the first.
    header: String,
    /// Whether it is there by default.
    commented: bool,
    intro: Vec<String>,
    keys: Vec<Key>,
    examples: Vec<(String, Vec<String>)>,
}

struct Key {
    name: String,
    value: String,
    commented: bool,
    meaning: String,
}

/// The page.
pub(super) fn page(file: &str) -> Result<String> {
    let mut page = HEAD.to_owned();
    for section in sections(file)? {
        write_section(&mut page, &section);
    }
    Ok(page)
}

fn sections(file: &str) -> Result<Vec<Section>> {
    let mut sections = vec![Section::default()];
    let mut prose: Vec<&str> = Vec::new();
    // An example goes on until an empty line.
    let mut in_example = false;
    for (number, line) in file.lines().enumerate() {
        let comment = line.strip_prefix('#').map(|rest| rest.strip_prefix(' ').unwrap_or(rest));
        let text = comment.unwrap_or(line);
        let known = |header: &str| sections.iter().any(|section| section.header == header);
        let repeated = comment.is_some() && is_header(text) && known(text);
        let Some(section) = sections.last_mut() else { break };
        if line.is_empty() {
            section.intro.extend((!prose.is_empty()).then(|| prose.join(" ")));
            prose.clear();
            in_example = false;
        } else if in_example {
            if let Some((_, lines)) = section.examples.last_mut() {
                lines.push(text.to_owned());
            }
        } else if repeated {
            section.examples.push((prose.join(" "), vec![text.to_owned()]));
            prose.clear();
            in_example = true;
        } else if is_header(text) {
            let intro = (!prose.is_empty()).then(|| prose.join(" ")).into_iter().collect();
            let (header, commented) = (text.to_owned(), comment.is_some());
            sections.push(Section { header, commented, intro, ..Section::default() });
            prose.clear();
        } else if let Some((name, value)) = key(text) {
            let (value, behind) = value.split_once(" # ").unwrap_or((value, ""));
            prose.extend((!behind.is_empty()).then_some(behind));
            let (name, value) = (name.to_owned(), value.trim_end().to_owned());
            section.keys.push(Key { name, value, commented: comment.is_some(), meaning: prose.join(" ") });
            prose.clear();
        } else if comment.is_some() {
            prose.push(text);
        } else {
            bail!("line {}: neither a comment nor KEY = VALUE on one line: {line}", number + 1);
        }
    }
    Ok(sections)
}

fn is_header(text: &str) -> bool {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inside.is_some_and(|name| {
        name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.[]".contains(c))
    })
}

fn key(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(" = ")?;
    let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (!name.is_empty() && name.chars().all(is_key)).then_some((name, value))
}

fn write_section(page: &mut String, section: &Section) {
    let Section { header, commented, intro, keys, examples } = section;
    // Writing to a string does not fail.
    if !header.is_empty() {
        let _ = writeln!(page, "\n## `{header}`");
        for paragraph in intro {
            let _ = writeln!(page, "\n{paragraph}");
        }
    }
    if *commented {
        let _ = writeln!(page, "\nNot there by default; the values are examples.");
    }
    if !keys.is_empty() {
        let _ = writeln!(
            page,
            "\n| key | {} | meaning |\n|---|---|---|",
            if *commented { "example" } else { "default" }
        );
    }
    for Key { name, value, commented: example, meaning } in keys {
        let meaning = meaning.replace('|', "\\|");
        let row = match (commented, example) {
            (false, true) => format!("| `{name}` | none | {meaning} For example `{value}`. |"),
            _ => format!("| `{name}` | `{value}` | {meaning} |"),
        };
        let _ = writeln!(page, "{row}");
    }
    for (title, lines) in examples {
        let _ = writeln!(page, "\n{title}\n\n```toml\n{}\n```", lines.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# What this is.\n\n# Threads, 0 to 64.\nthreads = 0\n# The folder.\n# folder = \"/x\"\n\n\
        # Limits.\n[limits]\n# Bytes\n# at most.\nbytes = 1\n\n# A device.\n[[device]]\n# Its name.\nname = \"a\"\n\n\
        # Of torch.\n# [device.torch]\n# Which, from 0.\n# index = 1\n# fast = true    # or slow\n\n# Another.\n# [[device]]\n# name = \"b\"\n";

    #[test]
    fn keys_are_told_with_default_or_example() {
        let page = page(FILE).unwrap();
        let (_, rows) = page.split_once("| key |").unwrap();
        for row in [
            "| `threads` | `0` | Threads, 0 to 64. |",
            "| `folder` | none | The folder. For example `\"/x\"`. |",
            "## `[limits]`\n\nLimits.\n\n| key | default | meaning |\n|---|---|---|\n| `bytes` | `1` | Bytes at most. |",
            "## `[device.torch]`\n\nOf torch.\n\nNot there by default",
            "| `index` | `1` | Which, from 0. |\n| `fast` | `true` | or slow |",
            "Another.\n\n```toml\n[[device]]\nname = \"b\"\n```",
        ] {
            assert!(rows.contains(row), "{row:?} is not in {rows}");
        }
        assert!(!page.contains("What this is."), "the file's own head is not the page's");
    }

    #[test]
    fn what_is_not_understood_is_not_left_out() {
        let error = page("list = [1,\n2]\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
