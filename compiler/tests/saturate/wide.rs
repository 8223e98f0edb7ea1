//! Images larger than a ciphertext: layouts by phases, and a small ResNet-18 in them.

use crate::nets;
use crate::networks::{Resnet18, mobilenet, resnet18, squeezenet};
use cipherloom_compiler::frontend::{LoadOptions, load_bytes};
use cipherloom_compiler::graph::evaluate;
use cipherloom_compiler::packing::layouts;
use cipherloom_compiler::{CompileOptions, Packing, Purpose, compile};
use cipherloom_ir::Exact;
use proptest::prelude::*;

proptest! {
    #[test]
    fn input_layouts_hold_every_pixel_once(channels in 1u32..4, height in 1u32..70, width in 1u32..70, log in 6u32..11) {
        let image = [channels, height, width];
        let merged = [channels * height * width];
        // The client's shape, and the image that the network reads it as.
        for shape in [&image[..], &[1, channels, height, width], &[channels * height, width], &merged] {
            holds_every_element_once(layouts::inputs(shape, &image, 1 << log))?;
        }
        let signal = [channels * height, width];
        holds_every_element_once(layouts::inputs(&signal, &[signal[0], 1, width], 1 << log))?;
        let volume = [1, channels + 2, height / 4 + 1, width / 4 + 1];
        holds_every_element_once(layouts::inputs(&volume, &volume, 1 << log))?;
    }
}

fn holds_every_element_once(families: Vec<Vec<layouts::Placed>>) -> Result<(), TestCaseError> {
    prop_assert!(families.iter().any(|family| !family.is_empty()));
    for placed in families.into_iter().flatten() {
        placed.layout.check().expect("no two elements share a slot");
        let values: Vec<f64> = (0..placed.layout.elements()).map(|k| k as f64 + 1.0).collect();
        let packed = placed.layout.pack(&values);
        prop_assert_eq!(&placed.layout.unpack(&packed), &values);
        // Every slot that is no copy of an element is zero.
        let filled = packed.iter().flatten().filter(|v| **v != 0.0).count();
        prop_assert_eq!(filled, values.len() * placed.layout.replica_offsets().len());
    }
    Ok(())
}

/// Compiles a draft and compares its exact meaning with plain arithmetic.
fn means_its_graph(name: &str, bytes: &[u8], log_n: u32, packing: Packing) -> u64 {
    let graph = load_bytes(bytes, &LoadOptions::default()).expect(name).graph;
    let (purpose, log_n) = (Purpose::Draft, Some(log_n));
    let options = CompileOptions { purpose, log_n, packing, ..crate::nets::options() };
    let compiled = compile(&graph, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
    let image = nets::image(&graph);
    let expected = evaluate::scores(&graph, &image);
    let circuit = &compiled.circuit;
    let found = Exact::new(circuit).expect(name).run(circuit, &[image]).expect(name).remove(0);
    let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    for (e, f) in expected.iter().zip(&found) {
        assert!((e - f).abs() <= 1e-5 * largest, "{name}: {expected:?} {found:?}");
    }
    compiled.report.rotations
}

#[test]
fn a_resnet18_of_images_larger_than_a_ciphertext_means_its_graph() {
    // An image of 56 x 56 in 2048 slots.
    let sizes = Resnet18 { side: 56, width: 8, classes: 10 };
    insta::assert_snapshot!(format!(
        "{} rotations",
        means_its_graph("resnet18", &resnet18(sizes), 12, Packing::Saturated)
    ));
}

#[test]
fn generated_networks_with_groups_and_concatenations_mean_their_graphs() {
    means_its_graph("mobilenet", &mobilenet(), 15, Packing::Saturated);
    means_its_graph("squeezenet", &squeezenet(), 15, Packing::Saturated);
}

#[test]
fn operands_of_a_concatenation_leave_ciphertexts_empty_in_every_packing() {
    for packing in [Packing::Multiplexed, Packing::DynamicProgram] {
        means_its_graph("squeezenet", &squeezenet(), 15, packing);
    }
}
