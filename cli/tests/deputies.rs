//! Deputies and quotas over the built binary: who answers on behalf of whom, and what a tier limits, also after a
//! restart.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, Client, CommandOutput, Node, NodeFolder};

fn ensue(place: &NodeFolder, node: &Node, token: &str, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", token))
}

/// Adds a person with a role, and returns a token of it.
async fn person(client: &Client, name: &str, role: &str, groups: &Value) -> String {
    assert_eq!(client.post("/identities", &json!({ "name": name, "groups": groups })).await.status, 201);
    let grant = json!({ "subject": format!("identity:{name}"), "role": role });
    assert_eq!(client.post("/grants", &grant).await.status, 201);
    let made = client.post("/tokens", &json!({ "name": format!("{name}-laptop"), "identity": name })).await;
    made.body["token"].as_str().unwrap().to_owned()
}

/// Opens an inquiry that asks ana, and returns its id.
async fn open_inquiry(client: &Client) -> String {
    let question = json!({ "title": "Go on?", "assignees": ["ana"], "answer": {}, "digest": "optional" });
    let id = client.execute("core.inquiry", &question).await;
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["inquiry"].is_string()).await;
    shown["inquiry"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn deputy_answers_a_delegated_inquiry_and_those_of_an_absent_person() {
    let place = NodeFolder::new();
    let mut node = place.start();
    let client = node.client();
    let (ana, bo) = (person(&client, "ana", "approver", &json!([])).await, person(&client, "bo", "approver", &json!([])).await);
    let (delegated, during_absence) = (open_inquiry(&client).await, open_inquiry(&client).await);
    let printed = ensue(&place, &node, &bo, &["inquiries", "respond", &delegated, "--json", "true"]);
    assert_ne!(printed.code, Some(0), "nobody has asked bo: {printed:?}");
    let printed = ensue(&place, &node, &ana, &["inquiries", "delegate", &delegated, "--to", "bo"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let printed = ensue(&place, &node, &ana, &["inquiries", "delegate", &delegated, "--to", "ana"]);
    assert!(printed.code != Some(0) && printed.stderr.contains("their own deputy"), "{printed:?}");
    node.kill();
    node = place.start();
    let printed = ensue(&place, &node, &bo, &["inquiries", "respond", &delegated, "--json", "true"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let printed = ensue(&place, &node, ADMIN_TOKEN, &["inquiries", "show", &delegated]);
    assert!(printed.stdout.contains("on behalf of"), "{printed:?}");

    let printed = ensue(&place, &node, &ana, &["identities", "absent", "--until", "2100-01-01T00:00:00Z", "--deputy", "bo"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let printed = ensue(&place, &node, ADMIN_TOKEN, &["identities", "show", "ana"]);
    assert!(printed.stdout.contains("absent until 2100-01-01") && printed.stdout.contains("its deputy is bo"), "{printed:?}");
    let printed = ensue(&place, &node, &bo, &["inquiries", "list", "--mine", "--status", "open"]);
    assert!(printed.stdout.contains("Go on?"), "{printed:?}");
    let printed = ensue(&place, &node, &bo, &["inquiries", "respond", &during_absence, "--json", "true"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let printed = ensue(&place, &node, ADMIN_TOKEN, &["audit", "list", "--of", "identity/ana"]);
    assert!(printed.stdout.contains("identity.absent_set"), "{printed:?}");
    let printed = ensue(&place, &node, &ana, &["identities", "absent"]);
    assert!(printed.stderr.contains("`ana` is present"), "{printed:?}");
}

#[tokio::test]
async fn quota_is_exact_for_requests_at_once_and_survives_a_kill() {
    let place = NodeFolder::new();
    let settings = "tiers: { free: { executions_per_hour: 5, concurrent: 5 } }\naccess: { tiers: [{ group: trial, tier: free }] }\n";
    std::fs::write(place.path().join("ensue.yaml"), settings).unwrap();
    let mut node = place.start();
    let ana = person(&node.client(), "ana", "author", &json!(["trial"])).await;
    let run = async |node: &Node| {
        let request = node.client().anonymous(Method::POST, "/api/v1/actions/core.sleep/execute").bearer_auth(&ana);
        Answer::of(request.json(&json!({ "params": { "duration": "1h" } })).send().await.unwrap()).await
    };
    let answers = futures_util::future::join_all((0..20).map(|_| run(&node))).await;
    let accepted = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(accepted, 5, "{answers:?}");
    let refused = answers.iter().find(|answer| answer.status != 202).unwrap();
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (429, &json!("quota_exceeded")), "{refused:?}");
    node.kill();
    node = place.start();
    assert_eq!(run(&node).await.status, 429, "the counts survive a kill");
    let printed = ensue(&place, &node, &ana, &["usage"]);
    assert!(printed.code == Some(0) && printed.stdout.contains("concurrent"), "{printed:?}");
    let printed = ensue(&place, &node, ADMIN_TOKEN, &["usage", "--of", "ana", "-o", "json"]);
    let usage: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!((&usage["tier"], &usage["quotas"][2]["used"]), (&json!("free"), &json!(5)), "{usage}");
}
