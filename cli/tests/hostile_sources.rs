//! Programs of sensors that do not behave: they print too much, nothing, or bytes that are not text; they die at once, do not
//! stop, and leave children behind.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder, until};

/// How much memory a node may need beyond what it has, while a program prints a gigabyte.
const MEMORY_BYTES_MAX: u64 = 96 << 20;

/// A place whose pack has sensors that run these shell scripts.
fn place(scripts: &[(&str, &str)]) -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("bad/pack.yaml", "name: bad\nversion: 1.0.0\ndescription: Programs that do not behave.\n");
    place.write_pack_file("bad/triggers/item.yaml", "description: There is an item.\n");
    for (name, script) in scripts {
        let command = json!(["sh", "-c", script]);
        let sensor = format!(
            "description: Runs a program.\nprocess: {{ command: {command}, grace: 1s }}\nemits: [{{ trigger: bad.item, payload: '${{{{ line }}}}' }}]\n"
        );
        place.write_pack_file(&format!("bad/sensors/{name}.yaml"), &sensor);
    }
    place
}

async fn until_sensor(client: &Client, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    client.until(&format!("/sensors/bad.{name}"), is_so).await
}

fn memory_bytes(node: &Node, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Returns how many processes have these words in their command line.
fn running(words: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).replace('\0', " ").trim() == words).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn gigabyte_on_one_line_is_a_dead_letter_and_takes_little_memory() {
    let script = "read -r first; head -c 1073741824 /dev/zero | tr '\\0' x; echo; echo '{\"n\": 1}'; exec sleep 1000";
    let place = place(&[("flood", script)]);
    let node = place.start();
    let before = memory_bytes(&node, "VmRSS:");
    let client = node.client();
    let patience = tokio::time::Instant::now() + Duration::from_secs(120);
    loop {
        let sensor = client.get("/sensors/bad.flood").await;
        if sensor["events_count"] == 1 {
            assert_eq!(sensor["refused_count"], 1, "{sensor}");
            break;
        }
        assert!(tokio::time::Instant::now() < patience, "{sensor}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let peak = memory_bytes(&node, "VmHWM:");
    assert!(peak < before + MEMORY_BYTES_MAX, "{} MiB at the peak, {} MiB before", peak >> 20, before >> 20);
    let letters = client.get("/dead_letters").await;
    assert!(letters.to_string().contains("1073741824 bytes"), "{letters}");
}

#[tokio::test(flavor = "multi_thread")]
async fn program_that_prints_nothing_or_no_text_does_no_harm() {
    let place = place(&[
        ("silent", "exec sleep 1000"),
        ("garbled", "printf '\\377\\376\\n{\"n\": 1}\\nnot json\\n{\"n\": 2}\\n'; exec sleep 1000"),
        ("half", "printf '{\"n\": 1}\\n{\"n\": 2'; exit 3"),
    ]);
    let node = place.start();
    let client = node.client();
    let garbled = until_sensor(&client, "garbled", |sensor| sensor["events_count"] == 2).await;
    assert_eq!(garbled["refused_count"], 2, "{garbled}");
    let half = until_sensor(&client, "half", |sensor| sensor["state"] == "failing").await;
    assert_eq!((&half["error"]["kind"], &half["refused_count"]), (&json!("exited"), &json!(0)), "{half}");
    let silent = until_sensor(&client, "silent", |sensor| sensor["state"] == "running").await;
    assert_eq!((&silent["events_count"], &silent["refused_count"]), (&json!(0), &json!(0)), "{silent}");
    let shown =
        CommandOutput::by(place.ensue(&["sensors", "logs", "bad.half"]).env("ENSUE_TOKEN", ADMIN_TOKEN).env("ENSUE_SERVER", node.url()));
    assert!(shown.stdout.contains("ended within a line"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn program_that_always_dies_at_once_is_tried_less_and_less_and_fills_no_log() {
    let place = place(&[("dead", "exit 7")]);
    let node = place.start();
    let client = node.client();
    let sensor = until_sensor(&client, "dead", |sensor| sensor["state"] == "failing" && sensor["restarts"].as_u64() >= Some(3)).await;
    assert_eq!(sensor["error"]["kind"], "exited", "{sensor}");
    let records = client.records().await;
    let failures: Vec<&Value> = records.iter().filter(|record| record["kind"] == "sensor.failed").collect();
    let counts: Vec<u64> = failures.iter().map(|record| record["fact"]["failures"].as_u64().unwrap()).collect();
    assert!(counts.len() <= 3 && counts.iter().all(|count| count.is_power_of_two()), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn program_that_ignores_the_request_to_stop_is_killed_with_its_children() {
    // Arguments that no other process has.
    let (stubborn, child) = (format!("sleep 1{}.25", std::process::id()), format!("sleep 2{}.25", std::process::id()));
    let place = place(&[
        ("stubborn", &format!("trap '' TERM; echo '{{\"n\": 1}}'; while :; do {stubborn}; done")),
        ("forking", &format!("{child} & {child} & (setsid {child} &) ; echo '{{\"n\": 1}}'; exec sleep 1000")),
    ]);
    let node = place.start();
    let client = node.client();
    for name in ["stubborn", "forking"] {
        until_sensor(&client, name, |sensor| sensor["events_count"].as_u64().is_some_and(|count| count >= 1)).await;
    }
    until("the programs run", async || running(&stubborn) == 1 && running(&child) >= 2).await;
    for name in ["stubborn", "forking"] {
        let disabled = CommandOutput::by(
            place.ensue(&["sensors", "disable", &format!("bad.{name}")]).env("ENSUE_TOKEN", ADMIN_TOKEN).env("ENSUE_SERVER", node.url()),
        );
        assert_eq!(disabled.code, Some(0), "{disabled:?}");
    }
    until("nothing of the programs is left", async || running(&stubborn) == 0 && running(&child) == 0).await;
}
