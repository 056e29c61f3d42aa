//! The node is killed with SIGKILL during workflows: steps, waits, inquiries, cancels and undos.
//!
//! The test requires: each request is one workflow; a step begins once for each item; a timer fires once and
//! never early; an inquiry is decided once, according to the acknowledged answer; everything ends, and once;
//! every success took effect; a cancelled workflow is undone if it had begun; no process is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_engine::time::Timestamp;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::trial::{Nodes, no_process_is_left, text};
use super::{Random, rounds, seed};
use crate::support::world::World;
use crate::support::{Answer, Client, Node, NodeFolder};

/// How long each user of the node waits before the next request.
const PAUSE: Duration = Duration::from_millis(25);
/// The statuses of an execution that has not ended.
const OPEN: [&str; 8] = ["delayed", "queued", "paused", "waiting", "running", "cancelling", "undoing", "indeterminate"];

/// Workflows in progress, with the world and what is known outside of the nodes.
pub(super) struct Flows {
    world: World,
    known: Arc<FlowLedger>,
}

/// Those who request, answer and cancel workflows at a node, until they get no answer.
pub(super) struct Users {
    stop: Arc<AtomicBool>,
    tasks: [JoinHandle<()>; 3],
}

impl Users {
    /// Stops them, and waits until they have ended.
    pub(super) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// What is known outside of the node.
struct FlowLedger {
    nodes: Nodes,
    asked: AtomicU64,
    /// The acknowledged workflows with their positions, by the number of the request.
    flows: Mutex<BTreeMap<u64, (String, String)>>,
    /// The acknowledged answers by inquiry.
    answers: Mutex<BTreeMap<String, bool>>,
    /// The workflows for which a cancel was requested, whether it was acknowledged or not.
    cancels: Mutex<BTreeSet<String>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_inquiries_timers_and_cancels_survive_kills_and_none_is_stuck() {
    let kills = rounds(4, 300);
    let seed = seed();
    eprintln!("flows: {kills} kills; again with ENSUE_FAULTS_SEED={seed}");
    let mut random = Random(seed);
    let flows = Flows::on(Nodes::InOnePlace).await;
    let place = flows.equip(NodeFolder::new());
    for _ in 0..kills {
        let node = place.start();
        let users = flows.start(&node.client(), &mut random);
        tokio::time::sleep(Duration::from_millis(100 + random.below(500))).await;
        node.kill();
        users.stop().await;
    }
    flows.hold(place.start(), &place).await;
}

impl Flows {
    /// Prepares a world and the books.
    pub(super) async fn on(nodes: Nodes) -> Self {
        let known =
            FlowLedger { nodes, asked: AtomicU64::new(0), flows: Mutex::default(), answers: Mutex::default(), cancels: Mutex::default() };
        Self { world: World::start().await, known: Arc::new(known) }
    }

    /// Gives a place what its nodes need for the workflows.
    pub(super) fn equip(&self, place: NodeFolder) -> NodeFolder {
        let place = place
            .with_variable("ENSUE_EGRESS_ALLOW", &self.world.address().to_string())
            .with_variable("ENSUE_ACTIONS_WRITABLE", &self.world.folder().display().to_string());
        write_pack(&place, &self.world);
        place
    }

    /// Lets users work with a node.
    pub(super) fn start(&self, client: &Client, random: &mut Random) -> Users {
        let stop = Arc::new(AtomicBool::new(false));
        let user = || (client.clone(), self.known.clone(), stop.clone());
        let ((c1, k1, s1), (c2, k2, s2), (c3, k3, s3)) = (user(), user(), user());
        let (chance_of_answers, chance_of_cancels) = (Random(random.next()), Random(random.next()));
        let tasks = [
            tokio::spawn(ask(c1, k1, s1)),
            tokio::spawn(answer(c2, k2, s2, chance_of_answers)),
            tokio::spawn(cancel(c3, k3, s3, chance_of_cancels)),
        ];
        Users { stop, tasks }
    }

