//! Equality saturation: extraction against brute force, laws against meanings, stages against snapshots.

mod extract;
