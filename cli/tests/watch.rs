//! `ensue serve --watch`: a saved file is live at once; a broken one leaves the old version working and is
//! reported.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Client, Node, NodeFolder};

const PACK: &str = "name: desk\nversion: 0.1.0\ndescription: A desk.\nrequires: { packs: { core: ^0.1 } }\n";
const TRIGGER: &str = "description: Somebody rings.\npayload: { who: string }\n";

fn rule(message: &str) -> String {
    format!("description: Answers.\ntrigger: desk.rung\naction: core.echo\nwith: {{ message: '{message}' }}\n")
}

fn place() -> NodeFolder {
    let place = NodeFolder::new().with_arguments(&["--watch"]);
    place.write_pack_file("desk/pack.yaml", PACK);
    place.write_pack_file("desk/triggers/rung.yaml", TRIGGER);
    place.write_pack_file("desk/rules/answer.yaml", &rule("Who is ${{ event.payload.who }}?"));
    place
}

/// Sends an event, and returns the answer.
async fn ring(client: &Client) -> Vec<Value> {
    let sent = client.post("/events", &json!({ "trigger": "desk.rung", "payload": { "who": "Ada" } })).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{:#}", sent.body);
    let judged = client.until(&format!("/events/{}/rules", sent.body["id"].as_str().unwrap()), |rules| rules["items"].is_array()).await;
    let mut answers = Vec::new();
    for verdict in judged["items"].as_array().unwrap() {
        if let Some(execution) = verdict["execution"].as_str() {
            let ended = client.until(&format!("/executions/{execution}"), |execution| execution["status"] == "succeeded").await;
            answers.push(ended["result"]["message"].clone());
        }
    }
    answers
}

async fn until_said(client: &Client, node: &Node, text: &str) {
    client.until("/status", |_| node.stderr_text().contains(text)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn saved_file_is_live_at_once() {
    let place = place();
    let node = place.start();
    let client = node.client();
    assert_eq!(ring(&client).await, ["Who is Ada?"]);

    place.write_pack_file("desk/rules/answer.yaml", &rule("Come in, ${{ event.payload.who }}!"));
    until_said(&client, &node, "pack desk 0.1.0 is live, in revision 2").await;
    assert_eq!(ring(&client).await, ["Come in, Ada!"]);

    // This includes a rule in a new file in a new folder.
    place.write_pack_file("door/pack.yaml", &PACK.replace("name: desk", "name: door").replace("core: ^0.1", "core: ^0.1, desk: ^0.1"));
    place.write_pack_file("door/rules/open.yaml", &rule("The door is open."));
    client.until("/rules/door.open", |rule| rule["mode"] == "enabled").await;
    assert_eq!(ring(&client).await, ["Come in, Ada!", "The door is open."]);

    std::fs::remove_dir_all(place.path().join("packs/door")).unwrap();
    until_said(&client, &node, "pack door is removed").await;
    assert_eq!(ring(&client).await, ["Come in, Ada!"]);

    // If the node stops during a change, its report has no receiver, which is nothing to warn of.
    let warnings = |said: &str| said.matches("WARN").count();
    let before = warnings(&node.stderr_text());
    place.write_pack_file("desk/rules/answer.yaml", &rule("Gone, ${{ event.payload.who }}."));
    let said = node.stop_well();
    assert_eq!(warnings(&said), before, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_file_leaves_the_old_version_working_and_is_reported() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let whole = rule("Who is ${{ event.payload.who }}?");

    place.write_pack_file("desk/rules/answer.yaml", &whole.replace("payload.who", "payload.whom"));
    until_said(&client, &node, "pack desk has errors and is rejected").await;
    assert!(node.stderr_text().contains("error[unknown_") && node.stderr_text().contains("answer.yaml:4"), "{}", node.stderr_text());
    let pack = client.get("/packs/desk").await;
    assert!(pack["findings"].to_string().contains("whom"), "{pack:#}");
    assert_eq!(ring(&client).await, ["Who is Ada?"]);

    place.write_pack_file("desk/rules/answer.yaml", &whole);
    until_said(&client, &node, "pack desk no longer has errors").await;
    client.until("/packs/desk", |pack| pack["findings"].as_array().is_some_and(Vec::is_empty)).await;
    assert_eq!(ring(&client).await, ["Who is Ada?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn folder_moved_away_and_back_is_still_watched() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let (packs, away) = (place.path().join("packs"), place.path().join("away"));

    std::fs::rename(&packs, &away).unwrap();
    until_said(&client, &node, "the installed packs stay active").await;
    assert_eq!(ring(&client).await, ["Who is Ada?"]);

    std::fs::rename(&away, &packs).unwrap();
    place.write_pack_file("desk/rules/answer.yaml", &rule("Back again."));
    until_said(&client, &node, "pack desk 0.1.0 is live").await;
    assert_eq!(ring(&client).await, ["Back again."]);
}

#[test]
fn missing_folder_cannot_be_watched() {
    let place = NodeFolder::new().with_arguments(&["--watch"]);
    std::fs::remove_dir(place.path().join("packs")).unwrap();
    let said = place.try_start().err().unwrap();
    assert!(said.contains("watching the packs folder `packs`") && said.contains("No such file"), "{said}");
}
