//! Sensors that run an action for each poll, with the worker that runs it and real programs.

use std::collections::{BTreeMap, BTreeSet};

use ensue_engine::catalog::{
    Action, Catalog, Definitions, Field, Fields, FirstPoll, HttpBody, HttpRequest, OnLost, Pack, PollCursor, PollMemory, PollSource,
    PollTarget, PollTimes, PolledAction, Presence, ProcessCommand, Run, RunAs, Schema, ShellScript, TextDecoding, Type,
};
use ensue_engine::names::VarName;
use ensue_engine::record::{BodyHandle, CatalogRevision};
use ensue_engine::vars::reads::VarReads;
use ensue_executor::ExecutorSettings;
use ensue_executor::begun_file::{BegunFile, Opener};
use ensue_executor::ports::{Bodies, BodyError, KeyError, KeyUser, Vars};
use ensue_executor::pulling::{CurrentCatalog, SensorActions, SensorActionsPorts};

use super::*;
use crate::server::Server;
use crate::skipped::has_program;
use crate::world::{LEASE, supervised_programs};

/// The packs that are installed, with what their actions reach: nothing but the keys of the test.
struct InstalledCatalog(Arc<Catalog>);

impl CurrentCatalog for InstalledCatalog {
    fn current(&self) -> Arc<Catalog> {
        self.0.clone()
    }
}

impl Bodies for InstalledCatalog {
    fn at_hand(&self, _: &Digest) -> Option<bytes::Bytes> {
        None
    }

    fn read(&self, handle: &BodyHandle) -> Result<bytes::Bytes, BodyError> {
        Err(BodyError::Erased(handle.digest))
    }
}

impl Vars for InstalledCatalog {
    fn read_by(&self, _: &VarReads) -> Vec<(VarName, BodyHandle)> {
        Vec::new()
    }
}

impl ensue_executor::ports::Keys for InstalledCatalog {
    fn open(&self, key: &KeyRef, _: &KeyUser) -> Result<Option<Secret>, KeyError> {
        Ok(OneKey.open(key, &"dev.watch".parse().unwrap()).ok())
    }
}

fn in_action(value: &Value) -> Template {
    Template::compile(value, &Roots::new(["config", "keys", "params"])).unwrap()
}

fn shell(script: &str) -> Run {
    Run::Shell(ShellScript { script: in_action(&json!(script)), env: in_action(&json!({})) })
}

fn action(run: Run, change: impl FnOnce(&mut Action)) -> Action {
    let mut action = Action {
        name: "dev.fetch".parse().unwrap(),
        description: String::new(),
        parameters: Schema::Any,
        result: None,
        output: None,
        local: Vec::new(),
        run,
        run_as: RunAs::Pack,
        has_token: false,
        timeout: PATIENCE,
        limit: None,
        grace: Duration::from_secs(1),
        idempotent: false,
        on_lost: OnLost::Ask,
        retry: None,
        concurrency: None,
        priority: 0,
        queue: Default::default(),
        labels: BTreeMap::new(),
        config: Arc::new(json!({})),
        pack: Digest::of(b"pack"),
        templates: BTreeMap::new(),
    };
    change(&mut action);
    action
}

/// Puts the worker of actions into what a source reaches, with one action installed.
fn install(outside: &mut Outside, action: Action) {
    let pack = Pack {
        name: "dev".parse().unwrap(),
        version: "1".into(),
        description: String::new(),
        digest: Digest::of(b"pack"),
        config: Arc::new(json!({})),
        keys: BTreeSet::from(["dev.token".parse().unwrap()]),
        connections: BTreeSet::new(),
        permissions: None,
    };
    let definitions = Definitions {
        packs: BTreeMap::from([(pack.name.clone(), Arc::new(pack))]),
        actions: BTreeMap::from([(action.name.clone(), Arc::new(action))]),
        ..Definitions::default()
    };
    let installed = || InstalledCatalog(Arc::new(Catalog::new(CatalogRevision(1), definitions.clone())));
    let clock = Arc::new(SystemClock::new());
    let egress = EgressPolicy::allowing(vec!["127.0.0.1".parse().unwrap()]);
    let folder = outside.folder.path();
    let command = SupervisorCommand { program: SUPERVISOR.into(), arguments: Vec::new(), environment: Vec::new() };
    let ports = SensorActionsPorts {
        catalogs: Arc::new(installed()),
        bodies: Arc::new(installed()),
        keys: Arc::new(installed()),
        vars: Arc::new(installed()),
        programs: supervised_programs(folder, folder.join("attempts"), Isolation::default(), command, LEASE),
        web: Arc::new(Destinations::new(egress, clock.clone())),
        connections: Arc::new(Connections::none(clock.clone())),
        packs: Arc::new(OnePack(folder.join("pack"))),
        clock,
        begun: BegunFile::open(folder.join("polls_begun"), Opener::now("polls"), []).unwrap().0,
    };
    let actions = SensorActions::start(ports, ExecutorSettings::new(std::env::var_os("PATH").unwrap_or_default()));
    outside.world = Arc::new(World { actions: Arc::new(actions), ..World::clone(&outside.world) });
}

