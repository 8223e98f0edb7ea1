//! A profile: what each kind of work takes on one thread of one machine, at every ring degree, as data.
//!
//! Relies on `benches/profile.rs`, which measures it. Promises: a profile that has been read names every ring and every
//! kind of work, with positive costs that cannot overflow; equal costs have equal digests. The default is committed.

use super::work::{Shape, Term, Work};
use cipherloom_ir::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The form of profiles that is read and written.
pub const SCHEMA: u32 = 1;
/// Ring degrees that a profile has, log2.
pub const RINGS: std::ops::RangeInclusive<u32> = 12..=16;
/// Largest cost of a term, a hundred times those of the committed profile: with all the products that a circuit may have
/// sums stay below 2^63.
const MAX_NS: u64 = 50_000_000;

/// Costs of every kind of work at one ring degree, nanoseconds per unit of each term.
pub type Costs = [[u64; Term::ALL.len()]; Work::ALL.len()];

static DEFAULT: LazyLock<Arc<Profile>> = LazyLock::new(|| {
    let read = Profile::read(include_str!("../../profiles/default.json"));
    Arc::new(read.expect("the committed profile is sound, which a test checks"))
});

/// Measured costs of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Where and when it was measured.
    pub origin: Origin,
    rings: BTreeMap<u32, Costs>,
    digest: Digest,
}

/// Where and when a profile was measured. It is not part of the digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Processor, cores and kernel path.
    pub machine: String,
    /// Day.
    pub date: String,
    /// Version of the source.
    pub commit: String,
}

/// Why a profile is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not JSON of the wanted form: words, negative numbers and fractions among them.
    #[error("not a cost profile: {0}")]
    Form(#[from] serde_json::Error),
    /// Written by another version.
    #[error("the profile has schema {found}, this version reads {SCHEMA}")]
    Schema {
        /// What it has.
        found: u32,
    },
    /// A ring degree is missing.
    #[error("the profile has no costs for N = 2^{log_n}")]
    NoRing {
        /// log2 of the ring degree.
        log_n: u32,
    },
    /// An operation is missing at a ring degree.
    #[error("the profile has no cost of `{work}` for N = 2^{log_n}")]
    NoWork {
        /// Name of the work.
        work: String,
        /// log2 of the ring degree.
        log_n: u32,
    },
    /// An operation is free.
    #[error("the profile says that `{work}` takes no time for N = 2^{log_n}")]
    Free {
        /// Name of the work.
        work: String,
        /// log2 of the ring degree.
        log_n: u32,
    },
    /// A cost is beyond what sums can hold.
    #[error("the profile says {ns} ns for `{work}` and N = 2^{log_n}, more than {MAX_NS}")]
    TooLarge {
        /// Name of the work.
        work: String,
        /// log2 of the ring degree.
        log_n: u32,
        /// The cost.
        ns: u64,
    },
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: u32,
    origin: Origin,
    /// By log2 of the ring degree: nanoseconds by work and term; absent terms cost nothing.
    rings: BTreeMap<u32, BTreeMap<Work, BTreeMap<Term, u64>>>,
}

/// What is read first, to name a foreign version.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

impl Profile {
    /// The committed profile.
    pub fn committed() -> Arc<Profile> {
        DEFAULT.clone()
    }

    /// A profile of these costs.
    ///
    /// # Errors
    /// [`ProfileError`] where a ring or a cost is missing, zero or too large.
    pub fn new(origin: Origin, rings: BTreeMap<u32, Costs>) -> Result<Profile, ProfileError> {
        if let Some(log_n) = RINGS.into_iter().find(|log_n| !rings.contains_key(log_n)) {
            return Err(ProfileError::NoRing { log_n });
        }
        for (&log_n, costs) in &rings {
            for (work, terms) in Work::ALL.into_iter().zip(costs) {
                let work = name(&work);
                if let Some(&ns) = terms.iter().find(|ns| **ns > MAX_NS) {
                    return Err(ProfileError::TooLarge { work, log_n, ns });
                }
                if terms.iter().all(|ns| *ns == 0) {
                    return Err(ProfileError::Free { work, log_n });
                }
            }
        }
        let words = rings.iter().flat_map(|(log_n, costs)| {
            std::iter::once(u64::from(*log_n)).chain(costs.iter().flatten().copied())
        });
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        Ok(Profile { origin, rings, digest: Digest::of(&bytes) })
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`ProfileError`], naming what is missing or wrong.
    pub fn read(text: &str) -> Result<Profile, ProfileError> {
        let Version { schema } = serde_json::from_str(text)?;
        if schema != SCHEMA {
            return Err(ProfileError::Schema { found: schema });
        }
        let file: File = serde_json::from_str(text)?;
        let mut rings = BTreeMap::new();
        for (log_n, works) in file.rings {
            let mut costs = Costs::default();
            for work in Work::ALL {
                let missing = || ProfileError::NoWork { work: name(&work), log_n };
                let terms = works.get(&work).ok_or_else(missing)?;
                terms.iter().for_each(|(term, ns)| costs[work as usize][*term as usize] = *ns);
            }
            rings.insert(log_n, costs);
        }
        Profile::new(file.origin, rings)
    }

