//! What hostile bytes meet: one function for each reader of bytes from outside. None may panic, hang or take memory out of
//! proportion, whatever the bytes are. libFuzzer calls them (`src/main.rs`), and a test replays the corpus through them.
//!
//! Where a format has checksums, they are repaired first, so that mutations reach what stands behind them; the bytes as they
//! are go the same way.

#[allow(dead_code, reason = "the writer of the compiler's tests writes more kinds of files")]
#[path = "../../compiler/tests/frontend/onnx.rs"]
mod writer;

use cipherloom::client::Client;
use cipherloom::compiler::CompileOptions;
use cipherloom::compiler::cost::Profile;
use cipherloom::compiler::frontend::{LoadOptions, load_bytes};
use cipherloom::ir::container::Kind;
use cipherloom::ir::scheme::{BootstrapRequest, ChainRequest, Gadget, SecurityPolicy};
use cipherloom::ir::{
    Circuit, CircuitBuilder, Digit, Gap, InputSpec, Layout, LayoutId, Manifest, OutputSpec, Preprocessing,
    Step, ValueId, Verified,
};
use cipherloom::ring::Path as KernelPath;
use cipherloom::runtime::files::{read_inputs, read_keys};
use cipherloom::runtime::{Evaluator, KeySet, Options};
use cipherloom::{ckks::Context, data};
use std::io::Cursor;
use std::sync::{Arc, OnceLock};
use writer::{File, Node};

/// A function that takes hostile bytes.
pub type Target = fn(&[u8]);

/// All targets by name; each has a folder of that name in the corpus.
pub const TARGETS: [(&str, Target); 8] = [
    ("circuit", circuit),
    ("manifest", manifest),
    ("keys", keys),
    ("ciphertexts", ciphertexts),
    ("onnx", onnx),
    ("arrays", arrays),
    ("images", images),
    ("text", text),
];

fn circuit(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), sealed(bytes, Kind::Circuit)] {
        let Ok(circuit) = Circuit::from_bytes(&bytes) else { continue };
        assert!(circuit.to_bytes() == bytes, "a circuit's bytes are canonical");
        if let Ok(verified) = Verified::new(circuit, &SecurityPolicy::insecure_for_tests()) {
            let text = verified.to_text();
            assert!(Circuit::from_text(&text, &verified.tensors).is_ok_and(|c| c.to_text() == text));
        }
    }
}

fn manifest(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), sealed(bytes, Kind::Manifest)] {
        let Ok(manifest) = Manifest::from_bytes(&bytes) else { continue };
        drop(Client::new(manifest, &SecurityPolicy::insecure_for_tests(), KernelPath::best()));
    }
}

fn keys(bytes: &[u8]) {
    let s = setting();
    let digest = s.circuit.digest();
    for bytes in [bytes.to_vec(), sealed(bytes, Kind::EvaluationKeys)] {
        drop(read_keys(Cursor::new(&bytes), &s.circuit, &digest, &s.context));
        drop(KeySet::paged(Cursor::new(bytes), &s.circuit, &digest, &s.context, 1 << 20));
    }
    for kind in [Kind::SecretKey, Kind::PublicKey] {
        let bytes = sealed(bytes, kind);
        drop(s.client.read_secret_key(Cursor::new(&bytes)));
        drop(s.client.read_public_key(Cursor::new(&bytes)));
    }
}

fn ciphertexts(bytes: &[u8]) {
    let s = setting();
    let digest = s.circuit.digest();
    for bytes in [bytes.to_vec(), sealed(bytes, Kind::EncryptedInput)] {
        drop(read_inputs(&bytes, &s.circuit, &digest, &s.context));
    }
    let Ok(answer) = s.client.read_output(Cursor::new(&sealed(bytes, Kind::EncryptedOutput))) else { return };
    if let Ok(secret) = s.client.read_secret_key(Cursor::new(&s.secret)) {
        drop(s.client.decrypt(&secret, &answer));
    }
}

/// Models small enough to be compiled in a moment are compiled as well.
const COMPILED_ELEMENTS_MAX: usize = 256;
const COMPILED_NODES_MAX: usize = 6;

