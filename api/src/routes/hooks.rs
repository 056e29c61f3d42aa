//! Webhooks: receiving deliveries, showing each webhook, and deliveries that the node signs.
//!
//! Deliveries are verified by [`Webhooks`](crate::ports::Webhooks).

mod endpoint;
mod reply;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Instant;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use bytes::Bytes;
use ensue_engine::access::limit::Target;
use ensue_engine::catalog::{HookMethod, Sensor, Verify, WaitingReply};
use ensue_engine::command::{Answer, Ask, FirstAnswer, Novelty, ReceivedEvent, SeenEvent};
use ensue_engine::fact::Fact;
use ensue_engine::ids::Id;
use ensue_engine::names::SensorRef;
use ensue_engine::ports::{CommitReceipt, HookConnection, HookPeer, HookReply, HookRequest, ReadLimit};
use ensue_engine::record::{Actor, Position};
use hyper::body::Body as HttpBody;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use self::endpoint::Endpoint;
use super::Routes;
use crate::addresses::{self, PeerCertificates};
use crate::api::Api;
use crate::auth::AllowedCaller;
use crate::body;
use crate::call::Call;
use crate::context::RequestContext;
use crate::deliveries::listeners::{HEARD_BYTES_MAX, HeardContent};
use crate::deliveries::{self, Delivery, DeliveryEnd, DeliveryOutcome};
use crate::handshake;
use crate::listening::Listening;
use crate::listing;
use crate::operation::{Content, Header, HonoredHeader, Operation, Takes, WRITTEN, schema_of};
use crate::paging::PageQuery;
use crate::permissions::{HooksListen, HooksRead, HooksSend, Permission as _};
use crate::ports::{HookOutcome, HookRefusal, OnBehalf, Ports, ShownDelivery, ToSign};
use crate::problem::{Missing, Outcome, Problem};
use crate::query::{self, Query, bad, words};
use crate::quotas::{Caller, Room};
use crate::rates::{self, RateStanding};
use crate::respond::{self, WriteOutcome};
use crate::route::Public;
use crate::settings::Limits;
use crate::sse::{EVENT_STREAM, LAST_EVENT_ID, StreamFormat, StreamLine};
use crate::wire::hooks::{WireConfirmed, WireHeard, WireHook, WireSend, WireTaken, WireTakenEvent};
use ensue_engine::time::Timestamp;

/// How many deliveries of each hook a list shows.
const LISTED_DELIVERIES: usize = 5;
/// Headers that belong to the connection rather than to the delivery (RFC 9110 §7.6.1), or to a browser.
const NOT_OF_THE_DELIVERY: [header::HeaderName; 8] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::HOST,
    header::COOKIE,
];

/// The result of an accepted delivery.
struct TakenDelivery {
    /// Its events; none if no `emits` matched.
    events: Vec<ReceivedEvent>,
    /// The position at which they are visible; none if nothing was written.
    position: Option<Position>,
    /// What the sender gets as a reply.
    reply: TakenReply,
}

/// What the sender of a delivery gets as a reply.
enum TakenReply {
    /// The ids of the events.
    Events,
    /// A reply that ended the delivery.
    Early(HookReply),
    /// A reply that waits for what comes of the events.
    Waiting(Arc<WaitingReply>),
}

impl TakenReply {
    fn of(waits: Option<Arc<WaitingReply>>) -> Self {
        waits.map_or(Self::Events, Self::Waiting)
    }
}

impl TakenDelivery {
    fn of(events: Vec<ReceivedEvent>, position: Option<Position>) -> Self {
        Self { events, position, reply: TakenReply::Events }
    }

    fn is_repeat(&self) -> bool {
        !self.events.is_empty() && self.events.iter().all(|event| event.novelty == Novelty::Repeat)
    }
}

/// The problems with which a delivery is refused.
const REFUSES: &[(u16, &str)] = &[
    (400, "body_unreadable"),
    (401, "signature_refused"),
    (403, "address_not_allowed"),
    (404, "not_found"),
    (404, "hook_not_found"),
    (422, "sensor_erred"),
    (422, "payload_invalid"),
    (422, "trigger_not_found"),
    (422, "trigger_version_unknown"),
    (503, "hook_unusable"),
];

