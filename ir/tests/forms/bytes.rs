//! Files: they come back equal, and damaged, foreign or greedy ones are refused.

use crate::samples::{from_choices, sample, verify, volumes};
use cipherloom_ir::container::{
    Container, ContainerError, ContainerReader, ContainerWriter, Kind, MAX_SECTIONS,
};
use cipherloom_ir::scheme::SecurityPolicy;
use cipherloom_ir::*;
use proptest::prelude::*;
use std::io::Cursor;

fn file(kind: Kind, digest: Option<Digest>, sections: &[(u32, &[u8])]) -> Vec<u8> {
    let memory = Cursor::new(vec![]);
    let mut writer = ContainerWriter::new(memory, kind, digest, sections.len() as u32).unwrap();
    sections.iter().for_each(|(tag, bytes)| writer.write_section(*tag, bytes).unwrap());
    writer.finish().unwrap().into_inner()
}

/// The sample's sections: description and weights.
fn sections(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let container = Container::read(bytes, Kind::Circuit).unwrap();
    (container.section(1).unwrap().to_vec(), container.section(2).unwrap().to_vec())
}

#[test]
fn files_come_back_equal() {
    let sample = sample();
    let bytes = sample.to_bytes();
    assert_eq!(Circuit::from_bytes(&bytes).unwrap(), sample);
    assert_eq!(Digest::of(&bytes), sample.digest());
    let manifest = Manifest::of(&sample).unwrap();
    assert_eq!(manifest.circuit, sample.digest());
    assert_eq!(Manifest::from_bytes(&manifest.to_bytes()).unwrap(), manifest);
    let volumes = volumes();
    assert_eq!(Circuit::from_bytes(&volumes.to_bytes()).unwrap(), volumes);
}

#[test]
fn the_format_is_pinned() {
    // A change here changes files: raise the version (from version 1 on) or say so in the changelog.
    let sample = sample();
    let manifest = Manifest::of(&sample).unwrap().to_bytes();
    let sizes = format!(
        "circuit {} bytes, {}\nmanifest {} bytes, {}\n",
        sample.to_bytes().len(),
        sample.digest(),
        manifest.len(),
        Digest::of(&manifest)
    );
    insta::assert_snapshot!("format", sizes);
}

#[test]
fn product_lists_are_small() {
    let sizes = [1u32, 2].map(|stride| {
        let mut circuit = sample();
        let Op::Linear(plan) = &mut circuit.nodes[1].op else { panic!("node 1 is a plan") };
        let step = |s| KeyedStep { step: Step(s), key: None };
        plan.babies = (0..64).map(step).collect();
        plan.giants = (0..64).map(step).collect();
        let all = (0..64 * 64).step_by(stride as usize);
        let product = |k: u32| Product { output: 0, giant: k / 64, source: 0, input: 0, baby: k % 64 };
        plan.products = all.map(product).collect();
        let bytes = circuit.to_bytes();
        assert_eq!(Circuit::from_bytes(&bytes).unwrap(), circuit);
        bytes.len() - sample().to_bytes().len()
    });
    // 128 steps of up to 3 bytes; then a run for each giant step, or two bytes for each of 2,048 products.
    assert!(sizes[0] < 128 * 3 + 64 * 4 && sizes[1] < 128 * 3 + 2048 * 2 + 16, "{sizes:?}");
}

#[test]
fn every_truncation_is_refused() {
    let circuit = sample().to_bytes();
    let manifest = Manifest::of(&sample()).unwrap().to_bytes();
    for length in 0..circuit.len() {
        assert!(Circuit::from_bytes(&circuit[..length]).is_err(), "{length} bytes");
    }
    for length in 0..manifest.len() {
        assert!(Manifest::from_bytes(&manifest[..length]).is_err(), "{length} bytes");
        let stream = Cursor::new(&manifest[..length]);
        assert!(ContainerReader::open(stream, Kind::Manifest).is_err(), "{length} bytes");
    }
    let longer = [&circuit[..], &[0]].concat();
    let error = Circuit::from_bytes(&longer).unwrap_err();
    assert!(matches!(error, FormatError::Container(ContainerError::Trailing { .. })), "{error}");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let circuit = sample().to_bytes();
    let manifest = Manifest::of(&sample()).unwrap().to_bytes();
    for (at, bit) in (0..circuit.len()).map(|at| (at, at % 8)) {
        let mut bytes = circuit.clone();
        bytes[at] ^= 1 << bit;
        assert!(Circuit::from_bytes(&bytes).is_err(), "byte {at}");
    }
    for (at, bit) in (0..manifest.len()).map(|at| (at, at % 8)) {
        let mut bytes = manifest.clone();
        bytes[at] ^= 1 << bit;
        assert!(Manifest::from_bytes(&bytes).is_err(), "byte {at}");
    }
}

