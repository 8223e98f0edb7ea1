//! Printing and parsing.

use crate::samples::{draft, from_choices, sample, volumes};
use cipherloom_ir::*;
use proptest::prelude::*;

#[test]
fn the_sample_prints_as_recorded() {
    insta::assert_snapshot!("sample", sample().to_text());
}

#[test]
fn drafts_print_and_parse() {
    let draft = draft();
    insta::assert_snapshot!("draft", draft.to_text());
    assert_eq!(Circuit::from_text(&draft.to_text(), &draft.tensors), Ok(draft));
}

#[test]
fn parsing_inverts_printing() {
    let sample = sample();
    let text = sample.to_text();
    assert_eq!(Circuit::from_text(&text, &sample.tensors), Ok(sample));
    let volumes = volumes();
    insta::assert_snapshot!("volumes", volumes.to_text());
    assert_eq!(Circuit::from_text(&volumes.to_text(), &volumes.tensors), Ok(volumes));
}

#[test]
fn other_weights_are_not_taken() {
    let mut sample = sample();
    let text = sample.to_text();
    sample.tensors[1].values[5] += 1.0;
    let error = Circuit::from_text(&text, &sample.tensors).unwrap_err();
    assert!(matches!(error.problem, TextProblem::UnknownTensor { .. }), "{error}");
}

/// A text, what to replace in it and by what.
const MISTAKES: &[[&str; 2]] = &[
    ["log_n 13", "log_n many"],
    ["circuit \"sample", "circuit sample"],
    ["key k1", "key k2"],
    ["gadget 1+1", "gadget 1"],
    ["l0 -> l1", "l0 l1"],
    ["kernel 2x2", "kernel 2"],
    ["view [4, 4] axes 1@-", "view [4, 4] axes 1@?"],
    ["gaps zero", "gaps full"],
    ["range [-0.5, 2.9]", "range [-0.5]"],
    ["v3 = mul v2 v2", "v9 = mul v2 v2"],
    ["v3 = mul v2 v2", "v3 = mull v2 v2"],
    ["v3 = mul v2 v2", "v3 = mul v2 v2 v2"],
    ["v3 = mul v2 v2", "v3..v4 = mul v2 v2"],
    ["v3 = mul v2 v2", "v3 = mul v2"],
    ["o0 g0 0.0: 0-2", "o0 g0 0.0: 0-4294967295"],
    ["steps [softmax]", "steps [softmin]"],
    ["\nforecast", "\n; forecast"],
    ["certificate", "parameters log_n 1 log_scale 1 chain [] special []\ncertificate"],
    ["\nkey k0", "\n  dense weight t0\nkey k0"],
    ["\nkey k0", "\nnonsense\nkey k0"],
];

#[test]
fn mistakes_are_named_by_line() {
    let sample = sample();
    let text = sample.to_text();
    let report: Vec<String> = MISTAKES
        .iter()
        .map(|[from, to]| {
            assert!(text.contains(from), "{from}");
            let error = Circuit::from_text(&text.replacen(from, to, 1), &sample.tensors).expect_err(to);
            format!("{to:?}\n    {error}\n")
        })
        .collect();
    insta::assert_snapshot!("mistakes", report.concat());
}

#[test]
fn the_sample_is_summarised() {
    let summary = Summary::of(&sample());
    insta::assert_snapshot!("summary", summary.to_string());
    let json = sample().to_json();
    assert_eq!(json["rotations"], summary.rotations);
    insta::assert_snapshot!("json", format!("{:#}\n{}", json["layers"], json["nodes"][1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_circuits_print_and_parse(choices in prop::collection::vec(any::<(u8, u16)>(), 0..60)) {
        let circuit = from_choices(&choices);
        prop_assert_eq!(Circuit::from_text(&circuit.to_text(), &circuit.tensors), Ok(circuit));
    }

    /// Damaged texts give errors or other circuits, never a panic.
    #[test]
    fn damaged_texts_do_not_panic(at in 0usize..4000, with in any::<char>()) {
        let sample = sample();
        let mut text: Vec<char> = sample.to_text().chars().collect();
        let at = at % text.len();
        text[at] = with;
        let text: String = text.into_iter().collect();
        let _ = Circuit::from_text(&text, &sample.tensors);
    }
}
