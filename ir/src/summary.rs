//! A circuit in a few numbers, for people and for `--json`.
//!
//! Promises: a pure function of the circuit; the same order of entries always.

use crate::circuit::{Circuit, Forecast};
use crate::op::Op;
use crate::verify::value_types;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What `inspect` tells of a circuit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the model.
    pub name: String,
    /// Digest of the circuit's file, in hexadecimal.
    pub circuit: String,
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Slots of a ciphertext.
    pub slots: usize,
    /// log2 of the ciphertext modulus.
    pub log_q: f64,
    /// log2 of the special modulus.
    pub log_p: f64,
    /// Rescales available after encryption.
    pub levels: u32,
    /// How it bootstraps, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrapping: Option<Bootstrapping>,
    /// Nodes by operation.
    pub operations: BTreeMap<&'static str, usize>,
    /// Diagonal products of all plans.
    pub diagonals: usize,
    /// Applications of Galois keys, hoisted ones included.
    pub rotations: usize,
    /// Galois keys.
    pub rotation_keys: usize,
    /// All evaluation keys.
    pub keys: usize,
    /// Weights of all tensors.
    pub weights: usize,
    /// Inputs by name, with ciphertexts and shape.
    pub inputs: Vec<Port>,
    /// Outputs by name, with ciphertexts and shape.
    pub outputs: Vec<Port>,
    /// Layers of the model in order of first appearance, with what they cost.
    pub layers: Vec<Layer>,
    /// Predicted cost.
    pub forecast: Forecast,
}

/// What bootstrapping gives and takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bootstrapping {
    /// Levels from one bootstrap to the next.
    pub usable_levels: u32,
    /// Level of what is bootstrapped.
    pub input_level: u32,
    /// log2 of the product of mod-raise's primes, above the ciphertext modulus.
    pub log_raised: f64,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Port {
    /// ONNX name.
    pub name: String,
    /// Tensor shape.
    pub shape: Vec<u32>,
    /// Ciphertexts.
    pub ciphertexts: u32,
    /// Images in them.
    pub batch: u32,
}

/// One layer of the model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Nodes.
    pub nodes: usize,
    /// Diagonal products.
    pub diagonals: usize,
    /// Applications of Galois keys.
    pub rotations: usize,
    /// Lowest level that its results reach, if the circuit obeys the op laws.
    pub level: Option<u32>,
}

impl Op {
    /// Applications of Galois keys: a baby step once per ciphertext that uses it, a giant step once per output. The
    /// operation keeps its law.
    pub fn rotations(&self) -> usize {
        match self {
            Op::Rotate(..) | Op::Conjugate(..) => 1,
            Op::Linear(plan) => plan.switches().count(),
            _ => 0,
        }
    }

    /// Diagonal products.
    pub fn diagonals(&self) -> usize {
        if let Op::Linear(plan) = self { plan.products.len() } else { 0 }
    }
}

impl Summary {
    /// The numbers of a circuit that verifies, at least as a draft.
    pub fn of(circuit: &Circuit) -> Summary {
        let log2 = |primes: &[u64]| primes.iter().map(|q| libm::log2(*q as f64)).sum();
        let mut operations = BTreeMap::new();
        for node in &circuit.nodes {
            *operations.entry(node.op.name()).or_insert(0) += 1;
        }
        let port = |name: &str, layout| {
            let layout = circuit.layout(layout);
            let (shape, ciphertexts, batch) = (layout.shape.clone(), layout.ciphertexts, layout.batch);
            Port { name: name.to_owned(), shape, ciphertexts, batch }
        };
        let n = circuit.parameters.n();
        let galois = |k: &&crate::scheme::KeySpec| k.kind.galois_element(n).is_some();
        Summary {
            name: circuit.name.clone(),
            circuit: circuit.digest().to_string(),
            log_n: circuit.parameters.log_n,
            slots: circuit.slots(),
            log_q: log2(&circuit.parameters.chain),
            log_p: log2(&circuit.parameters.special),
            levels: circuit.parameters.top().0,
            bootstrapping: circuit.bootstrap.map(|request| Bootstrapping {
                usable_levels: request.levels,
                input_level: request.input().0,
                log_raised: log2(&circuit.parameters.raised),
            }),
            operations,
            diagonals: circuit.nodes.iter().map(|n| n.op.diagonals()).sum(),
            rotations: circuit.nodes.iter().map(|n| n.op.rotations()).sum(),
            rotation_keys: circuit.keys.iter().filter(galois).count(),
            keys: circuit.keys.len(),
            weights: circuit.tensors.iter().map(|t| t.values.len()).sum(),
            inputs: circuit.inputs.iter().map(|i| port(&i.name, i.layout)).collect(),
            outputs: circuit.outputs.iter().map(|o| port(&o.name, o.layout)).collect(),
            layers: layers(circuit),
            forecast: circuit.forecast,
        }
    }
}

