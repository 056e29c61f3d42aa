//! Facts about events: an event is received, or its delivery is refused.

use ensue_derive::sparse;
use serde::{Deserialize, Serialize};

use crate::events::internal::{InternalTrigger, InternalTriggers};
use crate::events::version::TriggerVersion;
use crate::names::{RuleRef, SensorRef, TriggerRef};
use crate::record::{CatalogRevision, Digest, Position};
use crate::sparse::is_default;
use crate::time::Timestamp;

/// The maximum number of known errors that one event's record lists.
pub const AGAIN_MAX: usize = 1_000;

/// An event was received. Its body is the payload.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventReceived {
    /// Its trigger.
    pub trigger: TriggerRef,
    /// The version of the trigger that its payload has.
    #[serde(default, skip_serializing_if = "TriggerVersion::is_first")]
    pub version: TriggerVersion,
    /// Its source: a sensor's ref, `api`, an execution, or the source of a CloudEvent.
    pub source: String,
    /// The sensor it came through.
    pub sensor: Option<SensorRef>,
    /// The rule whose schedule created it: no other rule judges it.
    pub rule: Option<RuleRef>,
    /// When it happened, as far as the edge knows; rules see it as `event.time`.
    pub occurred_at: Timestamp,
    /// The catalog with which rules judged it.
    pub catalog: CatalogRevision,
    /// How many rules were enforced on it.
    pub matched: u32,
    /// How many rules failed on it with an error.
    #[serde(default, skip_serializing_if = "is_default")]
    pub erred: u32,
    /// How many rules were not judged yet, because they read `vars` or the event had used up its steps. Their
    /// judgements are consequences of the event.
    #[serde(default, skip_serializing_if = "is_default")]
    pub undecided: u32,
    /// The errors among these that were already known: the positions of their `rule.erred`, at most
    /// [`AGAIN_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<Position>,
    /// The hash of the key under which it is accepted once.
    pub dedupe: Option<Digest>,
    /// The engine's own triggers that have an event above it in its chain.
    #[serde(rename = "own_above", default, skip_serializing_if = "InternalTriggers::is_empty")]
    pub internal_above: InternalTriggers,
}

/// A delivery was verified but created no event, and is kept as a dead letter. Its body is the delivery's.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryRefused {
    /// The sensor that received it.
    pub sensor: SensorRef,
    /// The trigger that refused it, if one did.
    pub trigger: Option<TriggerRef>,
    /// The reason.
    pub reason: String,
    /// The headers and query of the delivery; `None` if it cannot be delivered again.
    pub with: Option<DeliveredWith>,
}

/// The headers and query of a delivery, its method and the parameters of its path, as far as expressions may read them.
#[sparse(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveredWith {
    /// The headers, with names in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The query of the URL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<(String, String)>,
    /// The method, if it is not POST.
    pub method: Option<String>,
    /// The parameters of the path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<(String, String)>,
    /// What is known of a message that a pulling sensor read, beside its body. A delivery has none.
    pub message: Option<KeptMessage>,
}

/// A message of a pulling sensor, without its body.
#[sparse(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptMessage {
    /// How its body is to be read.
    pub form: MessageForm,
    /// What else its source knows about it: an object as JSON.
    pub about: String,
    /// The key under which it is accepted once, if its source has one of its own.
    pub key: Option<String>,
    /// When it happened, if its source says so.
    pub time: Option<Timestamp>,
}

/// How the body of a message is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageForm {
    /// It is a JSON value.
    Json,
    /// It is bytes, which `decode` of the sensor explains.
    Bytes,
    /// There is none.
    Nothing,
}

impl DeliveredWith {
    /// Returns true if it has a method or a path, which older releases cannot read.
    pub(crate) fn is_beyond_post(&self) -> bool {
        self.method.is_some() || !self.path.is_empty()
    }
}

impl EventReceived {
    /// Returns true if a rule acts on it, or may.
    pub fn concerns_rules(&self) -> bool {
        self.matched > 0 || self.erred > 0 || self.undecided > 0
    }

    /// Returns the engine's own triggers that have an event above the consequences of this one.
    pub(crate) fn internal_above_what_follows(&self) -> InternalTriggers {
        self.internal_above.iter().copied().chain(InternalTrigger::of(&self.trigger)).collect()
    }
}