    /// Lets everything end at a running node, checks it, and stops the node.
    pub(super) async fn hold(&self, node: Node, place: &NodeFolder) {
        let (client, known) = (node.client(), &self.known);
        for n in 0..known.asked.load(Ordering::Relaxed) {
            assert!(known.ask(&client, n).await.is_some(), "a node that lives takes request {n}");
        }
        for status in OPEN {
            let path = format!("/executions?status={status}&limit=1");
            client.until(&path, |page| page["items"].as_array().is_some_and(Vec::is_empty)).await;
        }
        assert_eq!(client.get("/inquiries?status=open").await["items"], json!([]));
        let told = hold_against(&client.records().await, known, &self.world);
        no_process_is_left(&client).await;
        eprintln!("{told}");
        node.stop_well();
        place.verify_log();
    }
}

impl FlowLedger {
    fn flows(&self) -> MutexGuard<'_, BTreeMap<u64, (String, String)>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancels(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if a node does not lead the log, or its database is away. A single node on its own log has no
    /// reason to turn anybody away.
    fn is_turned_away(&self, status: StatusCode) -> bool {
        self.nodes == Nodes::InSeveral && status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// Requests a workflow with the key of its number. Returns `None` if there is no answer.
    async fn ask(&self, client: &Client, n: u64) -> Option<()> {
        let request = client.request(Method::POST, "/api/v1/actions/flows.ship/execute");
        let request = request.header("idempotency-key", format!("flow-{n}")).json(&json!({ "params": { "n": n } }));
        let Answer { status, headers, body } = answer_of(request).await?;
        if self.is_turned_away(status) {
            return None;
        }
        assert!(status.is_success(), "request {n}: {status} {body}");
        let position = headers["ensue-position"].to_str().unwrap().to_owned();
        let earlier = self.flows().insert(n, (text(&body["id"]), position));
        assert!(earlier.is_none_or(|(earlier, _)| body["id"] == earlier), "request {n} became two workflows");
        Some(())
    }
}

/// Sends a request. Returns `None` if there is no complete answer because the node is gone.
async fn answer_of(request: RequestBuilder) -> Option<Answer> {
    let response = request.send().await.ok()?;
    let (status, headers) = (response.status(), response.headers().clone());
    Some(Answer { status, headers, body: response.json().await.ok()? })
}

async fn ask(client: Client, known: Arc<FlowLedger>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) && known.ask(&client, known.asked.fetch_add(1, Ordering::Relaxed)).await.is_some() {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Answers open inquiries at random; answers to closed ones are rejected.
async fn answer(client: Client, known: Arc<FlowLedger>, stop: Arc<AtomicBool>, mut random: Random) {
    while !stop.load(Ordering::Relaxed)
        && let Some(Answer { body: page, .. }) = answer_of(client.request(Method::GET, "/api/v1/inquiries?status=open&limit=20")).await
    {
        for open in page["items"].as_array().into_iter().flatten() {
            let (id, ship) = (text(&open["id"]), random.below(3) > 0);
            let request = client.request(Method::POST, &format!("/api/v1/inquiries/{id}/respond"));
            let Some(Answer { status, body, .. }) =
                answer_of(request.json(&json!({ "answer": { "ship": ship }, "digest": open["digest"] }))).await
            else {
                return;
            };
            match status {
                StatusCode::CONFLICT | StatusCode::NOT_FOUND => {}
                _ if known.is_turned_away(status) => return,
                _ if status.is_success() => drop(known.answers().insert(id, ship)),
                _ => panic!("an answer was answered with {status} {body}"),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Cancels some of the workflows.
async fn cancel(client: Client, known: Arc<FlowLedger>, stop: Arc<AtomicBool>, mut random: Random) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(PAUSE * 2).await;
        let newest: Vec<(String, String)> = known.flows().values().rev().take(10).cloned().collect();
        let Some((id, position)) = newest.get(random.below(10) as usize).cloned() else { continue };
        // A second cancel would end what undoes the workflow.
        if !known.cancels().insert(id.clone()) {
            continue;
        }
        let request = client.request(Method::POST, &format!("/api/v1/executions/{id}/cancel"));
        // A node that has just started may still be reading the log of the previous one.
        let request = request.header("ensue-position", position).json(&json!({}));
        let Some(Answer { status, body, .. }) = answer_of(request).await else { return };
        let is_refused = [StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
        assert!(status.is_success() || is_refused, "a cancel was answered with {status} {body}");
    }
}

/// Compares the log with what is known. Returns the counts of each kind.
fn hold_against(records: &[Value], known: &FlowLedger, world: &World) -> String {
    let of_kind = |kind: &'static str| records.iter().filter(move |record| record["kind"] == kind);
    let id_of = |record: &Value| text(&record["stream"]).trim_start_matches("execution/").to_owned();

    let (mut roots, mut steps, mut begun) = (BTreeSet::new(), BTreeMap::<String, Vec<&Value>>::new(), BTreeSet::new());
    for record in of_kind("execution.requested") {
        let part_of = &record["fact"]["part_of"];
        if part_of.is_null() {
            roots.insert(id_of(record));
        } else {
            assert!(begun.insert(part_of.to_string()), "a step began twice: {record}");
            steps.entry(text(&part_of["workflow"])).or_default().push(record);
        }
    }
    assert_eq!(roots, known.flows().values().map(|(id, _)| id.clone()).collect(), "each request is one workflow");

    let mut ended: BTreeMap<String, &str> = BTreeMap::new();
    for record in records {
        let end = ["execution.succeeded", "execution.failed", "execution.timed_out", "execution.cancelled"].into_iter();
        if let Some(end) = end.clone().find(|end| record["kind"] == *end) {
            assert_eq!(ended.insert(id_of(record), end), None, "it ended twice: {record}");
        }
    }
    let requested: BTreeSet<String> = of_kind("execution.requested").map(id_of).collect();
    assert_eq!(requested, ended.keys().cloned().collect(), "all that was asked for has ended");

    let time = |value: &Value| text(value).parse::<Timestamp>().unwrap();
    let mut fired = BTreeSet::new();
    for record in of_kind("timer.fired") {
        let fact = &record["fact"];
        assert!(fired.insert((id_of(record), fact["kind"].to_string(), fact["number"].to_string())), "it fired twice: {record}");
        assert!(time(&record["time"]) >= time(&fact["due"]), "it fired early: {record}");
    }

    let mut decided: BTreeSet<String> = BTreeSet::new();
    for record in of_kind("inquiry.answered") {
        assert!(decided.insert(text(&record["fact"]["inquiry"])), "it was answered twice: {record}");
    }
    let acknowledged: BTreeSet<String> = known.answers().keys().cloned().collect();
    assert!(acknowledged.is_subset(&decided), "acknowledged, and not in the log: {:?}", acknowledged.difference(&decided));

    let root_of: BTreeMap<String, &str> =
        steps.iter().flat_map(|(root, steps)| steps.iter().map(move |step| (id_of(step), root.as_str()))).collect();
    let answered = |record: &Value| Some((*root_of.get(&id_of(record))?, *known.answers().get(record["id"].as_str()?)?));
    let answers: BTreeMap<&str, bool> = of_kind("inquiry.opened").filter_map(answered).collect();
    let effects = world.effects();
    let of_step = |root: &str, step: &str, undoes: bool| {
        let is_it = |record: &&&Value| {
            let part_of = &record["fact"]["part_of"];
            part_of["step"] == step && (part_of["role"] == "undo") == undoes
        };
        steps.get(root).into_iter().flatten().filter(is_it).map(|record| id_of(record)).collect::<Vec<_>>()
    };
    let has_succeeded = |id: &String| ended[id] == "execution.succeeded";
    let mut undone = 0;
    for root in &roots {
        let builds = of_step(root, "build", false);
        match ended[root] {
            "execution.succeeded" => {
                assert!(builds.iter().all(has_succeeded) && builds.len() == 1, "{root} succeeded without its first step");
                let shipped = of_step(root, "ship", false);
                assert!(shipped.iter().all(has_succeeded), "{root} succeeded without what it ships");
                // If no answer was acknowledged, either may have counted.
                let shipped = shipped.len();
                let is_so = answers.get(root.as_str()).map_or([0, 3].contains(&shipped), |ship| shipped == if *ship { 3 } else { 0 });
                assert!(is_so, "{root} shipped {shipped} of 3, the answer was {:?}", answers.get(root.as_str()));
            }
            "execution.cancelled" => {
                assert!(known.cancels().contains(root), "nobody asked that {root} end");
                let undoes = of_step(root, "build", true);
                assert_eq!(builds.iter().filter(|build| has_succeeded(build)).count(), undoes.len(), "{root} is undone where it had begun");
                assert!(undoes.iter().all(has_succeeded), "what undoes {root} did not succeed");
                undone += undoes.len();
            }
            other => panic!("{root} ended as {other}"),
        }
    }
    for record in steps.values().flatten().filter(|record| text(&record["fact"]["action"]).starts_with("flows.")) {
        let id = id_of(record);
        assert!(!has_succeeded(&id) || effects.contains_key(&id), "{id} succeeded without an effect");
    }
    let count = |end: &str| roots.iter().filter(|root| ended[*root] == end).count();
    format!(
        "{} workflows: {} succeeded, {} cancelled, {undone} undone; {} steps, {} timers, {} questions answered, {} effects",
        roots.len(),
        count("execution.succeeded"),
        count("execution.cancelled"),
        begun.len(),
        fired.len(),
        decided.len(),
        effects.values().sum::<u64>()
    )
}

fn write_pack(place: &NodeFolder, world: &World) {
    place.write_pack_file("flows/pack.yaml", "name: flows\nversion: 1.0.0\ndescription: What is under way while the node is killed.\n");
    place.write_pack_file(
        "flows/actions/effect.yaml",
        &format!(
            "description: Has an effect on the world.\nparameters: {{ n: integer }}\nidempotent: true\nrun:\n  http:\n    method: POST\n    url: {}/effect\n    json: '${{{{ params }}}}'\n",
            world.url()
        ),
    );
    place.write_pack_file(
        "flows/actions/program.yaml",
        &format!(
            "description: Has an effect on the world, by a program that takes its time.\nidempotent: true\nrun:\n  shell:\n    script: |\n      echo $ENSUE_ATTEMPT >> {}/$ENSUE_IDEMPOTENCY_KEY\n      sleep 0.2\n",
            world.folder().display()
        ),
    );
    place.write_pack_file(
        "flows/actions/ship.yaml",
        r#"description: Builds, waits, asks and ships.
parameters: { n: integer }
run:
  workflow:
    steps:
      build:
        action: flows.effect
        with: { n: "${{ params.n }}" }
        undo:
          action: flows.effect
          with: { n: "${{ 0 - params.n }}" }
      nap:
        needs: [build]
        sleep: 150ms
      approve:
        needs: [nap]
        inquiry:
          title: Ship it?
          assignees: ["role:admin"]
          answer: { ship: boolean }
          expires: 1s
          on_expire: { answer: { ship: true } }
      ship:
        needs: [approve]
        if: steps.approve.answer.ship
        for_each: '[1, 2, 3]'
        action: flows.effect
        with: { n: "${{ item }}" }
      program:
        needs: [approve]
        if: params.n % 4 == 0
        action: flows.program
"#,
    );
}
