//! A terminal for a command to run in.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{InputModes, LocalModes, OutputModes, Winsize, tcgetattr, tcsetwinsize};

/// A command that shows nothing more in this time does not do so any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Both ends of it: a person's, and the command's.
#[derive(Debug)]
pub(crate) struct Pty {
    person: File,
    terminal: File,
    shown: Receiver<Vec<u8>>,
    /// All that was shown so far.
    text: Vec<u8>,
}

impl Pty {
    /// Opens one of this size.
    pub(crate) fn open(rows: u16, columns: u16) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let path = ptsname(&person, Vec::new()).unwrap();
        let terminal = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32)
            .open(std::ffi::OsStr::from_bytes(path.as_bytes()))
            .unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&person, size).unwrap();
        let person = File::from(person);
        let mut reader = person.try_clone().unwrap();
        let (sender, shown) = sync_channel(1024);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { person, terminal, shown, text: Vec::new() }
    }

    /// How it treats what is typed and printed.
    pub(crate) fn settings(&self) -> (InputModes, OutputModes, LocalModes) {
        let settings = tcgetattr(&self.terminal).unwrap();
        (settings.input_modes, settings.output_modes, settings.local_modes)
    }

    /// Runs the command in it.
    pub(crate) fn spawn(&self, command: &mut Command) -> Child {
        let end = || self.terminal.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    }

    /// Types these keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.person.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until all that was shown so far holds the text, and returns it.
    pub(crate) fn read_until(&mut self, wanted: &str) -> String {
        let start = Instant::now();
        loop {
            let text = String::from_utf8_lossy(&self.text);
            if text.contains(wanted) {
                return text.into_owned();
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            match self.shown.recv_timeout(left) {
                Ok(more) => self.text.extend(more),
                Err(_) => panic!("`{wanted}` was not shown, but: {:?}", text.get(..4000).unwrap_or(&text)),
            }
        }
    }
}
