//! Workflows of a pack on a running node: to their ends, over a kill, and cancelled.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder, Running};

const DEPLOY: &str = "\
description: Deploys one region.
parameters: { region: string }
result: { url: string }
run:
  shell:
    script: |
      test \"$REGION\" != mars || exit 3
      printf '{\"url\":\"https://%s.example.test\"}' \"$REGION\"
    env: { REGION: \"${{ params.region }}\" }
";

const SHIP: &str = "\
description: Builds, then deploys each region.
parameters: { version: string, regions: [string] }
run:
  workflow:
    steps:
      build:
        action: core.echo
        with: { message: \"${{ params.version }}\" }
      deploy:
        needs: [build]
        for_each: params.regions
        parallel: 2
        action: release.deploy
        with: { region: \"${{ item }}\" }
      announce:
        needs: [deploy]
        if: always()
        action: core.echo
        with: { message: \"${{ steps.build.result.message }}: ${{ steps.deploy.status }}\" }
    result:
      urls: ${{ steps.deploy.items.map(i, i.result.url) }}
      said: ${{ steps.announce.result.message }}
";

/// Waits in its own folder for a file `go`, and prints a line for each time that it was started.
const HOLD: &str = "\
description: Waits until it may end.
timeout: 5m
run:
  shell:
    script: |
      echo begun >> begun
      while [ ! -e go ]; do sleep 0.02; done
      cat begun
";

const HELD: &str = "\
description: Holds, then says so.
run:
  workflow:
    steps:
      before:
        action: core.echo
        with: { message: first }
      hold:
        needs: [before]
        action: release.hold
      after:
        needs: [hold]
        action: core.echo
        with: { message: \"${{ steps.before.result.message }} of all\" }
      clean:
        needs: [after]
        if: always()
        action: core.echo
        with: { message: cleaned }
    result:
      said: ${{ steps.after.result.message }}
      runs: ${{ steps.hold.result }}
";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Ships.\n");
    for (name, text) in [("deploy", DEPLOY), ("ship", SHIP), ("hold", HOLD), ("held", HELD)] {
        place.write_pack_file(&format!("release/actions/{name}.yaml"), text);
    }
    place
}

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "80"))
}

/// The steps of a workflow that are executions, as the API lists them: each step's name, item and status.
async fn steps(client: &Client, workflow: &str) -> Vec<(String, Option<u64>, String)> {
    let listed = client.get(&format!("/executions?parent={workflow}&sort=position")).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    listed["items"].as_array().unwrap().iter().map(|step| (text(&step["step"]), step["item"].as_u64(), text(&step["status"]))).collect()
}

/// Starts the workflow that waits, and waits until its program runs.
async fn start_held_workflow(place: &NodeFolder, client: &Client) -> (String, Running) {
    let id = client.execute("release.held", &json!({})).await;
    (id, Running::one(place).await)
}

