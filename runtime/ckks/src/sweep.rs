//! Linear sweeps: many products of rotated inputs with diagonals, summed into many outputs, by baby and giant steps.
//!
//! `out_o = sum over g of rot_g( sum of diagonal_(o,g,i,b) * rot_b(in_i) )`. Every input is decomposed once for all its
//! baby steps. With [`Hoisting::Double`] the babies stay over chain and special primes, so that no baby is divided by
//! `P`; the sums of giant steps are always collected over both, and each output is divided once, together with its
//! rescale. A sum may be carried onto that of another giant step instead of the output, and is then rotated with it: by
//! Horner's rule one key serves all steps of an arithmetic progression. Three files follow the formula: `babies` rotates the
//! inputs, `products` sums over them, `giants` rotates the sums; `run` puts them together. Source: J.-P. Bossuat, C. Mouchet,
//! J. Troncoso-Pastoriza and J.-P. Hubaux, *Efficient bootstrapping for
//! approximate homomorphic encryption with non-sparse keys* (ePrint 2020/1203), section 4; baby steps and giant steps: S.
//! Halevi and V. Shoup (ePrint 2018/244).

mod babies;
mod giants;
mod products;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::rotation::check_gadgets;
use crate::{
    Ciphertext, CkksError, CompactPlaintext, Context, Gadget, GaloisElement, KeyHandle, KeyTarget, Plaintext,
    RotationStep,
};

/// Where baby steps are divided by `P`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hoisting {
    /// Each baby step by itself: products are over the chain primes.
    Single,
    /// Not at all: products are over chain and special primes, and plaintexts carry the special limbs.
    Double,
}

/// One diagonal product of a sweep; each field is an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepProduct {
    /// Where it is added.
    pub output: usize,
    /// The giant step that its sum is rotated by.
    pub giant: usize,
    /// The input.
    pub input: usize,
    /// The baby step that the input is rotated by.
    pub baby: usize,
}

/// A step of a sweep: a rotation and its key, or the identity, which needs none.
/// Babies whose keys are in a store wait in memory, rotated, while the sweep runs; others are made where they are needed.
pub type SweepStep<'a> = (RotationStep, Option<KeyHandle<'a>>);

/// The plaintext of a product, in the form that it is kept in.
pub enum SweepPlaintext {
    /// In evaluation form, over the limbs of the inputs, with [`Hoisting::Double`] and the special primes of the babies' keys.
    Encoded(Arc<Plaintext>),
    /// One word per coefficient: its limbs are made one by one, where they are needed.
    Compact(Arc<CompactPlaintext>),
}

impl From<Arc<Plaintext>> for SweepPlaintext {
    fn from(plaintext: Arc<Plaintext>) -> SweepPlaintext {
        SweepPlaintext::Encoded(plaintext)
    }
}

/// The plaintext of a product, by the index of the product. It is called once per product, from any thread.
pub type SweepPlaintexts<'a> = dyn Fn(usize) -> Result<SweepPlaintext, CkksError> + Sync + 'a;

/// A plan of products, rotations and sums.
pub struct LinearSweep<'a> {
    /// Ciphertexts of degree 1 and of equal limbs.
    pub inputs: Vec<&'a Ciphertext>,
    /// Rotations of the inputs. With [`Hoisting::Double`] their keys share one gadget.
    pub babies: Vec<SweepStep<'a>>,
    /// Rotations of the sums. Their keys share the number of special primes, with [`Hoisting::Double`] that of the babies.
    pub giants: Vec<SweepStep<'a>>,
    /// The giant step that each is carried onto: its rotated sum is added to that one's sum before it is rotated in turn. `None`, and steps
    /// beyond the end, are carried to their output. Sums that others are carried onto wait in memory.
    pub onto: Vec<Option<usize>>,
    /// The products, in any order.
    pub products: Vec<SweepProduct>,
    /// Number of outputs; each has at least one product.
    pub outputs: usize,
    /// Where baby steps are divided by `P`.
    pub hoisting: Hoisting,
    /// Whether outputs are divided by their last chain prime as well.
    pub rescale: bool,
    /// The plaintext of each product.
    pub plaintext: &'a SweepPlaintexts<'a>,
}

/// What was found to fit.
struct Checked {
    limbs: usize,
    /// Special primes that babies and products carry.
    baby_special: usize,
    /// Special primes of the outputs' sums, before their division.
    output_special: usize,
    /// The element of each baby and giant step.
    babies: Vec<GaloisElement>,
    giants: Vec<GaloisElement>,
    /// The length of the longest way of giant steps that leads to each.
    heights: Vec<usize>,
    /// The products of each output and giant step.
    groups: BTreeMap<(usize, usize), Vec<usize>>,
}

