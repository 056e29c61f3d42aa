//! The test cases of packs, parsed and checked against the packs, ready to be run by a caller that has an
//! engine.
//!
//! `check/tests.rs` reads them. Nothing is run here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ensue_engine::events::version::{TriggerVersion, VersionedTrigger};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::names::{ActionRef, KeyRef, Names, PackName, RuleRef, SensorRef, StepName, TriggerRef, VarName};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use serde_json::{Map, Value};

use crate::fake::Fake;
use crate::install_manifest::Manifest;
use crate::read::PackSource;

/// The cases of one pack, with everything needed to run them.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The pack.
    pub pack: PackName,
    /// The cases, in the order of the files and of the lines in them.
    pub cases: Vec<Case>,
    /// The default results of actions without a mock, for actions that declare one.
    pub mocks: BTreeMap<ActionRef, Value>,
    /// The fake vendor that the real cases run against, if the pack has one.
    pub fake: Option<Arc<Fake>>,
    /// The pack, followed by all packs that it needs, each with its configuration.
    pub(crate) packs: Vec<(PackSource, Manifest)>,
}

impl Suite {
    /// The revision of the catalogs used to run cases.
    pub const REVISION: CatalogRevision = CatalogRevision(1);
}

/// Assigns each rule an id of its own, the same in each run.
pub(crate) fn ids<'a>(rules: impl IntoIterator<Item = &'a RuleRef>) -> BTreeMap<RuleRef, RuleId> {
    let id = |number: usize| RuleId(Id::root(Timestamp::default(), number as u128));
    rules.into_iter().enumerate().map(|(number, rule)| (rule.clone(), id(number))).collect()
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// The path of its file as shown to users.
    pub file: String,
    /// The line where it begins, from 1.
    pub line: usize,
    /// The name of the case: what should hold.
    pub name: String,
    /// How its actions run.
    pub against: CaseBackend,
    /// The operator's settings for the pack, which override its defaults.
    pub config: Map<String, Value>,
    /// The values of vars before the case.
    pub vars: BTreeMap<VarName, Value>,
    /// The input and the expected outcome.
    pub subject: Subject,
    /// The mocked outcomes of steps; `None` if nothing is run.
    pub mocks: Option<BTreeMap<StepPath, Mocks>>,
    /// The expected values of vars afterwards; null for a var that must have none.
    pub vars_after: Vec<ExpectedVar>,
}

/// How the actions of a case run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseBackend {
    /// They do not run: mocks set their outcomes.
    Mocks,
    /// Those that send a request send it to the pack's fake vendor.
    Fake {
        /// The values of keys that differ from those that the vendor accepts.
        keys: BTreeMap<KeyRef, String>,
        /// What proves to the vendor who sends a request.
        over: FakeCredentials,
    },
}

/// What proves to a fake vendor who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FakeCredentials {
    /// The keys of the pack.
    Keys,
    /// A connection, whose credentials differ from the keys of the pack. The pack has only those keys that the case gives.
    Connection,
}

/// A var as it is expected at the end.
#[derive(Clone, Debug)]
pub struct ExpectedVar {
    /// The line that declares it.
    pub line: usize,
    /// The var.
    pub name: VarName,
    /// Its value; null if it must have none.
    pub value: Value,
}

/// What a case tests.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Events and the decisions of rules on them.
    Events {
        /// The events and messages, in order.
        given: Vec<CaseInput>,
        /// All expected decisions.
        expect: Vec<ExpectedEnforcement>,
    },
    /// A request to run an action.
    Run {
        /// The action.
        action: ActionRef,
        /// Its parameters, before defaults are filled in.
        with: Value,
        /// How it ends.
        expect: ExpectedEnd,
    },
}

/// What comes in a case.
#[derive(Clone, Debug)]
pub enum CaseInput {
    /// An event.
    Event(GivenEvent),
    /// A message of a sensor.
    Message(GivenMessage),
}

/// A message of a sensor in a case.
#[derive(Clone, Debug)]
pub struct GivenMessage {
    /// The line of the case's file on which it begins.
    pub line: usize,
    /// The sensor, which reads a source.
    pub sensor: SensorRef,
    /// Its content; `None` if it has none.
    pub body: Option<Value>,
    /// What else the source knows about it.
    pub about: Map<String, Value>,
    /// When it happened, if the source says so.
    pub time: Option<Timestamp>,
    /// The delay after the previous message, in milliseconds.
    pub after_millis: u64,
    /// What it is expected to make, if the case says so.
    pub expect: Option<ExpectedMade>,
}

/// What a message is expected to make.
#[derive(Clone, Debug)]
pub enum ExpectedMade {
    /// These events, in order.
    Events(Vec<ExpectedEvent>),
    /// None: it is refused, for a reason that contains this text.
    Refused(String),
}

/// An event that a message is expected to make.
#[derive(Clone, Debug)]
pub struct ExpectedEvent {
    /// The line of the case's file on which it begins.
    pub line: usize,
    /// Its trigger, and the version of its payload.
    pub trigger: VersionedTrigger,
    /// Its payload, or the part of it that matters.
    pub payload: Option<Value>,
    /// Its dedupe key.
    pub dedupe: Option<String>,
    /// How its payload is compared.
    pub closeness: Closeness,
}

