//! Backtests on a running node: what rules would have done with past events, compared with what they did.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, NodeFolder};

const RULE: &str =
    "trigger: shop.order\nwhen: event.payload.total > 100\naction: core.echo\nwith: { message: '${{ string(event.payload.total) }}' }\n";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: A shop.\n");
    place.write_pack_file("shop/triggers/order.yaml", "payload:\n  total: integer\n  to: string?\n  note: string?\n");
    place.write_pack_file("shop/triggers/other.yaml", "payload: { total: integer }\n");
    place.write_pack_file("shop/rules/large.yaml", RULE);
    place.write_pack_file("shop/rules/nightly.yaml", "schedule: { cron: '0 3 * * *' }\naction: core.noop\n");
    place
}

async fn orders(client: &Client, totals: &[i64]) {
    // Long enough to be compressed in the log.
    let note = "a long note ".repeat(100);
    for total in totals {
        client.post("/events", &json!({ "trigger": "shop.order", "payload": { "total": total, "note": note } })).await;
        client.post("/events", &json!({ "trigger": "shop.other", "payload": { "total": total } })).await;
    }
}

async fn backtest(client: &Client, asked: &Value) -> Value {
    let told = client.post("/rules/backtest", asked).await;
    assert_eq!(told.status, StatusCode::OK, "{told:#?}");
    told.body
}

fn with_text(text: &str) -> Value {
    json!({ "rule": "shop.large", "file": { "path": "rules/large.yaml", "text": text } })
}

fn counts(told: &Value) -> [u64; 4] {
    [&told["matched"], &told["new"]["count"], &told["lost"]["count"], &told["erred"]["count"]].map(|count| count.as_u64().unwrap())
}

#[tokio::test]
async fn backtest_of_an_unchanged_rule_matches_the_log_and_a_change_differs() {
    let place = place();
    let node = place.start();
    let client = node.client();
    orders(&client, &[5, 50, 150, 250, 350]).await;
    let same = backtest(&client, &json!({ "rule": "shop.large" })).await;
    assert_eq!((counts(&same), &same["judged"]), ([3, 0, 0, 0], &json!(5)));
    assert_eq!((&same["would"], &same["happened"]), (&json!({ "executed": 3 }), &json!({ "executed": 3 })));
    let changed = backtest(&client, &with_text(&RULE.replace("> 100", "< 200"))).await;
    assert_eq!(counts(&changed), [1, 2, 2, 0]);
    let lost = &changed["lost"]["events"][0];
    assert_eq!((&lost["happened"], &lost["would"]), (&json!("executed"), &Value::Null));
    let errs = backtest(&client, &with_text(&RULE.replace("event.payload.total > 100", "event.payload.to == 'ana'"))).await;
    assert_eq!(counts(&errs), [0, 0, 0, 5]);
    assert!(errs["erred"]["events"][0]["error"].as_str().unwrap().contains("to"), "{errs:#}");
    // A backtest stores nothing: the rule is unchanged, and nothing ran.
    assert_eq!(client.get("/rules/shop.large").await["when"].as_str().map(str::trim), Some("event.payload.total > 100"));
    let position = same["until"].as_u64().unwrap();
    orders(&client, &[500]).await;
    let later = backtest(&client, &json!({ "rule": "shop.large", "after": position })).await;
    assert_eq!((counts(&later), &later["judged"]), ([1, 0, 0, 0], &json!(1)));
    let since = client.get("/log").await["items"].as_array().unwrap().last().unwrap()["time"].clone();
    assert_eq!(backtest(&client, &json!({ "rule": "shop.large", "until": since })).await["judged"], 6);
    node.kill();
    let node = place.start();
    assert_eq!(backtest(&node.client(), &json!({ "rule": "shop.large" })).await["matched"], 4);
}

