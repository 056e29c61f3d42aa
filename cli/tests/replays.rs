//! Recorded executions replayed on a running node: with the recorded version of their pack, and with another
//! one.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, CommandOutput, Node, NodeFolder};

const SHIP: &str = "parameters: { version: string }
run:
  workflow:
    steps:
      build: { action: core.echo, with: { message: '${{ params.version }}' } }
      work: { needs: [build], action: core.noop, with: { seconds: 0.01 } }
      wait: { needs: [work], sleep: 10ms }
      deploy: { needs: [wait], for_each: '[\"eu\", \"us\"]', action: core.echo, with: { message: '${{ steps.build.result.message }} to ${{ item }}' } }
    result: { shipped: '${{ steps.build.result.message }}' }
";
const RULE: &str =
    "trigger: shop.order\nwhen: event.payload.total > 100\naction: core.echo\nwith: { message: '${{ string(event.payload.total) }}' }\n";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: A shop.\n");
    place.write_pack_file("shop/triggers/order.yaml", "payload: { total: integer }\n");
    place.write_pack_file("shop/rules/large.yaml", RULE);
    place.write_pack_file("shop/actions/ship.yaml", SHIP);
    place
}

fn replay(place: &NodeFolder, node: &Node, more: &[&str]) -> (Option<i32>, Value) {
    let arguments: Vec<&str> = ["replay", "-o", "json"].into_iter().chain(more.iter().copied()).collect();
    let printed = CommandOutput::by(place.ensue(&arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    let told = serde_json::from_str(&printed.stdout).unwrap_or_else(|error| panic!("{error}: {printed:?}"));
    (printed.code, told)
}

#[tokio::test]
async fn replay_is_identical_and_reports_the_first_step_a_changed_pack_alters() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let run = client.run("shop.ship", &json!({ "version": "v1" })).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let id = run["id"].as_str().unwrap();
    client.post("/events", &json!({ "trigger": "shop.order", "payload": { "total": 150 } })).await;
    client.until("/executions?rule=shop.large", |list| list["items"][0]["status"] == "succeeded").await;
    let before = client.get("/log").await["items"].as_array().unwrap().len();

    let same = json!({ "same": 1, "differ": 0, "unreplayable": 0, "executions": [] });
    assert_eq!(replay(&place, &node, &[id]), (Some(0), same));
    assert_eq!(replay(&place, &node, &["--last", "50", "--rule", "shop.large"]).1["same"], 1);
    let all = replay(&place, &node, &["--against", "packs/shop"]);
    assert_eq!((all.0, &all.1["same"]), (Some(0), &json!(2)), "{all:#?}");

    place.write_pack_file("shop/actions/ship.yaml", &SHIP.replace(" to ${{", " on ${{"));
    place.write_pack_file("shop/rules/large.yaml", &RULE.replace("> 100", "> 200"));
    let (code, told) = replay(&place, &node, &["--against", "packs/shop", "--last", "500"]);
    assert_eq!((code, &told["differ"], &told["same"]), (Some(1), &json!(2), &json!(0)), "{told:#}");
    let by = |id: &str| told["executions"].as_array().unwrap().iter().find(|one| one["action"] == id).unwrap()["differences"][0].clone();
    let input = json!({ "step": "deploy[0]", "what": "input", "pointer": "/message", "recorded": "v1 to eu", "would": "v1 on eu" });
    assert_eq!(by("shop.ship"), input);
    let rule = json!({ "step": "", "what": "rule", "pointer": "", "recorded": "run core.echo", "would": "it does not match" });
    assert_eq!(by("core.echo"), rule);
    // A replay stores nothing and runs nothing; the recorded version is still there.
    assert_eq!(client.get("/log").await["items"].as_array().unwrap().len(), before);
    assert_eq!(replay(&place, &node, &[id]).0, Some(0));
    let people = ["replay", "--against", "packs/shop", "--action", "shop.ship"];
    let printed = CommandOutput::by(place.ensue(&people).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    assert!(printed.stdout.contains("deploy[0]: input /message: v1 to eu → v1 on eu"), "{printed:?}");
}

#[tokio::test]
async fn impossible_replay_is_reported() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let run = client.run("shop.ship", &json!({ "version": "v1" })).await;
    let steps = client.get(&format!("/executions?parent={}", run["id"].as_str().unwrap())).await;
    let step = client.post("/executions/replay", &json!({ "execution": steps["items"][0]["id"] })).await;
    assert_eq!((step.status, &step.body["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("replay_refused")));
    let nobody = client.post("/executions/replay", &json!({ "execution": "019d3450-be00-7000-8000-000000000003" })).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    place.write_pack_file("shop/actions/ship.yaml", "run: { workflow: { steps: { one: { action: core.none } } } }\n");
    let arguments = ["replay", "--against", "packs/shop"];
    let printed = CommandOutput::by(place.ensue(&arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    assert_eq!(printed.code, Some(6), "{printed:?}");
    assert!(printed.stderr.contains("actions/ship.yaml:1"), "{printed:?}");
}
