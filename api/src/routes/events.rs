//! Events: send them, list them, show one, and show what the rules decided about it.

mod sending;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use ensue_engine::catalog::Rule;
use ensue_engine::ids::EventId;
use ensue_engine::record::StreamId;
use ensue_engine::rules::judge::EVENT_STEPS_MAX;
use ensue_views::{Event, RowReach, RowScope};

use super::Routes;
use super::event_verdicts::DefinitionsQuery;
use super::hooks::consent_operation;
use crate::as_of::{self, AsOfQuery};
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::cloudevents;
use crate::listing::{self, IdQuery, SortQuery};
use crate::operation::{BodyPresence, Content, MADE, Operation, Takes, schema_of};
use crate::paging::PageQuery;
use crate::period::PeriodQuery;
use crate::permissions::{EventsRead, EventsWrite, Permission as _};
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::query::{Query, bad, words};
use crate::respond;
use crate::routes::event_verdicts::{EventVerdicts, enforcement_of};
use crate::shapes;
use crate::wire::embed_body;
use crate::wire::events::{WireEmitAgain, WireEvent, WireGivenEvents, WireTakenEvent, WireTakenOrList};
use crate::wire::verdicts::{WireDefinitions, WireVerdict};

pub(super) use sending::{consent, emit_again, send};

/// The reasons why an event cannot be judged again.
const FORGOTTEN: &[(u16, &str)] = &[(410, "catalog_gone"), (409, "payload_erased")];

/// The parameters that select events.
#[derive(Query)]
struct EventQuery {
    /// Only those with one of these names.
    #[query(column)]
    trigger: Vec<String>,
    /// Only those with this name or id.
    #[query(column)]
    source: Option<String>,
    /// Only those with this name or id.
    #[query(column)]
    correlation: Option<String>,
    /// Only those that no rule matched, or only the others. A request examines at most 500, so a page may hold fewer than
    /// `limit` and still have a `next`.
    matched: Option<MatchedRules>,
}

/// Whether any rules matched an event.
#[derive(Clone, Copy, PartialEq, Eq)]
struct MatchedRules(bool);