    /// The JSON form, one line per kind of work.
    pub fn to_json(&self) -> String {
        let line = |(work, terms): (&Work, &[u64; Term::ALL.len()])| {
            let terms = Term::ALL.iter().zip(terms).filter(|(_, ns)| **ns > 0);
            let terms: Vec<String> = terms.map(|(term, ns)| format!("\"{}\": {ns}", name(term))).collect();
            format!("      \"{}\": {{ {} }}", name(work), terms.join(", "))
        };
        let ring = |(log_n, costs): (&u32, &Costs)| {
            let lines: Vec<String> = Work::ALL.iter().zip(costs).map(line).collect();
            format!("    \"{log_n}\": {{\n{}\n    }}", lines.join(",\n"))
        };
        let rings: Vec<String> = self.rings.iter().map(ring).collect();
        format!(
            "{{\n  \"schema\": {SCHEMA},\n  \"origin\": {},\n  \"rings\": {{\n{}\n  }}\n}}\n",
            serde_json::json!(self.origin),
            rings.join(",\n")
        )
    }

    /// What tells profiles apart: the digest of all costs.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Nanoseconds that the profile gives for so much work at a ring degree.
    pub fn ns(&self, log_n: u32, work: &[(Work, Shape, u64)]) -> f64 {
        let costs = self.costs(log_n);
        let one = |(work, shape, times): &(Work, Shape, u64)| {
            let terms = costs[*work as usize].iter().zip(shape.terms());
            times * terms.map(|(ns, count)| ns * count).sum::<u64>()
        };
        work.iter().map(one).sum::<u64>() as f64
    }

    /// Costs at a ring degree. Beyond those that were measured, those of the nearest, in proportion to the degree.
    pub fn costs(&self, log_n: u32) -> Costs {
        let nearest = log_n.clamp(*RINGS.start(), *RINGS.end());
        let mut costs = self.rings[&nearest];
        for ns in costs.iter_mut().flatten() {
            *ns = if log_n < nearest { *ns >> (nearest - log_n) } else { *ns << (log_n - nearest) };
        }
        costs
    }
}

/// The name of a kind of work or of a term, as files have it.
fn name(value: &impl Serialize) -> String {
    serde_json::json!(value).as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cipherloom_ir::bounds;

    const DEFAULT_TEXT: &str = include_str!("../../profiles/default.json");

    fn refused(from: &str, to: &str) -> String {
        assert!(DEFAULT_TEXT.contains(from), "{from}");
        Profile::read(&DEFAULT_TEXT.replace(from, to)).expect_err(to).to_string()
    }

    #[test]
    fn the_committed_profile_is_sound_and_reads_as_it_is_written() {
        let profile = Profile::read(DEFAULT_TEXT).expect("sound");
        assert_eq!(Profile::read(&profile.to_json()).expect("sound"), profile);
        assert_eq!(profile.to_json(), DEFAULT_TEXT);
    }

    #[test]
    fn what_is_wrong_with_a_profile_is_named() {
        for (from, to, what) in [
            ("\"schema\": 1", "\"schema\": 9", "schema 9"),
            ("\"12\": {", "\"11\": {", "2^12"),
            ("\"encode\":", "\"decode\":", "decode"),
            ("\"encode\": { \"call\": ", "\"encode\": { \"call\": -", "invalid value"),
            ("\"encode\": { \"call\": ", "\"encode\": { \"call\": 0.", "floating point"),
            ("\"encode\": { \"call\": ", "\"encode\": { \"call\": 90000000", "more than"),
        ] {
            let error = refused(from, to);
            assert!(error.contains(what), "{to}: {error}");
        }
        let start = DEFAULT_TEXT.find("      \"encode\"").expect("a cost");
        let end = start + DEFAULT_TEXT[start..].find('\n').expect("a line");
        let zero = format!("{}      \"encode\": {{ }}{}", &DEFAULT_TEXT[..start], &DEFAULT_TEXT[end..]);
        assert!(Profile::read(&zero).expect_err("free").to_string().contains("`encode` takes no time"));
        let absent =
            format!("{}{}", DEFAULT_TEXT[..start].trim_end().trim_end_matches(','), &DEFAULT_TEXT[end..]);
        assert!(Profile::read(&absent).expect_err("absent").to_string().contains("no cost of `encode`"));
    }

    #[test]
    fn the_largest_costs_do_not_overflow() {
        let shape = Shape { limbs: bounds::MAX_CHAIN, special: bounds::MAX_SPECIAL, digit_limbs: 1 };
        // Beyond the measured rings costs double.
        let product = 2 * MAX_NS * shape.terms().iter().sum::<u64>();
        assert!(product.checked_mul(bounds::MAX_DIAGONALS).is_some_and(|ns| ns < 1 << 63), "{product}");
    }

    #[test]
    fn digests_tell_costs_apart_and_nothing_else() {
        let profile = Profile::committed();
        let mut rings: BTreeMap<u32, Costs> = RINGS.map(|log_n| (log_n, profile.costs(log_n))).collect();
        let elsewhere = Origin { machine: "another".into(), ..profile.origin.clone() };
        let same = Profile::new(elsewhere, rings.clone()).expect("sound");
        assert_eq!(same.digest(), profile.digest());
        rings.get_mut(&12).expect("a ring")[0][1] += 1;
        let other = Profile::new(profile.origin.clone(), rings).expect("sound");
        assert_ne!(other.digest(), profile.digest());
    }
}
