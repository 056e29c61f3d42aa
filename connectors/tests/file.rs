//! Sensors that watch files, in a real folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]

#[path = "../../tests/support/world_of_sources.rs"]
mod world_of_sources;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ensue_connectors::world::{
    ActionAnswer, ActionOrder, Actions, Folders, Keys, Program, ProgramOrder, Programs, Purpose, Web, WebAnswer, WebRequest,
};
use ensue_connectors::{
    Body, Connect, Connectors, Message, Pending, Pulled, Room, SensorErrorKind, Source as Running, SourceError, Token, World,
};
use ensue_engine::catalog::{
    AfterFile, Decode, FileChange, FileContent, FileSource, FileStart, OnPoison, PoisonLimit, Reading, Sensor, Source,
};
use ensue_engine::names::{KeyRef, PackName, SensorRef};
use ensue_engine::ports::Secret;
use ensue_expression::{Document, Roots, Template};
use serde_json::{Value, json};
use tempfile::TempDir;
use world_of_sources::{Collected, MachineClock};

const ROOM: Room = Room { messages: 500, bytes: 1 << 20 };
const SOON: Duration = Duration::from_secs(20);

struct Outside {
    folder: TempDir,
    lines: Arc<Collected>,
    folders: Folders,
}

/// File sensors reach nothing else.
struct Nothing;

impl Web for Nothing {
    fn fetch(&self, _: WebRequest) -> Pending<'_, Result<WebAnswer, SourceError>> {
        panic!("it sends no request")
    }
}

impl Actions for Nothing {
    fn run(&self, _: ActionOrder) -> Pending<'_, Result<ActionAnswer, SourceError>> {
        panic!("it runs no action")
    }
}

impl Programs for Nothing {
    fn start(&self, _: ProgramOrder) -> Pending<'_, Result<Box<dyn Program>, SourceError>> {
        panic!("it starts no program")
    }
}

impl Keys for Nothing {
    fn open(&self, _: &KeyRef, _: &SensorRef) -> Result<Secret, SourceError> {
        panic!("it opens no key")
    }

    fn listed(&self, _: &PackName) -> Vec<KeyRef> {
        Vec::new()
    }

    fn lists_connection(&self, _: &PackName, _: &str) -> bool {
        false
    }
}