words!(MatchedRules ["none" => Self(false), "any" => Self(true)]);

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.post::<EventsWrite>(
        "/events",
        send,
        Operation::new("event_send", "Sends one event or a list of events, all or none")
            .can_be_tried()
            .takes(Takes::JsonOr {
                schema: schema_of::<WireGivenEvents>,
                example: r#"{"trigger": "demo.hello", "payload": {"name": "ana"}, "dedupe": "order-17"}"#,
                others: &[
                    (cloudevents::STRUCTURED, "a CloudEvent (`CloudEvent`), whose `type` is the trigger"),
                    (cloudevents::BATCH, "a list of at most 1,000 CloudEvents"),
                ],
            })
            .gives::<WireTakenOrList>(202, "The events are on the disk.", MADE)
            .gives::<WireTakenOrList>(200, "All events are duplicates, each with its first event; or the list is empty.", MADE)
            .refuses(&[
                (409, "dedupe_key_reused"),
                (413, "too_many_events"),
                (422, "cloudevent_invalid"),
                (422, "payload_invalid"),
                (422, "trigger_not_found"),
                (422, "trigger_of_the_engine"),
                (422, "trigger_version_unknown"),
            ])
            .demands_admission(),
    );
    routes.post::<EventsWrite>(
        "/events/{id}/emit_again",
        emit_again,
        Operation::new("event_emit_again", "Emits a stored event again: a new event with the same payload, caused by the first")
            .can_be_tried()
            .takes(Takes::Json {
                schema: schema_of::<WireEmitAgain>,
                example: r#"{"dedupe": "order-17"}"#,
                presence: BodyPresence::Optional,
            })
            .gives::<WireTakenEvent>(202, "The new event is on the disk.", MADE)
            .gives::<WireTakenEvent>(200, "The key was accepted before: this is the event that it belongs to.", MADE)
            .refuses(&[
                (409, "chain_too_deep"),
                (409, "dedupe_key_reused"),
                (409, "payload_erased"),
                (422, "payload_invalid"),
                (422, "trigger_not_found"),
                (422, "trigger_of_the_engine"),
                (422, "trigger_version_unknown"),
            ])
            .demands_admission()
            .sees_views(),
    );
    routes.options::<EventsWrite>(
        "/events",
        consent,
        consent_operation("event_consent", "Reports whether deliveries from a sender are allowed here"),
    );
    routes.get::<EventsRead>(
        "/events",
        list,
        Operation::lists::<WireEvent>(
            "event_list",
            "Lists events, newest first",
            &[IdQuery::PARAMETERS, EventQuery::PARAMETERS, PeriodQuery::PARAMETERS, SortQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .sees_views()
        .is_shared(),
    );
    routes.get::<EventsRead>(
        "/events/{id}",
        get,
        Operation::new("event_get", "Returns an event with its payload, or as a CloudEvent")
            .gives_content(
                200,
                "The event.",
                Content::JsonForms(&[
                    ("application/json", schema_of::<WireEvent>),
                    (cloudevents::STRUCTURED, schema_of::<shapes::CloudEvent>),
                ]),
                &[],
            )
            .with_query(&[AsOfQuery::PARAMETERS])
            .refuses(&[(406, "not_acceptable")])
            .sees_views(),
    );
    routes.get::<EventsRead>(
        "/events/{id}/rules",
        rules,
        Operation::lists::<WireVerdict>(
            "event_explain",
            "Explains the verdict of each rule of its trigger on an event",
            &[DefinitionsQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .refuses(FORGOTTEN)
        .sees_views(),
    );
}

/// Lists events, newest first.
pub(super) async fn list(allowed: AllowedCaller<EventsRead>, call: Call) -> Outcome {
    let query: EventQuery = call.parameters()?;
    let listed = match query.matched {
        None => listing::rows::<Event, _>(&call, &allowed, query.filters()).await?,
        Some(_) if allowed.rows() != RowReach::Everything => {
            let why = "counts the rules of every pack, so it needs `events:read` without a limit";
            return Err(bad("matched", why).into());
        }
        Some(MatchedRules(are_any)) => {
            let keep = |event: &Event| (event.matched > 0) == are_any;
            listing::rows_picked(&call, &allowed, query.filters(), allowed.rows(), keep).await?
        }
    };
    let items = listed.items.into_iter().map(|event| WireEvent::for_list(event, &allowed.rows())).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows an event with its payload, or as a CloudEvent.
pub(super) async fn get(allowed: AllowedCaller<EventsRead>, call: Call) -> Outcome {
    let media = call.choose_media_type(&["application/json", cloudevents::STRUCTURED])?;
    let id: EventId = call.parse_part("id", EventsRead::THING)?;
    let event: Event = call.api().row(id.to_string(), EventsRead::THING, allowed.rows()).await?;
    let event = as_of::as_asked((call.api(), call.as_of()), (event, id), EventsRead::THING, StreamId::Event(id)).await?;
    let payload = event.payload;
    let payload =
        call.api().threads.blocking(move |ports| payload.map(|payload| ports.log.body(payload.position)).transpose()).await??.flatten();
    if media == cloudevents::STRUCTURED {
        let mut response = Response::new(Body::from(cloudevents::render_event(&event, payload.as_ref())));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(cloudevents::STRUCTURED));
        return Ok(response);
    }
    respond::json(&WireEvent::whole(event, payload.as_ref().map(embed_body), &allowed.rows()))
}

/// Returns what each rule of its trigger decided about an event, and why.
pub(super) async fn rules(allowed: AllowedCaller<EventsRead>, call: Call) -> Outcome {
    let definitions = call.parameters::<DefinitionsQuery>()?.definitions.unwrap_or_default();
    let id: EventId = call.parse_part("id", EventsRead::THING)?;
    let page = call.page(&allowed)?;
    let event: Event = call.api().row(id.to_string(), EventsRead::THING, allowed.rows()).await?;
    let (limit, after, reach) = (page.limit, page.after.clone(), allowed.rows());
    let explained = call.api().threads.explaining(move |ports| verdicts(ports, (&event, &reach), definitions, limit, after.as_deref()));
    let (items, next) = explained.await??;
    call.answer_page(items, next.as_deref(), &page)
}

/// Explains a page of an event's rules, among those that the caller reaches, and returns the last of them if there are more. Blocking.
fn verdicts(
    ports: &Ports,
    (event, reach): (&Event, &RowReach),
    definitions: WireDefinitions,
    limit: usize,
    after: Option<&str>,
) -> Result<(Vec<WireVerdict>, Option<String>), Problem> {
    let judged = EventVerdicts::from_stored(ports, event, definitions)?;
    let is_seen = |rule: &&Arc<Rule>| reach.covers(Some(&RowScope::of_pack(rule.name.pack().as_str())));
    let mut rest = judged.rules().iter().filter(is_seen).filter(|rule| after.is_none_or(|after| rule.name.as_str() > after));
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