#[tokio::test]
async fn workflow_runs_from_its_file_to_its_result() {
    let place = place();
    let node = place.start();
    let ran = ensue(&place, &node, &["run", "release.ship", "--param", "version=v1", "--param", "regions:=[\"eu\",\"us\"]", "--wait"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let given: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(given, json!({ "urls": ["https://eu.example.test", "https://us.example.test"], "said": "v1: succeeded" }));
    let client = node.client();
    let listed = client.get("/executions?action=release.ship").await;
    let whole = listed["items"][0]["id"].as_str().unwrap();
    for follow in [&[][..], &["--follow"]] {
        let logs = ensue(&place, &node, &[&["executions", "logs", whole], follow].concat());
        assert_eq!(logs.code, Some(0), "{logs:?}");
        for (item, region) in ["eu", "us"].iter().enumerate() {
            let printed = format!("==> deploy[{item}] (release.deploy) <==\n{{\"url\":\"https://{region}.example.test\"}}");
            assert!(logs.stdout.contains(&printed), "{printed}: {logs:?}");
        }
    }
    let id = listed["items"][0]["id"].as_str().unwrap();
    let ended = |name: &str, item: Option<u64>| (name.to_owned(), item, "succeeded".to_owned());
    let expected = [ended("build", None), ended("deploy", Some(0)), ended("deploy", Some(1)), ended("announce", None)];
    assert_eq!(steps(&client, id).await, expected);
    let tree = ensue(&place, &node, &["executions", "show", id, "--tree"]);
    for told in ["build", "deploy: 2 items, 2 succeeded", "announce"] {
        assert!(tree.stdout.contains(told), "{tree:?}");
    }
    let tree = ensue(&place, &node, &["executions", "show", id, "--tree", "-o", "json"]);
    let tree: Value = serde_json::from_str(&tree.stdout).unwrap();
    assert_eq!((&tree["items"], &tree["truncated"]), (&json!({ "deploy": 2 }), &json!(false)));
}

#[tokio::test]
async fn failed_item_fails_the_workflow_and_always_steps_still_run() {
    let place = place();
    let node = place.start();
    let ran = ensue(&place, &node, &["run", "release.ship", "--param", "version=v1", "--param", "regions:=[\"eu\",\"mars\"]", "--wait"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let why = "step `deploy` failed: 1 of 2 items failed; the first was item 1: the program ended with exit code 3";
    assert!(ran.stderr.contains(why), "{ran:?}");
    let said = node.client().get("/executions?action=core.echo").await;
    assert_eq!(said["items"][0]["step"], "announce");
}

#[tokio::test]
async fn workflow_continues_where_a_killed_node_left_it() {
    let place = place();
    let node = place.start();
    let (id, program) = start_held_workflow(&place, &node.client()).await;
    node.kill();
    let node = place.start();
    program.let_go();
    let shown = node.client().until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!(
        (&shown["status"], &shown["result"]),
        (&json!("succeeded"), &json!({ "said": "first of all", "runs": "begun" })),
        "{shown:#}"
    );
    let names: Vec<String> = steps(&node.client(), &id).await.into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["before", "hold", "after", "clean"]);
}

#[tokio::test]
async fn cancel_ends_running_steps_and_then_always_steps_clean_up() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let (id, _) = start_held_workflow(&place, &client).await;
    assert_eq!(client.post(&format!("/executions/{id}/cancel"), &json!({})).await.status, StatusCode::ACCEPTED);
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!(shown["status"], "cancelled");
    let ended = |name: &str, status: &str| (name.to_owned(), None, status.to_owned());
    assert_eq!(steps(&client, &id).await, [ended("before", "succeeded"), ended("hold", "cancelled"), ended("clean", "succeeded")]);
    assert_eq!(shown["not_started"][0]["step"], "after");
    assert_eq!(shown["not_started"][0]["skipped"], "cancelled");
}

const PUSHED: &str = "\
payload:
  version: string
  author: string?
";

const ON_PUSH: &str = "\
trigger: release.pushed
when: event.payload.version.startsWith(\"v\")
local:
  name: event.payload.version.upperAscii()
steps:
  greet:
    if: has(event.payload.author)
    action: core.echo
    with: { message: \"Thanks, ${{ event.payload.author }}!\" }
  tell:
    action: core.echo
    with: { message: \"${{ local.name }} by ${{ rule.ref }}\" }
  after:
    needs: [greet, tell]
    if: always()
    action: core.echo
    with: { message: \"${{ steps.greet.status }}, ${{ steps.tell.result.message }}\" }
";

#[tokio::test]
async fn rule_with_steps_runs_them_for_each_matching_event() {
    let place = place();
    place.write_pack_file("release/triggers/pushed.yaml", PUSHED);
    place.write_pack_file("release/rules/on_push.yaml", ON_PUSH);
    let node = place.start();
    let client = node.client();
    let sent = client.post("/events", &json!({ "trigger": "release.pushed", "payload": { "version": "v1" } })).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{:#}", sent.body);
    let done = |listed: &Value| listed["items"].as_array().is_some_and(|all| all.len() == 1);
    let listed = client.until("/executions?action=release.on_push&status=succeeded", done).await;
    let whole = &listed["items"][0];
    assert_eq!((&whole["rule"], &whole["action"]), (&json!("release.on_push"), &json!("release.on_push")));
    let id = whole["id"].as_str().unwrap();
    let ran = |name: &str| (name.to_owned(), None, "succeeded".to_owned());
    assert_eq!(steps(&client, id).await, [ran("tell"), ran("after")]);
    let last = client.get(&format!("/executions?parent={id}&sort=position")).await["items"][1]["id"].as_str().unwrap().to_owned();
    let told = client.get(&format!("/executions/{last}")).await;
    assert_eq!(told["result"], json!({ "message": "skipped, V1 by release.on_push" }));
    let why = ensue(&place, &node, &["why", &last]);
    assert!(why.stdout.contains("release.on_push") && why.stdout.contains("release.pushed"), "{why:?}");
    let refused = ensue(&place, &node, &["run", "release.on_push"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("release.on_push"), "{refused:?}");
}

const COUNTED: &str = "\
description: Counts in turns.
parameters: { to: integer }
run:
  workflow:
    steps:
      count:
        repeat: { until: 'result.message.number >= params.to', every: 50ms, max: 20, collect: '[result.message.number]' }
        action: core.echo
        with: { message: { number: \"${{ iteration }}\", before: \"${{ previous == null ? 0 : previous.message.number }}\" } }
      tell:
        needs: [count]
        action: core.echo
        with: { message: \"${{ steps.count.result }}\" }
    result:
      counted: ${{ steps.count.result }}
";

#[tokio::test]
async fn step_repeats_until_its_condition_holds_even_over_a_kill() {
    let place = place();
    place.write_pack_file("release/actions/count.yaml", COUNTED);
    let node = place.start();
    let client = node.client();
    let id = client.execute("release.count", &json!({ "to": 6 })).await;
    client.until(&format!("/executions?parent={id}"), |listed| listed["items"].as_array().is_some_and(|all| all.len() > 2)).await;
    node.kill();
    let node = place.start();
    let ended = node.client().until(&format!("/executions/{id}"), |shown| shown["status"] == "succeeded").await;
    assert_eq!(ended["result"], json!({ "counted": [1, 2, 3, 4, 5, 6] }));
    let listed = node.client().get(&format!("/executions?parent={id}&sort=position")).await;
    let turns: Vec<&Value> = listed["items"].as_array().unwrap().iter().take(6).collect();
    for (step, number) in turns.iter().zip(1..) {
        assert_eq!((&step["step"], &step["item"], &step["turn"]), (&json!("count"), &Value::Null, &json!(number)));
    }
    let tree = ensue(&place, &node, &["executions", "show", &id, "--tree"]);
    assert!(tree.stdout.contains("count: 6 turns, 6 succeeded"), "{tree:?}");
}

const AWAITED: &str = "\
description: Waits for the build of its version.
parameters: { version: string }
run:
  workflow:
    steps:
      before:
        action: release.hold
      built:
        needs: [before]
        wait: { trigger: release.pushed, when: event.payload.version == params.version, expires: 1h }
      next:
        needs: [built]
        wait: { trigger: release.pushed, when: event.payload.version == steps.built.event.payload.author, since: step }
    result: { by: \"${{ steps.built.event.payload.author }}\", at: \"${{ steps.next.event.payload.version }}\" }
";

#[tokio::test]
async fn waiting_step_accepts_an_earlier_event_even_over_a_kill() {
    let place = place();
    place.write_pack_file("release/triggers/pushed.yaml", PUSHED);
    place.write_pack_file("release/actions/awaited.yaml", AWAITED);
    let node = place.start();
    let client = node.client();
    let id = client.execute("release.awaited", &json!({ "version": "v7" })).await;
    let program = Running::one(&place).await;
    let push = |version: &str, author: &str| json!({ "trigger": "release.pushed", "payload": { "version": version, "author": author } });
    for (version, author) in [("v6", "bo"), ("v7", "ana"), ("v7", "cy"), ("ana", "too early")] {
        assert_eq!(client.post("/events", &push(version, author)).await.status, StatusCode::ACCEPTED);
    }
    node.kill();
    let node = place.start();
    program.let_go();
    let client = node.client();
    let waiting = format!("/executions?parent={id}&action=core.wait&status=waiting");
    let waits = client.until(&waiting, |listed| listed["items"].as_array().is_some_and(|all| all.len() == 1)).await;
    assert_eq!(waits["items"][0]["step"], "next");
    client.post("/events", &push("ana", "di")).await;
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!((&shown["status"], &shown["result"]), (&json!("succeeded"), &json!({ "by": "ana", "at": "ana" })), "{shown:#}");
    let refused = ensue(&place, &node, &["run", "core.wait", "--param", "trigger=release.pushed"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("as a step of a workflow"), "{refused:?}");
}

/// Its undo waits in its own folder for a file `go`.
const MOVED: &str = "\
description: Moves two tenants, or none.
run:
  workflow:
    steps:
      move:
        for_each: '[\"a\", \"b\"]'
        parallel: 1
        action: core.echo
        with: { message: \"${{ item }} moved\" }
        undo: { action: release.back, with: { what: \"${{ result.message }}\" } }
      stop:
        needs: [move]
        fail: they do not answer
";

const BACK: &str = "\
description: Takes back a change.
parameters: { what: string }
run:
  shell:
    script: |
      echo begun > begun
      while [ ! -e go ]; do sleep 0.02; done
      echo \"back: $WHAT\"
    env: { WHAT: \"${{ params.what }}\" }
";

#[tokio::test]
async fn failed_workflow_undoes_its_steps_newest_first_even_over_a_kill() {
    let place = place();
    place.write_pack_file("release/actions/move.yaml", MOVED);
    place.write_pack_file("release/actions/back.yaml", BACK);
    let node = place.start();
    let id = node.client().execute("release.move", &json!({})).await;
    node.client().until(&format!("/executions/{id}"), |shown| shown["status"] == "undoing").await;
    Running::one(&place).await.let_go();
    let undone = format!("/executions?parent={id}&action=release.back&sort=position");
    node.client().until(&undone, |listed| listed["items"].as_array().is_some_and(|all| all.len() == 2)).await;
    let program = Running::one(&place).await;
    node.kill();
    let node = place.start();
    program.let_go();
    let client = node.client();
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!((&shown["status"], &shown["error"]["kind"]), (&json!("failed"), &json!("child_failed")), "{shown:#}");
    let listed = client.get(&undone).await;
    let mut items = Vec::new();
    for step in listed["items"].as_array().unwrap() {
        assert_eq!((&step["step"], &step["undoes"], &step["status"]), (&json!("move"), &json!(true), &json!("succeeded")), "{step:#}");
        let whole = client.get(&format!("/executions/{}", step["id"].as_str().unwrap())).await;
        items.push((step["item"].as_u64(), whole["result"].as_str().unwrap().trim().to_owned()));
    }
    assert_eq!(items, [(Some(1), "back: b moved".to_owned()), (Some(0), "back: a moved".to_owned())]);
}
