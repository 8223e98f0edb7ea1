//! Reads images and arrays: PNG, JPEG, `.npy`, `.npz`, IDX (also gzipped), recognised by content, and folders of them.
//!
//! Relies on decoders for PNG, JPEG, zip and gzip. Promises: samples in row-major, channel-first order of the
//! wanted shape; memory bounded by [`MAX_FILE_BYTES`] whatever a header claims; no panic on any bytes.

mod idx;
mod image;
mod npy;

use crate::files::{self, MAX_FILE_BYTES};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What went wrong with a data file.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file could not be read.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not one of the known formats.
    #[error("{path}: is none of PNG, JPEG, npy, npz, IDX (first bytes: {head})")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// First bytes in hexadecimal.
        head: String,
    },
    /// The format is known, the content is broken or unsupported.
    #[error("{path}: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The content does not have the shape that the model wants.
    #[error("{path}: holds {found}, but the model wants {wanted}; resize or convert the data")]
    Shape {
        /// The file.
        path: PathBuf,
        /// Shape found.
        found: String,
        /// Shape wanted.
        wanted: String,
    },
    /// A NaN or an infinity.
    #[error("{path}: sample {sample} holds {value} at element {element}; every value must be finite")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Index of the sample.
        sample: usize,
        /// Flat index in the sample.
        element: usize,
        /// The value.
        value: f32,
    },
}

/// Element values as stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Raw bytes, 0..=255: the model's preprocessing still has to be applied.
    Bytes(Vec<u8>),
    /// Numbers that are the model's input as they stand.
    Floats(Vec<f32>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Bytes(v) => v.len(),
            Values::Floats(v) => v.len(),
        }
    }

    /// Memory that they take.
    fn bytes(&self) -> u64 {
        match self {
            Values::Bytes(v) => v.len() as u64,
            Values::Floats(v) => 4 * v.len() as u64,
        }
    }

    fn slice(&self, range: std::ops::Range<usize>) -> Values {
        match self {
            Values::Bytes(v) => Values::Bytes(v[range].to_vec()),
            Values::Floats(v) => Values::Floats(v[range].to_vec()),
        }
    }

    /// Gathers the elements at `indices`.
    fn gather(&self, indices: impl Iterator<Item = usize>) -> Values {
        match self {
            Values::Bytes(v) => Values::Bytes(indices.map(|i| v[i]).collect()),
            Values::Floats(v) => Values::Floats(indices.map(|i| v[i]).collect()),
        }
    }
}

/// One input of a model: row-major, channel first, without the batch axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Elements.
    pub values: Values,
}

/// The samples of a file, with their labels if it holds any.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// In file order.
    pub samples: Vec<Sample>,
    /// One class index per sample, or none at all.
    pub labels: Option<Vec<u32>>,
}

impl Dataset {
    /// Gives every sample the label that a file holds for it.
    pub fn label(&mut self, labels: Vec<u32>, path: &Path) -> Result<(), DataError> {
        if labels.len() != self.samples.len() {
            let what = format!("holds {} labels for {} samples", labels.len(), self.samples.len());
            return Err(DataError::Malformed { path: path.into(), what });
        }
        self.labels = Some(labels);
        Ok(())
    }

    /// Keeps the first `count` samples and their labels.
    pub fn truncate(&mut self, count: usize) {
        self.samples.truncate(count);
        if let Some(labels) = &mut self.labels {
            labels.truncate(count);
        }
    }
}

/// An array as decoded: any number of axes.
#[derive(Clone, Debug)]
struct Array {
    shape: Vec<usize>,
    values: Values,
}

/// Reads every sample of a file in the shape that the model wants (`wanted`, without the batch axis).
///
/// A folder is read file by file in the order of names, hidden ones left out; it has no labels.
pub fn read(path: &Path, wanted: &[u32]) -> Result<Dataset, DataError> {
    if path.is_dir() { read_folder(path, wanted) } else { read_file(path, wanted) }
}

/// Most files of a folder.
const MAX_FOLDER_FILES: usize = 100_000;

