//! A fork bomb in an action: it is limited, other programs keep running, and all of it is ended.
//!
//! If the machine cannot limit processes, the doctor says so, and the test is skipped by name.

use serde_json::json;

use crate::support::skipped::skipped;
use crate::support::{Node, NodeFolder, ordinary, until};

/// The process limit of a program in these tests.
const PROCESSES: usize = 120;
/// The supervisor's share of the processes in the same control group.
const SUPERVISOR_TASKS: usize = 4;
/// The minimum number of processes of a bomb at its limit.
const BOMB_PROCESSES: usize = 40;

const BOMB: &str = "\
description: Multiplies for as long as it may, and all of its processes stay.
timeout: 5m
grace: 1s
run:
  shell:
    script: |
      exec 2>/dev/null
      trap '' TERM
      mkfifo never
      bomb() { bomb & bomb & read x < never; }
      bomb &
      read x < never
";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("bad/pack.yaml", "name: bad\nversion: 1.0.0\ndescription: What harms.\n");
    place.write_pack_file("bad/actions/bomb.yaml", BOMB);
    place.write_pack_file("bad/actions/small.yaml", "description: Is small.\nrun:\n  shell:\n    script: echo small | cat\n");
    std::fs::write(place.path().join("ensue.yaml"), format!("actions: {{ processes: {PROCESSES} }}\n")).unwrap();
    place.with_arguments(&["--config", "ensue.yaml"])
}

/// Counts the processes of programs: each has its private directory in its environment.
fn processes(place: &NodeFolder) -> usize {
    let marker = format!("TMPDIR={}", place.data().join("attempts").display());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let environs = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
    environs.filter(|environ| environ.split(|byte| *byte == 0).any(|one| one.starts_with(marker.as_bytes()))).count()
}

async fn goes_off(test: &str, place: &NodeFolder, node: Node) {
    let client = node.client();
    let doctor = client.get("/doctor").await;
    let found = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "processes").cloned().unwrap();
    if found["verdict"] != "good" {
        return skipped(test, found["message"].as_str().unwrap_or_default());
    }
    let bomb = client.execute("bad.bomb", &json!({})).await;
    until("the bomb at its bound", async || processes(place) >= BOMB_PROCESSES).await;
    // Others keep running: a program of another supervisor, and the node.
    let shown = client.run("bad.small", &json!({})).await;
    assert_eq!((&shown["status"], &shown["result"]), (&json!("succeeded"), &json!("small")), "{shown:#}");
    for _ in 0..20 {
        let found = processes(place);
        assert!(found <= PROCESSES + SUPERVISOR_TASKS, "{found} processes");
    }
    let cancelled = client.post(&format!("/executions/{bomb}/cancel"), &json!({})).await;
    assert!(cancelled.status.is_success(), "{cancelled:#?}");
    client.until(&format!("/executions/{bomb}"), |shown| shown["status"] == "cancelled").await;
    assert_eq!(processes(place), 0, "no process is left once its end is recorded");
    assert_eq!(node.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_bomb_is_limited_and_ended_while_others_continue() {
    let place = place();
    let node = place.start();
    goes_off("fork_bomb_is_limited_and_ended_while_others_continue", &place, node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_bomb_of_an_ordinary_user_is_limited_too() {
    let test = "fork_bomb_of_an_ordinary_user_is_limited_too";
    match ordinary::as_ordinary_user(place()) {
        Ok(place) => {
            let node = place.start();
            goes_off(test, &place, node).await;
        }
        Err(why) => skipped(test, &why),
    }
}
