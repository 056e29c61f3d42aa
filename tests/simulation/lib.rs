//! The simulator: runs a whole node from one seed, on a simulated clock, disk, processes and network.
//!
//! Read in this order: `world` is the main loop. `plan` and `rates` hold the decisions that a seed makes in
//! advance, `operator` the settings of each start. `node` mirrors the node's wiring. `clients`, `keyring`,
//! `pack`, `flow`, `peers` and `traffic` create the load, `http` and `api` carry it over the routes, and `secrets`
//! lists values that must never leak. `disk`, `small_files`, `programs` and `saying`, `web`, `clock` and
//! `life` simulate the environment and the node's death. `witness`, `timeline` and `sightings` hold
//! observations that are not in the log; `oracle` judges; `story` is the event trace; `watchdog` detects a
//! world that hangs. `makespans` runs workflows on a single node without a world. The simulator contains no
//! logic of a node: those parts are the node's own.

mod api;
mod clients;
mod clock;
mod databases;
mod disk;
mod flow;
mod ground;
mod http;
mod keyring;
mod life;
#[cfg(test)]
mod makespans;
#[path = "../support/no_logins.rs"]
mod no_logins;
mod node;
mod operator;
mod oracle;
mod pack;
mod peers;
mod plan;
mod program_lines;
mod programs;
mod random;
mod rates;
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

use ensue_expression::planted_bug::{self, BugOnPurpose};

pub use oracle::Violation;
pub use story::Verbosity;
pub use world::Ran;

use world::World;

/// Runs the world of a seed. Returns its summary or the invariant that was violated.
pub fn run(seed: u64, verbosity: Verbosity) -> Result<Ran, Violation> {
    planted_bug::plant();
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

/// Silences panics of simulated bugs; other panics still report where they happened.
pub fn quiet_simulated_bugs() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        if !payload.is::<node::SimulatedBug>() && !payload.is::<BugOnPurpose>() {
            before(panic);
        }
    }));
}