fn read_folder(path: &Path, wanted: &[u32]) -> Result<Dataset, DataError> {
    let io = |source| DataError::Io { path: path.into(), source };
    let malformed = |what: String| DataError::Malformed { path: path.into(), what };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let file = entry.map_err(io)?.path();
        let hidden = file.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if !hidden {
            files.push(file);
        }
        if files.len() > MAX_FOLDER_FILES {
            return Err(malformed(format!("holds more than {MAX_FOLDER_FILES} files")));
        }
    }
    files.sort();
    if let Some(folder) = files.iter().find(|f| f.is_dir()) {
        return Err(malformed(format!(
            "holds the folder {}; give a folder of files alone",
            folder.display()
        )));
    }
    let (mut samples, mut bytes) = (Vec::new(), 0u64);
    for file in &files {
        let own = read_file(file, wanted)?.samples;
        bytes += own.iter().map(|s| s.values.bytes()).sum::<u64>();
        if bytes > MAX_FILE_BYTES {
            return Err(malformed(format!("unpacks to more than {MAX_FILE_BYTES} bytes")));
        }
        samples.extend(own);
    }
    match samples.is_empty() {
        true => Err(malformed("holds no image".into())),
        false => Ok(Dataset { samples, labels: None }),
    }
}

fn read_file(path: &Path, wanted: &[u32]) -> Result<Dataset, DataError> {
    read_bytes(path, &read_bounded(path)?, wanted)
}

/// Reads every sample of a file's bytes; `path` names them in errors.
pub fn read_bytes(path: &Path, bytes: &[u8], wanted: &[u32]) -> Result<Dataset, DataError> {
    let wanted: Vec<usize> = wanted.iter().map(|&d| d as usize).collect();
    let dataset = decode(path, bytes, &wanted)?;
    for (sample, s) in dataset.samples.iter().enumerate() {
        if let Values::Floats(values) = &s.values
            && let Some(element) = values.iter().position(|v| !v.is_finite())
        {
            return Err(DataError::NotFinite { path: path.into(), sample, element, value: values[element] });
        }
    }
    Ok(dataset)
}

fn decode(path: &Path, bytes: &[u8], wanted: &[usize]) -> Result<Dataset, DataError> {
    let malformed = |what: String| DataError::Malformed { path: path.into(), what };
    let unlabelled = |samples| Dataset { samples, labels: None };
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => {
            let array = image::decode_png(bytes, wanted).map_err(malformed)?;
            Ok(unlabelled(split(path, array, wanted)?))
        }
        [0xff, 0xd8, ..] => {
            let array = image::decode_jpeg(bytes, wanted).map_err(malformed)?;
            Ok(unlabelled(split(path, array, wanted)?))
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
            let array = npy::decode_npy(bytes).map_err(malformed)?;
            Ok(unlabelled(split(path, array, wanted)?))
        }
        [b'P', b'K', ..] => {
            let (images, labels) = npy::decode_npz(bytes).map_err(malformed)?;
            let samples = split(path, images, wanted)?;
            if labels.as_ref().is_some_and(|l| l.len() != samples.len()) {
                let count = labels.map_or(0, |l| l.len());
                return Err(malformed(format!("{} images but {count} labels", samples.len())));
            }
            Ok(Dataset { samples, labels })
        }
        [0x1f, 0x8b, ..] => {
            let inner = gunzip(bytes).map_err(malformed)?;
            if inner.starts_with(&[0x1f, 0x8b]) {
                return Err(malformed("is gzipped twice".into()));
            }
            decode(path, &inner, wanted)
        }
        [0, 0, 8 | 13, _, ..] => {
            let array = idx::decode_idx(bytes).map_err(malformed)?;
            Ok(unlabelled(split(path, array, wanted)?))
        }
        _ => {
            let head = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect();
            Err(DataError::UnknownFormat { path: path.into(), head })
        }
    }
}

/// Reads sample `index` of a file in the shape that the model wants.
pub fn read_one(path: &Path, wanted: &[u32], index: usize) -> Result<Sample, DataError> {
    read_from(path, wanted, index, 1).map(|mut samples| samples.swap_remove(0))
}

/// Up to `count` samples of a file from one of them on, at least one.
pub fn read_from(path: &Path, wanted: &[u32], index: usize, count: usize) -> Result<Vec<Sample>, DataError> {
    let samples = read(path, wanted)?.samples;
    if index >= samples.len() {
        let what = format!("holds {} sample(s), index {index} was asked for", samples.len());
        return Err(DataError::Malformed { path: path.into(), what });
    }
    Ok(samples.into_iter().skip(index).take(count.max(1)).collect())
}

