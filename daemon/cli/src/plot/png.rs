//! Pixels as PNG.

use super::Failed;

/// Encodes rows of red, green and blue.
pub(super) fn encode(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, Failed> {
    let mut file = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut file, width, height);
    encoder.set_color(::png::ColorType::Rgb);
    encoder.set_depth(::png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|error| Failed::new(&error))?;
    writer.write_image_data(pixels).map_err(|error| Failed::new(&error))?;
    writer.finish().map_err(|error| Failed::new(&error))?;
    Ok(file)
}
