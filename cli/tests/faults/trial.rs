//! A trial: a node with work for its rules, a world that counts the effects, the ledger, and the requirements
//! that hold whatever happened.
//!
//! The requirements: each acknowledgement is in the log, and one delivery is one event; each rule decided
//! each event once; nothing ended twice; an action that is not idempotent took effect at most once, and never
//! without evidence; every attempt is accounted for; rebuilt views equal the live ones; no process is left
//! without an open execution; `ensue log verify` finds the log intact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::ledger::{Ledger, Outcome, Patience, Senders};
use super::view_content::ViewContent;
use crate::support::world::World;
use crate::support::{Client, Delivery, Node, NodeFolder, PATIENCE};

/// The rules of the pack that match each delivery.
const RULES: [&str; 3] = ["torture.note", "torture.once", "torture.repeatable"];
/// The rule of the pack that starts a program for one of [`PROGRAM_EVERY`] deliveries.
const PROGRAM_RULE: &str = "torture.program";
/// Starting a program is much more expensive than the others.
const PROGRAM_EVERY: u64 = 16;
/// The actions that must not take effect twice.
const ONCE: [&str; 2] = ["torture.once", "torture.program"];

/// A node's place with everything around it.
pub(super) struct Trial {
    pub(super) place: NodeFolder,
    pub(super) world: World,
    pub(super) ledger: Arc<Ledger>,
    pub(super) machine: Machine,
    pub(super) nodes: Nodes,
    /// The content of the `begun` files, each time that a node was gone.
    begun: String,
}

/// The state of the machine for attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    /// Everything that they need is there: none may fail.
    HasRoom,
    /// The disk is full at times: an attempt may fail before it begins, because its environment cannot be
    /// created.
    IsFullAtTimes,
}

/// Where the nodes of a trial run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nodes {
    /// One after the other in one place, where each finds what the one before it had begun.
    InOnePlace,
    /// In several places. A node that takes over cannot see what the other one had begun, so every attempt of that one may
    /// have begun.
    InSeveral,
}

/// Which deliveries are repeated before the final checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentAgain {
    /// All of them: deliveries that counted already must not count again.
    All,
    /// Those that were not acknowledged.
    Unacknowledged,
}

impl Trial {
    /// Prepares a trial in its own place.
    pub(super) async fn new() -> Self {
        Self::at(NodeFolder::new()).await
    }

    /// Prepares a trial at a place.
    pub(super) async fn at(place: NodeFolder) -> Self {
        let world = World::start().await;
        let place = equip(place, &world);
        let ledger = Arc::new(Ledger::begin(place.path()));
        Self { place, world, ledger, machine: Machine::HasRoom, nodes: Nodes::InOnePlace, begun: String::new() }
    }

    /// Prepares another place for nodes of this trial.
    pub(super) fn also_at(&mut self, place: NodeFolder) -> NodeFolder {
        self.nodes = Nodes::InSeveral;
        equip(place, &self.world)
    }

    /// Starts a node, and lets senders deliver to it.
    pub(super) fn start(&self, patience: Patience) -> (Node, Senders) {
        let node = self.place.start();
        self.ledger.note(&format!("node {} started", node.pid()));
        let senders = Senders::start(&node.client(), &self.ledger, patience);
        (node, senders)
    }

    /// Returns only the place; the rest is no longer needed.
    pub(super) fn into_place(self) -> NodeFolder {
        self.place
    }

    /// Saves the `begun` file of a node that is gone: the next node overwrites it.
    pub(super) fn node_is_gone(&mut self) {
        let begun = std::fs::read_to_string(self.place.data().join("begun")).unwrap_or_default();
        self.node_is_gone_and_noted(&begun);
    }

    /// Does the same if the data directory cannot be read from here.
    pub(super) fn node_is_gone_and_noted(&mut self, begun: &str) {
        self.ledger.note("the node is gone");
        self.begun.push_str(begun);
    }

