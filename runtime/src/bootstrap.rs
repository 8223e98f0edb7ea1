//! Bootstrapping: from a value at a low level to the same value at a high one, after the plan of `ir/src/scheme/bootstrap.rs`.
//!
//! Public steps, each of which can be run and looked at alone: [`Bootstrapper::slots_to_coefficients`],
//! [`Bootstrapper::raise`], [`Bootstrapper::trace`] where slots are sparse, [`Bootstrapper::coefficients_to_slots`],
//! [`Bootstrapper::reduce`] for each of two real halves (of sparse slots for both in one), and
//! [`Bootstrapper::join`], which ends at the canonical scale of the plan's output. Nothing is chosen here. Relies on the
//! engine for every operation, and on keys that hold the plan's. Promises: the same bits for any number of threads and any path, since
//! every operation does.

mod iterated;

use crate::error::RuntimeError;
use crate::keys::KeySet;
use cipherloom_ckks::{
    Accumulation, Ciphertext, CkksError, CompactPlaintext, Complex, Context, EvaluationKey, Hoisting, Limbs,
    LinearSweep, RotationStep, SweepPlaintext, SweepProduct, Term, Unit,
};
use cipherloom_ir::scheme::{
    BootstrapPlan, Factor, FactorProduct, Gadget, KeyKind, Level, ReductionStep, Transform, TransformFactor,
};
use std::ops::Deref;
use std::sync::Arc;

/// A plan with its diagonals encoded, one word per coefficient.
pub struct Bootstrapper {
    plan: BootstrapPlan,
    context: Arc<Context>,
    to_coefficients: Vec<Encoded>,
    to_slots: Vec<Encoded>,
    /// Of sparse slots.
    join: Option<Encoded>,
}

/// The diagonals of one factor, in the order of its products.
type Encoded = Vec<Arc<CompactPlaintext>>;

/// The keys of one plan alone, without a circuit.
pub struct BootstrapKeys(KeySet);

impl Deref for BootstrapKeys {
    type Target = KeySet;
    fn deref(&self) -> &KeySet {
        &self.0
    }
}

impl BootstrapKeys {
    /// Takes keys in the order of the plan's list.
    ///
    /// # Errors
    /// [`RuntimeError::KeyCount`], [`RuntimeError::WrongKey`].
    pub fn new(
        context: &Context,
        plan: &BootstrapPlan,
        keys: Vec<EvaluationKey>,
    ) -> Result<BootstrapKeys, RuntimeError> {
        KeySet::new(context, &plan.keys, keys).map(BootstrapKeys)
    }
}

impl Bootstrapper {
    /// Encodes the transforms of `plan`.
    ///
    /// # Errors
    /// [`RuntimeError::Parameters`] where `context` does not have the plan's primes.
    pub fn new(plan: BootstrapPlan, context: Arc<Context>) -> Result<Bootstrapper, RuntimeError> {
        let encode = |transform: &Transform| {
            let factors = transform.factors.iter().map(|factor| encode_factor(&context, factor));
            factors.collect::<Result<Vec<_>, _>>()
        };
        let to_coefficients = encode(&plan.to_coefficients).map_err(RuntimeError::Parameters)?;
        let to_slots = encode(&plan.to_slots).map_err(RuntimeError::Parameters)?;
        let join = plan.sparse.as_ref().map(|sparse| encode_factor(&context, &sparse.join));
        let join = join.transpose().map_err(RuntimeError::Parameters)?;
        Ok(Bootstrapper { plan, context, to_coefficients, to_slots, join })
    }

    /// What is carried out.
    pub fn plan(&self) -> &BootstrapPlan {
        &self.plan
    }

    /// Bytes of the encoded transforms.
    pub fn plaintext_bytes(&self) -> usize {
        let encoded = self.to_coefficients.iter().chain(&self.to_slots).chain(&self.join).flatten();
        encoded.map(|plaintext| size_of_val(plaintext.coefficients())).sum()
    }

    /// The value of `a`, at the plan's input level and its canonical scale, at the output's.
    ///
    /// Where the plan's slots are sparse, those of `a` must repeat with their number as period. Nothing can check it:
    /// the result repeats in any case, and of other values it has nothing to do with the slots.
    ///
    /// # Errors
    /// [`CkksError::TooFewLimbs`] for a value below the input level, and those of the engine's operations.
    pub fn run(&self, a: &Ciphertext, keys: &KeySet) -> Result<Ciphertext, CkksError> {
        let halves = self.halves(a, keys)?;
        let sums = halves.iter().map(|half| self.reduce(half, keys)).collect::<Result<Vec<_>, _>>()?;
        self.join(&sums, keys)
    }

    /// As [`Bootstrapper::run`] for a value whose slots are real, all of them, with one reduction instead of two: the
    /// other half of the raised coefficients has multiples of `q_0` only. The result is real.
    ///
    /// # Errors
    /// As [`Bootstrapper::run`], and [`CkksError::Empty`] for a plan of sparse slots, which has one reduction anyway.
    pub fn run_real(&self, a: &Ciphertext, keys: &KeySet) -> Result<Ciphertext, CkksError> {
        let [half, _] = &self.halves(a, keys)?[..] else { return Err(CkksError::Empty) };
        self.real(&self.reduce(half, keys)?, keys)
    }

