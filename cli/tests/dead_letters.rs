//! Dead letters on a running node: once the cause is fixed, each can be retried, and only once.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Delivery, Node, NodeFolder};

const SENSOR: &str = "\
description: The shop's webhook.
webhook: { verify: { scheme: github, key: shop.webhook_secret } }
emits:
  - { trigger: shop.order, when: 'headers[\"x-github-event\"] == \"order\" && query.site == \"eu\"' }
";

/// The payload of an order: how many, and of what.
fn trigger(amount: &str) -> String {
    format!("description: Somebody ordered.\npayload: {{ amount: {amount}, what: string }}\n")
}

const RULE: &str = "\
description: Charges each order.
trigger: shop.order
action: shop.charge
with: { what: \"${{ event.payload.what }}\" }
";

/// Charges every order except one.
fn charge(but: &str) -> String {
    format!(
        "description: Charges.\nparameters: {{ what: string }}\nrun:\n  shell:\n    script: test \"$WHAT\" != {but} || exit 3\n    env: {{ WHAT: \"${{{{ params.what }}}}\" }}\n"
    )
}

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    let secret = place.path().join("secret").display().to_string();
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: A shop.\nkeys: [webhook_secret]\n");
    place.write_pack_file("shop/sensors/hook.yaml", SENSOR);
    place.write_pack_file("shop/triggers/order.yaml", &trigger("integer"));
    place.write_pack_file("shop/actions/charge.yaml", &charge("tea"));
    place.write_pack_file("shop/rules/charge.yaml", RULE);
    place.with_variable("ENSUE_KEY_SHOP_WEBHOOK_SECRET_FILE", &secret)
}

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "120"))
}

async fn order(client: &Client, id: &str, body: &Value) -> u16 {
    let delivery = Delivery::github("order", id, body.to_string().as_bytes()).at("/hooks/shop/hook?site=eu");
    client.deliver(&delivery).await.unwrap().status.as_u16()
}

#[tokio::test]
async fn delivery_with_a_query_is_stored_without_it_and_cannot_be_retried() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let misfit = json!({ "amount": "2", "what": "milk" }).to_string();
    let delivery = Delivery::github("order", "d-1", misfit.as_bytes()).at("/hooks/shop/hook?site=eu&token=hush");
    assert_eq!(client.deliver(&delivery).await.unwrap().status.as_u16(), 422);
    let letter = letters(&client, "status=open", 1).await.remove(0);
    let refused = ensue(&place, &node, &["dead-letters", "retry", letter["id"].as_str().unwrap()]);
    assert!(refused.code != Some(0) && refused.stderr.contains("was not stored"), "{}", refused.stderr);
    let records = client.records().await;
    assert!(!records.iter().any(|record| record.to_string().contains("hush")), "{records:#?}");
}

async fn letters(client: &Client, query: &str, count: usize) -> Vec<Value> {
    let page = client.until(&format!("/dead_letters?{query}"), |page| page["items"].as_array().is_some_and(|all| all.len() == count)).await;
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn delivery_rejected_by_its_trigger_can_be_retried_once_it_is_fixed() {
    let place = place();
    let node = place.start();
    assert_eq!(order(&node.client(), "d-1", &json!({ "amount": "2", "what": "milk" })).await, 422);
    let letter = letters(&node.client(), "status=open", 1).await.remove(0);
    let id = letter["id"].as_str().unwrap();
    assert_eq!((&letter["sensor"], &letter["execution"]), (&json!("shop.hook"), &json!(null)));
    let refused = ensue(&place, &node, &["dead-letters", "retry", id]);
    assert!(refused.code != Some(0) && refused.stderr.contains("/amount"), "{}", refused.stderr);
    node.kill();

    place.write_pack_file("shop/triggers/order.yaml", &trigger("string"));
    let node = place.start();
    let client = node.client();
    let would = ensue(&place, &node, &["dead-letters", "retry", id, "--dry-run"]);
    assert_eq!((would.code, would.stdout.trim()), (Some(0), format!("{id}  would be done").as_str()), "{}", would.stderr);
    let taken = ensue(&place, &node, &["dead-letters", "retry", id]);
    assert_eq!((taken.code, taken.stdout.trim()), (Some(0), format!("{id}  accepted: 1 event").as_str()), "{}", taken.stderr);
    let ended = client.until("/executions?status=succeeded", |page| page["items"].as_array().is_some_and(|all| all.len() == 1)).await;
    assert_eq!((&ended["items"][0]["rule"], &ended["items"][0]["correlation"]), (&json!("shop.charge"), &json!(id)));
    let shown = client.get(&format!("/dead_letters/{id}")).await;
    let event = shown["settled"]["events"][0].as_str().unwrap().to_owned();
    assert_eq!((&shown["status"], &shown["delivered"]["what"]), (&json!("retried"), &json!("milk")));
    assert_eq!(client.get(&format!("/events/{event}")).await["source"], "shop.hook");

    let again = ensue(&place, &node, &["dead-letters", "retry", id]);
    assert!(again.code != Some(0) && again.stderr.contains("is not open"), "{}", again.stderr);
    let records = client.records().await;
    let kept = records.iter().find(|record| record["kind"] == "delivery.refused").unwrap().to_string();
    assert!(kept.contains("\"x-github-event\"") && !kept.contains("x-hub-signature"), "{kept}");
}

#[tokio::test]
async fn failed_executions_are_rerun_by_action_and_dismissed_ones_are_not() {
    let place = place();
    let node = place.start();
    let client = node.client();
    // The same body would be a duplicate, whatever its id is.
    for (id, amount, what) in [("d-1", 1, "tea"), ("d-2", 1, "milk"), ("d-3", 2, "tea"), ("d-4", 3, "tea")] {
        assert_eq!(order(&client, id, &json!({ "amount": amount, "what": what })).await, 202);
    }
    let failed = letters(&client, "status=open&action=shop.charge", 3).await;
    let dismissed = failed[0]["execution"].as_str().unwrap();
    assert_eq!(ensue(&place, &node, &["dead-letters", "dismiss", dismissed]).stdout.trim(), format!("{dismissed}  done"));
    let shown = ensue(&place, &node, &["dead-letters", "show", dismissed]);
    assert!(shown.stdout.contains("dismissed") && shown.stdout.contains("token/"), "{}", shown.stdout);
    node.stop_well();
    place.write_pack_file("shop/actions/charge.yaml", &charge("nothing"));

    let node = place.start();
    let client = node.client();
    let all = ensue(&place, &node, &["dead-letters", "retry", "--action", "shop.charge"]);
    assert_eq!((all.code, all.stdout.matches("runs again as").count()), (Some(0), 2), "{}{}", all.stdout, all.stderr);
    client.until("/executions?status=succeeded", |page| page["items"].as_array().is_some_and(|all| all.len() == 3)).await;
    assert_eq!(letters(&client, "status=retried", 2).await.iter().filter(|letter| letter["settled"]["rerun"].is_string()).count(), 2);
    let none = ensue(&place, &node, &["dead-letters", "retry", "--action", "shop.charge"]);
    assert!(none.code == Some(0) && none.stderr.contains("none fits"), "{}", none.stderr);
    let unfiltered = ensue(&place, &node, &["dead-letters", "dismiss"]);
    assert_eq!(unfiltered.code, Some(2), "{}", unfiltered.stderr);
}
