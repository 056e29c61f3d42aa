//! What a rule decided about past events.

use ensue_derive::wire;
use ensue_engine::ids::EventId;
use ensue_engine::names::TriggerRef;
use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use ensue_views::Event;
use schemars::JsonSchema;
use serde::Serialize;

use crate::wire::verdicts::{WireJudgement, WireVerdict};

/// What a rule decided about past events.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "Judgements")]
pub(crate) struct WireJudgements {
    /// The newest first.
    pub(crate) items: Vec<WireJudgedEvent>,
    /// The cursor of the next page; null if there is none. A request examines at most 500 events, so a page may hold
    /// fewer than `limit` and still have a next one.
    pub(crate) next: Option<String>,
    /// The items of this page by their verdict and the parts that decided, the largest group first.
    pub(crate) groups: Vec<WireDecidedGroup>,
    /// How many events of the rule's triggers were examined for this page.
    pub(crate) examined: u64,
    /// How many of them cannot be judged again, because their payload or their definitions are gone.
    pub(crate) unreadable: u64,
}

/// What a rule decided about an event.
#[wire(Serialize)]
#[schemars(rename = "JudgedEvent")]
pub(crate) struct WireJudgedEvent {
    event: EventId,
    position: Position,
    trigger: TriggerRef,
    received_at: Timestamp,
    verdict: WireJudgement,
    /// The parts of the condition that decided, with their values, one per line.
    why: Vec<String>,
    /// The same parts as they are written.
    decisive: Vec<String>,
}

/// Judgements with the same verdict for the same reason.
#[wire(Serialize)]
#[schemars(rename = "JudgementGroup")]
pub(crate) struct WireDecidedGroup {
    verdict: WireJudgement,
    /// The parts of the condition that decided, as they are written.
    decisive: Vec<String>,
    pub(crate) count: u64,
    /// The newest event of the group.
    last_event: EventId,
}

impl WireJudgedEvent {
    /// Shows a verdict and the parts that decided.
    pub(crate) fn new(event: &Event, verdict: WireVerdict, decisive: Vec<String>) -> Self {
        let Event { id, position, trigger, received_at, .. } = event;
        let (name, why) = (verdict.name(), verdict.into_why());
        Self { event: *id, position: *position, trigger: trigger.clone(), received_at: *received_at, verdict: name, why, decisive }
    }
}

impl WireDecidedGroup {
    /// Creates an empty group.
    pub(crate) fn new(verdict: WireJudgement, decisive: &[String], last_event: EventId) -> Self {
        Self { verdict, decisive: decisive.to_vec(), count: 0, last_event }
    }
}
