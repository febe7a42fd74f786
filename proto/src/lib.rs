//! Wire types and services of edgemux, generated at build time from `proto/*.proto` without `protoc`.
//!
//! Nothing here knows the daemon: internal types are converted to these at the edge, in one place.

pub mod codec;

/// `inference.*`: the Open Inference Protocol v2 with Triton's extensions.
#[allow(clippy::all, missing_docs, reason = "generated code")]
pub mod inference {
    tonic::include_proto!("inference");
}

/// `edgemux.v1`: admission, sessions, devices and calibration.
pub mod edgemux {
    /// The first version of edgemux's own services.
    #[allow(clippy::all, missing_docs, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("edgemux.v1");
    }
}

/// The encoded descriptors of both packages, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
