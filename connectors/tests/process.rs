//! Sensors that run a program, which is played here: what its lines say, what it receives, and what follows its end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ensue_connectors::world::{Program, ProgramEnd, ProgramOrder, Programs, SourcePurpose};
use ensue_connectors::{
    Body, Connect, Connectors, Guarantee, MESSAGE_BYTES_MAX, Message, MessageSource as Running, Pending, PullOutcome, Room,
    SensorErrorKind, SourceError, Token, World,
};
use ensue_engine::catalog::{Decode, Invalid, ProcessSource, Reading, Restart, Sensor, Source, TextDecoding};
use ensue_engine::record::Digest;
use ensue_expression::Document;
use serde_json::{Value, json};
use support::CollectedLines;
use tokio::time::Instant;

const ROOM: Room = Room { messages: 500, bytes: 1 << 20 };
const MINUTE: Duration = Duration::from_secs(60);
/// What the log says of an object with `part` that is an event.
const NO_REPORT: &str = "an object with `part` is not a report of a part, so it is an event: a report has `state` with `running`, \
                         or with `failing` and an `error`, and no other fields";

/// What a program does next.
#[derive(Clone)]
enum Does {
    Prints(String),
    Ends(ProgramEnd),
    /// Runs on, without a word.
    Waits,
}

/// A program that is played, over all its starts.
#[derive(Default)]
struct ScriptedProgram {
    /// What it does after each start.
    runs: Mutex<VecDeque<Vec<Does>>>,
    seen: Mutex<Interactions>,
}

/// What was done with a program.
#[derive(Default)]
struct Interactions {
    /// The cursor and the moment of each start.
    starts: Vec<(Option<Value>, Instant)>,
    /// The lines that it received. While it is `deaf`, none fits into its pipe.
    received: Vec<String>,
    is_deaf: bool,
    /// How often it was asked to stop.
    stops: usize,
}

struct Run {
    played: Arc<ScriptedProgram>,
    rest: VecDeque<Does>,
}

impl Program for Run {
    fn read(&mut self) -> Pending<'_, Result<Option<Bytes>, SourceError>> {
        match self.rest.front().cloned() {
            Some(Does::Prints(text)) => {
                self.rest.pop_front();
                Box::pin(std::future::ready(Ok(Some(text.into()))))
            }
            Some(Does::Ends(_)) => Box::pin(std::future::ready(Ok(None))),
            Some(Does::Waits) | None => Box::pin(std::future::pending()),
        }
    }

    fn write(&mut self, line: &str) -> bool {
        let mut seen = self.played.seen.lock().unwrap();
        if !seen.is_deaf {
            seen.received.push(line.to_owned());
        }
        !seen.is_deaf
    }

    fn mask(&self, text: &str) -> String {
        // The second one is shorter than what it is masked with.
        text.replace("sesame", "***").replace("q9", "***")
    }

    fn end(&mut self) -> Pending<'_, ProgramEnd> {
        let Some(Does::Ends(end)) = self.rest.front().cloned() else { panic!("it runs") };
        Box::pin(std::future::ready(end))
    }

    fn stop(self: Box<Self>, _: Duration) -> Pending<'static, ()> {
        self.played.seen.lock().unwrap().stops += 1;
        Box::pin(std::future::ready(()))
    }
}

/// Starts the program that is played.
struct Starts(Arc<ScriptedProgram>);

impl Programs for Starts {
    fn start(&self, order: ProgramOrder) -> Pending<'_, Result<Box<dyn Program>, SourceError>> {
        let cursor = order.cursor.map(|cursor| cursor.root().to_value());
        self.0.seen.lock().unwrap().starts.push((cursor, Instant::now()));
        let rest = self.0.runs.lock().unwrap().pop_front().expect("it is started as often as it is played").into();
        let run: Box<dyn Program> = Box::new(Run { played: Arc::clone(&self.0), rest });
        Box::pin(std::future::ready(Ok(run)))
    }
}

