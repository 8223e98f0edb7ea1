//! Linear sweeps against their definition on slots, and against their expansion into simple operations.

use std::sync::{Arc, Mutex};

use cipherloom_ckks::{
    Ciphertext, CkksError, Complex, EvaluationKey, Gadget, Hoisting, KeyHandle, KeyShape, KeyStore, Limbs,
    LinearSweep, Plaintext, RotationStep, SweepPlaintext, SweepProduct,
};

use crate::harness::{SCALE, World, add, mul, rotated, scaled};

const GADGET: Gadget = Gadget { digit_limbs: 2, special_limbs: 2 };

/// Two inputs, baby steps 0, 1 and 3, giant steps 0, 4 and 8, two outputs; not every product is there.
struct Case {
    world: World,
    limbs: Limbs,
    values: Vec<Vec<Complex>>,
    inputs: Vec<Ciphertext>,
    diagonals: Vec<Vec<Complex>>,
    products: Vec<SweepProduct>,
    babies: Vec<(RotationStep, Option<EvaluationKey>)>,
    giants: Vec<(RotationStep, Option<EvaluationKey>)>,
}

const BABIES: [usize; 3] = [0, 1, 3];
const GIANTS: [usize; 3] = [0, 4, 8];

impl Case {
    fn new(log_n: u32, limbs: usize, giant_gadget: Gadget) -> Case {
        let world = World::new(log_n, 4, 2);
        let limbs = Limbs(limbs);
        let values = vec![world.values(1), world.values(2)];
        let inputs = values.iter().map(|values| world.encrypt(values, limbs)).collect();
        let mut products = Vec::new();
        for output in 0..2 {
            for giant in 0..3 {
                for input in 0..2 {
                    for baby in (0..3).filter(|baby| output == 0 || giant != 0 || *baby != 1) {
                        products.push(SweepProduct { output, giant, input, baby });
                    }
                }
            }
        }
        let diagonals = (0..products.len()).map(|k| world.values(100 + k as u64)).collect();
        let keys = |steps: [usize; 3], gadget| {
            let key = |step| (step != 0).then(|| world.rotation_key(step as u32, Limbs(4), gadget));
            steps.iter().map(|&step| (RotationStep(step as u32), key(step))).collect()
        };
        let (babies, giants) = (keys(BABIES, GADGET), keys(GIANTS, giant_gadget));
        Case { limbs, values, inputs, diagonals, products, babies, giants, world }
    }

    fn expected(&self) -> Vec<Vec<Complex>> {
        let mut outputs = vec![vec![Complex::default(); self.world.context.slots()]; 2];
        for (product, diagonal) in self.products.iter().zip(&self.diagonals) {
            let value = rotated(&self.values[product.input], BABIES[product.baby]);
            let moved = rotated(&mul(&value, diagonal), GIANTS[product.giant]);
            outputs[product.output] = add(&outputs[product.output], &moved);
        }
        outputs
    }

    fn run(&self, hoisting: Hoisting, rescale: bool) -> Result<Vec<Ciphertext>, CkksError> {
        let special = if hoisting == Hoisting::Double { GADGET.special_limbs } else { 0 };
        let encoder = self.world.context.encoder();
        let plaintext = |k: usize| -> Result<SweepPlaintext, CkksError> {
            Ok(Arc::new(encoder.encode_complex(&self.diagonals[k], SCALE, self.limbs, special)?).into())
        };
        self.with_sweep(hoisting, rescale, &plaintext, |sweep| self.world.context.linear(&sweep))
    }

    fn with_sweep<'s, R>(
        &'s self,
        hoisting: Hoisting,
        rescale: bool,
        plaintext: &'s cipherloom_ckks::SweepPlaintexts<'s>,
        then: impl FnOnce(LinearSweep<'s>) -> R,
    ) -> R {
        then(LinearSweep {
            inputs: self.inputs.iter().collect(),
            babies: self.babies.iter().map(|(step, key)| (*step, key.as_ref().map(Into::into))).collect(),
            giants: self.giants.iter().map(|(step, key)| (*step, key.as_ref().map(Into::into))).collect(),
            onto: vec![],
            products: self.products.clone(),
            outputs: 2,
            hoisting,
            rescale,
            plaintext,
        })
    }

