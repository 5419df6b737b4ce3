//! Which node is the home of each shard, by the views and homes that this node has heard. What is known
//! never goes back, even if the bucket was lost or restored from a copy.

pub use herenow_core::Term;
use herenow_wire::SHARDS;

use crate::view::View;

/// See the module.
#[derive(Debug)]
pub(crate) struct Terms {
    highest: Vec<Term>,
    /// How many terms were learned.
    learned: u64,
}

impl Terms {
    pub(crate) fn new() -> Self {
        Self { highest: vec![Term::NONE; usize::from(SHARDS)], learned: 0 }
    }

    pub(crate) fn of(&self, shard: u16) -> Term {
        self.highest[usize::from(shard)]
    }

    /// Takes in a term. Gives the one before it if it is news.
    pub(crate) fn learn(&mut self, shard: u16, term: Term) -> Option<Term> {
        let known = &mut self.highest[usize::from(shard)];
        if term <= *known {
            return None;
        }
        self.learned += 1;
        Some(std::mem::replace(known, term))
    }

    /// Grows with each term that is learned.
    pub(crate) fn learned(&self) -> u64 {
        self.learned
    }

    /// The shards whose terms in `view` lie before those that are known, though the view is not
    /// older than they are: the bucket has forgotten them. A term that is newer than the view has
    /// only not been read yet.
    pub(crate) fn forgotten_by(&self, view: &View) -> Vec<u16> {
        let is_forgotten = |shard: &u16| {
            let known = self.of(*shard);
            known.epoch <= view.v && view.term(*shard) < known
        };
        (0..SHARDS).filter(is_forgotten).collect()
    }
}

#[cfg(test)]
mod tests {
    use herenow_wire::link::Incarnation;

    use super::*;

    fn term(epoch: u64, home: u64) -> Term {
        Term { epoch, home: Incarnation(home) }
    }

    #[test]
    fn a_term_is_learned_only_if_it_is_above_the_one_that_is_known() {
        let mut terms = Terms::new();
        assert_eq!(terms.learn(3, term(10, 1)), Some(Term::NONE));
        assert_eq!(terms.learn(3, term(9, 2)), None);
        assert_eq!(terms.learn(3, term(10, 1)), None);
        assert_eq!(terms.of(3), term(10, 1));
    }

    #[test]
    fn two_terms_of_one_epoch_are_ordered_by_their_homes() {
        // After the bucket was rolled back two views may have one number.
        let mut terms = Terms::new();
        terms.learn(3, term(10, 1));
        assert_eq!(terms.learn(3, term(10, 2)), Some(term(10, 1)));
        assert_eq!(terms.learn(3, term(10, 1)), None);
    }

    #[test]
    fn a_view_has_forgotten_the_terms_that_are_not_newer_than_it_and_above_its_own() {
        let mut terms = Terms::new();
        let view = View::empty(1).successor(0, 100);
        terms.learn(3, term(100, 1));
        terms.learn(4, term(101, 1));
        assert_eq!(terms.forgotten_by(&view), [3], "the term of shard 4 was only not read yet");
    }
}
