//! Explanations of rules: at the command line and over the API, for stored events and for events that were
//! never sent.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, CommandOutput, Node, NodeFolder};

const PACK: &str = "name: release\nversion: 1.0.0\nconfig:\n  owner: 'string = \"acme\"'\n";
const TRIGGER: &str =
    "description: Something was pushed.\npayload:\n  ref: string\n  after: string\n  repository: object\n  pusher: object?\n";
const RULE: &str = r#"description: Ship every version tag of a repository we own.
trigger: release.pushed
when: |
  event.payload.ref.startsWith("refs/tags/v")
    && event.payload.repository.owner.login == config.owner
local: { version: 'event.payload.ref.split("/")[2]' }
action: core.echo
with: { message: 'ship ${{ local.version }}' }
"#;

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("release/pack.yaml", PACK);
    place.write_pack_file("release/triggers/pushed.yaml", TRIGGER);
    place.write_pack_file("release/rules/ship_on_tag.yaml", RULE);
    place.write_pack_file(
        "release/rules/greet_ada.yaml",
        "description: Errs where nobody pushed.\ntrigger: release.pushed\nwhen: event.payload.pusher.name == \"ada\"\naction: core.noop\n",
    );
    place
}

fn push(reference: &str) -> Value {
    json!({ "ref": reference, "after": "abc", "repository": { "owner": { "login": "acme" } } })
}

/// Sends an event and returns its id.
async fn send_push(node: &Node, reference: &str) -> String {
    let answer = node.client().post("/events", &json!({ "trigger": "release.pushed", "payload": push(reference) })).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    let id = answer.body["id"].as_str().unwrap().to_owned();
    node.client().until("/events?trigger=release.pushed&limit=1", |page| page["items"][0]["id"] == id).await;
    id
}

