//! Keys over time: a rotation overlaps, a value is revealed after a record says so, and an expiry is reported.

use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::secret_server::{ROLE_ID, SECRET_ID, SecretServer};
use crate::support::skipped::not_installed;
use crate::support::{ADMIN_TOKEN, CommandOutput, Delivery, Node, NodeFolder, PYTHON, SECRET, files_below, signature, until};

const KEY: &str = "github.webhook_secret";

/// The same delivery, signed with another secret.
fn signed_with(delivery: Delivery, secret: &str) -> Delivery {
    let signature = signature(secret.as_bytes(), &delivery.body);
    delivery.with_header("x-hub-signature-256", Some(&signature))
}

/// Runs a command against a node with an input.
fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str], input: &[u8]) -> CommandOutput {
    let mut command = place.ensue(arguments);
    CommandOutput::by_feeding(command.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN), input)
}

/// A place in which the hook's secret is in no file, because it would be set from there at each start.
fn place() -> NodeFolder {
    NodeFolder::new().without_variable("ENSUE_KEY_GITHUB_WEBHOOK_SECRET_FILE")
}

async fn deliver(node: &Node, secret: &str, id: &str) -> StatusCode {
    node.client().deliver(&signed_with(Delivery::pull_request(id), secret)).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_secret_of_a_hook_overlaps_and_is_then_destroyed() {
    let place = place();
    let node = place.start();
    assert_eq!(ensue(&place, &node, &["keys", "set", KEY], SECRET.as_bytes()).code, Some(0));
    assert!(deliver(&node, SECRET, "before").await.is_success());
    let rotated = ensue(&place, &node, &["keys", "rotate", KEY, "--generate", "32", "--overlap", "24h", "--expires", "10d"], b"");
    assert!(rotated.code == Some(0) && rotated.stderr.contains("accepted for 24h"), "{rotated:?}");
    let revealed = ensue(&place, &node, &["keys", "reveal", KEY], b"");
    assert!(revealed.code == Some(0), "{revealed:?}");
    let new = revealed.stdout;
    assert_eq!(new.len(), 64, "{new}");
    assert!(deliver(&node, &new, "new").await.is_success());
    assert!(deliver(&node, SECRET, "old").await.is_success());
    let before = ensue(&place, &node, &["keys", "reveal", KEY, "--version", "1"], b"");
    assert_eq!(before.stdout, SECRET);
    let versions = ensue(&place, &node, &["keys", "versions", KEY], b"");
    assert!(versions.stdout.contains("current") && versions.stdout.contains("accepted"), "{versions:?}");
    let doctor = ensue(&place, &node, &["doctor"], b"");
    let findings: Vec<&str> = doctor.stdout.split_whitespace().collect();
    assert!(findings.join(" ").contains("`github.webhook_secret` expires at "), "{doctor:?}");

    // The overlap survives a restart.
    node.kill();
    let node = place.start();
    assert!(deliver(&node, SECRET, "old, again").await.is_success());

    // A delivery must fall into the overlap, and another one after it. On a slow machine that takes a longer overlap.
    let mut before = new;
    let (mut version, mut was_in_time) = (2, false);
    for seconds in [2, 10, 50] {
        let next = format!("the secret value after version {version}");
        let begin = Instant::now();
        let rotated = ensue(&place, &node, &["keys", "rotate", KEY, "--overlap", &format!("{seconds}s")], next.as_bytes());
        assert!(rotated.code == Some(0), "{rotated:?}");
        assert_eq!(deliver(&node, SECRET, "too old").await, StatusCode::UNAUTHORIZED);
        let is_accepted = deliver(&node, &before, "still accepted").await.is_success();
        was_in_time = begin.elapsed() < Duration::from_secs(seconds);
        assert!(is_accepted || !was_in_time, "the secret before is not accepted in its overlap");
        until("the end of the overlap", async || deliver(&node, &before, "over").await == StatusCode::UNAUTHORIZED).await;
        assert!(begin.elapsed() >= Duration::from_secs(seconds), "the overlap ended early");
        assert!(deliver(&node, &next, "next").await.is_success());
        let gone = ensue(&place, &node, &["keys", "reveal", KEY, "--version", &version.to_string()], b"");
        assert!(gone.code != Some(0) && gone.stderr.contains("is not stored"), "{gone:?}");
        version += 1;
        if was_in_time {
            break;
        }
        before = next;
    }
    assert!(was_in_time, "no delivery came in an overlap of 50 s");

    let kinds: Vec<String> = node
        .client()
        .records()
        .await
        .iter()
        .filter(|record| record["stream"] == format!("key/{KEY}"))
        .map(|record| record["kind"].as_str().unwrap().to_owned())
        .collect();
    let mut expected = vec!["key.set", "key.rotated", "key.expiry_set", "key.expiring", "key.revealed", "key.revealed"];
    expected.extend((2..version).map(|_| "key.rotated"));
    assert_eq!(kinds, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_reacts_once_to_a_key_that_expires_soon() {
    let place = NodeFolder::new();
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
    let place = NodeFolder::new();
    place.start().stop();
    let data = place.data();
    let keys = |arguments: &[&str], input: &[u8]| {
        let arguments: Vec<&str> = [&["keys"], arguments, &["--data", data.to_str().unwrap()]].concat();
        CommandOutput::by_feeding(&mut place.ensue(&arguments), input)
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

/// Returns the files of the master key: its own, and the next one during a rotation.
fn master_key_files(place: &NodeFolder) -> Vec<std::path::PathBuf> {
    let mut files = files_below(&place.path().join("state"));
    files.retain(|file| ["master.key", "master.key.next"].map(std::ffi::OsStr::new).contains(&file.file_name().unwrap()));
    files.sort();
    files
}

async fn until_rotated(client: &crate::support::Client) -> serde_json::Value {
    client.until("/master_key/rotate", |job| job["status"] != "running").await
}

async fn rotations(client: &crate::support::Client) -> Vec<serde_json::Value> {
    client.records().await.into_iter().filter(|record| record["kind"] == "master_key.rotated").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn master_key_is_rotated_while_deliveries_are_verified_and_keys_are_set() {
    let place = place();
    let node = place.start();
    assert_eq!(ensue(&place, &node, &["keys", "set", KEY], SECRET.as_bytes()).code, Some(0));
    let [file] = &master_key_files(&place)[..] else { panic!("one master key") };
    let old = std::fs::read_to_string(file).unwrap();
    let rotated = ensue(&place, &node, &["keys", "rotate-master"], b"");
    assert!(rotated.code == Some(0) && rotated.stderr.contains("the master key is rotated"), "{rotated:?}");
    assert!(deliver(&node, SECRET, "after").await.is_success());
    assert_eq!(ensue(&place, &node, &["keys", "set", "demo.token"], b"set after the rotation").code, Some(0));
    assert_eq!(master_key_files(&place), std::slice::from_ref(file));
    let new = std::fs::read_to_string(file).unwrap();
    assert_ne!(old, new);
    let [record] = &rotations(&node.client()).await[..] else { panic!("one record") };
    assert!(record["fact"]["from"] != record["fact"]["to"] && record["actor"].as_str().unwrap().starts_with("token/"), "{record}");
    node.stop();

    // The key before opens nothing more, and the node says so before it changes anything.
    std::fs::write(file, &old).unwrap();
    let said = place.try_start().map(|_| ()).unwrap_err();
    let ids = [&record["fact"]["from"], &record["fact"]["to"]].map(|id| id.as_str().unwrap());
    assert!(ids.iter().all(|id| said.contains(id)) && said.contains("restore the master key"), "{said}");
    std::fs::write(file, &new).unwrap();
    let node = place.start();
    assert_eq!(ensue(&place, &node, &["keys", "reveal", "demo.token"], b"").stdout, "set after the rotation");
    assert_eq!(ensue(&place, &node, &["keys", "reveal", KEY], b"").stdout, SECRET);
    node.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_rotation_of_the_master_key_is_completed_by_the_next_start() {
    const KEYS: usize = 150;
    let place = place();
    let node = place.start();
    for number in 0..KEYS {
        let put = node.client().request(reqwest::Method::PUT, &format!("/api/v1/keys/demo.k{number}"));
        let put = put.json(&json!({ "value": format!("value {number}") })).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.text().await.unwrap());
    }
    let mut node = node;
    let mut interrupted = 0;
    for round in 0.. {
        if round >= 6 && interrupted > 0 {
            break;
        }
        assert!(round < 60, "no kill interrupted a rotation");
        let begun = node.client().post("/master_key/rotate", &json!({})).await;
        assert_eq!(begun.status, StatusCode::ACCEPTED);
        tokio::time::sleep(Duration::from_millis(round % 6 * 4)).await;
        node.kill();
        let was_complete = master_key_files(&place).len() == 1;
        node = place.start();
        if !was_complete {
            interrupted += 1;
            until_rotated(&node.client()).await;
        }
        assert_eq!(master_key_files(&place).len(), 1, "round {round}");
        for number in [0, KEYS / 2, KEYS - 1] {
            let revealed = ensue(&place, &node, &["keys", "reveal", &format!("demo.k{number}")], b"");
            assert_eq!(revealed.stdout, format!("value {number}"), "round {round}");
        }
    }
    // A round that was killed before the next key was written began nothing.
    assert_eq!(node.client().post("/master_key/rotate", &json!({})).await.status, StatusCode::ACCEPTED);
    until_rotated(&node.client()).await;
    let rotations = rotations(&node.client()).await;
    assert!(rotations.windows(2).all(|pair| pair[0]["fact"]["to"] == pair[1]["fact"]["from"]), "{rotations:?}");
    assert!(!rotations.is_empty());
    node.stop();
}

#[test]
fn master_key_of_a_stopped_node_is_rotated() {
    let place = NodeFolder::new();
    place.start().stop();
    let data = place.data();
    let keys = |arguments: &[&str], input: &[u8]| {
        let arguments: Vec<&str> = [&["keys"], arguments, &["--data", data.to_str().unwrap()]].concat();
        CommandOutput::by_feeding(&mut place.ensue(&arguments), input)
    };
    assert!(keys(&["set", "demo.token"], b"kept").code == Some(0));
    let [file] = &master_key_files(&place)[..] else { panic!("one master key") };
    let old = std::fs::read_to_string(file).unwrap();
    let rotated = keys(&["rotate-master", "-o", "json"], b"");
    let document: serde_json::Value = serde_json::from_str(&rotated.stdout).unwrap();
    assert!(rotated.code == Some(0) && document["from"] != document["to"], "{rotated:?}");
    assert_ne!(std::fs::read_to_string(file).unwrap(), old);
    assert_eq!(keys(&["reveal", "demo.token"], b"").stdout, "kept");
}

const RELEASE: &str = "\
description: Uses a key.
run:
  shell:
    env: { TOKEN: '${{ keys[\"release.token\"] }}' }
    script: echo \"the token is $TOKEN\"
";

#[tokio::test(flavor = "multi_thread")]
async fn key_of_another_store_is_read_when_it_is_used_and_masked_in_output() {
    let place = NodeFolder::new();
    let secrets = place.path().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    let write = |value: &str| std::fs::write(secrets.join("release.json"), json!({ "token": value }).to_string()).unwrap();
    write("first-value-of-the-token");
    let settings = json!({
        "key_providers": { "mounted": { "file": { "folder": "secrets", "ttl": "1s", "stale_for": "0s" } } },
        "packs": { "release": { "keys": { "token": { "from": { "provider": "mounted", "path": "release.json", "field": "token" } } } } },
    });
    std::fs::write(place.path().join("ensue.yaml"), settings.to_string()).unwrap();
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Releases.\nkeys: [token]\n");
    place.write_pack_file("release/actions/use.yaml", RELEASE);
    let node = place.start();
    let client = node.client();
    let printed = async |client: &crate::support::Client| {
        let execution = client.run("release.use", &json!({})).await;
        let logs = client.request(reqwest::Method::GET, &format!("/api/v1/executions/{}/logs", execution["id"].as_str().unwrap()));
        let logs = logs.send().await.unwrap().text().await.unwrap();
        (execution["status"].clone(), format!("{execution}\n{logs}"))
    };
    let (status, shown) = printed(&client).await;
    assert!(status == "succeeded" && shown.contains("the token is") && !shown.contains("first-value"), "{shown}");

    // The value changes while the node runs.
    write("second-value-of-the-token");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (status, shown) = printed(&client).await;
    assert!(status == "succeeded" && !shown.contains("second-value"), "{shown}");

    std::fs::remove_file(secrets.join("release.json")).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (status, shown) = printed(&client).await;
    assert!(status == "failed" && shown.contains("key_unavailable") && shown.contains("network"), "{shown}");
    let records = client.records().await;
    assert!(records.iter().all(|record| !record.to_string().contains("-value-of-the-token")));
    let of_key = records.iter().filter(|record| record["stream"] == "key/release.token");
    assert!(of_key.into_iter().all(|record| record["kind"] == "key.used"), "the log knows its uses only");
    node.stop();
}

/// Writes a secret with the client library `hvac`, and reads it back; unwraps a secret id.
const HVAC: &str = r#"
import sys, hvac
address, role_id, secret_id, wrapped, value = sys.argv[1:]
assert hvac.Client(url=address, token=wrapped).sys.unwrap()["data"]["secret_id"] == secret_id
client = hvac.Client(url=address)
client.auth.approle.login(role_id=role_id, secret_id=secret_id)
client.secrets.kv.v2.create_or_update_secret(path="team/release", secret={"token": value, "other": "x"})
assert client.secrets.kv.v2.read_secret_version(path="team/release")["data"]["data"]["token"] == value
for path in ("team/other", "other"):
    try:
        client.secrets.kv.v2.read_secret_version(path=path, raise_on_deleted_version=True)
        sys.exit("a secret that does not exist was read")
    except hvac.exceptions.InvalidPath:
        pass
try:
    hvac.Client(url=address).auth.approle.login(role_id=role_id, secret_id="guessed")
    sys.exit("a wrong secret id was accepted")
except hvac.exceptions.InvalidRequest:
    pass
"#;

#[tokio::test(flavor = "multi_thread")]
async fn secret_that_another_client_wrote_to_a_secret_server_is_used() {
    let python = format!("{PYTHON}/bin/python");
    if !Command::new(&python).args(["-c", "import hvac"]).status().is_ok_and(|status| status.success()) {
        return not_installed("secret_that_another_client_wrote_to_a_secret_server_is_used", "hvac");
    }
    let server = SecretServer::start();
    let address = format!("http://{}", server.address);
    let write = |value: &str| {
        let wrote = Command::new(&python).args(["-c", HVAC, &address, ROLE_ID, SECRET_ID, &server.wrap(), value]).output().unwrap();
        assert!(wrote.status.success(), "{}", String::from_utf8_lossy(&wrote.stderr));
    };
    write("the-first-value");

    let place = NodeFolder::new();
    std::fs::write(place.path().join("secret_id"), server.wrap()).unwrap();
    let approle = json!({ "role_id": ROLE_ID, "secret_id_file": "secret_id", "secret_id": "wrapped" });
    let settings = json!({
        "key_providers": { "team": { "hashicorp": { "url": address, "login": { "approle": approle }, "ttl": "1s", "stale_for": "0s" } } },
        "egress": { "allow": [server.address.to_string()] },
        "packs": { "release": { "keys": { "token": { "from": { "provider": "team", "path": "team/release", "field": "token" } } } } },
    });
    std::fs::write(place.path().join("ensue.yaml"), settings.to_string()).unwrap();
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Releases.\nkeys: [token]\n");
    let action = RELEASE.replace("echo \"the token is $TOKEN\"", "printf %s \"$TOKEN\" | sha256sum");
    place.write_pack_file("release/actions/use.yaml", &action);
    let node = place.start();
    let client = node.client();
    let hashed = async || {
        let execution = client.run("release.use", &json!({})).await;
        let logs = client.request(reqwest::Method::GET, &format!("/api/v1/executions/{}/logs", execution["id"].as_str().unwrap()));
        logs.send().await.unwrap().text().await.unwrap()
    };
    let hash = |value: &str| hex::encode(Sha256::digest(value));
    assert!(hashed().await.contains(&hash("the-first-value")));
    // The token of the node is revoked, and the value changes. The secret id was unwrapped at the first login.
    assert!(server.revoke_all() >= 2);
    write("the-second-value");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(hashed().await.contains(&hash("the-second-value")));
    node.stop();
}
