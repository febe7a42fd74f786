//! `docs/configuration.md` lists every key that the configuration has, and no other, each with its default; and what the other
//! guides show can be used.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use edgemuxd::config::{Config, ConfigError};
use edgemuxd::terms::Terms;

/// Options of these are a runtime's business: the daemon takes any and hands them on.
const HANDED_ON: [&str; 4] = ["device.torch", "device.tflite", "device.edgetpu", "device.emulator"];

/// A row of the page.
struct Row {
    /// `threads`, `limits.queue-requests`, `device.name`.
    path: String,
    /// As TOML writes it; none where nothing is set by default.
    default: Option<String>,
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn page() -> String {
    std::fs::read_to_string(docs().join("configuration.md")).unwrap()
}

/// The TOML that a page shows.
fn shown(page: &str) -> Vec<String> {
    let page = std::fs::read_to_string(docs().join(page)).unwrap();
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block.to_owned()).collect()
}

fn rows(page: &str) -> Vec<Row> {
    let mut section = String::new();
    let mut has_defaults = true;
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(header) = line.strip_prefix("## `") {
            section = header.trim_matches(['[', ']', '`']).to_owned();
        } else if line.starts_with("| key |") {
            has_defaults = line.contains("default");
        } else if let Some(row) = line.strip_prefix("| `") {
            let (key, rest) = row.split_once("` | ").unwrap();
            let path = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
            let default = rest.strip_prefix('`').and_then(|rest| rest.split_once('`'));
            let default = default.filter(|_| has_defaults).map(|(value, _)| value.to_owned());
            rows.push(Row { path, default });
        }
    }
    rows
}

fn read(text: &str) -> Result<Config, ConfigError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Config::read(file.path())
}

/// The keys that a table at `path` takes, as the refusal of an unknown one lists them; none where there is no such table.
fn keys_of(path: &[String], in_lists: &[bool]) -> Option<Vec<String>> {
    let mut text = "{ no-such-key = 1 }".to_owned();
    for (key, in_list) in path.iter().zip(in_lists).rev() {
        text = if *in_list { format!("{{ {key} = [{text}] }}") } else { format!("{{ {key} = {text} }}") };
    }
    let text = text.strip_prefix('{')?.strip_suffix('}')?.trim().to_owned();
    let said = read(&text).err()?.to_string();
    let (_, expected) = said.split_once("unknown field `no-such-key`, expected ")?;
    // Every other piece between back quotes is a name.
    Some(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Every key, those of tables within tables too.
fn keys(path: &mut Vec<String>, in_lists: &mut Vec<bool>, found: &mut BTreeSet<String>) -> bool {
    let Some(names) = keys_of(path, in_lists) else { return false };
    for name in names {
        path.push(name);
        let is_table = [false, true].into_iter().any(|in_list| {
            in_lists.push(in_list);
            let is_table = keys(path, in_lists, found);
            in_lists.pop();
            is_table
        });
        if !is_table {
            found.insert(path.join("."));
        }
        path.pop();
    }
    true
}

#[test]
fn every_key_of_the_configuration_is_listed_and_no_other() {
    let mut taken = BTreeSet::new();
    assert!(keys(&mut Vec::new(), &mut Vec::new(), &mut taken));
    for known in
        ["threads", "limits.queue-requests", "supervision.hang-factor", "device.name", "device.torch"]
    {
        assert!(taken.contains(known), "{known} is not in {taken:?}");
    }
    let listed: BTreeSet<_> = rows(&page()).into_iter().map(|row| row.path).collect();
    let handed_on = |path: &String| HANDED_ON.iter().any(|table| path.starts_with(&format!("{table}.")));
    for table in HANDED_ON {
        assert!(listed.iter().any(|path| path.starts_with(&format!("{table}."))), "{table} has no section");
    }
    let of_daemon: BTreeSet<_> = listed.into_iter().filter(|path| !handed_on(path)).collect();
    taken.retain(|path| !HANDED_ON.contains(&path.as_str()));
    assert_eq!(of_daemon, taken, "left: on the page, right: in the configuration");
}

#[test]
fn defaults_are_those_that_are_listed() {
    let rows = rows(&page());
    let mut text = String::new();
    let set = |section: &str| {
        let mut lines = String::new();
        for row in &rows {
            let (of, key) = row.path.rsplit_once('.').unwrap_or(("", &row.path));
            if let Some(default) = row.default.as_ref().filter(|_| of == section) {
                lines += &format!("{key} = {default}\n");
            }
        }
        lines
    };
    text += &set("");
    let sections: BTreeSet<_> = rows.iter().filter_map(|row| Some(row.path.rsplit_once('.')?.0)).collect();
    for section in sections {
        let lines = set(section);
        // The only table of which there may be several.
        let header = if section == "device" { "[[device]]".to_owned() } else { format!("[{section}]") };
        if !lines.is_empty() {
            text += &format!("{header}\n{lines}");
        }
    }
    let mut listed = read(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let default = Config::default();
    assert!(text.contains("queue-requests = "), "{text}");
    // What depends on the kind of device is none in the default, and what comes out of that is listed.
    let (device, of_default) = (&mut listed.device[0], &default.device[0]);
    assert_eq!(device.multiplexing(), of_default.multiplexing());
    assert_eq!(device.sharing(), of_default.sharing());
    (device.multiplexing, device.width, device.quantum_ms, device.run_max) = (None, None, None, None);
    listed.device_root = PathBuf::clone(&default.device_root);
    assert_eq!(listed, default);
}

#[test]
fn the_shipped_file_is_the_defaults() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systemd/edgemuxd.toml");
    let mut shipped = Config::read(&shipped).unwrap();
    let default = Config::default();
    let device = &mut shipped.device[0];
    (device.multiplexing, device.width, device.quantum_ms, device.run_max) = (None, None, None, None);
    shipped.device_root = PathBuf::clone(&default.device_root);
    assert_eq!(shipped, default);
}

#[test]
fn configurations_and_terms_that_the_guides_show_are_taken() {
    let configurations = shown("install.md");
    assert!(configurations.len() >= 5, "one for each kind of node: {configurations:?}");
    for configuration in configurations {
        read(&configuration).unwrap_or_else(|error| panic!("{error}: {configuration}"));
    }
    let [terms] = &shown("terms-and-verdicts.md")[..] else { panic!("terms are shown once") };
    let terms: Terms = toml::from_str(terms).unwrap();
    terms.check().unwrap();
    assert!(terms.guarantee().is_some() && terms.batching.is_some(), "{terms:?}");
}
