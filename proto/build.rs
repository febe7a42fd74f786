//! Compiles the wire contracts with protox, so that no `protoc` is needed.

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["inference.proto", "edgemux.proto"], ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // `Bytes` fields share the received buffer instead of copying each tensor out of it.
        .bytes(".")
        .btree_map(".")
        .generate_default_stubs(true)
        .codec_path("crate::codec::TensorCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
