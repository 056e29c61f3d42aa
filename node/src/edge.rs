//! The edge where events come in: deliveries, callers' events and emitted events are checked against their
//! trigger and judged by the rules, on the thread that they arrive on.
//!
//! The sequencer decides whether they are recorded; the edge decides only what can be known without the state.

use std::sync::Arc;

use bytes::Bytes;
use ensue_api::ports::{
    ConfirmedTopic, EventMaker, GivenEvent, HookOutcome, HookRefusal, PortError, SecretState, ShownDelivery, ToSign, Webhooks,
};
use ensue_engine::catalog::{Catalog, Misfit, SenderAuthority, Sensor, Verify, WaitingReply};
use ensue_engine::command::{Conflict, Dedupe, DedupeKey, ObservedEvent, Refusal, RefusedDelivery, SignedBody};
use ensue_engine::events::facts::KeptMessage;
use ensue_engine::events::internal::is_of_the_engine;
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::explain::Explain;
use ensue_engine::ids::{EventId, Id, LogId, Role};
use ensue_engine::names::{RuleRef, SensorRef, TriggerRef};
use ensue_engine::ports::{Came, HookReply, HookRequest};
use ensue_engine::record::{Body, Digest};
use ensue_engine::rules::judge::{EventView, judge};
use ensue_engine::time::Timestamp;
use ensue_executor::ports::{self as executor, Emission, EmissionError};
use ensue_expression::{Document, JsonError};
use ensue_sensors::Stage;
use ensue_sensors::message::Message;
use ensue_sensors::pulled_messages::{self, MessageResult};
use ensue_sensors::replies;
use ensue_sensors::signatures::{KEY_BYTES_MIN, SignatureRefusal};
use ensue_sensors::webhook::{self, EmittedEvent, HookKeys, Outgoing, Proving};
use thiserror::Error;

use crate::catalogs::NodeCatalogs;
use crate::clock::SteppedClock;
use crate::hook_senders::HookSenders;
use crate::key_ring::{AcceptedValues, KeyRing};

/// Why an input is not an event.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub(crate) enum EdgeRefusal {
    /// There is no such hook.
    #[error("there is no hook `{0}`")]
    #[explain(slug = "hook-not-found", fault = Missing, hint = "list the hooks with `ensue hooks`")]
    NoHook(SensorRef),
    /// The payload is not JSON.
    #[error("the payload is not JSON: {0}")]
    #[explain(slug = "body-not-json", fault = Malformed,
        hint = "send one JSON value in UTF-8, with at most 128 levels and no duplicate keys in an object")]
    NotJson(JsonError),
    /// There is no such trigger, or the payload does not match it.
    #[error(transparent)]
    #[explain(transparent)]
    NoEvent(#[from] EmissionError),
    /// The hook's key cannot be opened.
    #[error("the hook `{sensor}` accepts no deliveries: {why}")]
    #[explain(slug = "hook-unusable", fault = Unavailable,
        hint = "set the hook's key, at least {KEY_BYTES_MIN} bytes, with `ensue keys set`; `ensue hooks` shows its name")]
    KeyUnusable {
        /// The sensor.
        sensor: SensorRef,
        /// Why.
        why: String,
    },
    /// The content does not fit the hook.
    #[error("a delivery at `{sensor}` cannot be made: {why}")]
    #[explain(slug = "delivery-invalid", fault = Invalid, hint = "compare the body and the path with `accept`, `methods` and `path` of the sensor")]
    CannotCompose {
        /// The sensor.
        sensor: SensorRef,
        /// What does not fit.
        why: String,
    },
    /// A delivery of the hook cannot be signed.
    #[error("a delivery at `{sensor}` cannot be signed: {why}")]
    #[explain(slug = "hook-unusable", fault = Unavailable,
        hint = "set the hook's key, at least {KEY_BYTES_MIN} bytes, with `ensue keys set`; `ensue hooks` shows its name")]
    CannotSign {
        /// The sensor.
        sensor: SensorRef,
        /// Why.
        why: SignatureRefusal,
    },
}

