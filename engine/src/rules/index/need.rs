//! What a rule needs of an event, in terms of the tests of its trigger: a demand, without the parts that no
//! event contains.
//!
//! `layer` chooses the need by which a rule is found.

use std::rc::Rc;

use ensue_expression::Demand;

use super::fields::{Grade, TestId, Tests};

/// A need of a rule; all needs of a rule must be met.
#[derive(Clone, Debug)]
pub(super) enum Need {
    /// The event passes this test.
    Test(TestId),
    /// All needs of at least one branch are met.
    Any(Rc<Branches>),
}

#[derive(Debug)]
pub(super) struct Branches {
    pub(super) branches: Vec<Vec<Need>>,
    /// The maximum number of tests that a rule found by this need is filed under; errors are not counted.
    keys: usize,
}

/// Returns the needs of a demand: an empty list if any event will do, `None` if no event will.
pub(super) fn needs_of(demand: &Demand, tests: &mut Tests) -> Option<Vec<Need>> {
    match demand {
        Demand::Anything => Some(Vec::new()),
        Demand::Nothing => None,
        Demand::Test(test) => Some(tests.id_of(test).map(Need::Test).into_iter().collect()),
        Demand::All(parts) => {
            let mut needs = Vec::with_capacity(parts.len());
            for part in parts {
                needs.extend(needs_of(part, tests)?);
            }
            Some(needs)
        }
        Demand::Any(parts) => {
            let branches: Vec<_> = parts.iter().filter_map(|part| needs_of(part, tests)).collect();
            if branches.is_empty() {
                return None;
            }
            if branches.iter().any(Vec::is_empty) {
                return Some(Vec::new());
            }
            let keys = branches.iter().map(|needs| needs.iter().map(|need| need.keys(tests)).max().unwrap_or(0)).sum();
            Some(vec![Need::Any(Rc::new(Branches { branches, keys }))])
        }
    }
}

impl Need {
    /// Returns the maximum number of tests that a rule found by this need is filed under; errors are not counted.
    pub(super) fn keys(&self, tests: &Tests) -> usize {
        match self {
            Self::Test(id) => match tests.grade(*id) {
                Grade::Picks | Grade::Guards => 1,
                Grade::Errs => 0,
            },
            Self::Any(any) => any.keys,
        }
    }
}
