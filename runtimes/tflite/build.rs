//! Says where the worker looks for TensorFlow Lite when it is installed.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A package brings the library beside the binary; LD_LIBRARY_PATH goes before this.
    #[cfg(feature = "libtensorflowlite")]
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/tflite/lib");
}
