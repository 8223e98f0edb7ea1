//! The encrypted answer of a circuit, keys and all.

use cipherloom::data::Sample;
use cipherloom::{Error, session};
use cipherloom_ir::{Manifest, Verified};

/// Scores of the first output for one sample.
pub fn encrypted(name: &str, circuit: Verified, sample: &Sample) -> Result<Vec<f64>, Error> {
    let client = session::client(name, Manifest::of(&circuit).expect("a verified circuit has a manifest"))?;
    let secret = client.generate_secret().expect("randomness");
    let keys = session::evaluation_keys(&client, &secret)?;
    let (encrypted, _) = session::encrypt(&client, &secret, std::slice::from_ref(sample))?;
    let mut server = session::Server::new(name, circuit, keys, Default::default())?;
    let input = server.receive(encrypted)?;
    let (answer, _) = server.run(&input, 1, None)?;
    Ok(session::decrypt(&client, &secret, answer)?.remove(0).remove(0).values)
}
