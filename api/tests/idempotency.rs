//! `Idempotency-Key`: a repeated request is not carried out again, and gets the first answer.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Method;
use ensue_api::routes::Demand;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::support::contract::DOCUMENT;
use crate::support::{Answer, TestApi, fill_path};

const EVENTS: &str = "/api/v1/events";
const ECHO: &str = "/api/v1/actions/core.echo/execute";

fn hello(name: &str) -> Value {
    json!({ "trigger": "demo.hello", "payload": { "name": name } })
}

async fn send(api: &TestApi, path: &str, key: &str, body: &Value) -> Answer {
    api.post(path).by("admin").with("idempotency-key", key).json(body).answer().await
}

/// The parts of an answer that a repeat must have in common with it.
fn answer_parts(answer: &Answer) -> (u16, Option<&str>, Option<&str>, &str) {
    (answer.status.as_u16(), answer.header("ensue-position"), answer.header("location"), &answer.text)
}

#[tokio::test]
async fn repeated_request_is_carried_out_once_and_gets_the_first_answer() {
    let mut api = TestApi::new();
    let message = |message: &str| json!({ "params": { "message": message } });
    let keyed = |name: &str, key: &str| json!({ "trigger": "demo.hello", "payload": { "name": name }, "dedupe": key });
    for (number, (path, body)) in [
        (EVENTS, hello("ana")),
        (EVENTS, json!([hello("ana"), keyed("bo", "1"), keyed("bo", "1"), hello("cy")])),
        // All of it exists already, and its repeat reports the same.
        (EVENTS, json!([keyed("bo", "1")])),
        (EVENTS, json!([])),
        (ECHO, message("hi")),
        ("/api/v1/rules/demo.greet/shadow", json!({})),
        ("/api/v1/rules/demo.greet/enable", json!({})),
        // This changes nothing, and its repeat must not either.
        ("/api/v1/rules/demo.greet/enable", json!({})),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("key-{number}");
        let first = send(&api, path, &key, &body).await;
        assert!(first.status.is_success(), "{path}: {}", first.text);
        // Later changes do not affect the first answer.
        api.event("di").await;
        api.post("/api/v1/rules/demo.greet/disable").by("admin").answer().await.expect(200);
        let (head, kinds) = (api.node.head_position(), api.node.kinds().len());
        assert_eq!(answer_parts(&send(&api, path, &key, &body).await), answer_parts(&first), "{path}");
        api.restart();
        assert_eq!(answer_parts(&send(&api, path, &format!("\"{key}\""), &body).await), answer_parts(&first), "{path} after a restart");
        assert_eq!((api.node.head_position(), api.node.kinds().len()), (head, kinds), "{path}: nothing was done");
    }
}

#[tokio::test]
async fn repeated_cancel_with_a_key_returns_the_execution_as_it_was() {
    let api = TestApi::new();
    let id = send(&api, ECHO, "run", &json!({ "params": { "message": "hi" } })).await.expect(202).json()["id"].clone();
    let path = format!("/api/v1/executions/{}/cancel", id.as_str().unwrap());
    let first = send(&api, &path, "cancel", &json!({})).await;
    assert_eq!(first.status, 202, "{}", first.text);
    api.node.succeed(id.as_str().unwrap(), "{}");
    assert_eq!(answer_parts(&send(&api, &path, "cancel", &json!({})).await), answer_parts(&first));
    send(&api, &path, "another", &json!({})).await.expect_problem(409, "execution_not_open");
}

#[tokio::test]
async fn repeated_test_delivery_with_a_key_is_sent_once() {
    let api = TestApi::new();
    let path = "/api/v1/hooks/demo/gate/send";
    let body = json!({ "event": "hello", "body": { "name": "ana" } });
    let first = send(&api, path, "1", &body).await;
    assert!(first.status.is_success(), "{}", first.text);
    let head = api.node.head_position();
    assert_eq!(answer_parts(&send(&api, path, "1", &body).await), answer_parts(&first));
    assert_eq!(api.node.head_position(), head);
}

#[tokio::test]
async fn key_belongs_to_one_request_and_its_caller() {
    let api = TestApi::new();
    let first = send(&api, EVENTS, "1", &hello("ana")).await.expect(202).json();
    send(&api, EVENTS, "1", &hello("bo")).await.expect_problem(422, "idempotency_key_reused");
    send(&api, ECHO, "1", &hello("ana")).await.expect_problem(422, "idempotency_key_reused");
    let other = api.post(EVENTS).by("author").with("idempotency-key", "1").json(&hello("bo")).answer().await.expect(202);
    assert_ne!(other.json()["id"], first["id"]);
    let position = api.node.head_position();
    for bad in ["", "a b", "\"a", &"k".repeat(256)] {
        send(&api, EVENTS, bad, &hello("ana")).await.expect_problem(400, "idempotency_key_invalid");
    }
    let doubled = api.post(EVENTS).by("admin").with("idempotency-key", "1").with("idempotency-key", "1").json(&hello("ana"));
    doubled.answer().await.expect_problem(400, "idempotency_key_invalid");
    assert_eq!(api.node.head_position(), position);
}

