//! PNG and JPEG, 8 bits per channel, grey or colour.
//!
//! A colour image is turned into luma (ITU-R BT.601) where the model wants one channel, a grey one is repeated
//! where it wants three. Transparency is refused: there is no right background to assume.

use super::{Array, Values};
use std::io::Cursor;

/// Largest width or height of an image.
const MAX_SIDE: u32 = 1 << 14;

/// Decodes a PNG to `[channels, height, width]`.
pub(super) fn decode_png(bytes: &[u8], wanted: &[usize]) -> Result<Array, String> {
    let limits = png::Limits { bytes: 1 << 28 };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|e| format!("PNG is broken: {e}"))?;
    let (width, height) = (reader.info().width, reader.info().height);
    check_sides(width, height)?;
    let size = reader.output_buffer_size().ok_or("PNG is too large")?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).map_err(|e| format!("PNG is broken: {e}"))?;
    pixels.truncate(info.buffer_size());
    let samples = info.color_type.samples();
    let opaque = match samples {
        2 => opaque(&pixels, 2)?,
        4 => opaque(&pixels, 4)?,
        _ => pixels,
    };
    let channels = if samples <= 2 { 1 } else { 3 };
    channel_first(&opaque, channels, width as usize, height as usize, wanted)
}

/// Decodes a baseline or progressive JPEG to `[channels, height, width]`.
pub(super) fn decode_jpeg(bytes: &[u8], wanted: &[usize]) -> Result<Array, String> {
    let mut decoder = jpeg_decoder::Decoder::new(Cursor::new(bytes));
    decoder.set_max_decoding_buffer_size(1 << 28);
    decoder.read_info().map_err(|e| format!("JPEG is broken: {e}"))?;
    let info = decoder.info().ok_or("JPEG has no image")?;
    check_sides(u32::from(info.width), u32::from(info.height))?;
    let channels = match info.pixel_format {
        jpeg_decoder::PixelFormat::L8 => 1,
        jpeg_decoder::PixelFormat::RGB24 => 3,
        other => return Err(format!("JPEG pixel format {other:?} is not supported (grey and RGB are)")),
    };
    let pixels = decoder.decode().map_err(|e| format!("JPEG is broken: {e}"))?;
    channel_first(&pixels, channels, usize::from(info.width), usize::from(info.height), wanted)
}

fn check_sides(width: u32, height: u32) -> Result<(), String> {
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
        return Err(format!("image of {width}x{height} pixels is outside 1..={MAX_SIDE}"));
    }
    Ok(())
}

/// Drops an alpha channel that is opaque everywhere.
fn opaque(pixels: &[u8], samples: usize) -> Result<Vec<u8>, String> {
    if pixels.chunks_exact(samples).any(|p| p[samples - 1] != 255) {
        return Err("image has transparent pixels; flatten it onto a background first".into());
    }
    Ok(pixels.chunks_exact(samples).flat_map(|p| p[..samples - 1].iter().copied()).collect())
}

/// Interleaved pixels to planes, in as many channels as the model wants.
fn channel_first(
    pixels: &[u8],
    channels: usize,
    width: usize,
    height: usize,
    wanted: &[usize],
) -> Result<Array, String> {
    if pixels.len() != channels * width * height {
        return Err(format!("{} bytes of pixels for {width}x{height}x{channels}", pixels.len()));
    }
    let target = if let [c, _, _] = wanted { *c } else { channels };
    let planes: Vec<u8> = match (channels, target) {
        (3, 1) => pixels.chunks_exact(3).map(|p| luma(p[0], p[1], p[2])).collect(),
        (1, 3) => pixels.repeat(3),
        _ => (0..channels).flat_map(|c| pixels.iter().skip(c).step_by(channels).copied()).collect(),
    };
    let planes_count = planes.len() / (width * height);
    Ok(Array { shape: vec![planes_count, height, width], values: Values::Bytes(planes) })
}

/// BT.601 luma in integers, rounded.
fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) + 500) / 1000) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png_bytes(color: png::ColorType, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, 2, 1);
        encoder.set_color(color);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        out
    }

    #[test]
    fn colours_and_greys_meet_what_the_model_wants() {
        let rgb = png_bytes(png::ColorType::Rgb, &[255, 0, 0, 9, 9, 9]);
        assert_eq!(decode_png(&rgb, &[1, 1, 2]).unwrap().values, Values::Bytes(vec![76, 9]));
        assert_eq!(decode_png(&rgb, &[3, 1, 2]).unwrap().values, Values::Bytes(vec![255, 9, 0, 9, 0, 9]));
        let grey = png_bytes(png::ColorType::Grayscale, &[1, 2]);
        assert_eq!(decode_png(&grey, &[3, 1, 2]).unwrap().shape, [3, 1, 2]);
        let clear = png_bytes(png::ColorType::Rgba, &[1, 1, 1, 0, 1, 1, 1, 255]);
        assert!(decode_png(&clear, &[1, 1, 2]).unwrap_err().contains("transparent"));
    }

    #[test]
    fn truncated_images_are_errors() {
        let file = png_bytes(png::ColorType::Rgb, &[1, 2, 3, 4, 5, 6]);
        for cut in 0..file.len() - 12 {
            assert!(decode_png(&file[..cut], &[1, 1, 2]).is_err(), "{cut}");
        }
        assert!(decode_jpeg(&[0xff, 0xd8, 0xff], &[1, 1, 2]).is_err());
    }
}
