//! Torture: the built binary under load, killed with SIGKILL at random moments, restarted, and held against a ledger kept outside.
//!
//! A kill proves nothing about the disk's own cache (it survives); it proves that no answer, fact or attempt depends on the
//! process having lived on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::world::World;
use crate::support::{Client, Delivery, Node, Place, Printed};

/// How often the node is killed, where `ENSUE_TORTURE_KILLS` says nothing.
const KILLS: u64 = 20;
/// How many senders deliver at once.
const SENDERS: usize = 4;
/// The rules of the pack that match each delivery.
const RULES: [&str; 3] = ["torture.note", "torture.once", "torture.repeatable"];

/// What is known outside of the node: each delivery that was sent, and the event that was acknowledged for it.
#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<BTreeMap<u64, String>>,
    sent: AtomicU64,
}

impl Ledger {
    fn acknowledged(&self) -> BTreeMap<u64, String> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, delivery: u64, event: &str) {
        let earlier = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(delivery, event.to_owned());
        if let Some(earlier) = earlier {
            assert_eq!(earlier, event, "delivery {delivery} was acknowledged as two events");
        }
    }
}

fn write_pack(place: &Place, world: &World) {
    place.write_pack_file(
        "torture/pack.yaml",
        "name: torture\nversion: 1.0.0\ndescription: What is killed while it works.\nkeys: [secret]\n",
    );
    place.write_pack_file("torture/triggers/tick.yaml", "description: A delivery.\npayload:\n  n: integer\n");
    place.write_pack_file(
        "torture/sensors/hook.yaml",
        "description: Where they come in.\nwebhook:\n  verify: { scheme: github, key: torture.secret }\nemits:\n  - trigger: torture.tick\n    dedupe: 'headers[\"x-github-delivery\"]'\n",
    );
    for (name, idempotent) in [("once", "false"), ("repeatable", "true")] {
        let url = world.url();
        place.write_pack_file(
            &format!("torture/actions/{name}.yaml"),
            &format!(
                "description: Has an effect on the world.\nparameters: {{ n: integer }}\nidempotent: {idempotent}\nrun:\n  http:\n    method: POST\n    url: {url}/{name}\n    json: '${{{{ params }}}}'\n"
            ),
        );
        place.write_pack_file(
            &format!("torture/rules/{name}.yaml"),
            &format!(
                "description: Has it done.\ntrigger: torture.tick\naction: torture.{name}\nwith: {{ n: '${{{{ event.payload.n }}}}' }}\n"
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

fn delivery(n: u64) -> Delivery {
    Delivery::github("tick", &format!("delivery-{n}"), json!({ "n": n }).to_string().as_bytes()).at("/hooks/torture/hook")
}

/// Delivers until told to stop. What was not acknowledged is delivered again under the same id, as a good sender does.
async fn send(client: Client, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let n = ledger.sent.fetch_add(1, Ordering::Relaxed);
        if !deliver(&client, &ledger, n).await {
            return;
        }
    }
}

async fn deliver(client: &Client, ledger: &Ledger, n: u64) -> bool {
    match client.deliver(&delivery(n)).await {
        Ok(answer) if answer.status == StatusCode::ACCEPTED || answer.status == StatusCode::OK => {
            let event = answer.body["events"][0]["id"].as_str().unwrap_or_else(|| panic!("no event in {}", answer.body));
            ledger.note(n, event);
            true
        }
        Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE || answer.status == StatusCode::TOO_MANY_REQUESTS => {
            assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
            false
        }
        Ok(answer) => panic!("delivery {n} was answered with {answer:?}"),
        // The node was killed: whether the delivery counts is not known.
        Err(_) => false,
    }
}

/// Lives for a while, dies, and gives what the `begun` file said then.
async fn live_and_die(place: &Place, ledger: &Arc<Ledger>, life: Duration) -> String {
    let node = place.start();
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS).map(|_| tokio::spawn(send(node.client(), ledger.clone(), stop.clone()))).collect();
    // How long it lives is what is random here; nothing waits for anything.
    tokio::time::sleep(life).await;
    node.kill();
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    std::fs::read_to_string(place.data().join("begun")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn torture_loses_nothing_doubles_nothing_and_guesses_nothing() {
    let kills = std::env::var("ENSUE_TORTURE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let seed = std::env::var("ENSUE_TORTURE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(seed_of_now);
    eprintln!("torture: {kills} kills; again with ENSUE_TORTURE_SEED={seed}");
    let world = World::start().await;
    let place = Place::new()
        .with_variable("ENSUE_EGRESS_ALLOW", &world.address().to_string())
        .with_variable("ENSUE_KEY_TORTURE_SECRET_FILE", "secret");
    write_pack(&place, &world);
    let ledger = Arc::new(Ledger::default());
    let mut random = Random(seed);
    let mut begun = String::new();
    for _ in 0..kills {
        begun.push_str(&live_and_die(&place, &ledger, Duration::from_millis(20 + random.next() % 280)).await);
    }

    let node = place.start();
    let client = node.client();
    for n in 0..ledger.sent.load(Ordering::Relaxed) {
        assert!(deliver(&client, &ledger, n).await, "a node that lives takes delivery {n}");
    }
    quiesce(&client).await;
    let indeterminate = hold_against_the_log(&client, &ledger, &world, &begun).await;
    settle_by_the_ledger(&client, &world, &indeterminate).await;
    quiesce(&client).await;
    every_execution_has_ended(&client, &world).await;
    rebuilt_views_are_the_live_ones(&client).await;
    eprintln!(
        "torture: {} deliveries, {} effects, {} indeterminate and settled",
        ledger.acknowledged().len(),
        world.effects().values().sum::<u64>(),
        indeterminate.len()
    );
    end(node, &place);
}

fn end(node: Node, place: &Place) {
    assert_eq!(node.stop(), Some(0));
    let verified = Printed::by(&mut place.ensue(&["log", "verify", "--data", "data"]));
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

/// Waits until nothing is queued or running.
async fn quiesce(client: &Client) {
    for status in ["queued", "running", "cancelling"] {
        let path = format!("/executions?status={status}&limit=1");
        client.until(&path, |page| page["items"].as_array().is_some_and(Vec::is_empty)).await;
    }
}

/// Holds the log against the ledger, and gives the executions that are indeterminate.
async fn hold_against_the_log(client: &Client, ledger: &Ledger, world: &World, begun: &str) -> Vec<String> {
    let records = client.records().await;
    let of_kind = |kind: &'static str| records.iter().filter(move |record| record["kind"] == kind);
    for (at, record) in records.iter().enumerate() {
        assert_eq!(record["position"], at as u64 + 1, "positions are 1, 2, 3 … without a gap");
    }

    let ticks: BTreeSet<String> =
        of_kind("event.received").filter(|record| record["fact"]["trigger"] == "torture.tick").map(|record| text(&record["id"])).collect();
    let acknowledged: BTreeSet<String> = ledger.acknowledged().into_values().collect();
    let missing: Vec<_> = acknowledged.difference(&ticks).collect();
    assert!(missing.is_empty(), "acknowledged and not in the log: {missing:?}");
    let unknown: Vec<_> = ticks.difference(&acknowledged).collect();
    assert!(unknown.is_empty(), "one delivery became more than one event: {unknown:?}");

    let mut enforced: BTreeMap<(String, String), u64> = BTreeMap::new();
    for record in of_kind("enforcement.made") {
        *enforced.entry((text(&record["fact"]["event"]), text(&record["fact"]["rule"]))).or_default() += 1;
    }
    for event in &ticks {
        for rule in RULES {
            let times = enforced.remove(&(event.clone(), rule.to_owned())).unwrap_or(0);
            assert_eq!(times, 1, "{rule} decided {times} times on event {event}");
        }
    }
    assert!(enforced.is_empty(), "enforcements that no rule should have made: {enforced:?}");

    let requested = of_kind("execution.requested").count();
    assert_eq!(requested, ticks.len() * RULES.len());
    let mut ended: BTreeMap<String, String> = BTreeMap::new();
    for record in &records {
        let kind = text(&record["kind"]);
        if ["execution.succeeded", "execution.failed", "execution.timed_out", "execution.cancelled"].contains(&kind.as_str()) {
            let earlier = ended.insert(text(&record["stream"]), kind);
            assert_eq!(earlier, None, "{} ended twice", record["stream"]);
        }
    }
    let attempts: BTreeMap<String, Vec<String>> = of_kind("attempt.started").fold(BTreeMap::new(), |mut attempts, record| {
        attempts.entry(text(&record["stream"])).or_insert_with(Vec::new).push(text(&record["id"]));
        attempts
    });
    let effects = world.effects();
    let mut indeterminate = Vec::new();
    for record in of_kind("execution.requested") {
        let stream = text(&record["stream"]);
        let execution = stream.trim_start_matches("execution/").to_owned();
        let action = text(&record["fact"]["action"]);
        let times = effects.get(&execution).copied().unwrap_or(0);
        match ended.get(&stream).map(String::as_str) {
            Some("execution.succeeded") if action == "core.echo" => {}
            Some("execution.succeeded") if action == "torture.once" => assert_eq!(times, 1, "{execution} took effect {times} times"),
            Some("execution.succeeded") => assert!(times >= 1, "{execution} succeeded without an effect"),
            Some(other) => panic!("{stream} of {action} ended as {other}"),
            None => {
                assert_eq!(action, "torture.once", "{stream} of {action} neither ended nor may be indeterminate");
                assert!(times <= 1, "{execution} is not idempotent and took effect {times} times");
                let last = attempts[&stream].last().unwrap();
                assert!(begun.contains(last.as_str()), "attempt {last} of {stream} is lost and is not noted as begun");
                indeterminate.push(execution);
            }
        }
    }
    indeterminate
}

/// A person who looks at the world says what became of each.
async fn settle_by_the_ledger(client: &Client, world: &World, indeterminate: &[String]) {
    let effects = world.effects();
    for execution in indeterminate {
        let outcome = if effects.contains_key(execution) { "succeeded" } else { "retry" };
        let answer = client.post(&format!("/executions/{execution}/settle"), &json!({ "outcome": outcome })).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }
}

async fn every_execution_has_ended(client: &Client, world: &World) {
    let open = client.get("/executions?status=indeterminate&limit=1").await;
    assert_eq!(open["items"], json!([]));
    let effects = world.effects();
    for record in client.records().await.iter().filter(|record| record["kind"] == "execution.requested") {
        let execution = text(&record["stream"]).trim_start_matches("execution/").to_owned();
        match text(&record["fact"]["action"]).as_str() {
            "torture.once" => assert_eq!(effects.get(&execution), Some(&1), "{execution} is not idempotent"),
            "torture.repeatable" => assert!(effects.contains_key(&execution), "{execution} had no effect"),
            _ => {}
        }
    }
}

async fn rebuilt_views_are_the_live_ones(client: &Client) {
    let before = shown(client).await;
    let answer = client.post("/views/rebuild", &json!({})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    client.until("/views/rebuild", |job| job["status"] == "succeeded").await;
    assert_eq!(shown(client).await, before, "views that are built anew hold what the live ones held");
}

async fn shown(client: &Client) -> Vec<Value> {
    let mut shown = Vec::new();
    for path in ["/events?limit=200", "/enforcements?limit=200", "/executions?limit=200", "/packs", "/keys", "/tokens", "/rules"] {
        let answer = client.request(Method::GET, &format!("/api/v1{path}")).send().await.unwrap();
        let mut page: Value = answer.json().await.unwrap();
        // A cursor is signed for the moment it is asked for.
        page["next"] = Value::Null;
        shown.push(page);
    }
    shown
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn seed_of_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to choose moments with, and to choose them again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
