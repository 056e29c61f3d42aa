//! Events: send one, list, look at one, and see what the rules made of it.

use bytes::Bytes;
use ensue_engine::command::{Answer, Ask, Conflict, Dedupe, DedupeKey, Novelty};
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::ids::EventId;
use ensue_engine::record::Digest;
use ensue_engine::rules::judge::EVENT_STEPS_MAX;
use ensue_views::{Column, Event};
use thiserror::Error;

use crate::auth::Allowed;
use crate::call::Call;
use crate::listing;
use crate::permissions::{EventsRead, EventsWrite, Permission as _};
use crate::ports::{GivenEvent, Ports};
use crate::problem::{Outcome, Problem};
use crate::respond::{self, Written};
use crate::routes::judged::{Definitions, Judged, enforcement_of};
use crate::wire::embedded;
use crate::wire::events::{WireEvent, WireGivenEvent, WireTakenEvent};
use crate::wire::verdicts::WireVerdict;

/// Who observed an event that a caller sends.
pub(super) const SOURCE: &str = "api";
/// The most bytes of a dedupe key.
const DEDUPE_BYTES_MAX: usize = 1024;

/// A dedupe key that cannot be one.
#[derive(Debug, Error)]
#[error("`dedupe` must be a text of 1 to {DEDUPE_BYTES_MAX} bytes")]
struct DedupeKeyInvalid;

impl Explain for DedupeKeyInvalid {
    fn slug(&self) -> &'static str {
        "body-invalid"
    }

    fn fault(&self) -> Fault {
        Fault::Invalid
    }

    fn hint(&self) -> Option<String> {
        Some("take an id that the event has where it comes from, or leave `dedupe` out".into())
    }
}

/// Takes an event in: 202 once it is on the disk, 200 where its key was seen before.
pub(super) async fn send(allowed: Allowed<EventsWrite>, mut call: Call) -> Outcome {
    call.admission()?;
    let given: WireGivenEvent = call.json().await?;
    let payload = Bytes::from(String::from(Box::<str>::from(given.payload)));
    let dedupe = given.dedupe.map(|key| dedupe(allowed.name(), &key, &payload)).transpose()?;
    let given = GivenEvent { trigger: given.trigger, payload, source: SOURCE.to_owned(), dedupe };
    let observed = call.api().ports.observe.observe(given)?;
    let committed = call.api().submit(allowed.on_behalf(call.context()), Ask::ReceiveEvents(vec![observed])).await?;
    match committed.answer {
        Answer::Events(events) if events.len() == 1 => {
            let event = &events[0];
            let how = match event.novelty {
                Novelty::New => Written::Accepted,
                Novelty::Repeat => Written::Done,
            };
            let taken = WireTakenEvent { id: event.id, position: event.position };
            let response = respond::written(how, committed.position, &taken)?;
            Ok(respond::located(response, &format!("{}/events/{}", super::BASE, event.id)))
        }
        other => Err(Problem::bug(&format!("an event was answered with {other:?}"))),
    }
}

/// A caller's keys are its own: another caller's event under the same key is another event.
fn dedupe(caller: &str, key: &str, payload: &Bytes) -> Result<Dedupe, DedupeKeyInvalid> {
    if !(1..=DEDUPE_BYTES_MAX).contains(&key.len()) {
        return Err(DedupeKeyInvalid);
    }
    let key = DedupeKey { scope: format!("events/{caller}"), hash: Digest::of(key.as_bytes()) };
    Ok(Dedupe { key, content: Digest::of(payload), conflict: Conflict::IsRefused })
}

/// Lists events, newest first.
pub(super) async fn list(allowed: Allowed<EventsRead>, call: Call) -> Outcome {
    let listed = listing::rows::<Event, _>(&call, &allowed, &[Column::Trigger, Column::Source, Column::Correlation]).await?;
    let items = listed.items.into_iter().map(WireEvent::listed).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows an event with its payload.
pub(super) async fn get(_: Allowed<EventsRead>, call: Call) -> Outcome {
    let id: EventId = call.named("id", EventsRead::THING)?;
    let event: Event = call.api().row(id.to_string(), EventsRead::THING).await?;
    let payload = event.payload;
    let payload = call.api().blocking(move |ports| payload.map(|payload| ports.log.body(payload.position)).transpose()).await??.flatten();
    respond::json(&WireEvent::whole(event, payload.as_ref().map(embedded)))
}

/// Says what each rule of its trigger made of an event, and why.
pub(super) async fn rules(allowed: Allowed<EventsRead>, call: Call) -> Outcome {
    let query = call.query();
    let definitions = query.one_of("definitions", &Definitions::ALL)?.unwrap_or_default();
    let id: EventId = call.named("id", EventsRead::THING)?;
    let page = call.page(&allowed)?;
    let event: Event = call.api().row(id.to_string(), EventsRead::THING).await?;
    let (limit, after) = (page.limit, page.after.clone());
    let (items, next) = call.api().explaining(move |ports| verdicts(ports, &event, definitions, limit, after.as_deref())).await??;
    call.answer_page(items, next.as_deref(), &page)
}

/// Has a page of an event's rules explain themselves, and says which was the last where there are more. Blocking.
fn verdicts(
    ports: &Ports,
    event: &Event,
    definitions: Definitions,
    limit: usize,
    after: Option<&str>,
) -> Result<(Vec<WireVerdict>, Option<String>), Problem> {
    let judged = Judged::stored(ports, event, definitions)?;
    let mut rest = judged.rules().iter().filter(|rule| after.is_none_or(|after| rule.name.as_str() > after));
    let mut items = Vec::new();
    let mut last = None;
    let mut steps_left = EVENT_STEPS_MAX;
    for rule in rest.by_ref().take(limit) {
        let enforcement = enforcement_of(ports, event.id, rule)?;
        items.push(judged.briefly(rule, enforcement.as_ref(), &mut steps_left));
        last = Some(rule.name.to_string());
    }
    let has_more = rest.next().is_some();
    Ok((items, last.filter(|_| has_more)))
}
