//! Creating events from what callers send.

use bytes::Bytes;
use ensue_engine::command::{Dedupe, ObservedEvent};
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::names::RuleRef;
use ensue_engine::time::Timestamp;

use super::PortError;

/// Creates events from what callers send.
pub trait EventMaker: Send + Sync {
    /// Checks a payload against its trigger and runs the rules on it. Works on the calling thread and does not
    /// wait: quick.
    fn observe(&self, given: GivenEvent) -> Result<ObservedEvent, PortError>;
}

/// An event as sent by a caller.
#[derive(Clone, Debug)]
pub struct GivenEvent {
    /// Its trigger, and the version of its payload.
    pub trigger: VersionedTrigger,
    /// Its payload: JSON text, stored byte for byte.
    pub payload: Bytes,
    /// The source that the record will name: `api`, or the source of a CloudEvent.
    pub source: String,
    /// When it happened; none means now.
    pub occurred_at: Option<Timestamp>,
    /// The W3C trace that the event itself brings, in the form of a record's `cause.trace`; none means the
    /// request's.
    pub trace: Option<String>,
    /// The key under which it is accepted only once.
    pub dedupe: Option<Dedupe>,
    /// The rule whose schedule it belongs to: no other rule judges it.
    pub rule: Option<RuleRef>,
}