/// Turns inputs into events.
pub struct Edge {
    /// The log that the events are for.
    pub log: LogId,
    /// The catalogs that judge the events.
    pub catalogs: Arc<NodeCatalogs>,
    /// The keys that deliveries are verified with.
    pub keys: Arc<KeyRing>,
    /// The clock that sets the time of receipt.
    pub clock: Arc<dyn SteppedClock>,
    /// The authorities that vouch for senders.
    pub senders: Arc<HookSenders>,
}

/// An event before it is judged.
struct UnjudgedEvent {
    id: EventId,
    trigger: VersionedTrigger,
    source: String,
    sensor: Option<SensorRef>,
    rule: Option<RuleRef>,
    occurred_at: Timestamp,
    trace: Option<String>,
    payload: Document,
    dedupe: Option<Dedupe>,
}

impl Edge {
    fn fresh(&self) -> (EventId, Timestamp) {
        let moment = self.clock.moment();
        (EventId(Id::root(moment.time, moment.entropy)), moment.time)
    }

    fn keys_of(&self, sensor: &Sensor, verify: &Verify) -> Result<AcceptedValues, EdgeRefusal> {
        let Some(key) = verify.key() else { return Ok(AcceptedValues::default()) };
        self.keys
            .accepted_values(key, self.clock.now())
            .map_err(|error| EdgeRefusal::KeyUnusable { sensor: sensor.name.clone(), why: error.to_string() })
    }

    /// Creates the judged events of a delivery, or returns the trigger without an event.
    fn events_of(
        &self,
        catalog: &Catalog,
        sensor: &Sensor,
        request: &HookRequest,
        emitted: Vec<EmittedEvent>,
    ) -> Result<Vec<ObservedEvent>, (TriggerRef, EdgeRefusal)> {
        let event_of = |(index, one): (u32, EmittedEvent)| {
            let trigger = one.trigger.name.clone();
            self.event_of_delivery(catalog, sensor, request, (index, one)).map_err(|refusal| (trigger, refusal))
        };
        (0..).zip(emitted).map(event_of).collect()
    }

    /// Creates the judged events of a message that a source was read for, or returns the trigger without an event. All
    /// of them or none are created.
    pub(crate) fn events_of_message(
        &self,
        catalog: &Catalog,
        sensor: &Sensor,
        message: &Message,
        emitted: Vec<EmittedEvent>,
    ) -> Result<Vec<ObservedEvent>, (TriggerRef, EmissionError)> {
        (0_u32..).zip(emitted).map(|(index, one)| self.pulled_one(catalog, sensor, message, (index, one))).collect()
    }

    /// Creates the judged events of a refused message of a pulling sensor by what is installed now.
    ///
    /// # Errors
    /// If the sensor no longer pulls, or the message is still refused.
    pub(crate) fn read_again(
        &self,
        catalog: &Catalog,
        sensor: &SensorRef,
        message: KeptMessage,
        body: Bytes,
    ) -> Result<Vec<ObservedEvent>, PortError> {
        let found = catalog.sensors().get(sensor).filter(|sensor| sensor.source.pulls());
        let sensor = found.ok_or_else(|| Refusal::SensorDoesNotPull(sensor.clone()))?;
        let message = Message::again(message, body).map_err(|why| decline(EdgeRefusal::NotJson(why)))?;
        match pulled_messages::events_of(sensor, &message) {
            MessageResult::Events(emitted) => {
                self.events_of_message(catalog, sensor, &message, emitted).map_err(|(_, why)| decline(why.into()))
            }
            MessageResult::Passed | MessageResult::Nothing => Ok(Vec::new()),
            MessageResult::Refused(refusal) => Err(refusal.into()),
        }
    }