    /// Lets a running node come to rest, checks everything, and stops it.
    pub(super) async fn holds(&mut self, node: Node, again: SentAgain) {
        let client = node.client();
        let acknowledged = self.ledger.acknowledged_events();
        for n in 0..self.ledger.sent_count() {
            if again == SentAgain::All || !acknowledged.contains_key(&n) {
                assert_eq!(self.ledger.deliver(&client, n).await, Outcome::Acknowledged, "a node that lives takes delivery {n}");
            }
        }
        quiesce(&client).await;
        self.begun.push_str(&std::fs::read_to_string(self.place.data().join("begun")).unwrap_or_default());
        let TrialFindings { indeterminate, refused } = self.hold_against_the_log(&client).await;
        self.settle_by_the_world(&client, &indeterminate).await;
        quiesce(&client).await;
        self.every_execution_has_ended(&client, &refused).await;
        no_process_is_left(&client).await;
        some_are_refused(&client).await;
        rebuilt_views_are_the_live_ones(&client).await;
        eprintln!(
            "{} deliveries, {} effects, {} indeterminate and settled",
            self.ledger.acknowledged_events().len(),
            self.world.effects().values().sum::<u64>(),
            indeterminate.len()
        );
        node.stop_well();
        self.place.verify_log();
    }

    /// Compares the log with the ledger.
    async fn hold_against_the_log(&self, client: &Client) -> TrialFindings {
        let records = client.records().await;
        for (at, record) in records.iter().enumerate() {
            assert_eq!(record["position"], at as u64 + 1, "positions are 1, 2, 3 … without a gap");
        }
        let ids: BTreeSet<String> = records.iter().map(|record| text(&record["id"])).collect();
        assert_eq!(ids.len(), records.len(), "an id was given twice");
        let of_kind = |kind: &'static str| records.iter().filter(move |record| record["kind"] == kind);

        let ticks: BTreeSet<String> = of_kind("event.received")
            .filter(|record| record["fact"]["trigger"] == "torture.tick")
            .map(|record| text(&record["id"]))
            .collect();
        let deliveries: BTreeMap<String, u64> = self.ledger.acknowledged_events().into_iter().map(|(n, event)| (event, n)).collect();
        let acknowledged: BTreeSet<String> = deliveries.keys().cloned().collect();
        let missing: Vec<_> = acknowledged.difference(&ticks).collect();
        assert!(missing.is_empty(), "acknowledged and not in the log: {missing:?}");
        let unknown: Vec<_> = ticks.difference(&acknowledged).collect();
        assert!(unknown.is_empty(), "one delivery became more than one event: {unknown:?}");

        let mut enforced: BTreeMap<(String, String), u64> = BTreeMap::new();
        for record in of_kind("enforcement.made") {
            *enforced.entry((text(&record["fact"]["event"]), text(&record["fact"]["rule"]))).or_default() += 1;
        }
        let mut expected = 0;
        for (event, n) in &deliveries {
            let rules = RULES.into_iter().chain((n % PROGRAM_EVERY == 0).then_some(PROGRAM_RULE));
            for rule in rules {
                expected += 1;
                let times = enforced.remove(&(event.clone(), rule.to_owned())).unwrap_or(0);
                assert_eq!(times, 1, "{rule} decided {times} times on event {event}");
            }
        }
        assert!(enforced.is_empty(), "enforcements that no rule should have made: {enforced:?}");
        let of_the_pack = |record: &&Value| {
            let action = text(&record["fact"]["action"]);
            action == "core.echo" || action.starts_with("torture.")
        };
        assert_eq!(of_kind("execution.requested").filter(of_the_pack).count(), expected, "each enforcement asked for one execution");

        let mut ended: BTreeMap<String, String> = BTreeMap::new();
        for record in &records {
            let kind = text(&record["kind"]);
            if ["execution.succeeded", "execution.failed", "execution.timed_out", "execution.cancelled"].contains(&kind.as_str()) {
                let earlier = ended.insert(text(&record["stream"]), kind);
                assert_eq!(earlier, None, "{} ended twice", record["stream"]);
            }
        }
        let lost: BTreeSet<String> = of_kind("attempt.lost").map(|record| text(&record["fact"]["attempt"])).collect();
        for late in of_kind("attempt.reported_late") {
            assert!(lost.contains(&text(&late["fact"]["attempt"])), "late, and not given up before: {late}");
        }
        let mut attempts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut newest_token = 0;
        for record in of_kind("attempt.started") {
            let token = record["fact"]["token"].as_u64().unwrap();
            assert!(token > newest_token, "the token of {record} is not newer than {newest_token}");
            newest_token = token;
            attempts.entry(text(&record["stream"])).or_default().push(text(&record["id"]));
        }
        let effects = self.world.effects();
        let mut held = TrialFindings::default();
        for record in of_kind("execution.requested") {
            let stream = text(&record["stream"]);
            let execution = stream.trim_start_matches("execution/").to_owned();
            let action = text(&record["fact"]["action"]);
            let times = effects.get(&execution).copied().unwrap_or(0);
            match ended.get(&stream).map(String::as_str) {
                Some("execution.succeeded") if action.starts_with("core.") => {}
                Some("execution.succeeded") if ONCE.contains(&action.as_str()) => {
                    assert_eq!(times, 1, "{execution} of {action} took effect {times} times");
                }
                Some("execution.succeeded") => assert!(times >= 1, "{execution} succeeded without an effect"),
                Some("execution.failed") if self.machine == Machine::IsFullAtTimes => {
                    let failed = of_kind("attempt.failed").find(|failed| text(&failed["stream"]) == stream).unwrap();
                    assert_eq!(failed["fact"]["error"]["kind"], "sandbox", "{failed}");
                    assert_eq!(times, 0, "{execution} of {action} took effect and failed because it could not begin");
                    held.refused.insert(execution);
                }
                Some(other) => panic!("{stream} of {action} ended as {other}"),
                None => {
                    assert!(ONCE.contains(&action.as_str()), "{stream} of {action} neither ended nor may be indeterminate");
                    assert!(times <= 1, "{execution} is not idempotent and took effect {times} times");
                    let last = attempts[&stream].last().unwrap();
                    let is_noted = self.nodes == Nodes::InSeveral || self.begun.contains(last.as_str());
                    assert!(is_noted, "attempt {last} of {stream} is lost and is not noted as begun");
                    held.indeterminate.push(execution);
                }
            }
        }
        held
    }