/// The problems with which a delivery that the node signs is refused.
const SEND_REFUSES: &[(u16, &str)] = &[
    (400, "body_unreadable"),
    (404, "not_found"),
    (404, "hook_not_found"),
    (422, "delivery_invalid"),
    (422, "sensor_erred"),
    (422, "payload_invalid"),
    (422, "trigger_not_found"),
    (422, "trigger_version_unknown"),
    (503, "hook_unusable"),
];

/// Describes the operation that reports whether a sender's deliveries are welcome.
pub(super) const fn consent_operation(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary).gives_content(
        200,
        "Deliveries are allowed, if an origin asked.",
        Content::Nothing,
        &[Header::Allow, Header::AllowedOrigin, Header::AllowedRate],
    )
}

/// Declares the operations on a webhook that are answered before the router runs.
pub(super) fn declare_door(routes: &mut Routes) {
    routes.in_front(
        Public::Hook,
        Operation::new("delivery_receive", "Receives a delivery at a webhook")
            .passes_strangers_over()
            .takes(Takes::AnyJson { example: r#"{"ref": "refs/heads/main"}"# })
            .gives::<WireTaken<'static>>(202, "The events are on the disk.", WRITTEN)
            .gives::<WireTaken<'static>>(200, "A duplicate, with the first events; or the delivery created no event.", WRITTEN)
            .refuses(REFUSES)
            .demands_admission(),
    );
    routes.in_front(
        Public::HookConsent,
        consent_operation("delivery_consent", "Reports whether deliveries from a sender are allowed here")
            .passes_strangers_over()
            .refuses(&[(404, "not_found")]),
    );
}

/// The parameters that select deliveries.
#[derive(Query)]
struct DeliveryQuery {
    /// Only deliveries with one of these outcomes.
    outcome: Vec<DeliveryOutcome>,
    /// Only deliveries at or after this time.
    since: Option<Timestamp>,
}

words!(DeliveryOutcome);

/// Declares the routes that show hooks and send test deliveries to them.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<HooksRead>(
        "/hooks",
        list,
        Operation::lists::<WireHook>("hook_list", "Lists webhooks with their newest deliveries", &[PageQuery::PARAMETERS]),
    );
    routes.get::<HooksRead>(
        "/hooks/{pack}/{sensor}",
        get,
        Operation::shows::<WireHook>("hook_get", "Returns a webhook with its last deliveries").with_query(&[DeliveryQuery::PARAMETERS]),
    );
    routes.post::<HooksSend>(
        "/hooks/{pack}/{sensor}/send",
        send,
        Operation::new("delivery_send", "Signs a delivery as its sender would, and receives it")
            .takes_json::<WireSend>(r#"{"event": "push", "body": {"ref": "refs/heads/main"}}"#)
            .gives::<WireTaken<'static>>(202, "The events are on the disk.", WRITTEN)
            .gives::<WireTaken<'static>>(200, "A duplicate, with the first events; or the delivery created no event.", WRITTEN)
            .refuses(SEND_REFUSES),
    );
    routes.get::<HooksListen>(
        "/hooks/{pack}/{sensor}/stream",
        listen,
        Operation::new("delivery_stream", "Streams the deliveries at a webhook as they arrive, with their bodies")
            .honors(&[HonoredHeader::LastEventId])
            .gives_content(200, "Server-sent events, until the caller or the node ends them.", Content::Events(schema_of::<WireHeard>), &[])
            .refuses(&[(404, "hook_not_found"), (406, "not_acceptable"), (429, "over_share")]),
    );
    routes.post::<HooksSend>(
        "/hooks/{pack}/{sensor}/confirm",
        confirm,
        Operation::new("subscription_confirm", "Confirms the subscriptions of Amazon SNS that wait at a webhook")
            .gives::<WireConfirmed>(200, "Amazon SNS delivers the messages of these topics.", &[])
            .passes_keys_over()
            .refuses(&[(404, "hook_not_found"), (409, "nothing_to_confirm"), (503, "confirmation_failed")]),
    );
}

/// Receives a delivery at `/hooks/<pack>/<sensor>`: 202 once its events are on disk, 200 for a duplicate or if
/// no `emits` matched, or the reply of the sensor.
pub(crate) async fn receive<B>(api: &Arc<Api>, context: &RequestContext, parts: &Parts, hook: &str, body: B) -> Outcome
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let came = Instant::now();
    let endpoint = match endpoint::at(api, hook) {
        Err(_) if parts.method != Method::POST => return Ok(endpoint::other_method(None, &parts.method)),
        found => found?,
    };
    let Some(method) = endpoint.method(&parts.method) else {
        return Ok(endpoint::other_method(Some(&endpoint), &parts.method));
    };
    endpoint.demand_address(parts)?;
    let counted = api.rates.count_delivery(&endpoint.sensor, endpoint.webhook.rate);
    let delivered = process_delivery(api, context, parts, DeliveryArrival { endpoint, method, came, counted }, body).await;
    rates::standing(counted, delivered)
}