    fn pulled_one(
        &self,
        catalog: &Catalog,
        sensor: &Sensor,
        message: &Message,
        (index, emitted): (u32, EmittedEvent),
    ) -> Result<ObservedEvent, (TriggerRef, EmissionError)> {
        let trigger = emitted.trigger.name.clone();
        if is_of_the_engine(&trigger) {
            return Err((trigger.clone(), EmissionError::OfTheEngine(trigger)));
        }
        let key = emitted.dedupe.or_else(|| natural_key(message, index));
        let mut event = judge_event(catalog, self.sensor_event(sensor, emitted.trigger, emitted.payload, message.time))
            .map_err(|why| (trigger, why))?;
        event.dedupe = key.map(|key| Dedupe {
            key: DedupeKey { scope: format!("sensor/{}/{}", sensor.name, event.trigger), hash: Digest::of(key.as_bytes()) },
            content: event.body.digest,
            conflict: Conflict::IsRepeat,
        });
        Ok(event)
    }

    /// Returns an event of a sensor, without a dedupe key. Without a time, it occurred now.
    fn sensor_event(&self, sensor: &Sensor, trigger: VersionedTrigger, payload: Document, time: Option<Timestamp>) -> UnjudgedEvent {
        let (id, now) = self.fresh();
        UnjudgedEvent {
            id,
            trigger,
            source: sensor.name.to_string(),
            sensor: Some(sensor.name.clone()),
            rule: None,
            occurred_at: time.unwrap_or(now),
            trace: None,
            payload,
            dedupe: None,
        }
    }

    fn event_of_delivery(
        &self,
        catalog: &Catalog,
        sensor: &Sensor,
        request: &HookRequest,
        (index, emitted): (u32, EmittedEvent),
    ) -> Result<ObservedEvent, EdgeRefusal> {
        let mut event = judge_event(catalog, self.sensor_event(sensor, emitted.trigger, emitted.payload, None))?;
        let drops_repeats = sensor.source.drops_repeats();
        if emitted.dedupe.is_none() && !drops_repeats {
            return Ok(event);
        }
        // A payload is most often the delivery's own body, which was already hashed.
        let content = if *event.payload.bytes() == request.body { event.body.digest } else { Digest::of(&request.body) };
        event.dedupe = emitted.dedupe.map(|key| Dedupe {
            key: DedupeKey { scope: format!("sensor/{}/{}", sensor.name, event.trigger), hash: Digest::of(key.as_bytes()) },
            content,
            conflict: Conflict::IsRepeat,
        });
        event.signed = drops_repeats.then(|| {
            let hash = webhook::signed_content(sensor, request).unwrap_or(content);
            SignedBody { body: DedupeKey { scope: format!("signed/{}", sensor.name), hash }, index }
        });
        Ok(event)
    }
}

/// Returns the key of an event by the source's own key, which is that of the message: a message may make several events.
pub(crate) fn natural_key(message: &Message, index: u32) -> Option<String> {
    message.key.as_ref().map(|key| format!("{key}/{index}"))
}

/// Checks a payload against its trigger and lets the rules judge it, in the newest version.
fn judge_event(catalog: &Catalog, observed: UnjudgedEvent) -> Result<ObservedEvent, EmissionError> {
    let VersionedTrigger { name, version } = observed.trigger;
    let Some(trigger) = catalog.triggers().get(&name) else { return Err(EmissionError::NoTrigger(name)) };
    let accepted = trigger.accept(version, &observed.payload).map_err(|why| EmissionError::of(name.clone(), why))?;
    let view = EventView {
        id: observed.id,
        trigger: &name,
        source: &observed.source,
        time: observed.occurred_at,
        payload: &accepted.newest,
        only: observed.rule.as_ref(),
    };
    let event = ObservedEvent::from_view(&view, judge(catalog, &view)).came_as(accepted.version, &observed.payload);
    Ok(ObservedEvent { sensor: observed.sensor, trace: observed.trace, dedupe: observed.dedupe, ..event })
}

