//! A node whose log is in PostgreSQL: on a real server, with nodes that start, wait, take over and die.

use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::database_server::{Server, is_missing};
use crate::moto::Moto;
use crate::support::skipped::not_installed;
use crate::support::{CommandOutput, Node, NodeFolder, PYTHON, files_below, free_port, http, until};

/// Two machines that share a database and a master key, and nothing else.
struct Pair {
    address: String,
    database: String,
    first: NodeFolder,
    second: Arc<NodeFolder>,
}

/// Writes a pack whose rule greets for each order.
fn write_shop(place: &NodeFolder) {
    place.write_pack_file("shop/pack.yaml", "name: shop\nversion: 1.0.0\ndescription: Sells.\n");
    place.write_pack_file("shop/triggers/order.yaml", "payload: { number: integer }\n");
    place.write_pack_file(
        "shop/rules/greet.yaml",
        "trigger: shop.order\naction: core.echo\nwith: { message: '${{ string(event.payload.number) }}' }\n",
    );
}

/// An action that prints two lines and publishes a file.
const REPORT: &str = r#"
description: Writes a report.
run:
  process:
    command: [sh, -c, 'echo a line; echo a warning >&2; echo a report > report.txt; echo "{\"artifact\":{\"path\":\"report.txt\"}}" >&3']
"#;

impl Pair {
    fn new() -> Self {
        Self::with(|place| place)
    }

    /// Makes a pair of which both machines have more arguments or variables.
    fn with(more: impl Fn(NodeFolder) -> NodeFolder) -> Self {
        let database = Server::instance().new_database();
        Self::at(Server::instance().address(&database), database, more)
    }

    /// Makes a pair on the database at an address.
    fn at(address: String, database: String, more: impl Fn(NodeFolder) -> NodeFolder) -> Self {
        let first = NodeFolder::new();
        let key = first.path().join("master.key").display().to_string();
        let on = |place: NodeFolder| more(place.with_arguments(&["--database", &address, "--master-key", &key]));
        let first = on(first);
        let second = on(NodeFolder::new()).listening_on(&format!("127.0.0.1:{}", free_port()));
        for place in [&first, &second] {
            write_shop(place);
        }
        Self { address, database, first, second: Arc::new(second) }
    }

    fn psql(&self, sql: &str) -> String {
        Server::instance().psql(&self.database, sql)
    }