/// Where and when a delivery arrived, and the state of its hook's rate limit.
struct DeliveryArrival {
    endpoint: Endpoint,
    method: HookMethod,
    came: Instant,
    counted: Option<RateStanding>,
}

async fn process_delivery<B>(api: &Arc<Api>, context: &RequestContext, parts: &Parts, at: DeliveryArrival, body: B) -> Outcome
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let DeliveryArrival { endpoint, method, came, counted } = at;
    let sensor = endpoint.sensor.clone();
    let (mut bytes, mut heard) = (None, None);
    let limits = &api.settings.limits;
    let limits = Limits { body_bytes_max: endpoint.body_bytes_max(limits.delivery_bytes_max), ..limits.clone() };
    let is_within_rate = counted.map_or(Ok(()), |standing| standing.demand());
    let admitted = match is_within_rate.and_then(|()| admit(api, parts, &sensor, limits.body_bytes_max)) {
        Ok(admitted) => admitted,
        Err(problem) => {
            note(api, context, NotedDelivery { sensor: &sensor, came, bytes, heard }, &Err(problem.clone()));
            return Err(problem);
        }
    };
    let outcome = match request(api, parts, (endpoint, method), &limits, body).await {
        Err(problem) => Err(problem),
        Ok(request) => {
            bytes = Some(request.body.len());
            let by = OnBehalf { actor: Actor::Sensor(sensor.clone()), trace: Some(context.recorded_trace()), request: None };
            heard = content_for_listeners(api, &request);
            take(api, by, request, DeliverySender::Outside).await
        }
    };
    note(api, context, NotedDelivery { sensor: &sensor, came, bytes, heard }, &outcome);
    // The body is in the log by now, and a sender that waits holds none of its memory.
    drop(admitted);
    let mut taken = outcome?;
    match std::mem::replace(&mut taken.reply, TakenReply::Events) {
        TakenReply::Events => answer(&taken),
        TakenReply::Early(reply) => reply::to_response(reply),
        TakenReply::Waiting(waits) => reply::await_reply(api, &sensor, &waits, &taken).await,
    }
}

/// Allows any sender that asks to deliver to a hook: hooks are declared for that.
pub(crate) fn consent(api: &Api, headers: &HeaderMap, hook: &str) -> Outcome {
    let endpoint = endpoint::at(api, hook)?;
    Ok(handshake::consent(headers, &endpoint.methods(), api.rates.of_deliveries(endpoint.webhook.rate)))
}

/// Finds the sensor of a hook; anything else is a hook that does not exist.
fn sensor_at(api: &Api, hook: &str) -> Result<SensorRef, Problem> {
    endpoint::by_name(api, hook).map(|(sensor, _)| sensor)
}

/// Checks whether a delivery would be accepted now, before any of it is read.
fn admit(api: &Api, parts: &Parts, sensor: &SensorRef, bytes_max: usize) -> Result<Room, Problem> {
    api.ports.node.admission()?;
    Ok(api.intake.admit(Caller::Hook(sensor.clone()), &parts.headers, bytes_max)?)
}

async fn request<B>(
    api: &Api,
    parts: &Parts,
    (endpoint, method): (Endpoint, HookMethod),
    limits: &Limits,
    body: B,
) -> Result<HookRequest, Problem>
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let body = body::read(&parts.headers, body, limits).await?;
    let target = parts.uri.path_and_query().map_or_else(|| parts.uri.path(), |target| target.as_str());
    Ok(HookRequest {
        sensor: endpoint.sensor,
        headers: headers_of(&parts.headers),
        query: query_of(parts.uri.query()),
        body,
        body_bytes_max: limits.body_bytes_max,
        method,
        path: endpoint.path,
        url: format!("{}{target}", api.settings.base_url),
        connection: connection_of(api, parts),
    })
}