#[tokio::test]
async fn rejected_request_can_be_repeated_with_its_key() {
    let api = TestApi::new();
    send(&api, EVENTS, "1", &json!({ "trigger": "demo.hello", "payload": {} })).await.expect_problem(422, "payload_invalid");
    send(&api, EVENTS, "1", &hello("ana")).await.expect(202);
}

#[tokio::test]
async fn second_request_with_a_key_in_use_is_rejected() {
    let api = TestApi::new();
    let body = json!({ "params": { "message": "hi" } }).to_string();
    let ask = || api.post(ECHO).by("admin").with("idempotency-key", "1").with("content-type", "application/json");
    let (send_body, sent) = oneshot::channel::<String>();
    let first = ask().body(Body::from_stream(stream::once(sent))).answer();
    let second = async {
        let told = ask().body(body.clone()).answer().await;
        send_body.send(body.clone()).unwrap();
        told
    };
    let (first, second) = tokio::join!(first, second);
    first.expect(202);
    second.expect_problem(409, "request_under_way");
    ask().body(body.clone()).answer().await.expect(202);
    assert_eq!(api.node.kinds().iter().filter(|kind| **kind == "execution.requested").count(), 1);
}

/// Sets the key `demo.code`.
async fn set_key(api: &TestApi) {
    api.ask(Method::PUT, "/api/v1/keys/demo.code").by("admin").json(&json!({ "value": "s3cret" })).answer().await.expect(201);
}

/// The paths of changes: those that support a key, and those that ignore it.
fn paths(api: &TestApi) -> (BTreeSet<String>, BTreeSet<String>) {
    let routes = api.front.routes().iter().filter(|route| route.method == Method::POST && route.demands != Demand::Nothing);
    routes.map(|route| route.path.clone()).partition(|path| {
        let parameters = DOCUMENT["paths"][path]["post"]["parameters"].as_array().unwrap();
        parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key")
    })
}

