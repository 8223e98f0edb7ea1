//! Keys that stay in their file: the same bytes as with keys in memory, and errors where the file changes meanwhile.

use crate::bootstrapped::{SMALL, bootstrapped};
use crate::{FORMS, circuit, policy, values};
use cipherloom_ckks::{Ciphertext, Context};
use cipherloom_client::Client;
use cipherloom_ir::container::{ContainerReader, ContainerWriter, Kind};
use cipherloom_ir::{Circuit, Digest, Manifest, Verified};
use cipherloom_ring::Path;
use cipherloom_runtime::files::{FileError, read_keys};
use cipherloom_runtime::{
    Evaluator, KeySet, MemoryDemand, Options, RuntimeError, Silent, expanded_key_bytes,
};
use std::fs::File;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::sync::Arc;

/// A circuit, an encrypted input, and the keys as bytes of a file.
struct Case {
    circuit: Verified,
    digest: Digest,
    context: Arc<Context>,
    inputs: Vec<Vec<Ciphertext>>,
    keys: Vec<u8>,
}

type Answer = Vec<Vec<Ciphertext>>;

impl Case {
    fn new(circuit: Circuit) -> Case {
        let circuit = Verified::new(circuit, &policy()).unwrap();
        let client = Client::new(Manifest::of(&circuit).unwrap(), &policy(), Path::best()).unwrap();
        let secret = client.generate_secret().unwrap();
        let mut keys = Cursor::new(Vec::new());
        client.write_evaluation_keys(&secret, &mut keys, |_| {}).unwrap();
        let sent = client.encrypt(&secret, &[values(&circuit)]).unwrap();
        let context = Evaluator::context(&circuit, &Options::default()).unwrap();
        let inputs = vec![sent.ciphertexts.into_iter().map(|c| c.expand(&context).unwrap()).collect()];
        Case { digest: circuit.digest(), circuit, context, inputs, keys: keys.into_inner() }
    }

    fn expected(&self) -> Answer {
        let keys = read_keys(Cursor::new(&self.keys), &self.circuit, &self.digest, &self.context).unwrap();
        let (circuit, context) = (self.circuit.clone(), self.context.clone());
        let mut evaluator = Evaluator::new(circuit, context, keys, Options::default()).unwrap();
        evaluator.run(&self.inputs, &Silent).unwrap()
    }

    fn paged(&self, file: File, limit_bytes: u64) -> Result<Evaluator, FileError> {
        let keys = KeySet::paged(file, &self.circuit, &self.digest, &self.context, limit_bytes)?;
        let (circuit, context) = (self.circuit.clone(), self.context.clone());
        Ok(Evaluator::with_keys(circuit, context, keys, Options::default()))
    }

    fn file(&self) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.keys).unwrap();
        file
    }

    fn largest_key(&self) -> u64 {
        let one = |k: usize| {
            let mut alone = self.circuit.clone().into_inner();
            alone.keys = vec![alone.keys[k]];
            expanded_key_bytes(&alone)
        };
        (0..self.circuit.keys.len()).map(one).max().unwrap()
    }
}

#[test]
fn paged_keys_give_the_bytes_of_keys_in_memory() {
    for made in FORMS.map(circuit).into_iter().chain([bootstrapped(SMALL)]) {
        let case = Case::new(made);
        let (expected, all) = (case.expected(), expanded_key_bytes(&case.circuit));
        let keys = case.circuit.keys.len() as u64;
        let mut reads = vec![];
        for limit in [all, all / 3, case.largest_key()] {
            for threads in [1, 3] {
                let mut evaluator = case.paged(case.file(), limit).unwrap();
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let answer = pool.install(|| evaluator.run(&case.inputs, &Silent)).unwrap();
                assert!(answer == expected, "{limit} of {all} bytes, {threads} threads");
                let paging = evaluator.keys().paging().unwrap();
                assert_eq!((paging.limit_bytes, paging.unforeseen), (limit, 0));
                reads.push(paging.reads);
            }
        }
        println!("{keys} keys, {all} bytes: {reads:?} reads");
        assert_eq!(reads[..2], [keys; 2], "with room for all, each is read once");
        assert!(reads[2] >= keys && reads[4] > keys && reads[4] >= reads[2], "{reads:?}");
        assert!(reads[2] == reads[3] && reads[4] == reads[5], "threads do not change what is read");
    }
}

