//! Commands that follow a node over its death: nothing is lost or repeated, and they end when they should.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder, PATIENCE, Running, free_port};

const PACK: &str = "name: mill\nversion: 0.1.0\ndescription: A mill.\nrequires: { packs: { core: ^0.1 } }\n";
/// A script that runs until it may end.
const WAIT: &str = "echo begun > begun; while [ ! -e go ]; do sleep 0.02; done";
const TRIGGER: &str = "description: Corn came.\npayload: { number: integer }\n";

/// How many lines a command may be ahead of its reader.
const LINES_MAX: usize = 1_000;

/// A command that follows something, with its output.
struct Following {
    process: Child,
    lines: Receiver<String>,
}

impl Following {
    fn of(place: &NodeFolder, node: &Node, arguments: &[&str]) -> Self {
        let mut command = place.ensue(arguments);
        command.args(["--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (to, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        Self { process, lines }
    }

    /// Returns the next line that it prints.
    #[track_caller]
    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it prints more")
    }

    /// Waits until it has ended by itself. Returns its exit code and the rest of its output.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let mut rest = Vec::new();
        // Its standard output ends with it.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => rest.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it does not end: {rest:?}"),
            }
        }
        (self.process.wait().unwrap().code(), rest)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Creates a place whose nodes always listen at the same address, so that followers find the next one.
fn place() -> NodeFolder {
    let place = NodeFolder::new().listening_on(&format!("127.0.0.1:{}", free_port()));
    place.write_pack_file("mill/pack.yaml", PACK);
    place.write_pack_file("mill/triggers/corn.yaml", TRIGGER);
    place
}