    /// Settles each execution as a person would who looks at the world.
    async fn settle_by_the_world(&self, client: &Client, indeterminate: &[String]) {
        for execution in indeterminate {
            let outcome = if self.world.effects().contains_key(execution) { "succeeded" } else { "retry" };
            let answer = client.post(&format!("/executions/{execution}/settle"), &json!({ "outcome": outcome })).await;
            assert!(answer.status.is_success(), "{answer:?}");
        }
    }

    async fn every_execution_has_ended(&self, client: &Client, refused: &BTreeSet<String>) {
        let open = client.get("/executions?status=indeterminate&limit=1").await;
        assert_eq!(open["items"], json!([]));
        let effects = self.world.effects();
        for record in client.records().await.iter().filter(|record| record["kind"] == "execution.requested") {
            let execution = text(&record["stream"]).trim_start_matches("execution/").to_owned();
            match text(&record["fact"]["action"]).as_str() {
                _ if refused.contains(&execution) => assert!(!effects.contains_key(&execution), "{execution} was refused"),
                action if ONCE.contains(&action) => assert_eq!(effects.get(&execution), Some(&1), "{execution} is not idempotent"),
                "torture.repeatable" => assert!(effects.contains_key(&execution), "{execution} had no effect"),
                _ => {}
            }
        }
    }
}

/// The findings of the comparison of log and ledger.
#[derive(Default)]
struct TrialFindings {
    /// The indeterminate executions.
    indeterminate: Vec<String>,
    /// The executions that failed before they began, because the machine lacked something.
    refused: BTreeSet<String>,
}

/// Gives a place what its nodes need for the trial.
fn equip(place: NodeFolder, world: &World) -> NodeFolder {
    let place = place
        .with_variable("ENSUE_EGRESS_ALLOW", &world.address().to_string())
        .with_variable("ENSUE_ACTIONS_WRITABLE", &world.folder().display().to_string())
        .with_variable("ENSUE_KEY_TORTURE_SECRET_FILE", "secret");
    write_pack(&place, world);
    place
}