    /// The same by rotate, mul_plain, add and rescale.
    fn expansion(&self) -> Vec<Ciphertext> {
        let context = &self.world.context;
        let turn = |a: &Ciphertext, key: &Option<EvaluationKey>| match key {
            None => a.clone(),
            Some(key) => context.rotate(a, key).unwrap(),
        };
        let mut outputs: Vec<Option<Ciphertext>> = vec![None, None];
        for (product, diagonal) in self.products.iter().zip(&self.diagonals) {
            let plain = context.encoder().encode_complex(diagonal, SCALE, self.limbs, 0).unwrap();
            let value = turn(&self.inputs[product.input], &self.babies[product.baby].1);
            let value = turn(&context.mul_plain(&value, &plain).unwrap(), &self.giants[product.giant].1);
            let sum = &mut outputs[product.output];
            *sum = Some(match sum.take() {
                None => value,
                Some(sum) => context.add(&sum, &value).unwrap(),
            });
        }
        outputs.into_iter().map(|output| context.rescale(&output.unwrap()).unwrap()).collect()
    }
}

#[test]
fn sweeps_follow_the_slots() {
    for (log_n, limbs) in [(5, 4), (8, 3), (9, 2), (12, 4)] {
        let case = Case::new(log_n, limbs, GADGET);
        let expected = case.expected();
        let scale = SCALE * SCALE;
        for hoisting in [Hoisting::Single, Hoisting::Double] {
            let outputs = case.run(hoisting, false).unwrap();
            let rescaled = case.run(hoisting, true).unwrap();
            for ((output, rescaled), expected) in outputs.iter().zip(&rescaled).zip(&expected) {
                assert_eq!((output.limbs(), rescaled.limbs()), (case.limbs, Limbs(limbs - 1)));
                case.world.assert_slots(output, scale, expected);
                case.world.assert_slots(rescaled, scale / case.world.prime(limbs - 1), expected);
            }
        }
    }
}

#[test]
fn a_sweep_equals_its_expansion() {
    let case = Case::new(7, 3, Gadget { digit_limbs: 1, special_limbs: 2 });
    let scale = SCALE * SCALE / case.world.prime(2);
    let zero = vec![Complex::default(); case.world.context.slots()];
    let expansion = case.expansion();
    for hoisting in [Hoisting::Single, Hoisting::Double] {
        for (output, expanded) in case.run(hoisting, true).unwrap().iter().zip(&expansion) {
            let difference = case.world.context.sub(output, expanded).unwrap();
            case.world.assert_slots(&difference, scale, &zero);
        }
    }
}

