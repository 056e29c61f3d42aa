//! Tests of packs at the command line: run, shown, reported to a CI, and generated from a node's history.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, CommandOutput, NodeFolder};

const PACK: &str = "name: release\nversion: 1.0.0\nconfig: { owner: 'string = \"acme\"' }\n";
const PING: &str = "payload: { owner: string }\n";
const RULE: &str = "trigger: release.ping\nwhen: event.payload.owner == config.owner\naction: core.echo\nwith: { message: 'Hello, ${{ event.payload.owner }}!' }\n";

const CASES: &str = "\
- it: greets the owner
  given: { event: { trigger: release.ping, payload: { owner: acme } } }
  expect: [{ rule: release.greet, with: { message: 'Hello, acme!' } }]
- it: greets everybody
  given: { event: { trigger: release.ping, payload: { owner: other } } }
  expect: [{ rule: release.greet }]
- it: builds
  run: { action: core.shell, with: { script: make } }
  expect: { status: succeeded }
";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("release/pack.yaml", PACK);
    place.write_pack_file("release/triggers/ping.yaml", PING);
    place.write_pack_file("release/rules/greet.yaml", RULE);
    place
}

/// The output without durations.
fn timeless(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let is_time = |at: usize| words.get(at + 1).is_some_and(|next| next.starts_with("ms")) && words[at].parse::<u64>().is_ok();
    (0..words.len()).map(|at| if is_time(at) { "…" } else { words[at] }).collect::<Vec<_>>().join(" ")
}

#[test]
fn pack_tests_run_and_failed_expectations_are_reported_at_their_place() {
    let place = place();
    place.write_pack_file("release/tests/greet.test.yaml", CASES);
    let printed = CommandOutput::by(&mut place.ensue(&["pack", "test"]));
    assert_eq!(printed.code, Some(1));
    insta::assert_snapshot!(format!("{}{}", printed.stdout, timeless(&printed.stderr)));
    let one = CommandOutput::by(&mut place.ensue(&["pack", "test", "packs/release", "--filter", "the owner"]));
    assert_eq!((one.code, timeless(&one.stderr).as_str()), (Some(0), "1 case passed, in … ms\n"));
}

const FEED_CASES: &str = "\
- it: announces an item and forgets the others
  given:
    messages:
      - { sensor: release.feed, body: { id: 7, title: Seven }, events: [{ trigger: release.ping, payload: { owner: Seven }, dedupe: '7' }] }
      - { sensor: release.feed, body: { id: 7, title: Seven } }
      - { sensor: release.feed, body: { id: 8 }, events: [] }
      - { sensor: release.feed, body: { id: 9, title: 9 }, refused: /owner }
  expect: [{ rule: release.greet, with: { message: 'Hello, Seven!' } }]
- it: expects something else
  given: { message: { sensor: release.feed, body: { id: 7, title: Seven }, events: [{ trigger: release.ping, payload: { owner: Eight } }] } }
  expect: [{ rule: release.greet }]
- it: does not see that a message is refused
  given: { message: { sensor: release.feed, body: { id: 9, title: 9 } } }
  expect: []
";

