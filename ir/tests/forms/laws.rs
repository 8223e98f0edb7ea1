//! Laws.

use crate::samples::{from_choices, key_kinds, sample, verify};
use cipherloom_ir::scheme::KeyKind;
use proptest::prelude::*;

#[test]
fn the_sample_is_verified() {
    let verified = verify(sample()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(*verified, sample());
}
