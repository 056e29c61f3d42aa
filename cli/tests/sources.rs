//! Sensors that poll a server, watch a folder, or use the file for Python, as an author writes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::skipped::{has_program, skipped};
use crate::support::{Client, NodeFolder, until};

/// A feed on loopback: items from 1 to a number that grows, of which it returns those after `since`.
pub(crate) struct Feed {
    pub(crate) url: String,
    pub(crate) newest: Arc<AtomicU64>,
}

impl Feed {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let newest = Arc::new(AtomicU64::new(3));
        let served = newest.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let served = served.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let since = head.split("since=").nth(1).and_then(|rest| rest.split([' ', '&']).next()).unwrap_or_default().to_owned();
                    let from = since.parse::<u64>().unwrap_or(0) + 1;
                    let item = |n| json!({ "n": n, "id": n, "title": format!("news {n}"), "updated_at": n });
                    let items: Vec<Value> = (from..=served.load(Ordering::SeqCst)).map(item).collect();
                    let body = json!({ "items": items }).to_string();
                    let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { url, newest }
    }
}

/// Returns the payloads of the events of a trigger, the oldest first, once there are that many.
async fn payloads(client: &Client, trigger: &str, count: usize) -> Vec<Value> {
    let are_enough = |page: &Value| page["items"].as_array().is_some_and(|items| items.len() >= count);
    let page = client.until(&format!("/events?trigger={trigger}&limit=200"), are_enough).await;
    let mut payloads = Vec::new();
    for event in page["items"].as_array().unwrap().iter().rev() {
        let id = event["id"].as_str().unwrap();
        payloads.push(client.get(&format!("/events/{id}")).await["payload"].clone());
    }
    payloads
}

