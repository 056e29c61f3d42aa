//! The built binary from the outside: a node on a fresh directory, its API, its webhooks, kills and restarts.
//!
//! This module asserts only that the tests' common basis works.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod browser;
mod delivery;
pub(crate) mod fake_server;
pub(crate) mod issuer;
#[path = "../../../tests/support/provider.rs"]
mod openid;
pub(crate) mod ordinary;
pub(crate) mod page;
#[path = "../../../tests/support/program_file.rs"]
pub(crate) mod program_file;
pub(crate) mod provider;
mod running_program;
pub(crate) mod secret_server;
#[path = "../../../tests/support/skipped.rs"]
pub(crate) mod skipped;
mod states;
pub(crate) mod vendor;
pub(crate) mod wall_clock;
pub(crate) mod world;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

pub(crate) use self::delivery::{Delivery, PULL_REQUEST, SECRET, signature};
pub(crate) use self::running_program::Running;
pub(crate) use self::states::until;
use self::states::{Observation, POLL_INTERVAL};
pub(crate) use crate::database_server::{bounded, free_port};

/// Where `.ci/run` installs packages of PyPI.
pub(crate) const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python");

/// The admin token of a test's node.
pub(crate) const ADMIN_TOKEN: &str = "ens_00000000-0000-7000-8000-000000000001_3f1c7d2e9b8a4f60b1c2d3e4f5a60718";

/// How long a node may take to be ready, to stop, and to do something that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a connection may be idle before it is not reused: less than the node's own idle timeout. A
/// request on a connection that the node is just closing gets no answer, and nobody can tell that it was not
/// read.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// The header of an answer with the position of a write, and of a request that must see that write.
const POSITION: &str = "ensue-position";

/// How long to wait for a node's last output after its end.
const HEARD_PATIENCE: Duration = Duration::from_secs(5);

/// A directory for one node: data, packs, and its state outside of the data.
///
/// If a test fails, the directory is kept for inspection.
pub(crate) struct NodeFolder {
    folder: tempfile::TempDir,
    binary: PathBuf,
    listen: String,
    within: Vec<String>,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    log: Vec<String>,
}

