//! IDX, the format of the MNIST files: big-endian sizes, bytes or 32-bit floats.

use super::{Array, Values};

/// Decodes a whole IDX file; its length must be exactly what its header says.
pub(super) fn decode_idx(bytes: &[u8]) -> Result<Array, String> {
    let [0, 0, kind, axes, rest @ ..] = bytes else {
        return Err("IDX header is cut short".into());
    };
    let axes = usize::from(*axes);
    if axes == 0 || axes > 5 || rest.len() < 4 * axes {
        return Err(format!("IDX header asks for {axes} axes in {} bytes", bytes.len()));
    }
    let (header, content) = rest.split_at(4 * axes);
    let shape: Vec<usize> =
        header.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    let element = if *kind == 13 { 4 } else { 1 };
    let size = shape.iter().try_fold(element, |p: usize, &d| p.checked_mul(d));
    if size != Some(content.len()) {
        return Err(format!("IDX header promises {shape:?}, but {} bytes follow", content.len()));
    }
    let values = match kind {
        8 => Values::Bytes(content.to_vec()),
        13 => Values::Floats(
            content.chunks_exact(4).map(|b| f32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect(),
        ),
        other => return Err(format!("IDX element type {other:#x} is not supported (bytes and floats are)")),
    };
    Ok(Array { shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_against_the_content() {
        let mut file = vec![0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3];
        file.extend(0..6);
        assert_eq!(decode_idx(&file).unwrap().shape, [2, 3]);
        for cut in 0..file.len() {
            assert!(decode_idx(&file[..cut]).is_err(), "{cut}");
        }
        file[4] = 255;
        assert!(decode_idx(&file).is_err());
    }
}
