//! Receiving events: one or a list, in the API's own form or as CloudEvents. Those of one request are accepted
//! together or not at all.
//!
//! CloudEvents are defined in `cloudevents.rs`.

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use ensue_engine::access::limit::Target;
use ensue_engine::command::{Answer, Ask, Conflict, Dedupe, DedupeKey, EmittedBefore, FirstAnswer, Novelty, ObservedEvent, SeenEvent};
use ensue_engine::events::internal::is_of_the_engine;
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::explain::Explain;
use ensue_engine::fact::Fact;
use ensue_engine::ids::EventId;
use ensue_engine::names::TriggerRef;
use ensue_engine::ports::{CommitReceipt, ReadLimit};
use ensue_engine::record::{Digest, Position, Record, Revision, StreamId};
use ensue_engine::schedule::SCHEDULE_TRIGGER;
use ensue_views::Event;
use thiserror::Error;

use crate::api::Api;
use crate::auth::{AllowedCaller, Proof as _, Secrecy};
use crate::body::{self, BodyRefusal};
use crate::call::Call;
use crate::cloudevents::{self, CloudEvent, SOURCE_OF_OURS};
use crate::handshake;
use crate::item_lists::{Items, is_list};
use crate::permissions::{EventsRead, EventsWrite, Permission as _};
use crate::ports::{GivenEvent, PortError, Ports};
use crate::problem::{FieldError, Missing, Outcome, Problem, quote};
use crate::rates::Class;
use crate::respond::{self, WriteOutcome};
use crate::route::BASE;
use crate::routes::event_verdicts::EventDataGone;
use crate::wire::events::{EVENTS_MAX, WireEmitAgain, WireGivenEvent, WireTakenEvent, WireTakenEvents};

/// The maximum size of a dedupe key in bytes.
const DEDUPE_BYTES_MAX: usize = 1024;
/// After judging so many events, the task yields to others.
const EVENTS_AT_ONCE: usize = 16;
/// The maximum number of events of a list whose errors are reported.
const REFUSED_MAX: usize = 20;

const TRIGGER_NOT_FOUND: &str = "trigger-not-found";
const TRIGGER_VERSION_UNKNOWN: &str = "trigger-version-unknown";

/// Why events that were sent are rejected.
#[derive(Debug, Error, Explain)]
#[explain(fault = Invalid)]
enum SendRefusal {
    /// A dedupe key is invalid.
    #[error("`dedupe` must be a string of 1 to {DEDUPE_BYTES_MAX} bytes")]
    #[explain(slug = "body-invalid", hint = "use an id that the event has at its source, or leave `dedupe` out")]
    DedupeKeyInvalid,
    /// A list is too long.
    #[error("the list has {given} events; the limit for one request is {EVENTS_MAX}")]
    #[explain(slug = "too-many-events", fault = TooLarge, hint = "send them in several requests")]
    TooMany {
        /// The length of the list.
        given: usize,
    },
    /// There is no trigger for a CloudEvent's type.
    #[error("there is no trigger for the type `{of_type}`")]
    #[explain(slug = TRIGGER_NOT_FOUND,
        hint = "set the CloudEvent's `type` to the ref of its trigger, `<pack>.<trigger>`; to choose the trigger otherwise, post to a webhook that chooses it with `emits`")]
    NoTriggerOf {
        /// The type.
        of_type: String,
    },
    /// Only the engine itself creates events of this trigger.
    #[error("only the engine itself creates events of `{0}`")]
    #[explain(slug = "trigger-of-the-engine", hint = own_trigger_hint(_0))]
    OfTheEngine(TriggerRef),
}

fn own_trigger_hint(trigger: &TriggerRef) -> String {
    if trigger.as_str() == SCHEDULE_TRIGGER {
        "run the action itself, or send an event of a trigger in your own pack that another rule listens to".to_owned()
    } else {
        "send an event of a trigger in your own pack, and have the rule listen to both triggers".to_owned()
    }
}

/// The form of the events in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventsFormat {
    /// The API's own form: an object or a list.
    Ours,
    /// A CloudEvent in JSON.
    Structured,
    /// A list of CloudEvents in JSON.
    Batch,
    /// A CloudEvent in headers, with any body.
    Binary,
}

