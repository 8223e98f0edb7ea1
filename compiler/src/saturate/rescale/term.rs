//! The language of the rescale e-graph: the operations of a circuit, with payloads as indices into side tables.
//!
//! Relies on the op laws of `ir`. Promises: [`Tables`] knows the exact type (level, degree, scale) of every class that
//! is one value; terms whose types differ are never joined, so any choice of terms obeys the laws.

use cipherloom_ir::scheme::{Level, Scale};
use cipherloom_ir::{
    Activation, Circuit, Degree, LinearMap, LinearPlan, MapId, Op, Plain, Step, ValueId, ValueType,
};
use egg::{Analysis, DidMerge, EGraph, Id, Language};

/// The e-graph of the stage.
pub type Graph = EGraph<Term, Tables>;

/// Index of an entry in one of the side tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u32);

/// How a value is divided or switched back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Division {
    /// Degree 2 to degree 1.
    Relinearize,
    /// Division by the level's prime.
    Rescale,
    /// Both in one mod-down.
    Both,
}

/// Which sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sign {
    /// x + y
    Plus,
    /// x − y
    Minus,
}

/// Operations on one value that keep its slots' places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unary {
    /// −x
    Neg,
    /// x + p
    AddPlain(Index),
    /// x · p
    MulPlain(Index),
    /// x · c, the number by its bits.
    MulScalar(u64),
    /// Relinearise, rescale, or both.
    Divide(Division),
    /// Forget limbs down to this level.
    Drop(u32),
    /// To the canonical scale of this level.
    Adjust(u32),
    /// To the left by this step.
    Rotate(u32),
    /// Complex conjugation.
    Conjugate,
    /// An exact function (drafts).
    Activation(Index),
}

/// A term of the e-graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Term {
    /// A ciphertext of an input.
    Input(u32, u32),
    /// An operation on one value.
    Unary(Unary, [Id; 1]),
    /// A sum or difference.
    Sum(Sign, [Id; 2]),
    /// Products of pairs, summed.
    Products(Box<[Id]>),
    /// All results of a linear plan.
    Plan(Index, Box<[Id]>),
    /// One result of a plan.
    Part(u32, [Id; 1]),
    /// All values of all outputs.
    Deliver(Box<[Id]>),
}

impl Language for Term {
    type Discriminant = std::mem::Discriminant<Term>;

    fn discriminant(&self) -> Self::Discriminant {
        std::mem::discriminant(self)
    }

    fn matches(&self, other: &Term) -> bool {
        use Term::{Deliver, Input, Part, Plan, Products, Sum, Unary};
        match (self, other) {
            (Input(i, c), Input(j, d)) => (i, c) == (j, d),
            (Unary(a, _), Unary(b, _)) => a == b,
            (Sum(a, _), Sum(b, _)) => a == b,
            (Products(a), Products(b)) | (Deliver(a), Deliver(b)) => a.len() == b.len(),
            (Plan(p, a), Plan(q, b)) => p == q && a.len() == b.len(),
            (Part(k, _), Part(l, _)) => k == l,
            _ => false,
        }
    }

    fn children(&self) -> &[Id] {
        use Term::{Deliver, Input, Part, Plan, Products, Sum, Unary};
        match self {
            Input(..) => &[],
            Unary(_, x) | Part(_, x) => x,
            Sum(_, xs) => xs,
            Products(xs) | Plan(_, xs) | Deliver(xs) => xs,
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        use Term::{Deliver, Input, Part, Plan, Products, Sum, Unary};
        match self {
            Input(..) => &mut [],
            Unary(_, x) | Part(_, x) => x,
            Sum(_, xs) => xs,
            Products(xs) | Plan(_, xs) | Deliver(xs) => xs,
        }
    }
}

/// What is known of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Type of the value, or of each result of a plan; `None`: no value, or terms that break a law.
    pub kind: Option<ValueType>,
    /// Layer of the model that asked for it first.
    pub origin: u32,
}

/// Side tables of the e-graph.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Linear maps; the circuit's own come first.
    pub maps: Vec<LinearMap>,
    /// Plaintexts.
    pub plains: Vec<Plain>,
    /// Exact functions.
    pub functions: Vec<Activation>,
    /// Plans; their sources' values are placeholders.
    pub plans: Vec<LinearPlan>,
    /// Layer that new terms belong to.
    pub origin: u32,
    /// Level of fresh inputs.
    pub top: Level,
}

