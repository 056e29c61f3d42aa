//! Rate limits: how many requests of a class one caller may send in a period, with the test's own clock.

use std::time::Duration;

use axum::http::Method;
use ensue_api::Rates;
use serde_json::json;

use crate::support::{Answer, TestApi};

const HEADERS: [&str; 5] = ["ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];

fn rates() -> Rates {
    let rate = |text: &str| Some(text.parse().unwrap());
    Rates { reads: rate("3/30s"), writes: rate("2/1m"), hooks: rate("1/10s"), anonymous: None }
}

fn rate_headers(answer: &Answer) -> [Option<&str>; 5] {
    HEADERS.map(|name| answer.header(name))
}

async fn read(api: &TestApi, role: &str) -> Answer {
    api.get("/api/v1/rules").by(role).answer().await
}

async fn send(api: &TestApi, role: &str) -> Answer {
    let hello = json!({ "trigger": "demo.hello", "payload": { "name": "ana" } });
    api.post("/api/v1/events").by(role).json(&hello).answer().await
}

async fn deliver(api: &TestApi) -> Answer {
    let id = api.node.head_position().to_string();
    api.post("/hooks/demo/door").with("x-id", &id).json(&json!({ "kind": "hello", "name": "ana" })).answer().await
}

#[tokio::test(start_paused = true)]
async fn rate_limit_headers_are_accurate_and_calls_succeed_after_retry_after() {
    let api = TestApi::with_rates(rates());
    let first = read(&api, "viewer").await.expect(200);
    assert_eq!(rate_headers(&first), [r#""reads";q=3;w=30"#, r#""reads";r=2;t=10"#, "3", "2", "10"].map(Some));
    read(&api, "viewer").await.expect(200);
    let last = read(&api, "viewer").await.expect(200);
    assert_eq!(last.header("ratelimit"), Some(r#""reads";r=0;t=30"#));
    let refused = read(&api, "viewer").await;
    assert_eq!((refused.header("retry-after"), refused.header("x-ratelimit-remaining")), (Some("10"), Some("0")));
    let problem = refused.expect_problem(429, "rate_limited");
    assert_eq!(problem["detail"], "too many requests of the class `reads`: the limit for each caller is 3 requests in 30 seconds");
    tokio::time::advance(Duration::from_secs(9)).await;
    read(&api, "viewer").await.expect(429);
    tokio::time::advance(Duration::from_secs(1)).await;
    read(&api, "viewer").await.expect(200);
    read(&api, "viewer").await.expect(429);
}

#[tokio::test(start_paused = true)]
async fn each_caller_and_class_has_its_own_rate() {
    let api = TestApi::with_rates(rates());
    for _ in 0..2 {
        send(&api, "author").await.expect(202);
    }
    let head = api.node.head_position();
    assert_eq!(send(&api, "author").await.header("ratelimit-policy"), Some(r#""writes";q=2;w=60"#));
    send(&api, "author").await.expect_problem(429, "rate_limited");
    assert_eq!(api.node.head_position(), head, "nothing of it is done");
    send(&api, "admin").await.expect(202);
    read(&api, "author").await.expect(200);
    deliver(&api).await.expect(202);
    let refused = deliver(&api).await;
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), (Some("10"), Some(r#""hooks";r=0;t=10"#)));
    refused.expect_problem(429, "rate_limited");
    tokio::time::advance(Duration::from_secs(10)).await;
    deliver(&api).await.expect(202);
}

#[tokio::test(start_paused = true)]
async fn every_authenticated_answer_has_rate_limit_headers_whatever_its_status() {
    let api = TestApi::with_rates(rates());
    let missing = api.get("/api/v1/rules/demo.nothing").by("admin").answer().await;
    assert_eq!(missing.header("ratelimit"), Some(r#""reads";r=2;t=10"#));
    missing.expect_problem(404, "not_found");
    let invalid = api.post("/api/v1/events").by("admin").json(&json!({})).answer().await;
    assert_eq!(invalid.header("x-ratelimit-remaining"), Some("1"));
    let unknown = api.post("/hooks/demo/nothing").json(&json!({})).answer().await;
    assert_eq!(rate_headers(&unknown), [None; 5], "what is not there is not counted");
    for (method, path) in [(Method::GET, "/livez"), (Method::GET, "/api/v1/events"), (Method::GET, "/nothing")] {
        let open = api.ask(method, path).answer().await;
        assert_eq!(rate_headers(&open), [None; 5], "{path}: an unauthenticated caller has no name");
    }
}

#[tokio::test]
async fn webhook_handshake_reports_the_rate_per_minute() {
    let api = TestApi::with_rates(rates());
    let asked = |path: &str| api.ask(Method::OPTIONS, path).by("admin").with("webhook-request-origin", "sender.example").answer();
    assert_eq!(asked("/hooks/demo/door").await.header("webhook-allowed-rate"), Some("6"));
    assert_eq!(asked("/api/v1/events").await.header("webhook-allowed-rate"), Some("2"));
    let api = TestApi::new();
    let asked = api.ask(Method::OPTIONS, "/hooks/demo/door").with("webhook-request-origin", "sender.example").answer();
    assert_eq!(asked.await.header("webhook-allowed-rate"), Some("*"));
}

#[tokio::test]
async fn requests_without_a_configured_rate_have_no_rate_headers() {
    let api = TestApi::new();
    for _ in 0..20 {
        assert_eq!(rate_headers(&read(&api, "viewer").await.expect(200)), [None; 5]);
        assert_eq!(rate_headers(&send(&api, "admin").await.expect(202)), [None; 5]);
        assert_eq!(rate_headers(&deliver(&api).await.expect(202)), [None; 5]);
    }
}