fn write_pack(place: &NodeFolder, world: &World) {
    place.write_pack_file(
        "torture/pack.yaml",
        "name: torture\nversion: 1.0.0\ndescription: What is done to the node while it works.\nkeys: [secret]\n",
    );
    place.write_pack_file("torture/triggers/tick.yaml", "description: A delivery.\npayload:\n  n: integer\n");
    place.write_pack_file(
        "torture/sensors/hook.yaml",
        "description: Where they come in.\nwebhook:\n  verify: { scheme: github, key: torture.secret }\nemits:\n  - trigger: torture.tick\n    dedupe: 'headers[\"x-github-delivery\"]'\n",
    );
    let url = world.url();
    for (name, idempotent) in [("once", "false"), ("repeatable", "true")] {
        place.write_pack_file(
            &format!("torture/actions/{name}.yaml"),
            &format!(
                "description: Has an effect on the world.\nparameters: {{ n: integer }}\nidempotent: {idempotent}\nrun:\n  http:\n    method: POST\n    url: {url}/{name}\n    json: '${{{{ params }}}}'\n"
            ),
        );
    }
    place.write_pack_file(
        "torture/actions/program.yaml",
        &format!(
            "description: Has an effect on the world, by a program that takes its time.\nparameters: {{ n: integer }}\nrun:\n  shell:\n    script: |\n      echo $ENSUE_ATTEMPT >> {}/$ENSUE_IDEMPOTENCY_KEY\n      sleep 0.3\n",
            world.folder().display()
        ),
    );
    for (name, condition) in
        [("once", "true".to_owned()), ("repeatable", "true".to_owned()), ("program", format!("event.payload.n % {PROGRAM_EVERY} == 0"))]
    {
        place.write_pack_file(
            &format!("torture/rules/{name}.yaml"),
            &format!(
                "description: Has it done.\ntrigger: torture.tick\nwhen: '{condition}'\naction: torture.{name}\nwith: {{ n: '${{{{ event.payload.n }}}}' }}\n"
            ),
        );
    }
    place.write_pack_file(
        "torture/rules/note.yaml",
        "description: Notes it.\ntrigger: torture.tick\nwhen: event.payload.n >= 0\naction: core.echo\nwith: { message: '${{ event.payload.n }}' }\n",
    );
    place.write_pack_file(
        "torture/rules/never.yaml",
        "description: Never matches.\ntrigger: torture.tick\nwhen: event.payload.n < 0\naction: core.noop\n",
    );
}

/// Waits until nothing is queued or running.
pub(super) async fn quiesce(client: &Client) {
    for status in ["queued", "running", "cancelling"] {
        let path = format!("/executions?status={status}&limit=1");
        client.until(&path, |page| page["items"].as_array().is_some_and(Vec::is_empty)).await;
    }
}

/// Waits until no process of this log's executions runs; all of them have ended.
pub(super) async fn no_process_is_left(client: &Client) {
    let records = client.records().await;
    let executions: BTreeSet<String> = records
        .iter()
        .filter(|record| record["kind"] == "execution.requested")
        .map(|record| text(&record["stream"]).trim_start_matches("execution/").to_owned())
        .collect();
    let begin = Instant::now();
    loop {
        let left = processes_of(&executions);
        if left.is_empty() {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "processes without an execution that is open: {left:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Lists the processes of these executions, found by their environment.
pub(super) fn processes_of(executions: &BTreeSet<String>) -> Vec<(u32, String)> {
    const NAME: &[u8] = b"ENSUE_EXECUTION_ID=";
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ends in the meantime does not count.
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        let execution = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(NAME));
        let execution = execution.map(|id| String::from_utf8_lossy(id).into_owned());
        found.extend(execution.filter(|id| executions.contains(id)).map(|id| (pid, id)));
    }
    found
}

async fn rebuilt_views_are_the_live_ones(client: &Client) {
    let before = ViewContent::by(client).await;
    for list in ["/events", "/enforcements", "/executions", "/dead_letters"] {
        assert!(before.count(list) > 0, "there is nothing in {list} that could be rebuilt");
    }
    let answer = client.post("/views/rebuild", &json!({})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    client.until("/views/rebuild", |job| job["status"] == "succeeded").await;
    let differences = ViewContent::by(client).await.differs_from(&before);
    assert!(differences.is_empty(), "rebuilt views differ from the live ones: {differences:#?}");
}

/// The number of refused deliveries.
const REFUSED: usize = 3;

/// Sends deliveries with a verified sender that are refused, and waits for their dead letters.
pub(super) async fn some_are_refused(client: &Client) {
    for n in 0..REFUSED {
        let misfit = json!({ "n": "no number" }).to_string();
        let delivery = Delivery::github("tick", &format!("misfit-{n}"), misfit.as_bytes()).at("/hooks/torture/hook");
        let answer = client.deliver(&delivery).await.unwrap();
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{answer:?}");
    }
    client
        .until("/dead_letters?sensor=torture.hook", |page| page["items"].as_array().is_some_and(|letters| letters.len() == REFUSED))
        .await;
}

/// Returns a value that must be a text.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text")).to_owned()
}