fn connection_of(api: &Api, parts: &Parts) -> HookConnection {
    let certificate = parts.extensions.get().and_then(|PeerCertificates(chain)| chain.first().cloned());
    let sender = parts.extensions.get::<addresses::Sender>();
    let is_proxy = sender.is_some_and(|sender| api.settings.addresses.are_trusted(sender.peer));
    let network = sender.map(|sender| addresses::network_of(sender.address).to_string()).unwrap_or_default();
    HookConnection { certificate, from: if is_proxy { HookPeer::TrustedProxy } else { HookPeer::Anybody }, network }
}

fn headers_of(headers: &HeaderMap) -> Vec<(String, String)> {
    let of_the_delivery = headers.iter().filter(|(name, _)| !NOT_OF_THE_DELIVERY.contains(name));
    of_the_delivery.map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

fn query_of(query: Option<&str>) -> Vec<(String, String)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((query::decode_component(name)?, query::decode_component(value)?))
        })
        .collect()
}

/// The sender of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeliverySender {
    /// An outside sender, whose signature covers the body and nothing else.
    Outside,
    /// The node itself, for a test of the hook: the same body is a new delivery each time.
    Node,
}

async fn take(api: &Arc<Api>, by: OnBehalf, request: HookRequest, sender: DeliverySender) -> Result<TakenDelivery, Problem> {
    let received = if api.ports.webhooks.may_wait(&request.sensor) {
        api.threads.verifying(move |ports| ports.webhooks.receive(request)).await?
    } else {
        api.ports.webhooks.receive(request)
    };
    match received {
        Ok(HookOutcome::Reply(reply)) => Ok(TakenDelivery { reply: TakenReply::Early(reply), ..TakenDelivery::of(Vec::new(), None) }),
        Ok(HookOutcome::Events { events, waits }) if events.is_empty() => {
            Ok(TakenDelivery { reply: TakenReply::of(waits), ..TakenDelivery::of(Vec::new(), None) })
        }
        Ok(HookOutcome::Events { mut events, waits }) => {
            if sender == DeliverySender::Node {
                events.iter_mut().for_each(|event| event.signed = None);
            }
            let CommitReceipt { position, answer } = api.submit(by, Ask::ReceiveEvents(events)).await?;
            match answer {
                Answer::Events(events) => Ok(TakenDelivery { reply: TakenReply::of(waits), ..TakenDelivery::of(events, Some(position)) }),
                Answer::Before(before) => api.threads.blocking(move |ports| taken_before(ports, &before)).await?,
                other => Err(Problem::bug(&format!("events were answered with {other:?}"))),
            }
        }
        Err(HookRefusal { declined, keep }) => {
            // A refused delivery may be sent again under the same key, so nothing is stored.
            if let Some(letter) = keep.filter(|_| by.request.is_none()) {
                // The sender learns of the refusal only once the delivery is stored; if storing fails, the
                // sender should retry.
                api.submit(OnBehalf { request: None, ..by }, Ask::KeepDelivery(*letter)).await?;
            }
            Err(declined.into())
        }
    }
}

/// Returns what the first request of a key created; the triggers of the events are read from the log. Blocking.
fn taken_before(ports: &Ports, before: &FirstAnswer) -> Result<TakenDelivery, Problem> {
    let received = |event: &SeenEvent| {
        let record = ports.log.read(Position(event.position.0.saturating_sub(1)), ReadLimit { records: 1, bytes: 1 })?.pop();
        match record.map(|record| record.fact) {
            Some(Fact::EventReceived(fact)) => {
                Ok(ReceivedEvent { id: event.id, trigger: fact.trigger, position: event.position, novelty: event.novelty })
            }
            _ => Err(Problem::bug(&format!("there is no event at position {}", event.position))),
        }
    };
    Ok(TakenDelivery::of(before.events.iter().map(received).collect::<Result<_, _>>()?, Some(before.position)))
}

/// A delivery that is noted, besides its outcome.
struct NotedDelivery<'a> {
    sensor: &'a SensorRef,
    came: Instant,
    bytes: Option<usize>,
    /// What those hear who listen, if the sender was proven.
    heard: Option<HeardContent>,
}

