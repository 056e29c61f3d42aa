//! Programs that keep running while their node is stopped, killed and restarted.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use crate::support::skipped::skipped;
use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Delivery, Node, NodeFolder, Running, until};

const SCRIPT: &str = "\
description: Runs until it may end.
timeout: 5m
run:
  shell:
    script: |
      echo $$ >> begun
      i=0
      while [ ! -e go ]; do i=$((i + 1)); echo $i >&2; sleep 0.02; done
      cat begun
";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("long/pack.yaml", "name: long\nversion: 1.0.0\ndescription: What takes long.\n");
    place.write_pack_file("long/actions/wait.yaml", SCRIPT);
    place
}

/// Starts the action, and waits until its program runs, which has written its process id.
async fn begin(place: &NodeFolder, client: &Client) -> (String, Running, Pid) {
    let id = client.execute("long.wait", &json!({})).await;
    let program = Running::one(place).await;
    let pid = Pid::from_raw(program.wrote.parse().unwrap()).unwrap();
    (id, program, pid)
}

#[tokio::test(flavor = "multi_thread")]
async fn last_deliveries_survive_a_stop_and_a_kill() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    let forged = Delivery::pull_request("d-1").with_header("x-hub-signature-256", Some(&format!("sha256={}", "0".repeat(64))));
    assert_eq!(client.deliver(&forged).await.unwrap().status.as_u16(), 401);
    assert_eq!(client.deliver(&Delivery::pull_request("d-1")).await.unwrap().status.as_u16(), 202);
    node.stop_well();
    let node = place.start();
    assert_eq!(node.client().deliver(&forged).await.unwrap().status.as_u16(), 401);
    let file = place.data().join("deliveries/github.webhook.json");
    until("the file with the delivery", async || std::fs::read_to_string(&file).unwrap().matches("refused").count() == 4).await;
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(!kept.contains("octomona"), "the body is not kept: {kept}");
    node.kill();
    let node = place.start();
    let listed = |filter: &[&str]| {
        let arguments = [&["hooks", "deliveries", "github/webhook", "-o", "json"], filter].concat();
        let printed = CommandOutput::by(place.ensue(&arguments).env("ENSUE_TOKEN", ADMIN_TOKEN).env("ENSUE_SERVER", node.url()));
        let listed: Value = serde_json::from_str(&printed.stdout).unwrap_or_else(|why| panic!("{why}: {printed:?}"));
        listed["items"].as_array().unwrap().iter().map(|one| one["outcome"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]), ["refused", "accepted", "refused"]);
    assert_eq!(listed(&["--outcome", "accepted,repeated"]), ["accepted"]);
}

fn supervisors(place: &NodeFolder) -> Vec<Pid> {
    let folders = std::fs::read_dir(place.data().join("supervisors")).unwrap();
    let notes = folders.flatten().filter_map(|folder| std::fs::read_to_string(folder.path().join("held")).ok());
    let notes = notes.filter_map(|note| serde_json::from_str::<Value>(&note).ok());
    notes.map(|note| Pid::from_raw(i32::try_from(note["supervisor"].as_i64().unwrap()).unwrap()).unwrap()).collect()
}

/// Checks that an execution succeeded in one attempt, and that the log says so once.
pub(crate) async fn is_recorded_once(client: &Client, id: &str) {
    let stream = format!("execution/{id}");
    let records = client.records().await;
    let of_it = records.iter().filter(|record| record["stream"] == stream.as_str());
    let kinds: Vec<&str> = of_it.filter_map(|record| record["kind"].as_str()).collect();
    for once in ["attempt.started", "attempt.succeeded", "execution.succeeded"] {
        assert_eq!(kinds.iter().filter(|kind| **kind == once).count(), 1, "{once}: {kinds:?}");
    }
    assert!(!kinds.contains(&"attempt.lost"), "{kinds:?}");
}

