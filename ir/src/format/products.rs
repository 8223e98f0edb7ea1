//! Product lists of plans as run lengths.
//!
//! The possible products of a plan, in their sort order (output, giant, source, input, baby), are numbered; the
//! list says in turn how many numbers are absent and how many present. A dense plan is two numbers, a sparse one
//! about two bytes a product.

use super::FormatError;
use crate::op::{LinearPlan, Product};

/// Sizes of a plan's index space.
pub(super) struct Space {
    outputs: u64,
    giants: u64,
    /// First input ciphertext of each source in one row of inputs, and their number at the end.
    offsets: Vec<u64>,
    babies: u64,
}

impl Space {
    /// Index space of a plan.
    pub(super) fn of(plan: &LinearPlan) -> Space {
        let mut offsets = vec![0];
        for source in 0..plan.sources.len() {
            offsets.push(offsets[source] + u64::from(plan.inputs(source)));
        }
        Space {
            outputs: plan.outputs.into(),
            giants: plan.giants.len() as u64,
            offsets,
            babies: plan.babies.len() as u64,
        }
    }

    fn inputs(&self) -> u64 {
        self.offsets[self.offsets.len() - 1]
    }

    /// Number of possible products, if it can be counted.
    fn size(&self) -> Option<u64> {
        self.outputs.checked_mul(self.giants)?.checked_mul(self.inputs())?.checked_mul(self.babies)
    }

    fn number(&self, product: &Product) -> Option<u64> {
        let source = product.source as usize;
        let (first, end) = (*self.offsets.get(source)?, *self.offsets.get(source + 1)?);
        let input = first + u64::from(product.input);
        let inside = input < end
            && u64::from(product.output) < self.outputs
            && u64::from(product.giant) < self.giants
            && u64::from(product.baby) < self.babies;
        let row = u64::from(product.output) * self.giants + u64::from(product.giant);
        inside.then(|| (row * self.inputs() + input) * self.babies + u64::from(product.baby))
    }

    /// The product of a number below the size.
    fn product(&self, number: u64) -> Product {
        let (row, baby) = (number / self.babies, number % self.babies);
        let (row, input) = (row / self.inputs(), row % self.inputs());
        let source = self.offsets.partition_point(|first| *first <= input) - 1;
        Product {
            output: (row / self.giants) as u32,
            giant: (row % self.giants) as u32,
            source: source as u32,
            input: (input - self.offsets[source]) as u32,
            baby: baby as u32,
        }
    }

    /// Run lengths of a sorted list, or `None` if it is not sorted or leaves the space.
    pub(super) fn runs(&self, products: &[Product]) -> Option<Vec<u64>> {
        self.size()?;
        let mut runs: Vec<u64> = vec![];
        let mut next = 0;
        for product in products {
            let number = self.number(product)?;
            let gap = number.checked_sub(next)?;
            match runs.last_mut() {
                Some(present) if gap == 0 => *present += 1,
                _ => runs.extend([gap, 1]),
            }
            next = number + 1;
        }
        Some(runs)
    }

    /// The list of these run lengths, of at most `budget` products, which it reduces.
    pub(super) fn products(&self, runs: &[u64], budget: &mut u64) -> Result<Vec<Product>, FormatError> {
        let space = self.size().unwrap_or(0);
        let outside = || FormatError::Products { space };
        let mut products = vec![];
        let mut next = 0u64;
        for (k, run) in runs.iter().enumerate() {
            let end = next.checked_add(*run).filter(|end| *end <= space).ok_or_else(outside)?;
            if k % 2 == 1 {
                *budget = budget.checked_sub(*run).ok_or(FormatError::TooManyProducts)?;
                products.extend((next..end).map(|number| self.product(number)));
            }
            next = end;
        }
        Ok(products)
    }
}