/// Two giant steps of 4, one after the other, in place of one of 8: Horner's rule.
#[test]
fn carried_sums_are_rotated_by_all_steps_on_their_way() {
    let carry = |sweep: &mut LinearSweep<'_>| {
        sweep.giants[2] = sweep.giants[1];
        sweep.onto = vec![None, None, Some(1)];
    };
    for (log_n, limbs) in [(5, 4), (8, 3), (13, 3)] {
        let case = Case::new(log_n, limbs, GADGET);
        let (context, expected) = (&case.world.context, case.expected());
        let zero = vec![Complex::default(); context.slots()];
        for hoisting in [Hoisting::Single, Hoisting::Double] {
            let special = if hoisting == Hoisting::Double { GADGET.special_limbs } else { 0 };
            let plaintext = |k: usize| -> Result<SweepPlaintext, CkksError> {
                let encoder = context.encoder();
                Ok(Arc::new(encoder.encode_complex(&case.diagonals[k], SCALE, case.limbs, special)?).into())
            };
            let keys = case.giants[1..2].iter().filter_map(|step| step.1.as_ref()).collect();
            let store = Copies { keys, out: Mutex::new(Vec::new()) };
            let run_with = |stored: bool, change: &dyn Fn(&mut LinearSweep<'_>)| {
                case.with_sweep(hoisting, false, &plaintext, |mut sweep| {
                    change(&mut sweep);
                    if stored {
                        let key = Some(KeyHandle::Stored(&store, 0));
                        sweep.giants[1..].iter_mut().for_each(|step| step.1 = key);
                    }
                    context.linear(&sweep).unwrap()
                })
            };
            let run = |change: &dyn Fn(&mut LinearSweep<'_>)| run_with(false, change);
            let carried = run(&carry);
            // Three in a row, the last of which stands still.
            let row = run(&|sweep| {
                sweep.giants = vec![sweep.giants[1], sweep.giants[1], sweep.giants[0]];
                sweep.onto = vec![Some(1), Some(2), None];
                sweep.products.iter_mut().for_each(|product| product.giant = 2 - product.giant);
            });
            for (output, expected) in carried.iter().zip(&expected).chain(row.iter().zip(&expected)) {
                case.world.assert_slots(output, SCALE * SCALE, expected);
            }
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            assert_eq!(pool.install(|| run(&carry)), carried);
            assert_eq!(run_with(true, &carry), carried);
            // A step on the way that has no products of its own.
            let none = |sweep: &mut LinearSweep<'_>| sweep.products.retain(|product| product.giant != 1);
            let same = run(&none);
            let through = run(&|sweep| {
                none(sweep);
                carry(sweep);
            });
            for (a, b) in same.iter().zip(&through) {
                case.world.assert_slots(&context.sub(a, b).unwrap(), SCALE * SCALE, &zero);
            }
        }
    }
}

/// A division rounds uniform coefficients without bias; those of an exact zero must stay zero.
#[test]
fn zero_diagonals_give_zeros() {
    let mut case = Case::new(6, 4, GADGET);
    case.diagonals.iter_mut().for_each(|diagonal| diagonal.fill(Complex::default()));
    for (hoisting, rescale) in
        [Hoisting::Single, Hoisting::Double].into_iter().flat_map(|h| [(h, false), (h, true)])
    {
        for output in case.run(hoisting, rescale).unwrap() {
            let words = output.parts().iter().flat_map(|part| part.as_slice());
            assert!(words.copied().all(|word| word == 0), "{hoisting:?}, rescale {rescale}");
        }
    }
}

#[test]
fn sums_of_thousands_of_products_are_exact() {
    let world = World::new(12, 3, 2);
    let (context, limbs) = (&world.context, Limbs(3));
    let (a, weights) = (world.values(1), world.values(2));
    let x = world.encrypt(&a, limbs);
    let key = world.rotation_key(1, limbs, GADGET);
    let plain = Arc::new(context.encoder().encode_complex(&weights, SCALE, limbs, 2).unwrap());
    let plaintext = |_: usize| Ok(plain.clone().into());
    let still = SweepProduct { output: 0, giant: 0, input: 0, baby: 0 };
    let moved = SweepProduct { output: 1, giant: 1, input: 0, baby: 1 };
    let mut products = vec![SweepProduct { output: 1, ..still }; 10];
    products.extend(vec![still; 2000]);
    products.extend(vec![moved; 2000]);
    let sweep = LinearSweep {
        inputs: vec![&x],
        babies: vec![(RotationStep(0), None), (RotationStep(1), Some((&key).into()))],
        giants: vec![(RotationStep(0), None), (RotationStep(1), Some((&key).into()))],
        onto: vec![],
        products,
        outputs: 2,
        hoisting: Hoisting::Double,
        rescale: true,
        plaintext: &plaintext,
    };
    let outputs = context.linear(&sweep).unwrap();
    let moved = rotated(&mul(&rotated(&a, 1), &weights), 1);
    let expected =
        [scaled(&mul(&a, &weights), 2000.0), add(&scaled(&moved, 2000.0), &scaled(&mul(&a, &weights), 10.0))];
    for (output, expected) in outputs.iter().zip(&expected) {
        // Every term brings the same error.
        let error = world.error(output, SCALE * SCALE / world.prime(2), expected);
        assert!(error < 1e-5, "error {error:e}");
    }
}

