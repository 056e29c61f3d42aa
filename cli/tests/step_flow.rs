//! Steps whose flow is special, on a running node: assertions, items that may fail, some of several steps,
//! events that cancel, values of a step's own; and how people see them.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder};

const ORDERED: &str = "payload: { order: integer, total: integer, items: [string] }\n";
const REFUNDED: &str = "payload: { order: integer, by: string }\n";

/// Fails for one item.
const PACK: &str = "\
description: Packs one item.
parameters: { item: string }
run:
  shell:
    script: test \"$ITEM\" != glass || exit 3
    env: { ITEM: \"${{ params.item }}\" }
";

const SHIP: &str = "\
description: Ships an order, as far as it can.
parameters: { order: integer, total: integer, items: [string] }
run:
  workflow:
    steps:
      paid:
        local: { limit: '100 * size(params.items)' }
        assert: params.total > 0 && params.total <= local.limit
        message: ${{ params.total }} is not between 1 and ${{ local.limit }}
      pack:
        needs: paid
        local: { fragile: 'params.items.filter(item, item == \"glass\")' }
        for_each: params.items
        parallel: 1
        fail_at: 1
        action: shop.pack
        with: { item: '${{ item }}' }
      near: { needs: paid, action: core.echo, with: { message: near } }
      far: { needs: paid, sleep: 1h }
      stored:
        needs: { any: 1, of: [near, far], cancel_rest: true }
        action: core.echo
        with: { message: \"${{ steps.near.status }}, ${{ steps.far.status }}\" }
      ask:
        needs: [pack, stored]
        inquiry: { title: \"Ship ${{ params.order }}?\", answer: { ship: boolean }, assignees: role:admin }
        cancel_when: { trigger: shop.refunded, when: event.payload.order == params.order }
      tell:
        needs: [pack, ask]
        if: always() && steps.pack.status == \"succeeded\"
        local: { by: steps.ask.event.payload.by }
        action: core.echo
        with: { message: \"refunded by ${{ local.by }}\" }
      late:
        needs: [pack, ask]
        if: always() && steps.pack.status == \"succeeded\"
        sleep: 1h
        cancel_when: { trigger: shop.refunded, when: event.payload.order == params.order }
    result:
      said: ${{ steps.tell.result.message }}
      stored: ${{ steps.stored.result.message }}
      broken: ${{ steps.pack.items.filter(item, item.error != null).size() }}
";

const RULE: &str = "\
trigger: shop.ordered
action: shop.ship
with: { order: '${{ event.payload.order }}', total: '${{ event.payload.total }}', items: '${{ event.payload.items }}' }
";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: A shop.\n");
    place.write_pack_file("shop/triggers/ordered.yaml", ORDERED);
    place.write_pack_file("shop/triggers/refunded.yaml", REFUNDED);
    place.write_pack_file("shop/actions/pack.yaml", PACK);
    place.write_pack_file("shop/actions/ship.yaml", SHIP);
    place.write_pack_file("shop/rules/ship.yaml", RULE);
    place
}

async fn order(client: &Client, order: u32, total: u32, items: &[&str]) -> String {
    let payload = json!({ "order": order, "total": total, "items": items });
    let answer = client.post("/events", &json!({ "trigger": "shop.ordered", "payload": payload })).await;
    answer.body["id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// Waits until an order's workflow is in a status, and returns it.
async fn ship(client: &Client, status: &str) -> Value {
    let there = |listed: &Value| listed["items"].as_array().is_some_and(|all| all.len() == 1);
    let listed = client.until(&format!("/executions?action=shop.ship&status={status}"), there).await;
    client.get(&format!("/executions/{}", listed["items"][0]["id"].as_str().unwrap())).await
}

/// What a command prints, without ids, times and durations.
fn masked_output(place: &NodeFolder, node: &Node, arguments: &[&str]) -> String {
    let printed =
        CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "140"));
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let is_id = |word: &str| word.len() == 36 && word.split('-').count() == 5;
    let is_duration = |number: &str, unit: &str| number.parse::<f64>().is_ok() && ["ms", "s", "µs"].contains(&unit);
    let mut text = String::new();
    for line in printed.stdout.lines() {
        let mut words: Vec<&str> = line.trim_end().split(' ').map(|word| if is_id(word) { "ID" } else { word }).collect();
        let at = |words: &[&str], place: usize| is_duration(words[place].trim_start_matches('+'), words[place + 1].trim_end_matches(','));
        while let Some(place) = (0..words.len().saturating_sub(1)).find(|place| at(&words, *place)) {
            words.drain(place..place + 2);
        }
        text.push_str(words.join(" ").trim_end());
        text.push('\n');
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_with_steps_that_are_cancelled_chosen_and_tolerated_is_explained() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let event = order(&client, 7, 200, &["tea", "glass", "cup"]).await;
    let asks = |listed: &Value| listed["items"].as_array().is_some_and(|all| all.len() == 1);
    client.until("/inquiries?status=open", asks).await;
    for number in [8, 7] {
        let sent = client.post("/events", &json!({ "trigger": "shop.refunded", "payload": { "order": number, "by": "ana" } })).await;
        assert!(sent.body["id"].is_string(), "{sent:?}");
    }
    let ended = ship(&client, "succeeded").await;
    assert_eq!(ended["result"], json!({ "said": "refunded by ana", "stored": "succeeded, running", "broken": 1 }), "{ended:#}");
    let withdrawn = client.get("/inquiries").await["items"][0].clone();
    assert_eq!(withdrawn["status"], "withdrawn", "{withdrawn:#}");
    let why = masked_output(&place, &node, &["why", &event]);
    insta::assert_snapshot!(why, @r#"
    event shop.ordered from api
    │  ID
    └─ rule shop.ship matched
       │  ID
       └─ shop.ship succeeded in
          │  ID
          │  {"broken":1,"said":"refunded by ana","stored":"succeeded, running"}
          ├─ step pack[0]: shop.pack succeeded in
          │     ID
          ├─ step pack[1]: shop.pack failed in
          │     ID
          │     exit_code: the program ended with exit code 3
          ├─ step pack[2]: shop.pack succeeded in
          │     ID
          ├─ step near: core.echo succeeded in
          │     ID
          │     {"message":"near"}
          ├─ step far: core.sleep cancelled
          │     ID
          │     enough of the steps that step stored needs have ended: near;
          │     cancelled: far
          ├─ step stored: core.echo succeeded in
          │     ID
          │     {"message":"succeeded, running"}
          ├─ step ask: core.inquiry cancelled
          │     ID
          │     cancelled by the event ID
          ├─ step tell: core.echo succeeded in
          │     ID
          │     {"message":"refunded by ana"}
          └─ late skipped: the event that cancels it came
    "#);
    let tree = masked_output(&place, &node, &["executions", "show", ended["id"].as_str().unwrap(), "--tree"]);
    insta::assert_snapshot!(tree, @r#"
    shop.ship succeeded
    │  ID
    ├─ pack: 3 items, 2 succeeded, 1 failed
    │  ├─ pack[0]: shop.pack succeeded
    │  ├─ pack[1]: shop.pack failed
    │  │     ID
    │  │     exit_code 3: the program ended with exit code 3
    │  └─ pack[2]: shop.pack succeeded
    ├─ near: core.echo succeeded
    ├─ far: core.sleep cancelled
    │     ID
    ├─ stored: core.echo succeeded
    ├─ ask: core.inquiry cancelled
    │     ID
    ├─ tell: core.echo succeeded
    └─ late skipped: the event that cancels it came
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn false_assertion_is_explained_with_its_values() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let event = order(&client, 7, 200, &["tea"]).await;
    let failed = ship(&client, "failed").await;
    assert_eq!(failed["error"]["message"], "step `paid` failed: 200 is not between 1 and 100", "{failed:#}");
    let why = masked_output(&place, &node, &["why", &event]);
    insta::assert_snapshot!(why, @r#"
    event shop.ordered from api
    │  ID
    └─ rule shop.ship matched
       │  ID
       └─ shop.ship failed in
          │  ID
          │  child_failed: step `paid` failed: 200 is not between 1 and 100
          ├─ paid failed
          │     assertion: 200 is not between 1 and 100
          │     params.total > 0 && params.total <= local.limit → false
          │     params.total > 0 → true
          │     params.total → 200
          │     params.total <= local.limit → false
          │     local.limit → 100
          ├─ pack skipped: the workflow is failing: step `paid` failed
          ├─ near skipped: the workflow is failing: step `paid` failed
          ├─ far skipped: the workflow is failing: step `paid` failed
          ├─ stored skipped: the workflow is failing: step `paid` failed
          ├─ ask skipped: the workflow is failing: step `paid` failed
          ├─ tell skipped: its condition does not hold
          └─ late skipped: its condition does not hold
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failed_item_too_many_fails_the_step() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let event = order(&client, 7, 200, &["glass", "tea", "glass"]).await;
    let failed = ship(&client, "failed").await;
    assert!(failed["error"]["message"].as_str().unwrap().starts_with("step `pack` failed: 2 of 3 items failed, and at most 1 may fail"));
    insta::assert_snapshot!(masked_output(&place, &node, &["why", &event]), @r#"
    event shop.ordered from api
    │  ID
    └─ rule shop.ship matched
       │  ID
       └─ shop.ship failed in
          │  ID
          │  child_failed: step `pack` failed: 2 of 3 items failed, and at most 1
          │  may fail; the first was item 0: the program ended with exit code 3
          ├─ step pack[0]: shop.pack failed in
          │     ID
          │     exit_code: the program ended with exit code 3
          ├─ step pack[1]: shop.pack succeeded in
          │     ID
          ├─ step pack[2]: shop.pack failed in
          │     ID
          │     exit_code: the program ended with exit code 3
          ├─ step near: core.echo succeeded in
          │     ID
          │     {"message":"near"}
          ├─ step far: core.sleep cancelled
          │     ID
          │     enough of the steps that step stored needs have ended: near;
          │     cancelled: far
          ├─ step stored: core.echo succeeded in
          │     ID
          │     {"message":"succeeded, running"}
          ├─ ask skipped: the workflow is failing: step `pack` failed
          ├─ tell skipped: its condition does not hold
          └─ late skipped: its condition does not hold
    "#);
}
