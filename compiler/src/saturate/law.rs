//! Laws: rewrites that are functions of a class, with the text that documents them.
//!
//! n-ary laws with conditions do not fit egg's patterns, so each is one function: it looks at the terms of a class and
//! returns equal ones. Promises: a law reports a change only where it added a term or joined two classes, so that
//! saturation ends.

use crate::passes::LawText;
use egg::{
    Analysis, Applier, EGraph, Id, Language, PatternAst, Rewrite, SearchMatches, Searcher, Subst, Symbol, Var,
};

/// A law: what it says, and the functions that do it.
pub struct Law<L: Language, A: Analysis<L>> {
    /// What it says.
    pub text: LawText,
    /// Terms that it reads.
    pub holds: fn(&L) -> bool,
    /// Equal terms of a class.
    pub joins: fn(&mut EGraph<L, A>, Id) -> Vec<L>,
}

impl<L, A> Law<L, A>
where
    L: Language + Send + Sync + 'static,
    A: Analysis<L> + 'static,
{
    /// A law by its text (name, left, right, condition) and its functions.
    pub const fn new(
        [name, left, right, condition]: [&'static str; 4],
        holds: fn(&L) -> bool,
        joins: fn(&mut EGraph<L, A>, Id) -> Vec<L>,
    ) -> Law<L, A> {
        Law { text: LawText { name, left, right, holds: condition }, holds, joins }
    }

    /// As a rewrite.
    pub fn rewrite(&self) -> Rewrite<L, A> {
        Rewrite::new(self.text.name, Holds(self.holds), Joins(self.joins))
            .expect("laws bind no pattern variables")
    }
}

/// Finds the classes that hold a term of one kind.
struct Holds<L>(fn(&L) -> bool);

impl<L: Language, A: Analysis<L>> Searcher<L, A> for Holds<L> {
    fn search_eclass_with_limit(
        &self,
        graph: &EGraph<L, A>,
        class: Id,
        limit: usize,
    ) -> Option<SearchMatches<'_, L>> {
        let found = limit > 0 && graph[class].nodes.iter().any(self.0);
        found.then(|| SearchMatches { eclass: class, substs: vec![Subst::default()], ast: None })
    }

    fn vars(&self) -> Vec<Var> {
        vec![]
    }
}

/// Adds what a function finds for a class.
struct Joins<L: Language, A: Analysis<L>>(fn(&mut EGraph<L, A>, Id) -> Vec<L>);

impl<L: Language, A: Analysis<L>> Applier<L, A> for Joins<L, A> {
    fn apply_one(
        &self,
        graph: &mut EGraph<L, A>,
        class: Id,
        _: &Subst,
        _: Option<&PatternAst<L>>,
        _: Symbol,
    ) -> Vec<Id> {
        let mut changed = Vec::new();
        for term in (self.0)(graph, class) {
            let known = graph.lookup(term.clone());
            let new = graph.add(term);
            if known.is_none() | graph.union(class, new) {
                changed.push(new);
            }
        }
        changed
    }
}
