//! One daemon owns a piece of hardware: a lock on a file that goes with the process, however that ends.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::source::Source;
use super::tree::Tree;

/// Of a system's daemon.
const SYSTEM_FOLDER: &str = "run/edgemux";

/// Hardware that is not ours to use.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error(
        "{hardware} is owned by {holder}: one edgemuxd owns a device. Stop that one, or take the device out of one of \
         the two configurations"
    )]
    Held {
        /// Which.
        hardware: String,
        /// Who.
        holder: String,
    },
    /// We have it already.
    #[error("{0} is the source of two devices of this configuration: each piece of hardware is one device")]
    Twice(String),
    /// The file cannot be used.
    #[error("the lock of {hardware} cannot be taken in {folder}: {error}")]
    Io {
        /// Whose.
        hardware: String,
        /// Where.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    /// The lock goes when this is closed.
    _file: File,
}

/// The folder of all locks.
#[derive(Clone, Debug)]
pub struct Locks {
    folder: PathBuf,
}

impl Locks {
    /// `/run/edgemux` for whoever can write there, else a folder of the user's own.
    pub(super) fn new(tree: &Tree) -> Self {
        let system = tree.path(SYSTEM_FOLDER);
        // It is made where that is allowed; what came of it is looked at.
        let _ = DirBuilder::new().create(&system);
        let writable = rustix::fs::access(&system, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        if writable || !tree.is_real() {
            return Self { folder: system };
        }
        let folder = match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(given) => PathBuf::from(given).join("edgemux"),
            None => std::env::temp_dir().join(format!("edgemux-{}", rustix::process::geteuid().as_raw())),
        };
        Self { folder }
    }

    /// The daemon that owns `source`, as far as it says so itself. Nothing is locked for this.
    pub fn holder(&self, source: &Source) -> Option<u32> {
        let pid = std::fs::read_to_string(self.file(source)).ok()?.trim().parse().ok()?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() == "edgemuxd").then_some(pid)
    }

    fn file(&self, source: &Source) -> PathBuf {
        self.folder.join(format!("{}.lock", source.to_string().replace(':', "-")))
    }

    /// Takes the lock of `source`, which is to be a name that stays.
    pub fn take(&self, source: &Source) -> Result<Lock, LockError> {
        let failed =
            |error| LockError::Io { hardware: source.to_string(), folder: self.folder.clone(), error };
        own(&self.folder).map_err(failed)?;
        let mut file = open(&self.file(source)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                // For whoever comes after; of a file that another user made it can only be locked.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(Lock { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(held(source, file)),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

fn held(source: &Source, file: File) -> LockError {
    let mut said = String::new();
    let _ = file.take(32).read_to_string(&mut said);
    let hardware = source.to_string();
    match said.trim().parse::<u32>() {
        Ok(pid) if pid == std::process::id() => LockError::Twice(hardware),
        Ok(pid) => LockError::Held { hardware, holder: format!("process {pid}") },
        // It has the lock, and has not said yet who it is.
        Err(_) => LockError::Held { hardware, holder: "another process".to_owned() },
    }
}

fn open(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    match opened {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(path),
        opened => opened,
    }
}

/// A folder that nobody else could have put there with locks of their own in it.
fn own(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let about = std::fs::symlink_metadata(folder)?;
    let ours = [rustix::process::geteuid().as_raw(), 0].contains(&about.uid());
    let writable_by_others = about.mode() & 0o002 != 0;
    if about.is_dir() && ours && !writable_by_others {
        return Ok(());
    }
    Err(io::Error::other("it is to be a folder of this user or of root that others cannot write to"))
}
