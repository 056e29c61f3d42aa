//! The logic of an explanation: which leaves of a formula of `&&`, `||`, `!` and `? :` force its truth, and
//! which would flip it.
//!
//! What a leaf says, and how it got its truth, is not known here. Each leaf is independent: two that are
//! written alike are two.

/// The maximum number of reported ways to flip a formula.
pub(super) const FLIPS_MAX: usize = 8;
/// The maximum number of leaves of a way other than the shortest. Testing whether fewer would do doubles with
/// each leaf.
const ALTERNATIVE_LEAVES_MAX: usize = 8;

/// The truth of a leaf or a formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    /// It failed, or is neither true nor false.
    Erred,
}

impl Truth {
    pub(super) fn of(truth: bool) -> Self {
        if truth { Self::True } else { Self::False }
    }

    fn negate(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Erred => Self::Erred,
        }
    }
}

/// A formula. Its leaves are numbered in the order in which they are written.
#[derive(Clone, Debug)]
pub(super) enum Formula {
    Leaf(usize),
    /// True if all are true, false if one is false, even if others fail.
    All(Vec<Formula>),
    /// True if one is true, even if others fail; false if all are false.
    Any(Vec<Formula>),
    Not(Box<Formula>),
    /// The first branch whose condition is true. A condition that fails ends it.
    Choice(Vec<(Formula, Formula)>, Box<Formula>),
}

/// The truths that a formula may keep: its present truth only, or that and an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AllowedTruth {
    /// This one only.
    To(Truth),
    /// This one or an error.
    ToOrErred(Truth),
}

impl AllowedTruth {
    fn allows(self, truth: Truth) -> bool {
        match self {
            Self::To(only) => truth == only,
            Self::ToOrErred(one) => truth == one || truth == Truth::Erred,
        }
    }

    fn allows_errors(self) -> bool {
        self.allows(Truth::Erred)
    }

    fn negate(self) -> Self {
        match self {
            Self::To(truth) => Self::To(truth.negate()),
            Self::ToOrErred(truth) => Self::ToOrErred(truth.negate()),
        }
    }

    /// Returns the truths that a condition may keep so that it is never the opposite of `truth`. It may fail
    /// only if the result may.
    fn condition(self, truth: Truth) -> Self {
        if self.allows_errors() { Self::ToOrErred(truth) } else { Self::To(truth) }
    }
}

/// Leaves in the order in which they are written.
type Leaves = Vec<usize>;
/// Leaves with the truth that each would need.
pub(super) type Turns = Vec<(usize, bool)>;

impl Formula {
    /// Returns the formula's truth.
    pub(super) fn truth(&self, leaves: &[Truth]) -> Truth {
        match self {
            Self::Leaf(leaf) => leaves[*leaf],
            Self::All(parts) => junction(parts, leaves, Truth::False),
            Self::Any(parts) => junction(parts, leaves, Truth::True),
            Self::Not(part) => part.truth(leaves).negate(),
            Self::Choice(branches, otherwise) => {
                for (condition, then) in branches {
                    match condition.truth(leaves) {
                        Truth::True => return then.truth(leaves),
                        Truth::False => {}
                        Truth::Erred => return Truth::Erred,
                    }
                }
                otherwise.truth(leaves)
            }
        }
    }

    /// Returns the fewest leaves that decide: as long as they stay as they are, the formula keeps its truth,
    /// whatever the others are.
    pub(super) fn decisive(&self, leaves: &[Truth]) -> Leaves {
        self.keeping(leaves, AllowedTruth::To(self.truth(leaves))).unwrap_or_default()
    }

    /// Returns the ways to make the formula `to`, shortest first. None of them works with fewer turns. If the
    /// formula already is so, there is one way without any turn.
    pub(super) fn flips(&self, leaves: &[Truth], to: bool) -> Vec<Turns> {
        let mut ways = self.ways(leaves, to);
        let shortest = ways.first().map_or(0, Vec::len);
        ways.retain(|way| way.len() == shortest || (way.len() <= ALTERNATIVE_LEAVES_MAX && self.needs_all(leaves, way, to)));
        ways
    }

