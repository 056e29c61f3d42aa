//! Replays and backtests: who may run them, and how they wait for each other.

use std::time::Duration;

use serde_json::json;

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
