//! Roles and grants that the settings declare: what a start records, removes and rejects.

use serde_json::{Value, json};

use crate::support::{Client, NodeFolder};

/// A place whose settings declare roles and grants.
fn write(place: &NodeFolder, access: &str) {
    std::fs::write(place.path().join("ensue.yaml"), format!("access:\n{access}")).unwrap();
}

const BOTH: &str = "  roles:
    restarter: [executions:read, executions:rerun]
  grants:
    - { subject: group:ops, role: restarter, on: 'pack=release' }
    - { subject: identity:ana, role: viewer }
";

/// Returns the records of roles and grants, as kind, actor and `declared`.
async fn records(client: &Client) -> Vec<(String, String, Value)> {
    let records = client.records().await;
    let kinds = ["role.set", "role.removed", "grant.added", "grant.removed"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_access = records.iter().filter(|record| kinds.contains(&record["kind"].as_str().unwrap_or_default()));
    of_access.map(|record| (text(&record["kind"]), text(&record["actor"]), record["fact"]["declared"].clone())).collect()
}

#[tokio::test]
async fn declared_roles_and_grants_follow_the_file_over_restarts_and_a_kill() {
    let place = NodeFolder::new();
    let node = place.start();
    assert_eq!(node.client().post("/identities", &json!({ "name": "ana" })).await.status, 201);
    node.stop();
    write(&place, BOTH);
    let node = place.start();
    let added = |kind: &str| (kind.to_owned(), "operator".to_owned(), json!(true));
    let declared = [added("role.set"), added("grant.added"), added("grant.added")];
    assert_eq!(records(&node.client()).await, declared);
    node.kill();
    let node = place.start();
    let client = node.client();
    assert_eq!(records(&client).await, declared, "a start with the same file records nothing");

    let grants = client.get("/grants").await;
    let of = |subject: &str| grants["items"].as_array().unwrap().iter().find(|grant| grant["subject"] == subject).unwrap().clone();
    assert_eq!((&of("group:ops")["role"], &of("group:ops")["on"]["packs"]), (&json!("restarter"), &json!(["release"])));
    assert_eq!(of("identity:ana")["role"], "viewer");
    let change = client.request(reqwest::Method::PUT, "/api/v1/roles/restarter").json(&json!({ "permissions": ["executions:read"] }));
    let refused: Value = change.send().await.unwrap().json().await.unwrap();
    assert_eq!(refused["code"], "role_in_use", "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("`access.roles`"), "{refused}");
    assert_eq!(client.post("/grants", &json!({ "subject": "group:ops", "role": "viewer" })).await.status, 201);
    node.stop();

    write(&place, "  labels: []\n");
    let node = place.start();
    let left = node.client().get("/grants").await;
    let left: Vec<_> = left["items"].as_array().unwrap().iter().map(|grant| (&grant["subject"], &grant["role"])).collect();
    assert_eq!(left, [(&json!("group:ops"), &json!("viewer"))], "what somebody else granted stays");
    let kinds: Vec<String> = records(&node.client()).await.into_iter().skip(4).map(|(kind, ..)| kind).collect();
    assert_eq!(kinds, ["grant.removed", "grant.removed", "role.removed"]);
}

#[tokio::test]
async fn settings_that_cannot_be_applied_stop_the_start_and_name_the_line() {
    let place = NodeFolder::new();
    place.start().stop();
    for (access, line, why) in [
        ("  grants:\n    - { subject: everyone, role: reader }\n", 3, "reader"),
        (
            "  grants:\n    - { subject: everyone, role: viewer }\n    - { subject: identity:nobody, role: viewer }\n",
            4,
            "the identity `nobody` does not exist",
        ),
        ("  roles:\n    auditor: [audit:read]\n  grants:\n    - { subject: everyone, role: auditor, on: pack=release }\n", 5, "auditor"),
        ("  roles:\n    reader: [executions:fly]\n", 3, "no permission `executions:fly`"),
    ] {
        write(&place, access);
        let Err(error) = place.try_start() else { panic!("the node started with {access}") };
        assert!(error.contains(&format!("line {line}: ")) && error.contains(why), "{error}");
    }
    std::fs::write(place.path().join("ensue.yaml"), "").unwrap();
    let node = place.start();
    assert_eq!(records(&node.client()).await, [], "nothing of it was recorded");
}
