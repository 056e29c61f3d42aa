//! The kept data directory of version 0.1: this release opens it, shows everything in it, and continues it.
//!
//! `fixtures/README.md` describes what is in it and how it was made.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use rusqlite::Connection;
use rusqlite::types::FromSql;
use serde_json::{Value, json};

use crate::support::skipped::not_installed;
use crate::support::wall_clock::{WallClock, libfaketime};
use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Delivery, Node, NodeFolder};

const TARBALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/data-0.1.tar.gz");

/// The newest position of the kept log.
pub(crate) const KEPT_POSITION: u64 = 74;

/// Creates a place with the kept directory. Its vault has the secret of the GitHub hook.
pub(crate) fn unpack_old_data() -> NodeFolder {
    let place = NodeFolder::new().without_variable("ENSUE_KEY_GITHUB_WEBHOOK_SECRET_FILE");
    let unpacked = Command::new("tar").args(["xzf", TARBALL, "--no-same-owner"]).current_dir(place.path()).status().unwrap();
    assert!(unpacked.success());
    place
}

/// Returns the one value that a query of a SQLite file returns.
pub(crate) fn value<T: FromSql>(file: &Path, sql: &str) -> T {
    Connection::open(file).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn log_version(place: &NodeFolder) -> i64 {
    value(&place.data().join("log.sqlite"), "PRAGMA user_version")
}

/// Runs a command with a token against a node, and requires that it succeeds.
#[track_caller]
fn ensue(place: &NodeFolder, node: &Node, token: &str, arguments: &[&str]) -> String {
    let printed = CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", token));
    assert_eq!(printed.code, Some(0), "{arguments:?}: {printed:?}");
    printed.stdout
}

async fn items(client: &Client, path: &str) -> Vec<Value> {
    client.get(path).await["items"].as_array().unwrap().clone()
}

/// Returns the only execution of an action.
async fn only(client: &Client, action: &str) -> String {
    let found = items(client, &format!("/executions?action={action}")).await;
    assert_eq!(found.len(), 1, "{action}: {found:#?}");
    found[0]["id"].as_str().unwrap().to_owned()
}

/// Checks that everything in the kept directory that does not change is shown.
pub(crate) async fn shows_the_kept_data(place: &NodeFolder, node: &Node) {
    let client = node.client();
    let deliveries = items(&client, "/events?trigger=github.pull_request").await;
    let mut numbers = Vec::new();
    for event in &deliveries {
        let event = client.get(&format!("/events/{}", event["id"].as_str().unwrap())).await;
        numbers.push(event["payload"]["number"].as_u64().unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [41, 42, 43]);
    let orders = items(&client, "/events?trigger=kept.order").await;
    let order = client.get(&format!("/events/{}", orders[0]["id"].as_str().unwrap())).await;
    assert_eq!((orders.len(), &order["payload"]), (1, &json!({ "number": 17, "text": "A short one." })));

    let greeted = items(&client, "/executions?action=kept.hello&status=succeeded").await;
    assert_eq!(greeted.len(), 4);
    let mut printed = Vec::new();
    for execution in &greeted {
        printed.push(client.get(&format!("/executions/{}/logs", execution["id"].as_str().unwrap())).await.to_string());
    }
    assert_eq!(printed.iter().filter(|logs| logs.contains("hello Ada")).count(), 1, "{printed:?}");
    let delayed = items(&client, "/executions?action=kept.hello&status=delayed").await;
    assert_eq!(delayed.len(), 1, "{delayed:#?}");
    assert_eq!(items(&client, "/keys").await[0]["ref"], "github.webhook_secret");
    let tokens = items(&client, "/tokens").await;
    assert!(tokens.iter().any(|token| token["name"] == "maria"), "{tokens:#?}");

    let why = ensue(place, node, ADMIN_TOKEN, &["why", deliveries[0]["id"].as_str().unwrap()]);
    assert!(why.contains("kept.greet") && why.contains("kept.hello"), "{why}");
    let listed = ensue(place, node, ADMIN_TOKEN, &["executions", "list"]);
    assert!(["kept.hello", "kept.ship", "kept.nap"].iter().all(|action| listed.contains(action)), "{listed}");
    let records = client.records().await;
    assert!(records.len() as u64 >= KEPT_POSITION);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_0_1_is_opened_shown_and_continued() {
    let place = unpack_old_data();
    assert_eq!(log_version(&place), 1);
    let node = place.start();
    let client = node.client();
    shows_the_kept_data(&place, &node).await;

    // The time of the sleep passed long ago.
    let nap = only(&client, "kept.nap").await;
    let nap = client.until(&format!("/executions/{nap}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!((&nap["status"], &nap["result"]), (&json!("succeeded"), &json!({ "said": "awake" })));

    let ship = only(&client, "kept.ship").await;
    let inquiry = items(&client, "/inquiries?status=open").await[0]["id"].as_str().unwrap().to_owned();
    let maria = std::fs::read_to_string(place.path().join("maria.token")).unwrap();
    ensue(&place, &node, maria.trim(), &["inquiries", "respond", &inquiry, "--set", "ship=true"]);
    let ship = client.until(&format!("/executions/{ship}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!((&ship["status"], &ship["result"]), (&json!("succeeded"), &json!({ "said": "shipped" })));

    let accepted = client.deliver(&Delivery::pull_request("of-this-release")).await.unwrap();
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:#?}");
    let position = accepted.body["events"][0]["position"].as_u64().unwrap();
    node.stop_well();

    let log = place.data().join("log.sqlite");
    assert_eq!(log_version(&place), 2);
    let encoding = |at: u64| value::<i64>(&log, &format!("SELECT encoding FROM records WHERE place = {at}"));
    assert_eq!(encoding(position), 3, "`json+zstd-d1`");
    let old: i64 = value(&log, &format!("SELECT max(encoding) FROM records WHERE place <= {KEPT_POSITION}"));
    assert_eq!(old, 2, "what is stored is not stored again");
    let verified = CommandOutput::by(&mut place.ensue(&["log", "verify", "--data", "data"]));
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_that_0_1_remembered_is_still_known() {
    const TEST: &str = "key_that_0_1_remembered_is_still_known";
    let Some(library) = libfaketime() else {
        return not_installed(TEST, "libfaketime");
    };
    let (clock, place) = WallClock::for_nodes_at(unpack_old_data(), &library);
    // Keys are remembered for a day, so the node must think that it is an hour before that day ends.
    let until: i64 = value(&place.data().join("log.sqlite"), "SELECT min(until) FROM seen");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    clock.is_off_by(until / 1_000_000 - 3_600 - now.cast_signed());
    let node = place.start();
    let client = node.client();
    let first = items(&client, "/events?trigger=kept.order").await[0]["id"].clone();
    let order = |number: u64| json!({ "trigger": "kept.order", "payload": { "number": number }, "dedupe": format!("order-{number}") });
    let kept = json!({ "trigger": "kept.order", "payload": { "number": 17, "text": "A short one." }, "dedupe": "order-17" });
    let again = client.post("/events", &kept).await;
    assert_eq!((again.status, &again.body["id"]), (StatusCode::OK, &first), "{again:#?}");
    let other = client.post("/events", &order(18)).await;
    assert_eq!(other.status, StatusCode::ACCEPTED, "{other:#?}");
    node.stop_well();
}
