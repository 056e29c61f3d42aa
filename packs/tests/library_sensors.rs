//! The sensors of packs that can be added: a delivery creates one event, whose payload its trigger accepts.
//!
//! The deliveries are our own, written from the fields that the vendors document.

use std::collections::BTreeMap;

use ensue_engine::catalog::{Catalog, Emit, Extra};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_expression::{Budget, Document, Scope, Value as Cel};
use ensue_packs::{PackSource, available_packs, build, check, library};
use serde_json::{Value, json};

fn catalog() -> Catalog {
    let packs: Vec<PackSource> = library().into_iter().chain(available_packs().into_iter().map(|pack| pack.source)).collect();
    let checked = check(&packs, &BTreeMap::new());
    let id = |_: &_| RuleId(Id::root(Timestamp::from_micros(0), 1));
    let installed: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(id))).collect();
    build(CatalogRevision(1), &installed).expect("the library makes a catalog")
}

/// Returns the trigger, the dedupe key and the payload of the one event that a delivery creates.
#[track_caller]
fn event(sensor: &str, headers: &Value, body: &Value) -> (String, Value, Value) {
    let catalog = catalog();
    let empty = json!({});
    let scope = Scope::new()
        .with("headers", Cel::from_json(headers))
        .with("body", Cel::from_json(body))
        .with("query", Cel::from_json(&empty))
        .with("config", Cel::from_json(&empty));
    let sensor = &catalog.sensors()[&sensor.parse().expect("a ref")];
    let holds = |emit: &&Emit| emit.when.as_ref().is_none_or(|when| when.holds(&scope, &mut Budget::default()).expect("it is computed"));
    let fitting: Vec<&Emit> = sensor.emits.iter().filter(holds).collect();
    let [emit] = fitting.as_slice() else { panic!("{} events", fitting.len()) };
    let key = emit.dedupe.expression().expect("every event of the library has a key").evaluate(&scope, &mut Budget::default());
    let key = key.expect("the delivery has its id").to_json().expect("it is a text");
    let payload = match &emit.payload {
        Some(template) => template.render(&scope, &mut Budget::default()).unwrap_or_else(|error| panic!("{}", error.message)),
        None => body.clone(),
    };
    let misfits = catalog.triggers()[&emit.trigger].payload.misfits(Document::from_value(&payload).root(), Extra::Refused);
    if emit.payload.is_some() {
        assert_eq!(misfits, [], "{payload}");
    }
    (emit.trigger.to_string(), key, payload)
}

#[test]
fn slack_message_becomes_an_event() {
    let message = |event: Value| json!({ "type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": event });
    let body = message(json!({ "type": "message", "channel": "C1", "user": "U1", "text": "hello", "ts": "1.2", "thread_ts": "1.1" }));
    let payload = json!({ "channel": "C1", "user": "U1", "text": "hello", "ts": "1.2", "thread": "1.1", "team": "T1" });
    assert_eq!(event("slack.events", &json!({}), &body), ("slack.message_posted".to_owned(), json!("Ev1"), payload));
    let body = message(json!({ "type": "app_mention", "channel": "C1", "user": "U1", "text": "<@U2> hi", "ts": "1.2" }));
    let (trigger, _, payload) = event("slack.events", &json!({}), &body);
    assert_eq!((trigger.as_str(), &payload["thread"]), ("slack.app_mentioned", &Value::Null));
    let body = message(json!({ "type": "reaction_added", "reaction": "eyes" }));
    let (trigger, _, payload) = event("slack.events", &json!({}), &body);
    assert_eq!((trigger.as_str(), &payload["type"]), ("slack.event", &json!("reaction_added")));
}

#[test]
fn pagerduty_incident_becomes_an_event() {
    let delivery = |kind: &str, data: Value| {
        json!({ "event": {
            "id": "01B", "event_type": kind, "resource_type": "incident", "occurred_at": "2026-03-28T12:00:00Z",
            "agent": { "summary": "Ada" }, "data": data,
        } })
    };
    let incident = json!({
        "id": "PGR0VU2", "type": "incident", "title": "The disk is full.", "status": "acknowledged", "urgency": "high",
        "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2", "service": { "summary": "db" },
    });
    let (trigger, key, payload) = event("pagerduty.webhook", &json!({}), &delivery("incident.acknowledged", incident));
    assert_eq!((trigger.as_str(), key), ("pagerduty.incident_changed", json!("01B")));
    assert_eq!((&payload["change"], &payload["service"], &payload["by"]), (&json!("acknowledged"), &json!("db"), &json!("Ada")));
    let note = delivery("incident.annotated", json!({ "id": "P1", "type": "incident_note", "content": "rebooted" }));
    assert_eq!(event("pagerduty.webhook", &json!({}), &note).0, "pagerduty.event");
    let ping = json!({ "event": { "id": "01C", "event_type": "pagey.ping", "resource_type": "pagey", "occurred_at": "2026-03-28T12:00:00Z",
        "agent": null, "data": { "message": "Hello from your friend Pagey!", "type": "ping" } } });
    assert_eq!(event("pagerduty.webhook", &json!({}), &ping).0, "pagerduty.event");
}