impl EventsFormat {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        const TAKEN: &str = "`application/json`, `application/cloudevents+json` or `application/cloudevents-batch+json`";
        let media = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
        let essence = media.as_deref().and_then(|media| media.split(';').next()).unwrap_or_default().trim();
        let form = match essence {
            cloudevents::STRUCTURED => Self::Structured,
            cloudevents::BATCH => Self::Batch,
            other if other.starts_with("application/cloudevents") => {
                return Err(Problem::unsupported_media_type(&format!("`{}`", quote(other)), TAKEN));
            }
            _ if cloudevents::is_binary(headers) => {
                body::demand_uncompressed(headers, TAKEN)?;
                return Ok(Self::Binary);
            }
            _ => Self::Ours,
        };
        body::demand_json_among(headers, TAKEN)?;
        Ok(form)
    }
}

/// The events of a request: a single event is answered with an object, a list with a list.
enum RequestEvents {
    One(Box<Brief>),
    List(Vec<Brief>),
}

impl RequestEvents {
    fn one(brief: Brief) -> Self {
        Self::One(Box::new(brief))
    }
}

/// An event as it was sent, and its place in the body for errors about its parts.
struct Brief {
    given: GivenEvent,
    at: String,
    shape: EventShape,
}

/// The form of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventShape {
    Ours,
    CloudEvent,
}

impl EventShape {
    /// The member that names the trigger.
    fn trigger(self) -> &'static str {
        match self {
            Self::Ours => "/trigger",
            Self::CloudEvent => "/type",
        }
    }

    /// Returns the place of a part of the payload in the request: a CloudEvent's payload is built from its data
    /// and its attributes.
    fn of_payload(self, part: &str) -> String {
        let context = "/cloudevent";
        match (self, part.strip_prefix(context)) {
            (Self::Ours, _) => format!("/payload{part}"),
            (Self::CloudEvent, Some(attribute)) if attribute.is_empty() || attribute.starts_with('/') => attribute.to_owned(),
            (Self::CloudEvent, _) => format!("/data{part}"),
        }
    }
}

/// Receives events: 202 once they are on disk, 200 if all of them were accepted before.
pub(in crate::routes) async fn send(allowed: AllowedCaller<EventsWrite>, mut call: Call) -> Outcome {
    if let Some((before, body)) = call.before().await? {
        return repeat_answer(&before, EventsFormat::of(call.headers())?, &body);
    }
    call.admission()?;
    let form = EventsFormat::of(call.headers())?;
    let body = call.bytes().await?;
    let caller = allowed.caller();
    let reader = Reader { api: call.api(), allowed: &allowed, caller: &caller };
    let brought = reader.read(form, call.headers(), &body)?;
    let is_dry_run = call.is_dry_run()?;
    let observed = match brought {
        RequestEvents::One(brief) if is_dry_run => vec![reader.observe(*brief)?],
        RequestEvents::One(brief) => return take_one(&allowed, &call, reader.observe(*brief)?).await,
        RequestEvents::List(briefs) => reader.observe_all(briefs).await?,
    };
    if is_dry_run {
        return call.check(call.on_behalf(&allowed)?, Ask::ReceiveEvents(observed)).await;
    }
    if observed.is_empty() {
        return respond::json(&WireTakenEvents::of(&[]));
    }
    let (events, position) = take(&allowed, &call, observed).await?;
    answer_list(&events, position)
}

