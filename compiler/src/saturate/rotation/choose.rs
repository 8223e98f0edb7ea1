//! The choice of one way for every demand, keys that several ways use counted once, at the highest level that any wants.
//!
//! The cost of a choice is its time plus a price for the bytes of its keys. Relies on ways that name their keys. Does:
//! descends from several starts, one group of demands at a time, each step the best answer to all other choices
//! ([`Problem::descend`]); and bounds the cost of any choice from below ([`Problem::lower_bound`]). Promises: no choice is worse than its start; ties go to what comes first; integers only.

use cipherloom_ir::scheme::Level;
use std::collections::{BTreeMap, BTreeSet};

/// A way to meet a demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Predicted time.
    pub time_ns: u64,
    /// Steps that need keys.
    pub keys: Vec<u32>,
}

/// Something that has to be computed at a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Level of its keys.
    pub level: Level,
    /// The ways to do it.
    pub ways: Vec<Way>,
}

/// Variants of which one is taken, each a list of demands.
pub type Group = Vec<Vec<usize>>;

/// What is to be chosen.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// Demands.
    pub demands: Vec<Demand>,
    /// Groups; each demand stands in one variant of one group.
    pub groups: Vec<Group>,
    /// Bytes of a key by level, ascending.
    pub key_bytes: Vec<u64>,
    /// Bytes of keys that are needed in any case.
    pub held_bytes: u64,
}

/// Price of a mebibyte of keys, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(pub u64);

/// A choice: a variant of every group, and a way of every demand (which matters for taken variants alone).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice {
    /// Variant by group.
    pub variants: Vec<usize>,
    /// Way by demand.
    pub ways: Vec<usize>,
}

/// What a choice costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cost {
    /// Bytes of all keys.
    pub key_bytes: u64,
    /// Predicted time.
    pub time_ns: u64,
}

impl Cost {
    /// Time with keys at a price, in 2^-20 ns.
    pub fn priced(self, price: Price) -> u128 {
        (u128::from(self.time_ns) << 20) + u128::from(self.key_bytes) * u128::from(price.0)
    }
}

/// Keys in use, by step.
struct Usage<'a> {
    problem: &'a Problem,
    /// How many ways want the key at each level.
    wanted: Vec<Vec<(Level, u32)>>,
    /// Bytes of the key at the highest of these levels; 0 where no way wants it.
    held: Vec<u64>,
}

impl Usage<'_> {
    fn bytes(&self, level: Level) -> u64 {
        self.problem.key_bytes[level.0 as usize]
    }

    fn hold(&mut self, key: usize) {
        let highest = self.wanted[key].iter().map(|(level, _)| *level).max();
        self.held[key] = highest.map_or(0, |level| self.bytes(level));
    }

    fn add(&mut self, demand: usize, way: usize) {
        let Demand { level, ways } = &self.problem.demands[demand];
        for key in ways[way].keys.iter().map(|key| *key as usize) {
            if key >= self.held.len() {
                self.wanted.resize(key + 1, vec![]);
                self.held.resize(key + 1, 0);
            }
            match self.wanted[key].iter_mut().find(|(known, _)| known == level) {
                Some((_, count)) => *count += 1,
                None => self.wanted[key].push((*level, 1)),
            }
            self.hold(key);
        }
    }

    fn remove(&mut self, demand: usize, way: usize) {
        let Demand { level, ways } = &self.problem.demands[demand];
        for key in ways[way].keys.iter().map(|key| *key as usize) {
            let at = self.wanted[key].iter().position(|(known, _)| known == level);
            let at = at.expect("a way that is removed was added");
            self.wanted[key][at].1 -= 1;
            if self.wanted[key][at].1 == 0 {
                self.wanted[key].swap_remove(at);
            }
            self.hold(key);
        }
    }

    /// What a way would cost beside what is in use.
    fn extra(&self, demand: usize, way: usize) -> Cost {
        let Demand { level, ways } = &self.problem.demands[demand];
        let own = self.bytes(*level);
        let grown = |key: &u32| own.saturating_sub(self.held.get(*key as usize).copied().unwrap_or(0));
        Cost { key_bytes: ways[way].keys.iter().map(grown).sum(), time_ns: ways[way].time_ns }
    }

    fn key_bytes(&self) -> u64 {
        self.held.iter().sum()
    }
}

impl Problem {
    /// Leaves out ways that another one of the demand beats or equals in time with no other keys. The answers stay.
    pub fn pruned(&self) -> (Problem, Vec<Vec<usize>>) {
        let mut out = self.clone();
        let mut kept_ways = Vec::new();
        for demand in &mut out.demands {
            let mut order: Vec<usize> = (0..demand.ways.len()).collect();
            order.sort_by_key(|w| (demand.ways[*w].time_ns, demand.ways[*w].keys.len(), *w));
            let mut kept: Vec<(usize, BTreeSet<u32>)> = Vec::new();
            for way in order {
                let keys: BTreeSet<u32> = demand.ways[way].keys.iter().copied().collect();
                if !kept.iter().any(|(_, known)| known.is_subset(&keys)) {
                    kept.push((way, keys));
                }
            }
            let kept: Vec<usize> = kept.into_iter().map(|(way, _)| way).collect();
            demand.ways = kept.iter().map(|w| demand.ways[*w].clone()).collect();
            kept_ways.push(kept);
        }
        (out, kept_ways)
    }

    /// The choice in which every demand takes its own cheapest way, and every group its first variant.
    pub fn each_alone(&self, price: Price) -> Choice {
        let alone = |demand: &Demand| {
            let bytes = self.key_bytes[demand.level.0 as usize];
            let cost =
                |w: &Way| Cost { key_bytes: bytes * w.keys.len() as u64, time_ns: w.time_ns }.priced(price);
            (0..demand.ways.len()).min_by_key(|w| cost(&demand.ways[*w])).unwrap_or(0)
        };
        Choice { variants: vec![0; self.groups.len()], ways: self.demands.iter().map(alone).collect() }
    }

