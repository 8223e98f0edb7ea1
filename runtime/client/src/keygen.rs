//! Evaluation keys and public keys from the secret; conventions as in the key module of `cipherloom-ckks`.
//!
//! A key is drawn from its own fork of the randomness, so keys do not depend on how threads are scheduled.

use crate::ClientError;
use crate::randomness::Randomness;
use crate::sample::{SmallPoly, gaussian_poly, sparse_ternary_poly};
use crate::secret::{SecretKey, SecretWords, evaluate};
use cipherloom_ckks::{CkksError, Context, EvaluationKey, KeyShape, KeyTarget, Limbs, PublicKey};
use cipherloom_ir::scheme::EPHEMERAL_WEIGHT;
use cipherloom_ring::{Automorphism, Evaluation, Limb, Modulus, Poly};
use rayon::prelude::*;
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// Makes keys of one secret; holds its evaluation form over all primes of the context. The encapsulation and decapsulation
/// keys of one bootstrapping belong to one ephemeral secret, which lives as long as the generator that makes both.
pub struct KeyGenerator<'a> {
    context: &'a Context,
    secret: SecretWords,
    /// Drawn for the first key that needs it.
    ephemeral: OnceLock<SmallPoly>,
}

impl<'a> KeyGenerator<'a> {
    /// Prepares key generation.
    pub fn new(context: &'a Context, secret: &SecretKey) -> Result<KeyGenerator<'a>, ClientError> {
        secret.check(context)?;
        let all = context.chain().iter().chain(context.special());
        let basis: Vec<&Limb> = all.map(AsRef::as_ref).collect();
        Ok(KeyGenerator { context, secret: secret.evaluate(&basis), ephemeral: OnceLock::new() })
    }

    /// The evaluation key of a shape.
    pub fn evaluation_key(
        &self,
        shape: KeyShape,
        randomness: &mut Randomness,
    ) -> Result<EvaluationKey, ClientError> {
        shape.check(self.context)?;
        let basis = shape.basis(self.context);
        let own = self.over(&shape);
        let (from, to) = match shape.target {
            KeyTarget::Relinearization => (square(&own, &basis), own),
            KeyTarget::Galois(element) => {
                let inverse = element.inverse(self.context.degree());
                let map = Automorphism::new(self.context.degree(), inverse.0).map_err(CkksError::from)?;
                let moved = self.permuted(&own, &map);
                (own, moved)
            }
            KeyTarget::Encapsulation => (own, self.ephemeral(&basis, randomness)),
            KeyTarget::Decapsulation => (self.ephemeral(&basis, randomness), own),
        };
        let factors = gadget_factors(self.context, &shape);
        let (seed, mut errors) = (randomness.public_seed(), randomness.fork());
        let key = EvaluationKey::generate(self.context, shape, seed, |digit, a| {
            let error = gaussian_poly(&mut errors, self.context.n());
            let mut b = masked(&error, a, &to, &basis);
            let n = self.context.n();
            for i in shape.gadget.digit_range(digit, shape.limbs) {
                basis[i].mul_scalar_add(b.limb_mut(i), &from[i * n..(i + 1) * n], factors[i]);
            }
            b
        })?;
        Ok(key)
    }

    /// A public key for encryptions of at most `limbs` limbs.
    pub fn public_key(&self, limbs: Limbs, randomness: &mut Randomness) -> Result<PublicKey, ClientError> {
        let max = self.context.chain().len();
        if limbs.0 == 0 || limbs.0 > max {
            return Err(ClientError::Limbs { what: "a public key", found: limbs.0, max });
        }
        let basis: Vec<&Limb> = self.context.chain()[..limbs.0].iter().map(AsRef::as_ref).collect();
        let seed = randomness.public_seed();
        let a = PublicKey::uniform_half(self.context, &seed, limbs);
        let error = gaussian_poly(randomness, self.context.n());
        Ok(PublicKey::new(self.context, seed, masked(&error, &a, &self.secret, &basis))?)
    }

    /// The ephemeral secret over `basis`.
    fn ephemeral(&self, basis: &[&Limb], randomness: &mut Randomness) -> SecretWords {
        let draw = || sparse_ternary_poly(randomness, self.context.n(), EPHEMERAL_WEIGHT as usize);
        evaluate(self.ephemeral.get_or_init(draw), basis)
    }

    /// The secret over the key basis of a shape.
    fn over(&self, shape: &KeyShape) -> SecretWords {
        let n = self.context.n();
        let special = self.context.chain().len() * n;
        let mut out = Zeroizing::new(Vec::with_capacity(shape.basis_limbs() * n));
        out.extend_from_slice(&self.secret[..shape.limbs.0 * n]);
        out.extend_from_slice(&self.secret[special..special + shape.gadget.special_limbs * n]);
        out
    }

    fn permuted(&self, words: &[u64], map: &Automorphism) -> SecretWords {
        let n = self.context.n();
        let mut out = Zeroizing::new(vec![0; words.len()]);
        words.chunks_exact(n).zip(out.chunks_exact_mut(n)).for_each(|(i, o)| map.apply_evaluation(i, o));
        out
    }
}

/// P modulo each chain prime of a key: the gadget factor inside the digit that holds the prime.
fn gadget_factors(context: &Context, shape: &KeyShape) -> Vec<u64> {
    let special = &context.special()[..shape.gadget.special_limbs];
    let chain = context.chain()[..shape.limbs.0].iter().map(|limb| limb.modulus());
    let product = |q: &Modulus| special.iter().fold(1, |p, limb| q.mul(p, q.reduce(limb.modulus().value())));
    chain.map(product).collect()
}

fn square(words: &[u64], basis: &[&Limb]) -> SecretWords {
    let mut out = Zeroizing::new(words.to_vec());
    let n = words.len() / basis.len();
    let limbs = out.chunks_exact_mut(n).zip(words.chunks_exact(n)).zip(basis);
    limbs.for_each(|((square, words), limb)| limb.mul(square, words));
    out
}

/// `error − uniform · secret` in evaluation form over `basis`: a sample that hides whatever is added to it.
pub(crate) fn masked(
    error: &[i8],
    uniform: &Poly<Evaluation>,
    secret: &[u64],
    basis: &[&Limb],
) -> Poly<Evaluation> {
    let n = error.len();
    let mut out = Poly::zero(uniform.degree(), basis.len());
    let error = evaluate(error, basis);
    let limbs = out.as_mut_slice().par_chunks_mut(n).zip(error.par_chunks(n)).zip(basis).enumerate();
    limbs.for_each(|(i, ((out, error), limb))| {
        out.copy_from_slice(&secret[i * n..(i + 1) * n]);
        limb.mul(out, uniform.limb(i));
        limb.neg(out);
        limb.add(out, error);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use cipherloom_ckks::{Gadget, wire::write_evaluation_key};
    use cipherloom_ring::Path;

    #[test]
    fn keys_do_not_depend_on_the_number_of_threads() {
        // Primes 1 modulo 2^14: two pieces of errors, several limbs.
        let [chain, special] = [&[1_073_692_673, 1_073_643_521, 1_073_479_681][..], &[1_073_430_529]];
        let context = Context::new(13, chain, special, Path::best()).expect("primes");
        let gadget = Gadget { digit_limbs: 2, special_limbs: 1 };
        let shape = KeyShape { target: KeyTarget::Relinearization, limbs: Limbs(3), gadget };
        let bytes = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let mut randomness = Randomness::from_seed(&[3; 32]);
                let secret = SecretKey::generate(context.degree(), &mut randomness);
                let generator = KeyGenerator::new(&context, &secret).expect("one ring");
                let key = generator.evaluation_key(shape, &mut randomness).expect("shape");
                let mut bytes = Vec::new();
                write_evaluation_key(&context, &key, &mut bytes).expect("memory");
                bytes
            })
        };
        assert_eq!(bytes(1), bytes(3));
    }
}