async fn send(client: &Client, number: u32) -> u64 {
    let answer = client.post("/events", &json!({ "trigger": "mill.corn", "payload": { "number": number } })).await;
    answer.body["position"].as_u64().unwrap_or_else(|| panic!("{answer:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn log_follow_survives_node_kills_with_each_position_once_in_order() {
    let place = place();
    let mut node = place.start();
    let following = Following::of(&place, &node, &["log", "--follow", "--after", "0", "-o", "json"]);
    let mut told: Vec<u64> = Vec::new();
    for round in 0..3 {
        let mut last = 0;
        for number in 0..20 {
            last = send(&node.client(), round * 100 + number).await;
        }
        while told.last().is_none_or(|told| *told < last) {
            let record: Value = serde_json::from_str(&following.next()).unwrap();
            told.push(record["position"].as_u64().unwrap());
        }
        node.kill();
        node = place.start();
    }
    let end = send(&node.client(), 999).await;
    while told.last() != Some(&end) {
        let record: Value = serde_json::from_str(&following.next()).unwrap();
        told.push(record["position"].as_u64().unwrap());
    }
    assert_eq!(told, (1..=end).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_survives_a_node_kill_and_exits_with_the_execution_s_outcome() {
    let place = place();
    let mut node = place.start();
    for (exit, code, end) in [(3, Some(1), "failed"), (0, Some(0), "succeeded")] {
        let id = node.client().execute("core.shell", &json!({ "script": format!("{WAIT}; exit {exit}") })).await;
        let watching = Following::of(&place, &node, &["executions", "watch", &id]);
        let first = watching.next();
        assert!(first.contains("queued"), "{first}");
        let second = watching.next();
        assert!(second.contains("running"), "{second}");
        let program = Running::one(&place).await;
        node.kill();
        node = place.start();
        program.let_go();
        let (ended_with, rest) = watching.end();
        assert_eq!(ended_with, code, "{rest:?}");
        let last = rest.last().unwrap();
        assert!(last.contains(&format!("  {end}")), "{last}");
        assert!(!rest.contains(&first) && !rest.contains(&second), "no record is sent twice: {rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_survives_an_orderly_stop_of_the_node() {
    let place = place();
    let node = place.start();
    let id = node.client().execute("core.shell", &json!({ "script": WAIT })).await;
    let watching = Following::of(&place, &node, &["executions", "watch", &id]);
    assert!(watching.next().contains("queued"));
    assert!(watching.next().contains("running"));
    let program = Running::one(&place).await;
    assert_eq!(node.stop(), Some(0));
    let node = place.start();
    program.let_go();
    let (ended_with, rest) = watching.end();
    assert_eq!(ended_with, Some(0), "{rest:?}");
    assert!(rest.last().unwrap().contains("  succeeded"), "{rest:?}");
    drop(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_output_survives_a_node_kill_and_is_printed_once() {
    let place = place();
    let node = place.start();
    let id = node.client().execute("core.shell", &json!({ "script": format!("echo one; {WAIT}; echo two") })).await;
    let following = Following::of(&place, &node, &["executions", "logs", &id, "--follow"]);
    assert_eq!(following.next(), "one");
    let program = Running::one(&place).await;
    node.kill();
    let node = place.start();
    program.let_go();
    assert_eq!(following.end(), (Some(0), vec!["two".to_owned()]));
    let again = Following::of(&place, &node, &["executions", "logs", &id, "--follow"]);
    assert_eq!(again.end(), (Some(0), vec!["one".to_owned(), "two".to_owned()]));
    drop(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_list_is_reprinted_on_changes_and_survives_a_node_kill() {
    let place = place();
    let node = place.start();
    let watching = Following::of(&place, &node, &["executions", "list", "--watch", "-o", "json"]);
    let shown = |line: &str| serde_json::from_str::<Value>(line).unwrap()["items"].as_array().unwrap().clone();
    assert_eq!(shown(&watching.next()), Vec::<Value>::new());
    let until_shown = |id: &str, status: &str| {
        let mut before = String::new();
        loop {
            let line = watching.next();
            assert_ne!(line, before, "what has not changed is not printed again");
            if shown(&line).iter().any(|execution| execution["id"] == id && execution["status"] == status) {
                return;
            }
            before = line;
        }
    };
    // An event is not an execution: the list does not change.
    send(&node.client(), 1).await;
    let id = node.client().execute("core.shell", &json!({ "script": WAIT })).await;
    until_shown(&id, "running");
    Running::one(&place).await.let_go();
    until_shown(&id, "succeeded");
    node.kill();
    let node = place.start();
    let id = node.client().execute("core.noop", &json!({})).await;
    until_shown(&id, "succeeded");
    drop(watching);

    let watching = Following::of(&place, &node, &["status", "--watch"]);
    let told = |name: &str| loop {
        let line = watching.next();
        if let Some(value) = line.strip_prefix(name) {
            return value.trim().parse::<u64>().unwrap();
        }
    };
    let before = told("events  ");
    send(&node.client(), 2).await;
    assert_eq!(told("events  "), before + 1);
}

#[test]
fn follow_fails_at_once_if_no_node_was_ever_there() {
    let place = NodeFolder::new();
    let mut command = place.ensue(&["log", "--follow", "--after", "0", "--server", &format!("http://127.0.0.1:{}", free_port())]);
    assert_eq!(command.stderr(Stdio::null()).status().unwrap().code(), Some(3));
}

/// Starts a fake node whose log grows as fast as it is read; it reports the position of the first request.
fn busy_node(stands_at: u64) -> String {
    /// A caller that makes so many requests has missed the end.
    const REQUESTS_MAX: usize = 50;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (asked, connection) in listener.incoming().enumerate() {
            let connection = connection.unwrap();
            let mut lines = BufReader::new(&connection).lines();
            let request = lines.next().unwrap().unwrap();
            lines.map_while(Result::ok).find(String::is_empty);
            let number = |name: &str| request.split_once(name)?.1.split(['&', ' ']).next()?.parse::<u64>().ok();
            let answer = match (number("after="), number("limit=")) {
                (Some(after), Some(limit)) if asked < REQUESTS_MAX => {
                    let record = |position| json!({ "position": position, "time": "", "kind": "key.set", "fact": {} });
                    json!({ "items": (after + 1..=after + limit).map(record).collect::<Vec<_>>(), "next": null })
                }
                (Some(_), _) => json!({ "items": [], "next": null }),
                (None, _) => json!({ "position": stands_at, "chain": "" }),
            };
            let answer = answer.to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", answer.len());
            (&connection).write_all(format!("{head}connection: close\r\n\r\n{answer}").as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn log_without_follow_ends_at_the_head_of_its_first_request() {
    let place = NodeFolder::new();
    let url = busy_node(450);
    for (after, first) in [(Some("0"), 1), (Some("449"), 450), (None, 431)] {
        let mut command = place.ensue(&["log", "-o", "json", "--server", &url]);
        let printed = CommandOutput::by(command.args(after.map(|after| ["--after", after]).iter().flatten()));
        assert_eq!(printed.code, Some(0), "{printed:?}");
        let positions = printed.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["position"].as_u64().unwrap());
        assert_eq!(positions.collect::<Vec<_>>(), (first..=450).collect::<Vec<_>>());
    }
}
