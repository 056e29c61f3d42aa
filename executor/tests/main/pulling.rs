//! The sources of sensors with what is real: programs behind keepers, and a server on loopback.

mod action;
mod poll;
mod process;
mod sdk;
#[path = "../../../tests/support/world_of_sources.rs"]
mod world_of_sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::program_file;
use crate::world::SUPERVISOR;
use ensue_connectors::world::{ActionAnswer, ActionOrder, Actions, Folders, Keys};
use ensue_connectors::{
    Body, Connect, Connectors, Message, MessageSource as Running, Pending, PullOutcome, Room, SensorErrorKind, SourceError, SourcePurpose,
    World,
};
use ensue_engine::catalog::{Decode, Reading, Sensor, Source};
use ensue_engine::names::{KeyRef, PackName, SensorRef};
use ensue_engine::ports::Secret;
use ensue_engine::record::Digest;
use ensue_executor::connections::Connections;
use ensue_executor::ports::PackFiles;
use ensue_executor::programs::{GivenKey, Isolation, IsolationMode, NodeSecrets, ProgramLimits, SupervisorCommand, around_path};
use ensue_executor::pulling::{SensorPrograms, SensorProgramsSettings, SensorWeb};
use ensue_executor::{Destinations, EgressPolicy, SystemClock};
use ensue_expression::{Document, Expression, Roots, Template};
use serde_json::{Value, json};
use tempfile::TempDir;
use world_of_sources::{CollectedLines, MachineClock};

const ROOM: Room = Room { messages: 500, bytes: 1 << 20 };
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything outside of a source.
struct Outside {
    folder: TempDir,
    lines: Arc<CollectedLines>,
    world: Arc<World>,
}

/// A pack with one key.
struct OneKey;

impl Keys for OneKey {
    fn open(&self, key: &KeyRef, _: &SensorRef) -> Result<Secret, SourceError> {
        match key.as_str() {
            "dev.token" => Ok(Secret::new(b"sesame-open-wide".to_vec())),
            other => Err(SourceError::new(SensorErrorKind::KeyMissing, format!("the key `{other}` is not set"))),
        }
    }

    fn listed_keys(&self, _: &PackName) -> Vec<KeyRef> {
        vec!["dev.token".parse().unwrap()]
    }

    fn lists_connection(&self, _: &PackName, name: &str) -> bool {
        name == "orders"
    }
}

/// Runs no action.
struct NoActions;

impl Actions for NoActions {
    fn run(&self, _: ActionOrder) -> Pending<'_, Result<ActionAnswer, SourceError>> {
        panic!("it runs no action")
    }
}

struct OnePack(PathBuf);

impl PackFiles for OnePack {
    fn folder(&self, _: &Digest) -> PathBuf {
        self.0.clone()
    }
}

impl Outside {
    fn new() -> Self {
        Self::with(Arc::new(Connections::none(Arc::new(SystemClock::new()))))
    }

    fn with(connections: Arc<Connections>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("pack/sensors")).unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let settings = SensorProgramsSettings {
            keepers: folder.path().join("keepers"),
            private: folder.path().join("private"),
            command: SupervisorCommand { program: SUPERVISOR.into(), arguments: Vec::new(), environment: Vec::new() },
            isolation: Isolation { mode: IsolationMode::Auto, readable: around_path(&path), ..Isolation::default() },
            limits: ProgramLimits::default(),
            path,
            packs: Arc::new(OnePack(folder.path().join("pack"))),
            masked: NodeSecrets::default(),
        };
        let programs = Arc::new(SensorPrograms::open(settings).unwrap());
        let lines = Arc::new(CollectedLines::default());
        let egress = EgressPolicy::allowing(vec!["127.0.0.1".parse().unwrap()]);
        let web = Arc::new(Destinations::new(egress, Arc::new(SystemClock::new())));
        let world = World {
            purpose: SourcePurpose::Run,
            seed: 7,
            clock: Arc::new(MachineClock),
            web: Arc::new(SensorWeb::new(web, connections, node_secrets())),
            programs,
            actions: Arc::new(NoActions),
            keys: Arc::new(OneKey),
            folders: Arc::new(Folders::default()),
            lines: lines.clone(),
            parts: lines.clone(),
        };
        Self { folder, lines, world: Arc::new(world) }
    }

    /// Puts a program into the pack.
    fn program(&self, name: &str, text: &str) {
        program_file::write(&self.folder.path().join("pack/sensors").join(name), text.as_bytes());
    }

    async fn open(&self, source: Source, cursor: Option<&Document>) -> Result<Box<dyn Running>, SourceError> {
        let config = Arc::new(json!({ "name": "device" }));
        let sensor = Sensor { name: "dev.watch".parse().unwrap(), description: String::new(), source, emits: Vec::new(), config };
        Connectors.open(Arc::new(sensor), self.world.clone(), cursor.cloned()).await
    }

    fn lines(&self) -> Vec<String> {
        self.lines.0.lock().unwrap().clone()
    }

    fn keepers(&self) -> usize {
        entries(&self.folder.path().join("keepers"))
    }
}

