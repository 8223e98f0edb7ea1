//! The laws of a manifest: those of its circuit that can be checked without it.

use super::error::{LawError, at_least, at_most};
use super::{Form, Place, Report, VerifyError, bounds, parameters, tables};
use crate::interpret::WorstError;
use crate::manifest::{Manifest, ManifestOutput};
use crate::scheme::{Scale, SecurityPolicy};

impl Manifest {
    /// Checks bounds, parameters, keys, security under this policy, layouts, inputs, outputs and records; whoever
    /// reads a manifest from a file does this before anything else.
    pub fn verify(&self, policy: &SecurityPolicy) -> Result<(), VerifyError> {
        let mut report = Report { violations: vec![] };
        self.check_bounds(&mut report);
        report.barrier()?;
        parameters::check(&self.parameters, Form::Final, &mut report);
        report.barrier()?;
        parameters::check_scales(&self.parameters, &mut report);
        parameters::check_keys(&self.parameters, &self.keys, &mut report);
        report.check(Place::Parameters, || Ok(policy.check(&self.parameters, &self.keys).map(drop)?));
        let (slots, batch) = (self.parameters.slots(), self.batch());
        for (k, input) in self.inputs.iter().enumerate() {
            report.check(Place::Input(k), || {
                tables::check_layout(&input.layout, slots, batch)?;
                tables::check_input(&input.layout, input.range, &input.preprocessing)
            });
        }
        for (k, output) in self.outputs.iter().enumerate() {
            report.check(Place::Output(k), || {
                tables::check_layout(&output.layout, slots, batch)?;
                at_most("level of the output", output.level.0.into(), self.parameters.top().0.into())?;
                tables::check_output(&output.layout, output.scale, output.range, &output.labels)?;
                self.check_worst_error(output)
            });
        }
        tables::check_records(&self.certificate, &self.forecast, &mut report);
        report.barrier()
    }

    /// Bounds of errors are infinite, where nothing is proved, or at least one unit of the output's scale: whoever releases scores relies on
    /// them, and no decryption is that exact.
    fn check_worst_error(&self, output: &ManifestOutput) -> Result<(), LawError> {
        let WorstError { secret_key, public_key } = output.worst_error;
        let least = output.scale.abs() / Scale::canonical(output.level).value(&self.parameters);
        let bounds = [("worst error", secret_key), ("worst error under a public key", public_key)];
        match bounds.into_iter().find(|(_, bound)| bound.is_nan() || *bound < least) {
            Some((what, found)) => Err(LawError::ErrorBound { what, found, least }),
            None => Ok(()),
        }
    }

    fn check_bounds(&self, report: &mut Report) {
        report.check(Place::Circuit, || {
            bounds::name(&self.name)?;
            bounds::primes(&self.parameters, Form::Final)?;
            at_most("keys", self.keys.len() as u64, bounds::MAX_KEYS)?;
            at_least("inputs", self.inputs.len() as u64, 1)?;
            at_least("outputs", self.outputs.len() as u64, 1)?;
            at_most("inputs", self.inputs.len() as u64, bounds::MAX_PORTS)?;
            at_most("outputs", self.outputs.len() as u64, bounds::MAX_PORTS)?;
            at_most("certificates", self.certificate.len() as u64, bounds::MAX_TABLE)?;
            bounds::distinct("an input", self.inputs.iter().map(|i| i.name.as_str()))?;
            bounds::distinct("an output", self.outputs.iter().map(|o| o.name.as_str()))?;
            self.certificate.iter().try_for_each(|c| bounds::name(&c.tensor))?;
            let inputs = self.inputs.iter().map(|i| &i.layout);
            bounds::slots(inputs.chain(self.outputs.iter().map(|o| &o.layout)))
        });
        for (k, input) in self.inputs.iter().enumerate() {
            report.check(Place::Input(k), || {
                bounds::name(&input.name)?;
                bounds::layout(&input.layout)
            });
        }
        for (k, output) in self.outputs.iter().enumerate() {
            report.check(Place::Output(k), || {
                bounds::port(&output.name, &output.labels, output.client_steps.len())?;
                bounds::layout(&output.layout)
            });
        }
    }
}