/// Returns what a delivery contains, if somebody listens at its hook.
fn content_for_listeners(api: &Api, request: &HookRequest) -> Option<HeardContent> {
    if !api.ports.deliveries.listeners().are_there(&request.sensor) || request.body.len() > HEARD_BYTES_MAX {
        return None;
    }
    let ShownDelivery { headers, query } = api.ports.webhooks.shown_delivery(request);
    let target = query.iter().fold(below(&request.url, &request.sensor), |target, (name, value)| {
        let separator = if target.contains('?') { '&' } else { '?' };
        format!("{target}{separator}{}={}", encode_component(name), encode_component(value))
    });
    Some(HeardContent { method: request.method, target, headers, body: request.body.clone() })
}

/// Returns the path below a hook, of the public URL of a delivery.
fn below(url: &str, sensor: &SensorRef) -> String {
    let path = url.split('?').next().unwrap_or_default();
    let own = format!("/hooks/{}/{}", sensor.pack(), sensor.name());
    path.split_once(&own).map(|(_, below)| below.to_owned()).unwrap_or_default()
}

fn encode_component(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

fn note(api: &Api, context: &RequestContext, noted: NotedDelivery<'_>, outcome: &Result<TakenDelivery, Problem>) {
    let NotedDelivery { sensor, came, bytes, heard } = noted;
    let end = match outcome {
        Ok(TakenDelivery { reply: TakenReply::Early(reply), .. }) => DeliveryEnd::Replied(reply.status),
        Ok(taken) => {
            let events = taken.events.iter().map(|event| event.id).collect();
            if taken.is_repeat() { DeliveryEnd::Repeated(events) } else { DeliveryEnd::Accepted(events) }
        }
        Err(problem) => {
            tracing::warn!(%sensor, code = problem.code(), "a delivery was rejected");
            DeliveryEnd::Refused { code: problem.code(), why: problem.detail().map(str::to_owned) }
        }
    };
    let took = came.elapsed();
    let delivery = Delivery { at: deliveries::now(), took, bytes, request_id: context.request_id().to_owned(), end };
    let heard = heard.filter(|_| matches!(delivery.end, DeliveryEnd::Accepted(_) | DeliveryEnd::Repeated(_)));
    api.ports.deliveries.note(sensor, delivery, heard);
}

fn answer(taken: &TakenDelivery) -> Outcome {
    let body = WireTaken { events: taken.events.iter().map(WireTakenEvent::from).collect() };
    match taken.position {
        None => respond::json(&body),
        Some(position) if taken.is_repeat() => respond::answer_write(WriteOutcome::Done, position, &body),
        Some(position) => respond::answer_write(WriteOutcome::Accepted, position, &body),
    }
}

/// Lists the webhooks, each with the state of its secret and its newest deliveries.
pub(super) async fn list(allowed: AllowedCaller<HooksRead>, call: Call) -> Outcome {
    let catalog = call.api().ports.installed.current();
    let hooks = catalog.sensors().values().filter_map(|sensor| Some((&**sensor, sensor.source.webhook()?)));
    let hooks = hooks.filter(|(sensor, _)| allowed.includes(&Target::of_hook(sensor.name.as_str())));
    let listed = listing::of_catalog(&call, &allowed, hooks, |(sensor, _)| sensor.name.to_string())?;
    let newest = |sensor: &SensorRef| {
        let mut last = call.api().ports.deliveries.last(sensor);
        last.truncate(LISTED_DELIVERIES);
        last
    };
    let items = listed.items.iter().map(|hook| to_wire(call.api(), *hook, newest(&hook.0.name))).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a webhook with its latest deliveries.
pub(super) async fn get(allowed: AllowedCaller<HooksRead>, call: Call) -> Outcome {
    let sensor = sensor_at(call.api(), &hook_of(&call))?;
    allowed.demand_on(&hook_of(&call), &Target::of_hook(sensor.as_str()))?;
    let DeliveryQuery { outcome: outcomes, since } = call.parameters()?;
    let is_asked = |one: &Delivery| (outcomes.is_empty() || outcomes.contains(&one.outcome())) && since.is_none_or(|since| one.at >= since);
    let last = call.api().ports.deliveries.last(&sensor).into_iter().filter(is_asked).collect();
    let catalog = call.api().ports.installed.current();
    match catalog.sensors().get(&sensor).and_then(|sensor| Some((&**sensor, sensor.source.webhook()?))) {
        Some(hook) => respond::json(&to_wire(call.api(), hook, last)),
        None => Err(Missing::new(HooksRead::THING, &hook_of(&call)).into()),
    }
}

fn hook_of(call: &Call) -> String {
    format!("{}/{}", call.part("pack"), call.part("sensor"))
}

fn to_wire(api: &Api, (sensor, verify): (&Sensor, &Verify), last: Vec<Delivery>) -> WireHook {
    WireHook::new((sensor, verify), url(api, &sensor.name), api.ports.webhooks.secret(&sensor.name), last)
}

/// Returns the address at which a sensor accepts deliveries.
pub(super) fn url(api: &Api, sensor: &SensorRef) -> String {
    format!("{}/hooks/{}/{}", api.settings.base_url, sensor.pack(), sensor.name())
}

/// Signs a delivery as the sensor's sender would, and receives it.
pub(super) async fn send(allowed: AllowedCaller<HooksSend>, mut call: Call) -> Outcome {
    let sensor = sensor_at(call.api(), &hook_of(&call))?;
    allowed.demand_on(&hook_of(&call), &Target::of_hook(sensor.as_str()))?;
    if let Some((before, _)) = call.before().await? {
        return answer(&call.api().threads.blocking(move |ports| taken_before(ports, &before)).await??);
    }
    let WireSend { event, body, path } = call.json().await?;
    let (api, came) = (call.api(), Instant::now());
    let delivery = fresh_id()?;
    let event = event.unwrap_or_default();
    let (delivery, url) = (delivery.to_string(), url(api, &sensor));
    let body = Bytes::from(String::from(Box::<str>::from(body)));
    let path: Vec<(String, String)> = path.into_iter().collect();
    let request = api.ports.webhooks.sign(&sensor, ToSign { event: &event, delivery: &delivery, body, url: &url, path: &path })?;
    let (bytes, heard) = (Some(request.body.len()), content_for_listeners(api, &request));
    let outcome = take(api, call.on_behalf(&allowed)?, request, DeliverySender::Node).await;
    note(api, call.context(), NotedDelivery { sensor: &sensor, came, bytes, heard }, &outcome);
    answer(&outcome?)
}

/// Streams the deliveries at a webhook, after the one that the caller knows or from now on.
pub(super) async fn listen(allowed: AllowedCaller<HooksListen>, call: Call) -> Outcome {
    call.choose_media_type(&[EVENT_STREAM])?;
    let sensor = sensor_at(call.api(), &hook_of(&call))?;
    allowed.demand_on(&hook_of(&call), &Target::of_hook(sensor.as_str()))?;
    let after = call.headers().get(LAST_EVENT_ID).map(|given| given.to_str().ok().and_then(|text| text.parse().ok()));
    let after = match after {
        Some(None) => return Err(bad("last-event-id", "is not the id of an event of this stream").into()),
        after => after.flatten(),
    };
    let api = call.api();
    let room = api.streams.enter(&allowed.caller())?;
    let (line, response) = StreamLine::open(api.ends(), allowed, 1, StreamFormat::Events)?;
    let listening = Listening::new(api.ports.deliveries.clone(), sensor, after, line);
    tokio::spawn(async move {
        listening.run().await;
        drop(room);
    });
    Ok(response)
}

/// Confirms the subscriptions of Amazon SNS that wait at a webhook.
pub(super) async fn confirm(allowed: AllowedCaller<HooksSend>, call: Call) -> Outcome {
    let sensor = sensor_at(call.api(), &hook_of(&call))?;
    allowed.demand_on(&hook_of(&call), &Target::of_hook(sensor.as_str()))?;
    let confirmed = call.api().threads.verifying(move |ports| ports.webhooks.confirm(&sensor)).await??;
    respond::json(&WireConfirmed::from(confirmed))
}

fn fresh_id() -> Result<Id, Problem> {
    let mut entropy = [0; 16];
    getrandom::fill(&mut entropy).map_err(|why| Problem::bug(&why))?;
    Ok(Id::root(deliveries::now(), u128::from_le_bytes(entropy)))
}
