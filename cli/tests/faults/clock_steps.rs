//! The wall clock steps forward and back, under a running node and between two nodes: libfaketime fakes it.
//!
//! The monotonic clock stays the kernel's. If libfaketime is not installed, the test is skipped by name; if
//! `CI` is `true`, it fails.

use reqwest::Method;
use serde_json::{Value, json};

use super::ledger::Patience;
use super::trial::{SentAgain, Trial};
use crate::database_server::{Server, is_missing};
use crate::support::skipped::not_installed;
use crate::support::wall_clock::{WallClock, libfaketime};
use crate::support::{ADMIN_TOKEN, Answer, Client, CommandOutput, Node, NodeFolder, until};

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;

/// Waits until the node has recorded a clock step after a position, and moves the position to it.
///
/// It reads only what was recorded since, because messages keep arriving while it looks: a look at the whole log takes longer each
/// time, and more arrives meanwhile.
async fn step_is_noted(node: &Node, after: &mut u64) -> Value {
    let client = node.client();
    let look = async || client.records_of("clock.stepped", *after).await.into_iter().next();
    let step = until("a step of the clock is recorded", look).await;
    *after = step["position"].as_u64().unwrap();
    step
}

async fn count_lost(node: &Node) -> usize {
    node.client().records_of("attempt.lost", 0).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_step_is_recorded_and_breaks_neither_order_nor_leases_nor_ids() {
    const TEST: &str = "clock_step_is_recorded_and_breaks_neither_order_nor_leases_nor_ids";
    let Some(library) = libfaketime() else {
        return not_installed(TEST, "libfaketime");
    };
    clock_steps_break_nothing(WallClock::for_nodes_at(NodeFolder::new(), &library)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_step_of_a_node_on_a_database_breaks_nothing() {
    const TEST: &str = "clock_step_of_a_node_on_a_database_breaks_nothing";
    if is_missing() {
        return;
    }
    let Some(library) = libfaketime() else {
        return not_installed(TEST, "libfaketime");
    };
    // The clock of the database is right.
    let (server, place) = (Server::instance(), NodeFolder::new());
    let key = place.path().join("master.key");
    let place = place.with_log_in(&server.address(&server.new_database()), &key);
    clock_steps_break_nothing(WallClock::for_nodes_at(place, &library)).await;
}

async fn clock_steps_break_nothing((clock, place): (WallClock, NodeFolder)) {
    let mut trial = Trial::at(place).await;
    let mut last_step = 0;
    let (mut node, mut senders) = trial.start(Patience::GoesOn);
    // The keys of deliveries are kept for a day of the node's time, so within a day nothing counts twice.
    for off in [90, 0, 5 * HOUR, 5 * HOUR - 90, -5 * HOUR, 0] {
        trial.ledger.note(&format!("the wall clock is off by {off} s"));
        clock.is_off_by(off);
        step_is_noted(&node, &mut last_step).await;
    }
    senders.stop().await;
    assert_eq!(count_lost(&node).await, 0, "a lease ended because the wall clock stepped");
    // A step between two nodes is not observed; the next start records it if the clock is behind the log. The
    // order is still that of the positions.
    assert_eq!(node.stop(), Some(0));
    trial.node_is_gone();
    clock.is_off_by(-HOUR);
    trial.ledger.note("a node starts an hour back");
    (node, senders) = trial.start(Patience::GoesOn);
    step_is_noted(&node, &mut last_step).await;
    clock.is_off_by(0);
    step_is_noted(&node, &mut last_step).await;
    senders.stop().await;
    // Attempts that the stop left open were lost with it.
    let lost_before = count_lost(&node).await;
    for n in 0..trial.ledger.sent_count() {
        trial.ledger.deliver(&node.client(), n).await;
    }
    senders = super::ledger::Senders::start(&node.client(), &trial.ledger, Patience::GoesOn);
    for off in [YEAR, 0, 10 * YEAR, -10 * YEAR, 0] {
        trial.ledger.note(&format!("the wall clock is off by {off} s"));
        clock.is_off_by(off);
        step_is_noted(&node, &mut last_step).await;
    }
    senders.stop().await;
    assert_eq!(count_lost(&node).await, lost_before, "a lease ended because the wall clock stepped");
    trial.holds(node, SentAgain::Unacknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_held_by_a_clock_jump_are_reported_and_fire_once_accepted() {
    const TEST: &str = "timers_held_by_a_clock_jump_are_reported_and_fire_once_accepted";
    let Some(library) = libfaketime() else {
        return not_installed(TEST, "libfaketime");
    };
    let (clock, place) = WallClock::for_nodes_at(NodeFolder::new(), &library);
    let node = place.start();
    let client = node.client();
    let finding = async |client: &Client| {
        let doctor = client.get("/doctor").await;
        doctor["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "clock").cloned().expect("it looks at the clock")
    };
    assert_eq!(finding(&client).await["verdict"], "good");
    let start_at = (ensue_engine::time::Timestamp::from_micros(unix_micros()).plus_millis(7_200_000)).to_string();
    let asked = client.post("/actions/core.echo/execute", &json!({ "params": { "message": "late" }, "start_at": start_at })).await;
    let path = format!("/executions/{}", asked.body["id"].as_str().unwrap());
    clock.is_off_by(5 * HOUR);
    step_is_noted(&node, &mut 0).await;
    // What the node knows of its clock, and its lists, follow the log on their own.
    let finding_becomes = async |verdict: &str| {
        until(&format!("the verdict `{verdict}`"), async || Some(finding(&client).await).filter(|finding| finding["verdict"] == verdict))
            .await
    };
    let held = finding_becomes("warning").await;
    assert!(held["hint"].as_str().is_some_and(|hint| hint.contains("ensue clock accept")), "{held}");
    client.until(&path, |shown| shown["status"] == "delayed").await;
    let accepted = CommandOutput::by(place.ensue(&["clock", "accept"]).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    assert_eq!(accepted.code, Some(0), "{}", accepted.stderr);
    client.until(&path, |shown| shown["status"] == "succeeded").await;
    finding_becomes("good").await;
    let kinds = client.records().await.iter().filter(|record| record["kind"] == "clock.accepted").count();
    let again = client.post("/clock/accept", &json!({})).await;
    let after = client.records().await.iter().filter(|record| record["kind"] == "clock.accepted").count();
    assert_eq!((again.status.as_u16(), kinds, after), (200, 1, 1), "{again:#?}");
}

/// Reads who the holder of a token is, and returns the status and the code of an error.
async fn asked_as(client: &Client, token: &Value) -> (u16, String) {
    let request = client.anonymous(Method::GET, "/api/v1/me").bearer_auth(token.as_str().unwrap());
    let answer = Answer::of(request.send().await.unwrap()).await;
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_that_is_set_back_revives_no_credential() {
    const TEST: &str = "clock_that_is_set_back_revives_no_credential";
    let Some(library) = libfaketime() else {
        return not_installed(TEST, "libfaketime");
    };
    let (clock, place) = WallClock::for_nodes_at(NodeFolder::new(), &library);
    let node = place.start();
    let client = node.client();
    let made = client.post("/tokens", &json!({ "name": "short", "roles": ["viewer"], "expires_in": "1h" })).await;
    let token = made.body["token"].clone();
    let login = client.anonymous(Method::POST, "/api/v1/auth/login").json(&json!({ "token": ADMIN_TOKEN }));
    let pair = Answer::of(login.send().await.unwrap()).await.body;
    let link = client.post("/tokens/short/login_links", &json!({})).await.body["code"].clone();
    assert!(link.is_string(), "{link}");
    let opens = async |client: &Client| {
        let request = client.anonymous(Method::POST, "/api/v1/sessions").json(&json!({ "code": link }));
        let answer = Answer::of(request.send().await.unwrap()).await;
        (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default().to_owned())
    };
    for credential in [&token, &pair["access_token"]] {
        assert_eq!(asked_as(&client, credential).await.0, 200);
    }
    let mut last_step = 0;
    // Each step is short enough to be trusted at once.
    for off in [3_000, 6_000] {
        clock.is_off_by(off);
        step_is_noted(&node, &mut last_step).await;
    }
    let expired = (401, "token_expired".to_owned());
    let are_over = async |client: &Client, when: &str| {
        for credential in [&token, &pair["access_token"]] {
            assert_eq!(asked_as(client, credential).await, expired, "{when}");
        }
        assert!(opens(client).await.0 >= 400, "{when}");
    };
    are_over(&client, "by the clock").await;
    clock.is_off_by(-10 * 24 * HOUR);
    step_is_noted(&node, &mut last_step).await;
    are_over(&client, "after the clock was set back").await;
}

fn unix_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