fn decline(refusal: EdgeRefusal) -> PortError {
    let misfits: Vec<Misfit> =
        if let EdgeRefusal::NoEvent(EmissionError::Misfit { misfits, .. }) = &refusal { misfits.clone() } else { Vec::new() };
    PortError::from(refusal).with_misfits(misfits)
}

impl Webhooks for Edge {
    fn receive(&self, request: HookRequest) -> Result<HookOutcome, HookRefusal> {
        let catalog = self.catalogs.current();
        let hook = catalog.sensors().get(&request.sensor).and_then(|sensor| Some((sensor, sensor.source.webhook()?)));
        let Some((sensor, verify)) = hook else {
            return Err(decline(EdgeRefusal::NoHook(request.sensor)).into());
        };
        let keys = self.keys_of(sensor, verify).map_err(decline)?;
        let keys = HookKeys { current: keys.current.as_deref(), previous: keys.previous.as_deref() };
        // Only authenticated senders may have a refused delivery stored: otherwise anybody could fill the log.
        let kept = |trigger: Option<TriggerRef>, reason: String| {
            (*verify != Verify::None).then(|| {
                let body = Body::raw(request.body.clone());
                Box::new(RefusedDelivery {
                    sensor: sensor.name.clone(),
                    trigger,
                    reason,
                    body,
                    with: webhook::kept_parts(sensor, &request),
                })
            })
        };
        let now = self.clock.now();
        let vouched = match verify {
            Verify::Vouched(vouched) => Some(self.senders.vouch(vouched, &request, now)),
            Verify::Proof { .. } | Verify::None => None,
        };
        let received = webhook::receive(sensor, &request, &Proving { keys, now, vouched }).map_err(|refusal| {
            let keep = match refusal.stage() {
                Stage::Content => kept(refusal.trigger().cloned(), refusal.to_string()),
                Stage::Proof => None,
            };
            HookRefusal { declined: refusal.into(), keep }
        })?;
        let (emitted, waits) = match received {
            webhook::ReceiveOutcome::Reply(reply) => return Ok(HookOutcome::Reply(reply)),
            webhook::ReceiveOutcome::Events { emitted, waits } => (emitted, waits),
        };
        let events = self.events_of(&catalog, sensor, &request, emitted).map_err(|(trigger, refusal)| {
            let keep = kept(Some(trigger), refusal.to_string());
            HookRefusal { declined: decline(refusal), keep }
        })?;
        Ok(HookOutcome::Events { events, waits })
    }

    fn reply_to(&self, sensor: &SensorRef, waits: &WaitingReply, came: &Came) -> Result<Option<HookReply>, PortError> {
        let catalog = self.catalogs.current();
        let known = catalog.sensors().get(sensor).ok_or_else(|| decline(EdgeRefusal::NoHook(sensor.clone())))?;
        replies::reply_to(known, waits, came).map_err(PortError::from)
    }

    fn deliver_again(&self, request: HookRequest) -> Result<Vec<ObservedEvent>, PortError> {
        let catalog = self.catalogs.current();
        let hook = catalog.sensors().get(&request.sensor).filter(|sensor| sensor.source.webhook().is_some());
        let Some(sensor) = hook else { return Err(decline(EdgeRefusal::NoHook(request.sensor))) };
        let emitted = webhook::events_of(sensor, &request).map_err(PortError::from)?;
        self.events_of(&catalog, sensor, &request, emitted).map_err(|(_, refusal)| decline(refusal))
    }

