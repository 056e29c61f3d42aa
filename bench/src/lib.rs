//! Measurements of a node: what a webhook costs, how fast it is answered, and how fast its work is done.
//!
//! Read in this order:
//!
//! | module | holds |
//! |---|---|
//! | `asked`, `watcher`, `unmeasured` | [`Bench`]: the arguments of `ensue bench`; who is told of it meanwhile, and what keeps it from being measured |
//! | `measure` | one run of a scenario, from the start of its node to its figures |
//! | `child`, `cores`, `wire`, `kept` | a node as a process of its own, the cores that it has, connections to it, a folder that stays |
//! | `packs`, `github`, `flows`, `graph` | what the node is made to do: its packs, a webhook, workflows |
//! | `delivery`, `load`, `reads`, `streams`, `target` | what it is sent, what is read of it meanwhile, and the server that it calls |
//! | `ends`, `figures`, `table`, `compare` | what the log says of a run, its figures, and those of two runs side by side |
//! | `limits` | what the machine can do at best |
//! | `makespans`, `timers`, `aims` | of workflows: graphs beside their schedules, timers that are pending, and what is aimed at |
//! | `at_size`, `long` | reads among a million executions; starts on a long log |
//!
//! The node is a process of its own in a directory of its own; the load, the server that is called and the reading of the log are
//! this one's. Nothing here is part of a running node.

mod aims;
mod asked;
mod at_size;
mod child;
mod compare;
mod cores;
mod delivery;
mod ends;
mod figures;
mod flows;
pub mod github;
mod graph;
mod kept;
mod limits;
mod load;
mod long;
mod makespans;
mod measure;
mod packs;
mod reads;
mod streams;
mod table;
mod target;
mod timers;
mod unmeasured;
mod watcher;
mod wire;

pub use asked::{Bench, Measured};
pub use unmeasured::{Fault, Unmeasured};
pub use watcher::{Bar, Length, Watcher};
