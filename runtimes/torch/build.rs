//! Builds the shim over the parts of libtorch that tch does not reach, when there is a libtorch to build it against.

fn main() {
    #[cfg(feature = "libtorch")]
    shim();
}

#[cfg(feature = "libtorch")]
fn shim() {
    use std::path::Path;

    // torch-sys found libtorch, however it was told of it; the headers lie beside the libraries.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").unwrap_or_default();
    let include = Path::new(&lib).with_file_name("include");
    for file in ["shim/shim.cpp", "shim/shim.h"] {
        println!("cargo:rerun-if-changed={file}");
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        // libtorch's headers are not ours to mend.
        .flag(format!("-isystem{}", include.display()))
        .flag(format!("-isystem{}", include.join("torch/csrc/api/include").display()))
        .define("_GLIBCXX_USE_CXX11_ABI", std::env::var("LIBTORCH_CXX11_ABI").as_deref().unwrap_or("1"))
        .file("shim/shim.cpp")
        .compile("edgemux-torch-shim");
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    // A package brings libtorch beside the binary; LD_LIBRARY_PATH goes before this.
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/torch/lib");
}