#[tokio::test]
async fn every_path_that_supports_keys_acts_once_per_key() {
    let api = TestApi::new();
    let greet = |verb: &str| format!("/api/v1/rules/demo.greet/{verb}");
    let watch = |verb: &str| format!("/api/v1/sensors/demo.watch/{verb}");
    let (held_up, ended) = (api.execution().await, api.execution().await);
    api.node.succeed(&ended, "{}");
    let mut asked = vec![
        ("/api/v1/events", EVENTS.to_owned(), hello("ana")),
        ("/api/v1/events/{id}/emit_again", format!("{EVENTS}/{}/emit_again", api.event("bo").await), json!({})),
        ("/api/v1/actions/{ref}/execute", ECHO.to_owned(), json!({ "params": { "message": "hi" } })),
        ("/api/v1/executions/{id}/cancel", format!("/api/v1/executions/{}/cancel", api.execution().await), json!({})),
        ("/api/v1/executions/{id}/pause", format!("/api/v1/executions/{held_up}/pause"), json!({})),
        ("/api/v1/executions/{id}/resume", format!("/api/v1/executions/{held_up}/resume"), json!({})),
        ("/api/v1/executions/{id}/rerun", format!("/api/v1/executions/{ended}/rerun"), json!({})),
        ("/api/v1/rules/{ref}/disable", greet("disable"), json!({})),
        ("/api/v1/rules/{ref}/shadow", greet("shadow"), json!({})),
        ("/api/v1/rules/{ref}/enable", greet("enable"), json!({})),
        ("/api/v1/sensors/{ref}/disable", watch("disable"), json!({})),
        ("/api/v1/sensors/{ref}/enable", watch("enable"), json!({})),
        ("/api/v1/sensors/{ref}/restart", watch("restart"), json!({})),
        ("/api/v1/sensors/{ref}/rewind", watch("rewind"), json!({ "to": { "line": 7 } })),
        (
            "/api/v1/hooks/{pack}/{sensor}/send",
            "/api/v1/hooks/demo/gate/send".to_owned(),
            json!({ "event": "hello", "body": { "name": "ana" } }),
        ),
        ("/api/v1/inquiries/{id}/respond", format!("/api/v1/inquiries/{}/respond", api.inquiry().await), json!({ "answer": true })),
        ("/api/v1/inquiries/{id}/cancel", format!("/api/v1/inquiries/{}/cancel", api.inquiry().await), json!({})),
        ("/api/v1/clock/accept", "/api/v1/clock/accept".to_owned(), json!({})),
        ("/api/v1/tokens", "/api/v1/tokens".to_owned(), json!({ "name": "bo", "roles": ["viewer"] })),
        ("/api/v1/keys/{ref}/rotate", "/api/v1/keys/demo.code/rotate".to_owned(), json!({ "generate": { "bytes": 32 }, "overlap": "1h" })),
        ("/api/v1/tokens/{name}/rotate", "/api/v1/tokens/ana.viewer/rotate".to_owned(), json!({ "overlap": "1h" })),
        ("/api/v1/identities", "/api/v1/identities".to_owned(), json!({ "name": "cy" })),
        ("/api/v1/identities/{name}/disable", "/api/v1/identities/cy/disable".to_owned(), json!({})),
        ("/api/v1/identities/{name}/enable", "/api/v1/identities/cy/enable".to_owned(), json!({})),
        ("/api/v1/identities/{name}/issuers", "/api/v1/identities/cy/issuers".to_owned(), json!({ "issuer": "corp", "subject": "4711" })),
        ("/api/v1/grants", "/api/v1/grants".to_owned(), json!({ "subject": "everyone", "role": "viewer" })),
    ];
    set_key(&api).await;
    for outcome in
        [json!({ "outcome": "succeeded", "result": 1 }), json!({ "outcome": "failed", "error": "no" }), json!({ "outcome": "retry" })]
    {
        asked.push(("/api/v1/executions/{id}/settle", format!("/api/v1/executions/{}/settle", api.indeterminate().await), outcome));
    }
    for path in ["/api/v1/parked_reactions/{position}/retry", "/api/v1/parked_reactions/{position}/dismiss"] {
        asked.push((path, path.replace("{position}", &api.park_reaction().await.to_string()), json!({})));
    }
    for deal in ["retry", "dismiss"] {
        let failed = api.execution().await;
        api.node.fail(&failed);
        asked.push((
            if deal == "retry" { "/api/v1/dead_letters/{id}/retry" } else { "/api/v1/dead_letters/{id}/dismiss" },
            format!("/api/v1/dead_letters/{failed}/{deal}"),
            json!({}),
        ));
    }
    let mut told: BTreeSet<String> = asked.iter().map(|(path, ..)| (*path).to_owned()).collect();
    // With a key, each of a list is requested once, as `executions.rs` shows.
    told.insert("/api/v1/executions".to_owned());
    // With a key, each of many is changed once, as `many.rs` shows.
    told.extend(["cancel", "pause", "resume", "rerun"].map(|change| format!("/api/v1/executions/{change}")));
    told.extend(["retry", "dismiss"].map(|deal| format!("/api/v1/dead_letters/{deal}")));
    // `cli/tests/schedules.rs` covers it with a scheduled rule.
    told.insert("/api/v1/rules/{ref}/backfill".to_owned());
    assert_eq!(told, paths(&api).0, "this test requests each path that supports a key");
    for (number, (_, path, body)) in asked.iter().enumerate() {
        let key = format!("each-{number}");
        let first = send(&api, path, &key, body).await;
        assert!(first.status.is_success(), "{path}: {}", first.text);
        let (head, kinds) = (api.node.head_position(), api.node.kinds().len());
        let again = send(&api, path, &key, body).await;
        if path == "/api/v1/tokens" {
            // Its secret is shown only once.
            again.expect_problem(409, "token_name_taken");
        } else if path.starts_with("/api/v1/tokens/") {
            again.expect_problem(409, "secret_shown");
        } else {
            assert_eq!(answer_parts(&again), answer_parts(&first), "{path}");
        }
        assert_eq!((api.node.head_position(), api.node.kinds().len()), (head, kinds), "{path}: nothing was done");
        send(&api, EVENTS, &key, &hello("another")).await.expect_problem(422, "idempotency_key_reused");
    }
}