fn onnx(bytes: &[u8]) {
    let Ok(model) = load_bytes(bytes, &LoadOptions { max_bytes: 1 << 20, ..LoadOptions::default() }) else {
        return;
    };
    let graph = &model.graph;
    let small =
        |id| graph.node(id).shape.iter().map(|d| *d as usize).product::<usize>() <= COMPILED_ELEMENTS_MAX;
    if graph.order().count() <= COMPILED_NODES_MAX && graph.order().all(small) {
        drop(cipherloom::compiler::compile(
            graph,
            &CompileOptions { log_n: Some(12), ..CompileOptions::default() },
        ));
    }
}

/// Shapes that a reader may want of an array or image.
const WANTED: [&[u32]; 3] = [&[1, 4, 4], &[3, 2, 2], &[5]];

fn arrays(bytes: &[u8]) {
    for wanted in WANTED {
        drop(data::read_bytes("fuzz".as_ref(), bytes, wanted));
    }
}

fn images(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), png_sealed(bytes)] {
        for wanted in &WANTED[..2] {
            drop(data::read_bytes("fuzz".as_ref(), &bytes, wanted));
        }
    }
}

fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop(Profile::read(text));
    if let Ok(circuit) = Circuit::from_text(text, &[]) {
        drop(Verified::new(circuit, &SecurityPolicy::insecure_for_tests()));
    }
}

/// The bytes as a container of this kind, of the circuit of [`setting`], with its checksums repaired.
fn sealed(bytes: &[u8], kind: Kind) -> Vec<u8> {
    const ENTRY: usize = 40;
    let mut out = bytes.to_vec();
    if out.len() < 64 {
        return out;
    }
    out[..8].copy_from_slice(&kind.magic());
    if !matches!(kind, Kind::Circuit | Kind::Manifest) {
        out[16..48].copy_from_slice(&setting().circuit.digest().0);
    }
    let number = |bytes: &[u8], at: usize, size: usize| {
        let mut word = [0; 8];
        word[..size].copy_from_slice(&bytes[at..at + size]);
        u64::from_le_bytes(word)
    };
    let sections = (number(&out, 12, 4) as usize).min((out.len() - 64) / ENTRY);
    for entry in (0..sections).map(|k| 48 + k * ENTRY) {
        let (start, length) = (number(&out, entry + 8, 8), number(&out, entry + 16, 8));
        let end = start.checked_add(length).filter(|end| *end <= out.len() as u64);
        if let Some(end) = end {
            let checksum = checksum(&out[start as usize..end as usize]);
            out[entry + 24..entry + 40].copy_from_slice(&checksum);
        }
    }
    let header = 48 + sections * ENTRY;
    let checksum = checksum(&out[..header]);
    out[header..header + 16].copy_from_slice(&checksum);
    out
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    let mut cut = [0; 16];
    cut.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    cut
}

/// The bytes with the checksums of a PNG's chunks repaired.
fn png_sealed(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = 8usize;
    while let Some(head) = out.get(at..at.saturating_add(8)) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(end) = at.checked_add(8 + length).filter(|end| end + 4 <= out.len()) else { break };
        let mut crc = flate2::Crc::new();
        crc.update(&out[at + 4..end]);
        let sum = crc.sum().to_be_bytes();
        out[end..end + 4].copy_from_slice(&sum);
        at = end + 4;
    }
    out
}

/// A circuit in a ring of 32 slots whose keys and ciphertexts the targets read.
struct Setting {
    circuit: Verified,
    context: Arc<Context>,
    client: Client,
    /// File of a secret key.
    secret: Vec<u8>,
}

fn setting() -> &'static Setting {
    static SETTING: OnceLock<Setting> = OnceLock::new();
    SETTING.get_or_init(|| {
        let policy = SecurityPolicy::insecure_for_tests();
        let circuit = Verified::new(rotated_square(), &policy).expect("the circuit is sound");
        let context = Evaluator::context(&circuit, &Options::default()).expect("a context");
        let manifest = Manifest::of(&circuit).expect("a manifest");
        let client = Client::new(manifest, &policy, KernelPath::best()).expect("a client");
        let mut secret = Cursor::new(vec![]);
        client
            .write_secret_key(&client.generate_secret().expect("a key"), &mut secret)
            .expect("memory takes it");
        Setting { circuit, context, client, secret: secret.into_inner() }
    })
}

