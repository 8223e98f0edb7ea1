//! Decryption: `Σ c_i · s^i`, back in coefficient form, and decoding into slots.

use crate::ClientError;
use crate::secret::SecretKey;
use cipherloom_ckks::{Ciphertext, Complex, Context};
use cipherloom_ring::{Coefficient, Limb, Poly};
use zeroize::Zeroize;

/// The message of a ciphertext, with its noise, in coefficient form.
pub fn decrypt(
    context: &Context,
    secret: &SecretKey,
    ciphertext: &Ciphertext,
) -> Result<Poly<Coefficient>, ClientError> {
    secret.check(context)?;
    let (found, expected) = (ciphertext.part(0).degree().n(), context.n());
    if found != expected {
        return Err(ClientError::RingDegree { what: "a ciphertext", found, expected });
    }
    let (found, max) = (ciphertext.limbs().0, context.chain().len());
    if found > max {
        return Err(ClientError::Limbs { what: "a ciphertext", found, max });
    }
    let basis: Vec<&Limb> = context.chain()[..found].iter().map(AsRef::as_ref).collect();
    let words = secret.evaluate(&basis);
    // Horner: the partial sums are uniform until the message appears.
    let mut message = ciphertext.part(ciphertext.degree()).clone();
    for part in (0..ciphertext.degree()).rev() {
        let limbs = message.limbs_mut().zip(words.chunks_exact(context.n())).enumerate();
        limbs.for_each(|(i, (message, secret))| {
            basis[i].mul(message, secret);
            basis[i].add(message, ciphertext.part(part).limb(i));
        });
    }
    Ok(message.into_coefficient(context.chain()))
}

/// The slots of a ciphertext whose scale is `scale`.
pub fn decrypt_slots(
    context: &Context,
    secret: &SecretKey,
    ciphertext: &Ciphertext,
    scale: f64,
) -> Result<Vec<Complex>, ClientError> {
    let mut message = decrypt(context, secret, ciphertext)?;
    let slots = context.encoder().decode_poly(&message, scale, context.slots());
    // Its buffer is used again, and with the noise in it the ciphertext is an equation in the secret.
    message.limbs_mut().for_each(Zeroize::zeroize);
    Ok(slots?)
}
