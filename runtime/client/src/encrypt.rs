//! Encryption of plaintexts, with the secret key (half the bytes, least noise) or with a public key.

use crate::ClientError;
use crate::keygen::masked;
use crate::randomness::Randomness;
use crate::sample::{gaussian_poly, ternary_poly};
use crate::secret::{SecretKey, evaluate};
use cipherloom_ckks::{Ciphertext, Context, Plaintext, PublicKey, SeededCiphertext};
use cipherloom_ring::{Evaluation, Limb, Poly};
use rayon::prelude::*;

/// Encrypts with the secret key: `c_0 + c_1 · s = m + e`, `c_1` uniform from a fresh seed.
pub fn encrypt_secret(
    context: &Context,
    secret: &SecretKey,
    plaintext: &Plaintext,
    randomness: &mut Randomness,
) -> Result<SeededCiphertext, ClientError> {
    secret.check(context)?;
    let basis = message_basis(context, plaintext)?;
    let seed = randomness.public_seed();
    let uniform = SeededCiphertext::second(context, &seed, plaintext.limbs());
    let error = gaussian_poly(randomness, context.n());
    let mut first = masked(&error, &uniform, &secret.evaluate(&basis), &basis);
    add(&mut first, plaintext.poly(), &basis);
    Ok(SeededCiphertext { seed, first })
}

/// Encrypts with a public key: `(b, a) · v + (e_0 + m, e_1)`, v uniform ternary.
pub fn encrypt_public(
    context: &Context,
    key: &PublicKey,
    plaintext: &Plaintext,
    randomness: &mut Randomness,
) -> Result<Ciphertext, ClientError> {
    let basis = message_basis(context, plaintext)?;
    if key.limbs() < plaintext.limbs() {
        let (found, max) = (plaintext.limbs().0, key.limbs().0);
        return Err(ClientError::Limbs { what: "a plaintext", found, max });
    }
    let n = context.n();
    let ephemeral = evaluate(&ternary_poly(randomness, n), &basis);
    let mut part = |half: &Poly<Evaluation>| {
        let error = evaluate(&gaussian_poly(randomness, n), &basis);
        let mut out = Poly::zero(context.degree(), basis.len());
        let limbs = out.as_mut_slice().par_chunks_mut(n).zip(&basis).enumerate();
        limbs.for_each(|(i, (out, limb))| {
            out.copy_from_slice(&error[i * n..(i + 1) * n]);
            limb.mul_add(out, half.limb(i), &ephemeral[i * n..(i + 1) * n]);
        });
        out
    };
    let (mut first, second) = (part(key.b()), part(key.a()));
    add(&mut first, plaintext.poly(), &basis);
    Ok(Ciphertext::new(vec![first, second])?)
}

/// Primes of a plaintext that carries no special limbs.
fn message_basis<'a>(context: &'a Context, plaintext: &Plaintext) -> Result<Vec<&'a Limb>, ClientError> {
    let (found, max) = (plaintext.limbs().0, context.chain().len());
    if plaintext.special() != 0 || found > max {
        return Err(ClientError::Limbs { what: "a plaintext", found: found + plaintext.special(), max });
    }
    let (degree, expected) = (plaintext.poly().degree().n(), context.n());
    if degree != expected {
        return Err(ClientError::RingDegree { what: "a plaintext", found: degree, expected });
    }
    Ok(context.chain()[..found].iter().map(AsRef::as_ref).collect())
}

fn add(sum: &mut Poly<Evaluation>, other: &Poly<Evaluation>, basis: &[&Limb]) {
    let limbs = sum.limbs_mut().zip(other.limbs_iter()).zip(basis);
    limbs.for_each(|((sum, other), limb)| limb.add(sum, other));
}