/// An event of a case.
#[derive(Clone, Debug)]
pub struct GivenEvent {
    /// Its trigger.
    pub trigger: TriggerRef,
    /// The version of its payload; `None` if it is the newest.
    pub version: Option<TriggerVersion>,
    /// Its payload.
    pub payload: Value,
    /// Its source.
    pub source: String,
    /// The time of its occurrence; `None` means its arrival.
    pub time: Option<Timestamp>,
    /// The delay after the previous event, in milliseconds.
    pub after_millis: u64,
}

/// The path of a step: the names of the steps around it, then its own. In a case of events, it begins with
/// the rule's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepPath(String);

impl StepPath {
    /// Creates the path of a top-level step or of a rule.
    pub fn of(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// Returns the path of a step inside this one.
    #[must_use]
    pub fn to(&self, step: &StepName) -> Self {
        Self(format!("{}.{step}", self.0))
    }

    /// Returns the path as text, such as `deploy.copy`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The outcome of a step each time it runs.
#[derive(Clone, Debug)]
pub enum Mocks {
    /// The same outcome each time.
    One(Mock),
    /// One outcome after the other.
    Each(Vec<Mocks>),
}

/// The outcome of an attempt of a step, or the answer to an inquiry.
#[derive(Clone, Debug)]
pub enum Mock {
    /// It returns this result.
    Result(Value),
    /// Its runner returns this, from which `output` computes the result.
    Raw(Value),
    /// It fails.
    Error(Failure),
    /// Someone answers.
    Answer {
        /// The answer.
        answer: Value,
        /// The name of the person that answers; `None` means anyone who may answer.
        by: Option<String>,
    },
    /// The event that a step waits for arrives with this payload.
    Event(Value),
    /// The event that cancels a step arrives with this payload.
    CancelledBy(Value),
    /// Nobody answers in time, or no event arrives.
    Expired,
}

/// How closely an actual value must match the expected one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Closeness {
    /// Objects may have more fields.
    #[default]
    Contains,
    /// The values are equal.
    Equals,
}

/// An expected decision of a rule.
#[derive(Clone, Debug)]
pub struct ExpectedEnforcement {
    /// The line that declares it.
    pub line: usize,
    /// The rule.
    pub rule: RuleRef,
    /// The action that it runs.
    pub action: Option<ActionRef>,
    /// The parameters that it passes to the action.
    pub with: Option<Value>,
    /// The outcome for the event.
    pub outcome: ExpectedOutcome,
    /// How its execution ends. For a rejected one, or a rule that errs, the message of the error.
    pub end: ExpectedEnd,
}

/// The outcome of an event at a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Names)]
pub enum ExpectedOutcome {
    /// The rule's action runs.
    #[default]
    Executed,
    /// The rule is in shadow mode.
    Shadowed,
    /// The action cannot be run with these parameters.
    Rejected,
    /// The rule's condition fails to evaluate.
    Erred,
    /// It is a duplicate of another match.
    Deduplicated,
    /// There are too many matches within the period.
    Throttled,
    /// The rule already has as many open executions as allowed.
    Skipped,
    /// It is held and then not acted on.
    Superseded,
}

/// How an execution ends. A field that is not set accepts anything.
#[derive(Clone, Debug, Default)]
pub struct ExpectedEnd {
    /// The line that declares it.
    pub line: usize,
    /// The expected status.
    pub status: Option<Status>,
    /// The expected result.
    pub result: Option<Value>,
    /// The expected error.
    pub error: Option<ExpectedError>,
    /// The expected ends of its steps.
    pub steps: Vec<ExpectedStep>,
    /// The steps that must be undone, in that order.
    pub undone: Option<Vec<StepPath>>,
    /// How closely the result and the parameters must match.
    pub closeness: Closeness,
}

impl ExpectedEnd {
    /// Reports whether the end may be anything.
    pub fn is_anything(&self) -> bool {
        self.status.is_none() && self.result.is_none() && self.error.is_none() && self.steps.is_empty() && self.undone.is_none()
    }
}

/// How a step ends. A field that is not set accepts anything.
#[derive(Clone, Debug)]
pub struct ExpectedStep {
    /// The line that declares it.
    pub line: usize,
    /// The step.
    pub path: StepPath,
    /// The expectations for the step.
    pub is: ExpectedItem,
    /// The expectations for its items or turns, in order.
    pub items: Option<Vec<ExpectedItem>>,
}

/// How a step, an item or a turn ends. A field that is not set accepts anything.
#[derive(Clone, Debug, Default)]
pub struct ExpectedItem {
    /// The line that declares it.
    pub line: usize,
    /// The expected status.
    pub status: Option<Status>,
    /// The expected parameters.
    pub with: Option<Value>,
    /// The expected result.
    pub result: Option<Value>,
    /// The expected error.
    pub error: Option<ExpectedError>,
    /// The expected number of attempts.
    pub attempts: Option<u32>,
    /// How closely the values must match.
    pub closeness: Closeness,
}

/// Why something fails. A field that is not set accepts anything.
#[derive(Clone, Debug, Default)]
pub struct ExpectedError {
    /// The kind.
    pub kind: Option<FailureKind>,
    /// A part of the message.
    pub message: Option<String>,
    /// The number that belongs to the kind.
    pub detail: Option<i64>,
}

/// How an execution or a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub enum Status {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// It did not start.
    Skipped,
    /// The system cannot know whether it took effect.
    Indeterminate,
}

impl Status {
    /// Returns the status with the given name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}
