//! Weights that lie in another file beside the model, as exporters write them today.
//!
//! Does: reads them into the model. Needs: a decoded model, and the folder of its file; the model may be hostile. Promises: what is read
//! lies in that folder (no other place can be named, by links neither), and no more bytes than the limit are held, the model's own included.

use super::error::{BadTensor, FrontendError};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

/// What to do where the other file cannot be had.
const ONE_FILE: &str = "save the model as one file: torch.onnx.export(…, external_data=False), or in python onnx.save(onnx.load(path), path)";

/// Where the weights of a model may lie.
#[derive(Clone, Copy)]
pub(super) struct Beside<'a> {
    /// Folder of the model's file, and that of the file itself where the first is a link; none for a model from memory.
    pub folders: &'a [PathBuf],
    /// Most bytes of all files together.
    pub bytes_max: u64,
}

/// Whether a tensor's data lie in another file.
pub(super) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty()
}

/// Reads the data of all such tensors of a graph and of other nodes, each file once; says which files.
pub(super) fn read<'m>(
    graph: &'m mut GraphProto,
    others: impl Iterator<Item = &'m mut NodeProto>,
    beside: Beside<'_>,
) -> Result<Vec<PathBuf>, FrontendError> {
    let tensors = tensors(graph, others).into_iter().filter(|tensor| is_external(tensor));
    let mut files = Files { beside, read: BTreeMap::new(), paths: Vec::new(), bytes: 0 };
    let mut bad = Vec::new();
    for tensor in tensors {
        match files.data(tensor) {
            Ok(data) => {
                tensor.raw_data = data;
                tensor.external_data.clear();
                tensor.data_location = None;
            }
            // One line for each file, not for each of its tensors.
            Err(reason) if bad.iter().all(|other: &BadTensor| other.reason != reason) => {
                bad.push(BadTensor { tensor: tensor.name.clone(), reason });
            }
            Err(_) => {}
        }
    }
    if bad.is_empty() { Ok(files.paths) } else { Err(FrontendError::Weights { tensors: bad }) }
}

/// The tensors of a graph, of nodes, and of the graphs in them.
fn tensors<'m>(
    graph: &'m mut GraphProto,
    others: impl Iterator<Item = &'m mut NodeProto>,
) -> Vec<&'m mut TensorProto> {
    let mut found: Vec<&mut TensorProto> = graph.initializer.iter_mut().collect();
    let mut nodes: Vec<&mut NodeProto> = graph.node.iter_mut().chain(others).collect();
    while !nodes.is_empty() {
        let attributes = std::mem::take(&mut nodes).into_iter().flat_map(|node| &mut node.attribute);
        for attribute in attributes {
            found.extend(attribute.t.as_mut());
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                found.extend(&mut inner.initializer);
                nodes.extend(&mut inner.node);
            }
        }
    }
    found
}

struct Files<'a> {
    beside: Beside<'a>,
    read: BTreeMap<String, Vec<u8>>,
    paths: Vec<PathBuf>,
    bytes: u64,
}

impl Files<'_> {
    /// The bytes of one tensor.
    fn data(&mut self, tensor: &TensorProto) -> Result<Vec<u8>, String> {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => {
                let refused =
                    |_| format!("the `{key}` of its data in another file is `{text}`, no number; {ONE_FILE}");
                text.trim().parse::<usize>().map(Some).map_err(refused)
            }
        };
        let Some(location) = entry("location") else {
            return Err(format!("its data lie in another file that is not named; {ONE_FILE}"));
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if !self.read.contains_key(location) {
            let bytes = self.whole(location)?;
            self.read.insert(location.to_owned(), bytes);
        }
        let file = &self.read[location];
        let end = length.map_or(Some(file.len()), |length| offset.checked_add(length));
        let data = end.and_then(|end| file.get(offset..end)).ok_or_else(|| {
            let wanted = length.map_or_else(String::new, |length| format!("{length} "));
            format!(
                "asks for {wanted}bytes from {offset} on of `{location}`, which has {}; export it again",
                file.len()
            )
        })?;
        self.bytes += data.len() as u64;
        // Tensors may share bytes, so that they can hold more than the files do.
        if self.bytes > self.beside.bytes_max {
            return Err(format!("tensors hold more than {} bytes together", self.beside.bytes_max));
        }
        Ok(data.to_vec())
    }

    fn whole(&mut self, location: &str) -> Result<Vec<u8>, String> {
        let path = self.place(location)?;
        let unreadable = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => {
                format!(
                    "its data lie in `{location}`, which is not beside the model: copy it there, or {ONE_FILE}"
                )
            }
            _ => format!("its data lie in `{location}`, which cannot be read ({e}); {ONE_FILE}"),
        };
        let held: u64 = self.read.values().map(|bytes| bytes.len() as u64).sum();
        let room = self.beside.bytes_max.saturating_sub(held);
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(unreadable)?;
        file.take(room.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
        self.paths.push(path);
        match bytes.len() as u64 > room {
            true => {
                Err(format!("its data lie in `{location}`, which is too large: {room} bytes are accepted"))
            }
            false => Ok(bytes),
        }
    }

    /// The path of a file in a folder of the model.
    fn place(&self, location: &str) -> Result<PathBuf, String> {
        let Some(first) = self.beside.folders.first() else {
            return Err(format!(
                "its data lie in another file, which a model that is not read from a file cannot name; {ONE_FILE}"
            ));
        };
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        let outside = || {
            format!(
                "its data lie in `{location}`, outside the model's folder, where nothing is read; {ONE_FILE}"
            )
        };
        if !Path::new(location).components().all(plain) {
            return Err(outside());
        }
        let places = self.beside.folders.iter().map(|folder| folder.join(location));
        // A file that is missing is reported by whoever opens it.
        let Some(real) = places.filter_map(|path| path.canonicalize().ok()).next() else {
            return Ok(first.join(location));
        };
        let mut folders = self.beside.folders.iter().filter_map(|folder| folder.canonicalize().ok());
        if !folders.any(|folder| real.starts_with(folder)) {
            return Err(outside());
        }
        match real.is_file() {
            true => Ok(real),
            false => Err(format!("its data lie in `{location}`, which is no plain file; {ONE_FILE}")),
        }
    }
}
