//! Versions of triggers on a running node: senders of two forms, past events, and a pack that goes back.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{ADMIN_TOKEN, CommandOutput, NodeFolder};

const FIRST: &str = "payload: { item: string }\n";
const SECOND: &str = "version: 2\nupcasts: { 1: { sku: '${{ payload.item }}' } }\npayload: { sku: string }\n";

fn place() -> NodeFolder {
    let place = NodeFolder::new().with_arguments(&["--watch"]);
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: A shop.\n");
    place.write_pack_file("shop/triggers/ordered.yaml", FIRST);
    place.write_pack_file("shop/rules/tea.yaml", &rule("item"));
    place
}

fn rule(field: &str) -> String {
    format!("trigger: shop.ordered\nwhen: event.payload.{field} == 'tea'\naction: core.noop\n")
}

fn raise(place: &NodeFolder) {
    place.write_pack_file("shop/rules/tea.yaml", &rule("sku"));
    place.write_pack_file("shop/triggers/ordered.yaml", SECOND);
}

#[tokio::test]
async fn senders_of_both_forms_are_served_and_past_events_are_judged_in_the_newest() {
    let place = place();
    let node = place.start();
    let client = node.client();
    client.post("/events", &json!({ "trigger": "shop.ordered", "payload": { "item": "tea" } })).await;
    raise(&place);
    client.until("/triggers/shop.ordered", |shown| shown["version"] == 2).await;
    client.until("/rules/shop.tea", |shown| shown["when"].as_str().is_some_and(|when| when.contains("sku"))).await;
    let mut old = String::new();
    for (trigger, payload) in [("shop.ordered@1", json!({ "item": "tea" })), ("shop.ordered", json!({ "sku": "tea" }))] {
        let sent = client.post("/events", &json!({ "trigger": trigger, "payload": payload })).await;
        assert_eq!(sent.status, StatusCode::ACCEPTED, "{sent:#?}");
        let path = format!("/events/{}", sent.body["id"].as_str().unwrap());
        let event = client.until(&path, |event| event["undecided"] == 0).await;
        let version = if trigger.ends_with("@1") { 1 } else { 2 };
        if version == 1 {
            old = event["id"].as_str().unwrap().to_owned();
        }
        assert_eq!((&event["version"], &event["payload"], &event["matched"]), (&json!(version), &payload, &json!(1)), "{event:#}");
    }
    let explained = CommandOutput::by(
        place.ensue(&["why", "--rule", "shop.tea", "--event", &old]).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN),
    );
    let told = "\
✓ matched, because
    event.payload.sku == 'tea' → true   (event.payload.sku = \"tea\")
  it would not match if that were false
  its payload came in version 1 of `shop.ordered`; the rule reads it in version 2
  it ran core.noop: ensue executions show ";
    assert!(explained.stdout.starts_with(told), "{explained:?}");
    let unknown = client.post("/events", &json!({ "trigger": "shop.ordered@3", "payload": { "sku": "tea" } })).await;
    assert_eq!((unknown.status, &unknown.body["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("trigger_version_unknown")));
    let told = client.post("/rules/backtest", &json!({ "rule": "shop.tea" })).await;
    assert_eq!((&told.body["judged"], &told.body["matched"], &told.body["erred"]["count"]), (&json!(3), &json!(3), &json!(0)), "{told:#?}");
    let why =
        CommandOutput::by(place.ensue(&["rules", "backtest", "shop.tea"]).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    assert_eq!(why.code, Some(0), "{why:?}");
}

#[tokio::test]
async fn pack_that_lowers_a_version_is_not_installed_even_after_a_restart() {
    let place = place();
    raise(&place);
    let node = place.start();
    place.write_pack_file("shop/rules/tea.yaml", &rule("item"));
    place.write_pack_file("shop/triggers/ordered.yaml", FIRST);
    let lowered = |shown: &serde_json::Value| {
        shown["findings"].as_array().is_some_and(|all| all.iter().any(|finding| finding["code"] == "version_lowered"))
    };
    let shown = node.client().until("/packs/shop", lowered).await;
    assert_eq!(shown["status"], "installed");
    assert_eq!(node.client().get("/triggers/shop.ordered").await["version"], 2);
    node.kill();
    let node = place.start();
    let client = node.client();
    client.until("/packs/shop", lowered).await;
    assert_eq!(client.get("/triggers/shop.ordered").await["version"], 2);
    let sent = client.post("/events", &json!({ "trigger": "shop.ordered@1", "payload": { "item": "tea" } })).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{sent:#?}");
}

#[tokio::test]
async fn versions_of_a_rule_are_listed_compared_and_restored() {
    let place = NodeFolder::new().with_arguments(&["--watch"]);
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: A shop.\n");
    place.write_pack_file("shop/triggers/ordered.yaml", FIRST);
    place.write_pack_file("shop/rules/tea.yaml", &rule("item"));
    let node = place.start();
    let client = node.client();
    let first = client.get("/rules/shop.tea/versions").await;
    assert_eq!((first["items"].as_array().unwrap().len(), &first["items"][0]["change"]), (1, &json!("added")), "{first:#}");
    let older = first["items"][0]["catalog"].to_string();

    // A change of another file of the pack is no version of the rule.
    place.write_pack_file("shop/README.md", "A shop.\n");
    place.write_pack_file("shop/rules/tea.yaml", &rule("item").replace("'tea'", "'coffee'"));
    let changed = client.until("/rules/shop.tea/versions", |versions| versions["items"][0]["change"] == "changed").await;
    let newer = changed["items"][0]["catalog"].to_string();
    assert_eq!((changed["items"].as_array().unwrap().len(), &changed["truncated"]), (2, &json!(false)), "{changed:#}");

    let ensue =
        |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    let compared = ensue(&["rules", "diff", "shop.tea", &older, &newer]);
    let lines: Vec<&str> = compared.stdout.lines().filter(|line| line.starts_with(['-', '+'])).skip(2).collect();
    assert_eq!(lines, ["-when: event.payload.item == 'tea'", "+when: event.payload.item == 'coffee'"], "{compared:?}");

    place.write_pack_file("shop/rules/tea.yaml", "trigger: shop.ordered\nwhen: 3\n");
    let refused = ensue(&["rules", "restore", "shop.tea", &older]);
    assert!(refused.stderr.contains("has changes that would be lost"), "{refused:?}");
    let restored = ensue(&["rules", "restore", "shop.tea", &older, "--force"]);
    assert!(restored.stdout.contains("is as it was in revision"), "{restored:?}");
    client.until("/rules/shop.tea", |shown| shown["when"] == "event.payload.item == 'tea'").await;

    std::fs::remove_file(place.path().join("packs/shop/rules/tea.yaml")).unwrap();
    let removed = client.until("/rules/shop.tea/versions", |versions| versions["items"][0]["change"] == "removed").await;
    assert_eq!(removed["items"].as_array().unwrap().len(), 4, "{removed:#}");
    let unknown = ensue(&["rules", "versions", "shop.coffee"]);
    assert_eq!(unknown.code, Some(5), "{unknown:?}");
}