impl NodeFolder {
    /// Creates a fresh directory in which the GitHub hook's secret is [`SECRET`].
    pub(crate) fn new() -> Self {
        // Closed to others, so that the programs of a node that runs as root are root too and may write the
        // paths that the tests list as writable.
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("ensue-test-").permissions(closed).tempdir().unwrap();
        std::fs::create_dir(folder.path().join("packs")).unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, SECRET).unwrap();
        let variables = vec![("ENSUE_KEY_GITHUB_WEBHOOK_SECRET_FILE".to_owned(), secret.display().to_string())];
        let binary = env!("CARGO_BIN_EXE_ensue").into();
        let listen = "127.0.0.1:0".to_owned();
        Self { folder, binary, listen, within: Vec::new(), variables, arguments: Vec::new(), log: Vec::new() }
    }

    /// Adds a variable to the environment of its nodes.
    #[must_use]
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a variable from the environment of its nodes.
    #[must_use]
    pub(crate) fn without_variable(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    /// Adds arguments to `ensue serve`.
    #[must_use]
    pub(crate) fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Puts the log of its nodes into a database, sealed with a master key that places can share.
    #[must_use]
    pub(crate) fn with_log_in(mut self, address: &str, master_key: &Path) -> Self {
        self.log = ["--database", address, "--master-key", &master_key.display().to_string()].map(str::to_owned).to_vec();
        self
    }

    /// Lets its nodes listen on a fixed address, which is the same after a restart.
    #[must_use]
    pub(crate) fn listening_on(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// Runs the binary through another program, which gets the binary and its arguments. A second one runs within the first.
    #[must_use]
    pub(crate) fn within(mut self, program: Vec<String>) -> Self {
        self.within.extend(program);
        self
    }

    /// Switches to another binary.
    pub(crate) fn go_on_with(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
    }

    /// Writes a file of a pack: `release/rules/ship.yaml`.
    pub(crate) fn write_pack_file(&self, path: &str, text: &str) {
        std::fs::write(self.place_in_packs(path), text).unwrap();
    }

    /// Writes a program of a pack, which everybody may run.
    pub(crate) fn write_pack_program(&self, path: &str, text: &str) {
        program_file::write(&self.place_in_packs(path), text.as_bytes());
    }

    /// Returns where a file of a pack lies, in a folder that exists.
    fn place_in_packs(&self, path: &str) -> PathBuf {
        let path = self.folder.path().join("packs").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Returns the whole directory.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Prepares the binary to run in this directory, with nothing of the tester's own environment.
    pub(crate) fn ensue(&self, arguments: &[&str]) -> Command {
        let binary = self.binary.display().to_string();
        let program: Vec<String> = self.within.iter().cloned().chain([binary]).collect();
        let mut command = Command::new(&program[0]);
        command
            .args(&program[1..])
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .stdin(Stdio::null());
        command
    }

    /// Returns the address that its nodes are told to listen on.
    pub(crate) fn address(&self) -> &str {
        &self.listen
    }

    /// Starts a node and waits until it is ready.
    pub(crate) fn start(&self) -> Node {
        self.try_start().unwrap_or_else(|said| panic!("the node ended before it was ready: {said}"))
    }

    /// Lets `ensue log verify` check the log, on which no node of this place may run.
    pub(crate) fn verify_log(&self) {
        let verified = CommandOutput::by(self.ensue(&["log", "verify", "--data", "data"]).args(&self.log));
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }

    /// Starts a node and waits until it is ready, or returns its output if it ended.
    pub(crate) fn try_start(&self) -> Result<Node, String> {
        let begin = Instant::now();
        loop {
            let (process, listens) = self.run();
            match listens.recv_timeout(PATIENCE) {
                Ok((scheme, address)) => return Ok(Node { process, scheme, address }),
                Err(RecvTimeoutError::Disconnected) => {
                    let said = process.end().1;
                    // The port may be taken for a moment by another program.
                    if !said.contains("Address already in use") || begin.elapsed() > PATIENCE {
                        return Err(said);
                    }
                    std::thread::sleep(POLL_INTERVAL);
                }
                Err(RecvTimeoutError::Timeout) => panic!("the node was neither ready in time nor did it end: {}", process.said.text()),
            }
        }
    }

    /// Starts a node on its fixed address, and does not wait for anything.
    pub(crate) fn launch(&self) -> Node {
        let (process, _) = self.run();
        Node { process, scheme: "http".to_owned(), address: self.listen.parse().unwrap() }
    }

    /// Runs a node, which says where it listens once it is ready.
    fn run(&self) -> (Process, Receiver<(String, SocketAddr)>) {
        let mut process = self
            .ensue(&["serve", "--listen", &self.listen, "--data", "data", "--packs", "packs"])
            .args(&self.log)
            .args(&self.arguments)
            .env("ENSUE_ADMIN_TOKEN", ADMIN_TOKEN)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let said = CapturedStderr::default();
        let (ready, listens) = sync_channel(1);
        let hearing = std::thread::spawn({
            let said = said.clone();
            move || {
                for line in stderr.lines().map_while(Result::ok) {
                    said.push(&line);
                    if let Some(listens_on) = listening_on(&line) {
                        let _ = ready.try_send(listens_on);
                    }
                }
            }
        });
        (Process { child: process, said, hearing }, listens)
    }
}

/// Returns the scheme and the address in a node's message that it listens.
fn listening_on(line: &str) -> Option<(String, SocketAddr)> {
    let (scheme, address) = line.split_once("listens on ")?.1.split(',').next()?.split_once("://")?;
    Some((scheme.to_owned(), address.parse().ok()?))
}

impl Drop for NodeFolder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("what the test left is in {}", self.folder.path().display());
        }
    }
}

/// A node's output on standard error.
#[derive(Clone, Default)]
pub(crate) struct CapturedStderr(Arc<Mutex<String>>);

impl CapturedStderr {
    fn push(&self, line: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
    }

    /// Returns all of it.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A node's process; it is killed if nobody waits for its end.
struct Process {
    child: Child,
    said: CapturedStderr,
    hearing: JoinHandle<()>,
}

impl Process {
    /// Waits for its end, and returns its exit code and output.
    fn end(mut self) -> (Option<i32>, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < PATIENCE, "the node did not end: {}", self.said.text());
            std::thread::sleep(POLL_INTERVAL);
        };
        // Its last output arrives a moment after its end, unless a process that it left behind holds its
        // standard error.
        let ended = Instant::now();
        while !self.hearing.is_finished() && ended.elapsed() < HEARD_PATIENCE {
            std::thread::sleep(POLL_INTERVAL);
        }
        (status.code(), self.said.text())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A running node.
pub(crate) struct Node {
    process: Process,
    scheme: String,
    address: SocketAddr,
}

impl Node {
    /// Returns its URL.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Returns its output on standard error.
    pub(crate) fn stderr_text(&self) -> String {
        self.process.said.text()
    }

    /// Creates a client for it with the admin token.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.url())
    }

    /// Ends it at once, as a power cut would (SIGKILL), and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Asks it to stop (SIGTERM), and returns its exit code.
    pub(crate) fn stop(self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.end().0
    }

    /// Asks it to stop, requires a clean end, and returns its output.
    #[track_caller]
    pub(crate) fn stop_well(self) -> String {
        self.signal(rustix::process::Signal::TERM);
        let (code, said) = self.end();
        assert_eq!(code, Some(0), "{said}");
        said
    }

    /// Returns true if it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended, and returns its exit code and output.
    pub(crate) fn end(self) -> (Option<i32>, String) {
        self.process.end()
    }
}

/// Begins an HTTP client whose requests fail if they are not answered in time.
pub(crate) fn http() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(PATIENCE)
}

