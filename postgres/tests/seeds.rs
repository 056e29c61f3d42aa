//! What tests draw comes from one seed, which is the same in each run.

use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// The variables that choose another seed, the strongest first.
const VARIABLES: [&str; 2] = ["ENSUE_SCHEDULES_SEED", "PROPTEST_RNG_SEED"];

/// Returns the seed.
pub(crate) fn seed() -> u64 {
    let chosen = VARIABLES.iter().find_map(|name| std::env::var(name).ok());
    chosen.as_deref().unwrap_or(include_str!("../../tests/seed")).trim().parse().unwrap()
}

/// Returns how often a test repeats something: as a variable says, or so often.
pub(crate) fn count(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |count| count.parse().unwrap())
}

/// Returns the settings of the generator that a seed gives.
pub(crate) fn config(seed: u64) -> Config {
    Config { failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() }
}

/// The choices that follow from a seed.
pub(crate) struct Choices(TestRunner);

impl Choices {
    pub(crate) fn of(seed: u64) -> Self {
        Self(TestRunner::new(config(seed)))
    }

    pub(crate) fn choose<T>(&mut self, from: impl Strategy<Value = T>) -> T {
        from.new_tree(&mut self.0).unwrap().current()
    }
}

/// The moment of a disturbance amid appends.
pub(crate) struct Moment {
    /// How many batches are acknowledged before.
    pub(crate) batches: usize,
    /// How much later it comes. An append takes about so long, and the disturbance hits another part of it each time.
    pub(crate) microseconds: u64,
}

impl Moment {
    pub(crate) fn choose(choices: &mut Choices) -> Self {
        Self { batches: choices.choose(3..20usize), microseconds: choices.choose(0..5_000u64) }
    }
}
