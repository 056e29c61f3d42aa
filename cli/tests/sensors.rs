//! Sensors that read a source: a program in Python whose lines become events, over restarts of the node.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::skipped::skipped;
use crate::support::{ADMIN_TOKEN, Client, Node, Place, Printed};

/// How many items the program has.
const ITEMS: u64 = 400;
/// Its program prints its items after the cursor, each with the cursor behind it, and then waits for its end.
const SENSOR: &str = "\
description: Reads the items.
process:
  command:
    - python3
    - -c
    - |
      import json, sys, time
      n = json.loads(sys.stdin.readline())['cursor'] or 0
      print(f'begins after {n}', file=sys.stderr, flush=True)
      while n < 400:
          n += 1
          print(json.dumps({'event': {'n': n}, 'cursor': n}), flush=True)
          time.sleep(0.005)
      for line in sys.stdin:
          pass
emits: [{ trigger: feed.item, payload: '${{ line }}' }]
";

fn place(test: &str) -> Option<Place> {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        skipped(test, "there is no python3 here");
        return None;
    }
    let place = Place::new();
    place.write_pack_file("feed/pack.yaml", "name: feed\nversion: 1.0.0\ndescription: Items of a feed.\n");
    place.write_pack_file("feed/triggers/item.yaml", "description: There is an item.\npayload: { n: integer }\n");
    place.write_pack_file("feed/sensors/items.yaml", SENSOR);
    Some(place)
}

/// The numbers of the items in the log, in order.
async fn items(client: &Client) -> Vec<u64> {
    let mut items = Vec::new();
    let mut path = "/events?trigger=feed.item&limit=200".to_owned();
    loop {
        let page = client.get(&path).await;
        for event in page["items"].as_array().unwrap() {
            let shown = client.get(&format!("/events/{}", event["id"].as_str().unwrap())).await;
            items.push(shown["payload"]["n"].as_u64().unwrap());
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/events?trigger=feed.item&limit=200&cursor={next}");
    }
    items.reverse();
    items
}

fn command(place: &Place, node: &Node, arguments: &[&str]) -> Printed {
    Printed::by(place.ensue(arguments).env("ENSUE_TOKEN", ADMIN_TOKEN).env("ENSUE_SERVER", node.url()))
}

async fn until_read(client: &Client, many: u64) -> Value {
    client.until("/sensors/feed.items", |sensor| sensor["events_count"].as_u64().is_some_and(|count| count >= many)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_program_become_events_once_although_the_node_is_killed() {
    let Some(place) = place("lines_of_a_program_become_events_once_although_the_node_is_killed") else { return };
    let node = place.start();
    until_read(&node.client(), 20).await;
    node.kill();
    let node = place.start();
    until_read(&node.client(), 150).await;
    assert_eq!(node.stop(), Some(0));
    let node = place.start();
    let client = node.client();
    let sensor = until_read(&client, ITEMS).await;
    assert_eq!((&sensor["state"], &sensor["cursor"], &sensor["mode"]), (&json!("running"), &json!(ITEMS), &json!("enabled")));
    assert_eq!(items(&client).await, (1..=ITEMS).collect::<Vec<_>>());
    let logs = command(&place, &node, &["sensors", "logs", "feed.items"]);
    assert!(logs.stdout.contains("begins after "), "{logs:?}");
    assert!(!logs.stdout.contains("begins after 0"), "the cursor was lost: {logs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sensor_is_disabled_rewound_and_enabled_from_the_command_line() {
    let Some(place) = place("sensor_is_disabled_rewound_and_enabled_from_the_command_line") else { return };
    let node = place.start();
    let client = node.client();
    until_read(&client, ITEMS).await;
    let disabled = command(&place, &node, &["sensors", "disable", "feed.items"]);
    assert_eq!(disabled.stdout.trim(), "disabled", "{disabled:?}");
    client.until("/sensors/feed.items", |sensor| sensor["state"] == "disabled").await;
    let rewound = command(&place, &node, &["sensors", "rewind", "feed.items", "--to", "390"]);
    assert_eq!(rewound.stdout.trim(), "feed.items", "{rewound:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(items(&client).await.len() as u64, ITEMS, "a disabled sensor reads nothing");
    command(&place, &node, &["sensors", "enable", "feed.items"]);
    until_read(&client, ITEMS + 10).await;
    let listed = command(&place, &node, &["sensors", "list"]);
    assert!(listed.stdout.contains("feed.items") && listed.stdout.contains("process"), "{listed:?}");
    let kinds: Vec<Value> = client.records().await.into_iter().filter(|record| record["stream"] == "sensor/feed.items").collect();
    let by: Vec<&Value> = kinds.iter().filter(|record| record["kind"] == "sensor.cursor_set").map(|record| &record["actor"]).collect();
    assert_eq!(by.len(), 1, "{by:?}");
    let refused = command(&place, &node, &["sensors", "restart", "github.webhook"]);
    assert!(refused.stderr.contains("does not pull"), "{refused:?}");
}