async fn until_made(client: &Client, sensor: &str, count: u64) {
    client.until(&format!("/sensors/{sensor}"), |sensor| sensor["events_count"].as_u64().is_some_and(|made| made >= count)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_a_feed_become_events_once_over_a_restart() {
    let feed = Feed::start().await;
    let place = NodeFolder::new().with_variable("ENSUE_EGRESS_ALLOW", "127.0.0.1");
    place.write_pack_file(
        "feed/pack.yaml",
        &format!("name: feed\nversion: 1.0.0\ndescription: News.\nconfig: {{ api: 'string = \"{}\"' }}\n", feed.url),
    );
    place.write_pack_file("feed/triggers/item.yaml", "description: There is an item.\npayload: { schema: { type: object } }\n");
    place.write_pack_file(
        "feed/sensors/new_items.yaml",
        "description: New items of a feed.\npoll:\n  every: 1s\n  http: { url: \"${{ config.api }}/items\", query: { since: \"${{ cursor }}\" } }\n  \
         items: body.items\n  cursor: { start: \"''\", next: \"items.map(i, i.updated_at).max()\" }\n  first: emit\n\
         emits: [{ trigger: feed.item, payload: \"${{ item }}\" }]\n",
    );
    let node = place.start();
    until_made(&node.client(), "feed.new_items", 3).await;
    node.kill();
    feed.newest.store(5, Ordering::SeqCst);
    let node = place.start();
    let client = node.client();
    until_made(&client, "feed.new_items", 5).await;
    let numbers: Vec<Value> = payloads(&client, "feed.item", 5).await.into_iter().map(|payload| payload["n"].clone()).collect();
    assert_eq!(numbers, (1..=5).map(Value::from).collect::<Vec<_>>());
}

/// Returns the two numbers after `since`, up to 5.
const FETCH: &str = "description: Fetches.\nparameters: { since: integer }\nresult: { items: '[integer]', next: integer }\nrun:\n  shell:\n    \
                     env: { SINCE: '${{ params.since }}' }\n    script: |\n      echo \"asked after $SINCE\" >&2\n      case $SINCE in\n        \
                     0) echo '{\"items\": [1, 2], \"next\": 2}' ;;\n        2) echo '{\"items\": [3, 4], \"next\": 4}' ;;\n        \
                     *) echo '{\"items\": [], \"next\": 4}' ;;\n      esac\n";

#[tokio::test(flavor = "multi_thread")]
async fn items_that_an_action_returns_become_events_once_over_a_restart() {
    let place = NodeFolder::new();
    place.write_pack_file("feed/pack.yaml", "name: feed\nversion: 1.0.0\ndescription: News.\n");
    place.write_pack_file("feed/triggers/item.yaml", "description: There is an item.\npayload: { n: integer }\n");
    place.write_pack_file("feed/actions/fetch.yaml", FETCH);
    place.write_pack_file(
        "feed/sensors/fetched.yaml",
        "description: New items.\npoll:\n  every: 1s\n  action: feed.fetch\n  with: { since: \"${{ cursor }}\" }\n  items: result.items\n  \
         cursor: { start: \"0\", next: result.next }\n  first: emit\nemits: [{ trigger: feed.item, payload: { n: \"${{ item }}\" } }]\n",
    );
    let node = place.start();
    until_made(&node.client(), "feed.fetched", 2).await;
    node.kill();
    let node = place.start();
    let client = node.client();
    until_made(&client, "feed.fetched", 4).await;
    let tested = client.post("/sensors/feed.fetched/test", &json!({ "place": "start" })).await.body;
    assert_eq!(tested["messages"][0]["events"][0]["payload"], json!({ "n": 1 }), "{tested}");
    let numbers: Vec<Value> = payloads(&client, "feed.item", 4).await.into_iter().map(|payload| payload["n"].clone()).collect();
    assert_eq!(numbers, (1..=4).map(Value::from).collect::<Vec<_>>());
    assert_eq!(client.get("/executions").await["items"], json!([]), "a poll makes no execution");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_folder_become_events_if_the_operator_allows_it() {
    let inbox = tempfile::tempdir().unwrap();
    let place = NodeFolder::new();
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: Orders.\n");
    place.write_pack_file("shop/triggers/order.yaml", "description: There is an order.\npayload: { number: integer }\n");
    place.write_pack_file(
        "shop/sensors/orders.yaml",
        &format!(
            "description: Orders.\nfile: {{ path: \"{}/*.json\", settle: 100ms, read: json, start: all, after: {{ move: done }} }}\n\
             emits: [{{ trigger: shop.order, payload: {{ number: \"${{{{ file.?body.number.orValue(0) }}}}\" }} }}]\n",
            inbox.path().display()
        ),
    );
    std::fs::write(inbox.path().join("a.json"), r#"{"number":7}"#).unwrap();
    let node = place.start();
    let refused = node.client().until("/sensors/shop.orders", |sensor| sensor["state"] == "failing").await;
    assert_eq!(refused["error"]["kind"], "egress_denied", "{refused}");
    let doctor = node.client().get("/doctor").await;
    let finding = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "sensors").unwrap().to_string();
    assert!(finding.contains("`shop.orders` fails since"), "{finding}");
    let metrics = node.client().request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("ensue_sensor_failing{sensor=\"shop.orders\"} 1"), "{metrics}");
    assert_eq!(node.stop(), Some(0));
    let place = place.with_variable("ENSUE_ACTIONS_WRITABLE", &inbox.path().display().to_string());
    let node = place.start();
    let client = node.client();
    until_made(&client, "shop.orders", 1).await;
    std::fs::write(inbox.path().join("b.json"), r#"{"number":8}"#).unwrap();
    until_made(&client, "shop.orders", 2).await;
    assert_eq!(payloads(&client, "shop.order", 2).await, [json!({ "number": 7 }), json!({ "number": 8 })]);
    client.until("/sensors/shop.orders", |_| inbox.path().join("done/b.json").exists()).await;
}

/// Returns whether each thread of a process sleeps for a while.
async fn rests(pid: u32) -> bool {
    let threads = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let status = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
        let lines = |status: String| status.lines().filter(|line| line.starts_with("State:") || line.contains("ctxt")).collect::<String>();
        status.map(lines).collect::<Vec<_>>()
    };
    let before = threads();
    tokio::time::sleep(Duration::from_millis(100)).await;
    before == threads() && before.iter().all(|thread| thread.contains("S (sleeping)"))
}

/// Reading a file is reported too, and makes nobody look at the folder. So the report of the new file is lost here,
/// and nothing but the overflow leads to it within an hour.
#[tokio::test(flavor = "multi_thread")]
async fn file_whose_report_the_system_dropped_becomes_an_event_at_once() {
    const TEST: &str = "file_whose_report_the_system_dropped_becomes_an_event_at_once";
    const REPORTS_MAX: usize = 1 << 20;
    let queue = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").ok().and_then(|text| text.trim().parse().ok());
    let Some(queue) = queue.filter(|reports: &usize| *reports < REPORTS_MAX) else {
        return skipped(TEST, "the system does not say how many reports of files it queues, or queues more than a million");
    };
    let inbox = tempfile::tempdir().unwrap();
    let place = NodeFolder::new().with_variable("ENSUE_ACTIONS_READABLE", &inbox.path().display().to_string());
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: Orders.\n");
    place.write_pack_file("shop/triggers/order.yaml", "description: There is an order.\npayload: { number: integer }\n");
    place.write_pack_file(
        "shop/sensors/orders.yaml",
        &format!(
            "description: Orders.\nfile: {{ path: \"{}/*.json\", settle: 100ms, read: json, start: all, rescan: 1h }}\n\
             emits: [{{ trigger: shop.order, payload: {{ number: \"${{{{ file.?body.number.orValue(0) }}}}\" }} }}]\n",
            inbox.path().display()
        ),
    );
    let [old, older, new] = ["old.json", "older.json", "new.json"].map(|name| inbox.path().join(name));
    std::fs::write(&older, r#"{"number":7}"#).unwrap();
    std::fs::write(&old, r#"{"number":8}"#).unwrap();
    let node = place.start();
    let client = node.client();
    until_made(&client, "shop.orders", 2).await;
    until("the node rests, because it has handled the reports of these two files", async || rests(node.pid()).await).await;
    node.signal(Signal::STOP);
    let state = format!("/proc/{}/stat", node.pid());
    until("the stop of the node", async || std::fs::read_to_string(&state).is_ok_and(|stat| stat.contains(") T "))).await;
    // The system merges equal reports that follow each other, so that two files are read in turn.
    for turn in 0..queue + 100 {
        std::fs::File::open(if turn % 2 == 0 { &old } else { &older }).unwrap();
    }
    std::fs::write(&new, r#"{"number":9}"#).unwrap();
    node.signal(Signal::CONT);
    until_made(&client, "shop.orders", 3).await;
    assert_eq!(payloads(&client, "shop.order", 3).await[2], json!({ "number": 9 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn sensor_of_the_python_guide_counts_on_after_a_restart() {
    if !has_program("sensor_of_the_python_guide_counts_on_after_a_restart", "python3") {
        return;
    }
    let page = include_str!("../../docs/guides/write-a-sensor-in-python.md");
    let place = NodeFolder::new();
    let lines: Vec<&str> = page.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(path) = line.strip_prefix("`packs/").and_then(|rest| rest.strip_suffix("`:")) else { continue };
        let block = lines[at + 2..].iter().take_while(|line| line.is_empty() || line.starts_with("    "));
        let text: Vec<&str> = block.map(|line| line.strip_prefix("    ").unwrap_or("")).collect();
        let text = format!("{}\n", text.join("\n").trim_end().replace("seconds: 1", "seconds: 0.01"));
        if path.ends_with(".py") {
            place.write_pack_program(path, &text);
        } else {
            place.write_pack_file(path, &text);
        }
    }
    place.write_pack_file("device/sensors/ensue.py", include_str!("../../sdk/python/ensue.py"));
    let node = place.start();
    until_made(&node.client(), "device.count", 5).await;
    assert_eq!(node.stop(), Some(0));
    let node = place.start();
    let client = node.client();
    let before = client.get("/sensors/device.count").await["events_count"].as_u64().unwrap();
    until_made(&client, "device.count", before + 5).await;
    let payloads = payloads(&client, "device.counted", 10).await;
    let numbers: Vec<u64> = payloads.iter().map(|payload| payload["number"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

/// Reads the feeds of a file: the name of each, and what is wrong with it. Ends if there are none.
const PARTS: &str = r#"#!/usr/bin/env python3
import json
import ensue

def watch(sensor):
    while sensor.sleep(0.05):
        with open(sensor.input["file"]) as file:
            feeds = json.load(file)
        if feeds is None:
            return
        for feed, wrong in feeds.items():
            if wrong:
                sensor.report_failing(feed, wrong)
            else:
                sensor.report_running(feed)

ensue.sensor(watch)
"#;

/// What becomes of parts, by the rule that notes it.
const RULES: [(&str, &str); 2] = [("down", "core.sensor_part_failed"), ("up", "core.sensor_part_recovered")];

#[tokio::test(flavor = "multi_thread")]
async fn part_of_a_sensor_that_fails_is_seen_from_outside() {
    if !has_program("part_of_a_sensor_that_fails_is_seen_from_outside", "python3") {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let feeds = outside.path().join("feeds.json");
    let say = |content: Value| {
        // Never half a file.
        std::fs::write(outside.path().join("new"), content.to_string()).unwrap();
        std::fs::rename(outside.path().join("new"), &feeds).unwrap();
    };
    say(json!({ "one": null, "two": "the server answered 500" }));
    let place = NodeFolder::new().with_variable("ENSUE_ACTIONS_READABLE", &outside.path().display().to_string());
    place.write_pack_file("feeds/pack.yaml", "name: feeds\nversion: 1.0.0\ndescription: Feeds.\nrequires: { packs: { core: ^0.1 } }\n");
    place.write_pack_file("feeds/triggers/read.yaml", "description: It was read.\npayload: { schema: { type: object } }\n");
    for (name, trigger) in RULES {
        let rule = format!(
            "description: Notes it.\ntrigger: {trigger}\naction: core.echo\nwith: {{ message: \"{name} ${{{{ event.payload.part }}}}\" }}\n"
        );
        place.write_pack_file(&format!("feeds/rules/{name}.yaml"), &rule);
    }
    let sensor = format!(
        "description: Reads them.\nprocess: {{ command: [./read.py], restart: on_failure, input: {{ file: \"{}\" }} }}\nemits: [{{ trigger: feeds.read }}]\n",
        feeds.display()
    );
    place.write_pack_file("feeds/sensors/items.yaml", &sensor);
    place.write_pack_program("feeds/sensors/read.py", PARTS);
    place.write_pack_file("feeds/sensors/ensue.py", include_str!("../../sdk/python/ensue.py"));
    let node = place.start();
    let fails = |sensor: &Value| sensor["failing_parts"][0]["part"] == "two";
    let shown = node.client().until("/sensors/feeds.items", fails).await;
    assert_eq!(shown["failing_parts"][0]["error"], "the server answered 500", "{shown}");
    assert_eq!(shown["failing_parts"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_ne!(shown["state"], "failing", "{shown}");
    let events = payloads(&node.client(), "core.sensor_part_failed", 1).await;
    let event = json!({ "sensor": "feeds.items", "source": "process", "part": "two", "error": "the server answered 500" });
    assert_eq!(events, [event]);
    let doctor = node.client().get("/doctor").await;
    let finding = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "sensor parts").unwrap();
    assert_eq!(finding["verdict"], "warning", "{finding}");
    assert!(finding.to_string().contains("`two` of `feeds.items` fails since"), "{finding}");
    let metrics = node.client().request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("ensue_sensor_failing_parts{sensor=\"feeds.items\"} 1"), "{metrics}");
    let since = node.client().until("/sensors/feeds.items", fails).await["failing_parts"][0]["since"].clone();
    node.kill();
    // It is not another failure after a restart.
    let node = place.start();
    let client = node.client();
    let again = client.until("/sensors/feeds.items", fails).await;
    assert_eq!(again["failing_parts"][0]["since"], since, "{again}");
    say(json!({ "one": null, "two": null }));
    client.until("/sensors/feeds.items", |sensor| sensor["failing_parts"] == json!([])).await;
    // That it works again is recorded after a minute, or when the sensor is done.
    say(Value::Null);
    let recovered = payloads(&client, "core.sensor_part_recovered", 1).await;
    assert_eq!((&recovered[0]["part"], &recovered[0]["since"]), (&json!("two"), &since), "{recovered:?}");
    assert_eq!(payloads(&client, "core.sensor_part_failed", 1).await.len(), 1);
}
