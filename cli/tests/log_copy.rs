//! `ensue log copy`: the copy of a stopped node's data directory has the same chain, and a node continues it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::data_of_0_1::{KEPT_POSITION, shows_the_kept_data, unpack_old_data, value};
use crate::support::{CommandOutput, NodeFolder};

fn copy(place: &NodeFolder, from: &str, to: &str, more: &[&str]) -> CommandOutput {
    let mut command = place.ensue(&["log", "copy", "--from", from, "--to", to, "-o", "json"]);
    CommandOutput::by(command.args(more))
}

/// Copies a directory, and returns the head of the copy.
#[track_caller]
fn expect_copy(place: &NodeFolder, from: &str, to: &str, more: &[&str]) -> Value {
    let printed = copy(place, from, to, more);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    serde_json::from_str(&printed.stdout).unwrap()
}

fn log(place: &NodeFolder, data: &str) -> PathBuf {
    place.path().join(data).join("log.sqlite")
}

/// Returns the head that is stored in a log.
fn head(log: &Path) -> Value {
    let text: String = value(log, "SELECT json_object('position', position, 'chain', lower(hex(chain))) FROM logs");
    serde_json::from_str(&text).unwrap()
}

fn definitions(log: &Path) -> String {
    value(log, "SELECT group_concat(coalesce(sql, name), ';') FROM (SELECT sql, name FROM sqlite_schema ORDER BY type, name)")
}

/// Replaces the node's own directory with another one.
fn use_instead(place: &NodeFolder, data: &str) {
    std::fs::rename(place.data(), place.path().join("before")).unwrap();
    std::fs::rename(place.path().join(data), place.data()).unwrap();
}

/// A place whose log has a large body, a delayed execution, and no fact that 0.1 does not know.
fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: Sells.\n");
    place.write_pack_file("shop/triggers/order.yaml", "payload: { lines: any }\n");
    place
}

fn order() -> Value {
    json!({ "trigger": "shop.order", "payload": { "lines": vec![json!({ "article": "lamp", "count": 1 }); 200] }, "dedupe": "order-1" })
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_to_0_1_and_back_has_the_same_chain_and_a_node_continues_it() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let event = client.post("/events", &order()).await.body["id"].as_str().unwrap().to_owned();
    let later = json!({ "params": { "message": "late" }, "start_at": "2999-01-01T00:00:00Z" });
    let late = client.post("/actions/core.echo/execute", &later).await.body["id"].as_str().unwrap().to_owned();
    let records = client.records().await;
    node.stop_well();

    let at = head(&log(&place, "data"));
    assert_eq!(expect_copy(&place, "data", "old", &["--format", "0.1"]), at);
    assert_eq!(expect_copy(&place, "old", "new", &[]), at);
    let about = |data: &str| {
        let number = |sql: &str| value::<i64>(&log(&place, data), sql);
        (number("PRAGMA user_version"), number("PRAGMA page_size"), number("SELECT max(encoding) FROM records"))
    };
    assert_eq!((about("old"), about("new")), ((1, 8_192, 2), (2, 16_384, 3)));

    use_instead(&place, "new");
    let node = place.start();
    let client = node.client();
    assert_eq!(client.records().await[..records.len()], records);
    let shown = client.get(&format!("/events/{event}")).await;
    assert_eq!(shown["payload"], order()["payload"]);
    assert_eq!(client.get(&format!("/executions/{late}")).await["status"], "delayed");
    let again = client.post("/events", &order()).await;
    assert_eq!(again.body["id"], event.as_str(), "{again:#?}");
    node.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_0_1_began_is_copied_without_changing_it() {
    let place = unpack_old_data();
    let original = log(&place, "data");
    let (at, tables) = (head(&original), definitions(&original));
    assert_eq!(at["position"], KEPT_POSITION);
    assert_eq!(expect_copy(&place, "data", "new", &[]), at);
    assert_eq!(expect_copy(&place, "data", "old", &["--format", "0.1"]), at);
    assert_eq!((value::<i64>(&original, "PRAGMA user_version"), definitions(&original)), (1, tables.clone()));
    assert_eq!(definitions(&log(&place, "old")), tables, "the copy is exactly what 0.1 creates");
    use_instead(&place, "new");
    let node = place.start();
    shows_the_kept_data(&place, &node).await;
    let naps = "/executions?action=kept.nap&status=succeeded";
    node.client().until(naps, |page| page["items"][0].is_object()).await;
    node.stop_well();

    // By now, steps of workflows were requested under this release, whose scope and principal 0.1 cannot read.
    let refused = copy(&place, "data", "older", &["--format", "0.1"]);
    assert_eq!(refused.code, Some(6), "{refused:?}");
    for part in ["the record at position ", "`execution.requested` with schema 9", "release 0.1", "nothing was written"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    assert!(!place.path().join("older").exists());
    assert_eq!(expect_copy(&place, "data", "again", &[]), head(&log(&place, "data")));
}

#[tokio::test(flavor = "multi_thread")]
async fn running_node_and_used_target_are_refused() {
    let place = place();
    let node = place.start();
    let refused = copy(&place, "data", "new", &[]);
    assert!(refused.code == Some(6) && refused.stderr.contains("is in use by process"), "{refused:?}");
    assert!(!place.path().join("new").exists());
    node.stop_well();

    std::fs::create_dir(place.path().join("new")).unwrap();
    std::fs::write(place.path().join("new/theirs"), "").unwrap();
    for target in ["new", "data"] {
        let refused = copy(&place, "data", target, &[]);
        assert!(refused.code == Some(6) && refused.stderr.contains("is not empty"), "{refused:?}");
    }
    let missing = copy(&place, "nowhere", "copy", &[]);
    assert!(missing.code == Some(5) && !place.path().join("nowhere").exists(), "{missing:?}");
    let refused = copy(&place, "data", "copy", &["--format", "0.0"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    // Nothing listens on this port.
    let unreachable = copy(&place, "postgres://127.0.0.1:1/ensue", "copy", &[]);
    assert!(unreachable.code == Some(7) && unreachable.stderr.contains("cannot be reached"), "{unreachable:?}");
    assert!(!place.path().join("copy").exists());
}