    /// Returns the fewest leaves that keep the formula within some truths, or nothing if its present truth is
    /// not one of them.
    fn keeping(&self, leaves: &[Truth], kept: AllowedTruth) -> Option<Leaves> {
        match self {
            Self::Leaf(leaf) => kept.allows(leaves[*leaf]).then(|| vec![*leaf]),
            Self::All(parts) => junction_keeping(parts, leaves, kept, Truth::False),
            Self::Any(parts) => junction_keeping(parts, leaves, kept, Truth::True),
            Self::Not(part) => part.keeping(leaves, kept.negate()),
            Self::Choice(branches, otherwise) => {
                // From last to first: whatever follows a condition is a choice itself.
                let mut rest = otherwise.keeping(leaves, kept);
                for (condition, then) in branches.iter().rev() {
                    let then = then.keeping(leaves, kept);
                    let taken = both(condition.keeping(leaves, kept.condition(Truth::True)), then.clone());
                    let passed = both(condition.keeping(leaves, kept.condition(Truth::False)), rest.clone());
                    let (erred, either) = if kept.allows_errors() {
                        (condition.keeping(leaves, AllowedTruth::To(Truth::Erred)), both(then, rest))
                    } else {
                        (None, None)
                    };
                    rest = fewest([taken, passed, erred, either]);
                }
                rest
            }
        }
    }

    /// Returns the ways to make the formula `to`, shortest first, at most [`FLIPS_MAX`].
    fn ways(&self, leaves: &[Truth], to: bool) -> Vec<Turns> {
        match self {
            Self::Leaf(leaf) if leaves[*leaf] == Truth::of(to) => vec![Vec::new()],
            Self::Leaf(leaf) => vec![vec![(*leaf, to)]],
            Self::Not(part) => part.ways(leaves, !to),
            Self::All(parts) if to => all_ways(parts, leaves, to),
            Self::Any(parts) if !to => all_ways(parts, leaves, to),
            Self::All(parts) | Self::Any(parts) => shortest(parts.iter().flat_map(|part| part.ways(leaves, to)).collect()),
            Self::Choice(branches, otherwise) => {
                let mut ways = Vec::new();
                let mut passed = vec![Vec::new()];
                for (condition, then) in branches {
                    let taken = combine(&passed, &condition.ways(leaves, true));
                    ways.extend(combine(&taken, &then.ways(leaves, to)));
                    passed = combine(&passed, &condition.ways(leaves, false));
                }
                ways.extend(combine(&passed, &otherwise.ways(leaves, to)));
                shortest(ways)
            }
        }
    }

    /// Returns true if a way fails as soon as any of its turns is left out.
    fn needs_all(&self, leaves: &[Truth], way: &Turns, to: bool) -> bool {
        let whole = (1_u32 << way.len()) - 1;
        (0..whole).all(|chosen| {
            let some = way.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1).map(|(_, turn)| *turn);
            self.truth(&apply_turns(leaves, some)) != Truth::of(to)
        })
    }
}

/// Returns the leaves after some of them were turned.
pub(super) fn apply_turns(leaves: &[Truth], turns: impl IntoIterator<Item = (usize, bool)>) -> Vec<Truth> {
    let mut leaves = leaves.to_vec();
    for (leaf, to) in turns {
        leaves[leaf] = Truth::of(to);
    }
    leaves
}

fn junction(parts: &[Formula], leaves: &[Truth], decisive: Truth) -> Truth {
    let mut erred = false;
    for part in parts {
        match part.truth(leaves) {
            truth if truth == decisive => return decisive,
            Truth::Erred => erred = true,
            Truth::True | Truth::False => {}
        }
    }
    if erred { Truth::Erred } else { decisive.negate() }
}

