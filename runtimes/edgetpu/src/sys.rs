//! What the binding does not reach.

use std::ffi::{CStr, c_char};
use std::path::Path;

use edgefirst_tflite::Library;

/// The first function that is called here and that the library lacks; calling it would be a panic.
pub(crate) fn missing(library: &Library) -> Option<&'static str> {
    let sys = library.as_sys();
    [
        ("TfLiteVersion", sys.TfLiteVersion.is_ok()),
        ("TfLiteModelCreate", sys.TfLiteModelCreate.is_ok()),
        ("TfLiteModelDelete", sys.TfLiteModelDelete.is_ok()),
        ("TfLiteInterpreterOptionsCreate", sys.TfLiteInterpreterOptionsCreate.is_ok()),
        ("TfLiteInterpreterOptionsDelete", sys.TfLiteInterpreterOptionsDelete.is_ok()),
        ("TfLiteInterpreterOptionsSetNumThreads", sys.TfLiteInterpreterOptionsSetNumThreads.is_ok()),
        ("TfLiteInterpreterOptionsAddDelegate", sys.TfLiteInterpreterOptionsAddDelegate.is_ok()),
        ("TfLiteInterpreterCreate", sys.TfLiteInterpreterCreate.is_ok()),
        ("TfLiteInterpreterDelete", sys.TfLiteInterpreterDelete.is_ok()),
        ("TfLiteInterpreterAllocateTensors", sys.TfLiteInterpreterAllocateTensors.is_ok()),
        ("TfLiteInterpreterResizeInputTensor", sys.TfLiteInterpreterResizeInputTensor.is_ok()),
        ("TfLiteInterpreterInvoke", sys.TfLiteInterpreterInvoke.is_ok()),
        ("TfLiteInterpreterGetInputTensorCount", sys.TfLiteInterpreterGetInputTensorCount.is_ok()),
        ("TfLiteInterpreterGetInputTensor", sys.TfLiteInterpreterGetInputTensor.is_ok()),
        ("TfLiteInterpreterGetOutputTensorCount", sys.TfLiteInterpreterGetOutputTensorCount.is_ok()),
        ("TfLiteInterpreterGetOutputTensor", sys.TfLiteInterpreterGetOutputTensor.is_ok()),
        ("TfLiteTensorNumDims", sys.TfLiteTensorNumDims.is_ok()),
        ("TfLiteTensorDim", sys.TfLiteTensorDim.is_ok()),
        ("TfLiteTensorByteSize", sys.TfLiteTensorByteSize.is_ok()),
        ("TfLiteTensorData", sys.TfLiteTensorData.is_ok()),
        ("TfLiteTensorName", sys.TfLiteTensorName.is_ok()),
    ]
    .into_iter()
    .find_map(|(name, there)| (!there).then_some(name))
}

/// TensorFlow Lite's version.
pub(crate) fn tensorflow_lite_version(library: &Library) -> String {
    // SAFETY: the function is there (see `missing`) and returns a string of the library's own, which stays open.
    unsafe { CStr::from_ptr(library.as_sys().TfLiteVersion()) }.to_string_lossy().into_owned()
}

/// The version of the delegate at `path`, which must have the two functions of a delegate. Only opens the file.
pub(crate) fn delegate_version(path: &Path) -> Result<String, libloading::Error> {
    type Version = unsafe extern "C" fn() -> *const c_char;
    // SAFETY: opening a library runs its constructors. That the file is a delegate is the operator's word; if it crashes,
    // it does so in a process that is there for finding out, or in a worker.
    unsafe {
        let library = libloading::Library::new(path)?;
        library.get::<unsafe extern "C" fn()>(c"tflite_plugin_create_delegate")?;
        library.get::<unsafe extern "C" fn()>(c"tflite_plugin_destroy_delegate")?;
        // Older ones do not say.
        let Ok(version) = library.get::<Version>(c"edgetpu_version") else {
            return Ok("of unknown version".into());
        };
        let version = version();
        Ok(if version.is_null() {
            "of unknown version".into()
        } else {
            CStr::from_ptr(version).to_string_lossy().into_owned()
        })
    }
}
