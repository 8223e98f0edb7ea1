//! Printing and parsing.

use crate::samples::{draft, from_choices, sample};
use cipherloom_ir::*;
use proptest::prelude::*;

#[test]
fn the_sample_prints_as_recorded() {
    insta::assert_snapshot!("sample", sample().to_text());
}

#[test]
fn drafts_print_and_parse() {
    let draft = draft();
    assert_eq!(verify_draft(&draft), Ok(()));
    insta::assert_snapshot!("draft", draft.to_text());
    assert_eq!(Circuit::from_text(&draft.to_text(), &draft.tensors), Ok(draft));
}

#[test]
fn parsing_inverts_printing() {
    let sample = sample();
    let text = sample.to_text();
    let parsed = Circuit::from_text(&text, &sample.tensors).unwrap();
    assert_eq!(parsed, sample);
    assert_eq!(parsed.to_text(), text);
}
