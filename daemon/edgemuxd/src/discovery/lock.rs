//! One daemon owns a piece of hardware: a lock on a file that goes with the process, however that ends.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::held;
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
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // It would go with the last descriptor of it, and a process that is just being started has one for a moment.
        let _ = self.file.unlock();
    }
}

/// The folder of our locks.
#[derive(Clone, Debug)]
pub struct Locks {
    folder: PathBuf,
    /// Where the system's daemon has its locks, if that is elsewhere.
    system: Option<PathBuf>,
}

impl Locks {
    /// `/run/edgemux` for whoever can write there, else a folder of the user's own.
    pub(super) fn new(tree: &Tree) -> Self {
        let (system, own) = folders(tree);
        // It is made where that is allowed; what came of it is looked at.
        let _ = DirBuilder::new().create(&system);
        let writable = rustix::fs::access(&system, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        if writable || !tree.is_real() {
            return Self { folder: system, system: None };
        }
        Self::of_user(&own, &system)
    }

    /// A user's, who does not get what the system's daemon has locked in `system`.
    pub(super) fn of_user(folder: &Path, system: &Path) -> Self {
        Self { folder: folder.to_owned(), system: Some(system.to_owned()) }
    }

    /// Takes the lock of `source`, which is to be a name that stays.
    pub fn take(&self, source: &Source) -> Result<Lock, LockError> {
        let failed =
            |error| LockError::Io { hardware: source.to_string(), folder: self.folder.clone(), error };
        let of_system = self.system.as_ref().and_then(|system| held::by(&file(system, source)));
        if let Some(pid) = of_system {
            let holder = format!("process {pid}");
            return Err(LockError::Held { hardware: source.to_string(), holder });
        }
        own(&self.folder).map_err(failed)?;
        let mut file = open(&file(&self.folder, source)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                // For whoever comes after; of a file that another user made it can only be locked.
                let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(Lock { file })
            }
            Err(TryLockError::WouldBlock) => Err(refused(source, file)),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The process that owns `source`, whatever user's it is. Nothing is locked or made for this: to look is to disturb nobody.
pub(super) fn holder(tree: &Tree, source: &Source) -> Option<u32> {
    let (system, own) = folders(tree);
    [system, own].iter().find_map(|folder| held::by(&file(folder, source)))
}

/// Of a system's daemon, and of a user's.
fn folders(tree: &Tree) -> (PathBuf, PathBuf) {
    let own = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(given) => PathBuf::from(given).join("edgemux"),
        None => std::env::temp_dir().join(format!("edgemux-{}", rustix::process::geteuid().as_raw())),
    };
    // A machine that is made up is all below its root.
    let own = if tree.is_real() { own } else { tree.path("user/edgemux") };
    (tree.path(SYSTEM_FOLDER), own)
}

fn file(folder: &Path, source: &Source) -> PathBuf {
    folder.join(format!("{}.lock", source.to_string().replace(':', "-")))
}

fn refused(source: &Source, file: File) -> LockError {
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
