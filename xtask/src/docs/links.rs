//! Links between the pages: each leads to a file that is there, and to a heading of it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Folders that hold nothing of the project's own.
const SKIPPED: [&str; 3] = ["target", "node_modules", ".git"];

/// Looks at every link of every page below `root`.
pub(super) fn check(root: &Path) -> Result<()> {
    let mut pages = Vec::new();
    find(root, &mut pages)?;
    let mut broken = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(root.join(page)).with_context(|| format!("cannot read {page}"))?;
        broken.extend(
            of(&text).filter_map(|link| Some(format!("{page}: {link}: {}", problem(root, page, link)?))),
        );
    }
    if !broken.is_empty() {
        bail!("links that lead nowhere:\n  {}", broken.join("\n  "));
    }
    Ok(())
}

fn find(folder: &Path, pages: &mut Vec<String>) -> Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).with_context(|| format!("cannot read {}", at.display()))? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type()?.is_dir() {
                // Hidden folders are the business of those who made them.
                if !SKIPPED.contains(&name.as_str()) && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                pages.push(path.strip_prefix(folder)?.to_string_lossy().into_owned());
            }
        }
    }
    pages.sort();
    Ok(())
}

/// The targets of `[text](target)` and `[text]: target`, code aside.
fn of(page: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    let lines = page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    });
    lines.flat_map(|line| {
        let inline =
            line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        let definition =
            line.strip_prefix('[').and_then(|line| line.split_once("]: ")).map(|(_, target)| target);
        inline.chain(definition).collect::<Vec<_>>()
    })
}

fn problem(root: &Path, page: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
    let page = root.join(page);
    let target = if file.is_empty() { page } else { page.parent()?.join(file) };
    if !target.exists() {
        return Some("there is no such file".into());
    }
    let heading = heading?;
    let text = std::fs::read_to_string(&target).ok()?;
    (!headings(&text).contains(heading)).then(|| "the file has no such heading".into())
}

/// The names under which a page's headings are found.
fn headings(page: &str) -> BTreeSet<String> {
    let name = |line: &str| -> String {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|&c| c.is_alphanumeric() || " -_".contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    page.lines().filter(|line| line.starts_with('#')).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code() {
        let page = "[a](x.md) and [b](y.md#z)\n```\n[c](code.md)\n```\n[d]: w.md\n`[e]` no link\n";
        assert_eq!(of(page).collect::<Vec<_>>(), ["x.md", "y.md#z", "w.md"]);
    }

    #[test]
    fn one_that_leads_nowhere_is_told_with_its_page() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("b.md", "# What `it` is\n");
        write("a.md", "[1](b.md) [2](b.md#what-it-is) [3](https://nowhere.example) [4](#me)\n# Me\n");
        check(folder.path()).unwrap();
        write("a.md", "[1](c.md) [2](b.md#else)");
        let error = check(folder.path()).unwrap_err().to_string();
        for said in ["a.md: c.md: there is no such file", "a.md: b.md#else: the file has no such heading"] {
            assert!(error.contains(said), "{error}");
        }
    }
}
