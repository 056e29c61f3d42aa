//! The disk is full or nearly full: a small file system, mounted in a namespace where every user may do that.
//!
//! If the machine does not allow such a namespace, the tests are skipped by name.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use reqwest::{Method, StatusCode};

use super::ledger::{Outcome, Patience};
use super::trial::{Machine, SentAgain, Trial, quiesce};
use crate::support::skipped::skipped;
use crate::support::{Client, NodeFolder, PATIENCE};

/// The size of the small file system.
const SIZE: &str = "size=80m";

/// A small file system in a mount namespace that lives as long as this value.
pub(super) struct SmallDisk {
    holder: Child,
    run: fn(&str) -> Command,
}

impl SmallDisk {
    /// Mounts it at a folder, and lets `run` start the programs that see it.
    pub(super) fn mount(at: &Path, size: &str, run: fn(&str) -> Command) -> Result<Self, String> {
        std::fs::create_dir_all(at).unwrap();
        let script = format!("mount -t tmpfs -o {size},mode=700 tmpfs \"$0\" && echo mounted && exec cat");
        let mut command = run("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &script]).arg(at);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said == "mounted\n" {
            return Ok(Self { holder, run });
        }
        Err(crate::support::read_all(holder.stderr.take().unwrap()))
    }

    /// The prefix of a command that makes it run in a folder where the file system is mounted.
    pub(super) fn inside(&self, folder: &Path) -> Vec<String> {
        let pid = self.holder.id().to_string();
        let enter = ["nsenter", "--target", &pid, "--user", "--mount", "--preserve-credentials", "sh", "-c", "cd \"$0\" && exec \"$@\""];
        enter.into_iter().map(str::to_owned).chain([folder.display().to_string()]).collect()
    }

    /// Runs a script in a folder where the file system is mounted.
    pub(super) fn run(&self, folder: &Path, script: &str) {
        let inside = self.inside(folder);
        let mut command = (self.run)(&inside[0]);
        // The script fails on purpose when the disk is full.
        let _ = command.args(&inside[1..]).args(["sh", "-c", script]).stderr(Stdio::null()).status();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Creates a trial whose data directory is on a small file system.
async fn on_a_small_disk(test: &str, min_free: &str) -> Option<(Trial, SmallDisk)> {
    let place = NodeFolder::new();
    let disk = match SmallDisk::mount(&place.data(), SIZE, |program| Command::new(program)) {
        Ok(disk) => disk,
        Err(why) => {
            skipped(test, &format!("no file system can be mounted: {}", why.trim()));
            return None;
        }
    };
    let within = disk.inside(place.path());
    let place = place.within(within).with_arguments(&["--min-free", min_free]);
    Some((Trial::at(place).await, disk))
}

/// Delivers until the answer is the expected one.
pub(super) async fn deliver_until(trial: &Trial, client: &Client, wanted: &Outcome) {
    let begin = Instant::now();
    while trial.ledger.deliver_next(client).await != *wanted {
        assert!(begin.elapsed() < PATIENCE, "a delivery never became {wanted:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn reads_go_on(client: &Client) {
    // A load balancer removes the node, and reads still succeed.
    let probe = client.request(Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(probe.status(), StatusCode::SERVICE_UNAVAILABLE, "{}", probe.text().await.unwrap());
    for path in ["/api/v1/status", "/api/v1/events?limit=50", "/api/v1/executions?limit=50", "/api/v1/log?limit=50", "/api/v1/doctor"] {
        let answer = client.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}: {}", answer.text().await.unwrap());
    }
}

fn full() -> Outcome {
    Outcome::TurnedAway("storage_full".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_below_reserve_stops_input_but_not_reads_until_there_is_space() {
    const TEST: &str = "disk_below_reserve_stops_input_but_not_reads_until_there_is_space";
    let Some((mut trial, disk)) = on_a_small_disk(TEST, "40MiB").await else { return };
    let (node, senders) = trial.start(Patience::GoesOn);
    node.client().until("/executions?status=succeeded&limit=1", |page| page["items"] != serde_json::json!([])).await;
    trial.ledger.note("the disk is filled");
    disk.run(trial.place.path(), "head -c 44m /dev/zero > data/ballast");
    deliver_until(&trial, &node.client(), &full()).await;
    reads_go_on(&node.client()).await;
    // A start finds no space, and does not crash.
    senders.stop().await;
    assert_eq!(node.stop(), Some(0));
    trial.node_is_gone();
    let node = trial.place.start();
    let client = node.client();
    deliver_until(&trial, &client, &full()).await;
    reads_go_on(&client).await;
    // There is enough space for open executions to end; then nothing happens, and the node must check the
    // space by itself.
    quiesce(&client).await;
    trial.ledger.note("there is room again");
    let begin = Instant::now();
    disk.run(trial.place.path(), "rm data/ballast");
    deliver_until(&trial, &client, &Outcome::Acknowledged).await;
    eprintln!("taken in again after {} ms", begin.elapsed().as_millis());
    trial.holds(node, SentAgain::All).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_killed_on_a_full_disk_restarts_and_serves_reads() {
    const TEST: &str = "node_killed_on_a_full_disk_restarts_and_serves_reads";
    let Some((mut trial, disk)) = on_a_small_disk(TEST, "0").await else { return };
    trial.machine = Machine::IsFullAtTimes;
    let (node, senders) = trial.start(Patience::GoesOn);
    deliver_until(&trial, &node.client(), &Outcome::Acknowledged).await;
    disk.run(trial.place.path(), "cat /dev/zero > data/ballast");
    deliver_until(&trial, &node.client(), &full()).await;
    trial.ledger.note("SIGKILL on the full disk");
    node.kill();
    senders.stop().await;
    // The file system is mounted for the node only.
    disk.run(trial.place.path(), "cp data/begun begun");
    let begun = std::fs::read_to_string(trial.place.path().join("begun")).expect("the node notes what begins");
    trial.node_is_gone_and_noted(&begun);
    disk.run(trial.place.path(), "cat /dev/zero >> data/ballast");
    let node = trial.place.start();
    let client = node.client();
    disk.run(trial.place.path(), "cat /dev/zero >> data/ballast");
    deliver_until(&trial, &client, &full()).await;
    reads_go_on(&client).await;
    disk.run(trial.place.path(), "rm data/ballast");
    deliver_until(&trial, &client, &Outcome::Acknowledged).await;
    trial.holds(node, SentAgain::All).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_loses_nothing_and_the_node_continues_once_there_is_space() {
    const TEST: &str = "full_disk_loses_nothing_and_the_node_continues_once_there_is_space";
    let Some((mut trial, disk)) = on_a_small_disk(TEST, "0").await else { return };
    trial.machine = Machine::IsFullAtTimes;
    let (node, senders) = trial.start(Patience::GoesOn);
    let client = node.client();
    for _ in 0..super::rounds(2, 20) {
        deliver_until(&trial, &client, &Outcome::Acknowledged).await;
        trial.ledger.note("the disk is filled");
        disk.run(trial.place.path(), "cat /dev/zero > data/ballast");
        deliver_until(&trial, &client, &full()).await;
        reads_go_on(&client).await;
        trial.ledger.note("there is room again");
        let begin = Instant::now();
        disk.run(trial.place.path(), "rm data/ballast");
        deliver_until(&trial, &client, &Outcome::Acknowledged).await;
        eprintln!("taken in again after {} ms", begin.elapsed().as_millis());
    }
    senders.stop().await;
    trial.holds(node, SentAgain::All).await;
}