/// Whoever repairs the checksums gets as far as the laws, and no further: nothing panics.
#[test]
fn flipped_bits_under_good_checksums_do_not_panic() {
    let (description, weights) = sections(&sample().to_bytes());
    let mut accepted = 0;
    for (at, bit) in (0..description.len()).flat_map(|at| [(at, at % 8), (at, (at + 3) % 8)]) {
        let mut damaged = description.clone();
        damaged[at] ^= 1 << bit;
        let bytes = file(Kind::Circuit, None, &[(1, &damaged), (2, &weights)]);
        if let Ok(circuit) = Circuit::from_bytes(&bytes) {
            assert_eq!(circuit.to_bytes(), bytes, "one file per circuit");
            let draft = verify_draft(&circuit).is_ok();
            if let Ok(verified) = verify(circuit) {
                assert!(draft, "what can run is also a draft");
                accepted += 1;
                verified.to_text();
                Manifest::of(&verified).unwrap();
            }
        }
    }
    assert!(accepted > 0, "some bits are of names and ranges");
    let manifest = Manifest::of(&sample()).unwrap();
    let bytes = manifest.to_bytes();
    let description = Container::read(&bytes, Kind::Manifest).unwrap().section(1).unwrap().to_vec();
    for (at, bit) in (0..description.len()).map(|at| (at, at % 8)) {
        let mut damaged = description.clone();
        damaged[at] ^= 1 << bit;
        let bytes = file(Kind::Manifest, Some(manifest.circuit), &[(1, &damaged)]);
        let _ = Manifest::from_bytes(&bytes).map(|m| m.verify(&SecurityPolicy::standard_128()));
    }
}