#[tokio::test]
async fn backtest_that_continues_without_its_request_ends_with_the_same_result() {
    let place = place();
    let node = place.start();
    let client = node.client();
    orders(&client, &[5, 150, 250]).await;
    let asked = client.request(Method::POST, "/api/v1/rules/backtest").header("prefer", "respond-async");
    let begun = asked.json(&with_text(&RULE.replace("> 100", "< 200"))).send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let path = begun.headers()["location"].to_str().unwrap().trim_start_matches("/api/v1").to_owned();
    let ended = client.until(&path, |shown| shown["status"] != "running").await;
    assert_eq!((&ended["status"], &ended["progress"], &ended["result"]["judged"]), (&json!("succeeded"), &json!(1.0), &json!(3)));
    assert_eq!(counts(&ended["result"]), [1, 1, 1, 0]);
    let stopped = client.request(Method::DELETE, &format!("/api/v1{path}")).send().await.unwrap();
    assert_eq!(stopped.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn file_of_an_earlier_revision_is_returned_after_the_pack_has_changed() {
    let place = place();
    let node = place.start();
    let (path, client) = ("/packs/shop/files/rules%2Flarge.yaml", node.client());
    let before = client.get(path).await;
    orders(&client, &[150]).await;
    let event = client.get("/events?limit=1").await["items"][0]["id"].clone();
    let revision = client.get(&format!("/events/{}", event.as_str().unwrap())).await["catalog"].clone();
    node.kill();
    place.write_pack_file("shop/rules/large.yaml", &format!("# About large orders.\n{}", RULE.replace("> 100", "> 1000")));
    let node = place.start();
    let client = node.client();
    let now = client.get(path).await;
    assert!(now["text"].as_str().unwrap().contains("> 1000") && now["tokens"][0][2] == "comment", "{now:#}");
    assert_eq!((&before["defines"][0]["line"], &now["defines"][0]["line"]), (&json!(1), &json!(2)));
    let earlier = client.get(&format!("{path}?revision={revision}")).await;
    assert_eq!(earlier, before);
}

#[tokio::test]
async fn gates_fail_on_lost_events_and_removed_rules() {
    let place = place();
    place.write_pack_file("shop/rules/small.yaml", &RULE.replace("> 100", "< 10"));
    let node = place.start();
    orders(&node.client(), &[5, 50, 150, 250, 350]).await;
    place.write_pack_file("shop/rules/large.yaml", &RULE.replace("> 100", "> 1000"));
    let tried = |what: &str, gates: &[&str]| {
        let arguments = [["rules", "backtest", what].as_slice(), gates].concat();
        CommandOutput::by(place.ensue(&arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN))
    };
    let rule = "packs/shop/rules/large.yaml";
    assert_eq!([tried(rule, &["--max-new", "0"]).code, tried(rule, &["--max-lost", "3"]).code], [Some(0), Some(0)]);
    let lost = tried(rule, &["--max-lost", "2"]);
    assert!(lost.code == Some(1) && lost.stderr.contains("would not act, or would err, on 3 events on which it acted before"), "{lost:?}");
    assert_eq!(tried(rule, &["--max-changed", "2"]).code, Some(1));
    std::fs::remove_file(place.path().join("packs/shop/rules/small.yaml")).unwrap();
    let pack = tried("packs/shop", &["--max-lost", "3", "-o", "json"]);
    assert!(pack.code == Some(1) && pack.stderr.contains("the pack `shop` would not act, or would err, on 4 events"), "{pack:?}");
    let told: Value = serde_json::from_str(&pack.stdout).unwrap();
    let rules: Vec<_> = told["items"].as_array().unwrap().iter().map(|item| (&item["rule"], &item["removed"])).collect();
    assert_eq!(rules, [(&json!("shop.large"), &json!(false)), (&json!("shop.small"), &json!(true))]);
    assert_eq!(tried("packs/shop", &["--max-changed", "4"]).code, Some(0));
}

#[tokio::test]
async fn invalid_backtest_is_rejected_with_the_place() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let mistaken = client.post("/rules/backtest", &with_text("trigger: shop.odrer\naction: core.echo\n")).await;
    assert_eq!((mistaken.status, &mistaken.body["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("rule_invalid")));
    assert!(mistaken.body["detail"].as_str().unwrap().contains("rules/large.yaml:1:"), "{:#}", mistaken.body);
    let scheduled = client.post("/rules/backtest", &json!({ "rule": "shop.nightly" })).await;
    assert_eq!((scheduled.status, &scheduled.body["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("rule_invalid")));
    for nobody in ["shop.none", "none.large"] {
        let asked = json!({ "rule": nobody, "file": { "path": "rules/large.yaml", "text": RULE } });
        assert_eq!(client.post("/rules/backtest", &asked).await.status, StatusCode::NOT_FOUND);
    }
    let other = ["rules", "backtest", "packs/shop/rules/none.yaml"];
    let elsewhere = json!({ "rule": "shop.large", "file": { "path": "drafts/large.yaml", "text": RULE } });
    assert_eq!(client.post("/rules/backtest", &elsewhere).await.body["code"], "rule_invalid");
    let missing = CommandOutput::by(place.ensue(&other).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    assert_eq!(missing.code, Some(5), "{missing:?}");
}