    /// As [`Bootstrapper::run`] for two values whose slots are real, in one: `a + i b` goes through the steps, and what the
    /// two reductions leave are a and b. The results are real.
    ///
    /// # Errors
    /// As [`Bootstrapper::run`], and [`CkksError::Empty`] for a plan of sparse slots.
    pub fn run_pair(&self, [a, b]: [&Ciphertext; 2], keys: &KeySet) -> Result<[Ciphertext; 2], CkksError> {
        let [a, b] = [self.at_input(a)?, self.at_input(b)?];
        let both = self.context.add(&a, &self.context.mul_imaginary(&b)?)?;
        let [a, b] = &self.halves(&both, keys)?[..] else { return Err(CkksError::Empty) };
        let [a, b] = [a, b].map(|half| self.real(&self.reduce(half, keys)?, keys));
        Ok([a?, b?])
    }

    /// The steps before the reduction.
    fn halves(&self, a: &Ciphertext, keys: &KeySet) -> Result<Vec<Ciphertext>, CkksError> {
        let coefficients = self.slots_to_coefficients(a, keys)?;
        let raised = self.raise(&coefficients, keys)?;
        self.coefficients_to_slots(&self.trace(raised, keys)?, keys)
    }

    fn at_input(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.context.drop_to(a, limbs(self.plan.input))
    }

    /// Step 1: a value at level 0 whose coefficients are the slots, at `q_0 / 2^ratio_bits`.
    ///
    /// # Errors
    /// As [`Bootstrapper::run`].
    pub fn slots_to_coefficients(&self, a: &Ciphertext, keys: &KeySet) -> Result<Ciphertext, CkksError> {
        self.transform(self.at_input(a)?, &self.plan.to_coefficients, &self.to_coefficients, keys)
    }

    /// Step 2: over all primes, with a multiple of `q_0` in every coefficient that the ephemeral secret keeps small.
    ///
    /// # Errors
    /// As [`Bootstrapper::run`].
    pub fn raise(&self, a: &Ciphertext, keys: &KeySet) -> Result<Ciphertext, CkksError> {
        let plan = &self.plan;
        let key = keys.planned(KeyKind::Encapsulation, plan.encapsulation_gadget())?;
        let sparse = self.context.encapsulate(a, &*key.take()?)?;
        let raised = self.context.raise(&sparse, limbs(plan.parameters.top()))?;
        let key = keys.planned(KeyKind::Decapsulation, plan.gadget)?;
        self.context.decapsulate(&raised, &*key.take()?)
    }

    /// Between: of sparse slots, the trace onto their subring, N/2n times what they are. Others stay what they are.
    ///
    /// # Errors
    /// As [`Bootstrapper::run`].
    pub fn trace(&self, mut a: Ciphertext, keys: &KeySet) -> Result<Ciphertext, CkksError> {
        for step in self.plan.sparse.iter().flat_map(|sparse| &sparse.trace) {
            let key = keys.planned(KeyKind::Rotation(*step), self.plan.gadget)?;
            let rotated = self.context.rotate(&a, &*key.take()?)?;
            a = self.context.add(&a, &rotated)?;
        }
        Ok(a)
    }

    /// Step 3: the coefficients as real slots, first and second half apart, or of sparse slots side by side in one.
    ///
    /// # Errors
    /// As [`Bootstrapper::run`].
    pub fn coefficients_to_slots(&self, a: &Ciphertext, keys: &KeySet) -> Result<Vec<Ciphertext>, CkksError> {
        let both = self.transform(a.clone(), &self.plan.to_slots, &self.to_slots, keys)?;
        let key = keys.planned(KeyKind::Conjugation, self.plan.gadget)?;
        let conjugate = self.context.conjugate(&both, &*key.take()?)?;
        let real = self.context.add(&both, &conjugate)?;
        if self.plan.sparse.is_some() {
            return Ok(vec![real]);
        }
        let imaginary = self.context.mul_imaginary(&self.context.sub(&conjugate, &both)?)?;
        Ok(vec![real, imaginary])
    }

    /// Step 4: the reduction's last sum, relinearized but not rescaled.
    ///
    /// # Errors
    /// As [`Bootstrapper::run`].
    pub fn reduce(&self, y: &Ciphertext, keys: &KeySet) -> Result<Ciphertext, CkksError> {
        let key = keys.planned(KeyKind::Relinearization, self.plan.gadget)?.take()?;
        let reduction = &self.plan.reduction;
        let mut values: Vec<Ciphertext> = vec![y.clone()];
        for step in &reduction.steps {
            let sum = self.sum(step, &values)?;
            let mut value = match step.product {
                Some(_) => self.context.relinearize_rescale(&sum, &key)?,
                None => self.context.rescale(&sum)?,
            };
            if step.constant != 0 {
                value = self.context.add_scalar(&value, step.constant)?;
            }
            if let Some(addend) = step.addend {
                value = self.context.add(&value, &values[addend as usize])?;
            }
            values.push(value);
        }
        self.context.relinearize(&self.sum(&reduction.last, &values)?, &key)
    }

