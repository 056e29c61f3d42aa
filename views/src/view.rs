//! Defines what a view is: a struct per key, folded from records, stored as one bounded JSON document with
//! declared columns.
//!
//! It knows the names of the views, but not their contents.

use std::fmt;

use ensue_engine::ids::Id;
use ensue_engine::names::Names;
use ensue_engine::record::{BodyHandle, Digest, Position, Record};
use ensue_engine::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::reach::{ReachLimits, RowReach, RowScope};

/// The maximum size of a document, in bytes of JSON. Views meet it by construction, because all their lists
/// and texts are bounded.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// A view: a pure fold of the log, per key.
///
/// A record touches at most one key of a view, so the position of the record that began a row identifies the
/// row as well as its key does. Lists are ordered by it, and cursors are built from it.
pub trait View: Clone + Serialize + DeserializeOwned {
    /// The view's name.
    const NAME: ViewName;
    /// The unique key of the rows.
    type Key: Ord + Clone + fmt::Display + Into<Term>;

    /// Returns the key that `record` touches.
    fn key(record: &Record) -> Option<Touch<Self::Key>>;

    /// Folds a record that touches the key into the previous row. Returns `None` if there is no row, or no
    /// longer one.
    #[must_use]
    fn project(before: Option<Self>, record: &Record) -> Option<Self>;

    /// Returns the position of the record that began the row.
    fn position(&self) -> Position;

    /// Returns the time of the record that began the row.
    fn began_at(&self) -> Timestamp;

    /// Returns the values of the columns, in the order of [`ViewName::columns`].
    fn columns(&self) -> Vec<Option<Term>> {
        Vec::new()
    }

    /// Returns where the row belongs, which limited permissions see. Only views with [`ViewName::is_scoped`] have it.
    fn scope(&self) -> Option<RowScope> {
        None
    }

    /// Returns whether more records are likely to touch the row soon, so that caching it is worthwhile.
    fn life(&self) -> Life {
        Life::Settled
    }
}

impl RowReach {
    /// Returns true if a row is reached because of where it belongs, or because it is the execution that the caller is.
    pub fn covers_row<V: View>(&self, key: &str, row: &V) -> bool {
        let is_itself =
            |within: &ReachLimits| V::NAME == ViewName::Executions && within.itself.is_some_and(|itself| itself.to_string() == key);
        match self {
            Self::Within(within) if is_itself(within) => true,
            _ => !V::NAME.is_scoped() || self.covers(row.scope().as_ref()),
        }
    }
}

/// How a record touches a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch<K> {
    /// It begins the row: there is no row with the key yet.
    Begins(K),
    /// It changes the row, if there is one.
    Changes(K),
}

/// Whether a row is likely to change soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It is likely to change.
    Alive,
    /// It is final, or rarely changes.
    Settled,
}

/// The names of the views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Names)]
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
    /// [`AuditEntry`](crate::AuditEntry), by the id of the record.
    Audit,
    /// [`DeadLetter`](crate::DeadLetter), by the id of the record.
    DeadLetters,
    /// [`ParkedReaction`](crate::ParkedReaction), by the position it is owed to.
    ParkedReactions,
    /// [`Totals`](crate::Totals), under the only key [`TOTALS`](crate::totals::TOTALS).
    Totals,
}

impl ViewName {
    /// Parses a key of this view. Returns `None` if the text cannot be one.
    pub fn key(self, text: &str) -> Option<Term> {
        let is_text = matches!(self, Self::Packs | Self::Keys | Self::Vars | Self::ParkedReactions | Self::Totals);
        if is_text { Some(Term::Text(text.to_owned())) } else { text.parse().map(Term::Id).ok() }
    }
}

impl fmt::Display for ViewName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns the versions of all views as one text, which identifies the folds that built a store.
pub fn versions() -> String {
    ViewName::ALL.map(|view| format!("{view}/{}", view.version())).join(" ")
}

/// A column by which rows can be filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Names)]
pub enum Column {
    /// The trigger of an event: a ref.
    Trigger,
    /// The observer of an event.
    Source,
    /// The first record of the causal chain: an id.
    Correlation,
    /// A rule: a ref.
    Rule,
    /// An event: an id.
    Event,
    /// An execution: an id.
    Execution,
    /// The outcome of a match.
    Outcome,
    /// The status. The only column whose value changes while the row exists.
    Status,
    /// An action: a ref.
    Action,
    /// A workflow's execution: an id.
    Parent,
    /// The original execution of a rerun: an id.
    RerunOf,
    /// A sensor: a ref.
    Sensor,
    /// A name given by a person.
    Name,
    /// An assignee of an inquiry. A row has several values.
    Assignee,
    /// A label of an execution, `site=eu`. A row has several values.
    Label,
    /// An actor, without its credential.
    Actor,
    /// The kind of a fact.
    What,
    /// A stream of the log.
    Of,
}

impl Column {
    /// Parses a value of this column. Returns `None` if the text cannot be one, so that no row has it.
    pub fn value(self, text: &str) -> Option<Term> {
        let is_id = matches!(self, Self::Correlation | Self::Event | Self::Execution | Self::Parent | Self::RerunOf);
        if is_id { text.parse().map(Term::Id).ok() } else { Some(Term::Text(text.to_owned())) }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key or the value of a column. A store keeps an id as its 16 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// An id.
    Id(Id),
    /// Any other text.
    Text(String),
    /// Several texts, each of which matches the row. Never a key, and never the value of a query.
    Texts(Vec<String>),
}

impl Term {
    /// Returns true if a row with this in a column matches a value of the column.
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

/// A reference to a body: views refer to bodies, and the log holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// The position of the record that holds it.
    pub position: Position,
    /// The size of the decoded body, in bytes.
    pub bytes: u64,
    /// The digest of the decoded body.
    pub digest: Digest,
}

impl From<BodyHandle> for Handle {
    fn from(body: BodyHandle) -> Self {
        Self { position: body.at, bytes: body.bytes, digest: body.digest }
    }
}
