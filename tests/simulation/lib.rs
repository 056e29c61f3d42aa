//! The simulator: a whole node from one seed, on simulated clock, disk, processes and network.
//!
//! Read in this order: `world` is the loop; `plan` and `rates` what a seed decides beforehand, `operator` what is set at a start; `node` the twin of the
//! node's wiring; `clients`, `keyring`, `pack`, `flow` and `traffic` what is asked of it, `http` and `api` how it is asked over its routes, `secrets` what nobody may be told; `disk`,
//! `small_files`, `programs` and `saying`, `web`, `clock` and `life` what it stands on and how it dies; `witness`, `timeline` and `sightings`
//! what was seen beside the log; `oracle` who judges; `story` what is told; `watchdog`
//! who notices a world that hangs. `makespans` has a node alone run workflows, without a world. It holds no logic of a node: the parts are the node's own.

mod api;
mod clients;
mod clock;
mod disk;
mod flow;
mod ground;
mod http;
mod keyring;
mod life;
#[cfg(test)]
mod makespans;
pub mod mutants;
mod node;
mod operator;
mod oracle;
mod pack;
mod plan;
mod programs;
mod random;
mod rates;
mod saying;
mod secrets;
mod sightings;
mod small_files;
pub mod sometimes;
mod story;
mod timeline;
mod traffic;
pub mod watchdog;
mod web;
mod witness;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ensue_expression::bugs::{self, BugOnPurpose};

pub use oracle::Violation;
pub use story::Verbosity;
pub use world::Ran;

use world::World;

/// Runs the world of a seed; gives what it came to, or which invariant does not hold.
pub fn run(seed: u64, verbosity: Verbosity) -> Result<Ran, Violation> {
    bugs::plant();
    let ran = catch_unwind(AssertUnwindSafe(|| match World::new(seed, verbosity) {
        Ok(world) => world.run(),
        Err(error) => Err(Violation::of_the_world(format!("the world cannot be made: {error}"))),
    }));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Violation::new("panic", text))
    })
}

/// Has simulated bugs pass without a word; others say where they were, as they should.
pub fn quiet_simulated_bugs() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        if !payload.is::<node::SimulatedBug>() && !payload.is::<BugOnPurpose>() {
            before(panic);
        }
    }));
}