#[test]
fn message_of_a_sensor_makes_its_events_in_a_test_and_rules_decide_on_them() {
    let place = NodeFolder::new();
    place.write_pack_file("release/pack.yaml", PACK);
    place.write_pack_file("release/triggers/ping.yaml", PING);
    place.write_pack_file(
        "release/rules/greet.yaml",
        "trigger: release.ping\naction: core.echo\nwith: { message: 'Hello, ${{ event.payload.owner }}!' }\n",
    );
    place.write_pack_file(
        "release/sensors/feed.yaml",
        "poll: { every: 1m, http: { url: 'https://feed.example.test' }, items: body.items, only_new: item.id }\n\
         emits: [{ trigger: release.ping, when: 'has(item.title)', dedupe: '${{ item.id }}', payload: { owner: '${{ item.title }}' } }]\n",
    );
    place.write_pack_file("release/tests/feed.test.yaml", FEED_CASES);
    let printed = CommandOutput::by(&mut place.ensue(&["pack", "test", "-o", "json"]));
    let document: Value = serde_json::from_str(&printed.stdout).unwrap_or_else(|_| panic!("{printed:?}"));
    let outcomes: Vec<&Value> = document["cases"].as_array().unwrap().iter().map(|case| &case["outcome"]).collect();
    assert_eq!(outcomes, ["passed", "failed", "failed"], "{document:#}");
    let finding = |case: usize| document["cases"][case]["findings"][0].to_string();
    assert!(finding(1).contains("payload.owner") && finding(1).contains("Eight"), "{document:#}");
    assert!(finding(2).contains("refused: ") && finding(2).contains("/owner"), "{document:#}");
    let unknown = "- it: has no sensor\n  given: { message: { sensor: release.fed, body: 1 } }\n  expect: []\n";
    place.write_pack_file("release/tests/feed.test.yaml", unknown);
    let printed = CommandOutput::by(&mut place.ensue(&["check", "packs"]));
    assert!(printed.code == Some(1) && printed.stdout.contains("has no sensor `release.fed`"), "{printed:?}");
}

#[test]
fn json_and_junit_reports_have_the_same_results() {
    let place = place();
    place.write_pack_file("release/tests/greet.test.yaml", CASES);
    let printed = CommandOutput::by(&mut place.ensue(&["pack", "test", "-o", "json", "--junit", "report.xml"]));
    let document: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!((printed.code, &document["passed"], &document["failed"]), (Some(1), &json!(1), &json!(2)));
    let second = &document["cases"][1];
    assert_eq!((&second["outcome"], &second["line"], &second["findings"][0]["line"]), (&json!("failed"), &json!(4), &json!(6)));
    let report = std::fs::read_to_string(place.path().join("report.xml")).unwrap();
    for part in [
        "tests=\"3\"",
        "failures=\"2\"",
        "<testsuite name=\"release\"",
        "classname=\"packs/release/tests/greet.test.yaml\"",
        "no mock here",
    ] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
}

#[test]
fn invalid_pack_tests_are_reported_and_other_packs_still_run() {
    let place = place();
    place.write_pack_file("release/tests/greet.test.yaml", CASES);
    place.write_pack_file("other/pack.yaml", "name: other\nversion: 1.0.0\n");
    place.write_pack_file("other/tests/all.test.yaml", "- it: runs\n  run: { action: core.ecko }\n  expect: {}\n");
    let printed = CommandOutput::by(&mut place.ensue(&["pack", "test", "--filter", "the owner"]));
    assert_eq!(printed.code, Some(1), "{}", printed.stderr);
    assert!(printed.stdout.contains("did you mean `core.echo`?") && printed.stdout.contains("pass  packs/release"), "{}", printed.stdout);
    assert_eq!(CommandOutput::by(&mut place.ensue(&["check", "packs"])).code, Some(1));
}

#[test]
fn pack_without_tests_is_an_error() {
    let place = place();
    let none = CommandOutput::by(&mut place.ensue(&["pack", "test"]));
    assert_eq!(none.code, Some(5), "{}", none.stderr);
    place.write_pack_file("release/tests/greet.test.yaml", CASES);
    let filtered = CommandOutput::by(&mut place.ensue(&["pack", "test", "--filter", "nobody"]));
    assert_eq!(filtered.code, Some(5), "{}", filtered.stderr);
    let nowhere = CommandOutput::by(&mut place.ensue(&["pack", "test", "--filter", "the owner", "--junit", "no/folder/report.xml"]));
    assert!(nowhere.code == Some(1) && nowhere.stderr.contains("no/folder/report.xml"), "{}", nowhere.stderr);
}

