//! A node that runs as root: its programs run as other users, even over the node's death, and its doctor says
//! so.

#![cfg(target_os = "linux")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value, json};

use crate::restart::is_recorded_once;
use crate::support::skipped::skipped;
use crate::support::{Client, NodeFolder, Running};

const WAIT: &str = "\
description: Prints its user once it may end.
timeout: 5m
run:
  process:
    command: [./wait]
";

const PROGRAM: &str = "\
#!/bin/sh
echo begun > begun
while [ ! -e go ]; do sleep 0.02; done
echo given > file
echo '{\"artifact\": {\"path\": \"file\"}}' >&3
printf '{\"user\":%s,\"groups\":\"%s\",\"log\":\"%s\"}' \"$(id -u)\" \"$(id -G)\" \"$(cat ../../log.sqlite 2>/dev/null | head -c 1)\"
";

/// Creates a place that every user may enter, as `/var/lib` is.
fn place() -> NodeFolder {
    let place = NodeFolder::new();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    place.write_pack_file("long/pack.yaml", "name: long\nversion: 1.0.0\ndescription: What takes long.\n");
    place.write_pack_file("long/actions/wait.yaml", WAIT);
    place.write_pack_program("long/actions/wait", PROGRAM);
    place
}

async fn user_finding(client: &Client) -> Value {
    let found = client.get("/doctor").await;
    let findings = found["findings"].as_array().unwrap().clone();
    findings.into_iter().find(|finding| finding["check"] == "user").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn program_of_a_root_node_runs_as_its_own_user_and_outlives_the_node() {
    let test = "program_of_a_root_node_runs_as_its_own_user_and_outlives_the_node";
    if !rustix::process::geteuid().is_root() {
        return skipped(test, "this test does not run as root");
    }
    let place = place();
    let node = place.start();
    let said = user_finding(&node.client()).await;
    if said["verdict"] != "good" {
        return skipped(test, said["message"].as_str().unwrap());
    }
    let id = node.client().execute("long.wait", &json!({})).await;
    let program = Running::one(&place).await;
    let owner = std::fs::metadata(&program.folder).unwrap().uid();
    assert!(owner > 1_900_000_000, "its private directory belongs to {owner}");
    node.kill();
    let node = place.start();
    program.let_go();
    let client = node.client();
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["status"] != "running").await;
    assert_eq!(shown["result"], json!({ "user": owner, "groups": "1900000000", "log": "" }), "{shown:#}");
    is_recorded_once(&client, &id).await;
    let artifacts = client.get(&format!("/executions/{id}/artifacts")).await;
    assert_eq!(artifacts["items"][0]["name"], "file", "{artifacts:#}");
    assert_eq!(std::fs::metadata(place.data()).unwrap().mode() & 0o777, 0o710);
    assert_eq!(node.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn node_with_an_unusable_program_user_does_not_start() {
    let place = place().with_variable("ENSUE_ACTIONS_USER", "nobody-of-this-name");
    let why = place.try_start().map(|_| ()).unwrap_err();
    assert!(why.contains("programs cannot run as `actions.user` requires"), "{why}");
}