/// Reads class labels from an IDX or npy file.
pub fn read_labels(path: &Path) -> Result<Vec<u32>, DataError> {
    let malformed = |what: String| DataError::Malformed { path: path.into(), what };
    let mut bytes = read_bounded(path)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        bytes = gunzip(&bytes).map_err(malformed)?;
    }
    if bytes.starts_with(&[0x93]) {
        return npy::decode_labels(&bytes).map_err(malformed);
    }
    let array = idx::decode_idx(&bytes).map_err(malformed)?;
    match array.values {
        Values::Bytes(values) => Ok(values.into_iter().map(u32::from).collect()),
        Values::Floats(_) => Err(malformed("labels are not integers".into())),
    }
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut inner = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut inner)
        .map_err(|e| format!("gzip stream is broken: {e}"))?;
    match inner.len() as u64 > MAX_FILE_BYTES {
        true => Err(format!("unpacks to more than {MAX_FILE_BYTES} bytes")),
        false => Ok(inner),
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, DataError> {
    files::read_whole(path).map_err(|source| DataError::Io { path: path.into(), source })
}

/// Cuts an array into samples of the wanted shape: the shape itself, with a batch axis, channels last, or
/// without the axis of a single channel.
fn split(path: &Path, array: Array, wanted: &[usize]) -> Result<Vec<Sample>, DataError> {
    let one: usize = wanted.iter().product();
    let shape = &array.shape[..];
    let last: Vec<usize> = match wanted {
        [c, h, w] => vec![*h, *w, *c],
        other => other.to_vec(),
    };
    let squeezed: &[usize] = match wanted {
        [1, rest @ ..] => rest,
        other => other,
    };
    let count = if shape == wanted || shape == last || shape == squeezed {
        Some(1)
    } else {
        shape.split_first().filter(|(_, s)| *s == wanted || *s == last || *s == squeezed).map(|(n, _)| *n)
    };
    let Some(count) = count.filter(|_| one > 0 && array.values.len().is_multiple_of(one)) else {
        return Err(DataError::Shape {
            path: path.into(),
            found: shape_text(shape),
            wanted: shape_text(wanted),
        });
    };
    let channels_last = !shape.ends_with(wanted) && !shape.ends_with(squeezed) && shape.ends_with(&last);
    Ok((0..count)
        .map(|k| {
            let values = array.values.slice(k * one..(k + 1) * one);
            let values = match wanted {
                [c, h, w] if channels_last => {
                    let pixels = h * w;
                    values.gather((0..one).map(|i| i % pixels * c + i / pixels))
                }
                _ => values,
            };
            Sample { values }
        })
        .collect())
}

fn shape_text(shape: &[usize]) -> String {
    match shape {
        [] => "a single number".to_owned(),
        _ => shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize]) -> Array {
        let n: usize = shape.iter().product();
        Array { shape: shape.into(), values: Values::Bytes((0..n).map(|v| v as u8).collect()) }
    }

    #[test]
    fn every_axis_order_yields_channel_first_samples() {
        let path = Path::new("x");
        let first = split(path, array(&[2, 2, 3]), &[2, 2, 3]).unwrap();
        assert_eq!(first[0].values, Values::Bytes((0..12).collect()));
        let last = split(path, array(&[1, 2, 3, 2]), &[2, 2, 3]).unwrap();
        assert_eq!(last[0].values, Values::Bytes(vec![0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]));
        assert_eq!(split(path, array(&[4, 2, 3]), &[1, 2, 3]).unwrap().len(), 4);
        assert!(matches!(split(path, array(&[4, 5]), &[1, 2, 3]), Err(DataError::Shape { .. })));
    }

    /// A 2x3 IDX image of one value.
    fn idx(value: u8) -> Vec<u8> {
        [&[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[value; 6]].concat()
    }

    #[test]
    fn folders_are_read_in_the_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        let read = || read(folder.path(), &[1, 2, 3]);
        let what = |found: Result<Dataset, DataError>| found.unwrap_err().to_string();
        assert!(what(read()).contains("holds no image"));
        for (name, value) in [("b.idx", 2), ("a.idx", 1), (".hidden", 3)] {
            std::fs::write(folder.path().join(name), idx(value)).unwrap();
        }
        let dataset = read().unwrap();
        let found: Vec<&Values> = dataset.samples.iter().map(|s| &s.values).collect();
        assert_eq!(found, [&Values::Bytes(vec![1; 6]), &Values::Bytes(vec![2; 6])]);
        std::fs::write(folder.path().join("c.txt"), "hello").unwrap();
        assert!(what(read()).contains("c.txt"));
        std::fs::remove_file(folder.path().join("c.txt")).unwrap();
        std::fs::create_dir(folder.path().join("c")).unwrap();
        assert!(what(read()).contains("holds the folder"));
    }
}
