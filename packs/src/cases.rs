//! The cases of packs as they are understood: checked against the packs, and ready to be run by whoever has the engine at hand.
//!
//! Reading them is `check/tests.rs`. Nothing is run here.

use std::collections::BTreeMap;
use std::fmt;

use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::names::{ActionRef, PackName, RuleRef, StepName, TriggerRef, VarName};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use serde_json::{Map, Value};

use crate::installed::Manifest;
use crate::read::PackSource;

/// The cases of one pack, with what it takes to run them.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The pack.
    pub pack: PackName,
    /// The cases, in the order of the files and of the lines in them.
    pub cases: Vec<Case>,
    /// What actions give where no mock stands for them, where they say so.
    pub mocks: BTreeMap<ActionRef, Value>,
    /// The pack, and behind it all that it needs, each with its configuration.
    pub(crate) packs: Vec<(PackSource, Manifest)>,
}

impl Suite {
    /// The revision of the catalogs that cases are run with.
    pub const REVISION: CatalogRevision = CatalogRevision(1);
}

/// Gives each rule an id of its own, the same in each run.
pub(crate) fn ids<'a>(rules: impl IntoIterator<Item = &'a RuleRef>) -> BTreeMap<RuleRef, RuleId> {
    let id = |number: usize| RuleId(Id::root(Timestamp::default(), number as u128));
    rules.into_iter().enumerate().map(|(number, rule)| (rule.clone(), id(number))).collect()
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file it stands in, as people know it.
    pub file: String,
    /// The line it begins at, from 1.
    pub line: usize,
    /// What is to be so.
    pub name: String,
    /// What the operator has set for the pack, over its defaults.
    pub config: Map<String, Value>,
    /// The values that vars have before.
    pub vars: BTreeMap<VarName, Value>,
    /// What comes, and what is to follow.
    pub subject: Subject,
    /// What steps come to; none where nothing is to be run.
    pub mocks: Option<BTreeMap<StepPath, Mocks>>,
    /// The values that vars are to have after; null where one is to have none.
    pub vars_after: Vec<ExpectedVar>,
}

/// A var as it is to be in the end.
#[derive(Clone, Debug)]
pub struct ExpectedVar {
    /// The line that says so.
    pub line: usize,
    /// The var.
    pub name: VarName,
    /// Its value; null where it is to have none.
    pub value: Value,
}

/// What a case is about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Events, and what rules decide on them.
    Events {
        /// The events, one after the other.
        events: Vec<GivenEvent>,
        /// All decisions.
        expect: Vec<ExpectedEnforcement>,
    },
    /// An action that somebody asks for.
    Run {
        /// The action.
        action: ActionRef,
        /// Its parameters, not yet completed.
        with: Value,
        /// How it ends.
        expect: ExpectedEnd,
    },
}

/// An event of a case.
#[derive(Clone, Debug)]
pub struct GivenEvent {
    /// Its kind.
    pub trigger: TriggerRef,
    /// What it says.
    pub payload: Value,
    /// Who observed it.
    pub source: String,
    /// When it happened; when it comes, where nothing is said.
    pub time: Option<Timestamp>,
    /// How long after the one before it comes, in milliseconds.
    pub after_millis: u64,
}

/// The way to a step: the names of the steps around it, and its own. Of a case of events it begins with the rule's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepPath(String);