/// The secrets of the node, of which no sensor knows.
fn node_secrets() -> NodeSecrets {
    let value = Secret::new(b"password-of-the-database".to_vec());
    NodeSecrets::new([GivenKey { key: "ensue.database_password".parse().unwrap(), value }])
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn reading(decode: Decode) -> Reading {
    Reading { decode, ..Reading::default() }
}

fn roots() -> Roots {
    Roots::new(["body", "config", "cursor", "headers", "item", "items", "keys", "page", "result", "status"])
}

fn template(value: &Value) -> Template {
    Template::compile(value, &roots()).unwrap()
}

fn expression(source: &str) -> Expression {
    Expression::compile(source, &roots()).unwrap()
}

/// Returns what a source says next.
async fn next(source: &mut Box<dyn Running>) -> Result<PullOutcome, SourceError> {
    tokio::time::timeout(PATIENCE, source.next(ROOM)).await.expect("something comes")
}

async fn messages(source: &mut Box<dyn Running>) -> Vec<Message> {
    match next(source).await.unwrap() {
        PullOutcome::Messages(messages) => messages,
        PullOutcome::Done => panic!("the source is done"),
    }
}

/// Returns this many messages, and settles them as they come.
async fn settle_next(source: &mut Box<dyn Running>, count: usize) -> Vec<Message> {
    let mut all = Vec::new();
    while all.len() < count {
        let messages = messages(source).await;
        let tokens: Vec<_> = messages.iter().map(|message| message.token).collect();
        source.settle(&tokens).await.unwrap();
        all.extend(messages);
    }
    all
}

/// Settles whatever only moves the cursor. Returns true if no message comes for a while.
async fn is_silent(source: &mut Box<dyn Running>) -> bool {
    while let Ok(pulled) = tokio::time::timeout(Duration::from_millis(300), source.next(ROOM)).await {
        let Ok(PullOutcome::Messages(messages)) = pulled else { return false };
        if messages.iter().any(|message| !matches!(message.body, Body::Progress)) {
            return false;
        }
        source.settle(&messages.iter().map(|message| message.token).collect::<Vec<_>>()).await.unwrap();
    }
    true
}

/// Settles whatever only moves the cursor, until something is so. No message may come before.
async fn is_silent_until(source: &mut Box<dyn Running>, what: &str, is_so: impl Fn() -> bool) {
    let is_so = until(what, is_so);
    let mut is_so = std::pin::pin!(is_so);
    loop {
        let pulled = tokio::select! {
            () = &mut is_so => return,
            pulled = source.next(ROOM) => pulled,
        };
        let Ok(PullOutcome::Messages(messages)) = pulled else { panic!("the source is done") };
        assert!(messages.iter().all(|message| matches!(message.body, Body::Progress)), "{messages:?}");
        source.settle(&messages.iter().map(|message| message.token).collect::<Vec<_>>()).await.unwrap();
    }
}

fn bodies(messages: &[Message]) -> Vec<Value> {
    messages
        .iter()
        .map(|message| match &message.body {
            Body::Json(document) => document.root().to_value(),
            Body::Bytes(bytes) => json!({ "bytes": String::from_utf8_lossy(bytes) }),
            Body::Cut { whole, .. } => json!({ "cut": whole }),
            Body::Nothing => json!("nothing"),
            Body::Progress => json!("progress"),
        })
        .collect()
}

fn cursor(source: &dyn Running, message: &Message) -> Value {
    source.cursor_at(message.token).map_or(Value::Null, |cursor| cursor.root().to_value())
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