fn process(restart: Restart) -> ProcessSource {
    ProcessSource {
        command: vec!["./watch.sh".to_owned()],
        beside: BTreeSet::new(),
        input: None,
        env: Vec::new(),
        grace: Duration::from_secs(10),
        restart,
        reading: Reading::default(),
        pack: Digest::of(b"pack"),
    }
}

struct Process {
    source: Box<dyn Running>,
    played: Arc<ScriptedProgram>,
    lines: Arc<CollectedLines>,
}

impl Process {
    async fn with(process: ProcessSource, cursor: Option<Value>, runs: Vec<Vec<Does>>) -> Self {
        let played = Arc::new(ScriptedProgram { runs: Mutex::new(runs.into()), ..ScriptedProgram::default() });
        let lines = Arc::new(CollectedLines::default());
        let world = World { programs: Arc::new(Starts(played.clone())), lines: lines.clone(), parts: lines.clone(), ..support::world() };
        let source = open(process, world, cursor).await.unwrap();
        Self { source, played, lines }
    }

    async fn begin(runs: Vec<Vec<Does>>) -> Self {
        Self::with(process(Restart::Always), None, runs).await
    }

    async fn next(&mut self, room: Room) -> Vec<Message> {
        let Ok(PullOutcome::Messages(messages)) = self.source.next(room).await else { panic!("no messages") };
        messages
    }

    /// Returns true if no message comes.
    async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(MINUTE, self.source.next(ROOM)).await.is_err()
    }

    /// Returns the newest settled cursor.
    fn settled_cursor(&self) -> Option<Value> {
        self.cursor_at(Token(0))
    }

    fn cursor_at(&self, token: Token) -> Option<Value> {
        self.source.cursor_at(token).map(|cursor| cursor.root().to_value())
    }

    fn take_received(&self) -> Vec<String> {
        std::mem::take(&mut self.played.seen.lock().unwrap().received)
    }

    fn starts(&self) -> Vec<Option<Value>> {
        self.played.seen.lock().unwrap().starts.iter().map(|(cursor, _)| cursor.clone()).collect()
    }
}

async fn open(process: ProcessSource, world: World, cursor: Option<Value>) -> Result<Box<dyn Running>, SourceError> {
    let sensor = Sensor {
        name: "dev.watch".parse().unwrap(),
        description: String::new(),
        source: Source::Process(Arc::new(process)),
        emits: Vec::new(),
        config: Arc::new(json!({})),
    };
    Connectors.open(Arc::new(sensor), Arc::new(world), cursor.as_ref().map(Document::from_value)).await
}

fn prints(text: &str) -> Does {
    Does::Prints(text.to_owned())
}

fn tokens(messages: &[Message]) -> Vec<Token> {
    messages.iter().map(|message| message.token).collect()
}

fn bodies(messages: &[Message]) -> Vec<Value> {
    let body = |message: &Message| match &message.body {
        Body::Json(document) => document.root().to_value(),
        Body::Bytes(bytes) => json!({ "bytes": String::from_utf8_lossy(bytes) }),
        Body::Cut { whole, .. } => json!({ "whole": whole }),
        other => panic!("{other:?}"),
    };
    messages.iter().map(body).collect()
}

const THREE: &str = "{\"event\":1,\"cursor\":\"a\"}\n{\"event\":2}\n{\"event\":3,\"cursor\":\"c\"}\n";

