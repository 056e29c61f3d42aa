//! Events that are made of what callers send.

use bytes::Bytes;
use ensue_engine::command::{Dedupe, ObservedEvent};
use ensue_engine::names::{RuleRef, TriggerRef};
use ensue_engine::time::Timestamp;

use super::Declined;

/// What makes events of what callers send.
pub trait EventMaker: Send + Sync {
    /// Checks a payload against its trigger and has the rules judge it. Works on the calling thread and does not wait: quick.
    fn observe(&self, given: GivenEvent) -> Result<ObservedEvent, Declined>;
}

/// An event as a caller sends it.
#[derive(Clone, Debug)]
pub struct GivenEvent {
    /// Its kind.
    pub trigger: TriggerRef,
    /// Its payload: JSON text, to be kept byte for byte.
    pub payload: Bytes,
    /// Who says so, as the record will have it: `api`, or the source of a CloudEvent.
    pub source: String,
    /// When it happened; none means now.
    pub occurred_at: Option<Timestamp>,
    /// The W3C trace that it brings itself, as `cause.trace` of a record has it; none means the request's.
    pub trace: Option<String>,
    /// The key under which it is accepted once.
    pub dedupe: Option<Dedupe>,
    /// The rule whose schedule it is: no other judges it.
    pub rule: Option<RuleRef>,
}