fn run_command(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).args(["--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN))
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_explains_matches_and_mismatches_with_old_and_current_version() {
    let place = place();
    let node = place.start();
    let (tag, branch) = (send_push(&node, "refs/tags/v1.2.0").await, send_push(&node, "refs/heads/main").await);

    let not = run_command(&place, &node, &["why", "--rule", "release.ship_on_tag", "--event", &branch]);
    assert_eq!(not.code, Some(0), "{not:?}");
    assert_eq!(
        not.stdout,
        "✗ not matched, because\n    \
         event.payload.ref.startsWith(\"refs/tags/v\")          → false   (event.payload.ref = \"refs/heads/main\")\n  \
         it would match if that were true; the other part already is:\n    \
         event.payload.repository.owner.login == config.owner → true   (\"acme\" = \"acme\")\n"
    );
    let matched = run_command(&place, &node, &["why", "--rule", "release.ship_on_tag", "--event", &tag]);
    assert!(matched.stdout.starts_with("✓ matched, because\n"), "{matched:?}");
    assert!(matched.stdout.contains("it ran core.echo: ensue executions show "), "{matched:?}");

    let all = run_command(&place, &node, &["why", "--event", &branch, "--all"]);
    assert_eq!(all.code, Some(0), "{all:?}");
    assert!(all.stdout.contains("✗ release.ship_on_tag  event.payload.ref.startsWith(\"refs/tags/v\")  → false"), "{all:?}");
    assert!(all.stdout.contains("! release.greet_ada"), "{all:?}");

    let value = run_command(
        &place,
        &node,
        &[
            "eval",
            "event.payload.ref.startsWith('refs/tags/v') || config.owner == 'x'",
            "--event",
            &tag,
            "--rule",
            "release.ship_on_tag",
            "--explain",
        ],
    );
    assert!(value.stdout.starts_with("true\n✓ true, because\n"), "{value:?}");
    let local = run_command(&place, &node, &["eval", "local.version", "--event", &tag, "--rule", "release.ship_on_tag"]);
    assert_eq!((local.code, local.stdout.as_str()), (Some(0), "\"v1.2.0\"\n"), "{local:?}");

    // An event that was never sent, at the command line and over the API.
    std::fs::write(place.path().join("push.json"), push("refs/tags/v9").to_string()).unwrap();
    let imagined = run_command(&place, &node, &["why", "--rule", "release.ship_on_tag", "--payload", "push.json"]);
    assert!(imagined.stdout.contains("it would run core.echo with {\"message\":\"ship v9\"}"), "{imagined:?}");
    let given = json!({ "event": { "trigger": "release.pushed", "payload": push("refs/heads/x") } });
    let explained = node.client().post("/rules/release.ship_on_tag/explain", &given).await;
    assert_eq!((explained.status, &explained.body["verdict"]), (StatusCode::OK, &json!("not_matched")), "{:#}", explained.body);
    assert_eq!(explained.body["flips"][0]["turns"][0]["to"], true);
    let other = run_command(&place, &node, &["why", "--rule", "examples.celebrate_merge", "--event", &tag]);
    assert_eq!(other.code, Some(6), "{other:?}");
    assert!(other.stderr.contains("handles events of `github.pull_request`"), "{other:?}");

    // The explanation of an old event uses the rule of that time, whatever the file says now.
    assert_eq!(node.stop(), Some(0));
    place.write_pack_file("release/rules/ship_on_tag.yaml", &RULE.replace("refs/tags/v", "refs/heads/"));
    let node = place.start();
    let verdict = |definitions: &str| {
        let arguments = ["why", "--rule", "release.ship_on_tag", "--event", &branch, "--definitions", definitions, "-o", "json"];
        let printed = run_command(&place, &node, &arguments);
        serde_json::from_str::<Value>(&printed.stdout).unwrap_or_else(|_| panic!("{printed:?}"))["verdict"].clone()
    };
    assert_eq!((verdict("then"), verdict("now")), (json!("not_matched"), json!("matched")));
    let rules = node.client().get(&format!("/events/{branch}/rules?definitions=now")).await;
    let now = rules["items"].as_array().unwrap().iter().find(|rule| rule["rule"] == "release.ship_on_tag").unwrap().clone();
    assert_eq!(now["verdict"], "matched");
}

#[test]
fn eval_accepts_any_data_and_shows_the_error_at_its_place() {
    let place = NodeFolder::new();
    let eval = |arguments: &[&str]| CommandOutput::by(place.ensue(&["eval"]).args(arguments));
    assert_eq!(eval(&["1 + 1"]).stdout, "2\n");
    std::fs::write(place.path().join("issue.json"), r#"{"labels": ["bug", "urgent"], "title": "It crashes"}"#).unwrap();
    let over_data = eval(&["size(labels) == 2 && title.contains('crash')", "--data", "issue.json", "-o", "json", "--explain"]);
    let json: Value = serde_json::from_str(&over_data.stdout).unwrap();
    assert_eq!((&json["value"], &json["type"], &json["explanation"]["shape"]), (&json!(true), &json!("bool"), &json!("all")), "{json:#}");
    let erred = eval(&["title.size() == colour.size()", "--data", "issue.json"]);
    assert_eq!((erred.code, erred.stdout.as_str()), (Some(1), ""), "{erred:?}");
    assert!(erred.stderr.contains("  1 | title.size() == colour.size()\n    |                 ^^^^^^\n"), "{}", erred.stderr);
    let erred = eval(&["labels[7]", "--data", "issue.json"]);
    assert_eq!(erred.code, Some(1), "{erred:?}");
    assert!(erred.stderr.contains("labels[7]\n    |       ^^^\n"), "{}", erred.stderr);
    assert_eq!(eval(&["labels", "--data", "nowhere.json"]).code, Some(6));
    assert_eq!(eval(&[]).code, Some(2));
}

#[test]
fn expressions_are_evaluated_line_by_line_despite_an_invalid_line() {
    let place = NodeFolder::new();
    let lines = concat!(
        "{\"expr\":\"a + 1\",\"data\":{\"a\":1}}\n",
        "no JSON\n",
        "{\"expr\":\"a.b\",\"data\":{\"a\":{}}}\n",
        "{\"expr\":\"b'abc'\"}\n",
        "{\"expr\":\"a.all(x, x > 0)\",\"data\":{\"a\":[1,2]}}",
    );
    let printed = CommandOutput::by_feeding(&mut place.ensue(&["eval", "--batch"]), lines.as_bytes());
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let answers: Vec<Value> = printed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 5, "{printed:?}");
    assert_eq!((&answers[0], &answers[3], &answers[4]), (&json!({ "value": 2 }), &json!({ "value": "YWJj" }), &json!({ "value": true })));
    assert_eq!((&answers[1]["error"]["kind"], &answers[2]["error"]["kind"]), (&json!("line"), &json!("missing")));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_file_explains_a_stored_event() {
    let place = place();
    let node = place.start();
    let branch = send_push(&node, "refs/heads/main").await;
    let changed = place.path().join("changed/release");
    std::fs::create_dir_all(changed.join("rules")).unwrap();
    std::fs::write(changed.join("pack.yaml"), PACK).unwrap();
    let file = changed.join("rules/ship_on_tag.yaml");
    std::fs::write(&file, RULE.replace("refs/tags/v", "refs/heads/")).unwrap();
    let file = file.to_str().unwrap();
    let ask = |file: &str| run_command(&place, &node, &["why", "--rule", "release.ship_on_tag", "--event", &branch, "--file", file]);
    let told = ask(file);
    assert!(told.stdout.starts_with("✓ matched, because\n"), "{told:?}");
    // The file has an error, which is reported with its place.
    std::fs::write(file, RULE.replace("event.payload.ref.starts", "event.payload.reference.starts")).unwrap();
    let broken = ask(file);
    assert_ne!(broken.code, Some(0));
    assert!(broken.stderr.contains("rules/ship_on_tag.yaml"), "{broken:?}");
    let outside = place.path().join("alone.yaml");
    std::fs::write(&outside, RULE).unwrap();
    let outside = ask(outside.to_str().unwrap());
    assert!(outside.stderr.contains("does not belong to a pack"), "{outside:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn judgements_of_a_rule_are_grouped_by_what_decided() {
    let place = place();
    let node = place.start();
    for reference in ["refs/tags/v1", "refs/heads/main", "refs/heads/next"] {
        send_push(&node, reference).await;
    }
    let told = run_command(&place, &node, &["rules", "judgements", "release.ship_on_tag"]);
    let groups: Vec<&str> = told.stdout.lines().skip(1).take(2).collect();
    assert!(groups[0].contains("2") && groups[0].contains("not_matched"), "{told:?}");
    assert!(groups[0].ends_with("event.payload.ref.startsWith(\"refs/tags/v\")"), "{told:?}");
    assert!(groups[1].contains("1") && groups[1].contains("matched"), "{told:?}");
    assert!(told.stderr.contains("3 events of the rule's triggers were examined"), "{told:?}");
    let erred =
        run_command(&place, &node, &["rules", "judgements", "release.greet_ada", "--verdict", "erred", "--limit", "1", "-o", "json"]);
    let erred: Value = serde_json::from_str(&erred.stdout).unwrap();
    assert_eq!((erred["items"].as_array().unwrap().len(), &erred["items"][0]["verdict"]), (1, &json!("erred")));
    assert!(erred["next"].is_string(), "{erred:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn series_count_what_happened_and_survive_a_restart() {
    let place = place();
    let node = place.start();
    for reference in ["refs/tags/v1", "refs/tags/v2", "refs/heads/main"] {
        send_push(&node, reference).await;
    }
    let client = node.client();
    client.until("/executions?status=succeeded", |page| page["items"].as_array().is_some_and(|items| items.len() == 2)).await;
    let now = client.get("/now").await;
    let sum = |counts: &Value| counts.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum(&now["rates"]["events"]), sum(&now["rates"]["requested"]), sum(&now["rates"]["failed"])), (3, 2, 0));
    node.kill();
    let node = place.start();
    let read = |arguments: &[&str]| {
        let told = run_command(&place, &node, &[&["log", "series"], arguments, &["-o", "json"]].concat());
        let series: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|why| panic!("{why}: {told:?}"));
        let rows = series["rows"].as_array().unwrap().iter();
        rows.map(|row| (row["key"].as_str().unwrap_or_default().to_owned(), row["total"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    let counted = |rows: &[(&str, u64)]| rows.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect::<Vec<_>>();
    assert_eq!(read(&["events", "--trigger", "release.pushed"]), counted(&[("", 3)]));
    assert_eq!(read(&["executions", "--by", "outcome", "--bucket", "1h"]), counted(&[("requested", 2), ("succeeded", 2)]));
    assert_eq!(read(&["enforcements", "--by", "rule"]), counted(&[("release.ship_on_tag", 2)]));
    let shown = run_command(&place, &node, &["log", "series", "events", "--by", "outcome"]);
    assert!(shown.stdout.starts_with("KEY") && shown.stdout.contains("matched"), "{shown:?}");
    let wrong = run_command(&place, &node, &["log", "series", "events", "--by", "rule"]);
    assert!(wrong.stderr.contains("`outcome` or `trigger`"), "{wrong:?}");
}