/// Polls the action every 50 ms. The cursor counts from 0.
fn poll() -> PollSource {
    let with = json!({ "since": "${{ cursor }}", "page": "${{ page }}" });
    PollSource {
        times: PollTimes::Every(Duration::from_millis(50)),
        asked: PollTarget::Action(PolledAction { action: "dev.fetch".parse().unwrap(), with: template(&with) }),
        items: Some(expression("result.items")),
        next_page: None,
        pages_max: 5,
        items_max: 100,
        cursor: Some(PollCursor { start: expression("0"), next: expression("result.next") }),
        only_new: None,
        remember: PollMemory::default(),
        first: FirstPoll::Emit,
        reading: reading(Decode::Json),
    }
}

async fn open_poll(outside: &Outside, source: PollSource, cursor: Option<&Document>) -> Box<dyn Running> {
    outside.open(Source::Poll(Arc::new(source)), cursor).await.unwrap()
}

async fn polling(action: Action) -> (Outside, Box<dyn Running>) {
    let mut outside = Outside::new();
    install(&mut outside, action);
    let source = open_poll(&outside, poll(), None).await;
    (outside, source)
}

async fn error_of(action: Action) -> SourceError {
    let (_outside, mut source) = polling(action).await;
    next(&mut source).await.unwrap_err()
}

fn values(messages: &[Message]) -> Vec<Value> {
    bodies(messages).into_iter().filter(|body| *body != "progress").collect()
}

/// A program that returns the two numbers after `since`, up to 5.
const COUNT: &str = r#"#!/usr/bin/env python3
import json, sys
since = json.load(sys.stdin)["since"]
items = list(range(since + 1, min(since + 3, 6)))
print("asked after", since, file=sys.stderr)
print(json.dumps({"items": items, "next": since + len(items)}))
"#;

fn program(name: &str) -> Run {
    Run::Process(ProcessCommand {
        command: vec![name.to_owned()],
        beside: BTreeSet::new(),
        input: None,
        env: Vec::new(),
        files: Vec::new(),
    })
}

#[tokio::test]
async fn program_gets_the_cursor_and_returns_items_and_the_next_cursor() {
    if !has_program("program_gets_the_cursor_and_returns_items_and_the_next_cursor", "python3") {
        return;
    }
    let (outside, mut source) = {
        let mut outside = Outside::new();
        let path = outside.folder.path().join("pack/actions/count.py");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        program_file::write(&path, COUNT.as_bytes());
        install(&mut outside, action(program("./count.py"), |_| {}));
        let source = open_poll(&outside, poll(), None).await;
        (outside, source)
    };
    let all = settle_next(&mut source, 2).await;
    assert_eq!(values(&all), [1, 2]);
    let more = messages(&mut source).await;
    assert_eq!(values(&more), [3, 4]);
    let whole = source.cursor_at(more[1].token).unwrap();
    drop(source);
    let mut again = open_poll(&outside, poll(), Some(&whole)).await;
    assert_eq!(values(&settle_next(&mut again, 1).await), [5]);
    assert!(is_silent(&mut again).await);
    assert!(outside.lines().contains(&"asked after 0".to_owned()), "{:?}", outside.lines());
}

