//! The stream of changes: what it tells, to whom, and where it continues.

use axum::http::Method;
use serde_json::{Value, json};

use crate::reach::{deploy, token_with_grant};
use crate::streams::Stream;
use crate::support::TestApi;

const CHANGES: &str = "/api/v1/changes";

/// Opens a stream and waits until it has begun.
async fn open_stream(api: &TestApi, path: &str, role: &str) -> Stream {
    let mut stream = Stream::of(api.get(path).by(role)).await;
    stream.next_block().await.unwrap();
    stream
}

#[tokio::test]
async fn stream_reports_which_things_changed_and_nothing_of_their_content() {
    let api = TestApi::new();
    let mut stream = open_stream(&api, CHANGES, "viewer").await;
    let event = api.event("Ana").await;
    let told = stream.next().await.unwrap();
    assert_eq!(told.data["changed"]["events"], json!([event]), "{told:?}");
    assert_eq!((&told.data["more"], &told.data["reset"]), (&json!([]), &json!(false)));
    assert!(!told.data.to_string().contains("Ana"));
    let list = api.get(&format!("/api/v1/events?id={event}")).by("viewer").answer().await.expect(200);
    let shown: u64 = list.header("ensue-position").unwrap().parse().unwrap();
    assert!(shown >= told.id.unwrap(), "the lists show what the stream reported");
}

