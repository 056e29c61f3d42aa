//! Replays and backtests: who may run them, and how they wait for each other.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, ENDLESS_RULE, TestApi};

fn backtest<'a>(api: &'a TestApi, role: &str, rule: &str) -> impl Future<Output = Answer> + use<'a> {
    api.post("/api/v1/rules/backtest").by(role).json(&json!({ "rule": rule })).answer()
}

/// Waits until so many replays and backtests run or wait.
async fn until_there_are(api: &TestApi, count: usize) {
    let line = format!("ensue_queue_depth{{queue=\"rehearsals\"}} {count}\n");
    while !api.get("/metrics").by("admin").answer().await.expect(200).text.contains(&line) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn viewer_may_run_neither_replays_nor_backtests() {
    let api = TestApi::new();
    for (path, asked) in [("/api/v1/rules/backtest", json!({ "rule": "demo.greet" })), ("/api/v1/executions/replay", json!({}))] {
        for role in ["viewer", "release_managers"] {
            api.post(path).by(role).json(&asked).answer().await.expect_problem(403, "forbidden");
        }
        for role in ["author", "operator", "admin"] {
            api.post(path).by(role).json(&asked).answer().await.expect(200);
        }
    }
}

#[tokio::test]
async fn caller_has_a_share_of_rehearsals_and_others_get_their_turn() {
    let api = TestApi::new();
    let mut first = Box::pin(backtest(&api, "operator", ENDLESS_RULE));
    let mut second = Box::pin(backtest(&api, "operator", ENDLESS_RULE));
    let third = async {
        until_there_are(&api, 2).await;
        backtest(&api, "operator", "demo.greet").await.expect_problem(429, "over_share")
    };
    tokio::select! {
        biased;
        answer = &mut first => panic!("it ended: {}", answer.text),
        answer = &mut second => panic!("it ended: {}", answer.text),
        _ = third => {}
    }
    let mut others = Box::pin(backtest(&api, "author", "demo.greet"));
    tokio::select! {
        biased;
        answer = &mut first => panic!("it ended: {}", answer.text),
        answer = &mut second => panic!("it ended: {}", answer.text),
        answer = &mut others => panic!("it did not wait: {}", answer.text),
        () = until_there_are(&api, 3) => {}
    }
    // The callers disconnect, which stops what they requested.
    drop((first, second));
    tokio::time::timeout(Duration::from_secs(60), others).await.expect("its turn comes").expect(200);
}

/// Starts a backtest that continues without the request, and returns its path.
async fn start(api: &TestApi, role: &str, rule: &str) -> String {
    let answer = api
        .post("/api/v1/rules/backtest")
        .by(role)
        .with("prefer", "respond-async")
        .json(&json!({ "rule": rule }))
        .answer()
        .await
        .expect(202);
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    answer.header("location").unwrap().to_owned()
}

/// Reads a backtest until something holds for it.
async fn until(api: &TestApi, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let shown = api.get(path).by("operator").answer().await.expect(200).json();
        if holds(&shown) {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn backtest_without_its_request_shows_its_progress_and_then_its_result() {
    let api = TestApi::new();
    let before = api.node.head_position();
    let path = start(&api, "operator", ENDLESS_RULE).await;
    let shown = until(&api, &path, |shown| shown["result"] != Value::Null).await;
    assert_eq!((&shown["status"], &shown["progress"], &shown["result"]["judged"]), (&json!("running"), &json!(0.25), &json!(3)));
    api.ask(Method::DELETE, &path).by("operator").answer().await.expect(204);
    api.get(&path).by("operator").answer().await.expect_problem(404, "not_found");
    until_there_are(&api, 0).await;
    let path = start(&api, "operator", "demo.greet").await;
    let ended = until(&api, &path, |shown| shown["status"] != "running").await;
    assert_eq!((&ended["status"], &ended["progress"], &ended["error"]), (&json!("succeeded"), &json!(1.0), &Value::Null));
    assert_eq!(ended["result"]["judged"], 0);
    assert_eq!(api.node.head_position(), before, "nothing is recorded");
}

#[tokio::test]
async fn backtest_is_hidden_from_everybody_but_its_owner() {
    let api = TestApi::new();
    let path = start(&api, "operator", ENDLESS_RULE).await;
    for role in ["author", "admin"] {
        api.get(&path).by(role).answer().await.expect_problem(404, "not_found");
        api.ask(Method::DELETE, &path).by(role).answer().await.expect_problem(404, "not_found");
    }
    api.ask(Method::DELETE, &path).by("operator").answer().await.expect(204);
}

#[tokio::test]
async fn backtests_without_their_requests_count_towards_the_share_of_their_owner() {
    let api = TestApi::new();
    let paths = [start(&api, "operator", ENDLESS_RULE).await, start(&api, "operator", ENDLESS_RULE).await];
    let third = api.post("/api/v1/rules/backtest").by("operator").with("prefer", "respond-async");
    third.json(&json!({ "rule": ENDLESS_RULE })).answer().await.expect_problem(429, "over_share");
    for path in paths {
        api.ask(Method::DELETE, &path).by("operator").answer().await.expect(204);
    }
    until_there_are(&api, 0).await;
}

#[tokio::test]
async fn backtest_that_its_owner_does_not_ask_about_stops() {
    let api = TestApi::new();
    let path = start(&api, "operator", ENDLESS_RULE).await;
    until_there_are(&api, 1).await;
    // The clock is paused, and the test advances it, because the backtest runs on a thread of its own.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(59)).await;
    api.get(&path).by("operator").answer().await.expect(200);
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    until_there_are(&api, 0).await;
    api.get(&path).by("operator").answer().await.expect_problem(404, "not_found");
}
