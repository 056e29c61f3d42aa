//! What can happen to an event: it is received, or its delivery is refused.

use serde::{Deserialize, Serialize};

use crate::events::own::{OwnTrigger, OwnTriggers};
use crate::names::{RuleRef, SensorRef, TriggerRef};
use crate::record::{CatalogRevision, Digest, Position};
use crate::time::Timestamp;

/// The most known errors that one event's record counts.
pub const AGAIN_MAX: usize = 1_000;

/// An event was received. Its body is the payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventReceived {
    /// Its kind.
    pub trigger: TriggerRef,
    /// Who observed it: a sensor's ref, `api`, an execution, or what a CloudEvent calls its source.
    pub source: String,
    /// The sensor it came through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorRef>,
    /// The rule whose schedule it is: no other judges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
    /// When it happened, as far as the edge knows; rules see it as `event.time`.
    pub occurred_at: Timestamp,
    /// The catalog by which the rules judged it.
    pub catalog: CatalogRevision,
    /// How many rules were enforced on it.
    pub matched: u32,
    /// How many rules could not be evaluated on it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub erred: u32,
    /// How many rules were not judged yet, because they read `vars` or were over the steps of the event: what each made of it follows from it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub undecided: u32,
    /// Those of these errors that were known: the positions of their `rule.erred`, at most [`AGAIN_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<Position>,
    /// The hash of the key under which it is accepted once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<Digest>,
    /// The engine's own triggers of which an event stands above it in its chain.
    #[serde(default, skip_serializing_if = "OwnTriggers::is_empty")]
    pub own_above: OwnTriggers,
}

/// A delivery that proved who sent it made no event, and is kept as a dead letter. Its body is the delivery's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryRefused {
    /// The sensor at which it came in.
    pub sensor: SensorRef,
    /// The trigger that refused it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerRef>,
    /// Why.
    pub reason: String,
    /// What came with the body; none where that cannot be delivered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<DeliveredWith>,
}

/// What came with the body of a delivery, as far as expressions may read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveredWith {
    /// The headers, their names in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The query of its address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<(String, String)>,
}

impl EventReceived {
    /// Says whether a rule makes anything of it, or may.
    pub fn concerns_rules(&self) -> bool {
        self.matched > 0 || self.erred > 0 || self.undecided > 0
    }

    /// Gives the engine's own triggers of which an event stands above what it leads to.
    pub(crate) fn own_above_what_follows(&self) -> OwnTriggers {
        self.own_above.iter().copied().chain(OwnTrigger::of(&self.trigger)).collect()
    }
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}