#[tokio::test]
async fn stream_is_limited_to_requested_kinds_and_ids() {
    let api = TestApi::new();
    let mut kinds = open_stream(&api, &format!("{CHANGES}?of=executions,inquiries"), "viewer").await;
    let eu = deploy(&api, "eu").await;
    let mut ids = open_stream(&api, &format!("{CHANGES}?of=executions&id={eu}"), "viewer").await;
    let us = deploy(&api, "us").await;
    api.node.fail(&eu);
    let mut seen = Vec::new();
    while !seen.contains(&json!(us)) {
        let told = kinds.next().await.unwrap().data;
        assert_eq!(told["changed"].as_object().unwrap().keys().collect::<Vec<_>>(), ["executions"], "{told}");
        seen.extend(told["changed"]["executions"].as_array().unwrap().clone());
    }
    assert_eq!(ids.next().await.unwrap().data["changed"], json!({ "executions": [eu] }));
    api.get(&format!("{CHANGES}?of=executions,artifacts")).by("viewer").answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn stream_continues_after_the_last_event_and_says_if_changes_are_missing() {
    let api = TestApi::new();
    let mut stream = open_stream(&api, CHANGES, "viewer").await;
    api.event("Ana").await;
    let known = stream.next().await.unwrap().id.unwrap().to_string();
    drop(stream);
    let missed = api.event("Bo").await;
    let mut stream = Stream::of(api.get(CHANGES).by("viewer").with("last-event-id", &known)).await;
    let told = stream.next().await.unwrap();
    assert_eq!((&told.data["changed"]["events"], &told.data["reset"]), (&json!([missed]), &json!(false)));
    // What another process of the node noted is not known here.
    api.node.forget_changes();
    let mut stream = Stream::of(api.get(CHANGES).by("viewer").with("last-event-id", &known)).await;
    let told = stream.next().await.unwrap();
    assert_eq!((&told.data["changed"], &told.data["reset"]), (&json!({}), &json!(true)));
    assert!(told.data["more"].as_array().unwrap().contains(&json!("executions")));
    assert_eq!(told.id.unwrap(), api.node.head_position());
    let head = api.node.head_position().to_string() + "0";
    api.get(CHANGES).by("viewer").with("last-event-id", &head).answer().await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn stream_has_only_what_its_caller_sees() {
    let api = TestApi::new();
    let token = token_with_grant(&api, "ana", "viewer", &json!({ "labels": { "site": ["eu"] } })).await;
    let mut stream = Stream::of(api.get(CHANGES).bearing(&token)).await;
    stream.next_block().await.unwrap();
    let hidden = deploy(&api, "us").await;
    let seen = deploy(&api, "eu").await;
    let told = stream.next().await.unwrap().data;
    assert_eq!(told["changed"], json!({ "executions": [seen] }), "{hidden} is absent");
    let denied = api.get(&format!("{CHANGES}?of=parked_reactions")).bearing(&token).answer().await;
    denied.expect_problem(403, "forbidden");
    let sender = token_with_grant(&api, "bo", "ingester", &json!({ "packs": ["demo"] })).await;
    api.get(CHANGES).bearing(&sender).answer().await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn people_learn_only_of_inquiries_that_ask_them() {
    let api = TestApi::new();
    let mut stream = open_stream(&api, CHANGES, "release_managers").await;
    let ask = async |who: &str| {
        let params = json!({ "title": "Ship?", "answer": { "type": "object" }, "assignees": [who] });
        let run = api.post("/api/v1/actions/core.inquiry/execute").by("admin").json(&json!({ "params": params }));
        run.answer().await.expect(202).json()["inquiry"].clone()
    };
    ask("role:others").await;
    let asked: Value = ask("role:release_managers").await;
    assert_eq!(stream.next().await.unwrap().data["changed"], json!({ "inquiries": [asked] }));
}

#[tokio::test(start_paused = true)]
async fn stream_ends_when_the_rights_of_its_caller_change() {
    let api = TestApi::new();
    let token = token_with_grant(&api, "ana", "viewer", &json!({ "labels": { "site": ["eu"] } })).await;
    let other = json!({ "subject": "identity:ana", "role": "viewer", "on": { "labels": { "site": ["us"] } } });
    api.post("/api/v1/grants").by("admin").json(&other).answer().await.expect(201);
    let mut stream = Stream::of(api.get(CHANGES).bearing(&token)).await;
    stream.next_block().await.unwrap();
    let grants = api.get("/api/v1/grants?subject=identity:ana").by("admin").answer().await.expect(200).json();
    let path = format!("/api/v1/grants/{}", grants["items"][0]["id"].as_str().unwrap());
    api.ask(Method::DELETE, &path).by("admin").answer().await.expect(204);
    let end = stream.next().await.unwrap();
    assert_eq!((end.name.as_str(), &end.data["reason"]), ("end", &json!("rights_changed")));
    let mut stream = open_stream(&api, CHANGES, "viewer").await;
    api.node.revoke("viewer");
    assert_eq!(stream.next().await.unwrap().data["reason"], "not_allowed");
}

/// Follows the kinds until each has changed, and returns what was reported of them.
async fn await_changes(stream: &mut Stream, kinds: &[&str]) -> Value {
    let mut seen = json!({});
    while seen.as_object().unwrap().len() < kinds.len() {
        let told = stream.next().await.unwrap().data;
        for more in told["more"].as_array().unwrap() {
            seen[more.as_str().unwrap()] = json!("more");
        }
        for (kind, ids) in told["changed"].as_object().unwrap() {
            seen[kind] = ids.clone();
        }
    }
    seen
}

#[tokio::test]
async fn stream_reports_rules_by_their_refs_and_settings_as_a_whole() {
    let api = TestApi::new();
    let mut rules = open_stream(&api, &format!("{CHANGES}?of=rules,queues"), "admin").await;
    api.event("ana").await;
    assert_eq!(await_changes(&mut rules, &["rules", "queues"]).await, json!({ "rules": ["demo.greet"], "queues": "more" }));
    let mut settings = open_stream(&api, &format!("{CHANGES}?of=vars,tokens,grants,identities"), "admin").await;
    let write = async |method: Method, path: &str, body: Value, status: u16| {
        api.ask(method, path).by("admin").json(&body).answer().await.expect(status);
    };
    write(Method::PUT, "/api/v1/vars/color", json!({ "value": "red" }), 201).await;
    token_with_grant(&api, "ana", "viewer", &json!({ "packs": ["demo"] })).await;
    let expected = json!({ "vars": "more", "tokens": "more", "grants": "more", "identities": "more" });
    assert_eq!(await_changes(&mut settings, &["vars", "tokens", "grants", "identities"]).await, expected);
    api.ask(Method::DELETE, "/api/v1/vars/color").by("admin").answer().await.expect(204);
    assert_eq!(await_changes(&mut settings, &["vars"]).await, json!({ "vars": "more" }), "what is removed is reported too");
}

#[tokio::test]
async fn caller_with_limits_learns_only_of_rules_of_its_packs_and_of_no_settings() {
    let api = TestApi::new();
    let token = token_with_grant(&api, "ana", "viewer", &json!({ "packs": ["other"] })).await;
    let mut stream = Stream::of(api.get(&format!("{CHANGES}?of=rules,executions")).bearing(&token)).await;
    stream.next_block().await.unwrap();
    let of_demo = token_with_grant(&api, "bo", "viewer", &json!({ "packs": ["demo"] })).await;
    let mut inside = Stream::of(api.get(&format!("{CHANGES}?of=rules")).bearing(&of_demo)).await;
    inside.next_block().await.unwrap();
    api.event("ana").await;
    assert_eq!(inside.next().await.unwrap().data["changed"], json!({ "rules": ["demo.greet"] }));
    api.front.stop();
    assert_eq!(stream.next().await.unwrap().name, "end", "nothing was reported before the end");
}