impl StepPath {
    /// Makes the way to a step that stands in no other, or to a rule.
    pub fn of(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// Gives the way to a step within.
    #[must_use]
    pub fn to(&self, step: &StepName) -> Self {
        Self(format!("{}.{step}", self.0))
    }

    /// Gives the way as text, `deploy.copy`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a step comes to each time.
#[derive(Clone, Debug)]
pub enum Mocks {
    /// Each time to the same.
    One(Mock),
    /// To one after the other.
    Each(Vec<Mocks>),
}

/// What an attempt of a step comes to, or who is asked says.
#[derive(Clone, Debug)]
pub enum Mock {
    /// It gives this.
    Result(Value),
    /// It fails.
    Error(Failure),
    /// Somebody answers.
    Answer {
        /// What.
        answer: Value,
        /// Who; whoever may, where nothing is said.
        by: Option<String>,
    },
    /// The event comes for which a step waits, with this payload.
    Event(Value),
    /// Nobody answers in time, or no event comes.
    Expired,
}

/// How closely what is there has to be like what is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Closeness {
    /// Objects may have more fields.
    #[default]
    Contains,
    /// It is the same.
    Equals,
}

/// A decision of a rule.
#[derive(Clone, Debug)]
pub struct ExpectedEnforcement {
    /// The line that says so.
    pub line: usize,
    /// The rule.
    pub rule: RuleRef,
    /// What it runs.
    pub action: Option<ActionRef>,
    /// What it gives that.
    pub with: Option<Value>,
    /// What becomes of the event.
    pub outcome: ExpectedOutcome,
    /// How its execution ends; of one that is rejected, or of a rule that errs, the error's message.
    pub end: ExpectedEnd,
}

/// What becomes of an event at a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpectedOutcome {
    /// The rule's action is run.
    #[default]
    Executed,
    /// The rule only watches.
    Shadowed,
    /// The action cannot be run so.
    Rejected,
    /// The rule's condition cannot be computed.
    Erred,
    /// It repeats another match.
    Deduplicated,
    /// There are too many in a while.
    Throttled,
    /// As many of the rule's executions are open as may be.
    Skipped,
    /// It is held, and then not acted on.
    Superseded,
}

impl ExpectedOutcome {
    /// Gives the outcome's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Shadowed => "shadowed",
            Self::Rejected => "rejected",
            Self::Erred => "erred",
            Self::Deduplicated => "deduplicated",
            Self::Throttled => "throttled",
            Self::Skipped => "skipped",
            Self::Superseded => "superseded",
        }
    }
}

/// How an execution ends; what is not said may be anything.
#[derive(Clone, Debug, Default)]
pub struct ExpectedEnd {
    /// The line that says so.
    pub line: usize,
    /// With which status.
    pub status: Option<Status>,
    /// With which result.
    pub result: Option<Value>,
    /// With which error.
    pub error: Option<ExpectedError>,
    /// How its steps end.
    pub steps: Vec<ExpectedStep>,
    /// Which steps are undone, in that order.
    pub undone: Option<Vec<StepPath>>,
    /// How closely the result, and what it is run with, has to be that.
    pub closeness: Closeness,
}

impl ExpectedEnd {
    /// Says whether nothing is demanded of the end.
    pub fn is_anything(&self) -> bool {
        self.status.is_none() && self.result.is_none() && self.error.is_none() && self.steps.is_empty() && self.undone.is_none()
    }
}

/// How a step ends; what is not said may be anything.
#[derive(Clone, Debug)]
pub struct ExpectedStep {
    /// The line that says so.
    pub line: usize,
    /// The step.
    pub path: StepPath,
    /// What is demanded of it.
    pub is: ExpectedItem,
    /// What is demanded of its items or turns, in order.
    pub items: Option<Vec<ExpectedItem>>,
}

/// How a step, an item or a turn of it ends; what is not said may be anything.
#[derive(Clone, Debug, Default)]
pub struct ExpectedItem {
    /// The line that says so.
    pub line: usize,
    /// With which status.
    pub status: Option<Status>,
    /// What it is run with.
    pub with: Option<Value>,
    /// With which result.
    pub result: Option<Value>,
    /// With which error.
    pub error: Option<ExpectedError>,
    /// After how many attempts.
    pub attempts: Option<u32>,
    /// How closely the values have to be that.
    pub closeness: Closeness,
}

/// Why something fails; what is not said may be anything.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As it should.
    Succeeded,
    /// It failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was ended.
    Cancelled,
    /// It did not start.
    Skipped,
    /// It is unknown whether it took effect.
    Indeterminate,
}

impl Status {
    const ALL: [Self; 6] = [Self::Succeeded, Self::Failed, Self::TimedOut, Self::Cancelled, Self::Skipped, Self::Indeterminate];

    /// Gives the status's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Indeterminate => "indeterminate",
        }
    }

    /// Finds the status of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}
