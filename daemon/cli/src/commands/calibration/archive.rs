//! Profiles in a file, by which one box's measurements seed another's.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;

use crate::client::MESSAGE_BYTES_MAX;
use crate::commands::Context;
use crate::error::Error;
use crate::format;
use crate::output::Report;

/// What was written.
#[derive(Debug, Serialize)]
pub(super) struct Exported {
    file: PathBuf,
    bytes: u64,
}

/// What was taken over.
#[derive(Debug, Serialize)]
pub(super) struct Imported {
    file: PathBuf,
    /// How many profiles.
    taken: u32,
}

pub(super) async fn export(file: PathBuf, context: &Context<'_>) -> Result<Exported, Error> {
    let document = context.connect().await?.export_calibration().await?;
    write(&file, &document).map_err(|cause| Error::Write { path: file.clone(), cause })?;
    Ok(Exported { file, bytes: document.len() as u64 })
}

pub(super) async fn import(file: PathBuf, context: &Context<'_>) -> Result<Imported, Error> {
    let document = read(&file).map_err(|cause| Error::Read { path: file.clone(), cause })?;
    let taken = context.connect().await?.import_calibration(document).await?;
    Ok(Imported { file, taken })
}

/// Whole or not at all: what was there before stays until all of the new is on the disk. What is no file, such as a pipe,
/// is written to as it is.
fn write(file: &Path, document: &[u8]) -> io::Result<()> {
    if fs::metadata(file).is_ok_and(|there| !there.is_file()) {
        return fs::write(file, document);
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any new file: what the user's mask allows.
    let permissions = fs::Permissions::from_mode(0o666);
    let mut new = tempfile::Builder::new().permissions(permissions).tempfile_in(folder)?;
    new.write_all(document)?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

/// A file that no message could carry is not read to its end.
fn read(file: &Path) -> io::Result<Bytes> {
    let mut document = Vec::new();
    let most = MESSAGE_BYTES_MAX as u64;
    File::open(file)?.take(most + 1).read_to_end(&mut document)?;
    if document.len() as u64 > most {
        let largest = format::bytes(most);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {largest}")));
    }
    Ok(document.into())
}

// === impl Report ===

impl Report for Exported {
    fn text(&self) -> String {
        format!("written: {}, {}\n", self.file.display(), format::bytes(self.bytes))
    }
}

impl Report for Imported {
    fn text(&self) -> String {
        match self.taken {
            0 => "nothing taken over: what is known here rests on at least as many samples\n".to_owned(),
            1 => "1 profile taken over\n".to_owned(),
            taken => format!("{taken} profiles taken over\n"),
        }
    }
}