#[test]
fn compact_plaintexts_give_the_bits_of_encoded_ones() {
    // At 2^12 words a product, 2^22 words are the compact plaintexts of a batch: the groups below need two.
    for (case, repeats) in [(Case::new(8, 3, GADGET), 1), (Case::new(12, 2, GADGET), 40)] {
        let encoder = case.world.context.encoder();
        for hoisting in [Hoisting::Single, Hoisting::Double] {
            let special = if hoisting == Hoisting::Double { GADGET.special_limbs } else { 0 };
            let count = case.products.len();
            // Diagonals of every period, from all slots down to one.
            let period = |k: usize, slots: usize| slots >> (k % (slots.ilog2() as usize + 1));
            let compact: Vec<_> = case
                .diagonals
                .iter()
                .enumerate()
                .map(|(k, diagonal)| &diagonal[..period(k, diagonal.len())])
                .map(|diagonal| Arc::new(encoder.compact_complex(diagonal, SCALE).unwrap()))
                .collect();
            let encoded: Vec<_> =
                compact.iter().map(|c| Arc::new(encoder.expand(c, case.limbs, special).unwrap())).collect();
            let run = |plaintext: &cipherloom_ckks::SweepPlaintexts<'_>| {
                case.with_sweep(hoisting, true, plaintext, |mut sweep| {
                    sweep.products = case.products.repeat(repeats);
                    case.world.context.linear(&sweep).unwrap()
                })
            };
            let expected = run(&|k| Ok(encoded[k % count].clone().into()));
            assert_eq!(run(&|k| Ok(SweepPlaintext::Compact(compact[k % count].clone()))), expected);
            let mixed = |k: usize| {
                let k = k % count;
                let kept = k.is_multiple_of(3);
                Ok(if kept { encoded[k].clone().into() } else { SweepPlaintext::Compact(compact[k].clone()) })
            };
            assert_eq!(run(&mixed), expected);
        }
    }
}

/// Keys that are copied out at each use; remembers the uses, and that each key was given back before the next.
struct Copies<'a> {
    keys: Vec<&'a EvaluationKey>,
    out: Mutex<Vec<(usize, std::sync::Weak<EvaluationKey>)>>,
}

impl KeyStore for Copies<'_> {
    fn shape(&self, index: usize) -> &KeyShape {
        self.keys[index].shape()
    }
    fn take(&self, index: usize) -> Result<Arc<EvaluationKey>, CkksError> {
        let mut out = self.out.lock().unwrap();
        assert!(out.iter().all(|(_, key)| key.upgrade().is_none()), "one key at a time");
        if out.len() == 6 {
            return Err(CkksError::KeyStore { index, what: "gone".into() });
        }
        let key = Arc::new(self.keys[index].clone());
        out.push((index, Arc::downgrade(&key)));
        Ok(key)
    }
}

