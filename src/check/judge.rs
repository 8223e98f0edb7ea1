//! The verdict: which findings mean that answers must not be trusted, what is to blame and what helps.

use super::{Findings, RangeSeen};
use crate::error::{Error, Kind};

/// Scores that differ by half of their size, in root mean square, are no longer the model's. Layers before them may differ
/// by nearly as much without harm: what training has made redundant evens out.
const WRONG_DIVERGENCE: f64 = 0.5;

/// A circuit that gives another class than the model for one image in twenty is not that model.
const LEAST_AGREEMENT: f64 = 0.95;

/// Outputs, and inputs, beyond their certificate by this factor leave the room that the base prime has for them; the
/// client refuses such inputs.
const ROOM: f64 = 8.0;

/// Fills the problems, the warnings and the first wrong layer.
pub(super) fn judge(findings: &mut Findings) {
    let off = |divergence: f64| divergence.is_nan() || divergence >= WRONG_DIVERGENCE;
    let scores_off = findings.layers.last().is_some_and(|l| off(l.divergence));
    // What follows from the first tensor beyond its room is not told again.
    let beyond = findings.ranges.iter().find(|r| beyond_room(r));
    let mut problems: Vec<Error> = beyond.map(|r| no_room(findings, r)).into_iter().collect();
    if findings.polynomial_agreement < LEAST_AGREEMENT || scores_off {
        let largest = || findings.layers.iter().max_by(|a, b| a.divergence.total_cmp(&b.divergence));
        let wrong = findings.layers.iter().find(|l| off(l.divergence)).or_else(largest);
        findings.first_wrong_layer = wrong.map(|l| l.name.clone());
        problems.push(diverges(findings));
    } else if findings.simulated_agreement < LEAST_AGREEMENT {
        problems.push(too_noisy(findings));
    }
    let outside = findings.ranges.iter().filter(|r| r.images_outside > 0).map(|r| {
        format!(
            "tensor `{}` leaves its range {} on {} of {} images, which reach {}",
            r.tensor,
            interval(r.certificate),
            r.images_outside,
            findings.images,
            interval(r.seen)
        )
    });
    let outside: Vec<String> = outside.collect();
    findings.warnings.extend(outside);
    if let Some(e) = findings.encrypted.filter(|e| e.alarms > 0) {
        let what =
            format!("the client refuses or doubts {} of {} encrypted inputs and answers", e.alarms, e.images);
        problems.push(Error::new(Kind::UnsupportedModel, "encrypted", what).remedy(CALIBRATE));
    }
    findings.problems = problems;
}

const CALIBRATE: &str = "calibrate with such data (--calibrate), or check how the data are scaled (--input-scale, \
     --input-mean, --input-std)";

/// `[low, high]`, in powers of ten where that is shorter.
pub fn interval(ends: [f64; 2]) -> String {
    let [low, high] = ends.map(|x| if x.abs() < 1e6 { format!("{x:.4}") } else { format!("{x:.2e}") });
    format!("[{low}, {high}]")
}

/// A share in per cent, in powers of ten where that is shorter.
pub fn percent(share: f64) -> String {
    if share.abs() < 1e4 { format!("{:.2} %", 100.0 * share) } else { format!("{:.1e} %", 100.0 * share) }
}

fn beyond_room(range: &RangeSeen) -> bool {
    let largest = |r: [f64; 2]| r[0].abs().max(r[1].abs());
    range.headroom < 0.0 && largest(range.seen) > ROOM * largest(range.certificate)
}

/// The input is data's fault, anything else the model's.
fn no_room(findings: &Findings, range: &RangeSeen) -> Error {
    let input = findings.ranges.first().is_some_and(|first| first.tensor == range.tensor);
    let kind = if input { Kind::BadInput } else { Kind::UnsupportedModel };
    let what = format!(
        "values reach {}, more than {ROOM} times beyond the range {} that the circuit was made for",
        interval(range.seen),
        interval(range.certificate)
    );
    Error::new(kind, format!("tensor {}", range.tensor), what).remedy(CALIBRATE)
}

fn diverges(findings: &Findings) -> Error {
    let agreement = format!("{:.1} % of the classes are the model's", 100.0 * findings.polynomial_agreement);
    // Errors start where a tensor leaves its range, before they show.
    let outside = findings.ranges.iter().find(|r| r.images_outside > 0 && r.headroom < -0.25);
    let cause = outside.map_or(String::new(), |r| {
        format!("; tensor `{}` leaves its range first, on {} images", r.tensor, r.images_outside)
    });
    let (place, what) =
        match findings.layers.iter().find(|l| Some(&l.name) == findings.first_wrong_layer.as_ref()) {
            Some(layer) => (
                format!("layer {}", layer.name),
                format!(
                    "is the first that goes wrong: it differs from the model's by {} of its size",
                    percent(layer.divergence)
                ),
            ),
            None => ("circuit".to_owned(), "its polynomials change too many answers".to_owned()),
        };
    let remedy = match outside {
        Some(_) => CALIBRATE,
        None => {
            "take a higher --activation-degree, calibrate with data, or train with narrower activations; \
                 `compile --explain activations` lists the errors"
        }
    };
    Error::new(Kind::UnsupportedModel, place, format!("{what} ({agreement}{cause})")).remedy(remedy)
}

fn too_noisy(findings: &Findings) -> Error {
    let what = format!(
        "with the errors of encryption {:.1} % of the classes are the model's, without them {:.1} %",
        100.0 * findings.simulated_agreement,
        100.0 * findings.polynomial_agreement
    );
    Error::new(Kind::UnsupportedModel, "circuit", what).remedy("ask for more --precision")
}