/// Emits a stored event again: 202 once the new event is on disk, 200 if its key was accepted before.
pub(in crate::routes) async fn emit_again(allowed: AllowedCaller<EventsWrite>, mut call: Call) -> Outcome {
    // The new event shows its sender what was stored.
    let sees = AllowedCaller::<EventsRead>::demand(&*call.api().ports.access, call.request(), &Secrecy::Open)?;
    let id: EventId = call.parse_part("id", EventsRead::THING)?;
    if let Some((before, _)) = call.before().await? {
        return answer_one(&before.events, before.position);
    }
    call.admission()?;
    let WireEmitAgain { dedupe } = call.json_or_nothing().await?;
    let event: Event = call.api().row(id.to_string(), EventsRead::THING, sees.rows()).await?;
    let caller = allowed.caller();
    let reader = Reader { api: call.api(), allowed: &allowed, caller: &caller };
    not_of_the_engine(&event.trigger, String::new)?;
    reader.demand_covered(&event.trigger)?;
    let (record, payload) = call.api().threads.blocking(move |ports| read_stored(ports, id)).await??;
    let (Fact::EventReceived(fact), Some(repeats)) = (&record.fact, EmittedBefore::of(&record)) else {
        return Err(Problem::bug("the first record of an event is of something else"));
    };
    // The key under which the first event was sent stands for that one, and is refused.
    let content = Bytes::from([id.to_string().as_bytes(), b":", &payload].concat());
    let dedupe = dedupe.map(|key| reader.dedupe(&key, &content).map_err(|why| of_field(&why, "/dedupe".to_owned()))).transpose()?;
    let given = GivenEvent {
        trigger: VersionedTrigger { name: fact.trigger.clone(), version: Some(fact.version) },
        payload,
        // Rules decide as they did on the first event.
        source: fact.source.clone(),
        occurred_at: Some(fact.occurred_at),
        trace: None,
        dedupe,
        rule: None,
    };
    let observed = call.api().ports.event_maker.observe(given)?;
    let observed = ObservedEvent { repeats: Some(repeats), ..observed };
    if call.is_dry_run()? {
        return call.check(call.on_behalf(&allowed)?, Ask::ReceiveEvents(vec![observed])).await;
    }
    take_one(&allowed, &call, observed).await
}

/// Reads the record of an event and its payload. Blocking.
fn read_stored(ports: &Ports, id: EventId) -> Result<(Record, Bytes), Problem> {
    let limit = ReadLimit { records: 1, ..ReadLimit::default() };
    let first = ports.log.read_stream(&StreamId::Event(id), Revision(0), limit)?.into_iter().next();
    let record = first.ok_or_else(|| Missing::new(EventsRead::THING, &id.to_string()))?;
    let payload = ports.log.body(record.position)?.ok_or(EventDataGone::Payload)?;
    Ok((record, payload))
}

/// Repeats the response to the first request of a key.
fn repeat_answer(before: &FirstAnswer, form: EventsFormat, body: &Bytes) -> Outcome {
    if form != EventsFormat::Binary && is_list(body) {
        answer_list(&before.events, before.position)
    } else {
        answer_one(&before.events, before.position)
    }
}

/// Allows callers with this permission to send events here.
pub(in crate::routes) async fn consent(_: AllowedCaller<EventsWrite>, call: Call) -> Outcome {
    Ok(handshake::consent(call.headers(), "POST, GET, HEAD, OPTIONS", call.api().rates.rate(Class::Writes)))
}

async fn take_one(allowed: &AllowedCaller<EventsWrite>, call: &Call, observed: ObservedEvent) -> Outcome {
    let (events, position) = take(allowed, call, vec![observed]).await?;
    answer_one(&events, position)
}

async fn take(
    allowed: &AllowedCaller<EventsWrite>,
    call: &Call,
    events: Vec<ObservedEvent>,
) -> Result<(Vec<SeenEvent>, Position), Problem> {
    let CommitReceipt { position, answer } = call.api().submit(call.on_behalf(allowed)?, Ask::ReceiveEvents(events)).await?;
    match answer {
        Answer::Events(events) => Ok((events.iter().map(SeenEvent::from).collect(), position)),
        Answer::Before(before) => Ok((before.events, position)),
        other => Err(Problem::bug(&format!("events were answered with {other:?}"))),
    }
}

fn answer_one(events: &[SeenEvent], position: Position) -> Outcome {
    let [event] = events else { return Err(Problem::bug("one event was answered as several")) };
    let response = respond::answer_write(how(events), position, &WireTakenEvent::from(event))?;
    Ok(respond::with_location(response, &format!("{BASE}/events/{}", event.id)))
}

fn answer_list(events: &[SeenEvent], position: Position) -> Outcome {
    respond::answer_write(how(events), position, &WireTakenEvents::of(events))
}

fn how(events: &[SeenEvent]) -> WriteOutcome {
    if events.iter().all(|event| event.novelty == Novelty::Repeat) { WriteOutcome::Done } else { WriteOutcome::Accepted }
}

/// Reads the events that one caller sent.
struct Reader<'a> {
    api: &'a Api,
    allowed: &'a AllowedCaller<EventsWrite>,
    caller: &'a str,
}

