//! A node whose log is in PostgreSQL: on a real server, with nodes that start, wait, take over and die.

use std::io::BufRead as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::database_server::{Server, is_missing};
use crate::support::{Node, Place, Printed, free_port};

/// Two machines that share a database and a master key, and nothing else.
struct Pair {
    address: String,
    database: String,
    first: Place,
    second: Arc<Place>,
}

impl Pair {
    fn new() -> Self {
        let database = Server::shared().new_database();
        let address = Server::shared().address(&database);
        let first = Place::new();
        let key = first.path().join("master.key").display().to_string();
        let on = |place: Place| place.with_arguments(&["--database", &address, "--master-key", &key]);
        let first = on(first);
        let second = on(Place::new()).listening_on(&format!("127.0.0.1:{}", free_port()));
        for place in [&first, &second] {
            place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: Sells.\n");
            place.write_pack_file("shop/triggers/order.yaml", "payload: { number: integer }\n");
            place.write_pack_file(
                "shop/rules/greet.yaml",
                "trigger: shop.order\naction: core.echo\nwith: { message: '${{ string(event.payload.number) }}' }\n",
            );
        }
        Self { address, database, first, second: Arc::new(second) }
    }

    fn psql(&self, sql: &str) -> String {
        Server::shared().psql(&self.database, sql)
    }