fn end(node: Node, round: usize) {
    if round.is_multiple_of(2) {
        assert_eq!(node.stop(), Some(0));
    } else {
        node.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn action_survives_twenty_node_restarts_and_kills_and_is_recorded_once() {
    let place = place();
    let mut node = place.start();
    let (id, program, pid) = begin(&place, &node.client()).await;
    for round in 0..20 {
        end(node, round);
        assert!(test_kill_process(pid).is_ok(), "round {round}: a node's end is not its program's");
        node = place.start();
    }
    let client = node.client();
    assert_eq!(client.get(&format!("/executions/{id}")).await["status"], "running");
    program.let_go();
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["status"] != "running").await;
    assert_eq!((&shown["status"], &shown["result"]), (&json!("succeeded"), &json!(program.wrote)));
    is_recorded_once(&client, &id).await;
    let logs = client.get(&format!("/executions/{id}/logs?stream=stderr")).await;
    let text: String = logs["items"].as_array().unwrap().iter().filter_map(|part| part["text"].as_str()).collect();
    let printed: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(printed.len() > 1, "it printed: {logs}");
    assert!(printed.windows(2).all(|two| two[1] == two[0] + 1), "nothing of its output is lost or doubled");
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_supervisor_makes_its_attempt_indeterminate_within_the_lease() {
    // Three times what a busy machine needs: a node that cannot renew a lease in time loses the attempt without this reason.
    let place = place().with_variable("ENSUE_LEASE", "15s");
    let node = place.start();
    let (id, _, pid) = begin(&place, &node.client()).await;
    // The program may run before its supervisor has told the node that it started: then it is lost without this reason.
    // A stream has an empty part before anything of it is heard.
    let is_heard = |logs: &Value| logs["items"][0]["text"].as_str().is_some_and(|text| !text.is_empty());
    node.client().until(&format!("/executions/{id}/logs?stream=stderr"), is_heard).await;
    for supervisor in supervisors(&place) {
        kill_process(supervisor, Signal::STOP).unwrap();
    }
    let shown = node.client().until(&format!("/executions/{id}"), |shown| shown["status"] == "indeterminate").await;
    let attempts = node.client().get(&format!("/executions/{id}/attempts")).await;
    let error = &attempts["items"][0]["error"];
    assert_eq!(error["kind"], "lost", "{shown:#}{attempts:#}");
    assert!(error["message"].as_str().unwrap().contains("did not answer for 15 s"), "{attempts:#}");
    until("the end of the program", async || test_kill_process(pid).is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempt_that_ended_without_a_node_has_its_real_end_time() {
    let place = place();
    let node = place.start();
    let (id, program, pid) = begin(&place, &node.client()).await;
    node.kill();
    program.let_go();
    until("the end of the program", async || test_kill_process(pid).is_err()).await;
    // An end that is reported within a second has no time of its own.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let node = place.start();
    let client = node.client();
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["status"] == "succeeded").await;
    let records = client.records().await;
    let restarted = records.iter().rfind(|record| record["kind"] == "node.started").unwrap();
    let before_restart = |at: &Value| at.as_str().unwrap() < restarted["time"].as_str().unwrap();
    let attempts = client.get(&format!("/executions/{id}/attempts")).await;
    assert!(before_restart(&shown["ended_at"]), "{shown:#} {restarted:#}");
    assert!(before_restart(&attempts["items"][0]["ended_at"]), "{attempts:#} {restarted:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_node_and_supervisor_leave_no_process_but_indeterminate_status() {
    let place = place();
    let node = place.start();
    let (id, _, pid) = begin(&place, &node.client()).await;
    let supervisors = supervisors(&place);
    node.kill();
    for supervisor in supervisors {
        kill_process(supervisor, Signal::KILL).unwrap();
    }
    let node = place.start();
    node.client().until(&format!("/executions/{id}"), |shown| shown["status"] == "indeterminate").await;
    until("the end of the program", async || test_kill_process(pid).is_err()).await;
    assert_eq!(std::fs::read_dir(place.data().join("attempts")).unwrap().count(), 0);

    let client = node.client();
    let open = client.until("/inquiries?status=open&mine=true", |page| page["items"][0].is_object()).await;
    let inquiry = open["items"][0]["id"].as_str().unwrap().to_owned();
    let asked = client.get(&format!("/inquiries/{inquiry}")).await;
    assert_eq!((&asked["execution"], &asked["title"]), (&json!(id), &json!("What became of attempt 1 of `long.wait`?")));
    let path = format!("/inquiries/{inquiry}/respond");
    let unfit = client.post(&path, &json!({ "answer": { "outcome": "failed" } })).await;
    assert_eq!((unfit.status.as_u16(), &unfit.body["errors"][0]["pointer"]), (422, &json!("/answer/error")), "{unfit:#?}");
    let answer = ["inquiries", "respond", &inquiry, "--set", "outcome=failed", "--set", "error=it was not sent"];
    let answered = CommandOutput::by(place.ensue(&answer).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    assert_eq!(answered.code, Some(0), "{}", answered.stderr);
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["status"] == "failed").await;
    assert_eq!((&shown["error"]["kind"], &shown["error"]["message"]), (&json!("lost"), &json!("it was not sent")));
    assert_eq!(shown["settled"]["outcome"], "failed");
    let recorded =
        CommandOutput::by(place.ensue(&["executions", "record", &id]).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
    assert!(recorded.stdout.contains("it was not sent") && !recorded.stdout.contains("outcome"), "{recorded:#?}");
    let twice = client.post(&path, &json!({ "answer": { "outcome": "retry" } })).await;
    assert_eq!((twice.status.as_u16(), &twice.body["code"]), (409, &json!("inquiry_closed")), "{twice:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_of_an_adopted_action_ends_all_its_processes() {
    let place = place();
    let node = place.start();
    let (id, _, pid) = begin(&place, &node.client()).await;
    node.kill();
    let node = place.start();
    let client = node.client();
    let answer = client.post(&format!("/executions/{id}/cancel"), &json!({})).await;
    assert!(answer.status.is_success(), "{answer:#?}");
    client.until(&format!("/executions/{id}"), |shown| shown["status"] == "cancelled").await;
    until("the end of the program", async || test_kill_process(pid).is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_can_be_configured_to_end_with_their_node() {
    let place = place().with_variable("ENSUE_ACTIONS_AT_STOP", "end");
    let node = place.start();
    let (id, program, pid) = begin(&place, &node.client()).await;
    std::fs::write(program.folder.join("unused"), "").unwrap();
    assert_eq!(node.stop(), Some(0));
    until("the end of the program", async || test_kill_process(pid).is_err()).await;
    let node = place.start();
    node.client().until(&format!("/executions/{id}"), |shown| shown["status"] == "indeterminate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_the_isolation_of_programs() {
    let place = place();
    let node = place.start();
    let findings = node.client().get("/doctor").await;
    let checks: Vec<&str> = findings["findings"].as_array().unwrap().iter().filter_map(|finding| finding["check"].as_str()).collect();
    for check in ["actions", "restart", "limits"] {
        assert!(checks.contains(&check), "{checks:?}");
    }
}

#[test]
fn shipped_unit_is_valid_for_systemd() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/ensue.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    for (line, why) in [
        ("KillMode=process", "programs outlive the node"),
        ("OOMPolicy=continue", "a program that runs out of memory ends nothing but itself"),
    ] {
        assert!(text.lines().any(|found| found == line), "{why}");
    }
    assert!(text.contains("/dev/null /etc/ensue/ensue.yaml"), "what it starts with is made by what its head tells to do");
    // Its program may not be installed where the tests run.
    let folder = tempfile::TempDir::new().unwrap();
    let tried = folder.path().join("ensue.service");
    std::fs::write(&tried, text.replace("/usr/local/bin/ensue", env!("CARGO_BIN_EXE_ensue"))).unwrap();
    match Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&tried).output() {
        Ok(said) => {
            let text = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
            let about_it: Vec<&str> = text.lines().filter(|line| line.contains("ensue.service")).collect();
            assert!(said.status.success() && about_it.is_empty(), "{text}");
        }
        Err(_) => skipped("shipped_unit_is_valid_for_systemd", "there is no systemd-analyze here"),
    }
}