    /// Starts the second node, which waits until the first one is gone, and returns its thread once it waits.
    async fn start_second(&self) -> Second {
        let http = http().build().unwrap();
        let url = format!("http://{}", self.second.address());
        let place = self.second.clone();
        let starting = std::thread::spawn(move || (place.try_start(), Instant::now()));
        let begin = Instant::now();
        loop {
            if let Ok(response) = http.get(format!("{url}/readyz")).send().await {
                let (status, body) = (response.status(), response.text().await.unwrap());
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
                assert!(body.contains("another node leads the log"), "{body}");
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "the second node does not answer while it waits");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let alive = http.get(format!("{url}/livez")).send().await.unwrap();
        let refused = http.get(format!("{url}/api/v1/events")).send().await.unwrap();
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
async fn send_order(node: &Node, number: u64) -> String {
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
    let event = send_order(&node, 1).await;
    each_order_is_done_once(&node, 1).await;
    let doctor = node.client().get("/doctor").await;
    let told = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "database").unwrap();
    assert!(told["message"].as_str().unwrap().contains("without a synchronous standby"), "{told:#}");
    let records = node.client().records().await;
    node.stop_well();

    let node = pair.first.start();
    assert_eq!(node.client().records().await[..records.len()], records);
    assert_eq!(send_order(&node, 1).await, event, "the key of the event is remembered");
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
        events.push(send_order(&first, number).await);
    }
    let token = json!({ "name": "reader", "roles": ["viewer"] });
    let token = first.client().post("/tokens", &token).await.body["token"].as_str().unwrap().to_owned();
    let begin = Instant::now();
    first.kill();
    let (second, took) = second.serves(begin);
    println!("the second node served {took:?} after the first was killed");
    assert!(took < TAKE_OVER, "{took:?}");

    for (number, event) in events.iter().enumerate() {
        assert_eq!(send_order(&second, number as u64).await, *event, "an acknowledged event is there once");
    }
    send_order(&second, 20).await;
    each_order_is_done_once(&second, 21).await;
    let seen = http().build().unwrap().get(format!("{}/api/v1/events", second.url())).bearer_auth(token).send().await.unwrap();
    assert_eq!(seen.status(), StatusCode::OK, "a token of the first node is valid at the second");
    let decided = pair.psql("SELECT count(*) - count(DISTINCT id) FROM log_0.records");
    assert_eq!(decided, "0");
    second.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_that_start_at_once_on_an_empty_database_one_waits() {
    if is_missing() {
        return;
    }
    for _ in 0..3 {
        two_nodes_start_at_once(Pair::new()).await;
    }
}

async fn two_nodes_start_at_once(pair: Pair) {
    let (tell, told) = std::sync::mpsc::sync_channel(2);
    let first = Arc::new(pair.first);
    for place in [first.clone(), pair.second.clone()] {
        let tell = tell.clone();
        std::thread::spawn(move || tell.send(place.try_start()).unwrap());
    }
    let next = || told.recv_timeout(Duration::from_secs(120)).unwrap().unwrap();
    let one = next();
    send_order(&one, 1).await;
    each_order_is_done_once(&one, 1).await;
    assert!(told.try_recv().is_err(), "both nodes serve");
    one.stop_well();
    let other = next();
    each_order_is_done_once(&other, 1).await;
    other.stop_well();
    let logs = Server::instance().psql(&pair.database, "SELECT count(*) FROM ensue.logs");
    assert_eq!(logs, "1", "each node began a log");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_node_takes_over_at_once_from_one_that_stops() {
    if is_missing() {
        return;
    }
    // Without the release it takes a lease each time. A machine can be that slow once.
    let mut took = [Duration::ZERO; 3];
    for took in &mut took {
        *took = hand_over().await;
        if *took < LEASE {
            return;
        }
    }
    panic!("the second node waited for the end of a lease: {took:?}");
}

/// How long the beats of a node must be away until another one leads.
const LEASE: Duration = Duration::from_secs(3);

/// Lets a node stop while another one waits. Returns after what time that one served.
async fn hand_over() -> Duration {
    let pair = Pair::new();
    let first = pair.first.start();
    let second = pair.start_second().await;
    send_order(&first, 1).await;
    each_order_is_done_once(&first, 1).await;
    first.stop_well();
    let (second, took) = second.serves(Instant::now());
    println!("the second node served {took:?} after the first had stopped");
    each_order_is_done_once(&second, 1).await;
    second.stop_well();
    took
}

/// Runs the action that prints and publishes an artifact, and returns the id of its execution.
async fn run_report(node: &Node) -> String {
    let client = node.client();
    let id = client.post("/actions/shop.report/execute", &json!({})).await.body["id"].as_str().unwrap().to_owned();
    client.until(&format!("/executions/{id}"), |shown| shown["status"] == "succeeded").await;
    id
}

/// Fails if a node does not return what the execution printed and published.
async fn report_is_whole(node: &Node, id: &str) {
    let client = node.client();
    for (stream, text) in [("stdout", "a line\n"), ("stderr", "a warning\n")] {
        let logs = client.request(Method::GET, &format!("/api/v1/executions/{id}/logs?stream={stream}")).header("accept", "text/plain");
        assert_eq!(logs.send().await.unwrap().text().await.unwrap(), text, "{stream}");
    }
    let artifacts = client.get(&format!("/executions/{id}/artifacts")).await;
    let artifact = artifacts["items"][0]["id"].as_str().unwrap_or_else(|| panic!("no artifact: {artifacts:#}"));
    let file = client.request(Method::GET, &format!("/api/v1/executions/{id}/artifacts/{artifact}")).send().await.unwrap();
    assert_eq!((file.status(), file.text().await.unwrap().as_str()), (StatusCode::OK, "a report\n"));
}

/// Waits until so many outputs are in the shared store as a whole.
async fn until_copied(ended: impl Fn() -> usize, outputs: usize) {
    until("the output is copied", async || ended() == outputs).await;
}

/// Starts both machines, and loses the first one after it made a report and copied it. Returns the second one, which waits, and the
/// id of the execution.
async fn lost_after_a_report(pair: &Pair, ended: impl Fn() -> usize) -> (Second, String) {
    for place in [&pair.first, &*pair.second] {
        place.write_pack_file("shop/actions/report.yaml", REPORT);
    }
    let first = pair.first.start();
    let second = pair.start_second().await;
    let id = run_report(&first).await;
    until_copied(ended, 1).await;
    first.kill();
    std::fs::remove_dir_all(pair.first.data()).unwrap();
    (second, id)
}

/// Lets a machine be lost after it made a report. The next one must have it, and share what it makes itself.
async fn report_outlives_its_machine(pair: &Pair, ended: impl Fn() -> usize) {
    let (second, id) = lost_after_a_report(pair, &ended).await;

    let (second, _) = second.serves(Instant::now());
    report_is_whole(&second, &id).await;
    run_report(&second).await;
    second.stop_well();
    assert_eq!(ended(), 2, "a node that stops copies what it has not copied yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn output_and_artifacts_of_a_lost_machine_are_read_at_the_next_one() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let ended = || pair.psql("SELECT count(*) FROM log_0.objects WHERE kind = 'outputs' AND part = 'end'").parse().unwrap();
    report_outlives_its_machine(&pair, ended).await;
}

/// Lets somebody change the output of a lost machine where the machines share it. The next machine must not serve it.
async fn changed_output_is_refused(pair: &Pair, ended: impl Fn() -> usize, change: impl FnOnce()) {
    let (second, id) = lost_after_a_report(pair, &ended).await;
    change();

    let (second, _) = second.serves(Instant::now());
    let client = second.client();
    for accept in ["text/plain", "application/json"] {
        let logs = client.request(Method::GET, &format!("/api/v1/executions/{id}/logs?stream=stdout")).header("accept", accept);
        let answer = logs.send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert!(status == StatusCode::SERVICE_UNAVAILABLE && body.contains("output_damaged"), "{accept}: {status} {body}");
    }
    assert!(files_below(&pair.second.data().join("outputs")).is_empty(), "nothing of it is kept");
    second.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_was_changed_in_the_database_is_refused() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let ended = || pair.psql("SELECT count(*) FROM log_0.objects WHERE kind = 'outputs' AND part = 'end'").parse().unwrap();
    let change = || {
        let changed = "UPDATE log_0.objects SET content = overlay(content placing 'A LINE'::bytea from 1) \
                       WHERE kind = 'outputs' AND part = 'stdout/0' RETURNING 'changed'";
        let said = pair.psql(changed);
        assert!(said.contains("changed"), "{said}");
    };
    changed_output_is_refused(&pair, ended, change).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_was_changed_in_a_shared_folder_is_refused() {
    if is_missing() {
        return;
    }
    let shared = tempfile::tempdir().unwrap();
    let address = format!("file://{}", shared.path().display());
    let pair = Pair::with(|place| place.with_arguments(&["--objects", &address]));
    let of_outputs = |part: &str| {
        let files = files_below(shared.path()).into_iter();
        files.filter(|file| file.to_string_lossy().contains("/outputs/") && file.ends_with(part)).collect::<Vec<_>>()
    };
    let change = || {
        let [printed] = of_outputs("stdout/0").try_into().unwrap();
        // All objects are as a node wrote them before outputs had seals.
        std::fs::write(printed, "A LINE\n").unwrap();
        let [printed] = of_outputs("stderr/0").try_into().unwrap();
        std::fs::write(printed, "a warning\n").unwrap();
        let [end] = of_outputs("end").try_into().unwrap();
        std::fs::write(end, r#"{"stdout_bytes":7,"stderr_bytes":10}"#).unwrap();
    };
    changed_output_is_refused(&pair, || of_outputs("end").len(), change).await;
}

/// Adds an object store to the arguments of a machine, and its server to the environment.
fn with_objects(place: NodeFolder, moto: &Moto, address: &str) -> NodeFolder {
    let place = place.with_arguments(&["--objects", address]);
    moto.environment().iter().fold(place, |place, (name, value)| place.with_variable(name, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn output_and_artifacts_are_in_the_bucket_if_there_is_one() {
    if is_missing() {
        return;
    }
    let Some(moto) = Moto::start(Path::new(PYTHON)) else {
        not_installed("output_and_artifacts_are_in_the_bucket_if_there_is_one", "moto");
        return;
    };
    let pair = Pair::with(|place| with_objects(place, &moto, &format!("s3://{}/nodes", Moto::BUCKET)));
    let of_kind = |kind: &str| {
        let names = moto.names();
        names.into_iter().filter(|name| name.starts_with("nodes/") && name.contains(kind)).collect::<Vec<_>>()
    };
    let ended = || of_kind("/outputs/").iter().filter(|name| name.ends_with("/end")).count();
    report_outlives_its_machine(&pair, ended).await;
    assert_eq!(of_kind("/artifacts/").len(), 1, "two reports with the same bytes are one artifact");
    assert_eq!(pair.psql("SELECT count(*) FROM log_0.objects"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_without_data_begins_with_the_saved_state_in_the_bucket() {
    if is_missing() {
        return;
    }
    let bucket = tempfile::tempdir().unwrap();
    let address = format!("file://{}", bucket.path().display());
    let pair = Pair::with(|place| place.with_arguments(&["--objects", &address]));
    for place in [&pair.first, &*pair.second] {
        place.write_pack_file("shop/triggers/visit.yaml", "description: Somebody looked.\npayload: { number: integer }\n");
    }
    let node = pair.first.start();
    send_order(&node, 1).await;
    each_order_is_done_once(&node, 1).await;
    // A state is saved after 50,000 records.
    for list in 0..51 {
        let visits: Vec<Value> =
            (0..1_000).map(|number| json!({ "trigger": "shop.visit", "payload": { "number": list * 1_000 + number } })).collect();
        let taken = node.client().post("/events", &Value::Array(visits)).await;
        assert_eq!(taken.status, StatusCode::ACCEPTED, "{:#}", taken.body);
    }
    let ends = || files_below(bucket.path()).iter().filter(|file| file.ends_with("states/0/end")).count();
    until("the state is in the bucket", async || ends() == 1).await;
    node.stop_well();

    let states = pair.second.data().join("checkpoints");
    assert!(!states.exists());
    let node = pair.second.start();
    assert_eq!(files_below(&states).len(), 1, "it was fetched before the fold");
    each_order_is_done_once(&node, 1).await;
    send_order(&node, 2).await;
    each_order_is_done_once(&node, 2).await;
    node.stop_well();
}

#[test]
fn object_store_that_cannot_be_used_is_refused_at_the_start() {
    if is_missing() {
        return;
    }
    let Some(moto) = Moto::start(Path::new(PYTHON)) else {
        not_installed("object_store_that_cannot_be_used_is_refused_at_the_start", "moto");
        return;
    };
    let pair = Pair::with(|place| with_objects(place, &moto, "s3://ensue-missing"));
    let said = pair.first.try_start().err().unwrap();
    assert!(said.contains("the object store s3://ensue-missing cannot be used") && said.contains("NoSuchBucket"), "{said}");

    let alone = NodeFolder::new().with_arguments(&["--objects", "s3://ensue-tests"]);
    let said = alone.try_start().err().unwrap();
    assert!(said.contains("`objects` is set, but `database` is not"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tries_the_object_store() {
    if is_missing() {
        return;
    }
    let shared = tempfile::tempdir().unwrap();
    let folder = shared.path().join("objects");
    let address = format!("file://{}", folder.display());
    let pair = Pair::with(|place| place.with_arguments(&["--objects", &address]));
    let node = pair.first.start();
    let client = node.client();
    let finding = async || {
        let doctor = client.get("/doctor").await;
        let findings = doctor["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["check"] == "object store").unwrap().clone()
    };
    let found = finding().await;
    assert_eq!((&found["verdict"], found["message"].as_str().unwrap().contains(&address)), (&json!("good"), true), "{found}");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "").unwrap();
    let found = finding().await;
    assert_eq!(found["verdict"], "bad", "{found}");
    assert!(
        found["hint"].as_str().is_some_and(|hint| hint.contains("correct the permissions") || hint.contains("start the store")),
        "{found}"
    );
    node.stop_well();
}

/// Waits until a node says this about its readiness, and returns what it says.
async fn until_ready(url: &str, status: StatusCode, what: &str) -> String {
    let (http, begin) = (http().build().unwrap(), Instant::now());
    loop {
        let mut said = "nothing".to_owned();
        if let Ok(response) = http.get(format!("{url}/readyz")).send().await {
            let found = response.status();
            said = response.text().await.unwrap_or_default();
            if found == status && said.contains(what) {
                return said;
            }
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "the node says: {said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_node_waits_once_another_one_leads_and_serves_again_after_it() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let first = pair.first.start();
    let second = pair.start_second().await;
    first.signal(Signal::STOP);
    let (second, took) = second.serves(Instant::now());
    assert!(took < TAKE_OVER, "{took:?}");
    send_order(&second, 1).await;
    each_order_is_done_once(&second, 1).await;
    first.signal(Signal::CONT);
    until_ready(&first.url(), StatusCode::SERVICE_UNAVAILABLE, "another node leads the log").await;
    let said = first.stderr_text();
    assert!(said.contains("another node now writes to this log") && said.contains("this node waits until it can lead"), "{said}");

    second.stop_well();
    until_ready(&first.url(), StatusCode::OK, "").await;
    send_order(&first, 2).await;
    each_order_is_done_once(&first, 2).await;
    first.stop_well();
}

/// A node on a server of its own, which can be killed.
struct Alone {
    server: Server,
    node: Node,
    _place: NodeFolder,
}

impl Alone {
    fn start() -> Self {
        let server = Server::start();
        let place = NodeFolder::new().with_arguments(&["--database", &server.address(&server.new_database())]);
        write_shop(&place);
        Self { server, node: place.start(), _place: place }
    }
}

#[test]
fn server_that_never_answers_ends_a_start_in_time() {
    if is_missing() {
        return;
    }
    // As one that is frozen: its kernel accepts the connections.
    let frozen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("postgres://ensue@{}/cats", frozen.local_addr().unwrap());
    let begin = Instant::now();
    let Err(said) = NodeFolder::new().with_arguments(&["--database", &address]).try_start() else { panic!("it started without its log") };
    assert!(said.contains("the database `cats` on 127.0.0.1 cannot be reached: no answer within 5 s"), "{said}");
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn short_outage_of_the_database_is_waited_for() {
    if is_missing() {
        return;
    }
    let Alone { server, node, _place } = Alone::start();
    send_order(&node, 1).await;
    server.kill();
    until_ready(&node.url(), StatusCode::SERVICE_UNAVAILABLE, "the database that has the log does not answer").await;
    let waiting = async { send_order(&node, 2).await };
    let (event, ()) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        tokio::task::block_in_place(|| server.start_again());
    });
    until_ready(&node.url(), StatusCode::OK, "").await;
    assert_eq!(send_order(&node, 2).await, event, "the event that was sent during the outage is there");
    each_order_is_done_once(&node, 2).await;
    let said = node.stderr_text();
    assert!(!said.contains("waits until it can lead"), "the node did not lose its log: {said}");
    node.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn node_serves_again_after_the_database_was_away_for_longer_than_an_append_waits() {
    if is_missing() {
        return;
    }
    let Alone { server, node, _place } = Alone::start();
    let event = send_order(&node, 1).await;
    each_order_is_done_once(&node, 1).await;
    server.kill();
    let lost = node.client().post("/events", &order(2)).await;
    assert_eq!(lost.status, StatusCode::SERVICE_UNAVAILABLE, "{:#}", lost.body);
    let said = until_ready(&node.url(), StatusCode::SERVICE_UNAVAILABLE, "the database cannot be used").await;
    assert!(!said.contains("127.0.0.1"), "anybody may read it: {said}");
    server.start_again();
    until_ready(&node.url(), StatusCode::OK, "").await;
    assert_eq!(send_order(&node, 1).await, event);
    send_order(&node, 2).await;
    each_order_is_done_once(&node, 2).await;
    node.stop_well();
}

/// Returns the position of the read models of a machine, if it has any.
fn views_position(place: &NodeFolder) -> Option<i64> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let views = rusqlite::Connection::open_with_flags(place.data().join("views.sqlite"), flags).ok()?;
    views.query_row("SELECT position FROM made", [], |row| row.get(0)).ok()
}

/// Asks a database for the position of the newest record.
const HEAD: &str = "SELECT max(last) FROM log_0.batches";

/// Waits until the read models of a node have all of the log, and returns the position of the newest record. The next beat of
/// the leader says that its newest batch is confirmed.
async fn until_folded(place: &NodeFolder, head: impl Fn() -> String) -> i64 {
    until("the read models have all of the log", async || {
        let (folded, head) = (views_position(place), head().parse().unwrap());
        if folded == Some(head) { Ok(head) } else { Err(format!("they are at {folded:?}, and the head is {head}")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn node_is_not_ready_while_no_commit_is_acknowledged() {
    if is_missing() {
        return;
    }
    let Alone { server, node, _place } = Alone::start();
    send_order(&node, 1).await;
    each_order_is_done_once(&node, 1).await;
    server.set("synchronous_standby_names", "gone");
    let waiting = async { send_order(&node, 2).await };
    let (event, ()) = tokio::join!(waiting, async {
        until_ready(&node.url(), StatusCode::SERVICE_UNAVAILABLE, "does not acknowledge what is written").await;
        server.set("synchronous_standby_names", "");
    });
    until_ready(&node.url(), StatusCode::OK, "").await;
    assert_eq!(send_order(&node, 2).await, event);
    each_order_is_done_once(&node, 2).await;
    node.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_stop_at_a_promoted_standby_that_lacks_acknowledged_records() {
    if is_missing() {
        return;
    }
    let primary = Server::start();
    let name = primary.new_database();
    let standby = primary.start_standby(None);
    let address = format!("postgres://ensue@127.0.0.1:{},127.0.0.1:{}/{name}", primary.port(), standby.port());
    let pair = Pair::at(address, name.clone(), |place| place);
    let node = pair.first.start();
    send_order(&node, 1).await;
    each_order_is_done_once(&node, 1).await;
    let waiting = pair.start_second().await;
    until("the standby has the log", async || standby.psql_may_fail(&name, HEAD).1 == primary.psql(&name, HEAD)).await;
    standby.stop();
    send_order(&node, 2).await;
    each_order_is_done_once(&node, 2).await;
    // The waiting node folds only what it knows to be acknowledged.
    let head = until_folded(&pair.second, || primary.psql(&name, HEAD)).await;
    for place in [&pair.first, &*pair.second] {
        until("a note of that head outside of the database", async || {
            let notes = files_below(&place.path().join("state")).into_iter().filter(|file| file.ends_with("head"));
            let notes: Vec<String> = notes.map(|file| std::fs::read_to_string(file).unwrap()).collect();
            if notes.concat().contains(&format!("{head:020} ")) { Ok(()) } else { Err(format!("not {head}: {notes:?}")) }
        })
        .await;
    }
    primary.kill();
    standby.start_again();
    standby.promote();
    let (code, said) = node.end();
    assert!(code != Some(0) && said.contains("lacks records of the log"), "{code:?} {said}");
    let Err(said) = waiting.0.join().unwrap().0 else { panic!("the waiting node led a log that lacks records") };
    assert!(said.contains("lacks records of the log"), "{said}");
    for place in [&pair.first, &*pair.second] {
        let Err(said) = place.try_start() else { panic!("a log that lacks records was opened") };
        assert!(said.contains("its tail is missing"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_node_folds_what_the_other_one_writes() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let first = pair.first.start();
    let second = pair.start_second().await;
    for number in 0..5 {
        send_order(&first, number).await;
    }
    each_order_is_done_once(&first, 5).await;
    let head = until_folded(&pair.second, || pair.psql(HEAD)).await;
    assert!(head > 20, "five orders make more records than {head}");
    first.kill();
    let (second, _) = second.serves(Instant::now());
    each_order_is_done_once(&second, 5).await;
    second.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_without_a_node_work_on_a_log_in_a_database() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let node = pair.first.start();
    send_order(&node, 1).await;
    each_order_is_done_once(&node, 1).await;
    let ask = |arguments: &[&str]| {
        let more = ["--data", "data", "--database", &pair.address];
        let mut command = pair.first.ensue(&[arguments, &more[..]].concat());
        CommandOutput::by(command.env("ENSUE_MASTER_KEY_FILE", pair.first.path().join("master.key")))
    };
    let led = ask(&["keys", "list"]);
    assert!(led.code != Some(0) && led.stderr.contains("is in use"), "a node runs on the directory: {led:?}");
    node.kill();

    let key = pair.first.path().join("value");
    std::fs::write(&key, "secret").unwrap();
    let set = ask(&["keys", "set", "shop.token", "--file", &key.display().to_string()]);
    assert_eq!(set.code, Some(0), "right after a kill, when the lease of the node is not over: {set:?}");
    let listed = ask(&["keys", "list"]);
    assert!(listed.code == Some(0) && listed.stdout.contains("shop.token"), "{listed:?}");
    let verified = ask(&["log", "verify"]);
    assert!(verified.code == Some(0), "{verified:?}");
    let doctor = ask(&["doctor"]);
    // Lines are wrapped.
    let said = doctor.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for finding in ["the chain is intact", "without a synchronous standby", "the database is on this machine"] {
        assert!(said.contains(finding), "{finding}: {doctor:?}");
    }
    let rebuilt = ask(&["views", "rebuild"]);
    assert_eq!(rebuilt.code, Some(0), "{rebuilt:?}");
    let token = ask(&["tokens", "add", "reader", "--role", "viewer"]);
    assert_eq!(token.code, Some(0), "{token:?}");
    let forgotten = CommandOutput::by(&mut pair.first.ensue(&["keys", "list", "--data", "data"]));
    assert!(forgotten.stderr.contains("--database"), "{forgotten:?}");

    let node = pair.first.start();
    each_order_is_done_once(&node, 1).await;
    let seen = http().build().unwrap().get(format!("{}/api/v1/events", node.url())).bearer_auth(token.stdout.trim()).send().await.unwrap();
    assert_eq!(seen.status(), StatusCode::OK);
    node.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn read_models_that_are_ahead_of_a_restored_log_are_built_again() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let node = pair.first.start();
    send_order(&node, 1).await;
    each_order_is_done_once(&node, 1).await;
    node.stop_well();
    let backup = format!("{}_backup", pair.database);
    Server::instance().psql("postgres", &format!("CREATE DATABASE {backup} TEMPLATE {}", pair.database));
    let node = pair.first.start();
    for number in 2..6 {
        send_order(&node, number).await;
    }
    each_order_is_done_once(&node, 5).await;
    node.stop_well();

    Server::instance().psql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", pair.database));
    Server::instance().psql("postgres", &format!("ALTER DATABASE {backup} RENAME TO {}", pair.database));
    let Err(said) = pair.first.try_start() else { panic!("a log that lacks records was opened") };
    assert!(said.contains("its tail is missing"), "{said}");
    let accept = ["restore", "accept", "--data", "data", "--database", &pair.address, "--master-key", "master.key"];
    let accepted = CommandOutput::by(&mut pair.first.ensue(&accept));
    assert_eq!(accepted.code, Some(0), "{accepted:?}");
    let node = pair.first.start();
    each_order_is_done_once(&node, 1).await;
    send_order(&node, 2).await;
    each_order_is_done_once(&node, 2).await;
    node.stop_well();
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
    let address = Server::instance().address(&Server::instance().new_database());
    let place = NodeFolder::new();
    place.start().stop_well();
    let copied = CommandOutput::by(&mut place.ensue(&["log", "copy", "--from", "data", "--to", &address]));
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    place.start().stop_well();
    let place = place.with_arguments(&["--database", &address]);
    let Err(said) = place.try_start() else { panic!("acknowledged records were left behind") };
    assert!(said.contains("the log in the data directory ends at position"), "{said}");
}

/// Copies a log with the command line.
fn log_copied(place: &NodeFolder, from: &str, to: &str) -> CommandOutput {
    CommandOutput::by(&mut place.ensue(&["log", "copy", "--from", from, "--to", to]))
}

#[tokio::test(flavor = "multi_thread")]
async fn log_is_not_copied_into_a_database_that_has_another_one() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let node = pair.first.start();
    send_order(&node, 1).await;
    node.stop_well();
    let other = NodeFolder::new();
    other.start().stop_well();

    let refused = log_copied(&other, "data", &pair.address);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("already has another log") && refused.stderr.contains("CREATE DATABASE"), "{refused:?}");
    assert_eq!(pair.psql("SELECT count(*) FROM ensue.logs"), "1");
    assert_eq!(pair.psql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'log\\_%'"), "1");
    let node = pair.first.start();
    each_order_is_done_once(&node, 1).await;
    node.stop_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_a_live_node_leads_is_not_copied() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    let node = pair.first.start();
    send_order(&node, 1).await;
    let target = Server::instance().new_database();
    for to in ["copied", &Server::instance().address(&target)] {
        let refused = log_copied(&pair.first, &pair.address, to);
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert!(refused.stderr.contains("which is alive") && refused.stderr.contains("stop that node"), "{refused:?}");
    }
    assert!(!pair.first.path().join("copied").exists());
    assert_eq!(Server::instance().psql(&target, "SELECT to_regnamespace('ensue') IS NULL"), "t");
    send_order(&node, 2).await;
    each_order_is_done_once(&node, 2).await;
    node.kill();
    // The leader does not beat. After the time of a lease, it is gone.
    let copied = log_copied(&pair.first, &pair.address, "copied");
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let verified = CommandOutput::by(&mut pair.first.ensue(&["log", "verify", "--data", "copied", "--copy"]));
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_log_or_master_key_is_refused() {
    if is_missing() {
        return;
    }
    let pair = Pair::new();
    pair.first.start().stop_well();

    // The directory of a log that is in a database, without the database.
    let forgotten = NodeFolder::new().with_arguments(&["--master-key", &pair.first.path().join("master.key").display().to_string()]);
    std::fs::create_dir(forgotten.data()).unwrap();
    std::fs::copy(pair.first.data().join("log-elsewhere"), forgotten.data().join("log-elsewhere")).unwrap();
    let Err(said) = forgotten.try_start() else { panic!("a new log was begun") };
    assert!(said.contains("of this data directory is in a database") && said.contains("--database"), "{said}");
    assert!(!forgotten.data().join("log.sqlite").exists());

    // Another installation's database.
    let other = Pair::new();
    other.first.start().stop_well();
    let confused = NodeFolder::new().with_arguments(&["--database", &other.address]);
    std::fs::create_dir(confused.data()).unwrap();
    std::fs::copy(pair.first.data().join("log-elsewhere"), confused.data().join("log-elsewhere")).unwrap();
    let Err(said) = confused.try_start() else { panic!("the log of another installation was opened") };
    assert!(said.contains("the data directory belongs to log"), "{said}");

    // Another machine without the master key, and one with another key.
    let missing = NodeFolder::new().with_arguments(&["--database", &pair.address]);
    let Err(said) = missing.try_start() else { panic!("a master key was made up") };
    assert!(said.contains("there is no master key"), "{said}");
    let key = other.first.path().join("master.key").display().to_string();
    let wrong = NodeFolder::new().with_arguments(&["--database", &pair.address, "--master-key", &key]);
    let Err(said) = wrong.try_start() else { panic!("another master key was accepted") };
    assert!(said.contains("but the secrets were sealed under the master key"), "{said}");
}