fn interned<T: PartialEq>(list: &mut Vec<T>, value: T) -> Index {
    let known = list.iter().position(|x| *x == value);
    Index(known.unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    }) as u32)
}

impl Tables {
    /// The tables of a circuit.
    pub fn of(circuit: &Circuit) -> Tables {
        Tables {
            maps: circuit.maps.clone(),
            plains: vec![],
            functions: vec![],
            plans: vec![],
            origin: 0,
            top: circuit.parameters.top(),
        }
    }

    /// Adds a plaintext.
    pub fn plain(&mut self, plain: Plain) -> Index {
        interned(&mut self.plains, plain)
    }

    /// Adds an exact function.
    pub fn function(&mut self, function: Activation) -> Index {
        interned(&mut self.functions, function)
    }

    /// Adds a map.
    pub fn map(&mut self, map: LinearMap) -> MapId {
        MapId(interned(&mut self.maps, map).0)
    }

    /// Adds a plan.
    pub fn plan(&mut self, mut plan: LinearPlan) -> Index {
        plan.sources.iter_mut().flat_map(|s| &mut s.values).for_each(|v| *v = ValueId(0));
        interned(&mut self.plans, plan)
    }

    /// A plan with all its maps multiplied by a number.
    pub fn scaled_plan(&mut self, plan: Index, factor: f64) -> Option<Index> {
        let mut plan = self.plans[plan.0 as usize].clone();
        for source in &mut plan.sources {
            let mut map = self.maps[source.map.0 as usize].clone();
            map.scale *= factor;
            if !map.scale.is_finite() || map.scale == 0.0 {
                return None;
            }
            source.map = self.map(map);
        }
        Some(self.plan(plan))
    }

    /// A plaintext multiplied by a number.
    pub fn scaled_plain(&mut self, plain: Index, factor: f64) -> Option<Index> {
        let plain = match self.plains[plain.0 as usize].clone() {
            Plain::Constant(c) => Plain::Constant(c * factor),
            Plain::Tensor { tensor, layout, ciphertext, scale } => {
                Plain::Tensor { tensor, layout, ciphertext, scale: scale * factor }
            }
            Plain::Diagonal { .. } => return None,
        };
        Some(self.plain(plain))
    }

    /// Whether a plan divides by the level's prime.
    pub fn rescales(&self, plan: Index) -> bool {
        self.plans[plan.0 as usize].rescale
    }
}

/// Exact type of a term on operands of these types; `None` where it breaks a law.
pub fn kind_of(tables: &Tables, term: &Term, of: &dyn Fn(Id) -> Option<ValueType>) -> Option<ValueType> {
    match term {
        Term::Input(..) => Some(ValueType::canonical(tables.top)),
        Term::Unary(op, [x]) => unary(*op, of(*x)?),
        Term::Sum(_, [x, y]) => {
            let (x, y) = (of(*x)?, of(*y)?);
            let fits = x.level == y.level && x.scale == y.scale;
            fits.then(|| ValueType { degree: x.degree.max(y.degree), ..x })
        }
        Term::Products(pairs) => {
            let mut kind: Option<ValueType> = None;
            for pair in pairs.chunks_exact(2) {
                let (x, y) = (of(pair[0])?, of(pair[1])?);
                let one = x.degree == Degree::One && y.degree == Degree::One;
                let scale = x.scale.times(&y.scale);
                let fits = one && x.level == y.level && x.level.0 > 0;
                let found = ValueType { degree: Degree::Two, scale, level: x.level };
                if !fits || kind.as_ref().is_some_and(|k| *k != found) {
                    return None;
                }
                kind = Some(found);
            }
            kind
        }
        Term::Plan(plan, xs) => {
            let first = of(*xs.first()?)?;
            let alike = xs.iter().all(|x| of(*x).as_ref() == Some(&first));
            let fits = alike && first.degree == Degree::One && first.level.0 > 0;
            let product = ValueType { scale: Scale::product(first.level), ..first };
            let kind = if tables.rescales(*plan) { divided(product)? } else { product };
            fits.then_some(kind)
        }
        Term::Part(_, [x]) => of(*x),
        Term::Deliver(_) => None,
    }
}

