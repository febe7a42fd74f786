//! A process of its own that opens the device first. Where libedgetpu and TensorFlow Lite do not fit, or the device hangs,
//! it is that process which crashes or waits, and the worker that says so.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::library::{delegate, tensorflow_lite, versions};
use crate::options::Options;

/// Makes the worker's binary a trial; the device's options follow.
pub(crate) const ARGUMENT: &str = "--trial";

/// Set in the worker's own binary: another one that has this runtime in it cannot be run as a trial.
static WORKER: AtomicBool = AtomicBool::new(false);

pub(crate) fn this_is_the_worker() {
    WORKER.store(true, Ordering::Relaxed);
}

/// Opens the device and closes it again. What is wrong is printed, for the worker to read. Returns the exit code.
pub(crate) fn run(options: &str) -> i32 {
    match open_and_close(options) {
        Ok(()) => 0,
        Err(wrong) => {
            println!("{wrong}");
            1
        }
    }
}

fn open_and_close(options: &str) -> Result<(), String> {
    // A trial that hangs must not outlive the worker that waits for it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
    let options = Options::parse(options).map_err(|error| error.to_string())?;
    tensorflow_lite(&options)?;
    delegate(&options).map(drop)
}

/// Lets a trial run. The error is what the operator should know.
pub(crate) fn pass(options: &str, seconds: u32) -> Result<(), String> {
    if !WORKER.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut trial = Command::new("/proc/self/exe")
        .args([ARGUMENT, options])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("a trial of the device cannot be started: {error}"))?;
    let Some(mut output) = trial.stdout.take() else { return Err("a trial has no output".into()) };
    // Its output ends when it does.
    let (said, says) = sync_channel(1);
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = output.read_to_string(&mut text);
        let _ = said.send(text);
    });
    let text = match says.recv_timeout(Duration::from_secs(seconds.into())) {
        Ok(text) => text,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            let _ = trial.kill();
            let _ = trial.wait();
            return Err(format!(
                "it did not open within {seconds} s, in a process of its own that was then killed"
            ));
        }
    };
    let status = trial.wait().map_err(|error| format!("a trial of the device is lost: {error}"))?;
    if status.success() { Ok(()) } else { Err(failure(status, text.trim(), options)) }
}

fn failure(status: ExitStatus, said: &str, options: &str) -> String {
    match (said, status.signal()) {
        ("", Some(signal)) => {
            let versions = Options::parse(options)
                .map_err(|error| error.to_string())
                .and_then(|options| versions(&options))
                .unwrap_or_else(|error| error);
            format!(
                "opening it crashed a process of its own (signal {signal}): libedgetpu and TensorFlow Lite are probably \
                 not of one release; here are {versions}"
            )
        }
        ("", None) => format!("opening it ended a process of its own with {status}"),
        (said, _) => said.to_owned(),
    }
}
