//! Schedules of rules and sensors on a running node: they fire, even over a kill, and the times are shown.

use std::time::Duration;

use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder};

/// Long enough for several times of a schedule with a period of one second.
const AWAY: Duration = Duration::from_secs(4);

const RULE: &str = "schedule: { every: 1s }\naction: core.echo\nwith: { message: '${{ event.payload.scheduled_at }}' }\n";
const NIGHTLY: &str = "schedule: { cron: '0 3 * * *', timezone: Europe/Berlin, jitter: 30s }\naction: core.noop\n";
const SENSOR: &str = "timer: { every: 1s }\nemits:\n  - trigger: clock.tick\n    payload: { at: '${{ scheduled_at }}' }\n";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("clock/pack.yaml", "name: clock\nversion: 1.0.0\ndescription: Goes.\n");
    place.write_pack_file("clock/rules/often.yaml", RULE);
    place
}

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "120"))
}

fn time(of: &Value) -> Timestamp {
    of.as_str().unwrap().parse().unwrap()
}

/// The records of the rule's stream of one kind of fact.
async fn records(client: &Client, kind: &str) -> Vec<Value> {
    let records = client.records().await;
    records.into_iter().filter(|record| record["stream"] == "rule/clock.often" && record["kind"] == kind).collect()
}

/// The scheduled times of the rule's executions, newest first.
async fn times(client: &Client) -> Vec<Timestamp> {
    let listed = client.get("/executions?rule=clock.often&status=succeeded&limit=200").await;
    let mut times = Vec::new();
    for listed in listed["items"].as_array().unwrap() {
        let execution = client.get(&format!("/executions/{}", listed["id"].as_str().unwrap())).await;
        times.push(time(&execution["result"]["message"]));
    }
    times
}

async fn until_run(client: &Client, least: usize) {
    let path = "/executions?rule=clock.often&status=succeeded";
    client.until(path, |listed| listed["items"].as_array().is_some_and(|items| items.len() >= least)).await;
}

#[tokio::test]
async fn scheduled_rule_runs_and_shows_its_times() {
    let place = place();
    place.write_pack_file("clock/rules/nightly.yaml", NIGHTLY);
    let node = place.start();
    let client = node.client();
    until_run(&client, 3).await;
    for fired in records(&client, "timer.fired").await {
        assert!(time(&fired["time"]) >= time(&fired["fact"]["due"]), "{fired:#}");
    }
    let mut times = times(&client).await;
    times.reverse();
    assert!(times.windows(2).all(|pair| pair[1].micros_since(pair[0]) >= 1_000_000), "{times:?}");

    let shown = client.get("/rules/clock.nightly").await;
    assert_eq!(shown["schedule"]["plan"], "0 3 * * * in Europe/Berlin, delayed by up to 30s");
    assert_eq!((&shown["triggers"], &shown["schedule"]["fired_at"]), (&json!(["core.schedule"]), &Value::Null));
    let listed = ensue(&place, &node, &["timers", "list"]).stdout;
    let due = client.get("/timers/upcoming").await;
    let first = &due["items"][0];
    assert!(first["at"].as_str().is_some_and(|at| due["since"].as_str().unwrap() <= at), "{first:#}");
    let upcoming = ensue(&place, &node, &["timers", "upcoming"]).stdout;
    assert!(upcoming.contains(first["rule"].as_str().or(first["sensor"].as_str()).unwrap()), "{upcoming}");
    assert!(listed.contains("rule clock.often") && listed.contains("rule clock.nightly"), "{listed}");
    let shown = ensue(&place, &node, &["rules", "show", "clock.often"]).stdout;
    assert!(shown.contains("every 1s") && shown.contains("fired "), "{shown}");
    let event = client.get("/events?trigger=core.schedule&limit=1").await["items"][0].clone();
    assert_eq!((&event["rule"], &event["source"], &event["matched"]), (&json!("clock.often"), &json!("clock.often"), &json!(1)));
    let rules = client.get(&format!("/events/{}/rules", event["id"].as_str().unwrap())).await;
    assert_eq!(rules["items"].as_array().map(Vec::len), Some(1), "{rules:#}");
}

#[tokio::test]
async fn killed_node_fires_missed_times_once_and_keeps_the_phase() {
    let place = place();
    let node = place.start();
    until_run(&node.client(), 2).await;
    node.kill();
    std::thread::sleep(AWAY);
    let node = place.start();
    let client = node.client();
    client.until("/timers?rule=clock.often", |timers| timers["items"][0]["missed"].is_object()).await;
    let missed = records(&client, "schedule.missed").await;
    assert_eq!(missed.len(), 1, "{missed:#?}");
    let (from, until) = (time(&missed[0]["fact"]["from"]), time(&missed[0]["fact"]["until"]));
    let run = client.get("/executions?rule=clock.often&limit=200").await["items"].as_array().map_or(0, Vec::len);
    until_run(&client, run + 2).await;
    let times = times(&client).await;
    assert!(times.contains(&until) && times.iter().all(|time| *time < from || *time >= until), "{from} {until} {times:?}");
    // Each once, and on whole seconds after the record that set it.
    let first = times[0].micros();
    assert!(times.iter().all(|time| (first - time.micros()) % 1_000_000 == 0), "{times:?}");
    let mut once = times.clone();
    once.dedup();
    assert_eq!(once, times);
}

