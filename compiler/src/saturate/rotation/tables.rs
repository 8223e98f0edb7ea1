//! What the numbers in rotation terms stand for: the network's maps, folds and sums, and the plans that rules made.
//!
//! The tables are the e-graph's analysis, so that rules can add to them. Promises: a rule plans a map once, whatever the
//! number of rounds; numbers depend on the order of insertion alone.

use super::network::Network;
use super::term::Term;
use crate::cost::CostModel;
use crate::rotation::{Needs, Window, needs};
use cipherloom_ir::Hoisting;
use egg::{Analysis, DidMerge, EGraph, Id};
use std::collections::BTreeMap;

/// Maps of more diagonals are planned by powers of two alone: planning reads each diagonal for each window.
pub const WINDOWED_DIAGONALS_MAX: usize = 1 << 15;

/// A plan of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The map.
    pub map: u32,
    /// How its steps are cut.
    pub window: Window,
    /// Form of the rotations.
    pub hoisting: Hoisting,
    /// Predicted time.
    pub time_ns: u64,
    /// Steps that need keys, ascending.
    pub keys: Vec<u32>,
}

/// Side tables of the e-graph.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The network.
    pub network: Network,
    cost: CostModel,
    plans: Vec<Planned>,
    /// Plans by rule and map.
    made: BTreeMap<(&'static str, u32), Vec<u32>>,
}

impl Tables {
    /// Tables of a network.
    pub fn new(network: Network, cost: &CostModel) -> Tables {
        Tables { network, cost: *cost, plans: vec![], made: BTreeMap::new() }
    }

    /// Costs.
    pub fn cost(&self) -> &CostModel {
        &self.cost
    }

    /// A plan.
    pub fn plan(&self, index: u32) -> &Planned {
        &self.plans[index as usize]
    }

    /// Plans of a map by some windows, made when a rule asks first; of plans that need the same keys the fastest is kept.
    pub fn plans_by(&mut self, rule: &'static str, map: u32, windows: &[Window]) -> Vec<u32> {
        if let Some(known) = self.made.get(&(rule, map)) {
            return known.clone();
        }
        let what = &self.network.maps[map as usize];
        let needs = needs(&what.support, windows, &self.cost, what.level);
        let mut fastest: BTreeMap<Vec<u32>, Planned> = BTreeMap::new();
        for Needs { window, forms, keys } in needs {
            for (hoisting, plan_ns) in forms {
                let time_ns = plan_ns + what.extra_ns;
                let plan = Planned { map, window, hoisting, time_ns, keys: keys.clone() };
                match fastest.get(&keys) {
                    Some(known) if known.time_ns <= plan.time_ns => {}
                    _ => {
                        fastest.insert(keys.clone(), plan);
                    }
                }
            }
        }
        let first = self.plans.len() as u32;
        self.plans.extend(fastest.into_values());
        let made: Vec<u32> = (first..self.plans.len() as u32).collect();
        self.made.insert((rule, map), made.clone());
        made
    }
}

impl Analysis<Term> for Tables {
    type Data = ();

    fn make(_egraph: &mut EGraph<Term, Self>, _term: &Term, _id: Id) {}

    fn merge(&mut self, _a: &mut (), _b: ()) -> DidMerge {
        DidMerge(false, false)
    }
}