/// `(x + rotated x)²`.
fn rotated_square() -> Circuit {
    let request = ChainRequest { log_n: 6, levels: 1, log_scale: 30, base_bits: 40 };
    let parameters = request.parameters(1).expect("parameters");
    let gadget = Gadget { digit_limbs: 1, special_limbs: parameters.special.len() as u32 };
    let mut b = CircuitBuilder::new("fuzzed", parameters).expect("a builder");
    let (layout, x) = one_input(&mut b);
    let rotated = b.rotate(x, Step(1), gadget).expect("a rotation");
    let sum = b.add(x, rotated).expect("a sum");
    let square = b.mul(sum, sum).expect("a product");
    let y = b.relinearize_rescale(square, gadget).expect("a value");
    with_output(b, layout, y)
}

/// `bootstrapped x`.
fn bootstrapped() -> Circuit {
    let request = BootstrapRequest {
        log_n: 6,
        sparse_log_slots: None,
        log_scale: 40,
        base_bits: 50,
        prime_bits: 50,
        levels: 1,
        to_coefficients: 2,
        to_slots: 2,
        log_degree: 4,
        squarings: 5,
        ratio_bits: 7,
        digit_limbs: 4,
    };
    let mut b = CircuitBuilder::bootstrapped("fuzzed", request).expect("a builder");
    let (layout, x) = one_input(&mut b);
    let y = b.bootstrap(x).expect("a value");
    with_output(b, layout, y)
}

/// An input with a value in each slot.
fn one_input(b: &mut CircuitBuilder) -> (LayoutId, ValueId) {
    let slots = b.circuit().slots() as u32;
    let layout = b.layout(Layout {
        shape: vec![slots],
        slots,
        ciphertexts: 1,
        axes: vec![vec![Digit { extent: slots, stride: 1 }]],
        replicas: vec![],
        gap: Gap::Zero,
        batch: 1,
    });
    let preprocessing = Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] };
    let range = [-1.0, 1.0];
    let x = b.input(InputSpec { name: "x".into(), layout, preprocessing, range }).expect("an input")[0];
    (layout, x)
}

fn with_output(mut b: CircuitBuilder, layout: LayoutId, y: ValueId) -> Circuit {
    let output = OutputSpec {
        name: "y".into(),
        layout,
        values: vec![y],
        scale: 1.0,
        range: [0.0, 4.0],
        labels: vec![],
        client_steps: vec![],
    };
    b.output(output).expect("an output");
    b.finish()
}

/// First members of the corpus, by target: what the readers are made for.
pub fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let s = setting();
    let (mut keys, mut public, mut input) = (Cursor::new(vec![]), Cursor::new(vec![]), Cursor::new(vec![]));
    let secret = s.client.read_secret_key(Cursor::new(&s.secret)).expect("a key");
    s.client.write_evaluation_keys(&secret, &mut keys, |_| ()).expect("memory takes it");
    s.client
        .write_public_key(&s.client.public_key(&secret).expect("a key"), &mut public)
        .expect("memory takes it");
    let x: Vec<f64> = (0..s.circuit.slots()).map(|k| k as f64 / 64.0).collect();
    let encrypted = s.client.encrypt(&secret, &[x]).expect("a ciphertext");
    s.client.write_input(&encrypted, &mut input).expect("memory takes it");
    let array = |head: &[u8], values: usize| [head, &vec![7; values]].concat();
    let text = s.circuit.to_text();
    let policy = SecurityPolicy::insecure_for_tests();
    let deep = Verified::new(bootstrapped(), &policy).expect("the circuit is sound");
    let profile = include_str!("../../compiler/tests/profiles/round.json");
    vec![
        ("circuit", "seed", s.circuit.to_bytes()),
        ("circuit", "seed-bootstrap", deep.to_bytes()),
        ("manifest", "seed", s.client.manifest().to_bytes()),
        ("manifest", "seed-bootstrap", Manifest::of(&deep).expect("a manifest").to_bytes()),
        ("keys", "seed-evaluation", keys.into_inner()),
        ("keys", "seed-public", public.into_inner()),
        ("keys", "seed-secret", s.secret.clone()),
        ("ciphertexts", "seed", input.into_inner()),
        ("onnx", "seed-convolution", convolution().bytes("y")),
        ("onnx", "seed-branches", branches().bytes("y")),
        ("onnx", "seed-reshapes", reshapes().bytes("y")),
        ("arrays", "seed-idx", array(&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4], 16)),
        ("arrays", "seed-npy", npy("|u1", "(1, 4, 4)", 16)),
        ("arrays", "seed-npy-float", npy("<f4", "(2, 5)", 40)),
        ("arrays", "seed-npz", zip("images.npy", &npy("|u1", "(1, 1, 4, 4)", 16))),
        ("images", "seed-gray", png(0, 4, 16)),
        ("images", "seed-rgb", png(2, 2, 12)),
        ("text", "seed-circuit", text.into_bytes()),
        ("text", "seed-bootstrap", deep.to_text().into_bytes()),
        ("text", "seed-profile", profile.as_bytes().to_vec()),
    ]
}

