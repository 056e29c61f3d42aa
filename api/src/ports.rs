//! The traits through which the API reaches the node: small, passed in by the wiring, each stating which
//! threads may call it.
//!
//! They hold no policy and know nothing of HTTP: the routes decide what a caller may do, and `problem.rs`
//! decides what an error looks like. Methods marked *quick* do not block and may be called from asynchronous
//! code; methods marked *blocking* must be called on a thread where blocking is allowed.

mod access;
mod backtests;
mod catalogs;
mod connections;
mod devices;
mod error;
mod events;
mod issuers;
mod jobs;
mod keys;
mod log;
mod logins;
mod node;
mod passwords;
mod people;
mod progress;
mod refusals;
mod replays;
mod sensors;
mod sessions;
mod spans;
mod tokens;
mod usage;
mod views;
mod vouching;
mod webhooks;

use std::sync::Arc;

use ensue_engine::ports::{Blobs, Outputs, Submit};
use ensue_engine::record::Position;
use ensue_views::ViewReader;
use tokio::sync::watch;

use crate::changes::RecentChanges;
use crate::deliveries::Deliveries;
use crate::execution_ends::Ends;
pub use crate::patience::{Impatience, Patience};
pub use access::{Access, Credential, Holder, NotAdmitted, OnBehalf, RepresentedIdentity};
pub use backtests::{BacktestResult, Backtests, FileText, ToBacktest, ToldEvent, ToldEvents};
pub use catalogs::InstalledCatalogs;
pub use connections::{BreakerState, ConnectionError, ConnectionStatus, Connections, TestedConnection};
pub use devices::{BegunDevice, CodeNotFound, DeviceDecision, Devices, WaitingDevice};
pub use error::PortError;
pub use events::{EventMaker, GivenEvent};
pub use issuers::{AskedLink, Issuers};
pub use jobs::{Job, JobKind, JobState};
pub use keys::{KeyWriter, NewValue, RevealedKey, SetKey};
pub use log::LogAccess;
pub use logins::{AfterLogin, AskedLogin, FinishedLogin, Logins, StartedLogin, Terminal, TerminalLogin};
pub use node::{
    Dependency, DependencyState, EffectiveSetting, Finding, FindingVerdict, Node, NodeStatus, Readiness, RetentionStatus, SettingSource,
    StorageUsage,
};
pub use passwords::{NewOtp, OtpAtReset, PasswordAttempt, Passwords, RefusalNote, RefusedAttempt};
pub use people::{AskedIdentity, People};
pub use progress::{BacktestProgress, Progress};
pub use refusals::{Refusals, RefusedLogin};
pub use replays::{PackFiles, ReplayDifference, ReplayResult, ReplayedExecution, ReplayedWhich, Replays, ToReplay};
pub use sensors::{
    FailingPart, FindingEnd, SENSOR_LINES_MAX, SensorLine, SensorState, SensorStatus, SensorTest, SensorTested, Sensors, SourceEnd,
    TESTED_BYTES_MAX, TESTED_MESSAGES_MAX, TestEnd, TestedBody, TestedEvent, TestedFrom, TestedMessage, TestedOutcome, Testing,
};
pub use sessions::{
    AskedCode, AskedInquiryLink, AskedLoginLink, AtIssuer, Login, LoginFrom, LoginOf, MintedCode, OpenedSession, Pair, RedeemedCode,
    SeenSession, SessionEnds, SessionForm, SessionSecret, Sessions,
};
pub use spans::{AnsweredRequest, Spans};
pub use tokens::{AskedToken, MadeToken, Tokens};
pub use usage::UsageReader;
pub use views::FollowingViews;
pub use vouching::{VouchedCaller, Vouching};
pub use webhooks::{ConfirmedTopic, HookOutcome, HookRefusal, SecretState, ShownDelivery, ToSign, Webhooks};

/// Everything that the API needs from the node.
#[derive(Clone)]
pub struct Ports {
    /// Submits commands to the log. Quick; the reply arrives on the sequencer's thread.
    pub submit: Arc<dyn Submit>,
    /// The installed catalogs.
    pub installed: Arc<dyn InstalledCatalogs>,
    /// Runs rules against past events.
    pub backtests: Arc<dyn Backtests>,
    /// Replays recorded executions.
    pub replays: Arc<dyn Replays>,
    /// The read models. Blocking.
    pub views: Arc<dyn ViewReader>,
    /// The position that the read models have reached: the follower sends each new position after its commit.
    pub views_at: watch::Receiver<Position>,
    /// The follower that keeps the read models up to date.
    pub views_follower: Arc<dyn FollowingViews>,
    /// The ends of executions: the node notes each commit.
    pub ends: Arc<Ends>,
    /// The newest changes of the read models: their follower notes each batch.
    pub changes: Arc<RecentChanges>,
    /// The last deliveries at each hook: the node keeps them on disk.
    pub deliveries: Arc<Deliveries>,
    /// Reads the log.
    pub log: Arc<dyn LogAccess>,
    /// The output that attempts print. Blocking.
    pub outputs: Arc<dyn Outputs>,
    /// The files that attempts publish. Blocking.
    pub blobs: Arc<dyn Blobs>,
    /// Creates events from deliveries.
    pub webhooks: Arc<dyn Webhooks>,
    /// The runs of pulling sensors.
    pub sensors: Arc<dyn Sensors>,
    /// The connections.
    pub connections: Arc<dyn Connections>,
    /// Creates events from what callers send.
    pub event_maker: Arc<dyn EventMaker>,
    /// Looks up the holders of credentials.
    pub access: Arc<dyn Access>,
    /// The named secrets.
    pub keys: Arc<dyn KeyWriter>,
    /// The named tokens.
    pub tokens: Arc<dyn Tokens>,
    /// What the identities have used.
    pub usage: Arc<dyn UsageReader>,
    /// The identities.
    pub people: Arc<dyn People>,
    /// Records rejected requests and logins.
    pub refusals: Arc<dyn Refusals>,
    /// The sessions.
    pub sessions: Arc<dyn Sessions>,
    /// The passwords of persons.
    pub passwords: Arc<dyn Passwords>,
    /// Those who vouch for callers: a trusted proxy, the authorities of client certificates.
    pub vouching: Arc<dyn Vouching>,
    /// The issuers whose tokens admit callers.
    pub issuers: Arc<dyn Issuers>,
    /// The logins of people through issuers.
    pub logins: Arc<dyn Logins>,
    /// The terminals that wait for the approval of a person.
    pub devices: Arc<dyn Devices>,
    /// The node itself.
    pub node: Arc<dyn Node>,
    /// Receives the spans of requests; none if no spans are exported.
    pub spans: Option<Arc<dyn Spans>>,
}
