//! The audit: what callers changed, and what was refused to them, with their credentials.
//!
//! A row is for one record that a credential caused, or that reports rejected requests or logins. What sensors, workers
//! and the engine did is in the other views.

use ensue_derive::sparse;
use ensue_engine::fact::{AuditFact, ByNoun};
use ensue_engine::ids::Id;
use ensue_engine::record::{Actor, Position, Record, StreamId};
use ensue_engine::time::Timestamp;
use ensue_engine::trace::TraceContext;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 1;

/// The columns by which the audit can be filtered.
pub const COLUMNS: &[Column] = &[Column::Actor, Column::What, Column::Of];

/// The maximum size of a shown actor and of a shown credential, in bytes.
const ACTOR_BYTES_MAX: usize = 1024;

/// Something that a caller did, or tried to do.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The id of the record.
    pub id: Id,
    /// The position of the record.
    pub position: Position,
    /// The time of the record.
    pub time: Timestamp,
    /// The actor, in the log's notation.
    pub actor: String,
    /// The credential that it used; none for an operator of the machine and for sums.
    pub credential: Option<String>,
    /// The kind of the fact.
    pub what: String,
    /// The stream of the record: the thing that it is about.
    pub of: String,
    /// The id of the trace of the request.
    pub trace: Option<String>,
    /// The permission that was missing.
    pub permission: Option<String>,
    /// The way of rejected logins.
    pub way: Option<String>,
    /// The number of rejected requests or logins, of uses of a key, or of exported rows.
    pub count: Option<u64>,
}

impl AuditEntry {
    /// Returns the text that a row about a stream has in the column [`Column::Of`]. An event has one record, whose id is
    /// its own, so it is found by its key.
    pub fn of_column(stream: &StreamId) -> Option<String> {
        if let StreamId::Event(_) = stream { None } else { Some(stream.to_string()) }
    }
}

impl View for AuditEntry {
    const NAME: ViewName = ViewName::Audit;
    type Key = Id;

    fn key(record: &Record) -> Option<Touch<Id>> {
        let is_by_credential = match record.actor {
            Actor::Token(_) | Actor::Identity { .. } | Actor::Execution(_) | Actor::Operator => true,
            Actor::Engine | Actor::Sensor(_) | Actor::Worker(_) => false,
        };
        (is_by_credential || matches!(record.fact.by_noun(), ByNoun::AuditFact(_))).then_some(Touch::Begins(record.id))
    }

    fn project(_: Option<Self>, record: &Record) -> Option<Self> {
        let actor = cut(&record.actor.to_string(), ACTOR_BYTES_MAX);
        let credential = match &record.actor {
            Actor::Token(_) | Actor::Execution(_) => Some(actor.clone()),
            Actor::Identity { by, .. } => Some(by.to_string()),
            Actor::Engine | Actor::Sensor(_) | Actor::Worker(_) | Actor::Operator => None,
        };
        // The identity or execution without its credential, so that its rows are found together.
        let actor = match &record.actor {
            Actor::Identity { id, .. } => format!("identity/{id}"),
            Actor::Execution(attempt) => format!("execution/{}", attempt.execution),
            Actor::Engine | Actor::Token(_) | Actor::Sensor(_) | Actor::Worker(_) | Actor::Operator => actor,
        };
        let trace = record.cause.trace.as_deref().and_then(|trace| trace.parse::<TraceContext>().ok());
        let entry = Self {
            id: record.id,
            position: record.position,
            time: record.time,
            actor,
            credential,
            what: record.kind().to_owned(),
            of: record.stream.to_string(),
            trace: trace.map(|trace| trace.parent.trace().to_string()),
            permission: None,
            way: None,
            count: None,
        };
        let ByNoun::AuditFact(fact) = record.fact.by_noun() else { return Some(entry) };
        // The bounds of facts are those of the document.
        Some(match fact {
            AuditFact::AccessDenied(fact) => Self { permission: fact.permission.clone(), count: Some(fact.count), ..entry },
            AuditFact::LoginRefused(fact) => {
                let actor = fact.identity.map_or(entry.actor, |id| format!("identity/{id}"));
                Self { actor, way: fact.way.clone(), count: Some(fact.count), ..entry }
            }
            AuditFact::KeyUsed(fact) => Self { count: Some(fact.count), ..entry },
            AuditFact::ExportMade(fact) => Self { count: Some(fact.rows), ..entry },
            AuditFact::ConnectionTested(_) => entry,
        })
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.time
    }

    fn columns(&self) -> Vec<Option<Term>> {
        let of = self.of.parse().ok().and_then(|stream| Self::of_column(&stream));
        vec![Some(self.actor.as_str().into()), Some(self.what.as_str().into()), of.map(Term::Text)]
    }
}
