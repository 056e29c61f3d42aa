//! Webhooks.

use axum::http::Method;
use ensue_api::Limits;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use crate::support::{Answer, GATE_SECRET, TestApi, TestRequest};

const HELLO: &str = r#"{"name":"ana"}"#;

fn signature(body: &str, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

fn at_the_gate<'a>(api: &'a TestApi, delivery: &str, body: &'static str) -> TestRequest<'a> {
    let asked = api.post("/hooks/demo/gate").with("content-type", "application/json").with("x-github-event", "hello");
    asked.with("x-github-delivery", delivery).with("x-hub-signature-256", &signature(body, GATE_SECRET)).body(body)
}

async fn last_deliveries(api: &TestApi) -> serde_json::Value {
    api.get("/api/v1/hooks/demo/gate").by("viewer").answer().await.expect(200).json()["deliveries"].clone()
}

#[tokio::test]
async fn verified_delivery_is_in_the_log_before_its_answer() {
    let api = TestApi::new();
    let taken = at_the_gate(&api, "d-1", HELLO).answer().await.expect(202);
    let events = taken.json()["events"].clone();
    assert_eq!((events.as_array().unwrap().len(), &events[0]["trigger"]), (1, &json!("demo.hello")));
    let position = events[0]["position"].as_u64().unwrap();
    assert!(taken.header("ensue-position").unwrap().parse::<u64>().unwrap() >= position);
    let kinds = api.node.kinds();
    let of_the_delivery = &kinds[usize::try_from(position).unwrap() - 1..];
    assert_eq!(of_the_delivery, ["event.received", "enforcement.made", "execution.requested", "attempt.started"]);
    let event = api.get(&format!("/api/v1/events/{}", events[0]["id"].as_str().unwrap())).by("viewer").answer().await.expect(200).json();
    assert_eq!((&event["payload"], &event["sensor"]), (&json!({ "name": "ana" }), &json!("demo.gate")));
}

#[tokio::test]
async fn duplicate_delivery_gets_the_first_answer_and_counts_once() {
    let api = TestApi::new();
    let first = at_the_gate(&api, "d-1", HELLO).answer().await.expect(202);
    let head = api.node.head_position();
    let again = at_the_gate(&api, "d-1", HELLO).answer().await.expect(200);
    assert_eq!(again.json(), first.json());
    assert_eq!(api.node.head_position(), head);
    let outcomes: Vec<_> = last_deliveries(&api).await.as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["repeated", "accepted"]);
}