    /// Demands that a choice takes, with their ways.
    pub fn taken<'a>(&'a self, choice: &'a Choice) -> impl Iterator<Item = (usize, usize)> + 'a {
        let of = |(group, variant): (&'a Group, &usize)| group[*variant].iter();
        self.groups.iter().zip(&choice.variants).flat_map(of).map(|d| (*d, choice.ways[*d]))
    }

    fn usage(&self, choice: &Choice) -> Usage<'_> {
        let mut usage = Usage { problem: self, wanted: vec![], held: vec![] };
        self.taken(choice).for_each(|(demand, way)| usage.add(demand, way));
        usage
    }

    /// Cost of a choice.
    pub fn cost(&self, choice: &Choice) -> Cost {
        let time_ns = self.taken(choice).map(|(demand, way)| self.demands[demand].ways[way].time_ns).sum();
        Cost { key_bytes: self.held_bytes + self.usage(choice).key_bytes(), time_ns }
    }

    /// Number of different keys of a choice.
    pub fn keys(&self, choice: &Choice) -> usize {
        self.usage(choice).wanted.iter().filter(|levels| !levels.is_empty()).count()
    }

    /// Improves a choice group by group until no group can do better for itself.
    pub fn descend(&self, mut choice: Choice, price: Price) -> Choice {
        let mut usage = self.usage(&choice);
        loop {
            let mut changed = false;
            for (group, variants) in self.groups.iter().enumerate() {
                let demands = &variants[choice.variants[group]];
                demands.iter().for_each(|d| usage.remove(*d, choice.ways[*d]));
                let own = |demand: usize, _: &Usage<'_>| choice.ways[demand];
                let mut least = self.beside(&mut usage, demands, price, &own).0;
                let mut better = None;
                let best = |demand: usize, usage: &Usage<'_>| {
                    let of = |way: &usize| (usage.extra(demand, *way).priced(price), *way);
                    (0..self.demands[demand].ways.len()).min_by_key(of).unwrap_or(0)
                };
                for (variant, demands) in variants.iter().enumerate() {
                    let (cost, ways) = self.beside(&mut usage, demands, price, &best);
                    if cost < least {
                        (least, better) = (cost, Some((variant, ways)));
                    }
                }
                if let Some((variant, ways)) = better {
                    changed = true;
                    choice.variants[group] = variant;
                    variants[variant].iter().zip(ways).for_each(|(d, way)| choice.ways[*d] = way);
                }
                variants[choice.variants[group]].iter().for_each(|d| usage.add(*d, choice.ways[*d]));
            }
            if !changed {
                return choice;
            }
        }
    }

    /// What some demands cost beside what is in use, each taking a way beside all that came before it; and these ways.
    fn beside(
        &self,
        usage: &mut Usage<'_>,
        demands: &[usize],
        price: Price,
        pick: &dyn Fn(usize, &Usage<'_>) -> usize,
    ) -> (u128, Vec<usize>) {
        let (mut total, mut ways) = (0, Vec::with_capacity(demands.len()));
        for &demand in demands {
            let way = pick(demand, usage);
            total += usage.extra(demand, way).priced(price);
            usage.add(demand, way);
            ways.push(way);
        }
        demands.iter().zip(&ways).for_each(|(demand, way)| usage.remove(*demand, *way));
        (total, ways)
    }

    /// All choices that differ from this one in one demand, with their costs.
    pub fn neighbours(&self, choice: &Choice) -> Vec<(Cost, Choice)> {
        let (mut usage, whole) = (self.usage(choice), self.cost(choice));
        let taken: Vec<(usize, usize)> = self.taken(choice).collect();
        let mut out = Vec::new();
        for (demand, own) in taken {
            usage.remove(demand, own);
            let before = usage.extra(demand, own);
            for way in (0..self.demands[demand].ways.len()).filter(|way| *way != own) {
                let after = usage.extra(demand, way);
                let mut next = choice.clone();
                next.ways[demand] = way;
                let cost = Cost {
                    key_bytes: whole.key_bytes - before.key_bytes + after.key_bytes,
                    time_ns: whole.time_ns - before.time_ns + after.time_ns,
                };
                out.push((cost, next));
            }
            usage.add(demand, own);
        }
        out
    }

    /// No choice costs less than this at a price: a key that n demands may use costs each user an n-th at least.
    pub fn lower_bound(&self, price: Price) -> u128 {
        let mut users: BTreeMap<u32, u128> = BTreeMap::new();
        for demand in &self.demands {
            let keys: BTreeSet<u32> = demand.ways.iter().flat_map(|w| w.keys.iter().copied()).collect();
            keys.into_iter().for_each(|key| *users.entry(key).or_default() += 1);
        }
        let least = |demand: &usize| {
            let Demand { level, ways } = &self.demands[*demand];
            let key = u128::from(self.key_bytes[level.0 as usize]) * u128::from(price.0);
            let cost = |w: &Way| {
                let shares: u128 = w.keys.iter().map(|k| key / users[k]).sum();
                (u128::from(w.time_ns) << 20) + shares
            };
            ways.iter().map(cost).min().unwrap_or(0)
        };
        let variant = |demands: &Vec<usize>| demands.iter().map(least).sum::<u128>();
        let groups: u128 = self.groups.iter().map(|g| g.iter().map(variant).min().unwrap_or(0)).sum();
        groups + u128::from(self.held_bytes) * u128::from(price.0)
    }
}
