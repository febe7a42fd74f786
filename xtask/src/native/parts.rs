//! What native parts there are, and of which wheels they are made.
//!
//! To take another version: change the requirement, and the hash and size that `pip download` then shows.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::LIBRARIES;
use super::headers;
use super::wheel::{Pick, Wheel};
use crate::run::run;

/// Names of environment variables, and what they are to be.
type Variables = Vec<(&'static str, OsString)>;

/// Something that a runtime links against.
pub(super) struct Part {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) what: &'static str,
    /// A variable that shows, when it is set already, that the developer has a build of their own.
    pub(super) variable: &'static str,
    /// Its wheels, for every architecture it is published for.
    pub(super) wheels: &'static [Wheel],
    /// What is left to do after unpacking for an architecture.
    pub(super) finish: fn(&Path, &str) -> Result<()>,
    /// The variables that let cargo find it in its folder.
    pub(super) variables: fn(&Path) -> Result<Variables>,
}

/// Every part.
pub(super) const PARTS: &[Part] = &[
    Part {
        name: "torch",
        what: "libtorch 2.11.0 without its CUDA kernels",
        variable: "LIBTORCH",
        wheels: TORCH,
        finish: finish_torch,
        variables: |folder| {
            Ok(vec![("LIBTORCH", folder.into()), (LIBRARIES, folder.join("lib").into_os_string())])
        },
    },
    Part {
        name: "tflite",
        what: "TensorFlow Lite 2.17.1",
        variable: "TFLITEC_PREBUILT_PATH",
        wheels: TFLITE,
        finish: |_, _| Ok(()),
        variables: |folder| {
            let (lib, headers) = (folder.join("lib"), folder.join("include"));
            headers::lay_out(&headers)?;
            Ok(vec![
                ("TFLITEC_PREBUILT_PATH", lib.join("libtensorflowlite_c.so").into_os_string()),
                ("TFLITEC_HEADER_DIR", headers.into_os_string()),
                (LIBRARIES, lib.into_os_string()),
            ])
        },
    },
    Part {
        name: "libclang",
        what: "libclang 18.1.1, with which bindings are generated",
        variable: "LIBCLANG_PATH",
        wheels: LIBCLANG,
        finish: |_, _| Ok(()),
        variables: |folder| {
            let headers = format!("-I{}", compiler_headers()?);
            Ok(vec![("LIBCLANG_PATH", folder.into()), ("BINDGEN_EXTRA_CLANG_ARGS", headers.into())])
        },
    },
];

const MANYLINUX_X86_64: &[&str] = &["manylinux_2_28_x86_64", "manylinux_2_25_x86_64", "manylinux2014_x86_64"];
const MANYLINUX_AARCH64: &[&str] =
    &["manylinux_2_28_aarch64", "manylinux_2_25_aarch64", "manylinux2014_aarch64"];

/// The wheel of torch that drives CUDA 13, less the kernels: those are on a machine that has a GPU, and are opened when
/// a worker starts. libtorch_cpu.so of that wheel needs the two CUDA libraries even on a machine without a GPU.
const TORCH: &[Wheel] = &[
    Wheel {
        requirement: "torch==2.11.0",
        architecture: "x86_64",
        sha256: "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
        bytes: 530_712_279,
        platforms: MANYLINUX_X86_64,
        picks: &[
            Pick::file("torch/lib/libtorch_cpu.so", "lib/libtorch_cpu.so"),
            Pick::file("torch/lib/libc10.so", "lib/libc10.so"),
            Pick::file("torch/lib/libgomp.so.1", "lib/libgomp.so.1"),
            Pick::folder("torch/include/", "include/"),
        ],
    },
    Wheel {
        requirement: "nvidia-cuda-runtime==13.0.96",
        architecture: "x86_64",
        sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        bytes: 2_243_632,
        platforms: MANYLINUX_X86_64,
        picks: &[CUDART],
    },
    Wheel {
        requirement: "nvidia-cuda-cupti==13.0.85",
        architecture: "x86_64",
        sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        bytes: 10_715_597,
        platforms: MANYLINUX_X86_64,
        picks: &[CUPTI],
    },
    Wheel {
        requirement: "torch==2.11.0",
        architecture: "aarch64",
        sha256: "f99924682ef0aa6a4ab3b1b76f40dc6e273fca09f367d15a524266db100a723f",
        bytes: 419_731_115,
        platforms: MANYLINUX_AARCH64,
        picks: &[
            Pick::file("torch/lib/libtorch_cpu.so", "lib/libtorch_cpu.so"),
            Pick::file("torch/lib/libc10.so", "lib/libc10.so"),
            Pick::file("torch/lib/libgomp.so.1", "lib/libgomp.so.1"),
            Pick::file("torch/lib/libgfortran.so.5", "lib/libgfortran.so.5"),
            Pick::file("torch/lib/libarm_compute.so", "lib/libarm_compute.so"),
            Pick::file("torch/lib/libarm_compute_graph.so", "lib/libarm_compute_graph.so"),
            Pick::file("torch/lib/libnvpl_blas_core.so.0", "lib/libnvpl_blas_core.so.0"),
            Pick::file("torch/lib/libnvpl_blas_lp64_gomp.so.0", "lib/libnvpl_blas_lp64_gomp.so.0"),
            Pick::file("torch/lib/libnvpl_lapack_core.so.0", "lib/libnvpl_lapack_core.so.0"),
            Pick::file("torch/lib/libnvpl_lapack_lp64_gomp.so.0", "lib/libnvpl_lapack_lp64_gomp.so.0"),
            Pick::folder("torch/include/", "include/"),
        ],
    },
    Wheel {
        requirement: "nvidia-cuda-runtime==13.0.96",
        architecture: "aarch64",
        sha256: "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55",
        bytes: 2_261_060,
        platforms: MANYLINUX_AARCH64,
        picks: &[CUDART],
    },
    Wheel {
        requirement: "nvidia-cuda-cupti==13.0.85",
        architecture: "aarch64",
        sha256: "796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151",
        bytes: 10_310_827,
        platforms: MANYLINUX_AARCH64,
        picks: &[CUPTI],
    },
];

