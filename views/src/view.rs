//! What a view is: a struct per key, folded from records, kept as one bounded JSON document with declared columns.
//!
//! It knows the names of the views, not what they hold.

use std::fmt;

use ensue_engine::ids::Id;
use ensue_engine::record::{BodyHandle, Digest, Position, Record};
use ensue_engine::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The most bytes that a document has as JSON. Views hold to it by construction: all their lists and texts are bounded.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// A view: a pure fold of the log, per key.
///
/// A record touches at most one key of a view, so the position of the record that began a row names the row as well as its key
/// does: lists are ordered by it, and cursors are made of it.
pub trait View: Clone + Serialize + DeserializeOwned {
    /// The view's name.
    const NAME: ViewName;
    /// What the rows are told apart by.
    type Key: Ord + Clone + fmt::Display + Into<Term>;

    /// Gives the key that `record` touches.
    fn key(record: &Record) -> Option<Touch<Self::Key>>;

    /// Folds a record that touches the key into what stood there before; none where nothing stands there (any more).
    #[must_use]
    fn project(before: Option<Self>, record: &Record) -> Option<Self>;

    /// Gives the position of the record that began the row.
    fn position(&self) -> Position;

    /// Gives the time of the record that began the row.
    fn began_at(&self) -> Timestamp;

    /// Gives the values to filter by, in the order of [`ViewName::columns`].
    fn columns(&self) -> Vec<Option<Term>>;

    /// Says whether more records are likely to touch the row soon, so that it is worth keeping at hand.
    fn life(&self) -> Life;
}

/// How a record touches a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch<K> {
    /// It begins the row: nothing stands under the key yet.
    Begins(K),
    /// It changes the row, where there is one.
    Changes(K),
}

/// Whether a row is likely to change soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It is.
    Alive,
    /// It is final, or changes seldom.
    Settled,
}

/// The names of the views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViewName {
    /// [`Event`](crate::Event), by its id.
    Events,
    /// [`Enforcement`](crate::Enforcement), by its id.
    Enforcements,
    /// [`Execution`](crate::Execution), by its id.
    Executions,
    /// [`Artifact`](crate::Artifact), by its id.
    Artifacts,
    /// [`Inquiry`](crate::Inquiry), by its id.
    Inquiries,
    /// [`RuleActivity`](crate::RuleActivity), by the rule's id.
    Rules,
    /// [`Schedule`](crate::Schedule), by its id.
    Schedules,
    /// [`LockClaims`](crate::LockClaims), by the execution's id.
    Locks,
    /// [`Pack`](crate::Pack), by its name.
    Packs,
    /// [`Key`](crate::Key), by its ref.
    Keys,
    /// [`Var`](crate::Var), by its name.
    Vars,
    /// [`Token`](crate::Token), by its id.
    Tokens,
    /// [`DeadLetter`](crate::DeadLetter), by the id of the record.
    DeadLetters,
    /// [`ParkedReaction`](crate::ParkedReaction), by the position it is owed to.
    ParkedReactions,
    /// [`Totals`](crate::Totals), under the only key [`TOTALS`](crate::totals::TOTALS).
    Totals,
}

impl ViewName {
    /// Lists all views.
    pub const ALL: [Self; 15] = [
        Self::Events,
        Self::Enforcements,
        Self::Executions,
        Self::Artifacts,
        Self::Inquiries,
        Self::Rules,
        Self::Schedules,
        Self::Locks,
        Self::Packs,
        Self::Keys,
        Self::Vars,
        Self::Tokens,
        Self::DeadLetters,
        Self::ParkedReactions,
        Self::Totals,
    ];

    /// Gives the name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Enforcements => "enforcements",
            Self::Executions => "executions",
            Self::Artifacts => "artifacts",
            Self::Inquiries => "inquiries",
            Self::Rules => "rules",
            Self::Schedules => "schedules",
            Self::Locks => "locks",
            Self::Packs => "packs",
            Self::Keys => "keys",
            Self::Vars => "vars",
            Self::Tokens => "tokens",
            Self::DeadLetters => "dead_letters",
            Self::ParkedReactions => "parked_reactions",
            Self::Totals => "totals",
        }
    }

    /// Reads a key of this view; none where the text cannot be one.
    pub fn key(self, text: &str) -> Option<Term> {
        match self {
            Self::Events
            | Self::Enforcements
            | Self::Executions
            | Self::Artifacts
            | Self::Inquiries
            | Self::Rules
            | Self::Schedules
            | Self::Locks
            | Self::Tokens
            | Self::DeadLetters => text.parse().map(Term::Id).ok(),
            Self::Packs | Self::Keys | Self::Vars | Self::ParkedReactions | Self::Totals => Some(Term::Text(text.to_owned())),
        }
    }
}