#[test]
fn foreign_files_are_refused_by_name() {
    let sample = sample();
    let circuit = sample.to_bytes();
    let manifest = Manifest::of(&sample).unwrap();
    let mut newer = circuit.clone();
    newer[8] = 1;
    let mut crowded = circuit.clone();
    crowded[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    let other = Digest([7; 32]);
    let errors = [
        Circuit::from_bytes(b"").unwrap_err().to_string(),
        Circuit::from_bytes(b"LOOM").unwrap_err().to_string(),
        Circuit::from_bytes(b"\x89PNG\r\n\x1a\nmore").unwrap_err().to_string(),
        Circuit::from_bytes(&manifest.to_bytes()).unwrap_err().to_string(),
        Manifest::from_bytes(&circuit).unwrap_err().to_string(),
        Circuit::from_bytes(&newer).unwrap_err().to_string(),
        Circuit::from_bytes(&crowded).unwrap_err().to_string(),
        Circuit::from_bytes(&file(Kind::Circuit, None, &[])).unwrap_err().to_string(),
        Manifest::from_bytes(&file(Kind::Manifest, None, &[])).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!("foreign", errors.join("\n").replace(&sample.digest().short(), "(digest)"));
    let (description, _) = {
        let bytes = manifest.to_bytes();
        let container = Container::read(&bytes, Kind::Manifest).unwrap();
        (container.section(1).unwrap().to_vec(), ())
    };
    let error = Manifest::from_bytes(&file(Kind::Manifest, Some(other), &[(1, &description)])).unwrap_err();
    assert!(matches!(error, FormatError::Container(ContainerError::Foreign { .. })), "{error}");
}

#[test]
fn an_operator_has_one_form() {
    // The sample's first convolution and pool over an image, as the file holds them, and the same as if over volumes.
    let window = [[2, 2], [2, 2], [1, 1], [0, 0], [0, 0]].concat();
    let deep = [[1, 2, 2], [1, 2, 2], [1, 1, 1], [0, 0, 0], [0, 0, 0]].concat();
    let (description, weights) = sections(&sample().to_bytes());
    for (image, volume) in [(0u8, 6u8), (1, 7)] {
        let flat = [&[image, 1, 4, 4][..], &window].concat();
        let found: Vec<usize> =
            (0..description.len()).filter(|at| description[*at..].starts_with(&flat)).collect();
        let [at] = found[..] else { panic!("{found:?}") };
        let other =
            [&description[..at], &[volume, 1, 1, 4, 4], &deep, &description[at + flat.len()..]].concat();
        let error =
            Circuit::from_bytes(&file(Kind::Circuit, None, &[(1, &other), (2, &weights)])).unwrap_err();
        assert_eq!(error.to_string(), "the description of the circuit is not in canonical form");
    }
}

#[test]
fn greedy_files_are_refused() {
    // Descriptions that claim huge lists end before they are filled.
    for claim in [[0xff, 0xff, 0xff, 0xff, 0x0f], [0x80, 0x80, 0x80, 0x80, 0x01]] {
        let description = [&claim[..], &[0; 64]].concat();
        let bytes = file(Kind::Circuit, None, &[(1, &description), (2, &[])]);
        assert!(Circuit::from_bytes(&bytes).is_err());
    }
    // A tensor whose shape asks for more weights than there are.
    let mut greedy = sample();
    greedy.tensors[1].shape = vec![u32::MAX; 4];
    let error = Circuit::from_bytes(&greedy.to_bytes()).unwrap_err();
    assert!(matches!(error, FormatError::Weights { .. }), "{error}");
    // A plan of millions of products in a few bytes.
    let mut greedy = sample();
    let Op::Linear(plan) = &mut greedy.nodes[1].op else { panic!("node 1 is a plan") };
    plan.outputs = 1 << 30;
    plan.products = vec![];
    let bytes = greedy.to_bytes();
    let (description, weights) = sections(&bytes);
    let refused: Vec<bool> = (0..description.len())
        .map(|at| {
            // Turn every empty list into runs of 0 absent and 2^32 present in turn: the right one is the products.
            let runs = [&[2u8, 0, 0x80, 0x80, 0x80, 0x80, 0x10][..], &description[at + 1..]].concat();
            let damaged = [&description[..at], &runs].concat();
            let bytes = file(Kind::Circuit, None, &[(1, &damaged), (2, &weights)]);
            matches!(Circuit::from_bytes(&bytes), Err(FormatError::TooManyProducts))
        })
        .collect();
    assert!(refused.contains(&true));
    let too_many = ContainerWriter::new(Cursor::new(vec![]), Kind::EvaluationKeys, None, MAX_SECTIONS + 1);
    assert!(matches!(too_many, Err(ContainerError::Sections { .. })));
}

#[test]
fn key_files_are_read_section_by_section() {
    let digest = sample().digest();
    let keys: Vec<Vec<u8>> = (0..5u8).map(|k| vec![k; 1000 * usize::from(k)]).collect();
    let parts: Vec<(u32, &[u8])> = keys.iter().enumerate().map(|(k, b)| (k as u32, &b[..])).collect();
    let mut bytes = file(Kind::EvaluationKeys, Some(digest), &parts);
    let mut reader = ContainerReader::open(Cursor::new(&bytes), Kind::EvaluationKeys).unwrap();
    reader.header().belongs_to(&digest).unwrap();
    assert!(reader.header().belongs_to(&Digest([1; 32])).is_err());
    for (k, key) in keys.iter().enumerate().rev() {
        assert_eq!(reader.read_section(k, 4000).unwrap(), *key);
    }
    assert!(matches!(reader.read_section(4, 3999), Err(ContainerError::SectionSize { .. })));
    assert!(matches!(reader.read_section(5, 4000), Err(ContainerError::MissingSection { .. })));
    // Damage in one section leaves the others readable.
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let mut reader = ContainerReader::open(Cursor::new(&bytes), Kind::EvaluationKeys).unwrap();
    assert_eq!(reader.read_section(3, 4000).unwrap(), keys[3]);
    assert!(matches!(reader.read_section(4, 4000), Err(ContainerError::Checksum { tag: 4 })));
}

#[test]
fn writers_keep_their_word() {
    let writer = ContainerWriter::new(Cursor::new(vec![]), Kind::SecretKey, None, 1).unwrap();
    assert!(matches!(writer.finish(), Err(ContainerError::Announced { announced: 1, written: 0 })));
    let mut writer = ContainerWriter::new(Cursor::new(vec![]), Kind::SecretKey, None, 0).unwrap();
    assert!(writer.write_section(0, &[]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_circuits_come_back(choices in prop::collection::vec(any::<(u8, u16)>(), 0..60)) {
        let circuit = from_choices(&choices);
        prop_assert_eq!(Circuit::from_bytes(&circuit.to_bytes()).unwrap(), circuit);
    }

    #[test]
    fn random_descriptions_do_not_panic(description in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = file(Kind::Circuit, None, &[(1, &description), (2, &[])]);
        let _ = Circuit::from_bytes(&bytes).map(|c| verify(c).is_ok());
        let bytes = file(Kind::Manifest, Some(Digest([1; 32])), &[(1, &description)]);
        let _ = Manifest::from_bytes(&bytes);
    }
}