const CUDART: Pick = Pick::file("nvidia/cu13/lib/libcudart.so.13", "lib/libcudart.so.13");
const CUPTI: Pick = Pick::file("nvidia/cu13/lib/libcupti.so.13", "lib/libcupti.so.13");

/// Bindings link against `libtorch.so`, which in a wheel does nothing but need its CUDA kernels: an empty one does.
/// The linker finds libgomp by its name without a version.
fn finish_torch(folder: &Path, architecture: &str) -> Result<()> {
    let lib = folder.join("lib");
    let is_ours = architecture == std::env::consts::ARCH;
    let compiler = if is_ours { "cc".to_owned() } else { format!("{architecture}-linux-gnu-gcc") };
    let mut compiler = Command::new(compiler);
    compiler.args(["-shared", "-o"]).arg(lib.join("libtorch.so")).args([
        "-Wl,-soname,libtorch.so",
        "-xc",
        "-",
    ]);
    run(compiler.stdin(Stdio::null())).context("cannot make an empty libtorch.so; a C compiler is needed")?;
    std::os::unix::fs::symlink("libgomp.so.1", lib.join("libgomp.so")).context("cannot link libgomp.so")?;
    std::fs::write(folder.join("build-version"), "2.11.0\n").context("cannot write build-version")
}

const TFLITE: &[Wheel] = &[
    Wheel {
        requirement: "pymicro-wakeword==2.5.0",
        architecture: "x86_64",
        sha256: "3869f536402b1254e3be3549d3a462ecd6ed21ce2c3e77ec8eb501c3c700417c",
        bytes: 2_114_958,
        platforms: &["manylinux_2_35_x86_64"],
        picks: &[TENSORFLOWLITE_C],
    },
    Wheel {
        requirement: "pymicro-wakeword==2.5.0",
        architecture: "aarch64",
        sha256: "6c75b77c936efd19b8c35a094cb7e3fdbd4ebcd0f63635a0851ce591990829f2",
        bytes: 1_611_022,
        platforms: &["manylinux_2_35_aarch64"],
        picks: &[TENSORFLOWLITE_C],
    },
];

const TENSORFLOWLITE_C: Pick =
    Pick::file("pymicro_wakeword/lib/libtensorflowlite_c.so", "lib/libtensorflowlite_c.so");

const LIBCLANG: &[Wheel] = &[
    Wheel {
        requirement: "libclang==18.1.1",
        architecture: "x86_64",
        sha256: "c533091d8a3bbf7460a00cb6c1a71da93bffe148f172c7d03b1c31fbf8aa2a0b",
        bytes: 24_515_943,
        platforms: &["manylinux2010_x86_64"],
        picks: &[LIBCLANG_SO],
    },
    Wheel {
        requirement: "libclang==18.1.1",
        architecture: "aarch64",
        sha256: "54dda940a4a0491a9d1532bf071ea3ef26e6dbaf03b5000ed94dd7174e8f9592",
        bytes: 23_784_972,
        platforms: &["manylinux2014_aarch64"],
        picks: &[LIBCLANG_SO],
    },
];

const LIBCLANG_SO: Pick = Pick::file("libclang-18.1.1.data/platlib/clang/native/libclang.so", "libclang.so");

/// The folder of the C compiler's own headers, `stddef.h` and its like: the libclang of the wheel has none.
fn compiler_headers() -> Result<String> {
    let output = Command::new("gcc")
        .arg("-print-file-name=include")
        .output()
        .context("generating bindings needs gcc, for its headers; it is not on the PATH")?;
    if !output.status.success() {
        bail!("gcc -print-file-name=include ended with {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
