//! The ways of compiling that the ablation compares: the baselines, saturation, and saturation with one stage left out.
//!
//! One table for the benches that record them and for the tables that are made of their rows.

/// One way of compiling.
pub struct Variant {
    /// Its field in a row.
    pub key: &'static str,
    /// Its name in a table.
    pub title: &'static str,
    /// What `compile --packing` is told.
    pub packing: &'static str,
    /// What `compile --off` is told, if anything.
    pub off: Option<&'static str>,
}

const fn variant(
    key: &'static str,
    title: &'static str,
    packing: &'static str,
    off: Option<&'static str>,
) -> Variant {
    Variant { key, title, packing, off }
}

/// The baselines and all of saturation; circuits of these are evaluated too, where they can be.
pub const WHOLE: [Variant; 3] = [
    variant("multiplexed", "off", "multiplexed", None),
    variant("dynamic", "dynamic", "dynamic", None),
    variant("saturated", "saturated", "saturated", None),
];

/// Saturation with one stage left out; these are forecast.
pub const WITHOUT: [Variant; 3] = [
    variant("without_packing", "packing", "saturated", Some("packing")),
    variant("without_rotation", "rotation", "saturated", Some("rotation")),
    variant("without_rescale", "rescale", "saturated", Some("rescale")),
];