const SHIP: &str = "\
parameters: { version: string, regions: [string] }
run:
  workflow:
    steps:
      build: { action: core.shell, with: { script: 'echo \"built: yes # no\"' } }
      approve:
        needs: build
        inquiry: { title: Going, answer: { ship: boolean }, assignees: ['role:managers', admin] }
      deploy:
        needs: approve
        if: steps.approve.answer.ship
        for_each: params.regions
        action: release.deploy
        with: { region: '${{ item }}' }
      within: { action: release.within, on_failure: continue }
      ping:
        wait: { trigger: release.ping, when: event.payload.owner == params.version, expires: 1h }
      again:
        repeat: { max: 2 }
        action: core.shell
        with: { script: 'test \"$N\" = 2 || echo first', env: { N: '${{ string(iteration) }}' } }
        undo: { action: core.shell, with: { script: echo back } }
      announce:
        needs: [deploy, within]
        if: always()
        action: core.echo
        with: { message: '${{ steps.deploy.status }}' }
";
const DEPLOY: &str = "parameters: { region: string }\nresult: { url: string }\nrun: { shell: { script: 'test \"$R\" != us && echo \"{\\\"url\\\": \\\"012\\\"}\"', env: { R: '${{ params.region }}' } } }\n";
const WITHIN: &str =
    "run: { workflow: { steps: { flaky: { action: core.shell, with: { script: exit 3 }, retry: { attempts: 2, delay: 10ms } } } } }\n";
const PONG: &str = "trigger: release.ping\nsteps:\n  one: { action: core.shell, with: { script: echo hello } }\n  two: { needs: one, action: core.echo, with: { message: '${{ steps.one.result }}' } }\n";

#[tokio::test]
async fn test_recorded_from_an_execution_passes() {
    let place = place();
    place.write_pack_file("release/actions/ship.yaml", SHIP);
    place.write_pack_file("release/actions/deploy.yaml", DEPLOY);
    place.write_pack_file("release/actions/within.yaml", WITHIN);
    place.write_pack_file("release/rules/pong.yaml", PONG);
    let node = place.start();
    let client = node.client();
    let flow = client.execute("release.ship", &json!({ "version": "v1", "regions": ["eu", "us"] })).await;
    let asked = client.until(&format!("/inquiries?parent={flow}"), |listed| listed["items"][0]["id"].is_string()).await;
    let ensue =
        |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    let early = ensue(&["executions", "record", &flow]);
    assert!(early.code == Some(6) && early.stderr.contains("has not ended"), "{}", early.stderr);
    let inquiry = asked["items"][0]["id"].as_str().unwrap();
    let answered = client
        .post(&format!("/inquiries/{inquiry}/respond"), &json!({ "answer": { "ship": true }, "digest": asked["items"][0]["digest"] }))
        .await;
    assert!(answered.status.is_success(), "{answered:#?}");
    client.post("/events", &json!({ "trigger": "release.ping", "payload": { "owner": "v1" } })).await;
    client.until(&format!("/executions/{flow}"), |shown| shown["status"] == "failed").await;
    client.post("/events", &json!({ "trigger": "release.ping", "payload": { "owner": "acme" } })).await;
    let of_rule = client.until("/executions?action=release.pong&status=succeeded", |listed| listed["items"][0]["id"].is_string()).await;
    for (name, id) in [("ship", flow.as_str()), ("pong", of_rule["items"][0]["id"].as_str().unwrap())] {
        let recorded = ensue(&["executions", "record", id]);
        assert_eq!(recorded.code, Some(0), "{}", recorded.stderr);
        let has = |text: &str| recorded.stdout.contains(text);
        assert!(!has("undo of"), "{}", recorded.stdout);
        assert!(name != "ship" || (has("undone:") && has("result: first") && has("owner: v1")), "{}", recorded.stdout);
        place.write_pack_file(&format!("release/tests/{name}.test.yaml"), &recorded.stdout);
    }
    let tested = CommandOutput::by(&mut place.ensue(&["pack", "test"]));
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);
    assert_eq!(tested.stdout.matches("pass  ").count(), 2, "{}", tested.stdout);
}

const REFUND: &str = "parameters: { owner: string }\nrun: { workflow: { steps: { one: { action: core.shell, with: { script: echo one }, undo: { action: core.shell, with: { script: echo back } } }, two: { needs: one, fail: never } } } }\n";