#[tokio::test]
async fn cursor_moves_without_items_if_it_is_read_from_the_result() {
    let (_outside, mut source) = polling(action(shell(r#"echo '{"items": [], "next": 7}'"#), |_| {})).await;
    let first = messages(&mut source).await;
    assert_eq!(bodies(&first), ["progress"]);
    assert_eq!(cursor(&*source, &first[0])["value"], json!(7));
    source.settle(&[first[0].token]).await.unwrap();
    assert!(is_silent(&mut source).await);
}

#[tokio::test]
async fn each_page_is_a_run_of_the_action() {
    let script = r#"grep -q '"page":2' && echo '{"items": ["b"], "next": 1}' || echo '{"items": ["a"], "next": 1, "page": 2}'"#;
    let mut outside = Outside::new();
    install(&mut outside, action(shell(script), |_| {}));
    let source = PollSource { next_page: Some(expression("result.page")), ..poll() };
    let mut source = open_poll(&outside, source, None).await;
    let all = settle_next(&mut source, 2).await;
    assert_eq!(values(&all), ["a", "b"]);
    assert_eq!(all[1].about["page"], json!(2));
}

#[tokio::test]
async fn defaults_of_parameters_are_filled_in() {
    let field = |name: &str, presence| Field {
        name: name.to_owned(),
        title: None,
        description: None,
        kind: Type::Integer,
        presence,
        is_code: false,
    };
    let optional = ["since", "page"].map(|name| field(name, Presence::Optional));
    let fields = optional.into_iter().chain([field("limit", Presence::Default(json!(9)))]);
    let parameters = Schema::Fields(Fields(fields.collect()));
    let script = r#"cat >/dev/null; echo '{"items": [], "next": 0}'; echo "limit ${LIMIT}" >&2"#;
    let run = Run::Shell(ShellScript { script: in_action(&json!(script)), env: in_action(&json!({ "LIMIT": "${{ params.limit }}" })) });
    let (outside, mut source) = polling(action(run, |action| action.parameters = parameters)).await;
    messages(&mut source).await;
    assert_eq!(outside.lines(), ["limit 9"]);
}

#[tokio::test]
async fn action_with_http_is_polled_and_throttled() {
    let mut outside = Outside::new();
    let server = Server::start(|_| b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let request = HttpRequest {
        connection: None,
        without_connection: None,
        url: in_action(&json!(server.url("/items"))),
        method: in_action(&json!("GET")),
        headers: in_action(&json!({})),
        query: in_action(&json!({})),
        body: HttpBody::None,
        parse: None,
        text_decoding: TextDecoding::default(),
        signing: None,
    };
    install(&mut outside, action(Run::Http(Box::new(request)), |_| {}));
    let mut source = open_poll(&outside, poll(), None).await;
    let is_told = || outside.lines().iter().any(|line| line.contains("left alone for 30 seconds"));
    is_silent_until(&mut source, "the wish of the server is in the log", is_told).await;
}

#[tokio::test]
async fn failures_of_the_action_are_failures_of_the_sensor() {
    let exit = error_of(action(shell("echo 'no route' >&2; exit 3"), |_| {})).await;
    assert_eq!(exit.kind, SensorErrorKind::Exited);
    assert!(exit.message.contains("`dev.fetch` failed") && exit.message.contains("no route"), "{exit}");
    let late = error_of(action(shell("sleep 60"), |action| action.timeout = Duration::from_millis(200))).await;
    assert_eq!(late.kind, SensorErrorKind::Timeout, "{late}");
    let unfit = error_of(action(shell("true"), |action| action.parameters = Schema::Fields(Fields::default()))).await;
    assert_eq!(unfit.kind, SensorErrorKind::Emits, "{unfit}");
    let no_list = error_of(action(shell(r#"echo '{"items": 1}'"#), |_| {})).await;
    assert_eq!(no_list.kind, SensorErrorKind::Emits, "{no_list}");
    let gone = error_of(action(shell("true"), |action| action.name = "dev.other".parse().unwrap())).await;
    assert_eq!(gone.kind, SensorErrorKind::NotFound, "{gone}");
}

#[tokio::test]
async fn answer_that_would_be_a_file_is_refused_with_what_to_write() {
    let server = Server::start(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-type: image/png\r\n\r\nPNG".to_vec()).await;
    let request = HttpRequest {
        connection: None,
        without_connection: None,
        url: in_action(&json!(server.url("/"))),
        method: in_action(&json!("GET")),
        headers: in_action(&json!({})),
        query: in_action(&json!({})),
        body: HttpBody::None,
        parse: None,
        text_decoding: TextDecoding::default(),
        signing: None,
    };
    let error = error_of(action(Run::Http(Box::new(request)), |_| {})).await;
    assert!(error.message.contains("the action of a poll can publish no file; to have them in the result, write `parse: "), "{error}");
}

#[tokio::test]
async fn events_and_files_of_the_program_are_refused() {
    let script = r#"echo '{"emit": {"trigger": "dev.ping", "payload": {}}}' >&3; echo '{"items": [1], "next": 1}'"#;
    let error = error_of(action(shell(script), |_| {})).await;
    assert_eq!(error.kind, SensorErrorKind::Protocol, "{error}");
    assert!(error.message.contains("descriptor 3"), "{error}");
}

#[tokio::test]
async fn keys_are_masked_in_the_log_of_the_sensor() {
    let run = Run::Shell(ShellScript {
        script: in_action(&json!(r#"cat >/dev/null; echo "token $TOKEN" >&2; echo '{"items": [], "next": 1}'"#)),
        env: in_action(&json!({ "TOKEN": "${{ keys[\"dev.token\"] }}" })),
    });
    let (outside, mut source) = polling(action(run, |_| {})).await;
    messages(&mut source).await;
    let lines = outside.lines();
    assert!(lines.iter().any(|line| line.starts_with("token ")) && !lines.iter().any(|line| line.contains("sesame")), "{lines:?}");
}

#[tokio::test]
async fn last_line_of_standard_error_is_in_the_log_without_its_end_and_long_lines_are_cut() {
    let script = r#"cat >/dev/null; echo '{"items": [], "next": 1}'; printf '%05000d\n' 7 >&2; printf 'the last' >&2"#;
    let (outside, mut source) = polling(action(shell(script), |_| {})).await;
    messages(&mut source).await;
    assert_eq!(outside.lines(), ["0".repeat(4 << 10), "the last".to_owned()]);
}

#[tokio::test]
async fn program_ends_when_its_source_is_closed() {
    let (outside, mut source) = polling(action(shell("echo $$ >&2; sleep 60"), |_| {})).await;
    is_silent_until(&mut source, "the program has started", || !outside.lines().is_empty()).await;
    let process = format!("/proc/{}", outside.lines()[0]);
    assert!(Path::new(&process).exists());
    source.close().await;
    until("the program has ended", || !Path::new(&process).exists()).await;
}
