//! Laws 5 to 8 and 12: tensors, layouts, maps, inputs, outputs' data, certificate and forecast.
//!
//! Relies on bounds and parameters. Promises: after them every table entry can be materialised without overflow.

use super::error::{LawError, at_least, at_most, count, entry, finite, finite_nonzero, ordered_range};
use super::{Place, Report};
use crate::circuit::{Circuit, Forecast, Preprocessing, RangeCertificate};
use crate::layout::{Digit, Layout};
use crate::map::{LinearMap, Tensor};

/// Law 5: a tensor's values fill its shape and are finite.
pub(super) fn check_tensors(circuit: &Circuit, report: &mut Report) {
    for (k, tensor) in circuit.tensors.iter().enumerate() {
        report.check(Place::Tensor(k), || check_tensor(tensor));
    }
}

fn check_tensor(tensor: &Tensor) -> Result<(), LawError> {
    at_most("dimensions", tensor.shape.len() as u64, super::bounds::MAX_RANK)?;
    tensor.shape.iter().try_for_each(|&d| at_least("dimension", d.into(), 1))?;
    let elements = tensor.shape.iter().fold(1u64, |n, &d| n.saturating_mul(d.into()));
    count("values of the tensor", tensor.values.len() as u64, elements)?;
    tensor.values.iter().try_for_each(|&v| finite("a value of the tensor", v.into()))
}

/// Law 6: layouts cover their axes, stay inside their ciphertexts, and no two elements or copies share a slot;
/// their slots are those of the parameters, and all hold equally many images.
pub(super) fn check_layouts(circuit: &Circuit, report: &mut Report) {
    let batch = circuit.layouts.first().map_or(1, |layout| layout.batch);
    for (k, layout) in circuit.layouts.iter().enumerate() {
        report.check(Place::Layout(k), || check_layout(layout, circuit.slots(), batch));
    }
}

/// One layout is well-formed in a ring of so many slots, for so many images.
pub(super) fn check_layout(layout: &Layout, slots: usize, batch: u32) -> Result<(), LawError> {
    count("slots of the layout", layout.slots.into(), slots as u64)?;
    count("images of the layout", layout.batch.into(), batch.into())?;
    Ok(layout.check()?)
}

/// Law 7: the operators of a map compose, their weights fit, and the map leads from its input to its output
/// layout.
pub(super) fn check_maps(circuit: &Circuit, report: &mut Report) {
    for (k, map) in circuit.maps.iter().enumerate() {
        report.check(Place::Map(k), || check_map(circuit, map));
    }
}

fn check_map(circuit: &Circuit, map: &LinearMap) -> Result<(), LawError> {
    finite("factor of the map", map.scale)?;
    let placed = map.placed(&circuit.layouts)?;
    let mut shape = placed.input.shape.clone();
    for operator in placed.operators {
        shape = operator.output_shape(&shape, &circuit.tensors)?;
    }
    let elements = shape.iter().fold(1u64, |n, &d| n.saturating_mul(d.into()));
    count("elements of the output layout", placed.output.elements() as u64, elements)?;
    Ok(Digit::check_all(placed.fold, placed.output.slots)?)
}

/// Law 8: inputs name existing layouts and can be preprocessed.
pub(super) fn check_inputs(circuit: &Circuit, report: &mut Report) {
    for (k, input) in circuit.inputs.iter().enumerate() {
        report.check(Place::Input(k), || {
            let layout = entry("layout", &circuit.layouts, input.layout.0)?;
            check_input(layout, input.range, &input.preprocessing)
        });
    }
}

/// One input can be preprocessed.
pub(super) fn check_input(
    layout: &Layout,
    range: [f64; 2],
    preprocessing: &Preprocessing,
) -> Result<(), LawError> {
    ordered_range("range", range)?;
    finite_nonzero("preprocessing scale", preprocessing.scale)?;
    let channels = Preprocessing::channels(&layout.shape) as u64;
    for (what, list) in [("means", &preprocessing.mean), ("deviations", &preprocessing.std)] {
        if list.len() != 1 {
            count(what, list.len() as u64, channels)?;
        }
    }
    preprocessing.mean.iter().try_for_each(|&m| finite("mean", m))?;
    preprocessing.std.iter().try_for_each(|&s| finite_nonzero("standard deviation", s))
}

/// Law 11, the part that needs no values: an output's numbers are finite, and labels are absent or one per
/// element.
pub(super) fn check_output(
    layout: &Layout,
    scale: f64,
    range: [f64; 2],
    labels: &[String],
) -> Result<(), LawError> {
    finite_nonzero("scale of the output", scale)?;
    ordered_range("range", range)?;
    if labels.is_empty() { Ok(()) } else { count("labels", labels.len() as u64, layout.elements() as u64) }
}

/// Law 12: certificate and forecast are numbers, and time is not negative.
pub(super) fn check_records(certificate: &[RangeCertificate], forecast: &Forecast, report: &mut Report) {
    for (k, entry) in certificate.iter().enumerate() {
        report.check(Place::Certificate(k), || ordered_range("range", entry.range));
    }
    // Whoever shares out time by it would give back what was never taken.
    report.check(Place::Circuit, || ordered_range("forecast seconds", [0.0, forecast.seconds]));
    report.check(Place::Circuit, || finite("forecast precision", forecast.precision_bits));
    report.check(Place::Circuit, || {
        finite("forecast precision under a public key", forecast.public_key_precision_bits)
    });
}