#[tokio::test(start_paused = true)]
async fn line_says_an_event_a_log_line_or_the_end_and_everything_else_is_an_event_as_it_is() {
    let lines = [
        r#"{"event":{"a":1},"cursor":5,"time":"2026-01-01T00:00:00Z"}"#,
        r#"{"log":"hello"}"#,
        r#"{"log":{"of":1}}"#,
        "",
        "  ",
        r#"{"event":1,"other":2}"#,
        r#"{"log":"x","event":1}"#,
        r#"{"done":true,"other":1}"#,
        r#"{"done":false}"#,
        "[3]",
        "no json",
        r#"{"event":null,"cursor":null}"#,
    ];
    let mut process =
        Process::begin(vec![vec![prints(&(lines.join("\n") + "\n")), prints("{\"done\":true}\n\"after\"\n"), Does::Waits]]).await;
    let all = process.next(ROOM).await;
    assert_eq!(
        bodies(&all),
        [
            json!({ "a": 1 }),
            json!({ "event": 1, "other": 2 }),
            json!({ "log": "x", "event": 1 }),
            json!({ "done": true, "other": 1 }),
            json!({ "done": false }),
            json!([3]),
            json!({ "bytes": "no json" }),
            Value::Null,
        ]
    );
    assert_eq!(all[0].time.map(|time| time.to_string()).as_deref(), Some("2026-01-01T00:00:00.000000Z"));
    assert_eq!(*process.lines.0.lock().unwrap(), ["hello", r#"{"of":1}"#]);
    assert!(matches!(process.source.next(ROOM).await, Ok(PullOutcome::Done)));
    assert_eq!(process.cursor_at(Token(u64::MAX)), Some(json!(5)), "null does not count as a cursor");
    process.source.close().await;
    assert_eq!(process.played.seen.lock().unwrap().stops, 1, "a program that is done is stopped");
}

#[tokio::test(start_paused = true)]
async fn line_of_the_protocol_is_read_with_what_the_author_lets_pass() {
    let lines = [
        r#"{"event":{"t":"cut \ud83d","a":1,"a":2},"cursor":"4","cursor":"5"}"#,
        r#"{"log":"cut \ud83d"}"#,
        "{oops",
        r#"{"done":false,"done":true}"#,
        "",
    ]
    .join("\n");
    let reading = Reading { text_decoding: TextDecoding { invalid: Invalid::Replace, charset: None }, ..process(Restart::Always).reading };
    let replacing = ProcessSource { reading, ..process(Restart::Always) };
    let mut process = Process::with(replacing, None, vec![vec![prints(&lines), Does::Waits]]).await;
    let all = process.next(ROOM).await;
    assert_eq!(bodies(&all), [json!({ "t": "cut \u{fffd}", "a": 2 }), json!({ "bytes": "{oops" })]);
    assert_eq!(process.cursor_at(Token(u64::MAX)), Some(json!("5")));
    assert_eq!(*process.lines.0.lock().unwrap(), ["cut \u{fffd}"]);
    assert!(matches!(process.source.next(ROOM).await, Ok(PullOutcome::Done)));
}

#[tokio::test(start_paused = true)]
async fn text_is_never_read_as_the_protocol() {
    let text = ProcessSource { reading: Reading { decode: Decode::Text, ..process(Restart::Always).reading }, ..process(Restart::Always) };
    let mut process = Process::with(text, None, vec![vec![prints("{\"done\":true}\n{\"event\":1}\n"), Does::Waits]]).await;
    let expected = [json!({ "bytes": "{\"done\":true}" }), json!({ "bytes": "{\"event\":1}" })];
    assert_eq!(bodies(&process.next(ROOM).await), expected);
}

#[tokio::test(start_paused = true)]
async fn cursor_is_that_of_the_newest_message_that_has_one() {
    let run = vec![prints(THREE), Does::Waits];
    let mut process = Process::with(process(Restart::Always), Some(json!("before")), vec![run]).await;
    assert_eq!(process.source.guarantee(), Guarantee::ExactByCursor);
    let all = process.next(ROOM).await;
    let after: Vec<_> = all.iter().map(|message| process.cursor_at(message.token).unwrap()).collect();
    assert_eq!(after, ["a", "a", "c"]);
    assert_eq!(process.settled_cursor(), Some(json!("before")));
    for (message, cursor) in all.iter().zip(after) {
        for _ in 0..2 {
            process.source.settle(&[message.token]).await.unwrap();
            assert_eq!(process.settled_cursor(), Some(cursor.clone()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn source_is_exact_once_its_program_has_a_cursor() {
    let mut process = Process::begin(vec![vec![prints("1\n{\"event\":2,\"cursor\":7}\n"), Does::Waits]]).await;
    let all = process.next(ROOM).await;
    for (message, guarantee) in all.iter().zip([Guarantee::AtLeastOnce, Guarantee::ExactByCursor]) {
        process.source.settle(&[message.token]).await.unwrap();
        assert_eq!(process.source.guarantee(), guarantee);
    }
}

#[tokio::test(start_paused = true)]
async fn program_starts_again_after_its_settled_cursor_and_its_messages_are_counted_from_one() {
    let again = vec![prints("4\n5\n"), Does::Waits];
    let mut process = Process::begin(vec![vec![prints(THREE), Does::Ends(ProgramEnd::Code(0))], again]).await;
    let all = process.next(ROOM).await;
    process.source.settle(&[all[0].token, all[1].token]).await.unwrap();
    assert_eq!(process.take_received(), [r#"{"ack": 2}"#]);
    assert!(process.is_silent().await, "it would print the third message again");
    assert_eq!(process.starts(), [None]);
    process.source.settle(&[all[2].token]).await.unwrap();
    assert_eq!(process.take_received(), [""; 0], "nobody listens");
    let more = process.next(ROOM).await;
    assert_eq!((bodies(&more), process.starts()), (vec![json!(4), json!(5)], vec![None, Some(json!("c"))]));
    assert_eq!((more[0].token, more[1].token), (Token(4), Token(5)));
    process.source.settle(&[more[0].token]).await.unwrap();
    process.source.settle(&tokens(&more)).await.unwrap();
    assert_eq!(process.take_received(), [r#"{"ack": 1}"#, r#"{"ack": 2}"#]);
}

#[tokio::test(start_paused = true)]
async fn program_that_ends_again_and_again_is_started_once_in_a_second() {
    let run = vec![prints("1\n"), Does::Ends(ProgramEnd::Code(0))];
    let mut process = Process::begin(vec![run; 4]).await;
    for _ in 0..4 {
        let all = process.next(ROOM).await;
        process.source.settle(&tokens(&all)).await.unwrap();
    }
    let moments: Vec<Instant> = process.played.seen.lock().unwrap().starts.iter().map(|(_, at)| *at).collect();
    assert!(moments.windows(2).all(|pair| (pair[1] - pair[0]).as_millis().abs_diff(1_000) < 10), "{moments:?}");
}

#[tokio::test(start_paused = true)]
async fn program_that_does_not_listen_receives_the_newest_number_later() {
    let mut process = Process::begin(vec![vec![prints(THREE), Does::Waits]]).await;
    let all = process.next(ROOM).await;
    process.played.seen.lock().unwrap().is_deaf = true;
    process.source.settle(&[all[0].token]).await.unwrap();
    process.source.settle(&[all[1].token]).await.unwrap();
    assert_eq!(process.take_received(), [""; 0]);
    process.played.seen.lock().unwrap().is_deaf = false;
    process.source.settle(&[all[2].token]).await.unwrap();
    assert_eq!(process.take_received(), [r#"{"ack": 3}"#]);
}

#[tokio::test(start_paused = true)]
async fn last_line_without_a_line_break_counts_only_after_a_success() {
    let ends = |end| vec![prints("1\n2"), Does::Ends(end)];
    let done = || process(Restart::OnFailure);
    let mut ended = Process::with(done(), None, vec![ends(ProgramEnd::Code(0))]).await;
    assert_eq!(bodies(&ended.next(ROOM).await), [json!(1)]);
    assert_eq!(bodies(&ended.next(ROOM).await), [json!(2)]);
    assert!(matches!(ended.source.next(ROOM).await, Ok(PullOutcome::Done)));
    for end in [ProgramEnd::Code(3), ProgramEnd::Otherwise("by signal 9 (SIGKILL)".to_owned())] {
        let mut failed = Process::with(done(), None, vec![ends(end)]).await;
        let before = failed.next(ROOM).await;
        assert_eq!(bodies(&before), [json!(1)]);
        assert_eq!(failed.source.next(ROOM).await.unwrap_err().kind, SensorErrorKind::Exited);
        failed.source.settle(&tokens(&before)).await.unwrap();
        assert_eq!(failed.lines.0.lock().unwrap().len(), 1, "the log mentions the half line");
    }
}

#[tokio::test(start_paused = true)]
async fn program_waits_after_a_thousand_messages_or_four_mebibytes_until_some_are_settled() {
    let long = "x".repeat((1 << 20) - 2);
    for (line, count) in [("1".to_owned(), 1_000), (format!("\"{long}\""), 4)] {
        // One line per read, so that at most one is read ahead.
        let mut run = vec![prints(&format!("{line}\n")); count + 1];
        run.push(Does::Waits);
        let mut process = Process::begin(vec![run]).await;
        let mut all = Vec::new();
        while all.len() < count {
            assert!(!process.source.is_full(), "after {}", all.len());
            all.extend(process.next(Room { messages: 1, ..ROOM }).await);
        }
        assert!(process.source.is_full());
        assert!(process.is_silent().await);
        process.source.settle(&[all[0].token]).await.unwrap();
        assert!(!process.source.is_full());
        assert_eq!(process.next(ROOM).await.len(), 1);
        assert!(process.source.is_full());
    }
}

#[tokio::test(start_paused = true)]
async fn cursor_may_have_256_kibibytes() {
    let cursor = |bytes: usize| prints(&format!("{{\"event\":1,\"cursor\":\"{}\"}}\n", "x".repeat(bytes - 2)));
    let most = 256 << 10;
    let mut process = Process::begin(vec![vec![cursor(most), cursor(most + 1)]]).await;
    let messages = process.next(Room { messages: 1, ..ROOM }).await;
    assert_eq!(bodies(&messages), [json!(1)]);
    assert_eq!(process.source.next(ROOM).await.unwrap_err().kind, SensorErrorKind::Limit);
}

#[tokio::test(start_paused = true)]
async fn room_bounds_the_messages_and_the_bytes_of_one_pull() {
    let text = "1\n2\n3\n4\n5\n";
    for (room, expected) in [
        (Room { messages: 2, ..ROOM }, vec![2, 2, 1]),
        (Room { bytes: 1, ..ROOM }, vec![1, 1, 1, 1, 1]),
        (Room { bytes: 3, ..ROOM }, vec![3, 2]),
        (ROOM, vec![5]),
    ] {
        let mut process = Process::begin(vec![vec![prints(text), Does::Waits]]).await;
        for count in expected {
            assert_eq!(process.next(room).await.len(), count, "{room:?}");
        }
        assert!(process.is_silent().await);
    }
}

#[tokio::test(start_paused = true)]
async fn line_over_the_limit_of_a_message_is_cut() {
    let line = |bytes: usize| prints(&format!("\"{}\"\n", "x".repeat(bytes - 2)));
    let mut process = Process::begin(vec![vec![line(MESSAGE_BYTES_MAX + 1), prints("1\n"), Does::Waits]]).await;
    let cut = process.next(ROOM).await;
    assert_eq!(bodies(&cut), [json!({ "whole": MESSAGE_BYTES_MAX + 1 })]);
    assert_eq!(bodies(&process.next(ROOM).await), [json!(1)]);
}

#[tokio::test(start_paused = true)]
async fn running_program_is_stopped_and_nobody_looks_for_its_end() {
    let process = Process::begin(vec![vec![Does::Waits]]).await;
    process.source.close().await;
    assert_eq!(process.played.seen.lock().unwrap().stops, 1);
    let played = Arc::new(ScriptedProgram::default());
    let world = World { purpose: SourcePurpose::End, programs: Arc::new(Starts(played.clone())), ..support::world() };
    let error = open(self::process(Restart::Always), world, None).await.err().unwrap();
    assert_eq!((error.kind, played.seen.lock().unwrap().starts.len()), (SensorErrorKind::NotFound, 0));
}

#[tokio::test(start_paused = true)]
async fn program_reports_which_of_its_parts_fail() {
    let lines = [
        r#"{"part":"https://a.example/feed?key=sesame","state":"failing","error":"no answer with sesame"}"#,
        r#"{"part":"b","state":"running"}"#,
        r#"{"part":"b","state":"running","error":null}"#,
        r#"{"log":"it says sesame"}"#,
        r#"{"part":"b","state":"running","price":3}"#,
        r#"{"part":"b"}"#,
    ];
    let mut process = Process::begin(vec![vec![prints(&(lines.join("\n") + "\n")), Does::Waits]]).await;
    let events = bodies(&process.next(ROOM).await);
    assert_eq!(events, [json!({ "part": "b", "state": "running", "price": 3 }), json!({ "part": "b" })]);
    let said = ["https://a.example/feed?key=*** fails: no answer with ***", "b runs", "b runs", "it says ***", NO_REPORT];
    assert_eq!(*process.lines.0.lock().unwrap(), said);
}

#[tokio::test(start_paused = true)]
async fn objects_with_a_part_that_are_events_are_one_line_in_the_log_however_often_the_program_starts() {
    let lines = "{\"event\":{\"part\":\"bolt\"}}\n{\"name\":\"part\"}\n[{\"part\":\"bolt\"}]\n";
    let run = |more: &str| vec![prints(&format!("{lines}{more}")), Does::Ends(ProgramEnd::Code(0))];
    let part = "{\"part\":\"bolt\",\"price\":3}\n";
    let mut process = Process::begin(vec![run(""), run(&part.repeat(3)), run(part)]).await;
    for (count, lines) in [(3, 0), (6, 1), (4, 1)] {
        let all = process.next(ROOM).await;
        process.source.settle(&tokens(&all)).await.unwrap();
        assert_eq!(all.len(), count);
        assert_eq!(*process.lines.0.lock().unwrap(), vec![NO_REPORT; lines]);
    }
}

#[tokio::test(start_paused = true)]
async fn last_line_without_a_line_break_may_report_a_part() {
    let line = r#"{"part":"b","state":"failing","error":"sesame"}"#;
    let mut process = Process::with(process(Restart::OnFailure), None, vec![vec![prints(line), Does::Ends(ProgramEnd::Code(0))]]).await;
    assert!(matches!(process.source.next(ROOM).await, Ok(PullOutcome::Done)));
    assert_eq!(*process.lines.0.lock().unwrap(), ["b fails: ***"]);
}

#[tokio::test(start_paused = true)]
async fn line_about_a_part_that_the_protocol_does_not_have_is_an_event_as_it_is() {
    let long = json!({ "part": "a".repeat(1_025), "state": "running" });
    let longer_once_masked = json!({ "part": "q9".repeat(500), "state": "running" });
    for said in [
        json!({ "part": "bolt", "state": "sold" }),
        json!({ "part": "b", "state": 7 }),
        json!({ "part": "b", "state": "failing" }),
        json!({ "part": "b", "state": "failing", "error": "" }),
        json!({ "part": "b", "state": "failing", "error": { "code": 5 } }),
        json!({ "part": "b", "state": "running", "error": "x" }),
        json!({ "part": "", "state": "running" }),
        json!({ "part": 7, "state": "running" }),
        long,
        longer_once_masked,
    ] {
        let mut process = Process::begin(vec![vec![prints(&format!("1\n{said}\n2\n")), Does::Waits]]).await;
        assert_eq!(bodies(&process.next(ROOM).await), [json!(1), said, json!(2)]);
        assert_eq!(*process.lines.0.lock().unwrap(), [NO_REPORT]);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_before_a_line_that_ends_the_run_are_taken() {
    let line = json!({ "event": 2, "cursor": "x".repeat(256 << 10) });
    let mut process = Process::begin(vec![vec![prints(&format!("1\n{line}\n3\n")), Does::Waits]]).await;
    assert_eq!(bodies(&process.next(ROOM).await), [json!(1)]);
    let Err(error) = process.source.next(ROOM).await else { panic!("the cursor is too long") };
    assert_eq!(error.kind, SensorErrorKind::Limit);
}

#[tokio::test(start_paused = true)]
async fn long_error_of_a_part_is_cut_between_characters() {
    let line = format!("{{\"part\":\"b\",\"state\":\"failing\",\"error\":\"x{}\"}}\n1\n", "ä".repeat(2_000));
    let mut process = Process::begin(vec![vec![prints(&line), Does::Waits]]).await;
    process.next(ROOM).await;
    assert_eq!(process.lines.0.lock().unwrap()[0].len(), "b fails: ".len() + 1_023);
}
