//! Keys over time: a rotation overlaps, a value is revealed after a record says so, and an expiry is reported.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{ADMIN_TOKEN, Delivery, Node, Place, Printed, SECRET, signature};

const KEY: &str = "github.webhook_secret";

/// The same delivery, signed with another secret.
fn signed_with(delivery: Delivery, secret: &str) -> Delivery {
    let signature = signature(secret.as_bytes(), &delivery.body);
    delivery.with_header("x-hub-signature-256", Some(&signature))
}

/// Runs a command against a node with an input.
fn ensue(place: &Place, node: &Node, arguments: &[&str], input: &[u8]) -> Printed {
    let mut command = place.ensue(arguments);
    Printed::by_feeding(command.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN), input)
}

/// A place in which the hook's secret is in no file, because it would be set from there at each start.
fn place() -> Place {
    Place::new().without_variable("ENSUE_KEY_GITHUB_WEBHOOK_SECRET_FILE")
}

async fn delivered(node: &Node, secret: &str, id: &str) -> StatusCode {
    node.client().deliver(&signed_with(Delivery::pull_request(id), secret)).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_secret_of_a_hook_overlaps_and_is_then_destroyed() {
    let place = place();
    let node = place.start();
    assert_eq!(ensue(&place, &node, &["keys", "set", KEY], SECRET.as_bytes()).code, Some(0));
    assert!(delivered(&node, SECRET, "before").await.is_success());
    let rotated = ensue(&place, &node, &["keys", "rotate", KEY, "--generate", "32", "--overlap", "24h", "--expires", "10d"], b"");
    assert!(rotated.code == Some(0) && rotated.stderr.contains("accepted for 24h"), "{rotated:?}");
    let revealed = ensue(&place, &node, &["keys", "reveal", KEY], b"");
    assert!(revealed.code == Some(0), "{revealed:?}");
    let new = revealed.stdout;
    assert_eq!(new.len(), 64, "{new}");
    assert!(delivered(&node, &new, "new").await.is_success());
    assert!(delivered(&node, SECRET, "old").await.is_success());
    let before = ensue(&place, &node, &["keys", "reveal", KEY, "--version", "1"], b"");
    assert_eq!(before.stdout, SECRET);
    let versions = ensue(&place, &node, &["keys", "versions", KEY], b"");
    assert!(versions.stdout.contains("current") && versions.stdout.contains("accepted"), "{versions:?}");
    let doctor = ensue(&place, &node, &["doctor"], b"");
    assert!(doctor.stdout.contains("`github.webhook_secret` expires at "), "{doctor:?}");

    // The overlap survives a restart.
    node.kill();
    let node = place.start();
    assert!(delivered(&node, SECRET, "old, again").await.is_success());

    let rotated = ensue(&place, &node, &["keys", "rotate", KEY, "--overlap", "1500ms"], b"the third secret value\n");
    assert!(rotated.code == Some(0), "{rotated:?}");
    assert_eq!(delivered(&node, SECRET, "too old").await, StatusCode::UNAUTHORIZED);
    assert!(delivered(&node, &new, "still accepted").await.is_success());
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert_eq!(delivered(&node, &new, "over").await, StatusCode::UNAUTHORIZED);
    assert!(delivered(&node, "the third secret value", "third").await.is_success());
    let gone = ensue(&place, &node, &["keys", "reveal", KEY, "--version", "2"], b"");
    assert!(gone.code != Some(0) && gone.stderr.contains("is not stored"), "{gone:?}");

    let kinds: Vec<String> = node
        .client()
        .records()
        .await
        .iter()
        .filter(|record| record["stream"] == format!("key/{KEY}"))
        .map(|record| record["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["key.set", "key.rotated", "key.expiry_set", "key.expiring", "key.revealed", "key.revealed", "key.rotated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_reacts_once_to_a_key_that_expires_soon() {
    let place = Place::new();
    place.write_pack_file("watch/pack.yaml", "name: watch\nversion: 1.0.0\ndescription: Watches keys.\n");
    place.write_pack_file("watch/rules/expiring.yaml", "description: Reacts to a key that expires.\ntrigger: core.key_expiring\naction: core.echo\nwith: { message: '${{ event.payload.key }} expires' }\n");
    let node = place.start();
    let put = ensue(&place, &node, &["keys", "set", "watch.token", "--expires", "13d"], b"a value that expires");
    assert!(put.code == Some(0), "{put:?}");
    let client = node.client();
    let done = client.until("/executions?rule=watch.expiring&status=succeeded", |list| !list["items"].as_array().unwrap().is_empty()).await;
    assert_eq!(done["items"].as_array().unwrap().len(), 1);
    node.kill();
    let node = place.start();
    let executions = node.client().get("/executions?rule=watch.expiring").await;
    assert_eq!(executions["items"].as_array().unwrap().len(), 1);
    assert_eq!(node.client().get("/keys/watch.token").await["version"], json!(1));
}

#[test]
fn key_of_a_stopped_node_is_rotated_and_revealed() {
    let place = Place::new();
    place.start().stop();
    let data = place.data();
    let keys = |arguments: &[&str], input: &[u8]| {
        let arguments: Vec<&str> = [&["keys"], arguments, &["--data", data.to_str().unwrap()]].concat();
        Printed::by_feeding(&mut place.ensue(&arguments), input)
    };
    assert!(keys(&["set", "demo.token", "--expires", "90d"], b"first").code == Some(0));
    assert!(keys(&["rotate", "demo.token", "--overlap", "7d"], b"second").code == Some(0));
    assert_eq!(keys(&["reveal", "demo.token"], b"").stdout, "second");
    let document = keys(&["reveal", "demo.token", "-o", "json"], b"").stdout;
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&document).unwrap(),
        json!({ "ref": "demo.token", "version": 2, "value": "second", "encoding": "text" })
    );
    assert_eq!(keys(&["reveal", "demo.token", "--version", "1"], b"").stdout, "first");
    let refused = keys(&["rotate", "demo.token", "--overlap", "31d"], b"third");
    assert!(refused.code != Some(0) && refused.stderr.contains("at most 30 days"), "{refused:?}");
    let versions = keys(&["versions", "demo.token", "-o", "json"], b"");
    assert!(versions.stdout.contains("accepted_until"), "{versions:?}");
    let node = place.start();
    let revealed = ensue(&place, &node, &["keys", "reveal", "demo.token", "--version", "1"], b"");
    assert_eq!(revealed.stdout, "first", "{revealed:?}");
    node.stop();
}