#[tokio::test]
async fn deliveries_are_filtered_by_outcome_and_time() {
    let api = TestApi::new();
    at_the_gate(&api, "d-1", HELLO).answer().await.expect(202);
    at_the_gate(&api, "d-1", HELLO).answer().await.expect(200);
    let gate = api.post("/hooks/demo/gate").with("content-type", "application/json").with("x-github-event", "hello");
    gate.body(HELLO).answer().await.expect_problem(401, "signature_refused");
    let api = &api;
    let outcomes = async |query: &str| {
        let shown = api.get(&format!("/api/v1/hooks/demo/gate?{query}")).by("viewer").answer().await.expect(200).json();
        let deliveries = shown["deliveries"].as_array().unwrap();
        deliveries.iter().map(|one| one["outcome"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(outcomes("").await, ["refused", "repeated", "accepted"]);
    assert_eq!(outcomes("outcome=refused").await, ["refused"]);
    assert_eq!(outcomes("outcome=accepted,repeated&since=2020-01-01T00:00:00Z").await, ["repeated", "accepted"]);
    assert_eq!(outcomes("since=2100-01-01T00:00:00Z").await, [""; 0]);
    api.get("/api/v1/hooks/demo/gate?outcome=lost").by("viewer").answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn delivery_without_a_match_succeeds_and_writes_nothing() {
    let api = TestApi::new();
    let head = api.node.head_position();
    let answer = api.post("/hooks/demo/door").json(&json!({ "kind": "bye" })).answer().await.expect(200);
    assert_eq!(answer.json(), json!({ "events": [] }));
    assert_eq!(api.node.head_position(), head);
}

async fn refused_without_a_trace(asked: TestRequest<'_>, api: &TestApi, status: u16, code: &str) -> Answer {
    let head = api.node.head_position();
    let answer = asked.answer().await;
    assert_eq!(api.node.head_position(), head, "a refused delivery wrote something");
    assert_eq!(answer.json()["code"], code);
    answer.expect(status)
}

#[tokio::test]
async fn delivery_without_a_valid_signature_leaves_no_record() {
    let api = TestApi::new();
    let gate = || api.post("/hooks/demo/gate").with("content-type", "application/json").with("x-github-event", "hello");
    let right = signature(HELLO, GATE_SECRET);
    let altered = signature(r#"{"name":"ana"} "#, GATE_SECRET);
    let of_another = signature(HELLO, "another-secret-of-thirty-two-chars");
    let of_nobody = signature(HELLO, "");
    refused_without_a_trace(gate().body(HELLO), &api, 401, "signature_refused").await;
    refused_without_a_trace(gate().with("x-hub-signature", &right).body(HELLO), &api, 401, "signature_refused").await;
    for wrong in [&altered, &of_another, &of_nobody, "sha256=", "sha256=zz", "sha1=00", &right[..right.len() - 1]] {
        refused_without_a_trace(gate().with("x-hub-signature-256", wrong).body(HELLO), &api, 401, "signature_refused").await;
    }
    let doubled = gate().with("x-hub-signature-256", &right).with("x-hub-signature-256", &right).body(HELLO);
    refused_without_a_trace(doubled, &api, 401, "signature_refused").await;
    let last = last_deliveries(&api).await;
    assert_eq!((&last[0]["outcome"], &last[0]["code"]), (&json!("refused"), &json!("signature_refused")));
    assert!(last[0]["why"].as_str().is_some_and(|why| !why.is_empty()), "{last}");
}

#[tokio::test]
async fn unknown_hook_always_gets_the_same_404() {
    let api = TestApi::new();
    for hook in ["/hooks/demo/nothing", "/hooks/nothing/door", "/hooks/demo", "/hooks/demo/door/", "/hooks/demo/do%6fr", "/hooks/Demo/door"]
    {
        api.post(hook).json(&json!({})).answer().await.expect_problem(404, "not_found");
    }
    let other_method = api.ask(Method::GET, "/hooks/demo/door").answer().await;
    assert_eq!(other_method.header("allow"), Some("POST, OPTIONS"));
    other_method.expect_problem(405, "method_not_allowed");
    // Whether the hook exists or not, another method gets the same answer.
    api.ask(Method::GET, "/hooks/demo/nothing").answer().await.expect_problem(405, "method_not_allowed");
}

#[tokio::test(start_paused = true)]
async fn oversized_body_is_rejected_before_it_is_read() {
    let api = TestApi::within(Limits { delivery_bytes_max: 16, ..Limits::default() });
    let announced = api.post("/hooks/demo/door").with("content-type", "application/json").with("content-length", "17");
    // The announced body never comes: the answer must not wait for it long.
    let never = axum::body::Body::from_stream(tokio_stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    announced.body(never).answer().await.expect_problem(413, "body_too_large");
    let unannounced = api.post("/hooks/demo/door").with("content-type", "application/json").body(r#"{"kind":"hello","name":"ana"}"#);
    unannounced.answer().await.expect_problem(413, "body_too_large");
}

#[tokio::test(start_paused = true)]
async fn slow_body_is_not_awaited() {
    let api = TestApi::new();
    let never = axum::body::Body::from_stream(tokio_stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let asked = api.post("/hooks/demo/door").with("content-type", "application/json").body(never);
    asked.answer().await.expect_problem(408, "body_timeout");
}

#[tokio::test]
async fn verified_but_invalid_delivery_is_rejected_and_recorded() {
    let api = TestApi::new();
    at_the_gate(&api, "d-1", r#"{"name":1}"#).answer().await.expect_problem(422, "payload_invalid");
    assert_eq!(api.node.newest().kind(), "delivery.refused");
    at_the_gate(&api, "d-2", "{").answer().await.expect_problem(400, "body_not_json");
    assert_eq!(api.node.kinds().iter().filter(|kind| **kind == "delivery.refused").count(), 2);
}

#[tokio::test]
async fn delivery_that_is_not_json_is_rejected() {
    let api = TestApi::new();
    for kind in ["multipart/form-data; boundary=x", "text/xml", "application/x-www-form-urlencoded"] {
        let asked = api.post("/hooks/demo/door").with("content-type", kind).body("<!DOCTYPE x SYSTEM \"file:///etc/passwd\">");
        asked.answer().await.expect_problem(415, "unsupported_media_type");
    }
    let compressed = api.post("/hooks/demo/door").with("content-type", "application/json").with("content-encoding", "compress").body("x");
    compressed.answer().await.expect_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn hook_without_a_usable_secret_accepts_nothing() {
    for secret in [None, Some(""), Some("short")] {
        let api = TestApi::new();
        api.node.set_gate_secret(secret);
        let head = api.node.head_position();
        at_the_gate(&api, "d-1", HELLO).answer().await.expect_problem(503, "hook_unusable");
        let signed_with_nothing = api.post("/hooks/demo/gate").with("content-type", "application/json");
        let signed_with_nothing =
            signed_with_nothing.with("x-hub-signature-256", &signature(HELLO, secret.unwrap_or_default())).body(HELLO);
        signed_with_nothing.answer().await.expect_problem(503, "hook_unusable");
        assert_eq!(api.node.head_position(), head);
    }
}

#[tokio::test]
async fn node_signs_and_sends_a_test_delivery_to_itself() {
    let api = TestApi::new();
    let body = json!({ "event": "hello", "body": { "name": "ana" } });
    let sent = api.post("/api/v1/hooks/demo/gate/send").by("author").json(&body).answer().await.expect(202);
    let event = sent.json()["events"][0]["id"].as_str().unwrap().to_owned();
    let shown = api.get(&format!("/api/v1/events/{event}")).by("viewer").answer().await.expect(200).json();
    assert_eq!((&shown["sensor"], &shown["actor"]), (&json!("demo.gate"), &json!("token/ana.author")));
    assert_eq!(last_deliveries(&api).await[0]["outcome"], "accepted");
    api.post("/api/v1/hooks/demo/gate/send").by("viewer").json(&body).answer().await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn test_delivery_to_an_hmac_sensor_needs_no_event() {
    let api = TestApi::new();
    let body = json!({ "body": { "id": "one", "name": "ana" } });
    let sent = api.post("/api/v1/hooks/demo/seal/send").by("author").json(&body).answer().await.expect(202);
    let event = sent.json()["events"][0]["id"].as_str().unwrap().to_owned();
    let shown = api.get(&format!("/api/v1/events/{event}")).by("viewer").answer().await.expect(200).json();
    assert_eq!((&shown["sensor"], &shown["payload"]), (&json!("demo.seal"), &json!({ "name": "ana" })));
}

#[tokio::test]
async fn hook_list_has_the_url_and_the_state_of_the_secret() {
    let api = TestApi::new();
    let hooks = api.get("/api/v1/hooks").by("viewer").answer().await.expect(200).json();
    let hook = |name: &str| hooks["items"].as_array().unwrap().iter().find(|hook| hook["ref"] == name).unwrap().clone();
    assert_eq!(hook("demo.gate")["url"], "https://ensue.example.test/hooks/demo/gate");
    assert_eq!((&hook("demo.gate")["secret"], &hook("demo.gate")["key"]), (&json!("set"), &json!("demo.secret")));
    assert_eq!((&hook("demo.door")["secret"], &hook("demo.door")["key"]), (&json!("not_needed"), &json!(null)));
    assert!(!hooks.to_string().contains(GATE_SECRET));
}

#[tokio::test]
async fn dead_letter_shows_its_reason_and_the_delivery() {
    let api = TestApi::new();
    at_the_gate(&api, "d-1", r#"{"name":1}"#).answer().await.expect(422);
    let list = api.get("/api/v1/dead_letters?sensor=demo.gate").by("viewer").answer().await.expect(200).json();
    let letter = &list["items"][0];
    assert!(letter["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{list:#}");
    assert!(letter["delivered"].is_null(), "only a single dead letter shows its delivery");
    let path = format!("/api/v1/dead_letters/{}", letter["id"].as_str().unwrap());
    assert_eq!(api.get(&path).by("viewer").answer().await.expect(200).json()["delivered"], json!({ "name": 1 }));
    let others = api.get("/api/v1/dead_letters?sensor=demo.door").by("viewer").answer().await.expect(200).json();
    assert_eq!(others["items"], json!([]));
}

/// The id of the newest dead letter.
async fn newest_letter(api: &TestApi) -> String {
    let list = api.get("/api/v1/dead_letters").by("viewer").answer().await.expect(200).json();
    list["items"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn delivery_that_is_still_invalid_stays_a_dead_letter() {
    let api = TestApi::new();
    at_the_gate(&api, "d-1", r#"{"name":1}"#).answer().await.expect(422);
    let letter = newest_letter(&api).await;
    let retry = format!("/api/v1/dead_letters/{letter}/retry");
    api.post(&retry).by("viewer").answer().await.expect_problem(403, "forbidden");
    api.post(&retry).by("operator").answer().await.expect_problem(422, "payload_invalid");
    let shown = api.get(&format!("/api/v1/dead_letters/{letter}")).by("viewer").answer().await.expect(200).json();
    assert_eq!((&shown["status"], &shown["settled"]), (&json!("open"), &json!(null)));
}

#[tokio::test]
async fn dead_letter_is_dismissed_once() {
    let api = TestApi::new();
    at_the_gate(&api, "d-1", r#"{"name":1}"#).answer().await.expect(422);
    let letter = newest_letter(&api).await;
    let dismiss = format!("/api/v1/dead_letters/{letter}/dismiss");
    let dry = format!("{dismiss}?dry_run=true");
    api.post(&dry).by("operator").answer().await.expect(204);
    api.post(&dismiss).by("operator").answer().await.expect(200);
    api.post(&dismiss).by("operator").answer().await.expect_problem(409, "dead_letter_not_open");
    api.post(&dry).by("operator").answer().await.expect_problem(409, "dead_letter_not_open");
    api.post(&dismiss.replace("dismiss", "retry")).by("operator").answer().await.expect_problem(409, "dead_letter_not_open");
    let shown = api.get(&format!("/api/v1/dead_letters/{letter}")).by("viewer").answer().await.expect(200).json();
    assert_eq!((&shown["status"], &shown["settled"]["by"]), (&json!("dismissed"), &json!("token/ana.operator")));
    let open = api.get("/api/v1/dead_letters?status=open").by("viewer").answer().await.expect(200).json();
    assert_eq!(open["items"], json!([]));
}

#[tokio::test]
async fn bulk_change_of_dead_letters_requires_a_filter() {
    let api = TestApi::new();
    for delivery in ["d-1", "d-2", "d-3"] {
        at_the_gate(&api, delivery, r#"{"name":1}"#).answer().await.expect(422);
    }
    api.post("/api/v1/dead_letters/dismiss").by("operator").answer().await.expect_problem(400, "bad_parameter");
    api.post("/api/v1/dead_letters/retry?sensor=demo.gate").by("operator").answer().await.expect_problem(400, "bad_parameter");
    let both = "/api/v1/dead_letters/dismiss?sensor=demo.gate&action=demo.say";
    api.post(both).by("operator").answer().await.expect_problem(400, "bad_parameter");
    let retried = "/api/v1/dead_letters/retry?sensor=demo.gate&until=2100-01-01T00:00:00Z";
    let refused = api.post(retried).by("operator").answer().await.expect(200).json();
    let codes: Vec<_> = refused["items"].as_array().unwrap().iter().map(|item| item["error"]["code"].clone()).collect();
    assert_eq!(codes, ["payload_invalid"; 3]);
    let dismissed = api.post("/api/v1/dead_letters/dismiss?sensor=demo.gate").by("operator").answer().await.expect(200).json();
    assert!(dismissed["items"].as_array().unwrap().iter().all(|item| item["error"].is_null()), "{dismissed:#}");
    let again = api.post("/api/v1/dead_letters/dismiss?sensor=demo.gate").by("operator").answer().await.expect(200).json();
    assert_eq!(again["items"], json!([]));
}