impl LinearSweep<'_> {
    fn check(&self, context: &Context) -> Result<Checked, CkksError> {
        let first = self.inputs.first().filter(|_| self.outputs > 0).ok_or(CkksError::Empty)?;
        let limbs = context.check_degree(first, 1)?;
        for input in &self.inputs {
            context.check_degree(input, 1)?;
            context.check_pair(first, input)?;
        }
        let (babies, baby_gadgets) = check_steps(context, &self.babies, limbs)?;
        let (giants, giant_gadgets) = check_steps(context, &self.giants, limbs)?;
        let giant_special = giant_gadgets.first().map_or(0, |gadget| gadget.special_limbs);
        let baby_special = match (self.hoisting, baby_gadgets.first()) {
            (Hoisting::Single, _) => 0,
            (Hoisting::Double, None) => giant_special,
            (Hoisting::Double, Some(&shared)) => {
                baby_gadgets.iter().try_for_each(|&gadget| check_gadgets(shared, gadget))?;
                shared.special_limbs
            }
        };
        let output_special = if baby_special > 0 { baby_special } else { giant_special };
        for gadget in &giant_gadgets {
            let (left, right) = (output_special, gadget.special_limbs);
            if left != right {
                return Err(CkksError::GadgetMismatch { what: "special primes", left, right });
            }
        }
        let (heights, groups) = (self.heights()?, self.groups()?);
        Ok(Checked { limbs, baby_special, output_special, babies, giants, heights, groups })
    }

    /// The giant step that this one is carried onto.
    fn onto(&self, giant: usize) -> Option<usize> {
        self.onto.get(giant).copied().flatten()
    }

    fn heights(&self) -> Result<Vec<usize>, CkksError> {
        let count = self.giants.len();
        let mut heights = vec![0; count];
        for giant in 0..count {
            let (mut at, mut height) = (giant, 0);
            while let Some(next) = self.onto(at) {
                height += 1;
                if next >= count || height >= count {
                    return Err(CkksError::SweepCarry { giant, onto: next, count });
                }
                heights[next] = heights[next].max(height);
                at = next;
            }
        }
        Ok(heights)
    }

    /// The products by output and giant step.
    fn groups(&self) -> Result<BTreeMap<(usize, usize), Vec<usize>>, CkksError> {
        let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (product, &SweepProduct { output, giant, input, baby }) in self.products.iter().enumerate() {
            for (what, index, count) in [
                ("output", output, self.outputs),
                ("giant", giant, self.giants.len()),
                ("input", input, self.inputs.len()),
                ("baby", baby, self.babies.len()),
            ] {
                if index >= count {
                    return Err(CkksError::SweepIndex { product, what, index, count });
                }
            }
            groups.entry((output, giant)).or_default().push(product);
        }
        let missing = |output: &usize| groups.range((*output, 0)..(*output + 1, 0)).next().is_none();
        match (0..self.outputs).find(missing) {
            Some(output) => Err(CkksError::SweepOutput { output }),
            None => Ok(groups),
        }
    }
}

/// The element of each step, and the gadgets of the keys that are needed.
fn check_steps(
    context: &Context,
    steps: &[SweepStep<'_>],
    limbs: usize,
) -> Result<(Vec<GaloisElement>, Vec<Gadget>), CkksError> {
    let mut gadgets = Vec::new();
    let mut elements = Vec::with_capacity(steps.len());
    for (step, key) in steps {
        let element = step.element(context.degree());
        if !element.is_identity() {
            let key = key.ok_or(CkksError::MissingKey { element })?;
            match key {
                KeyHandle::Held(key) => context.check_key(key, KeyTarget::Galois(element), limbs)?,
                KeyHandle::Stored(..) => {
                    context.check_shape(key.shape(), KeyTarget::Galois(element), limbs)?;
                }
            }
            gadgets.push(key.shape().gadget);
        }
        elements.push(element);
    }
    Ok((elements, gadgets))
}

impl Context {
    /// Evaluates a sweep: one ciphertext per output.
    ///
    /// # Errors
    /// [`CkksError::SweepIndex`], [`CkksError::SweepOutput`] and [`CkksError::SweepCarry`] for a malformed plan, [`CkksError::MissingKey`],
    /// [`CkksError::GadgetMismatch`], [`CkksError::PlaintextBasis`], what the plaintexts' function returns, and those of
    /// [`Context::rotate`] and [`Context::rescale`].
    pub fn linear(&self, sweep: &LinearSweep<'_>) -> Result<Vec<Ciphertext>, CkksError> {
        let checked = sweep.check(self)?;
        if sweep.rescale && checked.limbs < 2 {
            return Err(CkksError::TooFewLimbs { have: checked.limbs, need: 2 });
        }
        run::outputs(self, sweep, &checked)
    }
}