fn unary(op: Unary, x: ValueType) -> Option<ValueType> {
    let product = |x: ValueType| (x.level.0 > 0).then(|| ValueType { scale: Scale::product(x.level), ..x });
    match op {
        Unary::Neg | Unary::AddPlain(_) => Some(x),
        Unary::MulScalar(_) => product(x),
        Unary::MulPlain(_) if x.degree == Degree::One => product(x),
        Unary::Divide(Division::Relinearize) if x.degree == Degree::Two => {
            Some(ValueType { degree: Degree::One, ..x })
        }
        Unary::Divide(Division::Rescale) => divided(x),
        Unary::Divide(Division::Both) if x.degree == Degree::Two => {
            divided(ValueType { degree: Degree::One, ..x })
        }
        Unary::Drop(to) if to < x.level.0 => Some(ValueType { level: Level(to), ..x }),
        Unary::Adjust(to) if to < x.level.0 && x.scale == Scale::canonical(x.level) => {
            Some(ValueType { level: Level(to), scale: Scale::canonical(Level(to)), ..x })
        }
        Unary::Rotate(_) | Unary::Conjugate | Unary::Activation(_) if x.degree == Degree::One => Some(x),
        _ => None,
    }
}

fn divided(x: ValueType) -> Option<ValueType> {
    if x.level.0 == 0 {
        return None;
    }
    let scale = x.scale.rescaled(x.level);
    Some(ValueType { level: Level(x.level.0 - 1), scale, ..x })
}

impl Tables {
    /// The operation of a term on these operands, without keys: what costs are asked for, and what is rebuilt.
    pub fn op(&self, term: &Term, operands: &[ValueId]) -> Option<Op> {
        let key = cipherloom_ir::KeyId(0);
        Some(match (term, operands) {
            (Term::Input(input, ciphertext), _) => Op::Input { input: *input, ciphertext: *ciphertext },
            (Term::Unary(op, _), [x]) => match *op {
                Unary::Neg => Op::Neg(*x),
                Unary::AddPlain(p) => Op::AddPlain(*x, self.plains[p.0 as usize].clone()),
                Unary::MulPlain(p) => Op::MulPlain(*x, self.plains[p.0 as usize].clone()),
                Unary::MulScalar(bits) => Op::MulScalar(*x, f64::from_bits(bits)),
                Unary::Divide(Division::Relinearize) => Op::Relinearize(*x, key),
                Unary::Divide(Division::Rescale) => Op::Rescale(*x),
                Unary::Divide(Division::Both) => Op::RelinearizeRescale(*x, key),
                Unary::Drop(to) => Op::DropLevel(*x, Level(to)),
                Unary::Adjust(to) => Op::Adjust(*x, Level(to)),
                Unary::Rotate(step) => {
                    Op::Rotate(*x, cipherloom_ir::KeyedStep { step: Step(step), key: Some(key) })
                }
                Unary::Conjugate => Op::Conjugate(*x, key),
                Unary::Activation(f) => Op::Activation(*x, self.functions[f.0 as usize].clone()),
            },
            (Term::Sum(Sign::Plus, _), [x, y]) => Op::Add(*x, *y),
            (Term::Sum(Sign::Minus, _), [x, y]) => Op::Sub(*x, *y),
            (Term::Products(_), [x, y]) => Op::Mul(*x, *y),
            (Term::Products(_), xs) => Op::SumOfProducts(xs.chunks_exact(2).map(|p| (p[0], p[1])).collect()),
            (Term::Plan(plan, _), xs) => {
                let mut plan = self.plans[plan.0 as usize].clone();
                let places = plan.sources.iter_mut().flat_map(|s| &mut s.values);
                places.zip(xs).for_each(|(place, x)| *place = *x);
                Op::Linear(plan)
            }
            _ => return None,
        })
    }
}

impl Analysis<Term> for Tables {
    type Data = Fact;

    fn make(graph: &mut EGraph<Term, Self>, term: &Term, _: Id) -> Fact {
        let of = |id: Id| graph[id].data.kind.clone();
        Fact { kind: kind_of(&graph.analysis, term, &of), origin: graph.analysis.origin }
    }

    fn merge(&mut self, a: &mut Fact, b: Fact) -> DidMerge {
        // Laws join equal types only; a conflict would leave a class that no term may read.
        let kind = if a.kind == b.kind { a.kind.clone() } else { None };
        let merged = Fact { kind, origin: a.origin.min(b.origin) };
        let did = DidMerge(*a != merged, b != merged);
        *a = merged;
        did
    }
}