#[test]
fn keys_of_a_store_give_the_bits_of_keys_in_memory() {
    for case in [Case::new(8, 3, GADGET), Case::new(13, 3, GADGET)] {
        for hoisting in [Hoisting::Single, Hoisting::Double] {
            let special = if hoisting == Hoisting::Double { GADGET.special_limbs } else { 0 };
            let encoder = case.world.context.encoder();
            let plaintext = |k: usize| -> Result<SweepPlaintext, CkksError> {
                Ok(Arc::new(encoder.encode_complex(&case.diagonals[k], SCALE, case.limbs, special)?).into())
            };
            let keys = case.babies.iter().chain(&case.giants).filter_map(|step| step.1.as_ref()).collect();
            let store = Copies { keys, out: Mutex::new(Vec::new()) };
            let run = |change: &dyn Fn(&mut LinearSweep<'_>)| {
                case.with_sweep(hoisting, true, &plaintext, |mut sweep| {
                    for (steps, first) in [(&mut sweep.babies, 0), (&mut sweep.giants, 2)] {
                        let stored = |k: usize| Some(KeyHandle::Stored(&store, first + k));
                        steps.iter_mut().skip(1).enumerate().for_each(|(k, step)| step.1 = stored(k));
                    }
                    change(&mut sweep);
                    case.world.context.linear(&sweep)
                })
            };
            // Babies of each input, then giant steps of each output: two keys each, twice.
            let more = run(&|_| {});
            assert!(matches!(more, Err(CkksError::KeyStore { .. })), "eight uses");
            store.out.lock().unwrap().clear();
            let one = run(&|sweep| (sweep.outputs, sweep.products) = (1, case.products[..18].to_vec()));
            let order: Vec<usize> = store.out.lock().unwrap().iter().map(|(index, _)| *index).collect();
            assert_eq!(order, [0, 1, 0, 1, 2, 3]);
            assert_eq!(one.unwrap()[0], case.run(hoisting, true).unwrap()[0]);
        }
    }
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    // Large enough for every loop to be parallel.
    let case = Case::new(13, 4, GADGET);
    for hoisting in [Hoisting::Single, Hoisting::Double] {
        let results = [1, 2, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| case.run(hoisting, true).unwrap())
        });
        assert!(results.iter().all(|result| *result == results[0]));
    }
}

#[test]
fn malformed_sweeps_are_refused() {
    let case = Case::new(5, 3, GADGET);
    let context = &case.world.context;
    let plain = |special| {
        let encoder = context.encoder();
        Arc::new(encoder.encode_complex(&case.diagonals[0], SCALE, case.limbs, special).unwrap())
    };
    let (short, long) = (plain(0), plain(2));
    let refused = |hoisting, plain: &Arc<Plaintext>, change: &dyn Fn(&mut LinearSweep<'_>)| {
        let plaintext = |_: usize| Ok(plain.clone().into());
        case.with_sweep(hoisting, true, &plaintext, |mut sweep| {
            change(&mut sweep);
            context.linear(&sweep).unwrap_err()
        })
    };
    let double = |change: &dyn Fn(&mut LinearSweep<'_>)| refused(Hoisting::Double, &long, change);
    assert!(matches!(refused(Hoisting::Double, &short, &|_| {}), CkksError::PlaintextBasis { .. }));
    assert!(matches!(double(&|sweep| sweep.babies[1].1 = None), CkksError::MissingKey { .. }));
    assert!(matches!(double(&|sweep| sweep.babies[1].0 = RotationStep(2)), CkksError::KeyTarget { .. }));
    assert!(matches!(double(&|sweep| sweep.inputs.clear()), CkksError::Empty));
    assert_eq!(double(&|sweep| sweep.outputs = 3), CkksError::SweepOutput { output: 2 });
    let index = CkksError::SweepIndex { product: 0, what: "baby", index: 9, count: 3 };
    assert_eq!(double(&|sweep| sweep.products[0].baby = 9), index);
    assert!(matches!(double(&|sweep| sweep.outputs = 1), CkksError::SweepIndex { what: "output", .. }));
    assert!(matches!(double(&|sweep| (sweep.outputs, sweep.products) = (0, vec![])), CkksError::Empty));
    for (onto, wrong) in [(vec![None, Some(9)], 9), (vec![Some(1), Some(2), Some(0)], 0), (vec![Some(0)], 0)]
    {
        let refused = double(&|sweep| sweep.onto = onto.clone());
        assert!(
            matches!(refused, CkksError::SweepCarry { onto, count: 3, .. } if onto == wrong),
            "{refused}"
        );
    }
    // One special prime for the giant steps, two for the baby steps.
    let other = Case::new(5, 3, Gadget { digit_limbs: 1, special_limbs: 1 });
    assert!(matches!(other.run(Hoisting::Double, true), Err(CkksError::GadgetMismatch { .. })));
    assert!(other.run(Hoisting::Single, true).is_ok());
}