impl Reader<'_> {
    fn read(&self, form: EventsFormat, headers: &HeaderMap, body: &Bytes) -> Result<RequestEvents, Problem> {
        match form {
            EventsFormat::Ours if is_list(body) => {
                list(body::strict(body)?, |text, at| self.brief_of_ours(body::parse_part(at, text)?, at)).map(RequestEvents::List)
            }
            EventsFormat::Ours => self.brief_of_ours(body::parse(body)?, "").map(RequestEvents::one),
            EventsFormat::Structured if is_list(body) => {
                Err(BodyRefusal::OfOtherShape(format!("a list must be sent as `{}`", cloudevents::BATCH)).into())
            }
            EventsFormat::Structured => {
                self.brief_of_cloudevent(cloudevents::parse_structured(body::strict(body)?, "")?, "").map(RequestEvents::one)
            }
            EventsFormat::Batch if !is_list(body) => Err(BodyRefusal::OfOtherShape("a batch must be a list".to_owned()).into()),
            EventsFormat::Batch => {
                list(body::strict(body)?, |text, at| self.brief_of_cloudevent(cloudevents::parse_structured(text, at)?, at))
                    .map(RequestEvents::List)
            }
            EventsFormat::Binary => self.brief_of_cloudevent(cloudevents::binary(headers, body)?, "").map(RequestEvents::one),
        }
    }

    fn brief_of_ours(&self, event: WireGivenEvent, at: &str) -> Result<Brief, Problem> {
        let payload = Bytes::from(String::from(Box::<str>::from(event.payload)));
        not_of_the_engine(&event.trigger.name, || format!("{at}/trigger"))?;
        self.demand_covered(&event.trigger.name)?;
        let dedupe =
            event.dedupe.map(|key| self.dedupe(&key, &payload).map_err(|why| of_field(&why, format!("{at}/dedupe")))).transpose()?;
        let given = GivenEvent {
            trigger: event.trigger,
            payload,
            source: SOURCE_OF_OURS.to_owned(),
            occurred_at: None,
            trace: None,
            dedupe,
            rule: None,
        };
        Ok(Brief { given, at: at.to_owned(), shape: EventShape::Ours })
    }

    fn brief_of_cloudevent(&self, event: CloudEvent, at: &str) -> Result<Brief, Problem> {
        if self.is_ours(&event.source) {
            let message = format!("is `{}`, which is the name of a sensor or another source of this node", quote(&event.source));
            return Err(cloudevents::invalid_cloudevent(vec![FieldError { pointer: format!("{at}/source"), message }]));
        }
        let trigger: VersionedTrigger = match event.of_type.parse() {
            Ok(trigger) => trigger,
            Err(_) => return Err(of_field(&SendRefusal::NoTriggerOf { of_type: quote(&event.of_type) }, format!("{at}/type"))),
        };
        not_of_the_engine(&trigger.name, || format!("{at}/type"))?;
        self.demand_covered(&trigger.name)?;
        let dedupe = self.dedupe_of_cloudevent(&event);
        let CloudEvent { source, time, trace, payload, .. } = event;
        let given = GivenEvent { trigger, payload, source, occurred_at: time, trace, dedupe: Some(dedupe), rule: None };
        Ok(Brief { given, at: at.to_owned(), shape: EventShape::CloudEvent })
    }

    /// Checks that the caller may send events of a trigger.
    fn demand_covered(&self, trigger: &TriggerRef) -> Result<(), Problem> {
        let is_covered = self.allowed.includes(&Target::in_pack_of(trigger.as_str()));
        if is_covered { Ok(()) } else { Err(self.allowed.beyond_limit(trigger.as_str())) }
    }

    /// Returns true if only the node itself may create events with this source: rules may rely on it.
    fn is_ours(&self, source: &str) -> bool {
        let names_sensor = || source.parse().is_ok_and(|sensor| self.api.ports.installed.current().sensors().contains_key(&sensor));
        cloudevents::is_own_source(source) || names_sensor()
    }

    /// Returns the dedupe key of an event, which belongs to its caller: another caller's event with the same
    /// key is a different event.
    fn dedupe(&self, key: &str, payload: &Bytes) -> Result<Dedupe, SendRefusal> {
        if !(1..=DEDUPE_BYTES_MAX).contains(&key.len()) {
            return Err(SendRefusal::DedupeKeyInvalid);
        }
        let key = DedupeKey { scope: format!("events/{}", self.caller), hash: Digest::of(key.as_bytes()) };
        Ok(Dedupe { key, content: Digest::of(payload), conflict: Conflict::IsRefused })
    }

    /// Returns the dedupe key of a CloudEvent: as CloudEvents specifies, two events with the same source and id
    /// are one, whatever else differs.
    fn dedupe_of_cloudevent(&self, event: &CloudEvent) -> Dedupe {
        let name = format!("{}:{}{}", event.source.len(), event.source, event.id);
        let key = DedupeKey { scope: format!("cloudevents/{}", self.caller), hash: Digest::of(name.as_bytes()) };
        Dedupe { key, content: Digest::of(&event.payload), conflict: Conflict::IsRepeat }
    }

    /// Checks an event against its trigger and runs the rules on it.
    fn observe(&self, brief: Brief) -> Result<ObservedEvent, Problem> {
        let Brief { given, at, shape } = brief;
        self.api.ports.event_maker.observe(given).map_err(|declined| event_problem(declined, &at, shape))
    }

    async fn observe_all(&self, briefs: Vec<Brief>) -> Result<Vec<ObservedEvent>, Problem> {
        let mut observed = Vec::with_capacity(briefs.len());
        let mut refused = ListErrors::default();
        for (index, brief) in briefs.into_iter().enumerate() {
            if index % EVENTS_AT_ONCE == EVENTS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            match self.observe(brief) {
                Ok(event) => observed.push(event),
                Err(problem) => refused.note(problem)?,
            }
        }
        refused.none()?;
        Ok(observed)
    }
}