impl Outside {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        let folders = Folders { writable: vec![folder.path().to_owned()], ..Folders::default() };
        Self { folder, lines: Arc::default(), folders }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn write(&self, below: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(below), text).unwrap();
    }

    fn append(&self, below: &str, text: &str) {
        fs::OpenOptions::new().append(true).create(true).open(self.path(below)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn source(&self, pattern: &str) -> FileSource {
        FileSource {
            path: Template::compile(&json!("${{ config.folder }}/".to_owned() + pattern), &Roots::new(["config"])).unwrap(),
            on: BTreeSet::from([FileChange::Created, FileChange::Modified]),
            settle: Duration::ZERO,
            content: FileContent::Whole,
            start: FileStart::All,
            rescan: Duration::from_millis(200),
            after: AfterFile::Keep,
            reading: Reading { decode: Decode::Text, schema: None, poison: PoisonLimit::default(), on_poison: OnPoison::Letter },
        }
    }

    async fn open(&self, source: FileSource, cursor: Option<&Document>) -> Result<Box<dyn Running>, SourceError> {
        let world = World {
            purpose: Purpose::Run,
            seed: 1,
            clock: Arc::new(MachineClock),
            web: Arc::new(Nothing),
            programs: Arc::new(Nothing),
            actions: Arc::new(Nothing),
            keys: Arc::new(Nothing),
            folders: Arc::new(self.folders.clone()),
            lines: self.lines.clone(),
        };
        let config = Arc::new(json!({ "folder": self.folder.path() }));
        let source = Source::File(Arc::new(source));
        let sensor = Sensor { name: "dev.files".parse().unwrap(), description: String::new(), source, emits: Vec::new(), config };
        Connectors.open(Arc::new(sensor), Arc::new(world), cursor.cloned()).await
    }

    async fn opened(&self, source: FileSource) -> Box<dyn Running> {
        self.open(source, None).await.unwrap()
    }
}

async fn messages(source: &mut Box<dyn Running>) -> Vec<Message> {
    match tokio::time::timeout(SOON, source.next(ROOM)).await.expect("something comes soon").unwrap() {
        Pulled::Messages(messages) => messages,
        Pulled::Done => panic!("files are never done"),
    }
}

/// Returns this many messages with something in them, and settles all.
async fn settled(source: &mut Box<dyn Running>, count: usize) -> Vec<Message> {
    let mut all = Vec::new();
    while all.len() < count {
        let messages = messages(source).await;
        let tokens: Vec<Token> = messages.iter().map(|message| message.token).collect();
        source.settle(&tokens).await.unwrap();
        all.extend(messages.into_iter().filter(|message| !matches!(message.body, Body::Progress)));
    }
    all
}

/// Settles whatever moves the cursor. Returns true if no message comes for a while.
async fn is_silent(source: &mut Box<dyn Running>) -> bool {
    while let Ok(pulled) = tokio::time::timeout(Duration::from_millis(500), source.next(ROOM)).await {
        let Ok(Pulled::Messages(messages)) = pulled else { return false };
        if messages.iter().any(|message| !matches!(message.body, Body::Progress)) {
            return false;
        }
        source.settle(&messages.iter().map(|message| message.token).collect::<Vec<_>>()).await.unwrap();
    }
    true
}

fn texts(messages: &[Message]) -> Vec<String> {
    let text = |message: &Message| match &message.body {
        Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Body::Cut { whole, .. } => format!("{whole} bytes"),
        Body::Nothing => format!("{} {}", about(message, "name").as_str().unwrap(), about(message, "change").as_str().unwrap()),
        other => format!("{other:?}"),
    };
    messages.iter().map(text).collect()
}

fn about(message: &Message, field: &str) -> Value {
    message.about["file"][field].clone()
}

/// Returns the cursor after everything that was settled.
fn cursor(source: &dyn Running) -> Document {
    source.cursor_at(Token(u64::MAX)).unwrap()
}

#[tokio::test]
async fn new_and_changed_files_make_messages_with_their_content() {
    let outside = Outside::new();
    outside.write("in/a.txt", "one");
    outside.write("in/a.csv", "not wanted");
    let mut source = outside.opened(outside.source("in/*.txt")).await;
    let first = settled(&mut source, 1).await;
    assert_eq!(texts(&first), ["one"]);
    assert_eq!(
        (about(&first[0], "name"), about(&first[0], "change"), about(&first[0], "bytes")),
        (json!("a.txt"), json!("created"), json!(3))
    );
    assert_eq!(about(&first[0], "sha256"), json!("7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"));
    outside.write("in/a.txt", "other");
    let second = settled(&mut source, 1).await;
    assert_eq!((texts(&second), about(&second[0], "change")), (vec!["other".to_owned()], json!("modified")));
    assert!(is_silent(&mut source).await);
}

#[tokio::test]
async fn files_that_are_there_at_the_start_are_only_remembered_unless_wanted() {
    let outside = Outside::new();
    outside.write("in/old.txt", "old");
    let mut source = outside.opened(FileSource { start: FileStart::Now, ..outside.source("in/*.txt") }).await;
    assert!(is_silent(&mut source).await);
    outside.write("in/new.txt", "new");
    assert_eq!(texts(&settled(&mut source, 1).await), ["new"]);
}

#[tokio::test]
async fn file_is_read_only_once_it_stays_the_same() {
    let outside = Outside::new();
    let mut source = outside.opened(FileSource { settle: Duration::from_millis(1_500), ..outside.source("in/*.txt") }).await;
    let writing = async {
        for text in ["a", "ab", "abc", "abcd"] {
            outside.write("in/a.txt", text);
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    };
    let (all, ()) = tokio::join!(settled(&mut source, 1), writing);
    assert_eq!(texts(&all), ["abcd"]);
}

#[tokio::test]
async fn file_that_is_gone_is_reported_if_wanted() {
    let outside = Outside::new();
    outside.write("in/a.txt", "a");
    let on = BTreeSet::from([FileChange::Created, FileChange::Removed]);
    let watched = || FileSource { on: on.clone(), content: FileContent::Nothing, ..outside.source("in/*") };
    let mut source = outside.opened(watched()).await;
    assert_eq!(texts(&settled(&mut source, 1).await), ["a.txt created"]);
    let after = cursor(&*source);
    drop(source);
    fs::remove_file(outside.path("in/a.txt")).unwrap();
    let mut source = outside.open(watched(), Some(&after)).await.unwrap();
    assert_eq!(texts(&settled(&mut source, 1).await), ["a.txt removed"]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test]
async fn file_is_moved_or_deleted_after_its_messages_are_settled() {
    let outside = Outside::new();
    outside.write("in/a.txt", "a");
    fs::create_dir(outside.path("in/done")).unwrap();
    outside.write("in/done/a.txt", "before");
    let mut moving = outside.opened(FileSource { after: AfterFile::Move("done".to_owned()), ..outside.source("in/**") }).await;
    let all = messages(&mut moving).await;
    assert!(outside.path("in/a.txt").exists());
    moving.settle(&[all[0].token]).await.unwrap();
    assert!(!outside.path("in/a.txt").exists());
    assert_eq!(fs::read_to_string(outside.path("in/done/a.txt")).unwrap(), "before", "no file is replaced");
    assert_eq!(fs::read_to_string(outside.path("in/done/a.txt.1")).unwrap(), "a");
    assert!(is_silent(&mut moving).await);
    outside.write("in/b.txt", "b");
    let mut deleting = outside.opened(FileSource { after: AfterFile::Delete, ..outside.source("in/*.txt") }).await;
    settled(&mut deleting, 1).await;
    assert!(!outside.path("in/b.txt").exists());
}

#[tokio::test]
async fn lines_of_a_file_are_messages_and_continue_within_it() {
    let outside = Outside::new();
    outside.write("in/a.csv", "1\n2\r\n\n3");
    let lines = || FileSource { content: FileContent::Lines, ..outside.source("in/*.csv") };
    let mut first = outside.opened(lines()).await;
    let all = messages(&mut first).await;
    assert_eq!(texts(&all), ["1", "2", "", "3"]);
    assert_eq!(about(&all[3], "line"), json!(4));
    let after_two = first.cursor_at(all[1].token).unwrap();
    drop(first);
    let mut second = outside.open(lines(), Some(&after_two)).await.unwrap();
    assert_eq!(texts(&settled(&mut second, 2).await), ["", "3"]);
    assert!(is_silent(&mut second).await);
}

#[tokio::test]
async fn link_that_leads_out_of_the_folder_is_refused() {
    use std::os::unix::fs::symlink;

    let outside = Outside::new();
    outside.write("secret.txt", "secret");
    outside.write("in/real.txt", "real");
    symlink(outside.path("secret.txt"), outside.path("in/out.txt")).unwrap();
    symlink("../secret.txt", outside.path("in/up.txt")).unwrap();
    symlink("real.txt", outside.path("in/within.txt")).unwrap();
    symlink(outside.folder.path(), outside.path("in/folder")).unwrap();
    for pattern in ["in/*.txt", "in/**"] {
        let mut source = outside.opened(outside.source(pattern)).await;
        assert_eq!(texts(&settled(&mut source, 2).await), ["real", "real"], "{pattern}");
        assert!(is_silent(&mut source).await, "{pattern}");
        let mut tail = outside.opened(FileSource { content: FileContent::Tail, ..outside.source(pattern) }).await;
        assert!(is_silent(&mut tail).await, "{pattern}");
    }
}

#[tokio::test]
async fn folder_with_a_hundred_thousand_files_is_refused_unless_few_of_them_match() {
    let outside = Outside::new();
    for number in 0..100_000 {
        fs::File::create(outside.path(&format!("in/{number}.txt"))).unwrap();
    }
    outside.write("in/wanted.log", "wanted");
    let error = match outside.open(outside.source("in/*.txt"), None).await {
        Ok(mut source) => tokio::time::timeout(SOON, source.next(ROOM)).await.expect("it fails soon").err(),
        Err(error) => Some(error),
    };
    let error = error.expect("it does not follow as many files");
    assert_eq!(error.kind, SensorErrorKind::Limit);
    assert!(error.message.contains("10000 files"), "{}", error.message);
    let mut source = outside.opened(outside.source("in/*.log")).await;
    assert_eq!(texts(&settled(&mut source, 1).await), ["wanted"]);
}

#[tokio::test]
async fn file_that_is_written_all_the_time_makes_no_message_until_it_rests() {
    let outside = Outside::new();
    let mut source = outside.opened(FileSource { settle: Duration::from_millis(700), ..outside.source("in/*.txt") }).await;
    let mut whole = String::new();
    for number in 0..10 {
        outside.append("in/a.txt", &format!("{number}\n"));
        whole.push_str(&format!("{number}\n"));
        let early = tokio::time::timeout(Duration::from_millis(100), source.next(ROOM)).await;
        assert!(
            !matches!(early, Ok(Ok(Pulled::Messages(messages))) if messages.iter().any(|message| !matches!(message.body, Body::Progress)))
        );
    }
    assert_eq!(texts(&settled(&mut source, 1).await), [whole]);
}

#[tokio::test]
async fn pipe_in_the_folder_is_skipped() {
    let outside = Outside::new();
    assert!(std::process::Command::new("mkfifo").arg(outside.path("in/pipe.txt")).status().unwrap().success());
    outside.write("in/real.txt", "real");
    let mut source = outside.opened(outside.source("in/*.txt")).await;
    assert_eq!(texts(&settled(&mut source, 1).await), ["real"]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test]
async fn folder_that_is_not_allowed_is_not_read() {
    let mut outside = Outside::new();
    let folder = outside.folder.path().to_owned();
    let readable = || Folders { readable: vec![folder.clone()], ..Folders::default() };
    let denied = Some(SensorErrorKind::EgressDenied);
    for (folders, reading, deleting) in [
        (outside.folders.clone(), None, None),
        (readable(), None, denied),
        (Folders { hidden: vec![folder.join("in")], ..readable() }, denied, denied),
        (Folders::default(), denied, denied),
    ] {
        outside.folders = folders;
        let error = outside.open(outside.source("in/*"), None).await.err();
        assert_eq!(error.map(|error| error.kind), reading);
        let source = FileSource { after: AfterFile::Delete, ..outside.source("in/*") };
        assert_eq!(outside.open(source, None).await.err().map(|error| error.kind), deleting);
    }
    outside.folders = readable();
    let error = outside.open(outside.source("nowhere/*"), None).await.err().unwrap();
    assert_eq!(error.kind, SensorErrorKind::NotFound);
}

fn tail(outside: &Outside) -> FileSource {
    FileSource { content: FileContent::Tail, ..outside.source("in/app.log") }
}

#[tokio::test]
async fn appended_lines_are_messages_once_they_are_complete() {
    let outside = Outside::new();
    outside.append("in/app.log", "old\n");
    let mut source = outside.opened(FileSource { start: FileStart::Now, ..tail(&outside) }).await;
    assert!(is_silent(&mut source).await);
    outside.append("in/app.log", "one\ntw");
    assert_eq!(texts(&settled(&mut source, 1).await), ["one"]);
    outside.append("in/app.log", "o\n");
    assert_eq!(texts(&settled(&mut source, 1).await), ["two"]);
    let after = cursor(&*source);
    drop(source);
    outside.append("in/app.log", "three\n");
    let mut next = outside.open(tail(&outside), Some(&after)).await.unwrap();
    assert_eq!(texts(&settled(&mut next, 1).await), ["three"]);
}

/// Renames the log after a line, as `logrotate` does, and begins a new one.
fn rotate(outside: &Outside) {
    outside.append("in/app.log", "two\n");
    fs::rename(outside.path("in/app.log"), outside.path("in/app.log.1")).unwrap();
    outside.append("in/app.log", "three\n");
}

#[tokio::test]
async fn rotated_file_is_read_to_its_end_before_the_new_one() {
    let outside = Outside::new();
    outside.append("in/app.log", "one\n");
    let mut source = outside.opened(tail(&outside)).await;
    assert_eq!(texts(&settled(&mut source, 1).await), ["one"]);
    rotate(&outside);
    assert_eq!(texts(&settled(&mut source, 2).await), ["two", "three"]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test]
async fn file_that_was_rotated_between_two_runs_is_read_to_its_end() {
    let outside = Outside::new();
    outside.append("in/app.log", "one\n");
    let mut source = outside.opened(tail(&outside)).await;
    assert_eq!(texts(&settled(&mut source, 1).await), ["one"]);
    let after = cursor(&*source);
    drop(source);
    rotate(&outside);
    let mut next = outside.open(tail(&outside), Some(&after)).await.unwrap();
    assert_eq!(texts(&settled(&mut next, 2).await), ["two", "three"]);
    assert!(is_silent(&mut next).await);
}

#[tokio::test]
async fn truncated_file_is_read_from_its_beginning() {
    let outside = Outside::new();
    outside.append("in/app.log", "one\ntwo\n");
    let mut source = outside.opened(tail(&outside)).await;
    assert_eq!(texts(&settled(&mut source, 2).await), ["one", "two"]);
    let after = cursor(&*source);
    fs::OpenOptions::new().write(true).truncate(true).open(outside.path("in/app.log")).unwrap();
    outside.append("in/app.log", "new\n");
    assert_eq!(texts(&settled(&mut source, 1).await), ["new"]);
    drop(source);
    // Meanwhile, it grew beyond the old offset.
    outside.append("in/app.log", "and many more lines than before\n");
    let mut next = outside.open(tail(&outside), Some(&after)).await.unwrap();
    assert_eq!(texts(&settled(&mut next, 2).await), ["new", "and many more lines than before"]);
}

#[tokio::test]
async fn many_lines_come_in_order_and_within_the_room() {
    let outside = Outside::new();
    let text: String = (0..5_000).map(|number| format!("{number}\n")).collect();
    outside.append("in/app.log", &text);
    let mut source = outside.opened(tail(&outside)).await;
    let mut seen = Vec::new();
    while seen.len() < 5_000 {
        let messages = messages(&mut source).await;
        assert!(messages.len() <= ROOM.messages);
        source.settle(&messages.iter().map(|message| message.token).collect::<Vec<_>>()).await.unwrap();
        seen.extend(texts(&messages).into_iter().filter(|text| text.parse::<u32>().is_ok()));
    }
    assert!(seen.iter().enumerate().all(|(number, text)| *text == number.to_string()));
}

#[tokio::test]
async fn foreign_cursor_is_rejected() {
    let outside = Outside::new();
    let cursor = Document::from_value(&json!({ "polled": true }));
    for source in [tail(&outside), outside.source("in/*")] {
        assert_eq!(outside.open(source, Some(&cursor)).await.err().unwrap().kind, SensorErrorKind::Protocol);
    }
}
