//! The oracle: judges a run by its records, read as JSON, and by the answers to clients. It shares nothing
//! with the engine.
//!
//! The numbers are those of the invariants in `docs/contributing/simulate.md`.

mod answers;
mod bounds;
mod chain;
mod decisions;
mod effects;
mod executions;
mod flow;
mod http;
mod idempotency;
mod in_force;
mod keys;
mod locks;
mod meaning;
mod messages;
mod pauses;
mod poisons;
mod principals;
mod programs;
mod pulled;
mod rates;
mod records;
mod reruns;
mod retries;
mod secrets;
mod slots;
mod vars;
mod views;
mod web;
mod workflows;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::disk::Disk;
use crate::ground::WorldGround;
use crate::http::Exchanges;
use crate::node::Node;
use crate::pack::Edition;
use crate::peers::Peers;
use crate::programs::Machine;
use crate::traffic::{Request, RequestNumber};
use crate::web::Server;

/// Replaces the number of an invariant if the world itself could not continue.
const WORLD: &str = "world";

/// A violated invariant.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Its number.
    pub invariant: &'static str,
    /// The observation.
    pub what: String,
}

impl Violation {
    /// Creates a violation.
    pub fn new(invariant: &'static str, what: String) -> Self {
        Self { invariant, what }
    }

    /// Creates the violation of a world that could not continue: the simulator failed, which says nothing
    /// about the node.
    pub(crate) fn of_the_world(what: String) -> Self {
        Self::new(WORLD, what)
    }

    /// Returns true if the world itself could not continue, whatever the node does.
    pub fn is_of_the_world(&self) -> bool {
        self.invariant == WORLD
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// Fails with an invariant's number if a condition does not hold.
macro_rules! demand {
    ($holds:expr, $invariant:literal, $($what:tt)+) => {
        if !$holds {
            return Err($crate::oracle::Violation::new($invariant, format!($($what)+)));
        }
    };
}
pub(crate) use demand;

/// The world's knowledge beyond the log.
pub(crate) struct Ledger<'w> {
    /// The world's shared base.
    pub(crate) ground: &'w Arc<WorldGround>,
    /// The requests with their answers.
    pub(crate) requests: &'w BTreeMap<RequestNumber, Request>,
    /// The disk.
    pub(crate) disk: &'w Disk,
    /// The machine that programs ran on.
    pub(crate) machine: &'w Machine,
    /// The server that received requests.
    pub(crate) server: &'w Server,
    /// The exchanges over the API's routes.
    pub(crate) exchanges: &'w Exchanges,
    /// The editions of the pack, by their number.
    pub(crate) editions: &'w [Edition],
    /// The other sides of the pulling sensors.
    pub(crate) peers: &'w Peers,
}

/// Judges a world that has come to rest. Returns the number of records in its log.
pub(crate) fn judge(node: &Node, ledger: &Ledger<'_>) -> Result<u64, Violation> {
    let records = records::read(node, ledger.ground)?;
    chain::check(&records)?;
    executions::check(&records, ledger)?;
    workflows::check(&records)?;
    reruns::check(&records, ledger)?;
    retries::check(&records, ledger)?;
    vars::check(&records, ledger)?;
    locks::check(&records)?;
    rates::check(&records, ledger)?;
    pauses::check(&records)?;
    principals::check(&records)?;
    effects::check(&records, ledger)?;
    programs::check(&records, ledger)?;
    web::check(&records, ledger)?;
    messages::check(&records, ledger)?;
    pulled::check(node, &records, ledger)?;
    decisions::check(&records, ledger)?;
    flow::check(&records, ledger)?;
    answers::check(&records, ledger)?;
    keys::check(&records, ledger)?;
    idempotency::check(&records, ledger)?;
    http::check(&records, ledger)?;
    bounds::check_answers(ledger)?;
    poisons::check(&records, ledger)?;
    secrets::check(&records, ledger)?;
    views::check(node, &records)?;
    Ok(records.len() as u64)
}
