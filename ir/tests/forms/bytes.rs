//! Files.

use crate::samples::{from_choices, sample};
use cipherloom_ir::container::{Container, ContainerError, Kind};
use cipherloom_ir::*;
use proptest::prelude::*;

#[test]
fn files_come_back_equal() {
    let sample = sample();
    let bytes = sample.to_bytes();
    assert_eq!(Circuit::from_bytes(&bytes).unwrap(), sample);
    let manifest = Manifest::of(&sample).unwrap();
    assert_eq!(Manifest::from_bytes(&manifest.to_bytes()).unwrap(), manifest);
}
