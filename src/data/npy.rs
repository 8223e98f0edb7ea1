//! NumPy's `.npy` and `.npz`: C-order arrays of uint8, float32, float64 or (labels) integers.
//!
//! Own code instead of a crate, because readers at hand allocate what a header asks for before they look at the
//! content; here a length is compared with the bytes at hand first.

use super::{Array, Values};
use crate::files::MAX_FILE_BYTES;
use std::io::{Cursor, Read};

/// Decodes an image array.
pub(super) fn decode_npy(bytes: &[u8]) -> Result<Array, String> {
    let (header, content) = parse(bytes)?;
    let values = match header.descr.as_str() {
        "|u1" => Values::Bytes(content.to_vec()),
        "<f4" => Values::Floats(words(content).map(f32::from_le_bytes).collect()),
        "<f8" => Values::Floats(words(content).map(|b| f64::from_le_bytes(b) as f32).collect()),
        other => {
            return Err(format!("npy element type {other} is not supported (uint8, float32, float64 are)"));
        }
    };
    Ok(Array { shape: header.shape, values })
}

/// Decodes class labels of any integer type.
pub(super) fn decode_labels(bytes: &[u8]) -> Result<Vec<u32>, String> {
    let (header, content) = parse(bytes)?;
    let values: Vec<i64> = match header.descr.as_str() {
        "|u1" => content.iter().map(|&b| i64::from(b)).collect(),
        "<i4" => words(content).map(|b| i64::from(i32::from_le_bytes(b))).collect(),
        "<i8" => words(content).map(i64::from_le_bytes).collect(),
        "<u4" => words(content).map(|b| i64::from(u32::from_le_bytes(b))).collect(),
        other => return Err(format!("labels have element type {other}, not an integer type")),
    };
    values.into_iter().map(|v| u32::try_from(v).map_err(|_| format!("label {v} is out of range"))).collect()
}

/// The arrays `images` (or the only array) and `labels` of an `.npz`.
pub(super) fn decode_npz(bytes: &[u8]) -> Result<(Array, Option<Vec<u32>>), String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| format!("npz is broken: {e}"))?;
    let names: Vec<String> = archive
        .file_names()
        .map(|n| n.map(|n| n.into_owned()).map_err(|e| format!("npz is broken: {e}")))
        .collect::<Result<_, _>>()?;
    let mut member = |name: &str| -> Result<Vec<u8>, String> {
        let file = archive.by_name(name).map_err(|e| format!("npz member {name}: {e}"))?;
        let mut out = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut out).map_err(|e| format!("npz member {name}: {e}"))?;
        if out.len() as u64 > MAX_FILE_BYTES {
            return Err(format!("npz member {name} unpacks to more than {MAX_FILE_BYTES} bytes"));
        }
        Ok(out)
    };
    let images = match names.iter().find(|n| *n == "images.npy") {
        Some(name) => name,
        None if names.len() == 1 => &names[0],
        None => return Err(format!("npz has no array `images` (it has: {})", names.join(", "))),
    };
    let images = decode_npy(&member(images)?)?;
    let labels = match names.iter().any(|n| n == "labels.npy") {
        true => Some(decode_labels(&member("labels.npy")?)?),
        false => None,
    };
    Ok((images, labels))
}

struct Header {
    descr: String,
    shape: Vec<usize>,
}

fn words<const N: usize>(content: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    content.chunks_exact(N).map(|b| b.try_into().expect("chunks_exact yields N bytes"))
}

/// Header and content; the content has exactly the promised length.
fn parse(bytes: &[u8]) -> Result<(Header, &[u8]), String> {
    let short = || "npy header is cut short".to_string();
    let (length, start) = match bytes.get(6) {
        Some(1) => (bytes.get(8..10).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]]))), 10),
        Some(2 | 3) => (bytes.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize), 12),
        Some(v) => return Err(format!("npy version {v} is unknown")),
        None => return Err(short()),
    };
    let end = length.and_then(|l| l.checked_add(start)).ok_or_else(short)?;
    let text = bytes.get(start..end).ok_or_else(short)?;
    let text = std::str::from_utf8(text).map_err(|_| "npy header is not text".to_string())?;
    let descr = field(text, "descr")?.trim_matches(['\'', '"']).to_string();
    if !field(text, "fortran_order")?.starts_with("False") {
        return Err("npy array is in Fortran order; save it with numpy.ascontiguousarray".into());
    }
    let shape = field(text, "shape")?;
    let shape = shape.strip_prefix('(').and_then(|s| s.split(')').next()).ok_or("npy shape is malformed")?;
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().map_err(|_| format!("npy shape has {s:?}")))
        .collect::<Result<_, _>>()?;
    let element = descr.trim_start_matches(['<', '>', '|', '=']);
    let element: usize = element.get(1..).and_then(|s| s.parse().ok()).ok_or("npy type is malformed")?;
    let content = &bytes[end..];
    let size = shape.iter().try_fold(element, |p: usize, &d| p.checked_mul(d));
    if size != Some(content.len()) {
        return Err(format!("npy header promises {shape:?} of {descr}, but {} bytes follow", content.len()));
    }
    Ok((Header { descr, shape }, content))
}

/// Text after `'name':` of a header dictionary, up to where the value may end.
fn field<'a>(text: &'a str, name: &str) -> Result<&'a str, String> {
    let missing = || format!("npy header has no {name}");
    let at = text.find(&format!("'{name}'")).ok_or_else(missing)?;
    let value = text[at..].split_once(':').ok_or_else(missing)?.1.trim_start();
    Ok(if value.starts_with('(') { value } else { value.split([',', '}']).next().unwrap_or(value).trim() })
}

#[cfg(test)]
#[path = "../../tests/command/npy.rs"]
mod writer;

#[cfg(test)]
mod tests {
    use super::writer::npy;
    use super::*;

    #[test]
    fn arrays_are_read_and_lengths_checked() {
        let file = npy("|u1", "(2, 3)", &[1, 2, 3, 4, 5, 6]);
        let array = decode_npy(&file).unwrap();
        assert_eq!((array.shape, array.values), (vec![2, 3], Values::Bytes(vec![1, 2, 3, 4, 5, 6])));
        for cut in 0..file.len() {
            assert!(decode_npy(&file[..cut]).is_err(), "{cut}");
        }
        assert!(decode_npy(&npy("|u1", "(99999999999, 99999999999)", &[0])).is_err());
        assert!(decode_npy(&npy("<c8", "(1,)", &[0; 8])).unwrap_err().contains("not supported"));
        assert_eq!(decode_labels(&npy("<i8", "(1,)", &7i64.to_le_bytes())).unwrap(), [7]);
        assert!(decode_labels(&npy("<i8", "(1,)", &(-1i64).to_le_bytes())).is_err());
    }
}
