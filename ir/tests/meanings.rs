//! What maps, scales and circuits mean, against slow definitions.

#[cfg(test)]
#[path = "meanings/bootstrap.rs"]
mod bootstrap;
#[cfg(test)]
#[path = "forms/bootstrapped.rs"]
mod bootstrapped;
#[cfg(test)]
#[path = "meanings/circuits.rs"]
mod circuits;
#[cfg(test)]
#[path = "meanings/groups.rs"]
mod groups;
#[cfg(test)]
#[path = "meanings/maps.rs"]
mod maps;
#[cfg(test)]
#[path = "meanings/noisy.rs"]
mod noisy;
#[cfg(test)]
#[path = "meanings/places.rs"]
mod places;
#[cfg(test)]
#[path = "meanings/random.rs"]
mod random;
#[cfg(test)]
#[path = "meanings/residues.rs"]
mod residues;