#[test]
fn a_second_evaluation_finds_a_part_of_its_keys() {
    let case = Case::new(bootstrapped(SMALL));
    let (expected, all) = (case.expected(), expanded_key_bytes(&case.circuit));
    let mut evaluator = case.paged(case.file(), all / 2).unwrap();
    let mut reads = 0;
    for _ in 0..3 {
        assert!(evaluator.run(&case.inputs, &Silent).unwrap() == expected);
        let paging = evaluator.keys().paging().unwrap();
        assert_eq!(paging.unforeseen, 0);
        assert!(paging.reads - reads < 3 * case.circuit.keys.len() as u64);
        reads = paging.reads;
    }
}

#[test]
fn a_file_that_changes_is_an_error() {
    let case = Case::new(bootstrapped(SMALL));
    let third = expanded_key_bytes(&case.circuit) / 3;
    let failure = |change: &dyn Fn(&mut File)| {
        let file = case.file();
        let mut same = file.try_clone().unwrap();
        let mut evaluator = case.paged(file, third).unwrap();
        change(&mut same);
        match evaluator.run(&case.inputs, &Silent).unwrap_err() {
            RuntimeError::KeyPage { index, what, .. } => {
                assert!(index < case.circuit.keys.len());
                what
            }
            other => panic!("{other}"),
        }
    };
    let cut = failure(&|file| file.set_len(case.keys.len() as u64 / 2).unwrap());
    assert!(cut.contains("cut short"), "{cut}");
    // A bit of the last key, and all keys of another client.
    let flipped = failure(&|file| {
        file.seek(SeekFrom::End(-1)).unwrap();
        file.write_all(&[case.keys[case.keys.len() - 1] ^ 1]).unwrap();
    });
    assert!(flipped.contains("written over"), "{flipped}");
    let other = Case::new(bootstrapped(SMALL));
    let replaced = failure(&|file| {
        file.rewind().unwrap();
        file.write_all(&other.keys).unwrap();
    });
    assert!(replaced.contains("written over"), "{replaced}");
}

#[test]
fn a_file_replaced_under_its_name_changes_nothing() {
    let case = Case::new(circuit(FORMS[1]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eval.keys");
    std::fs::write(&path, &case.keys).unwrap();
    let mut evaluator = case.paged(File::open(&path).unwrap(), case.largest_key()).unwrap();
    std::fs::write(folder.path().join("new"), b"something else").unwrap();
    std::fs::rename(folder.path().join("new"), &path).unwrap();
    assert!(evaluator.run(&case.inputs, &Silent).unwrap() == case.expected());
}

#[test]
fn what_is_wrong_when_the_file_is_opened_is_found_there() {
    let case = Case::new(circuit(FORMS[0]));
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut keys = case.keys.clone();
        change(&mut keys);
        let file = Cursor::new(keys);
        KeySet::paged(file, &case.circuit, &case.digest, &case.context, case.largest_key()).err()
    };
    assert!(refused(&|_| {}).is_none());
    let damaged = |at: usize| move |keys: &mut Vec<u8>| keys[at] ^= 1;
    let last = case.keys.len() - 1;
    for at in [0, 20, 60, last / 2, last] {
        assert!(matches!(refused(&damaged(at)), Some(FileError::Container(_))), "byte {at}");
    }
    assert!(matches!(refused(&|keys| keys.truncate(last)), Some(FileError::Container(_))));
    // Sound keys in another order.
    let mut from = ContainerReader::open(Cursor::new(&case.keys), Kind::EvaluationKeys).unwrap();
    let mut count = case.circuit.keys.len();
    let mut file =
        ContainerWriter::new(Cursor::new(vec![]), Kind::EvaluationKeys, Some(case.digest), count as u32)
            .unwrap();
    while count > 0 {
        count -= 1;
        let key = from.read_section(count, u64::MAX).unwrap();
        file.write_section((case.circuit.keys.len() - 1 - count) as u32, &key).unwrap();
    }
    let turned = file.finish().unwrap().into_inner();
    let found = refused(&|keys| keys.clone_from(&turned));
    assert!(matches!(found, Some(FileError::Shape { index: 0, .. })), "{found:?}");
}

/// Sums of what a circuit's file says end at the largest number.
#[test]
fn a_forecast_may_be_any_number() {
    let mut made = circuit(FORMS[0]);
    made.forecast.memory_bytes = u64::MAX;
    let demand = MemoryDemand::of(&Verified::new(made, &policy()).unwrap(), 1 << 30);
    assert_eq!((demand.whole(), demand.least()), (u64::MAX, u64::MAX));
    assert!(demand.key_limit(u64::MAX - 1).is_none());
}