    fn sign(&self, sensor: &SensorRef, delivery: ToSign<'_>) -> Result<HookRequest, PortError> {
        let catalog = self.catalogs.current();
        let hook = catalog.sensors().get(sensor).and_then(|sensor| Some((sensor, sensor.source.webhook()?)));
        let (sensor, verify) = hook.ok_or_else(|| decline(EdgeRefusal::NoHook(sensor.clone())))?;
        let keys = self.keys_of(sensor, verify).map_err(decline)?;
        let ToSign { event, delivery, body, url, path } = delivery;
        let outgoing = Outgoing { event, delivery, body, now: self.clock.now(), url, path };
        webhook::compose(sensor, &outgoing, keys.current.as_deref()).map_err(|why| {
            let sensor = sensor.name.clone();
            decline(match why {
                SignatureRefusal::NotComposed { why } => EdgeRefusal::CannotCompose { sensor, why },
                why => EdgeRefusal::CannotSign { sensor, why },
            })
        })
    }

    fn shown_delivery(&self, request: &HookRequest) -> ShownDelivery {
        let catalog = self.catalogs.current();
        let headers = catalog.sensors().get(&request.sensor).map(|sensor| webhook::shown_headers(sensor, request)).unwrap_or_default();
        ShownDelivery { headers, query: webhook::shown_query(request) }
    }

    fn may_wait(&self, sensor: &SensorRef) -> bool {
        let catalog = self.catalogs.current();
        let verify = catalog.sensors().get(sensor).and_then(|sensor| sensor.source.webhook());
        matches!(verify, Some(Verify::Vouched(vouched)) if !matches!(**vouched, SenderAuthority::Mtls(_)))
    }

    fn confirm(&self, sensor: &SensorRef) -> Result<Vec<ConfirmedTopic>, PortError> {
        self.senders.confirm(sensor, self.clock.now()).map_err(PortError::from)
    }

    fn secret(&self, sensor: &SensorRef) -> SecretState {
        let catalog = self.catalogs.current();
        let hook = catalog.sensors().get(sensor).and_then(|sensor| Some((sensor, sensor.source.webhook()?)));
        let Some((sensor, verify)) = hook else { return SecretState::Missing };
        match self.keys_of(sensor, verify).map(|keys| keys.current) {
            Ok(None) if verify.key().is_none() => SecretState::NotNeeded,
            Ok(None) => SecretState::Missing,
            Ok(Some(key)) if key.reveal().len() < KEY_BYTES_MIN => SecretState::Unusable,
            Ok(Some(_)) => SecretState::Set,
            Err(_) => SecretState::Unusable,
        }
    }
}

impl EventMaker for Edge {
    fn observe(&self, given: GivenEvent) -> Result<ObservedEvent, PortError> {
        let payload = Document::parse(given.payload).map_err(|why| decline(EdgeRefusal::NotJson(why)))?;
        let (id, now) = self.fresh();
        let observed = UnjudgedEvent {
            id,
            trigger: given.trigger,
            source: given.source,
            sensor: None,
            rule: given.rule,
            occurred_at: given.occurred_at.unwrap_or(now),
            trace: given.trace,
            payload,
            dedupe: given.dedupe,
        };
        judge_event(&self.catalogs.current(), observed).map_err(|refusal| decline(refusal.into()))
    }
}

impl executor::Observe for Edge {
    /// Emits by the current catalog: the rules in force decide, whatever catalog the execution began with.
    fn observe(&self, emission: Emission) -> Result<ObservedEvent, EmissionError> {
        if is_of_the_engine(&emission.trigger.name) {
            return Err(EmissionError::OfTheEngine(emission.trigger.name));
        }
        let id = Id::derive(self.log, emission.cause, Role::Emit(emission.index));
        let key = emission.dedupe.as_deref();
        let dedupe = key.map(|key| Dedupe::of_emission(&emission.trigger.name, key, Digest::of(emission.payload.bytes())));
        let observed = UnjudgedEvent {
            id: EventId(id),
            trigger: emission.trigger,
            source: format!("execution/{}", emission.execution),
            sensor: None,
            rule: None,
            occurred_at: self.clock.now(),
            trace: None,
            payload: emission.payload,
            dedupe,
        };
        judge_event(&self.catalogs.current(), observed)
    }
}
