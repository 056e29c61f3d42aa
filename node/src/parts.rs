//! The pieces of a node for programs that assemble one and drive it step by step: the simulator has its own
//! version of `process.rs` and `log_runtime.rs`.
//!
//! Nothing here is stable for other users; a node for production is [`Node`](crate::Node).

pub use crate::access::TokenTable;
pub use crate::backend::{OpenBeside, Views, readers_of};
pub use crate::backtest::NodeBacktests;
pub use crate::bodies::BodyCache;
pub use crate::catalogs::NodeCatalogs;
pub use crate::clock::{ClockStep, Hands, NodeClock, STEP_MICROS, SteppedClock, SystemClock};
pub use crate::commit_listeners::{CommitListeners, Copies};
pub use crate::edge::Edge;
pub use crate::fold_guard::FoldGuard;
pub use crate::followers::{Follow, Follower, FollowerHandle, Next, Waiting, follower};
pub use crate::intake::{Intake, IntakeGate, IntakeWatch, KnownSensors};
pub use crate::key_ring::{KeyRing, NodeKeys};
pub use crate::log_access::{LogReaders, NodeBodies, OpenReader};
pub use crate::memory_limits::{Caps, queues};
pub use crate::outside_writer::OutsideWriter;
pub use crate::packs_folder::{PacksFolder, TakeInError};
pub use crate::passwords::NodePasswords;
pub use crate::people::NodePeople;
pub use crate::plain_body::plain;
pub use crate::process::note_clock_step;
pub use crate::refusals::{NodeRefusals, RecordedAddress};
pub use crate::replays::NodeReplays;
pub use crate::sensors::{SensorSupervisor, SensorWorlds, SupervisorParts};
pub use crate::sequencer::{
    Asking, CommitListener, Gauges, QueueGauge, Sequencer, SequencerError, SequencerHandle, SequencerParts, Space, Turn,
    UnstartedSequencer, sequencer,
};
pub use crate::sessions::NodeSessions;
pub use crate::snapshots::{Snapshot, SnapshotTrouble, SnapshotWriter, Snapshots, snapshots};
pub use crate::tokens::NodeTokens;
pub use crate::usage::NodeUsage;
pub use crate::vars::VarTable;
pub use crate::views::ViewFollower;
pub use crate::whole_fold::{Rebuilt, rebuild};
