//! Builds the delegate that the tests load in place of libedgetpu.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "fake-delegate")]
    fake_delegate();
}

#[cfg(feature = "fake-delegate")]
fn fake_delegate() {
    use std::path::Path;

    println!("cargo:rerun-if-changed=tests/fake/delegate.cc");
    println!("cargo:rerun-if-env-changed=TFLITEC_HEADER_DIR");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let library = Path::new(&variable("OUT_DIR")).join("libfakedelegate.so");
    let mut compiler = cc::Build::new().cpp(true).get_compiler().to_command();
    compiler.args([
        "-std=gnu++17",
        "-O1",
        "-g",
        "-fPIC",
        "-shared",
        "-fvisibility=hidden",
        "-Wall",
        "-Werror",
    ]);
    compiler.arg("-isystem").arg(variable("TFLITEC_HEADER_DIR"));
    compiler.arg("tests/fake/delegate.cc").arg("-o").arg(&library);
    match compiler.status() {
        Ok(status) if status.success() => {}
        failed => panic!(
            "the fake delegate is not built ({failed:?}): run this under the variables of `cargo xtask native`"
        ),
    }
    println!("cargo:rustc-env=EDGEMUX_FAKE_DELEGATE={}", library.display());
}