fn convolution() -> File {
    let pooled = Node::new("AveragePool", "r", "p").ints("kernel_shape", &[2, 2]).ints("strides", &[2, 2]);
    File::new(17, &[1, 1, 4, 4])
        .node(Node::new("Conv", "x w b", "c").ints("pads", &[1, 1, 1, 1]))
        .node(Node::new("Relu", "c", "r"))
        .node(pooled)
        .node(Node::new("Flatten", "p", "f"))
        .node(Node::new("Gemm", "f d", "y").int("transB", 1))
        .random("w", &[2, 1, 3, 3])
        .random("b", &[2])
        .random("d", &[3, 8])
        .metadata("cipherloom.ranges", "{\"c\": [-4, 4], \"y\": [-4, 4]}")
}

fn branches() -> File {
    File::new(13, &[1, 2, 3, 3])
        .node(Node::new("Conv", "x w", "a").int("group", 2))
        .node(Node::new("MaxPool", "x", "m").ints("kernel_shape", &[2, 2]))
        .node(Node::new("Concat", "a m", "c").int("axis", 1))
        .node(Node::new("Clip", "c low high", "y"))
        .random("w", &[2, 1, 2, 2])
        .floats("low", &[], &[-1.0])
        .floats("high", &[], &[6.0])
}

fn reshapes() -> File {
    File::new(17, &[1, 2, 6])
        .node(Node::new("Transpose", "x", "t").ints("perm", &[0, 2, 1]))
        .node(Node::new("Reshape", "t s", "r"))
        .node(Node::new("Slice", "r from to axes", "l"))
        .node(Node::new("Pad", "l pads", "p"))
        .node(Node::new("ReduceMean", "p", "y").ints("axes", &[1]))
        .integers("s", &[1, 3, 4])
        .integers("from", &[0])
        .integers("to", &[2])
        .integers("axes", &[1])
        .integers("pads", &[0, 0, 1, 0, 0, 0])
}

fn npy(kind: &str, shape: &str, bytes: usize) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &vec![1; bytes]].concat()
}

/// An archive of one stored file.
fn zip(name: &str, content: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(content);
    let (size, names) = ((content.len() as u32).to_le_bytes(), (name.len() as u16).to_le_bytes());
    let shared =
        [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &crc.sum().to_le_bytes(), &size, &size, &names, &[0, 0]]
            .concat();
    let local = [b"PK\x03\x04", &shared[..], name.as_bytes(), content].concat();
    let central = [b"PK\x01\x02\x14\x00", &shared[..], &[0; 14], name.as_bytes()].concat();
    let (length, start) = ((central.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes());
    let end = [b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00", &length[..], &start, &[0, 0]].concat();
    [local, central, end].concat()
}

/// A square image of `side` pixels with this colour type, of `values` samples.
fn png(colour: u8, side: u32, values: usize) -> Vec<u8> {
    use std::io::Write;
    let mut rows = Vec::new();
    for row in vec![9u8; values].chunks(values / side as usize) {
        rows.push(0);
        rows.extend(row);
    }
    let mut zlib = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::none());
    zlib.write_all(&rows).expect("memory takes it");
    let chunk = |kind: &[u8], content: &[u8]| {
        [&(content.len() as u32).to_be_bytes()[..], kind, content, &[0; 4]].concat()
    };
    let size = [&side.to_be_bytes()[..], &side.to_be_bytes(), &[8, colour, 0, 0, 0]].concat();
    let data = zlib.finish().expect("memory takes it");
    let chunks = [chunk(b"IHDR", &size), chunk(b"IDAT", &data), chunk(b"IEND", &[])].concat();
    png_sealed(&[b"\x89PNG\r\n\x1a\n", &chunks[..]].concat())
}