/// A caller of a node's API. It reads what it wrote.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    /// The newest position that a write returned.
    written: Arc<AtomicU64>,
}

impl Client {
    /// Creates a client with the admin token.
    pub(crate) fn new(url: String) -> Self {
        Self::over(http().pool_idle_timeout(IDLE_MAX).build().unwrap(), url)
    }

    /// Creates a client with the admin token over this HTTP client.
    pub(crate) fn over(http: reqwest::Client, url: String) -> Self {
        Self { http, url, written: Arc::default() }
    }

    /// Starts a request to a path as an admin.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(ADMIN_TOKEN)
    }

    /// Starts a request to a path without a token.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Reads a path of the API, which must exist. The answer includes what this client wrote before.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let begin = Instant::now();
        loop {
            let request = self.request(Method::GET, &format!("/api/v1{path}"));
            let answer = Answer::of(request.header(POSITION, self.written.load(Relaxed)).send().await.unwrap()).await;
            let is_behind = answer.body["code"] == "view_behind" && begin.elapsed() < PATIENCE;
            assert!(is_behind || answer.status == StatusCode::OK, "GET {path}: {} {}", answer.status, answer.body);
            if !is_behind {
                return answer.body;
            }
        }
    }

    /// Sends a document to a path of the API.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let answer = Answer::of(self.request(Method::POST, &format!("/api/v1{path}")).json(body).send().await.unwrap()).await;
        self.note(&answer.headers);
        answer
    }

    /// Requests a run of an action, and returns the execution's id.
    pub(crate) async fn execute(&self, action: &str, params: &Value) -> String {
        let asked = self.post(&format!("/actions/{action}/execute"), &json!({ "params": params })).await;
        asked.body["id"].as_str().unwrap_or_else(|| panic!("{asked:#?}")).to_owned()
    }

    /// Requests a run of an action, waits for its end, and returns the execution.
    pub(crate) async fn run(&self, action: &str, params: &Value) -> Value {
        let id = self.execute(action, params).await;
        self.until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await
    }

    /// Sends a delivery; fails if there is no answer.
    pub(crate) async fn deliver(&self, delivery: &Delivery) -> Result<Answer, reqwest::Error> {
        let mut request = self.anonymous(Method::POST, &delivery.path).body(delivery.body.clone());
        for (name, value) in &delivery.headers {
            request = request.header(name, value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        self.note(&headers);
        let bytes = response.bytes().await?;
        Ok(Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default() })
    }

    /// Notes the position that a write returned.
    fn note(&self, headers: &reqwest::header::HeaderMap) {
        if let Some(position) = headers.get(POSITION) {
            self.written.fetch_max(position.to_str().unwrap().parse().unwrap(), Relaxed);
        }
    }

    /// Polls a path of the API until the condition holds.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let answer = Answer::of(self.request(Method::GET, &format!("/api/v1{path}")).send().await.unwrap()).await;
            if answer.status == StatusCode::OK && is_so(&answer.body) {
                return answer.body;
            }
            assert!(begin.elapsed() < PATIENCE, "GET {path} never became what it should: {:#}", answer.body);
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Reads the metrics until what a test looks for in them has come.
    pub(crate) async fn until_metrics<S: Observation>(&self, what: &str, look: impl Fn(&str) -> S) -> S::State {
        until(what, async || {
            let metrics = self.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
            look(&metrics).state().map_err(|instead| format!("{instead}\n{metrics}"))
        })
        .await
    }

    /// Reads the records of one kind after a position.
    pub(crate) async fn records_of(&self, kind: &str, after: u64) -> Vec<Value> {
        let (mut records, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/log?after={after}&kind={kind}&limit=200{cursor}")).await;
            records.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { return records };
            cursor = format!("&cursor={next}");
        }
    }

    /// Reads all records of the log.
    pub(crate) async fn records(&self) -> Vec<Value> {
        let (mut records, mut after) = (Vec::new(), 0);
        loop {
            let page = self.get(&format!("/log?after={after}&limit=200")).await;
            let items = page["items"].as_array().unwrap();
            let Some(last) = items.last() else { return records };
            after = last["position"].as_u64().unwrap();
            records.extend(items.iter().cloned());
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: reqwest::header::HeaderMap,
    /// The body as JSON, or null if it is not JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// Reads an answer completely.
    pub(crate) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        Self { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default() }
    }
}

/// The output of a command.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl CommandOutput {
    /// Runs a command to its end.
    pub(crate) fn by(command: &mut Command) -> Self {
        Self::of(bounded::output(command))
    }

    /// Runs a command to its end with this standard input.
    pub(crate) fn by_feeding(command: &mut Command, input: &[u8]) -> Self {
        use std::io::Write;
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(input).unwrap();
        Self::of(bounded::output_of(process, &format!("{command:?}")))
    }

    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Returns all files below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // A process that ends in the meantime removes its files.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

/// Reads all of a stream from a pipe.
pub(crate) fn read_all(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
