//! What a bootstrap costs: the plan's products and key switches, each by what the profile says of it at its level.
//!
//! Relies on the plan of `ir/src/scheme/bootstrap.rs`, whose transforms are sweeps with compact diagonals. Promises: integers, from
//! the same profile as everything else.

use super::{CostModel, PlanCounts, Work};
use cipherloom_ir::Hoisting;
use cipherloom_ir::scheme::{BootstrapPlan, Gadget, Level, ReductionStep, Transform, TransformFactor};

impl CostModel {
    /// The same costs with keys of another gadget.
    pub fn with_gadget(&self, gadget: Gadget) -> CostModel {
        CostModel { gadget, ..*self }
    }

    /// A whole bootstrap of complex slots, its diagonals encoded before.
    pub fn complex_bootstrap(&self, plan: &BootstrapPlan) -> u64 {
        self.bootstrap_reducing(plan, plan.reductions())
    }

    /// The op of circuits: real slots, one reduction.
    pub fn bootstrap(&self, plan: &BootstrapPlan) -> u64 {
        self.bootstrap_reducing(plan, 1)
    }

    fn bootstrap_reducing(&self, plan: &BootstrapPlan, reductions: usize) -> u64 {
        let (high, top) = (self.with_gadget(plan.gadget), plan.parameters.top());
        // Mod-raise: two key switches, and a transform for each limb of both parts.
        let raise = self.with_gadget(plan.encapsulation_gadget()).key_switch(Level(0))
            + high.ns(Work::Encode, top)
            + high.key_switch(top);
        let traced = plan.sparse.as_ref().map_or(0, |sparse| sparse.trace.len() as u64);
        let trace = traced * (high.rotate(top) + high.pass(top));
        let halves = high.rotate(plan.reduced_from) + 2 * high.pass(plan.reduced_from);
        let steps = plan.reduction.steps.iter().map(|step| high.step(step));
        let last = high.step(&plan.reduction.last);
        let reduced = plan.reduction.last.level;
        let real = high.rotate(reduced) + 3 * high.pass(reduced) + high.rescale(reduced);
        let join = real + plan.sparse.as_ref().map_or(0, |sparse| high.factor(&sparse.join));
        let transforms = self.transform(&plan.to_coefficients) + self.transform(&plan.to_slots);
        transforms + raise + trace + halves + reductions as u64 * (steps.sum::<u64>() + last) + join
    }

    fn transform(&self, transform: &Transform) -> u64 {
        let cost = self.with_gadget(transform.gadget);
        transform.factors.iter().map(|factor| cost.factor(factor)).sum()
    }

    fn factor(&self, factor: &TransformFactor) -> u64 {
        let keyed = |steps: &[u32]| steps.iter().filter(|step| **step != 0).count() as u64;
        let products = factor.products.len() as u64;
        let (babies, giants) = (keyed(&factor.babies), keyed(&factor.giants));
        let counts = PlanCounts { hoisted: 1, babies, products, giants, outputs: 1 };
        // Diagonals are expanded in the subring of their period; that they are repeated after it is not counted.
        let share = self.log_n.saturating_sub(factor.log_period() + 1);
        let expansions = (products * self.expansion(factor.level, true)) >> share;
        self.linear(&counts, factor.level, Hoisting::Double) + expansions
    }

    /// One step of the reduction, for one part.
    fn step(&self, step: &ReductionStep) -> u64 {
        let terms = step.terms.len() as u64 * self.ns(Work::MulScalar, step.level);
        let sum = match step.product {
            Some(_) => self.multiply(step.level),
            None => self.rescale(step.level),
        };
        let addend = u64::from(step.addend.is_some()) * self.pass(step.level);
        terms + sum + addend
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Profile;
    use cipherloom_ir::scheme::BOOTSTRAP_SETS;

    #[test]
    fn more_levels_cost_more() {
        let plan = |name: &str| {
            let set = BOOTSTRAP_SETS.iter().find(|(set, _)| *set == name);
            set.and_then(|(_, request)| request.plan().ok()).expect("the sets exist")
        };
        let ns = |name: &str| {
            let plan = plan(name);
            CostModel::new(&Profile::committed(), plan.parameters.log_n, plan.gadget).complex_bootstrap(&plan)
        };
        let switch = |name: &str| {
            let plan = plan(name);
            let cost = CostModel::new(&Profile::committed(), plan.parameters.log_n, plan.gadget);
            cost.key_switch(plan.parameters.top())
        };
        let nine = ns("2p16_9");
        assert!(ns("2p16_14") > nine);
        // Fewer slots cost less: an eighth of them.
        let sparse = ns("2p16_sparse12");
        assert!(5 * sparse < 4 * nine, "{sparse} of {nine}");
        // Some dozens of key switches, most of them below the top.
        let switch = switch("2p16_9");
        assert!((10 * switch..80 * switch).contains(&nine), "{nine} of {switch}");
    }

    #[test]
    fn no_level_costs_more_than_the_highest() {
        let cost = CostModel::new(&Profile::committed(), 13, Gadget { digit_limbs: 2, special_limbs: 2 });
        let capped = cost.up_to(Level(5));
        let all = |cost: &CostModel, level: u32| {
            let level = Level(level);
            let bytes = [cost.key_bytes(level), cost.ciphertext_bytes(level)];
            [cost.rotate(level), cost.multiply(level), cost.decompose(level), bytes[0], bytes[1]]
        };
        for level in 0..9 {
            assert_eq!(all(&capped, level), all(&cost, level.min(5)));
        }
    }
}