fn junction_keeping(parts: &[Formula], leaves: &[Truth], kept: AllowedTruth, decisive: Truth) -> Option<Leaves> {
    let each = |kept: AllowedTruth| parts.iter().map(move |part| part.keeping(leaves, kept));
    match kept {
        AllowedTruth::To(Truth::Erred) => {
            // None may become decisive, and one must continue to fail.
            let undecided: Vec<Leaves> = each(AllowedTruth::ToOrErred(decisive.negate())).collect::<Option<_>>()?;
            let erring: Vec<Option<Leaves>> = each(AllowedTruth::To(Truth::Erred)).collect();
            let cost = |at: usize| erring[at].as_ref().map(|leaves| leaves.len().saturating_sub(undecided[at].len()));
            let chosen = (0..parts.len()).filter(|at| erring[*at].is_some()).min_by_key(|at| cost(*at))?;
            let leaves = undecided.into_iter().enumerate().map(|(at, leaves)| match &erring[at] {
                Some(erring) if at == chosen => erring.clone(),
                Some(_) | None => leaves,
            });
            Some(leaves.flatten().collect())
        }
        // One part is enough to decide, or to keep the junction from the opposite truth.
        AllowedTruth::To(truth) | AllowedTruth::ToOrErred(truth) if truth == decisive => fewest(each(kept)),
        AllowedTruth::To(_) | AllowedTruth::ToOrErred(_) => each(kept).collect::<Option<Vec<Leaves>>>().map(|leaves| leaves.concat()),
    }
}

fn both(one: Option<Leaves>, other: Option<Leaves>) -> Option<Leaves> {
    let (mut one, other) = (one?, other?);
    one.extend(other);
    Some(one)
}

/// Returns the one with the fewest leaves, or the first of equals.
fn fewest(sets: impl IntoIterator<Item = Option<Leaves>>) -> Option<Leaves> {
    sets.into_iter().flatten().min_by_key(Vec::len)
}

fn all_ways(parts: &[Formula], leaves: &[Truth], to: bool) -> Vec<Turns> {
    parts.iter().fold(vec![Vec::new()], |ways, part| combine(&ways, &part.ways(leaves, to)))
}

/// Combines each of the one with each of the other.
fn combine(ones: &[Turns], others: &[Turns]) -> Vec<Turns> {
    shortest(ones.iter().flat_map(|one| others.iter().map(move |other| [one.as_slice(), other].concat())).collect())
}

