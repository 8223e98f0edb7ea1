//! The stages behind the frontend, on networks built by hand: every circuit means what its graph means.

mod nets;

use cipherloom_compiler::activation;
use cipherloom_compiler::{CompileOptions, Compiled, Packing, Purpose, compile};
use cipherloom_ir::Exact;

/// Compiles `graph` and compares the circuit's exact meaning with plain arithmetic on the lowered graph.
fn check(name: &str, options: &CompileOptions) -> Compiled {
    let graph = nets::named(name);
    let compiled = compile(&graph, options).unwrap_or_else(|e| panic!("{name}: {e}"));
    let circuit = &compiled.circuit;
    let image = nets::image(&graph);
    let lowered = match options.purpose {
        Purpose::Encrypted => activation::lower(&graph, options.activation_degree).unwrap().0,
        Purpose::Draft => graph,
    };
    let expected = nets::evaluate(&lowered, &image);
    let found = Exact::new(circuit).unwrap().run(circuit, &[image]).unwrap().remove(0);
    let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    for (e, f) in expected.iter().zip(&found) {
        assert!((e - f).abs() <= 1e-5 * largest, "{name}: {expected:?} {found:?}");
    }
    compiled
}

fn print(name: &str, c: &Compiled) {
    let (r, f) = (&c.report, &c.circuit.forecast);
    println!(
        "{name}: 2^{} qp {:.1} levels {} scale {} gadget {:?} rotations {} keys {} | {:.1} ms, {:.0} MiB, keys {:.1} MiB, {:.1} bits",
        r.log_n,
        r.log_qp,
        r.levels,
        c.circuit.parameters.log_scale,
        c.circuit.keys[0].gadget,
        r.rotations,
        r.rotation_keys,
        f.seconds * 1e3,
        f.memory_bytes as f64 / 1048576.0,
        f.key_bytes as f64 / 1048576.0,
        f.precision_bits
    );
    for l in &r.layers {
        println!(
            "    {:8} diagonals {:4} rotations {:3} {:8.2} ms",
            l.name,
            l.diagonals,
            l.rotations,
            l.predicted_ns as f64 / 1e6
        );
    }
}

#[test]
fn shipped_shapes_mean_their_graphs() {
    for name in ["lola", "mlp", "cryptonets", "lenet5-relu", "lenet"] {
        for packing in [Packing::DynamicProgram, Packing::Multiplexed] {
            let t = std::time::Instant::now();
            let c = check(name, &CompileOptions { packing, ..CompileOptions::default() });
            print(&format!("{name} {packing:?} ({:.1} s)", t.elapsed().as_secs_f64()), &c);
        }
    }
}

#[test]
fn activation_degrees_mean_their_polynomials() {
    for activation_degree in [2, 3, 8] {
        check("tiny-relu", &CompileOptions { activation_degree, ..CompileOptions::default() });
    }
}

#[test]
fn residual_drafts_mean_their_graphs() {
    check(
        "residual",
        &CompileOptions { purpose: Purpose::Draft, log_n: Some(12), ..CompileOptions::default() },
    );
}
