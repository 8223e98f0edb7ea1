//! Extraction finds what brute force finds.

use cipherloom_compiler::saturate::extract::{Alternative, Class, Decision, ExtractError, Problem};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A problem as data: alternatives with the cost per level.
#[derive(Clone, Debug)]
struct Case {
    classes: Vec<Vec<Alternative>>,
    /// `base + slope · level`, by class and alternative.
    costs: Vec<Vec<(u64, u64)>>,
    levels: u32,
}

const ADJUST: u64 = 3;

impl Case {
    fn cost(&self, class: Class, alternative: usize, level: u32) -> u64 {
        let (base, slope) = self.costs[class][alternative];
        base + slope * u64::from(level)
    }

    fn solve(&self, beam: usize) -> Result<(u64, Vec<Decision>, u64), ExtractError> {
        let problem = Problem {
            classes: &self.classes,
            root: 0,
            levels: self.levels,
            cost: &|c, a, l| Some(self.cost(c, a, l)),
            adjust: &|_, _| ADJUST,
            beam,
        };
        problem.solve().map(|a| (a.cost, a.decisions, a.lower_bound))
    }

    /// Every choice of one alternative per class; classes read only classes after themselves.
    fn brute_force(&self) -> Option<u64> {
        let mut best = None;
        let mut picks = vec![0; self.classes.len()];
        loop {
            if let Some(cost) = self.price(&picks) {
                best = Some(best.map_or(cost, |b: u64| b.min(cost)));
            }
            let Some(at) = (0..picks.len()).find(|k| picks[*k] + 1 < self.classes[*k].len()) else { break };
            picks[at] += 1;
            picks[..at].fill(0);
        }
        best
    }

    fn price(&self, picks: &[usize]) -> Option<u64> {
        let mut wanted: BTreeMap<Class, Vec<u32>> = BTreeMap::from([(0, vec![0])]);
        let mut total = 0;
        for (class, pick) in picks.iter().enumerate() {
            let Some(readers) = wanted.get(&class).cloned() else { continue };
            let level = readers.iter().copied().max()?;
            total += ADJUST * readers.iter().filter(|l| **l < level).count() as u64;
            let way = self.classes[class].get(*pick)?;
            let below = level + way.depth;
            if below > self.levels {
                return None;
            }
            total += self.cost(class, *pick, level);
            way.children.iter().for_each(|c| wanted.entry(*c).or_default().push(below));
        }
        Some(total)
    }
}

fn cases() -> impl Strategy<Value = Case> {
    (2usize..8, 1u32..6).prop_flat_map(|(count, levels)| {
        let class = move |k: usize| {
            let child = (k + 1).min(count - 1)..count;
            let children = prop::collection::vec(child, if k + 1 == count { 0..=0 } else { 0..=2 });
            let way = (children, 0u32..=2, 0u64..20, 0u64..6);
            prop::collection::vec(way, 1..=3)
        };
        let classes: Vec<_> = (0..count).map(class).collect();
        (classes, Just(levels)).prop_map(|(ways, levels)| Case {
            classes: ways
                .iter()
                .map(|c| c.iter().map(|w| Alternative { children: w.0.clone(), depth: w.1 }).collect())
                .collect(),
            costs: ways.iter().map(|c| c.iter().map(|w| (w.2, w.3)).collect()).collect(),
            levels,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_answer_is_the_cheapest(case in cases()) {
        match (case.solve(usize::MAX), case.brute_force()) {
            (Ok((cost, decisions, bound)), Some(best)) => {
                prop_assert_eq!(cost, best);
                prop_assert_eq!(bound, best);
                let mut seen = vec![];
                for d in &decisions {
                    let way = &case.classes[d.class][d.alternative];
                    prop_assert!(way.children.iter().all(|c| seen.contains(c)), "read before it is made");
                    prop_assert!(!seen.contains(&d.class), "decided twice");
                    seen.push(d.class);
                }
            }
            (Err(ExtractError::Impossible(_)), None) => {}
            (found, expected) => prop_assert!(false, "{:?} {:?}", found, expected),
        }
    }

    #[test]
    fn a_narrow_beam_tells_what_it_may_have_lost(case in cases()) {
        if let (Ok((cost, _, bound)), Some(best)) = (case.solve(1), case.brute_force()) {
            prop_assert!(bound <= best && best <= cost, "{} {} {}", bound, best, cost);
        }
    }
}

#[test]
fn shared_work_is_paid_once() {
    // 0 reads 1 and 2, which both read 3 (cost 10), or make something of their own (cost 6 each).
    let way = |children: &[Class]| Alternative { children: children.to_vec(), depth: 0 };
    let case = Case {
        classes: vec![
            vec![way(&[1, 2])],
            vec![way(&[]), way(&[3])],
            vec![way(&[]), way(&[3])],
            vec![way(&[])],
        ],
        costs: vec![vec![(0, 0)], vec![(6, 0), (0, 0)], vec![(6, 0), (0, 0)], vec![(10, 0)]],
        levels: 0,
    };
    assert_eq!(case.solve(usize::MAX).map(|a| a.0), Ok(10));
}

#[test]
fn cycles_are_refused() {
    let way = |children: &[Class]| Alternative { children: children.to_vec(), depth: 0 };
    let case = Case {
        classes: vec![vec![way(&[1])], vec![way(&[2])], vec![way(&[1])]],
        costs: vec![vec![(0, 0)]; 3],
        levels: 0,
    };
    assert!(matches!(case.solve(usize::MAX), Err(ExtractError::Cycle(_))));
}

#[test]
fn of_equal_answers_the_first_is_taken() {
    // 0 reads 1 and 2; both read 3, or both read 4, at the same cost.
    let way = |children: &[Class]| Alternative { children: children.to_vec(), depth: 0 };
    let either = || vec![way(&[3]), way(&[4])];
    let leaves = || vec![way(&[]), way(&[])];
    let case = Case {
        classes: vec![vec![way(&[1, 2])], either(), either(), leaves(), leaves()],
        costs: vec![vec![(1, 0)], vec![(1, 0); 2], vec![(1, 0); 2], vec![(1, 0); 2], vec![(1, 0); 2]],
        levels: 0,
    };
    for beam in [2, 3, usize::MAX] {
        let (cost, decisions, _) = case.solve(beam).expect("there is an answer");
        assert_eq!(cost, 4, "beam {beam}");
        let chosen: Vec<(Class, usize)> = decisions.iter().map(|d| (d.class, d.alternative)).collect();
        assert_eq!(chosen, [(3, 0), (2, 0), (1, 0), (0, 0)], "beam {beam}");
    }
}