fn shortest(mut ways: Vec<Turns>) -> Vec<Turns> {
    ways.sort_by_key(Vec::len);
    ways.truncate(FLIPS_MAX);
    ways
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRUTHS: [Truth; 3] = [Truth::True, Truth::False, Truth::Erred];
    /// The number of leaves that can be tried in every combination.
    const LEAVES_MAX: usize = 6;

    fn any_shape() -> impl Strategy<Value = Formula> {
        Just(Formula::Leaf(0)).prop_recursive(4, LEAVES_MAX as u32, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(Formula::All),
                prop::collection::vec(inner.clone(), 1..4).prop_map(Formula::Any),
                inner.clone().prop_map(|part| Formula::Not(Box::new(part))),
                (prop::collection::vec((inner.clone(), inner.clone()), 1..3), inner)
                    .prop_map(|(branches, otherwise)| Formula::Choice(branches, Box::new(otherwise))),
            ]
        })
    }

    fn number(formula: &mut Formula, count: &mut usize) {
        match formula {
            Formula::Leaf(leaf) => {
                *leaf = *count;
                *count += 1;
            }
            Formula::All(parts) | Formula::Any(parts) => parts.iter_mut().for_each(|part| number(part, count)),
            Formula::Not(part) => number(part, count),
            Formula::Choice(branches, otherwise) => {
                for (condition, then) in branches {
                    number(condition, count);
                    number(then, count);
                }
                number(otherwise, count);
            }
        }
    }

    /// Returns a formula of few leaves, with a truth for each.
    fn any_formula() -> impl Strategy<Value = (Formula, Vec<Truth>)> {
        let numbered = any_shape().prop_map(|mut formula| {
            let mut count = 0;
            number(&mut formula, &mut count);
            (formula, count)
        });
        let small = numbered.prop_filter("few leaves", |(_, count)| *count <= LEAVES_MAX);
        small.prop_flat_map(|(formula, count)| (Just(formula), prop::collection::vec(prop::sample::select(TRUTHS.to_vec()), count)))
    }

    /// Returns all truths that the other leaves can have.
    fn all_others(leaves: &[Truth], held: &[usize]) -> Vec<Vec<Truth>> {
        let free: Vec<usize> = (0..leaves.len()).filter(|leaf| !held.contains(leaf)).collect();
        let count = TRUTHS.len().pow(free.len() as u32);
        let assigned = (0..count).map(|mut code| {
            let mut leaves = leaves.to_vec();
            for leaf in &free {
                leaves[*leaf] = TRUTHS[code % TRUTHS.len()];
                code /= TRUTHS.len();
            }
            leaves
        });
        assigned.collect()
    }

    fn forces(formula: &Formula, leaves: &[Truth], held: &[usize]) -> bool {
        let truth = formula.truth(leaves);
        all_others(leaves, held).iter().all(|others| formula.truth(others) == truth)
    }

    fn subsets(count: usize) -> impl Iterator<Item = Vec<usize>> {
        (0..1_u32 << count).map(move |chosen| (0..count).filter(|leaf| chosen >> leaf & 1 == 1).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn decisive_leaves_are_a_smallest_set_that_forces_the_result((formula, leaves) in any_formula()) {
            let decisive = formula.decisive(&leaves);
            prop_assert!(forces(&formula, &leaves, &decisive), "{decisive:?}");
            let fewer = subsets(leaves.len()).find(|held| held.len() < decisive.len() && forces(&formula, &leaves, held));
            prop_assert_eq!(fewer, None, "instead of {:?}", decisive);
        }

        #[test]
        fn flip_changes_the_result_and_no_subset_of_it_does((formula, leaves) in any_formula(), to in any::<bool>()) {
            let flips = formula.flips(&leaves, to);
            for flip in &flips {
                prop_assert_eq!(formula.truth(&apply_turns(&leaves, flip.iter().copied())), Truth::of(to), "{:?}", flip);
                prop_assert!(formula.needs_all(&leaves, flip, to), "{:?}", flip);
            }
            // Any way at all changes at least as many leaves as the first reported one.
            let shortest = subsets(leaves.len()).filter(|chosen| {
                let free: Vec<usize> = (0..leaves.len()).filter(|leaf| !chosen.contains(leaf)).collect();
                all_others(&leaves, &free).iter().any(|turned| formula.truth(turned) == Truth::of(to))
            });
            prop_assert_eq!(flips.first().map(Vec::len), shortest.map(|chosen| chosen.len()).min());
        }
    }

    #[test]
    fn flip_that_contains_a_smaller_one_is_omitted() {
        // `c ? t : d ? u : o`: making `c` false is enough, whatever `d` says.
        let leaf = |at| Formula::Leaf(at);
        let formula = Formula::Choice(vec![(leaf(0), leaf(1)), (leaf(2), leaf(3))], Box::new(leaf(4)));
        let leaves = [Truth::True, Truth::False, Truth::False, Truth::True, Truth::True];
        assert_eq!(formula.flips(&leaves, true), [vec![(1, true)], vec![(0, false)]]);
    }

    #[test]
    fn formula_that_already_has_the_result_needs_no_flip() {
        assert_eq!(Formula::Leaf(0).flips(&[Truth::True], true), [Vec::new()]);
    }
}