impl fmt::Display for ViewName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Gives the versions of all views as one text: what a store was made by.
pub fn versions() -> String {
    ViewName::ALL.map(|view| format!("{view}/{}", view.version())).join(" ")
}

/// What rows can be filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// The kind of an event: a ref.
    Trigger,
    /// Who observed an event.
    Source,
    /// The first record of the chain: an id.
    Correlation,
    /// A rule: a ref.
    Rule,
    /// An event: an id.
    Event,
    /// An execution: an id.
    Execution,
    /// What became of a match.
    Outcome,
    /// Where something stands. The only column that changes while the row stays.
    Status,
    /// An action: a ref.
    Action,
    /// A workflow's execution: an id.
    Parent,
    /// The execution that another runs again: an id.
    RerunOf,
    /// A sensor: a ref.
    Sensor,
    /// A name that a person gave.
    Name,
    /// Who may answer an inquiry. A row has several values of it.
    Assignee,
    /// A label of an execution, `site=eu`. A row has several values of it.
    Label,
}

impl Column {
    /// Gives the column's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Source => "source",
            Self::Correlation => "correlation",
            Self::Rule => "rule",
            Self::Event => "event",
            Self::Execution => "execution",
            Self::Outcome => "outcome",
            Self::Status => "status",
            Self::Action => "action",
            Self::Parent => "parent",
            Self::RerunOf => "rerun_of",
            Self::Sensor => "sensor",
            Self::Name => "name",
            Self::Assignee => "assignee",
            Self::Label => "label",
        }
    }

    /// Reads a value of this column; none where the text cannot be one, and so no row has it.
    pub fn value(self, text: &str) -> Option<Term> {
        match self {
            Self::Correlation | Self::Event | Self::Execution | Self::Parent | Self::RerunOf => text.parse().map(Term::Id).ok(),
            Self::Trigger
            | Self::Source
            | Self::Rule
            | Self::Outcome
            | Self::Status
            | Self::Action
            | Self::Sensor
            | Self::Name
            | Self::Assignee
            | Self::Label => Some(Term::Text(text.to_owned())),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key, or what a row is found by: a store keeps an id in its 16 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// An id.
    Id(Id),
    /// Any other text.
    Text(String),
    /// Several texts, by each of which the row is found. No key, and never what is asked for.
    Texts(Vec<String>),
}

impl Term {
    /// Says whether a row with this in a column is found by a value of it.
    pub fn is_found_by(&self, value: &Self) -> bool {
        match (self, value) {
            (Self::Texts(texts), Self::Text(text)) => texts.contains(text),
            (Self::Id(_) | Self::Text(_) | Self::Texts(_), _) => self == value,
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Texts(texts) => texts.join(", ").fmt(f),
        }
    }
}

impl From<Id> for Term {
    fn from(id: Id) -> Self {
        Self::Id(id)
    }
}

impl From<&str> for Term {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

macro_rules! terms {
    (ids: $($id:ident),*; names: $($name:ident),*;) => {
        $(impl From<ensue_engine::ids::$id> for Term {
            fn from(id: ensue_engine::ids::$id) -> Self {
                Self::Id(id.0)
            }
        })*
        $(impl From<ensue_engine::names::$name> for Term {
            fn from(name: ensue_engine::names::$name) -> Self {
                Self::Text(name.as_str().to_owned())
            }
        })*
    };
}

terms! {
    ids: EventId, EnforcementId, ExecutionId, ArtifactId, InquiryId, RuleId, ScheduleId, TokenId;
    names: PackName, KeyRef, VarName;
}

/// Where a body is: views name bodies, the log holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// The record that holds it.
    pub position: Position,
    /// The number of its plain bytes.
    pub bytes: u64,
    /// The hash of its plain bytes.
    pub digest: Digest,
}

impl From<BodyHandle> for Handle {
    fn from(body: BodyHandle) -> Self {
        Self { position: body.at, bytes: body.bytes, digest: body.digest }
    }
}