#[tokio::test]
async fn recorded_test_has_rule_event_result_and_undo_and_passes() {
    let place = place();
    place.write_pack_file("release/actions/refund.yaml", REFUND);
    let rule = |action: &str, when: &str| format!("trigger: release.ping\nwhen: event.payload.owner == '{when}'\naction: {action}\n");
    let (undone, done) = (rule("release.refund", "acme"), rule("core.echo", "else"));
    place.write_pack_file("release/rules/refunds.yaml", &format!("{undone}with: {{ owner: '${{{{ event.payload.owner }}}}' }}\n"));
    place.write_pack_file("release/rules/tells.yaml", &format!("{done}with: {{ message: '${{{{ event.payload.owner }}}}!' }}\n"));
    let node = place.start();
    let client = node.client();
    for (owner, action, status) in [("acme", "release.refund", "failed"), ("else", "core.echo", "succeeded")] {
        client.post("/events", &json!({ "trigger": "release.ping", "payload": { "owner": owner } })).await;
        let path =
            format!("/executions?action={action}&status={status}&rule=release.{}", if owner == "acme" { "refunds" } else { "tells" });
        let listed = client.until(&path, |listed| listed["items"][0]["id"].is_string()).await;
        let id = listed["items"][0]["id"].as_str().unwrap();
        let mut record = place.ensue(&["executions", "record", id]);
        let recorded = CommandOutput::by(record.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
        assert_eq!(recorded.code, Some(0), "{}", recorded.stderr);
        let has = |text: &str| recorded.stdout.contains(text);
        assert!(has("given:") && has("trigger: release.ping"), "{}", recorded.stdout);
        assert!(if owner == "acme" { has("undone:") } else { has("result:") && has("message: else!") }, "{}", recorded.stdout);
        place.write_pack_file(&format!("release/tests/{owner}.test.yaml"), &recorded.stdout);
    }
    let tested = CommandOutput::by(&mut place.ensue(&["pack", "test"]));
    assert_eq!((tested.code, tested.stdout.matches("pass  ").count()), (Some(0), 2), "{}{}", tested.stdout, tested.stderr);
}

#[tokio::test]
async fn case_that_would_not_pass_is_not_recorded() {
    let place = place();
    let asks = "trigger: release.ping\nsteps:\n  ask: { inquiry: { title: Going, answer: { ship: boolean }, assignees: [admin] } }\n";
    place.write_pack_file("release/rules/asks.yaml", asks);
    place.write_pack_file("release/rules/tells.yaml", "trigger: release.ping\naction: core.echo\nwith: { message: hello }\n");
    let node = place.start();
    let client = node.client();
    let ping = json!({ "trigger": "release.ping", "payload": { "owner": "acme" } });
    let told = async || {
        let event = client.post("/events", &ping).await.body["id"].as_str().unwrap().to_owned();
        let path = format!("/executions?rule=release.tells&status=succeeded&correlation={event}");
        let listed = client.until(&path, |listed| listed["items"][0]["id"].is_string()).await;
        listed["items"][0]["id"].as_str().unwrap().to_owned()
    };
    let ensue =
        |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    let beside_open = ensue(&["executions", "record", &told().await]);
    assert_eq!((beside_open.code, beside_open.stdout.as_str()), (Some(6), ""), "{}", beside_open.stderr);
    assert!(beside_open.stderr.contains("which `release.asks` began at the same event, has not ended"), "{}", beside_open.stderr);
    for mode in ["shadow", "disabled"] {
        assert_eq!(ensue(&["rules", "set", "release.asks", mode]).code, Some(0));
        let execution = told().await;
        assert_eq!(ensue(&["rules", "set", "release.asks", "enabled"]).code, Some(0), "the mode at the event counts");
        let beside_set = ensue(&["executions", "record", &execution]);
        assert_eq!((beside_set.code, beside_set.stdout.as_str()), (Some(6), ""), "{}", beside_set.stderr);
        assert!(beside_set.stderr.contains(&format!("`release.asks` was {mode} at this event")), "{}", beside_set.stderr);
    }
}