#[tokio::test]
async fn disabled_and_removed_rules_have_no_timers() {
    let place = place().with_arguments(&["--watch"]);
    let node = place.start();
    let client = node.client();
    until_run(&client, 1).await;
    assert_eq!(ensue(&place, &node, &["rules", "set", "clock.often", "disabled"]).code, Some(0));
    client.until("/timers", |timers| timers["items"] == json!([])).await;
    assert_eq!(ensue(&place, &node, &["rules", "set", "clock.often", "enabled"]).code, Some(0));
    client.until("/timers", |timers| timers["items"][0]["next_at"].is_string()).await;
    place.write_pack_file("clock/rules/often.yaml", "rules: { other: { schedule: { every: 1h }, action: core.noop } }\n");
    client.until("/timers", |timers| timers["items"][0]["rule"] == "clock.other").await;
    let ended = records(&client, "schedule.ended").await;
    assert_eq!(ended.iter().map(|ended| ended["fact"]["why"].as_str().unwrap()).collect::<Vec<_>>(), ["disabled", "removed"]);
}

#[tokio::test]
async fn timer_sensor_creates_events_and_is_not_a_hook() {
    let place = NodeFolder::new();
    place.write_pack_file("clock/pack.yaml", "name: clock\nversion: 1.0.0\ndescription: Goes.\n");
    place.write_pack_file("clock/triggers/tick.yaml", "payload: { at: string }\n");
    place.write_pack_file("clock/sensors/ticker.yaml", SENSOR);
    let node = place.start();
    let client = node.client();
    let listed = client.until("/events?trigger=clock.tick", |events| events["items"].as_array().is_some_and(|all| all.len() > 1)).await;
    assert_eq!(listed["items"][0]["sensor"], "clock.ticker");
    let shown = client.get("/sensors/clock.ticker").await;
    assert_eq!((&shown["source"], &shown["url"], &shown["schedule"]["plan"]), (&json!("timer"), &Value::Null, &json!("every 1s")));
    let hooks = client.get("/hooks").await;
    assert!(hooks["items"].as_array().unwrap().iter().all(|hook| hook["ref"] != "clock.ticker"), "{hooks:#}");
    assert_eq!(client.post("/hooks/clock/ticker/send", &json!({ "event": "x", "body": {} })).await.status, 404);
}

#[tokio::test]
async fn backfill_runs_the_times_of_a_range_once_in_their_zone() {
    let place = place();
    let nightly = "schedule: { cron: '0 3 * * *', timezone: Europe/Berlin }\naction: core.echo\nwith: { message: '${{ event.payload.scheduled_at }}' }\n";
    place.write_pack_file("clock/rules/nightly.yaml", nightly);
    let node = place.start();
    let client = node.client();
    let backfill = |more: &[&str]| {
        let range = ["rules", "backfill", "clock.nightly", "--since", "2020-03-27T00:00:00Z", "--until", "2020-03-31T00:00:00Z"];
        ensue(&place, &node, &[&range[..], more].concat())
    };
    let would = backfill(&["--dry-run"]);
    // Daylight saving time began on the 29th.
    let times = ["2020-03-27T02", "2020-03-28T02", "2020-03-29T01", "2020-03-30T01"].map(|hour| format!("{hour}:00:00.000000Z"));
    let lines: Vec<&str> = would.stdout.lines().collect();
    assert_eq!(lines, times.clone().map(|time| format!("{time}  missing")), "{}", would.stderr);
    assert!(would.stderr.contains("4 of 4 times would be backfilled"), "{}", would.stderr);
    assert_eq!(client.get("/executions?rule=clock.nightly").await["items"], json!([]));

    let done = backfill(&[]);
    assert!(done.code == Some(0) && done.stderr.contains("4 of 4 times backfilled"), "{}{}", done.stdout, done.stderr);
    let path = "/executions?rule=clock.nightly&status=succeeded&sort=position";
    let ran = client.until(path, |page| page["items"].as_array().is_some_and(|items| items.len() == 4)).await;
    for (execution, time) in ran["items"].as_array().unwrap().iter().zip(times) {
        let execution = client.get(&format!("/executions/{}", execution["id"].as_str().unwrap())).await;
        assert_eq!(execution["result"]["message"], time);
    }
    // These events ran no other rule of the same trigger.
    let events = client.get("/events?source=clock.nightly").await;
    assert!(
        events["items"].as_array().unwrap().iter().all(|event| event["rule"] == "clock.nightly" && event["matched"] == 1),
        "{events:#}"
    );

    let again = backfill(&[]);
    assert!(again.stderr.contains("0 of 4 times backfilled") && again.stdout.contains("fired before: event "), "{}", again.stderr);
    assert_eq!(client.get(path).await["items"].as_array().unwrap().len(), 4);

    // With a key, a repeat gets the first answer, even if that was lost.
    let asked = json!({ "since": "2021-01-01T00:00:00Z", "until": "2021-01-03T00:00:00Z" });
    let keyed = || async {
        let asked =
            client.request(reqwest::Method::POST, "/api/v1/rules/clock.nightly/backfill").header("idempotency-key", "one").json(&asked);
        asked.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let (first, second) = (keyed().await, keyed().await);
    assert_eq!((first["items"].as_array().map(Vec::len), &first["items"][0]["fired_before"]), (Some(2), &json!(false)), "{first:#}");
    assert_eq!(first, second);
    let too_many = ensue(&place, &node, &["rules", "backfill", "clock.nightly", "--since", "2000-01-01T00:00:00Z"]);
    assert!(too_many.code != Some(0) && too_many.stderr.contains("more than 1000 times"), "{}", too_many.stderr);
    ensue(&place, &node, &["rules", "set", "clock.nightly", "disabled"]);
    let disabled = backfill(&["--dry-run"]);
    assert!(disabled.code != Some(0) && disabled.stderr.contains("is disabled"), "{}", disabled.stderr);
    let no_clock = ensue(&place, &node, &["rules", "backfill", "clock.often", "--since", "2h"]);
    assert!(no_clock.code != Some(0) && no_clock.stderr.contains("cannot be computed from a clock"), "{}", no_clock.stderr);
}
