//! Flow control on a running node: held matches are shown, survive a kill, and are acted on once.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, Node, Place, Printed};

const PUSHED: &str = "description: Something was pushed.\npayload: { ref: string, n: integer }\n";

const BUILD: &str = "\
description: Builds what was pushed last, once it is quiet.
trigger: demo.pushed
debounce: { quiet: 3s, key: event.payload.ref }
action: core.echo
with: { message: \"${{ event.payload.n }}\" }
";

const ALARM: &str = "\
description: Says when three came together.
trigger: demo.pushed
dedupe: { key: event.payload.n, within: 1h }
window: { count: 3, within: 1h }
steps:
  say: { action: core.echo, with: { message: \"${{ events.map(e, e.payload.n) }}\" } }
";

fn place() -> Place {
    let place = Place::new();
    place.write_pack_file("demo/pack.yaml", "name: demo\nversion: 1.0.0\ndescription: Is patient.\n");
    place.write_pack_file("demo/triggers/pushed.yaml", PUSHED);
    place.write_pack_file("demo/rules/build.yaml", BUILD);
    place.write_pack_file("demo/rules/alarm.yaml", ALARM);
    place
}

async fn push(client: &Client, branch: &str, n: u32) -> String {
    let answer = client.post("/events", &json!({ "trigger": "demo.pushed", "payload": { "ref": branch, "n": n } })).await;
    answer.body["id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn ensue(place: &Place, node: &Node, arguments: &[&str]) -> Printed {
    Printed::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "120"))
}

/// The enforcements of a rule, oldest first.
async fn enforcements(client: &Client, rule: &str) -> Vec<Value> {
    let answer = client.get(&format!("/enforcements?rule={rule}&sort=position")).await;
    answer["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn debounced_match_runs_once_even_if_the_node_is_killed() {
    let place = place();
    let node = place.start();
    let client = node.client();
    push(&client, "main", 1).await;
    let last = push(&client, "main", 2).await;
    client.until("/enforcements?rule=demo.build", |made| made["items"][1]["became"]["outcome"] == "superseded").await;
    let held = enforcements(&client, "demo.build").await[1]["id"].as_str().unwrap().to_owned();
    let shown = ensue(&place, &node, &["enforcements", "show", &held]).stdout;
    assert!(shown.contains("by debounce until"), "{shown}");
    let told = ensue(&place, &node, &["why", &last]).stdout;
    assert!(told.contains("matched, and is held by debounce until"), "{told}");
    node.kill();

    let node = place.start();
    let client = node.client();
    let executed = client.until(&format!("/enforcements/{held}"), |made| made["became"]["outcome"] == "executed").await;
    assert_eq!(executed["inputs"], json!({ "message": 2 }));
    node.kill();
    let node = place.start();
    let client = node.client();
    let ran = client.get("/executions?rule=demo.build").await;
    assert_eq!(ran["items"].as_array().unwrap().len(), 1, "{ran}");
    let outcomes: Vec<_> = enforcements(&client, "demo.build").await.iter().map(|made| made["became"]["outcome"].clone()).collect();
    assert_eq!(outcomes, ["superseded", "executed"]);
    let listed = ensue(&place, &node, &["enforcements", "list", "--rule", "demo.build"]).stdout;
    assert!(listed.contains("held, then executed") && listed.contains("held, then superseded"), "{listed}");
    let rule = ensue(&place, &node, &["rules", "show", "demo.build"]).stdout;
    assert!(rule.contains("debounce: the last one, once it is quiet for 3s, for each event.payload.ref"), "{rule}");
    assert!(rule.contains("1 executed, 1 superseded"), "{rule}");
}

#[tokio::test(flavor = "multi_thread")]
async fn window_filled_over_a_kill_passes_its_events_to_the_steps() {
    let place = place();
    let node = place.start();
    let client = node.client();
    for n in [1, 2, 2] {
        push(&client, "main", n).await;
    }
    client.until("/enforcements?rule=demo.alarm", |made| made["items"].as_array().is_some_and(|made| made.len() == 3)).await;
    let before = enforcements(&client, "demo.alarm").await;
    let outcomes: Vec<_> = before.iter().map(|made| made["outcome"].clone()).collect();
    assert_eq!(outcomes, ["held", "held", "deduplicated"]);
    assert_eq!(before[2]["repeats"], before[1]["id"]);
    node.kill();

    let node = place.start();
    let client = node.client();
    let third = push(&client, "main", 3).await;
    let step = client
        .until("/executions?action=core.echo", |ran| {
            ran["items"].as_array().is_some_and(|all| all.iter().any(|one| one["step"] == "say" && one["status"] == "succeeded"))
        })
        .await;
    let step = step["items"].as_array().unwrap().iter().find(|one| one["step"] == "say").unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(client.get(&format!("/executions/{step}")).await["result"], json!({ "message": [1, 2, 3] }));
    let why = ensue(&place, &node, &["why", "--rule", "demo.alarm", "--event", &third]).stdout;
    assert!(why.contains("it ran demo.alarm"), "{why}");
}
