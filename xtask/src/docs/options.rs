//! The options of each runtime that the configuration's page lists are those that the runtime takes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

/// Each runtime, where its options are declared, and by which struct.
pub(super) const DECLARED: [(&str, &str, &str); 4] = [
    ("torch", "runtimes/torch/src/options.rs", "Options"),
    ("tflite", "runtimes/tflite/src/options.rs", "Options"),
    ("edgetpu", "runtimes/edgetpu/src/options.rs", "Options"),
    ("emulator", "runtimes/emulator/src/options.rs", "Json"),
];

/// Fails unless the page's section of the runtime has a row for each field of the struct, and no other.
pub(super) fn check(page: &str, runtime: &str, source: &str, name: &str) -> Result<()> {
    let declared = declared(source, name)?;
    let listed = listed(page, runtime);
    if declared != listed {
        bail!("[device.{runtime}]: the runtime takes {declared:?}, the page lists {listed:?}");
    }
    Ok(())
}

fn listed(page: &str, runtime: &str) -> BTreeSet<String> {
    let header = format!("## `[device.{runtime}]`");
    let section =
        page.lines().skip_while(|line| *line != header).skip(1).take_while(|line| !line.starts_with("## "));
    let rows = section.filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(key, _)| key.to_owned()).collect()
}

/// The fields of a struct with one field on each line, as `kebab-case` has them.
fn declared(source: &str, name: &str) -> Result<BTreeSet<String>> {
    let begin = format!("struct {name} {{\n");
    let (_, rest) = source.split_once(&begin).with_context(|| format!("no struct {name}"))?;
    let (body, _) = rest.split_once("\n}").context("the struct has no end")?;
    let lines = body.lines().map(str::trim).filter(|line| !line.starts_with(['/', '#']));
    let names = lines.filter_map(|line| line.split_once(": ")).map(|(field, _)| field);
    Ok(names.map(|field| field.trim_start_matches("pub(crate) ").replace('_', "-")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_is_not_listed_is_told() {
        let source = "pub(crate) struct Options {\n    /// One: of them.\n    pub(crate) first_one: u8,\n    second: Option<bool>,\n}\n";
        let page =
            |rows: &str| format!("## `[device.x]`\n\n| key |\n{rows}\n## `[device.y]`\n| `third` | 1 | |\n");
        check(&page("| `first-one` | 1 | |\n| `second` | 1 | |"), "x", source, "Options").unwrap();
        let error = check(&page("| `first-one` | 1 | |"), "x", source, "Options").unwrap_err().to_string();
        assert!(error.contains("\"second\""), "{error}");
        assert!(check("", "x", source, "Nothing").is_err());
    }
}