#[tokio::test]
async fn repeated_settlement_or_decision_succeeds_only_with_the_same_key() {
    let mut api = TestApi::new();
    let settle = format!("/api/v1/executions/{}/settle", api.indeterminate().await);
    let retry = format!("/api/v1/parked_reactions/{}/retry", api.park_reaction().await);
    let dismiss = format!("/api/v1/parked_reactions/{}/dismiss", api.park_reaction().await);
    for (path, body, status, code) in [
        (&settle, json!({ "outcome": "succeeded" }), 409, "execution_not_open"),
        (&retry, json!({}), 404, "not_found"),
        (&dismiss, json!({}), 404, "not_found"),
    ] {
        let first = send(&api, path, path, &body).await;
        assert!(first.status.is_success(), "{path}: {}", first.text);
        api.restart();
        assert_eq!(answer_parts(&send(&api, path, path, &body).await), answer_parts(&first), "{path}");
        send(&api, path, &format!("{path}/another"), &body).await.expect_problem(status, code);
    }
    send(&api, &settle, &settle, &json!({ "outcome": "retry" })).await.expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn paths_that_record_nothing_ignore_keys() {
    let api = TestApi::new();
    set_key(&api).await;
    let passing = paths(&api).1;
    assert!(!passing.is_empty());
    for path in &passing {
        if path == "/api/v1/keys/{ref}/reveal" {
            // Each time that a value is shown is recorded.
            for _ in 0..2 {
                send(&api, "/api/v1/keys/demo.code/reveal", "1", &json!({})).await.expect(200);
            }
            assert_eq!(api.node.kinds().iter().filter(|kind| **kind == "key.revealed").count(), 2);
            continue;
        }
        if path == "/api/v1/tokens/{name}/login_links" {
            // Each repeat makes a code of its own, which is never in the log.
            continue;
        }
        if path.starts_with("/api/v1/auth/device/") {
            // No terminal waits under the code, each time.
            let body = match path.strip_suffix("/decide") {
                Some(_) => json!({ "user_code": "BBBB-BBBB", "decision": "deny" }),
                None => json!({ "user_code": "BBBB-BBBB" }),
            };
            for _ in 0..2 {
                send(&api, path, "1", &body).await.expect(404);
            }
            continue;
        }
        if path.starts_with("/api/v1/auth/otp") || ["/api/v1/auth/password", "/api/v1/identities/{name}/reset"].contains(&path.as_str()) {
            // Each repeat proves who the caller is, or makes a code of its own, which is never in the log.
            continue;
        }
        if path == "/api/v1/inquiries/{id}/links" {
            // Likewise.
            continue;
        }
        if ["/api/v1/sensors/{ref}/test", "/api/v1/connections/{name}/test"].contains(&path.as_str()) {
            // Each repeat asks the other side again, and is recorded as one more test.
            continue;
        }
        if path == "/api/v1/hooks/{pack}/{sensor}/confirm" {
            // A repeat confirms what waits by then.
            for _ in 0..2 {
                send(&api, "/api/v1/hooks/demo/gate/confirm", "1", &json!({})).await.expect(200);
            }
            continue;
        }
        if path == "/api/v1/inquiries/{id}/delegate" {
            // A repeat changes nothing, as a test of the core shows.
            continue;
        }
        if path == "/api/v1/auth/logout" {
            // A token has no session to end, and a session ends once.
            send(&api, path, "1", &json!({})).await.expect(404);
            continue;
        }
        let body = match path.as_str() {
            "/api/v1/rules/{ref}/explain" => json!({ "event": hello("ana") }),
            "/api/v1/rules/backtest" => json!({ "rule": "demo.greet" }),
            "/api/v1/packs/{pack}/check" => json!({ "files": {} }),
            "/api/v1/executions/replay" | "/api/v1/log/verify" | "/api/v1/views/rebuild" | "/api/v1/master_key/rotate" => json!({}),
            other => panic!("list here the body for `{other}`, which ignores keys"),
        };
        let head = api.node.head_position();
        for _ in 0..2 {
            let answer = send(&api, &fill_path(path), "1", &body).await;
            assert!(answer.status.is_success(), "{path}: {}", answer.text);
        }
        assert_eq!(api.node.head_position(), head, "{path}: nothing is recorded");
    }
    // So the key is still unused.
    send(&api, ECHO, "1", &json!({ "params": { "message": "hi" } })).await.expect(202);
}

#[tokio::test]
async fn waiting_request_does_not_block_a_repeat_with_its_key() {
    let api = TestApi::new();
    let body = json!({ "params": { "message": "hi" } });
    let first = api.post(ECHO).by("admin").with("idempotency-key", "1").with("prefer", "wait=30").json(&body).answer();
    let again = async {
        while !api.node.kinds().contains(&"attempt.started") {
            tokio::task::yield_now().await;
        }
        // The caller has an answer by now, or waits.
        api.event("ana").await;
        let repeat = send(&api, ECHO, "1", &body).await.expect(202).json();
        api.node.succeed(repeat["id"].as_str().unwrap(), "{}");
        repeat
    };
    let (first, again) = tokio::join!(first, again);
    let first = first.expect(200).json();
    assert_eq!((&first["id"], &first["status"], &again["status"]), (&again["id"], &json!("succeeded"), &json!("running")));
}
