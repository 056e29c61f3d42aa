//! A restored backup: rejected by default, accepted by the operator, and honest about what it cannot know.

use serde_json::{Value, json};

use crate::support::{Client, CommandOutput, NodeFolder};

const ACTION: &str = "description: Counts its runs.\nrun: { shell: { script: echo ran } }\n";
const SAFE: &str = "description: May run twice.\nidempotent: true\nrun: { shell: { script: echo ran } }\n";
const PACK: &str = "name: till\nversion: 1.0.0\ndescription: Takes money.\n";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("till/pack.yaml", PACK);
    place.write_pack_file("till/actions/charge.yaml", ACTION);
    place.write_pack_file("till/actions/look.yaml", SAFE);
    place
}

async fn ask(client: &Client, action: &str, body: &Value) -> String {
    let answer = client.post(&format!("/actions/{action}/execute"), body).await;
    answer.body["id"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
}

fn copy(place: &NodeFolder, from: &str, to: &str) {
    let _ = std::fs::remove_dir_all(place.path().join(to));
    let copied = std::process::Command::new("cp").args(["-a", from, to]).current_dir(place.path()).status().unwrap();
    assert!(copied.success());
}

fn tokens(records: &[Value]) -> Vec<u64> {
    records.iter().filter(|record| record["kind"] == "attempt.started").map(|record| record["fact"]["token"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_backup_starts_only_after_its_loss_is_accepted() {
    let place = place();
    let node = place.start();
    let later = json!({ "start_at": "2999-01-01T00:00:00Z" });
    let charge = ask(&node.client(), "till.charge", &later).await;
    let look = ask(&node.client(), "till.look", &later).await;
    node.stop();
    copy(&place, "data", "backup");

    let node = place.start();
    for _ in 0..3 {
        let id = ask(&node.client(), "till.charge", &json!({})).await;
        node.client().until(&format!("/executions/{id}"), |execution| execution["status"] == "succeeded").await;
    }
    let given_out = tokens(&node.client().records().await);
    node.stop();
    copy(&place, "backup", "data");

    let said = place.try_start().err().expect("a node must not start on an older log by itself");
    assert!(said.contains("ensue restore accept"), "{said}");
    let verified = CommandOutput::by(&mut place.ensue(&["log", "verify", "--data", "data"]));
    assert!(verified.code == Some(1) && verified.stderr.contains("restore accept"), "{}", verified.stderr);
    let tried = CommandOutput::by(&mut place.ensue(&["restore", "accept", "--data", "data", "--dry-run", "-o", "json"]));
    let missing: Value = serde_json::from_str(&tried.stdout).unwrap();
    assert_eq!((&missing["paused"], &missing["accepted"]), (&json!([charge]), &json!(false)), "{missing}");
    assert!(place.try_start().is_err(), "a dry run accepts nothing");

    let accepted = CommandOutput::by(&mut place.ensue(&["restore", "accept", "--data", "data"]));
    assert_eq!(accepted.code, Some(0), "{}", accepted.stderr);
    let node = place.start();
    let client = node.client();
    client.until(&format!("/executions/{charge}"), |execution| execution["status"] == "paused").await;
    assert_eq!(client.get(&format!("/executions/{look}")).await["status"], "delayed", "an execution that may run twice continues");
    let id = ask(&client, "till.charge", &json!({})).await;
    client.until(&format!("/executions/{id}"), |execution| execution["status"] == "succeeded").await;
    let records = client.records().await;
    assert!(records.iter().any(|record| record["kind"] == "log.restored" && record["fact"]["known"] == missing["known"]));
    let newest = *tokens(&records).last().unwrap();
    assert!(given_out.iter().all(|token| *token < newest), "{newest} after {given_out:?}");
    node.stop();

    let again = CommandOutput::by(&mut place.ensue(&["restore", "accept", "--data", "data"]));
    assert!(again.code == Some(6) && again.stderr.contains("no records are missing"), "{}", again.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_of_a_log_is_verified_without_key_and_state_folder() {
    let place = place();
    let node = place.start();
    ask(&node.client(), "till.charge", &json!({})).await;
    node.stop();
    copy(&place, "data", "backup");
    let elsewhere = place.path().join("elsewhere");
    let verify = |arguments: &[&str]| {
        let mut command = place.ensue(&["log", "verify", "--data", "backup"]);
        CommandOutput::by(command.args(arguments).env("XDG_STATE_HOME", &elsewhere))
    };
    for arguments in [&[][..], &["--copy"]] {
        let verified = verify(arguments);
        assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    }
    assert!(!elsewhere.exists(), "verifying makes nothing");
    let log = place.path().join("backup/log.sqlite");
    let mut bytes = std::fs::read(&log).unwrap();
    // All but the first page, which identifies the file as a database.
    bytes[4096..].fill(0);
    std::fs::write(&log, bytes).unwrap();
    let damaged = verify(&["--copy"]);
    assert!(damaged.code.is_some_and(|code| code != 0) && damaged.stderr.starts_with("error:"), "{}", damaged.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_checks_a_data_directory_without_a_node() {
    let place = place();
    let node = place.start();
    let doctor = || CommandOutput::by(&mut place.ensue(&["doctor", "--data", "data"]));
    let used = doctor();
    assert!(used.code != Some(0) && used.stderr.contains("is in use by process"), "{used:?}");
    node.stop();
    let checked = doctor();
    assert!(checked.code == Some(0) && checked.stdout.contains("the chain is intact up to position"), "{checked:?}");
}
