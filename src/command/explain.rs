//! `compile --explain activations`: the polynomials that stand for activations, and what other degrees would cost.

use super::report::{Report, table};
use cipherloom::check::degrees;
use cipherloom::compiler::activation::{
    DEGREES,
    explain::{Explained, explain},
};
use cipherloom::{Error, Kind, Model, data};
use serde_json::{Value, json};

/// What can be explained.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Subject {
    /// Range, degree and error of the polynomials, and what other degrees would cost.
    Activations,
}

/// The table for a model whose polynomials have at most `degree`, with accuracies on the calibration data if there are any.
pub(super) fn activations(
    model: &Model,
    degree: u32,
    calibration: Option<&data::Dataset>,
) -> Result<Report, Error> {
    let graph = model.graph();
    let explained = explain(graph, degree).map_err(|e| Error::new(Kind::UnsupportedModel, &graph.name, e))?;
    let degrees = degrees(model, calibration)?;
    let head = ["activation", "function", "range", "", "degree", "worst error"].map(String::from);
    let other = DEGREES.map(|d| format!("degree {d}: worst / typical, levels"));
    let mut rows = vec![head.into_iter().chain(other).collect::<Vec<_>>()];
    rows.extend(explained.iter().map(row));
    let mut out = match explained.is_empty() {
        true => "no activation is approximated\n".to_owned(),
        false => table(&rows),
    };
    let mut rows =
        vec![["all activations", "levels at least", "model's class", "accuracy"].map(String::from).to_vec()];
    let percent = |share: Option<f64>| share.map_or("-".to_owned(), |s| format!("{:.2} %", 100.0 * s));
    rows.extend(degrees.iter().map(|d| {
        vec![
            format!("of degree {} at most", d.degree),
            d.levels.to_string(),
            percent(d.agreement),
            percent(d.accuracy),
        ]
    }));
    out += &table(&rows);
    if let Some(refitted) = model.refitted() {
        out += &format!("the first table is of {refitted}; the second of the model's own layers\n");
    }
    if calibration.is_none() {
        out += "give --calibrate DATA to see what each degree leaves of the model's classes\n";
    }
    let facts = json!({
        "activations": explained.iter().map(facts).collect::<Vec<_>>(),
        "degrees": degrees,
    });
    Ok(Report::new(out.trim_end().to_owned(), facts))
}

fn row(e: &Explained) -> Vec<String> {
    let worst = e.fits.iter().find(|f| f.degree == e.degree).map_or(f64::NAN, |f| f.worst_error);
    let [low, high] = e.range;
    let source = if e.calibrated { "" } else { "interval bound" };
    let fits = e.fits.iter().map(|f| format!("{:.3} / {:.4}, {}", f.worst_error, f.typical_error, f.levels));
    let own = [
        e.tensor.clone(),
        format!("{:?}", e.function),
        format!("[{low:.4}, {high:.4}]"),
        source.into(),
        e.degree.to_string(),
        format!("{worst:.4}"),
    ];
    own.into_iter().chain(fits).collect()
}

fn facts(e: &Explained) -> Value {
    let fit = |f: &cipherloom::compiler::activation::explain::Fitted| {
        json!({
            "degree": f.degree, "levels": f.levels,
            "worst_error": f.worst_error, "typical_error": f.typical_error,
        })
    };
    json!({
        "tensor": e.tensor, "function": format!("{:?}", e.function), "range": e.range,
        "calibrated": e.calibrated, "degree": e.degree, "fits": e.fits.iter().map(fit).collect::<Vec<_>>(),
    })
}