    /// Step 5: real and imaginary parts as one complex value, at the canonical scale of the output's level.
    ///
    /// # Errors
    /// As [`Bootstrapper::run`], and [`CkksError::Empty`] for more or fewer sums than the plan has.
    pub fn join(&self, sums: &[Ciphertext], keys: &KeySet) -> Result<Ciphertext, CkksError> {
        let (context, plan) = (&self.context, &self.plan);
        match (sums, &plan.sparse, &self.join) {
            ([real, imaginary], None, _) => {
                let turned = context.mul_imaginary(real)?;
                let difference = context.sub(&turned, imaginary)?;
                let sum = context.add(&turned, imaginary)?;
                let key = keys.planned(KeyKind::Conjugation, plan.gadget)?;
                let conjugate = context.conjugate(&sum, &*key.take()?)?;
                context.rescale(&context.add(&difference, &conjugate)?)
            }
            ([both], Some(sparse), Some(join)) => {
                self.factor(&self.real(both, keys)?, (&sparse.join, join), plan.gadget, keys)
            }
            _ => Err(CkksError::Empty),
        }
    }

    /// What one reduction's last sum leaves: real slots, rescaled.
    fn real(&self, sum: &Ciphertext, keys: &KeySet) -> Result<Ciphertext, CkksError> {
        let turned = self.context.mul_imaginary(sum)?;
        let key = keys.planned(KeyKind::Conjugation, self.plan.gadget)?;
        let conjugate = self.context.conjugate(&turned, &*key.take()?)?;
        self.context.rescale(&self.context.add(&turned, &conjugate)?)
    }

    fn sum(&self, step: &ReductionStep, values: &[Ciphertext]) -> Result<Ciphertext, CkksError> {
        let product = step.product.map(|p| (&values[p.left as usize], &values[p.right as usize], p.copies));
        let terms = step.terms.iter().map(|term| {
            let (factor, unit) = match term.factor {
                Factor::Real(factor) => (factor, Unit::One),
                Factor::Imaginary(factor) => (factor, Unit::Imaginary),
            };
            Term { value: &values[term.value as usize], factor, unit }
        });
        self.context.accumulate(&Accumulation { limbs: limbs(step.level), product, terms: terms.collect() })
    }

    /// One factor after the other.
    fn transform(
        &self,
        mut value: Ciphertext,
        transform: &Transform,
        encoded: &[Encoded],
        keys: &KeySet,
    ) -> Result<Ciphertext, CkksError> {
        for factor in transform.factors.iter().zip(encoded) {
            value = self.factor(&value, factor, transform.gadget, keys)?;
        }
        Ok(value)
    }

    fn factor(
        &self,
        value: &Ciphertext,
        (factor, encoded): (&TransformFactor, &Encoded),
        gadget: Gadget,
        keys: &KeySet,
    ) -> Result<Ciphertext, CkksError> {
        let steps = |steps: &[u32]| {
            let with_key = |step: &u32| match step {
                0 => Ok((RotationStep(0), None)),
                step => {
                    let key = keys.planned(KeyKind::Rotation(*step), gadget)?;
                    Ok((RotationStep(*step), Some(key)))
                }
            };
            steps.iter().map(with_key).collect::<Result<Vec<_>, CkksError>>()
        };
        let carries: Vec<u32> = (0..factor.giants.len()).map(|giant| factor.carry(giant)).collect();
        let product = |p: &FactorProduct| SweepProduct {
            output: 0,
            giant: p.giant as usize,
            input: 0,
            baby: p.baby as usize,
        };
        let sweep = LinearSweep {
            inputs: vec![value],
            babies: steps(&factor.babies)?,
            giants: steps(&carries)?,
            onto: factor.onto.iter().map(|onto| onto.map(|giant| giant as usize)).collect(),
            products: factor.products.iter().map(product).collect(),
            outputs: 1,
            hoisting: Hoisting::Double,
            rescale: true,
            plaintext: &|product| Ok(SweepPlaintext::Compact(encoded[product].clone())),
        };
        self.context.linear(&sweep)?.pop().ok_or(CkksError::Empty)
    }
}

/// The diagonals of a factor at the scale of the prime that its rescale removes.
fn encode_factor(context: &Context, factor: &TransformFactor) -> Result<Encoded, CkksError> {
    let have = context.chain().len();
    let limb = context.chain().get(factor.level.0 as usize);
    let limb = limb.ok_or(CkksError::TooManyLimbs { have: factor.level.limbs(), max: have })?;
    let scale = limb.modulus().value() as f64;
    let complex = |[re, im]: &[f64; 2]| Complex { re: *re, im: *im };
    let diagonals = factor.diagonals();
    let encoded = diagonals.iter().map(|diagonal| {
        let slots: Vec<Complex> = diagonal.iter().map(complex).collect();
        context.encoder().compact_complex(&slots, scale).map(Arc::new)
    });
    encoded.collect()
}

fn limbs(level: Level) -> Limbs {
    Limbs(level.limbs())
}
