//! Flow control on a running node: held matches are shown, survive a kill, and are acted on once.

use std::time::{Duration, Instant};

use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder};

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

fn place() -> NodeFolder {
    let place = NodeFolder::new();
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

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "120"))
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

const DIGEST: &str = "\
trigger: demo.pushed
window: { until: 6s, key: event.payload.ref }
action: core.echo
with: { message: \"${{ events.map(e, e.payload.n) }}\" }
";

const CALM: &str = "\
trigger: demo.pushed
debounce: { quiet: 5s, most: 6s, events: all }
action: core.echo
with: { message: \"${{ events.map(e, e.payload.n) }}\" }
";

const BOTH: &str = "\
trigger: [demo.pushed, demo.passed]
window: { of: [demo.passed, demo.pushed], within: 1h, key: event.payload.ref }
action: core.echo
with: { message: \"${{ events.map(e, e.trigger) }}\" }
";

const TRIED: &str = "\
trigger: demo.passed
action: core.shell
with: { script: exit 3 }
retry: { attempts: 2, delay: 10ms }
";

/// What `ensue why` says about a rule and an event, without the ids and moments.
fn why(place: &NodeFolder, node: &Node, rule: &str, event: &str) -> String {
    let printed = ensue(place, node, &["why", "--rule", rule, "--event", event]);
    let is_id = |word: &str| word.len() == 36 && word.split('-').count() == 5;
    let is_moment = |word: &str| word.ends_with('Z') && word.contains('T');
    let bare = |word| match word {
        word if is_id(word) => "ID",
        word if is_moment(word) => "MOMENT",
        word => word,
    };
    let lines = printed.stdout.lines().map(|line| line.split(' ').map(bare).collect::<Vec<_>>().join(" ") + "\n");
    lines.collect()
}

/// Starts a node that gets two events, the second of which is held together with the first. Returns `None` if the machine was too slow
/// for that.
async fn two_held_together() -> Option<(NodeFolder, Node, String, String)> {
    let place = place();
    place.write_pack_file("demo/triggers/passed.yaml", PUSHED);
    for (name, rule) in [("digest", DIGEST), ("calm", CALM), ("both", BOTH), ("tried", TRIED)] {
        place.write_pack_file(&format!("demo/rules/{name}.yaml"), rule);
    }
    let node = place.start();
    let client = node.client();
    let begin = Instant::now();
    let first = push(&client, "main", 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = push(&client, "main", 2).await;
    client.until("/enforcements?rule=demo.calm", |made| made["items"].as_array().is_some_and(|made| made.len() == 2)).await;
    if begin.elapsed() >= Duration::from_secs(5) {
        return None;
    }
    let made = enforcements(&client, "demo.calm").await;
    let until: Vec<Timestamp> = made.iter().map(|made| made["held"]["until"].as_str().unwrap().parse().unwrap()).collect();
    // It is not quiet for five seconds after the second, but six seconds after the first are the most.
    assert_eq!(until[1].micros_since(until[0]), 1_000_000, "{until:?}");
    Some((place, node, first, second))
}

#[tokio::test(flavor = "multi_thread")]
async fn matches_that_are_acted_on_together_are_explained() {
    let mut held = None;
    for _ in 0..5 {
        held = two_held_together().await;
        if held.is_some() {
            break;
        }
    }
    let (place, node, first, second) = held.expect("two requests take less than three seconds");
    let client = node.client();
    client.until("/enforcements?rule=demo.both", |made| made["items"][1]["became"]["outcome"] == "superseded").await;
    let waiting = why(&place, &node, "demo.both", &second);
    let passed = json!({ "trigger": "demo.passed", "payload": { "ref": "main", "n": 3 } });
    let third = client.post("/events", &passed).await.body["id"].as_str().unwrap().to_owned();
    let executed = |made: &Value| made["items"].as_array().is_some_and(|all| all.iter().any(|one| one["became"]["outcome"] == "executed"));
    for rule in ["demo.digest", "demo.calm"] {
        client.until(&format!("/enforcements?rule={rule}"), executed).await;
    }
    client.until("/executions?rule=demo.tried&status=failed", |ran| ran["items"].as_array().is_some_and(|all| all.len() == 1)).await;
    let mut told = format!("demo.both, before the other trigger\n{waiting}\n");
    for (rule, event, of) in [
        ("demo.digest", &first, "first"),
        ("demo.digest", &second, "second"),
        ("demo.calm", &first, "first"),
        ("demo.calm", &second, "second"),
        ("demo.both", &first, "first"),
        ("demo.both", &second, "second"),
        ("demo.both", &third, "third"),
        ("demo.tried", &third, "third"),
    ] {
        told.push_str(&format!("{rule}, {of} event\n{}\n", why(&place, &node, rule, event)));
    }
    insta::assert_snapshot!(told, @r"
    demo.both, before the other trigger
    ✓ matched: the rule has no condition, every event of `demo.pushed` matches
      it was held by window until MOMENT
      it is still held: nothing has run yet

    demo.digest, first event
    ✓ matched: the rule has no condition, every event of `demo.pushed` matches
      it was held by window until MOMENT
      then nothing was run: its event is acted on together with others, by ID

    demo.digest, second event
    ✓ matched: the rule has no condition, every event of `demo.pushed` matches
      it was held by window until MOMENT
      then it ran core.echo: ensue executions show ID

    demo.calm, first event
    ✓ matched: the rule has no condition, every event of `demo.pushed` matches
      it was held by debounce until MOMENT
      then nothing was run: its event is acted on together with others, by ID

    demo.calm, second event
    ✓ matched: the rule has no condition, every event of `demo.pushed` matches
      it was held by debounce until MOMENT
      then it ran core.echo: ensue executions show ID

    demo.both, first event
    ✓ matched: the rule has no condition, every event of `demo.pushed` matches
      it was held by window until MOMENT
      then nothing was run: a newer match arrived, ID

    demo.both, second event
    ✓ matched: the rule has no condition, every event of `demo.pushed` matches
      it was held by window until MOMENT
      then nothing was run: its event is acted on together with others, by ID

    demo.both, third event
    ✓ matched: the rule has no condition, every event of `demo.passed` matches
      it ran core.echo: ensue executions show ID

    demo.tried, third event
    ✓ matched: the rule has no condition, every event of `demo.passed` matches
      it ran core.shell: ensue executions show ID
    ");
    let tree = ensue(&place, &node, &["why", &third]).stdout;
    let attempts = tree.lines().find(|line| line.contains("core.shell")).unwrap();
    assert!(attempts.contains("core.shell failed in") && attempts.contains(", attempt 2"), "{tree}");
}
