//! A plan's file: TOML, kebab-case keys, unknown keys refused, every value checked before anything is computed.
//!
//! `docs/plan.md` documents every key.

mod application;
mod device;
mod error;
mod model;
mod reader;
#[cfg(test)]
mod tests;
mod wire;

use std::fs;
use std::path::Path;

pub(crate) use error::{FileError, Wrong};

use super::node::{Application, Choice, Node};
use model::Groups;
use reader::Reader;

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Node, FileError> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|cause| FileError::Read { file: file.clone(), cause })?;
    parse(&file, &text)
}

/// Reads a text; `file` is what errors call it.
pub(crate) fn parse(file: &str, text: &str) -> Result<Node, FileError> {
    let reader = Reader { file, text };
    let given: wire::File = toml::from_str(text).map_err(|error| reader.toml(&error))?;
    let host = device::host(reader, &given.host)?;
    unique(reader, "device", given.device.iter().map(|device| &device.name))?;
    unique(reader, "model", given.model.iter().map(|model| &model.name))?;
    unique(reader, "application", given.application.iter().map(|application| &application.name))?;
    let devices: Vec<Choice> =
        given.device.iter().map(|device| device::device(reader, device)).collect::<Result<_, _>>()?;
    let mut groups = Groups::default();
    let mut models = Vec::new();
    for model in &given.model {
        models.push((reader.name("name", &model.name)?, model::profiles(reader, model, &mut groups)?));
    }
    let mut applications = Vec::new();
    for given in &given.application {
        let (model, profiles) =
            models.iter().find(|(name, _)| name == given.model.get_ref()).ok_or_else(|| {
                let known = listed(models.iter().map(|(name, _)| name.as_str()));
                let unknown = Wrong::Unknown {
                    key: "model",
                    given: shown(given.model.get_ref()),
                    what: "model",
                    known,
                };
                reader.wrong(&given.model.span(), unknown)
            })?;
        applications.push(Application {
            name: reader.name("name", &given.name)?,
            model: model.clone(),
            terms: application::terms(reader, given)?,
            profiles: profiles.clone(),
            allowed: application::allowed(reader, given, &devices)?,
        });
    }
    Ok(Node { host, devices, applications })
}

/// At least one, and no two of one name.
fn unique<'a>(
    reader: Reader<'_>,
    what: &'static str,
    names: impl Iterator<Item = &'a wire::Word>,
) -> Result<(), FileError> {
    let mut seen: Vec<&wire::Word> = Vec::new();
    for name in names {
        if let Some(first) = seen.iter().find(|known| known.get_ref() == name.get_ref()) {
            let first = reader.line(first.span().start);
            return Err(reader.wrong(&name.span(), Wrong::Twice { name: shown(name.get_ref()), what, first }));
        }
        seen.push(name);
    }
    if seen.is_empty() { Err(reader.wrong(&(0..0), Wrong::None(what))) } else { Ok(()) }
}

/// Names in a message: `a, b and c`.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "none".to_owned(),
    }
}

/// A word of the file in a message of one line.
fn shown(word: &str) -> String {
    word.chars().flat_map(char::escape_debug).take(80).collect()
}
