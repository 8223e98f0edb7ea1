//! Some images on real ciphertexts: client and server in one process, the secret key forgotten afterwards.

use super::{Encrypted, ImageFacts, ScoreError, class, difference};
use crate::data::Sample;
use crate::error::{Error, Kind};
use crate::model::Compiled;
use crate::session;

/// Evaluates `samples`, whose facts are the first of `facts`.
pub(super) fn evaluate(
    compiled: Compiled,
    samples: &[Sample],
    facts: &[ImageFacts],
) -> Result<Encrypted, Error> {
    let name = compiled.circuit.name.clone();
    let client = session::client(&name, compiled.manifest)?;
    let secret = client.generate_secret().map_err(|e| session::client_error(&name, &e))?;
    let keys = session::evaluation_keys(&client, &secret)?;
    let mut server = session::Server::new(&name, compiled.circuit, keys, Default::default())?;
    let (mut agree, mut alarms, mut error, mut simulated, mut largest) = (0, 0, 0f64, 0f64, 0f64);
    for (sample, facts) in samples.iter().zip(facts) {
        simulated = simulated.max(difference(&facts.simulated, &facts.polynomial));
        largest = facts.polynomial.iter().fold(largest, |m, x| m.max(x.abs()));
        match answer(&client, &secret, &mut server, sample) {
            Ok(scores) => {
                agree += usize::from(class(&facts.clear) == Some(scores.class));
                alarms += usize::from(scores.alarm.is_some());
                error = error.max(difference(&scores.values, &facts.polynomial));
            }
            // The client refuses what it cannot trust; that is an answer to what is asked here.
            Err(e) if matches!(e.kind, Kind::Mismatch | Kind::BadInput) => {
                alarms += 1;
                error = f64::INFINITY;
            }
            Err(e) => return Err(e),
        }
    }
    let error = ScoreError::of(error, largest);
    Ok(Encrypted { images: samples.len(), agree, alarms, error, simulated_max_logit_error: simulated })
}

fn answer(
    client: &cipherloom_client::Client,
    secret: &cipherloom_client::SecretKey,
    server: &mut session::Server,
    sample: &Sample,
) -> Result<cipherloom_client::Scores, Error> {
    let (encrypted, _) = session::encrypt(client, secret, std::slice::from_ref(sample))?;
    let input = server.receive(encrypted)?;
    let (answer, _) = server.run(&input, 1, None)?;
    Ok(session::decrypt(client, secret, answer)?.remove(0).remove(0))
}