fn layers(circuit: &Circuit) -> Vec<Layer> {
    let types = value_types(circuit).unwrap_or_default();
    let mut layers: Vec<Layer> = vec![];
    let mut places: BTreeMap<u32, usize> = BTreeMap::new();
    for node in &circuit.nodes {
        let place = *places.entry(node.origin).or_insert_with(|| {
            let name = circuit.origins.get(node.origin as usize).cloned().unwrap_or_default();
            layers.push(Layer { name, nodes: 0, diagonals: 0, rotations: 0, level: None });
            layers.len() - 1
        });
        let layer = &mut layers[place];
        layer.nodes += 1;
        layer.diagonals += node.op.diagonals();
        layer.rotations += node.op.rotations();
        let level = types.get(node.first.0 as usize).map(|t| t.level.0);
        layer.level = layer.level.into_iter().chain(level).min();
    }
    layers
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "circuit      {} ({})", self.name, &self.circuit[..16])?;
        let (q, p) = (self.log_q, self.log_p);
        writeln!(
            f,
            "ring         N = 2^{}, log Q = {q:.1}, log P = {p:.1}, {} levels",
            self.log_n, self.levels
        )?;
        if let Some(Bootstrapping { usable_levels, input_level, log_raised }) = &self.bootstrapping {
            writeln!(
                f,
                "bootstrapping {usable_levels} levels, from level {input_level}, over {log_raised:.1} bits more"
            )?;
        }
        for (what, ports) in [("input", &self.inputs), ("output", &self.outputs)] {
            for Port { name, shape, ciphertexts, batch } in ports {
                let images = if *batch > 1 { format!(", {batch} images") } else { String::new() };
                writeln!(f, "{what:<12} {name} {shape:?}{images} in {ciphertexts} ciphertexts")?;
            }
        }
        let operations: Vec<String> = self.operations.iter().map(|(op, n)| format!("{op} {n}")).collect();
        writeln!(f, "operations   {}", operations.join(", "))?;
        writeln!(f, "rotations    {} with {} of {} keys", self.rotations, self.rotation_keys, self.keys)?;
        writeln!(f, "plaintexts   {} diagonals from {} weights", self.diagonals, self.weights)?;
        let Forecast {
            seconds,
            memory_bytes,
            key_bytes,
            upload_bytes,
            download_bytes,
            precision_bits,
            public_key_precision_bits,
            profile: _,
        } = self.forecast;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "forecast     {seconds:.3} s, {:.1} MiB memory, {:.1} MiB keys, {:.2} MiB up, {:.2} MiB down, {precision_bits:.1} bits ({public_key_precision_bits:.1} under a public key)",
            mib(memory_bytes),
            mib(key_bytes),
            mib(upload_bytes),
            mib(download_bytes)
        )?;
        writeln!(f, "\n{:<40} {:>6} {:>9} {:>9} {:>5}", "layer", "nodes", "rotations", "diagonals", "level")?;
        for Layer { name, nodes, diagonals, rotations, level } in &self.layers {
            let level = level.map_or("?".to_owned(), |l| l.to_string());
            writeln!(f, "{name:<40} {nodes:>6} {rotations:>9} {diagonals:>9} {level:>5}")?;
        }
        Ok(())
    }
}