#[test]
fn stripe_event_becomes_an_event() {
    let of = |kind: &str, object: Value| json!({ "id": "evt_1", "type": kind, "livemode": false, "data": { "object": object } });
    let payment = json!({ "id": "pi_1", "amount": 1999, "amount_received": 1999, "currency": "eur", "customer": null, "metadata": {},
        "last_payment_error": { "message": "Your card was declined." } });
    let (trigger, key, payload) = event("stripe.webhook", &json!({}), &of("payment_intent.succeeded", payment.clone()));
    assert_eq!((trigger.as_str(), key, &payload["amount"]), ("stripe.payment_succeeded", json!("evt_1"), &json!(1999)));
    let (trigger, _, payload) = event("stripe.webhook", &json!({}), &of("payment_intent.payment_failed", payment));
    assert_eq!((trigger.as_str(), &payload["reason"]), ("stripe.payment_failed", &json!("Your card was declined.")));
    let session = json!({ "id": "cs_1", "customer": "cus_1", "customer_details": { "email": "ada@example.test" }, "payment_status": "paid",
        "client_reference_id": "order-7", "metadata": {} });
    let (trigger, _, payload) = event("stripe.webhook", &json!({}), &of("checkout.session.completed", session));
    assert_eq!((trigger.as_str(), &payload["reference"]), ("stripe.checkout_completed", &json!("order-7")));
    let subscription = json!({ "id": "sub_1", "customer": "cus_1", "status": "canceled", "metadata": {} });
    let (trigger, _, payload) = event("stripe.webhook", &json!({}), &of("customer.subscription.deleted", subscription));
    assert_eq!((trigger.as_str(), &payload["change"]), ("stripe.subscription_changed", &json!("deleted")));
    assert_eq!(event("stripe.webhook", &json!({}), &of("invoice.paid", json!({ "id": "in_1" }))).0, "stripe.event");
}

#[test]
fn alertmanager_notification_becomes_an_event_and_a_repeat_has_its_key() {
    let alert = |status: &str| {
        json!({ "status": status, "fingerprint": "c1", "labels": { "alertname": "DiskFull" }, "annotations": {}, "generatorURL": "http://p/",
            "startsAt": "2026-03-28T12:00:00Z", "endsAt": "0001-01-01T00:00:00Z" })
    };
    let of = |alerts: Value| {
        json!({ "version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "ensue", "groupLabels": {}, "commonLabels": {},
            "commonAnnotations": {}, "externalURL": "http://a/", "truncatedAlerts": 0, "alerts": alerts })
    };
    let (trigger, key, payload) = event("alertmanager.webhook", &json!({}), &of(json!([alert("firing"), alert("resolved")])));
    assert_eq!(trigger, "alertmanager.alerts");
    assert_eq!((payload["firing"].as_array().unwrap().len(), payload["resolved"].as_array().unwrap().len()), (1, 1));
    assert_eq!(event("alertmanager.webhook", &json!({}), &of(json!([alert("firing"), alert("resolved")]))).1, key);
    assert_ne!(event("alertmanager.webhook", &json!({}), &of(json!([alert("resolved"), alert("resolved")]))).1, key);
}

#[test]
fn gitlab_delivery_becomes_an_event() {
    let headers = json!({ "x-gitlab-event-uuid": "13792a34" });
    let push =
        json!({ "object_kind": "push", "project": { "id": 3 }, "ref": "refs/heads/main", "before": "0", "after": "a", "commits": [] });
    assert_eq!(event("gitlab.webhook", &headers, &push), ("gitlab.push".to_owned(), json!("13792a34"), push));
    let merge = json!({ "object_kind": "merge_request", "project": { "id": 3 }, "user": {}, "object_attributes": { "iid": 7 } });
    assert_eq!(event("gitlab.webhook", &headers, &merge).0, "gitlab.merge_request_changed");
    let (trigger, _, payload) = event("gitlab.webhook", &headers, &json!({ "object_kind": "wiki_page" }));
    assert_eq!((trigger.as_str(), &payload["kind"]), ("gitlab.event", &json!("wiki_page")));
}
