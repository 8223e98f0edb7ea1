//! Forms of circuits: builder, verifier, text, files. Every form of a circuit says the same.

#[cfg(test)]
#[path = "forms/bootstrap.rs"]
mod bootstrap;
#[cfg(test)]
#[path = "forms/bootstrapped.rs"]
mod bootstrapped;
#[cfg(test)]
#[path = "forms/bytes.rs"]
mod bytes;
#[cfg(test)]
#[path = "forms/laws.rs"]
mod laws;
#[cfg(test)]
#[path = "forms/samples.rs"]
mod samples;
#[cfg(test)]
#[path = "forms/text.rs"]
mod text;
