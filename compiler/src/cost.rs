//! Cost model: integer nanoseconds and bytes of every operation, for one ring degree and one gadget.
//!
//! Relies on the constants of [`Profile`], measured on one limb at N = 2^15. Promises: integers only, so that the
//! same choices are made on every machine; no measurement happens at compile time.

use cipherloom_ir::scheme::{Gadget, Level};

/// Nanoseconds of the kernels on one limb of 2^15 coefficients; the committed default profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// One number-theoretic transform.
    pub transform_ns: u64,
    /// One pointwise multiply-accumulate with an operand from memory.
    pub product_ns: u64,
    /// One automorphism or addition.
    pub pass_ns: u64,
    /// Base conversion, per source limb and target limb.
    pub conversion_ns: u64,
    /// Price of one kibibyte of evaluation keys or prepared plaintexts.
    pub kibibyte_ns: u64,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            transform_ns: 45_000,
            product_ns: 8_000,
            pass_ns: 5_000,
            conversion_ns: 3_000,
            kibibyte_ns: 10,
        }
    }
}

/// Costs at one ring degree, with one gadget for all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostModel {
    profile: Profile,
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Gadget of every key.
    pub gadget: Gadget,
}

impl CostModel {
    /// Costs with the default profile.
    pub fn new(log_n: u32, gadget: Gadget) -> CostModel {
        CostModel { profile: Profile::default(), log_n, gadget }
    }

    fn scaled(&self, ns_at_15: u64) -> u64 {
        (ns_at_15 << self.log_n) >> 15
    }
    fn transforms(&self, count: u64) -> u64 {
        self.scaled(count * self.profile.transform_ns * u64::from(self.log_n) / 15)
    }
    fn products(&self, count: u64) -> u64 {
        self.scaled(count * self.profile.product_ns)
    }
    fn passes(&self, count: u64) -> u64 {
        self.scaled(count * self.profile.pass_ns)
    }
    fn conversions(&self, count: u64) -> u64 {
        self.scaled(count * self.profile.conversion_ns)
    }
    fn special(&self) -> u64 {
        u64::from(self.gadget.special_limbs)
    }
    fn digits(&self, level: Level) -> u64 {
        (level.limbs() as u64).div_ceil(u64::from(self.gadget.digit_limbs))
    }

    /// Digits of one polynomial, extended to the key basis.
    pub fn decompose(&self, level: Level) -> u64 {
        let (l, d) = (level.limbs() as u64, self.digits(level));
        let extended = d * (l + self.special());
        self.transforms(l) + self.transforms(extended - l) + self.conversions(l * (l + self.special()) - l)
    }
    /// Inner product of digits with a key.
    pub fn inner_product(&self, level: Level) -> u64 {
        self.products(2 * self.digits(level) * (level.limbs() as u64 + self.special()))
    }
    /// Division by P of `parts` polynomials.
    pub fn mod_down(&self, level: Level, parts: u64) -> u64 {
        let (l, k) = (level.limbs() as u64, self.special());
        parts * (self.transforms(l + k) + self.conversions(l * k) + self.passes(l))
    }
    /// A whole key switch.
    pub fn key_switch(&self, level: Level) -> u64 {
        self.decompose(level) + self.inner_product(level) + self.mod_down(level, 2)
    }
    /// One rotation.
    pub fn rotate(&self, level: Level) -> u64 {
        self.key_switch(level) + self.passes(3 * level.limbs() as u64)
    }
    /// A product of two values with relinearisation and rescale.
    pub fn multiply(&self, level: Level) -> u64 {
        self.products(4 * level.limbs() as u64) + self.key_switch(level) + self.transforms(2)
    }
    /// Rescale of one ciphertext.
    pub fn rescale(&self, level: Level) -> u64 {
        2 * (self.transforms(level.limbs() as u64) + self.passes(level.limbs() as u64))
    }
    /// A sum, a product with a number, or an addition of a plaintext.
    pub fn pass(&self, level: Level) -> u64 {
        self.passes(2 * level.limbs() as u64)
    }
    /// A rotated baby step that stays extended by P.
    pub fn extended_baby(&self, level: Level) -> u64 {
        self.inner_product(level) + self.passes(2 * (level.limbs() as u64 + self.special()))
    }
    /// A rotated baby step that is brought back.
    pub fn reduced_baby(&self, level: Level) -> u64 {
        self.extended_baby(level) + self.mod_down(level, 2)
    }
    /// A diagonal times an extended ciphertext.
    pub fn extended_product(&self, level: Level) -> u64 {
        self.products(2 * (level.limbs() as u64 + self.special()))
    }
    /// A diagonal times a ciphertext.
    pub fn reduced_product(&self, level: Level) -> u64 {
        self.products(2 * level.limbs() as u64)
    }
    /// A giant step of an extended sum.
    pub fn extended_giant(&self, level: Level) -> u64 {
        let l = level.limbs() as u64;
        self.mod_down(level, 1)
            + self.decompose(level)
            + self.inner_product(level)
            + self.passes(4 * (l + self.special()))
    }

    /// Bytes of one evaluation key in memory, both halves.
    pub fn key_bytes(&self, level: Level) -> u64 {
        2 * self.digits(level) * (level.limbs() as u64 + self.special()) * self.limb_bytes()
    }
    /// Bytes of one ciphertext.
    pub fn ciphertext_bytes(&self, level: Level) -> u64 {
        2 * level.limbs() as u64 * self.limb_bytes()
    }
    /// Bytes of one prepared diagonal, with the special limbs.
    pub fn diagonal_bytes(&self, level: Level) -> u64 {
        (level.limbs() as u64 + self.special()) * self.limb_bytes()
    }
    /// Price of memory held for keys and plaintexts.
    pub fn memory_price(&self, bytes: u64) -> u64 {
        bytes / 1024 * self.profile.kibibyte_ns
    }
    fn limb_bytes(&self) -> u64 {
        8 << self.log_n
    }
}
