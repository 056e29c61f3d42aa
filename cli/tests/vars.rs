//! Vars on a running node: an action's value is stored once and read by later executions, even if the node is
//! killed.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, CommandOutput, Node, NodeFolder};

/// Continues from the last run's value, and stores its own.
const NEXT: &str = "\
description: Goes on by one.
run:
  workflow:
    steps:
      next:
        action: core.set_var
        with: { name: count.to, value: \"${{ vars[?'count.to'].orValue(0) + 1 }}\" }
      say:
        needs: [next]
        action: count.say
    result: { now: \"${{ vars['count.to'] }}\", said: \"${{ steps.say.result }}\" }
";

/// Reads a var in a template. It may run twice: a node that was killed just before it handed an attempt to a
/// supervisor cannot know whether the program began, and would ask a person about any other action.
const SAY: &str = "\
description: Says it.
idempotent: true
run:
  shell:
    script: printf %s \"$N\"
    env: { N: \"${{ vars['count.to'] }}\" }
";

/// Matches as long as the var is small.
const RULE: &str = "\
trigger: count.ping
when: vars[?'count.to'].orValue(0) < 3
action: core.echo
with: { message: \"${{ vars[?'count.to'].orValue(0) }}\" }
";

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "160"))
}

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("count/pack.yaml", "name: count\nversion: 1.0.0\ndescription: Counts.\n");
    place.write_pack_file("count/triggers/ping.yaml", "description: A ping.\npayload: {}\n");
    place.write_pack_file("count/actions/next.yaml", NEXT);
    place.write_pack_file("count/actions/say.yaml", SAY);
    place.write_pack_file("count/rules/few.yaml", RULE);
    place
}

async fn await_end(node: &Node, id: &str) -> Value {
    node.client().until(&format!("/executions/{id}"), |execution| execution["ended_at"] != Value::Null).await
}

#[tokio::test]
async fn var_set_by_one_run_is_read_by_the_next_and_changes_once_despite_kills() {
    let place = place();
    let mut node = place.start();
    for n in 1..=6 {
        let id = node.client().execute("count.next", &json!({})).await;
        if n % 2 == 0 {
            node.kill();
            node = place.start();
        }
        let execution = await_end(&node, &id).await;
        assert_eq!(execution["status"], "succeeded", "{execution}");
        assert_eq!(execution["result"], json!({ "now": n, "said": n.to_string() }), "{execution}");
    }
    let var = node.client().get("/vars/count.to").await;
    assert_eq!((&var["value"], &var["name"]), (&json!(6), &json!("count.to")));
    let mut set = 0;
    let mut page = node.client().get("/log?limit=200").await;
    loop {
        set += page["items"].as_array().unwrap().iter().filter(|record| record["kind"] == "var.set").count();
        let Some(next) = page["next"].as_str().map(str::to_owned) else { break };
        page = node.client().get(&format!("/log?limit=200&cursor={next}")).await;
    }
    assert_eq!(set, 6);
    let replayed = ensue(&place, &node, &["replay", "--last", "6", "--action", "count.next", "-o", "json"]);
    let told: Value = serde_json::from_str(&replayed.stdout).unwrap();
    assert_eq!((replayed.code, &told["same"]), (Some(0), &json!(6)), "{}{}", replayed.stdout, replayed.stderr);
}

#[tokio::test]
async fn vars_can_be_set_shown_listed_and_removed_and_affect_rules() {
    let place = place();
    let node = place.start();
    let run = |arguments: &[&str]| ensue(&place, &node, arguments);
    for (value, outcomes) in [("2", 1), ("3", 1)] {
        assert_eq!(run(&["vars", "set", "count.to", value]).code, Some(0));
        let sent = node.client().post("/events", &json!({ "trigger": "count.ping", "payload": {} })).await;
        assert!(sent.status.is_success(), "{sent:#?}");
        let made = node.client().until("/enforcements", |list| list["items"].as_array().is_some_and(|items| items.len() >= outcomes)).await;
        assert_eq!(made["items"].as_array().unwrap().len(), outcomes, "{made}");
    }
    let shown = run(&["vars", "show", "count.to"]);
    assert_eq!(shown.stdout.trim(), "3", "{}", shown.stderr);
    assert_eq!(run(&["vars", "set", "banner", "--text", "Closed today"]).code, Some(0));
    let listed = run(&["vars", "list"]);
    assert!(listed.stdout.contains("count.to") && listed.stdout.contains("\"Closed today\""), "{}", listed.stdout);
    let refused = run(&["vars", "set", "banner", "Closed"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("--text"), "{}", refused.stderr);
    assert_eq!(run(&["vars", "unset", "banner"]).code, Some(0));
    assert_ne!(run(&["vars", "show", "banner"]).code, Some(0));
    let told = node.client().post("/rules/backtest", &json!({ "rule": "count.few" })).await;
    assert_eq!((&told.body["judged"], &told.body["matched"], &told.body["new"]["count"]), (&json!(2), &json!(1), &json!(0)), "{told:#?}");
    let events = node.client().get("/events?sort=position").await;
    for (event, verdict) in events["items"].as_array().unwrap().iter().zip(["matched", "not_matched"]) {
        let rules = node.client().get(&format!("/events/{}/rules", event["id"].as_str().unwrap())).await;
        assert_eq!(rules["items"][0]["verdict"], verdict, "{rules:#}");
    }
}