/// Fails if only the engine creates events of this trigger: rules rely on their contents.
fn not_of_the_engine(trigger: &TriggerRef, at: impl FnOnce() -> String) -> Result<(), Problem> {
    if is_of_the_engine(trigger) { Err(of_field(&SendRefusal::OfTheEngine(trigger.clone()), at())) } else { Ok(()) }
}

/// The errors in the events of a list, reported together.
#[derive(Default)]
struct ListErrors {
    events: usize,
    problem: Option<Problem>,
}

impl ListErrors {
    /// Records an error, and fails once there are enough.
    fn note(&mut self, problem: Problem) -> Result<(), Problem> {
        let all = match self.problem.take() {
            Some(first) => first.with_errors_of(problem),
            None => problem,
        };
        self.events += 1;
        if self.events >= REFUSED_MAX {
            return Err(all);
        }
        self.problem = Some(all);
        Ok(())
    }

    fn none(self) -> Result<(), Problem> {
        self.problem.map_or(Ok(()), Err)
    }
}

/// Reads each event of a list that was already parsed strictly.
fn list(text: &str, read: impl Fn(&str, &str) -> Result<Brief, Problem>) -> Result<Vec<Brief>, Problem> {
    let Items { first, given } = Items::<EVENTS_MAX>::of(text)?;
    if given > EVENTS_MAX {
        return Err(SendRefusal::TooMany { given }.into());
    }
    let mut briefs = Vec::with_capacity(first.len());
    let mut refused = ListErrors::default();
    for (index, item) in first.iter().enumerate() {
        match read(item.get(), &format!("/{index}")) {
            Ok(brief) => briefs.push(brief),
            Err(problem) => refused.note(problem)?,
        }
    }
    refused.none()?;
    Ok(briefs)
}

/// Creates a problem about one field of the body.
fn of_field(why: &SendRefusal, pointer: String) -> Problem {
    Problem::of(why).with_errors([FieldError { pointer, message: why.to_string() }])
}

/// Creates a problem that points to the missing trigger, or to the part of a payload that does not match.
fn event_problem(declined: PortError, at: &str, shape: EventShape) -> Problem {
    if !declined.misfits.is_empty() {
        return Problem::from_port(declined, |part| format!("{at}{}", shape.of_payload(part)));
    }
    let why = declined.why;
    let names_nothing = matches!(why.slug(), TRIGGER_NOT_FOUND | TRIGGER_VERSION_UNKNOWN);
    let part = if names_nothing { shape.trigger().to_owned() } else { shape.of_payload("") };
    Problem::of(&*why).with_errors([FieldError { pointer: format!("{at}{part}"), message: why.to_string() }])
}
