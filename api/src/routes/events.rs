//! Events: send one, list, look at one, and see what the rules made of it.

use bytes::Bytes;
use ensue_engine::catalog::{Catalog, Rule};
use ensue_engine::command::{Answer, Ask, Conflict, Dedupe, DedupeKey, Novelty};
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::ids::EventId;
use ensue_engine::record::{CatalogRevision, Digest};
use ensue_engine::rules::judge::{EventView, RULE_STEPS_MAX, with_rule_scope};
use ensue_expression::{Budget, Document};
use ensue_views::store::{Filter, LIST_ROWS_MAX, ListQuery};
use ensue_views::{Column, Enforcement, Event, ViewName};
use thiserror::Error;

use crate::auth::Allowed;
use crate::call::Call;
use crate::listing;
use crate::permissions::{EventsRead, EventsWrite, Permission as _};
use crate::ports::{GivenEvent, Ports};
use crate::problem::{Outcome, Problem};
use crate::respond::{self, Written};
use crate::wire::embedded;
use crate::wire::events::{WireEvent, WireEventRules, WireGivenEvent, WireTakenEvent};
use crate::wire::rules::WireVerdict;

/// Who observed an event that a caller sends.
const SOURCE: &str = "api";
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

/// What judged an event cannot be asked any more.
#[derive(Debug, Error)]
#[error("the catalog of revision {0}, which judged this event, is not kept any more")]
pub(super) struct CatalogGone(pub(super) CatalogRevision);

impl Explain for CatalogGone {
    fn slug(&self) -> &'static str {
        "catalog-gone"
    }

    fn fault(&self) -> Fault {
        Fault::Conflict
    }

    fn hint(&self) -> Option<String> {
        Some("the enforcements of the event, and the errors of its rules, are still there".into())
    }
}

/// Why an event's payload cannot be looked at.
#[derive(Debug, Error)]
#[error("the payload of this event was erased")]
struct PayloadErased;

impl Explain for PayloadErased {
    fn slug(&self) -> &'static str {
        "payload-erased"
    }

    fn fault(&self) -> Fault {
        Fault::Conflict
    }
}

/// Takes an event in: 202 once it is on the disk, 200 where its key was seen before.
pub(super) async fn send(allowed: Allowed<EventsWrite>, mut call: Call) -> Outcome {
    call.no_query()?;
    call.api().ports.node.admission()?;
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
    const KNOWN: &[&str] = &["trigger", "source", "correlation", "since", "until", "limit", "cursor"];
    let listed = listing::rows::<Event, _>(&call, &allowed, KNOWN, &[Column::Trigger, Column::Source, Column::Correlation]).await?;
    let items = listed.items.into_iter().map(WireEvent::listed).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page, &listed.query)
}

/// Shows an event with its payload.
pub(super) async fn get(_: Allowed<EventsRead>, call: Call) -> Outcome {
    call.no_query()?;
    let id: EventId = call.named("id", EventsRead::THING)?;
    call.see().await?;
    let event: Event = call.api().row(id.to_string(), EventsRead::THING).await?;
    let payload = event.payload;
    let payload = call.api().blocking(move |ports| payload.map(|payload| ports.log.body(payload.position)).transpose()).await??.flatten();
    respond::json(&WireEvent::whole(event, payload.as_ref().map(embedded)))
}

/// Says what each rule of its trigger made of an event, and why.
pub(super) async fn rules(_: Allowed<EventsRead>, call: Call) -> Outcome {
    call.no_query()?;
    let id: EventId = call.named("id", EventsRead::THING)?;
    call.see().await?;
    let event: Event = call.api().row(id.to_string(), EventsRead::THING).await?;
    let wire = call
        .api()
        .blocking(move |ports| {
            let enforcements = enforcements_of(ports, event.id)?;
            let items = verdicts(ports, &event, &enforcements)?;
            Ok::<_, Problem>(WireEventRules { event: event.id, trigger: event.trigger, catalog: event.catalog, items })
        })
        .await??;
    respond::json(&wire)
}

/// Reads an event's enforcements. Blocking.
pub(super) fn enforcements_of(ports: &Ports, event: EventId) -> Result<Vec<Enforcement>, Problem> {
    let filters = vec![Filter { column: Column::Event, value: event.to_string() }];
    let query = ListQuery { filters, limit: LIST_ROWS_MAX, ..ListQuery::newest(ViewName::Enforcements) };
    let rows = ports.views.list(&query)?;
    Ok(rows.iter().map(ensue_views::Row::read).collect::<Result<_, _>>()?)
}

/// Has every rule of an event's trigger judge it again, by the catalog that judged it, and explain itself. Blocking.
pub(super) fn verdicts(ports: &Ports, event: &Event, enforcements: &[Enforcement]) -> Result<Vec<WireVerdict>, Problem> {
    let catalog = ports.installed.at(event.catalog).ok_or(CatalogGone(event.catalog))?;
    let handle = event.payload.ok_or(PayloadErased)?;
    let payload = ports.log.body(handle.position)?.ok_or(PayloadErased)?;
    // What stands in the log was JSON when it was taken in.
    let payload = Document::parse(payload).map_err(|why| Problem::bug(&why))?;
    Ok(explained(&catalog, event, &payload, enforcements))
}

fn explained(catalog: &Catalog, event: &Event, payload: &Document, enforcements: &[Enforcement]) -> Vec<WireVerdict> {
    let view = EventView { id: event.id, trigger: &event.trigger, source: &event.source, time: event.time, payload };
    let rules = catalog.index().of_trigger(&event.trigger).iter();
    rules
        .map(|rule| {
            let enforcement = enforcements.iter().find(|enforcement| enforcement.rule_id == rule.id);
            WireVerdict::new(rule, explanation(rule, &view).as_ref(), enforcement)
        })
        .collect()
}

fn explanation(rule: &Rule, event: &EventView<'_>) -> Option<ensue_expression::Explanation> {
    let when = rule.when.as_ref()?;
    Some(with_rule_scope(rule, event, |scope| when.explain(scope, &mut Budget::steps(RULE_STEPS_MAX))))
}
