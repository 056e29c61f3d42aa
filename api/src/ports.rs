//! What the API needs of the node, handed in by the wiring: small traits, each of which says who may call it from where.
//!
//! It holds no policy and knows nothing of HTTP: what a caller may do is said by the routes, what an error looks like is
//! `problem.rs`'s. Methods marked *quick* do not block and may be called from asynchronous code; methods marked *blocking*
//! are called on a thread where blocking is allowed.

mod access;
mod backtests;
mod declined;
mod events;
mod installed;
mod jobs;
mod keys;
mod log;
mod node;
mod replays;
mod spans;
mod tokens;
mod webhooks;

use std::sync::Arc;

use ensue_engine::ports::{Blobs, Outputs, Submit};
use ensue_engine::record::Position;
use ensue_views::ViewReader;
use tokio::sync::watch;

pub use crate::patience::{Impatience, Patience};
pub use access::{Access, Holder, OnBehalf};
pub use backtests::{Backtested, Backtests, FileText, ToBacktest, ToldEvent, ToldEvents};
pub use declined::Declined;
pub use events::{EventMaker, GivenEvent};
pub use installed::Installed;
pub use jobs::{Job, JobKind, JobState};
pub use keys::{KeyWriter, SetKey};
pub use log::LogAccess;
pub use node::{Dependency, DependencyState, Finding, FindingVerdict, Kept, Node, NodeStatus, Readiness, Retained};
pub use replays::{PackFiles, ReplayDifference, Replayed, ReplayedExecution, ReplayedWhich, Replays, ToReplay};
pub use spans::{AnsweredRequest, Spans};
pub use tokens::{NewToken, Tokens};
pub use webhooks::{HookRefusal, SecretState, Webhooks};

/// All that the API needs of the node.
#[derive(Clone)]
pub struct Ports {
    /// The way into the log. Quick; the reply comes on the sequencer's thread.
    pub submit: Arc<dyn Submit>,
    /// What is installed.
    pub installed: Arc<dyn Installed>,
    /// What tries rules over the events that came.
    pub backtests: Arc<dyn Backtests>,
    /// What folds recorded executions once more.
    pub replays: Arc<dyn Replays>,
    /// The read models. Blocking.
    pub views: Arc<dyn ViewReader>,
    /// The position that the read models have reached: the follower sends each new one after its commit.
    pub views_at: watch::Receiver<Position>,
    /// The log, to be read.
    pub log: Arc<dyn LogAccess>,
    /// What attempts print. Blocking.
    pub outputs: Arc<dyn Outputs>,
    /// The files that attempts give away. Blocking.
    pub blobs: Arc<dyn Blobs>,
    /// What makes events of deliveries.
    pub webhooks: Arc<dyn Webhooks>,
    /// What makes events of what callers send.
    pub event_maker: Arc<dyn EventMaker>,
    /// Who a token lets in.
    pub access: Arc<dyn Access>,
    /// The named secrets.
    pub keys: Arc<dyn KeyWriter>,
    /// The named tokens.
    pub tokens: Arc<dyn Tokens>,
    /// The node itself.
    pub node: Arc<dyn Node>,
    /// Who is told of requests for their spans; none where no spans are exported.
    pub spans: Option<Arc<dyn Spans>>,
}
