//! The two libraries: TensorFlow Lite, and the delegate that drives the edgeTPU.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use edgefirst_tflite::{Delegate, DelegateOptions, Library};

use crate::options::Options;
use crate::sys;

/// The delegate where the system has it.
const DELEGATE: &str = "libedgetpu.so.1";
const DELEGATE_VARIABLE: &str = "EDGETPU_LIBRARY_PATH";
const TENSORFLOW_LITE_VARIABLE: &str = "TFLITE_LIBRARY_PATH";
/// TensorFlow Lite where a package puts it, from the worker's folder.
const PACKAGED: &str = "edgetpu/lib/libtensorflowlite_c.so";

/// Opens TensorFlow Lite. It stays open: what was made with it may be anywhere.
pub(crate) fn tensorflow_lite(options: &Options) -> Result<&'static Library, String> {
    static OPEN: Mutex<BTreeMap<Option<PathBuf>, &'static Library>> = Mutex::new(BTreeMap::new());
    let path = options.tensorflow_lite.clone().or_else(packaged);
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = open.get(&path) {
        return Ok(library);
    }
    let opened = match &path {
        Some(path) => Library::from_path(path),
        // As the variable says, or where the system has one.
        None => Library::new(),
    };
    let library = opened.map_err(|error| {
        let path = path.as_deref().unwrap_or(Path::new("libtensorflowlite_c.so"));
        format!("TensorFlow Lite cannot be opened ({}): {}", path.display(), whole(&error))
    })?;
    if let Some(missing) = sys::missing(&library) {
        return Err(format!(
            "TensorFlow Lite is without {missing}: it is not the C library, or of before 2.3"
        ));
    }
    let library: &'static Library = Box::leak(Box::new(library));
    open.insert(path, library);
    Ok(library)
}

fn packaged() -> Option<PathBuf> {
    if std::env::var_os(TENSORFLOW_LITE_VARIABLE).is_some() {
        return None;
    }
    let beside = std::env::current_exe().ok()?.with_file_name(PACKAGED);
    beside.is_file().then_some(beside)
}

fn delegate_path(options: &Options) -> PathBuf {
    let named = || std::env::var_os(DELEGATE_VARIABLE).map(PathBuf::from);
    options.delegate.clone().or_else(named).unwrap_or_else(|| DELEGATE.into())
}

/// Makes a delegate: libedgetpu opens the device for the first and shares it with those that follow.
pub(crate) fn delegate(options: &Options) -> Result<Delegate, String> {
    let told = options.for_delegate();
    let told = told.into_iter().fold(DelegateOptions::new(), |told, (name, value)| told.option(name, value));
    let path = delegate_path(options);
    Delegate::load_with_options(&path, &told).map_err(|error| {
        if error.is_null_pointer() {
            let device = options.device();
            format!(
                "{} does not open device {device:?}: is it plugged in, and may this user open it?",
                path.display()
            )
        } else {
            format!("the delegate cannot be opened ({}): {}", path.display(), whole(&error))
        }
    })
}

/// An error with what it was made of: of a file that cannot be opened, the outermost does not say which nor why.
fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        inner = error.source();
    }
    text
}

/// The versions of both, without touching a device.
pub(crate) fn versions(options: &Options) -> Result<String, String> {
    let tensorflow_lite = sys::tensorflow_lite_version(tensorflow_lite(options)?);
    let delegate = sys::delegate_version(&delegate_path(options))
        .map_err(|error| format!("the delegate cannot be opened: {}", whole(&error)))?;
    Ok(format!("TensorFlow Lite {tensorflow_lite}, libedgetpu {delegate}"))
}