    /// Starts the second node, which waits until the first one is gone, and returns its thread once it waits.
    async fn start_second(&self) -> Second {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("http://{}", self.second.address());
        let place = self.second.clone();
        let starting = std::thread::spawn(move || (place.try_start(), Instant::now()));
        let begin = Instant::now();
        loop {
            if let Ok(response) = reqwest::get(format!("{url}/readyz")).await {
                let (status, body) = (response.status(), response.text().await.unwrap());
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
                assert!(body.contains("another node leads the log"), "{body}");
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "the second node does not answer while it waits");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let alive = reqwest::get(format!("{url}/livez")).await.unwrap();
        let refused = reqwest::get(format!("{url}/api/v1/events")).await.unwrap();
        assert_eq!((alive.status(), refused.status()), (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
        Second(starting)
    }
}

/// A node that waits.
struct Second(std::thread::JoinHandle<(Result<Node, String>, Instant)>);

impl Second {
    /// Waits until it serves, and returns it with the time since `begin`.
    fn serves(self, begin: Instant) -> (Node, Duration) {
        let (node, at) = self.0.join().unwrap();
        (node.unwrap(), at.saturating_duration_since(begin))
    }
}

fn order(number: u64) -> Value {
    json!({ "trigger": "shop.order", "payload": { "number": number }, "dedupe": format!("order-{number}") })
}

/// Sends an order, and returns the id of its event.
async fn sent(node: &Node, number: u64) -> String {
    node.client().post("/events", &order(number)).await.body["id"].as_str().unwrap().to_owned()
}

/// Waits until each of the first orders has one execution that succeeded, and fails if one has more.
async fn each_order_is_done_once(node: &Node, orders: usize) {
    let client = node.client();
    client.until("/executions?status=succeeded&limit=200", |page| page["items"].as_array().unwrap().len() >= orders).await;
    let all = client.get("/executions?limit=200").await;
    assert_eq!(all["items"].as_array().unwrap().len(), orders, "{all:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_restarts_on_its_database_with_all_that_it_acknowledged() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let node = pair.first.start();
    let event = sent(&node, 1).await;
    each_order_is_done_once(&node, 1).await;
    let doctor = node.client().get("/doctor").await;
    let told = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "database").unwrap();
    assert!(told["message"].as_str().unwrap().contains("without a synchronous standby"), "{told:#}");
    let records = node.client().records().await;
    node.stop_well();

    let node = pair.first.start();
    assert_eq!(node.client().records().await[..records.len()], records);
    assert_eq!(sent(&node, 1).await, event, "the key of the event is remembered");
    each_order_is_done_once(&node, 1).await;
    node.stop_well();
    assert!(!pair.first.data().join("log.sqlite").exists() && !pair.first.data().join("vault.sqlite").exists());
}

/// How long a take-over may take here, where other tests have the processor too. Less than 5 s is promised.
const TAKE_OVER: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn waiting_node_takes_over_from_a_killed_one_and_nothing_is_lost_or_done_twice() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let first = pair.first.start();
    let second = pair.start_second().await;
    let mut events = Vec::new();
    for number in 0..20 {
        events.push(sent(&first, number).await);
    }
    let token = json!({ "name": "reader", "roles": ["viewer"] });
    let token = first.client().post("/tokens", &token).await.body["token"].as_str().unwrap().to_owned();
    let begin = Instant::now();
    first.kill();
    let (second, took) = second.serves(begin);
    println!("the second node served {took:?} after the first was killed");
    assert!(took < TAKE_OVER, "{took:?}");

    for (number, event) in events.iter().enumerate() {
        assert_eq!(sent(&second, number as u64).await, *event, "an acknowledged event is there once");
    }
    sent(&second, 20).await;
    each_order_is_done_once(&second, 21).await;
    let seen = reqwest::Client::new().get(format!("{}/api/v1/events", second.url())).bearer_auth(token).send().await.unwrap();
    assert_eq!(seen.status(), StatusCode::OK, "a token of the first node is valid at the second");
    let decided = pair.psql("SELECT count(*) - count(DISTINCT id) FROM log_0.records");
    assert_eq!(decided, "0");
    second.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_node_takes_over_at_once_from_one_that_stops() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let first = pair.first.start();
    let second = pair.start_second().await;
    sent(&first, 1).await;
    each_order_is_done_once(&first, 1).await;
    first.stop_well();
    let (second, took) = second.serves(Instant::now());
    println!("the second node served {took:?} after the first had stopped");
    assert!(took < Duration::from_secs(3), "without waiting for the end of a lease: {took:?}");
    each_order_is_done_once(&second, 1).await;
    second.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_node_ends_once_another_one_leads() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let first = pair.first.start();
    let second = pair.start_second().await;
    first.signal(Signal::STOP);
    let (second, took) = second.serves(Instant::now());
    assert!(took < TAKE_OVER, "{took:?}");
    first.signal(Signal::CONT);
    let (code, said) = first.end();
    assert_ne!(code, Some(0));
    assert!(said.contains("another node now writes to this log"), "{said}");
    assert!(said.contains("start the node again: it waits"), "{said}");
    sent(&second, 1).await;
    each_order_is_done_once(&second, 1).await;
    second.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_node_can_be_stopped() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let first = pair.first.start();
    let mut waiting = pair.first.ensue(&["serve", "--listen", "127.0.0.1:0", "--data", "other", "--packs", "packs"]);
    let waiting = waiting.args(["--database", &pair.address, "--master-key", "master.key"]).stderr(std::process::Stdio::piped());
    let mut waiting = waiting.spawn().unwrap();
    let mut said = std::io::BufReader::new(waiting.stderr.take().unwrap()).lines();
    let line = said.find_map(|line| line.ok().filter(|line| line.contains("waiting: another node leads the log"))).unwrap();
    assert!(line.contains(&format!("(process {})", first.pid())), "{line}");
    let pid = rustix::process::Pid::from_raw(waiting.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    first.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_with_records_that_its_copy_lacks_is_refused() {
    if is_missing() {
        return;
    }
    let address = Server::shared().address(&Server::shared().new_database());
    let place = Place::new();
    place.start().stop_well();
    let copied = Printed::by(&mut place.ensue(&["log", "copy", "--from", "data", "--to", &address]));
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    place.start().stop_well();
    let place = place.with_arguments(&["--database", &address]);
    let Err(said) = place.try_start() else { panic!("acknowledged records were left behind") };
    assert!(said.contains("the log in the data directory ends at position"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_log_or_master_key_is_refused() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    pair.first.start().stop_well();

    // The directory of a log that is in a database, without the database.
    let forgotten = Place::new().with_arguments(&["--master-key", &pair.first.path().join("master.key").display().to_string()]);
    std::fs::create_dir(forgotten.data()).unwrap();
    std::fs::copy(pair.first.data().join("log-elsewhere"), forgotten.data().join("log-elsewhere")).unwrap();
    let Err(said) = forgotten.try_start() else { panic!("a new log was begun") };
    assert!(said.contains("of this data directory is in a database") && said.contains("--database"), "{said}");
    assert!(!forgotten.data().join("log.sqlite").exists());

    // Another installation's database.
    let other = Pair::new();
    other.first.start().stop_well();
    let confused = Place::new().with_arguments(&["--database", &other.address]);
    std::fs::create_dir(confused.data()).unwrap();
    std::fs::copy(pair.first.data().join("log-elsewhere"), confused.data().join("log-elsewhere")).unwrap();
    let Err(said) = confused.try_start() else { panic!("the log of another installation was opened") };
    assert!(said.contains("the data directory belongs to log"), "{said}");

    // Another machine without the master key, and one with another key.
    let missing = Place::new().with_arguments(&["--database", &pair.address]);
    let Err(said) = missing.try_start() else { panic!("a master key was made up") };
    assert!(said.contains("there is no master key"), "{said}");
    let key = other.first.path().join("master.key").display().to_string();
    let wrong = Place::new().with_arguments(&["--database", &pair.address, "--master-key", &key]);
    let Err(said) = wrong.try_start() else { panic!("another master key was accepted") };
    assert!(said.contains("but the secrets were sealed under the master key"), "{said}");
}
