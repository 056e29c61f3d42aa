//! Sensors that watch files, in a real folder. The clock is the test's own: nothing that a test waits for takes longer on a busy machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ensue_connectors::world::{Clock, Folders, SourcePurpose};
use ensue_connectors::{
    Body, Connect, Connectors, Lag, MESSAGE_BYTES_MAX, Message, MessageSource as Running, Pending, PullOutcome, Room, SensorErrorKind,
    SourceError, Token, World, check_cursor,
};
use ensue_engine::catalog::{AfterFile, Decode, FILES_MAX, FileChange, FileContent, FileSource, FileStart, Reading, Sensor, Source};
use ensue_engine::record::Digest;
use ensue_engine::time::Timestamp;
use ensue_expression::{Document, Roots, Template};
use serde_json::{Value, json};
use support::{CollectedLines, RuntimeClock};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;

const ROOM: Room = Room { messages: 500, bytes: 1 << 20 };
const MINUTE: Duration = Duration::from_secs(60);
/// How long a source waits until it looks again, if nothing is reported to it.
const RESCAN: Duration = Duration::from_millis(200);

struct Outside {
    folder: TempDir,
    lines: Arc<CollectedLines>,
    folders: Folders,
    clock: Arc<dyn Clock>,
    purpose: SourcePurpose,
}

impl Outside {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        let folders = Folders { writable: vec![folder.path().to_owned()], ..Folders::default() };
        Self { folder, lines: Arc::default(), folders, clock: support::world().clock, purpose: SourcePurpose::Run }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn write(&self, below: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(below), text).unwrap();
    }

    /// Returns the lines of the sensor's log.
    fn log_lines(&self) -> Vec<String> {
        self.lines.0.lock().unwrap().clone()
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
            rescan: RESCAN,
            after: AfterFile::Keep,
            reading: Reading { decode: Decode::Text, ..Reading::default() },
        }
    }

    async fn open(&self, source: FileSource, cursor: Option<&Document>) -> Result<Box<dyn Running>, SourceError> {
        let world = World {
            purpose: self.purpose,
            clock: self.clock.clone(),
            folders: Arc::new(self.folders.clone()),
            lines: self.lines.clone(),
            ..support::world()
        };
        let config = Arc::new(json!({ "folder": self.folder.path() }));
        let source = Source::File(Arc::new(source));
        let sensor = Sensor { name: "dev.files".parse().unwrap(), description: String::new(), source, emits: Vec::new(), config };
        let is_foreign = cursor.is_some_and(|cursor| check_cursor(&sensor, cursor).is_err());
        let opened = Connectors.open(Arc::new(sensor), Arc::new(world), cursor.cloned()).await;
        assert!(!is_foreign || opened.is_err(), "a cursor is refused that the source reads");
        opened
    }

    async fn open_without_cursor(&self, source: FileSource) -> Box<dyn Running> {
        self.open(source, None).await.unwrap()
    }
}

async fn messages_within(source: &mut Box<dyn Running>, room: Room) -> Vec<Message> {
    match tokio::time::timeout(5 * MINUTE, source.next(room)).await.expect("something comes within minutes").unwrap() {
        PullOutcome::Messages(messages) => messages,
        PullOutcome::Done => panic!("files are never done"),
    }
}

async fn messages(source: &mut Box<dyn Running>) -> Vec<Message> {
    messages_within(source, ROOM).await
}

fn tokens(messages: &[Message]) -> Vec<Token> {
    messages.iter().map(|message| message.token).collect()
}

fn is_content(message: &Message) -> bool {
    !matches!(message.body, Body::Progress)
}

/// Returns the next messages with something in them, unsettled. Settles what moves only the cursor before them.
async fn next_unsettled(source: &mut Box<dyn Running>, room: Room) -> Vec<Message> {
    loop {
        let messages = messages_within(source, room).await;
        if messages.iter().any(is_content) {
            return messages;
        }
        source.settle(&tokens(&messages)).await.unwrap();
    }
}

/// Returns this many messages with something in them, and settles all.
async fn settle_next(source: &mut Box<dyn Running>, count: usize) -> Vec<Message> {
    let mut all = Vec::new();
    while all.len() < count {
        let messages = messages(source).await;
        source.settle(&tokens(&messages)).await.unwrap();
        all.extend(messages.into_iter().filter(is_content));
    }
    all
}

/// Settles whatever moves the cursor. Returns true if no message comes although the source looks again and again.
async fn is_silent(source: &mut Box<dyn Running>) -> bool {
    while let Ok(pulled) = tokio::time::timeout(10 * RESCAN, source.next(ROOM)).await {
        let Ok(PullOutcome::Messages(messages)) = pulled else { return false };
        if messages.iter().any(is_content) {
            return false;
        }
        source.settle(&tokens(&messages)).await.unwrap();
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

#[tokio::test(start_paused = true)]
async fn new_and_changed_files_make_messages_with_their_content() {
    let outside = Outside::new();
    outside.write("in/a.txt", "one");
    outside.write("in/a.csv", "not wanted");
    let mut source = outside.open_without_cursor(outside.source("in/*.txt")).await;
    let first = settle_next(&mut source, 1).await;
    assert_eq!(texts(&first), ["one"]);
    assert_eq!(
        (about(&first[0], "name"), about(&first[0], "change"), about(&first[0], "bytes")),
        (json!("a.txt"), json!("created"), json!(3))
    );
    assert_eq!(about(&first[0], "sha256"), json!("7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"));
    outside.write("in/a.txt", "other");
    let second = settle_next(&mut source, 1).await;
    assert_eq!((texts(&second), about(&second[0], "change")), (vec!["other".to_owned()], json!("modified")));
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn files_that_are_there_at_the_start_are_only_remembered_unless_wanted() {
    let outside = Outside::new();
    outside.write("in/old.txt", "old");
    let mut source = outside.open_without_cursor(FileSource { start: FileStart::Now, ..outside.source("in/*.txt") }).await;
    assert!(is_silent(&mut source).await);
    outside.write("in/new.txt", "new");
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn file_is_read_only_once_it_stays_the_same() {
    let outside = Outside::new();
    let mut source = outside.open_without_cursor(FileSource { settle: Duration::from_millis(1_500), ..outside.source("in/*.txt") }).await;
    for text in ["a", "ab", "abc", "abcd"] {
        outside.write("in/a.txt", text);
        let early = tokio::time::timeout(Duration::from_millis(1_400), source.next(ROOM)).await;
        assert!(early.is_err(), "{early:?}");
    }
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["abcd"]);
}

#[tokio::test(start_paused = true)]
async fn file_that_is_gone_is_reported_if_wanted() {
    let outside = Outside::new();
    outside.write("in/a.txt", "a");
    let on = BTreeSet::from([FileChange::Created, FileChange::Removed]);
    let watched = || FileSource { on: on.clone(), content: FileContent::Nothing, ..outside.source("in/*") };
    let mut source = outside.open_without_cursor(watched()).await;
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["a.txt created"]);
    let after = cursor(&*source);
    drop(source);
    fs::remove_file(outside.path("in/a.txt")).unwrap();
    let mut source = outside.open(watched(), Some(&after)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["a.txt removed"]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn each_file_that_is_gone_is_reported_once_even_if_the_run_ends_between_two() {
    let outside = Outside::new();
    let on = BTreeSet::from([FileChange::Removed]);
    let watched = || FileSource { on: on.clone(), content: FileContent::Nothing, ..outside.source("in/*") };
    for name in ["in/a.txt", "in/b.txt", "in/c.txt"] {
        outside.write(name, "x");
    }
    let mut source = outside.open_without_cursor(watched()).await;
    assert!(is_silent(&mut source).await, "nobody asked for new files");
    fs::remove_file(outside.path("in/a.txt")).unwrap();
    fs::remove_file(outside.path("in/b.txt")).unwrap();
    let both = next_unsettled(&mut source, ROOM).await;
    let mut gone = texts(&both);
    let first = gone.remove(0);
    let after_one = source.cursor_at(both[0].token).unwrap();
    drop(source);
    let mut next = outside.open(watched(), Some(&after_one)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut next, 1).await), gone);
    gone.push(first);
    assert_eq!(gone.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["a.txt removed".to_owned(), "b.txt removed".to_owned()]));
    assert!(is_silent(&mut next).await);
    outside.write("in/a.txt", "y");
    assert!(is_silent(&mut next).await);
    fs::remove_file(outside.path("in/a.txt")).unwrap();
    assert_eq!(texts(&settle_next(&mut next, 1).await), ["a.txt removed"], "it was there again");
}

#[tokio::test(start_paused = true)]
async fn only_the_file_that_is_settled_and_still_the_same_is_deleted() {
    let outside = Outside::new();
    for name in ["in/a.txt", "in/b.txt", "in/c.txt"] {
        outside.write(name, "x");
    }
    let mut source = outside.open_without_cursor(FileSource { after: AfterFile::Delete, ..outside.source("in/*.txt") }).await;
    let mut all = Vec::new();
    while all.len() < 3 {
        all.extend(messages(&mut source).await);
    }
    let is_there = || ["in/a.txt", "in/b.txt", "in/c.txt"].map(|name| outside.path(name).exists());
    source.settle(&[all[0].token]).await.unwrap();
    assert_eq!(is_there(), [false, true, true]);
    outside.append("in/b.txt", "more");
    source.settle(&tokens(&all)).await.unwrap();
    assert_eq!(is_there(), [false, true, false]);
    let said = outside.lines.0.lock().unwrap().clone();
    assert!(matches!(said.as_slice(), [line] if line.contains("`b.txt` stays where it is")), "{said:?}");
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["xmore"]);
    assert_eq!(is_there(), [false; 3]);
}

#[tokio::test(start_paused = true)]
async fn file_of_which_nothing_is_kept_is_not_deleted_and_not_read_again() {
    let outside = Outside::new();
    for name in ["in/a.txt", "in/b.txt"] {
        outside.write(name, "x");
    }
    let mut source = outside.open_without_cursor(FileSource { after: AfterFile::Delete, ..outside.source("in/*.txt") }).await;
    let mut all = Vec::new();
    while all.len() < 2 {
        all.extend(messages(&mut source).await);
    }
    source.leave(&[all[0].token]);
    source.settle(&tokens(&all)).await.unwrap();
    assert_eq!(["in/a.txt", "in/b.txt"].map(|name| outside.path(name).exists()), [true, false]);
    assert!(matches!(outside.log_lines().as_slice(), [line] if line.contains("`a.txt` stays where it is")), "{:?}", outside.log_lines());
    assert!(is_silent(&mut source).await);
    outside.write("in/a.txt", "changed");
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["changed"]);
    assert!(!outside.path("in/a.txt").exists(), "this content is kept");
}

#[tokio::test(start_paused = true)]
async fn file_of_lines_is_not_deleted_if_one_of_them_is_not_kept() {
    let outside = Outside::new();
    outside.write("in/a.txt", "1\n2\n3\n");
    let lines = FileSource { after: AfterFile::Delete, content: FileContent::Lines, ..outside.source("in/*.txt") };
    let mut source = outside.open_without_cursor(lines).await;
    let all = messages(&mut source).await;
    assert_eq!(all.len(), 3);
    source.leave(&[all[1].token]);
    source.settle(&tokens(&all)).await.unwrap();
    assert!(outside.path("in/a.txt").exists());
}

#[tokio::test(start_paused = true)]
async fn file_is_moved_or_deleted_after_its_messages_are_settled() {
    let outside = Outside::new();
    outside.write("in/a.txt", "a");
    fs::create_dir(outside.path("in/done")).unwrap();
    outside.write("in/done/a.txt", "before");
    let mut moving = outside.open_without_cursor(FileSource { after: AfterFile::Move("done".to_owned()), ..outside.source("in/**") }).await;
    let all = messages(&mut moving).await;
    assert!(outside.path("in/a.txt").exists());
    moving.settle(&[all[0].token]).await.unwrap();
    assert!(!outside.path("in/a.txt").exists());
    assert_eq!(fs::read_to_string(outside.path("in/done/a.txt")).unwrap(), "before", "no file is replaced");
    assert_eq!(fs::read_to_string(outside.path("in/done/a.txt.1")).unwrap(), "a");
    assert!(is_silent(&mut moving).await);
    outside.write("in/b.txt", "b");
    let mut deleting = outside.open_without_cursor(FileSource { after: AfterFile::Delete, ..outside.source("in/*.txt") }).await;
    settle_next(&mut deleting, 1).await;
    assert!(!outside.path("in/b.txt").exists());
}

#[tokio::test(start_paused = true)]
async fn lines_of_a_file_are_messages_and_continue_within_it() {
    let outside = Outside::new();
    outside.write("in/a.csv", "1\n2\r\n\n3");
    let lines = || FileSource { content: FileContent::Lines, ..outside.source("in/*.csv") };
    let mut first = outside.open_without_cursor(lines()).await;
    let all = messages(&mut first).await;
    assert_eq!(texts(&all), ["1", "2", "", "3"]);
    assert_eq!(about(&all[3], "line"), json!(4));
    let after_two = first.cursor_at(all[1].token).unwrap();
    drop(first);
    let mut second = outside.open(lines(), Some(&after_two)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut second, 2).await), ["", "3"]);
    assert!(is_silent(&mut second).await);
}

#[tokio::test(start_paused = true)]
async fn file_of_lines_that_changed_between_two_runs_is_read_from_its_first_line() {
    let lines = |outside: &Outside| FileSource { content: FileContent::Lines, ..outside.source("in/*.csv") };
    for (rewritten, expected) in
        [("5\n6\n7\n8\n9\n", vec!["5", "6", "7", "8", "9"]), ("1\n2\n3\n4\n5\n", vec!["1", "2", "3", "4", "5"]), ("", vec![])]
    {
        let outside = Outside::new();
        outside.write("in/a.csv", "1\n2\n3\n4\n");
        let mut source = outside.open_without_cursor(lines(&outside)).await;
        let two = messages_within(&mut source, Room { messages: 2, ..ROOM }).await;
        assert_eq!(texts(&two), ["1", "2"]);
        source.settle(&tokens(&two)).await.unwrap();
        let after_two = source.cursor_at(Token(0)).unwrap();
        drop(source);
        outside.write("in/a.csv", rewritten);
        let mut next = outside.open(lines(&outside), Some(&after_two)).await.unwrap();
        assert_eq!(texts(&settle_next(&mut next, expected.len()).await), expected);
        assert!(is_silent(&mut next).await);
    }
}

/// Returns two files with lines, or with one line each, and a source of each kind that reads them, with what it makes of them.
fn two_files_by_content(outside: &Outside) -> [(FileSource, Vec<&'static str>); 4] {
    outside.write("in/a.log", "a1\na2\n");
    outside.write("in/b.log", "b1\nb2\nb3\n");
    let lines = || vec!["a1", "a2", "b1", "b2", "b3"];
    [
        (FileContent::Tail, lines()),
        (FileContent::Lines, lines()),
        (FileContent::Whole, vec!["a1\na2\n", "b1\nb2\nb3\n"]),
        (FileContent::Nothing, vec!["a.log created", "b.log created"]),
    ]
    .map(|(content, expected)| (FileSource { content, ..outside.source("in/*.log") }, expected))
}

#[tokio::test(start_paused = true)]
async fn cursor_after_each_message_of_two_files_has_everything_before_it_and_nothing_after_it() {
    let outside = Outside::new();
    for (wanted, expected) in two_files_by_content(&outside) {
        let mut source = outside.open_without_cursor(wanted.clone()).await;
        let mut all = Vec::new();
        while all.len() < expected.len() {
            all.extend(messages(&mut source).await.into_iter().filter(is_content));
        }
        assert_eq!(texts(&all), expected);
        for (index, message) in all.iter().enumerate() {
            let after = source.cursor_at(message.token).unwrap();
            let mut next = outside.open(wanted.clone(), Some(&after)).await.unwrap();
            let rest = &expected[index + 1..];
            assert_eq!(texts(&settle_next(&mut next, rest.len()).await), rest, "{:?}, after {index}", wanted.content);
            assert!(is_silent(&mut next).await, "{:?}, after {index}", wanted.content);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_moves_the_cursor_and_what_is_only_returned_does_not() {
    let outside = Outside::new();
    for (wanted, expected) in two_files_by_content(&outside) {
        let mut source = outside.open_without_cursor(wanted.clone()).await;
        let mut all = Vec::new();
        while all.iter().filter(|message| is_content(message)).count() < expected.len() {
            all.extend(messages(&mut source).await);
        }
        for message in &all {
            let cursor_at = |source: &dyn Running, token| source.cursor_at(token).unwrap().root().to_value();
            let (before, after) = (cursor_at(&*source, Token(0)), cursor_at(&*source, message.token));
            assert_eq!(before != after, is_content(message), "{:?}", wanted.content);
            // A repeated report does no harm.
            for _ in 0..2 {
                source.settle(&[message.token]).await.unwrap();
                assert_eq!(cursor_at(&*source, Token(0)), after, "{:?}", wanted.content);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
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
        let mut source = outside.open_without_cursor(outside.source(pattern)).await;
        assert_eq!(texts(&settle_next(&mut source, 2).await), ["real", "real"], "{pattern}");
        assert!(is_silent(&mut source).await, "{pattern}");
        let mut tail = outside.open_without_cursor(FileSource { content: FileContent::Tail, ..outside.source(pattern) }).await;
        assert!(is_silent(&mut tail).await, "{pattern}");
    }
}

#[tokio::test(start_paused = true)]
async fn folder_with_a_hundred_thousand_files_is_refused_unless_few_of_them_match() {
    let outside = Outside::new();
    // Names of ten files: a link is there sooner than a file.
    for number in 0..100_000 {
        let path = |number: usize| outside.path(&format!("in/{number:05}.txt"));
        if number < 10 {
            fs::File::create(path(number)).unwrap();
        } else {
            fs::hard_link(path(number % 10), path(number)).unwrap();
        }
    }
    let follow = |pattern: &str| FileSource { content: FileContent::Nothing, ..outside.source(pattern) };
    let error_of = async |pattern: &str| {
        let mut source = outside.open(follow(pattern), None).await.unwrap();
        tokio::time::timeout(MINUTE, source.next(ROOM)).await.expect("it answers within a minute").err()
    };
    let error = error_of("in/*.txt").await.expect("it does not follow as many files");
    assert_eq!(error.kind, SensorErrorKind::Limit);
    assert!(error.message.contains("10000 files"), "{}", error.message);
    assert_eq!(FILES_MAX, 10_000, "as many names begin with the same digit");
    assert_eq!(error_of("in/0*").await, None);
    outside.write("in/0.log", "one too many");
    assert_eq!(error_of("in/0*").await.unwrap().kind, SensorErrorKind::Limit);
    let mut source = outside.open_without_cursor(outside.source("in/*.log")).await;
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["one too many"]);
}

#[tokio::test(start_paused = true)]
async fn file_that_is_written_all_the_time_makes_no_message_until_it_rests() {
    let rest = Duration::from_millis(700);
    let outside = Outside::new();
    let mut source = outside.open_without_cursor(FileSource { settle: rest, rescan: 10 * MINUTE, ..outside.source("in/*.txt") }).await;
    let mut whole = String::new();
    for number in 0..10 {
        outside.append("in/a.txt", &format!("{number}\n"));
        whole.push_str(&format!("{number}\n"));
        let early = tokio::time::timeout(Duration::from_millis(100), source.next(ROOM)).await;
        assert!(!matches!(early, Ok(Ok(PullOutcome::Messages(messages))) if messages.iter().any(is_content)));
    }
    let begin = Instant::now();
    assert_eq!(texts(&settle_next(&mut source, 1).await), [whole]);
    let since_the_last_line = begin.elapsed() + Duration::from_millis(100);
    assert!((rest..rest + Duration::from_millis(100)).contains(&since_the_last_line), "{since_the_last_line:?}");
}

#[tokio::test(start_paused = true)]
async fn pipe_in_the_folder_is_skipped() {
    let outside = Outside::new();
    assert!(std::process::Command::new("mkfifo").arg(outside.path("in/pipe.txt")).status().unwrap().success());
    outside.write("in/real.txt", "real");
    let mut source = outside.open_without_cursor(outside.source("in/*.txt")).await;
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["real"]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn hidden_file_or_folder_within_the_folder_is_never_read() {
    let mut outside = Outside::new();
    for name in ["in/shown", "in/hidden"] {
        fs::create_dir(outside.path(name)).unwrap();
    }
    for name in ["in/key.txt", "in/keys.txt", "in/shown/a.txt", "in/hidden/a.txt"] {
        outside.write(name, format!("{name}\n"));
    }
    outside.folders.hidden = vec![outside.path("in/key.txt"), outside.path("in/hidden")];
    for content in [FileContent::Whole, FileContent::Lines, FileContent::Tail] {
        let mut source = outside.open_without_cursor(FileSource { content, ..outside.source("in/**") }).await;
        let all = texts(&settle_next(&mut source, 2).await);
        assert_eq!(all.iter().map(|text| text.trim()).collect::<Vec<_>>(), ["in/keys.txt", "in/shown/a.txt"]);
        outside.append("in/key.txt", "more\n");
        assert!(is_silent(&mut source).await);
    }
}

#[tokio::test(start_paused = true)]
async fn hidden_file_that_is_created_later_behind_a_link_is_never_read() {
    use std::os::unix::fs::symlink;

    let mut outside = Outside::new();
    symlink("in", outside.path("link")).unwrap();
    outside.folders.hidden = vec![outside.path("link/key.txt"), outside.path("link/later/key.txt")];
    for content in [FileContent::Whole, FileContent::Lines, FileContent::Tail] {
        let mut source = outside.open_without_cursor(FileSource { content, ..outside.source("in/**") }).await;
        assert!(is_silent(&mut source).await);
        fs::create_dir(outside.path("in/later")).unwrap();
        for name in ["in/key.txt", "in/later/key.txt", "in/other.txt"] {
            outside.write(name, format!("{name}\n"));
        }
        assert_eq!(texts(&settle_next(&mut source, 1).await)[0].trim(), "in/other.txt", "{content:?}");
        assert!(is_silent(&mut source).await, "{content:?}");
        fs::remove_dir_all(outside.path("in/later")).unwrap();
        for name in ["in/key.txt", "in/other.txt"] {
            fs::remove_file(outside.path(name)).unwrap();
        }
    }
}

fn moving(outside: &Outside, pattern: &str, into: impl Into<PathBuf>) -> FileSource {
    FileSource { after: AfterFile::Move(into.into().to_str().unwrap().to_owned()), ..outside.source(pattern) }
}

/// Returns the names in a folder, or none if it is not there.
fn names(folder: PathBuf) -> Vec<String> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    listed.map(|entry| entry.file_name().into_string().unwrap()).collect::<BTreeSet<_>>().into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn folder_that_files_may_not_be_moved_to_is_refused_at_the_start() {
    use std::os::unix::fs::symlink;

    let mut outside = Outside::new();
    for name in ["elsewhere", "in/data", "in/data/deep"] {
        fs::create_dir(outside.path(name)).unwrap();
    }
    outside.write("in/file", "no folder");
    symlink(outside.path("elsewhere"), outside.path("in/link")).unwrap();
    symlink("../elsewhere", outside.path("in/up")).unwrap();
    outside.folders = Folders { writable: vec![outside.path("in")], hidden: vec![outside.path("in/data")], ..Folders::default() };
    let denied = |setting| (SensorErrorKind::EgressDenied, setting);
    let (writable, hidden) = ("`actions.writable`", "no setting allows");
    for (into, (kind, said)) in [
        ("elsewhere", denied(writable)),
        ("elsewhere/not/there/yet", denied(writable)),
        ("in/link", denied(writable)),
        ("in/link/below", denied(writable)),
        ("in/up", denied(writable)),
        ("", denied(writable)),
        ("in/data", denied(hidden)),
        ("in/data/deep/done", denied(hidden)),
        ("in/file", (SensorErrorKind::NotFound, "cannot be moved")),
        ("in/file/below", (SensorErrorKind::NotFound, "cannot be moved")),
        ("in", (SensorErrorKind::NotFound, "read from there")),
    ] {
        let error = outside.open(moving(&outside, "in/*.txt", outside.path(into)), None).await.err().expect(into);
        assert_eq!(error.kind, kind, "{into}: {error}");
        assert!(error.message.contains(said), "{into}: {error}");
    }
    for into in ["in/done", "in/not/there/yet"] {
        assert!(outside.open(moving(&outside, "in/*.txt", outside.path(into)), None).await.is_ok(), "{into}");
    }
    assert_eq!(names(outside.path("elsewhere")), [""; 0], "nothing is made at the start");
}

#[tokio::test(start_paused = true)]
async fn file_is_moved_to_an_allowed_folder_anywhere_and_gets_a_number_if_its_name_is_taken() {
    let mut outside = Outside::new();
    fs::create_dir(outside.path("other")).unwrap();
    outside.folders.writable = vec![outside.path("in"), outside.path("other")];
    let mut source = outside.open_without_cursor(moving(&outside, "in/*.txt", outside.path("other/done"))).await;
    for text in ["one", "two", "three"] {
        outside.write("in/a.txt", text);
        assert_eq!(texts(&settle_next(&mut source, 1).await), [text]);
        assert!(!outside.path("in/a.txt").exists());
    }
    let moved = ["a.txt", "a.txt.1", "a.txt.2"];
    assert_eq!(names(outside.path("other/done")), moved);
    assert_eq!(moved.map(|name| fs::read_to_string(outside.path("other/done").join(name)).unwrap()), ["one", "two", "three"]);
    assert_eq!(outside.log_lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn files_in_folders_below_are_moved_next_to_where_they_were_and_are_not_read_there() {
    let outside = Outside::new();
    fs::create_dir_all(outside.path("in/x/y")).unwrap();
    for name in ["in/a.txt", "in/x/a.txt", "in/x/y/a.txt"] {
        outside.write(name, name);
    }
    let mut source = outside.open_without_cursor(moving(&outside, "in/**", "done")).await;
    settle_next(&mut source, 3).await;
    for name in ["in/done/a.txt", "in/x/done/a.txt", "in/x/y/done/a.txt"] {
        assert!(outside.path(name).exists(), "{name}");
    }
    assert!(is_silent(&mut source).await);
    // The same for an absolute path of a folder below.
    outside.write("in/b.txt", "b");
    let mut source = outside.open_without_cursor(moving(&outside, "in/**/b.txt", outside.path("in/x/old"))).await;
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["b"]);
    assert_eq!(names(outside.path("in/x/old")), ["b.txt"]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn planted_link_does_not_lead_moved_files_out() {
    use std::os::unix::fs::symlink;

    for is_absolute in [false, true] {
        let mut outside = Outside::new();
        outside.folders.writable = vec![outside.path("in")];
        fs::create_dir(outside.path("elsewhere")).unwrap();
        outside.write("in/a.txt", "a");
        let into = if is_absolute { outside.path("in/done") } else { PathBuf::from("done") };
        let mut source = outside.open_without_cursor(moving(&outside, "in/*.txt", into)).await;
        for (to, name) in [(outside.path("elsewhere"), "a.txt"), (PathBuf::from("../elsewhere"), "b.txt"), (outside.path("new"), "c.txt")] {
            let _ = fs::remove_file(outside.path("in/done"));
            symlink(to, outside.path("in/done")).unwrap();
            outside.write(&format!("in/{name}"), name);
            settle_next(&mut source, 1).await;
            assert!(outside.path("in").join(name).exists());
        }
        assert_eq!(names(outside.path("elsewhere")), [""; 0]);
        assert!(!outside.path("new").exists());
        let said = outside.log_lines();
        assert_eq!(said.len(), 3);
        assert!(said.iter().all(|line| line.contains("stays where it is") && line.contains("is a link")), "{said:?}");
        fs::remove_file(outside.path("in/done")).unwrap();
        outside.write("in/d.txt", "d");
        settle_next(&mut source, 1).await;
        assert_eq!(names(outside.path("in/done")), ["d.txt"]);
    }
}

#[tokio::test(start_paused = true)]
async fn folder_that_is_replaced_by_a_link_does_not_lead_to_other_files() {
    use std::os::unix::fs::symlink;

    for after in [AfterFile::Delete, AfterFile::Move("done".to_owned())] {
        let mut outside = Outside::new();
        outside.folders.writable = vec![outside.path("in")];
        fs::create_dir(outside.path("in/x")).unwrap();
        outside.write("in/x/a.txt", "a");
        let mut source = outside.open_without_cursor(FileSource { after, ..outside.source("in/*/*.txt") }).await;
        let all = next_unsettled(&mut source, ROOM).await;
        // The same file is there, even with the same number.
        fs::rename(outside.path("in/x"), outside.path("y")).unwrap();
        symlink(outside.path("y"), outside.path("in/x")).unwrap();
        source.settle(&tokens(&all)).await.unwrap();
        assert_eq!(names(outside.path("y")), ["a.txt"]);
        assert_eq!(outside.log_lines().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn files_are_not_moved_into_a_hidden_folder_or_to_a_hidden_name() {
    let mut outside = Outside::new();
    fs::create_dir(outside.path("in/keys")).unwrap();
    outside.folders.hidden = vec![outside.path("in/keys"), outside.path("done/master.key")];
    outside.write("in/a.txt", "a");
    let mut beside = outside.open_without_cursor(moving(&outside, "in/*.txt", "keys")).await;
    settle_next(&mut beside, 1).await;
    assert_eq!((names(outside.path("in")), names(outside.path("in/keys"))), (vec!["a.txt".to_owned(), "keys".to_owned()], Vec::new()));
    outside.write("in/master.key", "planted");
    let mut elsewhere = outside.open_without_cursor(moving(&outside, "in/*.key", outside.path("done"))).await;
    settle_next(&mut elsewhere, 1).await;
    assert!(outside.path("in/master.key").exists() && !outside.path("done/master.key").exists());
    assert!(outside.log_lines().iter().all(|line| line.contains("belongs to the node")), "{:?}", outside.log_lines());
}

#[tokio::test(start_paused = true)]
async fn link_is_moved_only_next_to_where_it_is() {
    use std::os::unix::fs::symlink;

    let outside = Outside::new();
    outside.write("in/real", "real");
    let link = || symlink("real", outside.path("in/link.txt")).unwrap();
    link();
    let mut elsewhere = outside.open_without_cursor(moving(&outside, "in/*.txt", outside.path("done"))).await;
    assert_eq!(texts(&settle_next(&mut elsewhere, 1).await), ["real"]);
    assert!(outside.path("in/link.txt").exists() && names(outside.path("done")).is_empty());
    let mut beside = outside.open_without_cursor(moving(&outside, "in/*.txt", "done")).await;
    settle_next(&mut beside, 1).await;
    assert_eq!(
        (names(outside.path("in")), names(outside.path("in/done"))),
        (vec!["done".to_owned(), "real".to_owned()], vec!["link.txt".to_owned()])
    );
    link();
    let mut deleting = outside.open_without_cursor(FileSource { after: AfterFile::Delete, ..outside.source("in/*.txt") }).await;
    settle_next(&mut deleting, 1).await;
    assert_eq!(names(outside.path("in")), ["done", "real"], "the link is deleted, and not the file");
}

#[tokio::test(start_paused = true)]
async fn hidden_file_is_not_read_through_a_link_within_the_folder() {
    use std::os::unix::fs::symlink;

    let mut outside = Outside::new();
    for name in ["in/data", "in/shown"] {
        fs::create_dir(outside.path(name)).unwrap();
    }
    outside.write("in/data/key", "secret\n");
    outside.write("in/key", "secret\n");
    outside.write("in/real", "real\n");
    for (to, name) in [("data/key", "a.txt"), ("key", "b.txt"), ("../key", "shown/c.txt"), ("data", "d.txt"), ("real", "e.txt")] {
        symlink(to, outside.path("in").join(name)).unwrap();
    }
    outside.folders.hidden = vec![outside.path("in/data"), outside.path("in/key")];
    for content in [FileContent::Whole, FileContent::Lines, FileContent::Tail, FileContent::Nothing] {
        let mut source = outside.open_without_cursor(FileSource { content, ..outside.source("in/**/*.txt") }).await;
        let found = settle_next(&mut source, 1).await;
        assert_eq!(found.iter().map(|message| about(message, "name")).collect::<Vec<_>>(), ["e.txt"]);
        assert!(is_silent(&mut source).await);
    }
}

#[tokio::test(start_paused = true)]
async fn folder_that_was_replaced_ends_the_run_and_the_next_one_reads_the_new_folder() {
    let outside = Outside::new();
    for content in [FileContent::Whole, FileContent::Tail] {
        let watched = || FileSource { content, ..outside.source("in/*") };
        let mut source = outside.open_without_cursor(watched()).await;
        assert!(is_silent(&mut source).await);
        let before = cursor(&*source);
        fs::rename(outside.path("in"), outside.path("old")).unwrap();
        fs::create_dir(outside.path("in")).unwrap();
        outside.write("in/a.txt", "new\n");
        let ended = tokio::time::timeout(MINUTE, source.next(ROOM)).await.expect("it ends");
        assert_eq!(ended.err().map(|error| error.kind), Some(SensorErrorKind::NotFound));
        let mut next = outside.open(watched(), Some(&before)).await.unwrap();
        assert_eq!(texts(&settle_next(&mut next, 1).await)[0].trim(), "new");
        fs::remove_dir_all(outside.path("old")).unwrap();
        fs::remove_file(outside.path("in/a.txt")).unwrap();
    }
}

fn tail(outside: &Outside) -> FileSource {
    FileSource { content: FileContent::Tail, ..outside.source("in/app.log") }
}

#[tokio::test(start_paused = true)]
async fn appended_lines_are_messages_once_they_are_complete() {
    let outside = Outside::new();
    outside.append("in/app.log", "old\n");
    let mut source = outside.open_without_cursor(FileSource { start: FileStart::Now, ..tail(&outside) }).await;
    assert!(is_silent(&mut source).await);
    outside.append("in/app.log", "one\ntw");
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["one"]);
    outside.append("in/app.log", "o\n");
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["two"]);
    let after = cursor(&*source);
    drop(source);
    outside.append("in/app.log", "three\n");
    let mut next = outside.open(tail(&outside), Some(&after)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut next, 1).await), ["three"]);
}

/// Renames the log after a line, as `logrotate` does, and begins a new one.
fn rotate(outside: &Outside) {
    outside.append("in/app.log", "two\n");
    fs::rename(outside.path("in/app.log"), outside.path("in/app.log.1")).unwrap();
    outside.append("in/app.log", "three\n");
}

#[tokio::test(start_paused = true)]
async fn rotated_file_is_read_to_its_end_before_the_new_one() {
    let outside = Outside::new();
    outside.append("in/app.log", "one\n");
    let mut source = outside.open_without_cursor(tail(&outside)).await;
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["one"]);
    rotate(&outside);
    assert_eq!(texts(&settle_next(&mut source, 2).await), ["two", "three"]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn half_a_line_of_a_rotated_file_is_a_line_once_its_writer_is_quiet() {
    let outside = Outside::new();
    outside.append("in/app.log", "one\ntw");
    let mut source = outside.open_without_cursor(tail(&outside)).await;
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["one"]);
    let before = cursor(&*source);
    fs::rename(outside.path("in/app.log"), outside.path("in/app.log.1")).unwrap();
    outside.append("in/app.log", "three\n");
    assert_eq!(texts(&settle_next(&mut source, 2).await), ["three", "tw"]);
    let after = cursor(&*source);
    for (cursor, rest) in [(&before, &["three", "tw"][..]), (&after, &[])] {
        let mut next = outside.open(tail(&outside), Some(cursor)).await.unwrap();
        assert_eq!(texts(&settle_next(&mut next, rest.len()).await), rest);
        assert!(is_silent(&mut next).await);
    }
}

#[tokio::test(start_paused = true)]
async fn renamed_file_without_a_successor_is_read_to_its_end_even_without_a_line_break() {
    let outside = Outside::new();
    let followed = || FileSource { content: FileContent::Tail, ..outside.source("in/*.log") };
    for name in ["in/a.log", "in/b.log"] {
        outside.append(name, "one\n");
    }
    let mut source = outside.open_without_cursor(followed()).await;
    assert_eq!(texts(&settle_next(&mut source, 2).await), ["one", "one"]);
    outside.append("in/a.log", "two of a");
    outside.append("in/b.log", "two of b");
    assert!(is_silent(&mut source).await, "the ends of their lines are awaited");
    let before = source.cursor_at(Token(0)).unwrap();
    for name in ["in/a.log", "in/b.log"] {
        fs::rename(outside.path(name), outside.path(&format!("{name}.1"))).unwrap();
    }
    let both = next_unsettled(&mut source, ROOM).await;
    assert_eq!(texts(&both), ["two of a", "two of b"]);
    let mut between = outside.open(followed(), source.cursor_at(both[0].token).as_ref()).await.unwrap();
    assert_eq!(texts(&settle_next(&mut between, 1).await), ["two of b"], "the first one is read, wherever it is");
    let mut again = outside.open(followed(), Some(&before)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut again, 2).await), ["two of a", "two of b"], "a run that begins after the renaming finds both");
    source.settle(&tokens(&both)).await.unwrap();
    for mut source in [source, between, again] {
        assert!(is_silent(&mut source).await);
    }
    outside.append("in/a.log", "three\n");
    let mut source = outside.open_without_cursor(followed()).await;
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["three"]);
}

#[tokio::test(start_paused = true)]
async fn deleted_file_is_forgotten_and_a_new_one_of_its_name_is_read_from_its_beginning() {
    let outside = Outside::new();
    outside.append("in/app.log", "one\ntwo\n");
    let mut source = outside.open_without_cursor(tail(&outside)).await;
    settle_next(&mut source, 2).await;
    fs::remove_file(outside.path("in/app.log")).unwrap();
    assert!(is_silent(&mut source).await);
    let after = cursor(&*source);
    assert_eq!(after.root().to_value(), json!({ "tail": [] }));
    outside.append("in/app.log", "ten\ntwelve\n");
    assert_eq!(texts(&settle_next(&mut source, 2).await), ["ten", "twelve"]);
    let mut next = outside.open(tail(&outside), Some(&after)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut next, 2).await), ["ten", "twelve"]);
}

#[tokio::test(start_paused = true)]
async fn long_file_lets_another_one_have_its_turn() {
    let outside = Outside::new();
    let followed = FileSource { content: FileContent::Tail, ..outside.source("in/*.log") };
    let line = "x".repeat(1_023) + "\n";
    outside.append("in/a.log", &line.repeat(3_000));
    outside.append("in/b.log", "short\n");
    let mut source = outside.open_without_cursor(followed).await;
    let all = settle_next(&mut source, 3_001).await;
    let at = all.iter().position(|message| about(message, "name") == "b.log").unwrap();
    assert!((1_000..2_000).contains(&at), "{at}");
    assert_eq!(about(&all[3_000], "bytes"), json!(3_000 * 1_024));
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn file_that_was_rotated_between_two_runs_is_read_to_its_end() {
    let outside = Outside::new();
    outside.append("in/app.log", "one\n");
    let mut source = outside.open_without_cursor(tail(&outside)).await;
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["one"]);
    let after = cursor(&*source);
    drop(source);
    rotate(&outside);
    let mut next = outside.open(tail(&outside), Some(&after)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut next, 2).await), ["two", "three"]);
    assert!(is_silent(&mut next).await);
}

#[tokio::test(start_paused = true)]
async fn truncated_file_is_read_from_its_beginning() {
    let outside = Outside::new();
    outside.append("in/app.log", "one\ntwo\n");
    let mut source = outside.open_without_cursor(tail(&outside)).await;
    assert_eq!(texts(&settle_next(&mut source, 2).await), ["one", "two"]);
    let after = cursor(&*source);
    fs::OpenOptions::new().write(true).truncate(true).open(outside.path("in/app.log")).unwrap();
    outside.append("in/app.log", "new\n");
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["new"]);
    drop(source);
    // Meanwhile, it grew beyond the old offset.
    outside.append("in/app.log", "and many more lines than before\n");
    let mut next = outside.open(tail(&outside), Some(&after)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut next, 2).await), ["new", "and many more lines than before"]);
}

fn rename(outside: &Outside, from: &str, to: &str) {
    fs::rename(outside.path(from), outside.path(to)).unwrap();
}

/// Follows all logs whose names begin the same.
fn tail_all(outside: &Outside) -> FileSource {
    FileSource { content: FileContent::Tail, ..outside.source("in/app.log*") }
}

/// Copies a log and truncates it, as `logrotate` does with `copytruncate`.
fn copy_and_truncate(outside: &Outside, from: &str, to: &str) {
    fs::copy(outside.path(from), outside.path(to)).unwrap();
    fs::OpenOptions::new().write(true).truncate(true).open(outside.path(from)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn rotation_within_the_pattern_loses_and_repeats_nothing() {
    let outside = Outside::new();
    let mut source = outside.open_without_cursor(tail_all(&outside)).await;
    outside.append("in/app.log", "1\n2\n3\n");
    assert_eq!(texts(&settle_next(&mut source, 3).await), ["1", "2", "3"]);
    let before = cursor(&*source);
    rename(&outside, "in/app.log", "in/app.log.1");
    outside.append("in/app.log", "4\n");
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["4"]);
    rename(&outside, "in/app.log.1", "in/app.log.2");
    rename(&outside, "in/app.log", "in/app.log.1");
    outside.append("in/app.log", "5\n");
    let last = settle_next(&mut source, 1).await;
    assert_eq!((texts(&last), about(&last[0], "name")), (vec!["5".to_owned()], json!("app.log")));
    assert!(is_silent(&mut source).await);
    // The same if nobody looked meanwhile.
    let mut next = outside.open(tail_all(&outside), Some(&before)).await.unwrap();
    assert_eq!(settle_next(&mut next, 2).await.len(), 2);
    assert!(is_silent(&mut next).await);
    let after = cursor(&*source);
    let mut next = outside.open(tail_all(&outside), Some(&after)).await.unwrap();
    assert!(is_silent(&mut next).await);
}

#[tokio::test(start_paused = true)]
async fn line_of_a_writer_that_keeps_its_descriptor_is_read_after_the_rotation() {
    for pattern in ["in/app.log", "in/app.log*"] {
        let outside = Outside::new();
        let followed = || FileSource { content: FileContent::Tail, ..outside.source(pattern) };
        let mut source = outside.open_without_cursor(followed()).await;
        let mut writer = fs::OpenOptions::new().append(true).create(true).open(outside.path("in/app.log")).unwrap();
        writer.write_all(b"1\n2\n").unwrap();
        assert_eq!(texts(&settle_next(&mut source, 2).await), ["1", "2"]);
        rename(&outside, "in/app.log", "in/app.log.1");
        outside.append("in/app.log", "");
        assert!(is_silent(&mut source).await);
        writer.write_all(b"3-late\n").unwrap();
        assert_eq!(texts(&settle_next(&mut source, 1).await), ["3-late"]);
        outside.append("in/app.log", "4\n");
        assert_eq!(texts(&settle_next(&mut source, 1).await), ["4"]);
        assert!(is_silent(&mut source).await);
    }
}

#[tokio::test(start_paused = true)]
async fn renamed_file_is_followed_across_a_restart_until_it_is_quiet_for_a_minute() {
    let outside = Outside::new();
    let mut source = outside.open_without_cursor(tail(&outside)).await;
    outside.append("in/app.log", "1\n");
    settle_next(&mut source, 1).await;
    rename(&outside, "in/app.log", "in/app.log.1");
    let after = cursor(&*source);
    drop(source);
    outside.append("in/app.log.1", "2\n");
    let mut source = outside.open(tail(&outside), Some(&after)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["2"]);
    for line in ["3", "4"] {
        assert!(tokio::time::timeout(Duration::from_secs(40), source.next(ROOM)).await.is_err());
        outside.append("in/app.log.1", &format!("{line}\n"));
        assert_eq!(texts(&settle_next(&mut source, 1).await), [line]);
    }
    let last = messages(&mut source).await;
    assert!(!is_content(&last[0]), "the sensor has given it up");
    source.settle(&tokens(&last)).await.unwrap();
    assert_eq!(cursor(&*source).root().to_value(), json!({ "tail": [] }));
    outside.append("in/app.log.1", "5\n");
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn file_that_is_copied_and_truncated_is_read_once_with_the_rest_that_only_the_copy_has() {
    for pattern in ["in/app.log", "in/app.log*"] {
        let outside = Outside::new();
        let followed = || FileSource { content: FileContent::Tail, ..outside.source(pattern) };
        let mut source = outside.open_without_cursor(followed()).await;
        outside.append("in/app.log", "1\n2\n");
        assert_eq!(texts(&settle_next(&mut source, 2).await), ["1", "2"]);
        let before = cursor(&*source);
        if pattern == "in/app.log*" {
            outside.append("in/app.log", "3\n");
        }
        copy_and_truncate(&outside, "in/app.log", "in/app.log.1");
        outside.append("in/app.log", "4\n5\n6\n");
        let rest = if pattern == "in/app.log*" { &["3", "4", "5", "6"][..] } else { &["4", "5", "6"] };
        assert_eq!(texts(&settle_next(&mut source, rest.len()).await), rest);
        assert!(is_silent(&mut source).await);
        let mut again = outside.open(followed(), Some(&before)).await.unwrap();
        assert_eq!(texts(&settle_next(&mut again, rest.len()).await), rest);
        assert!(is_silent(&mut again).await);
    }
}

#[tokio::test(start_paused = true)]
async fn copy_that_is_seen_before_its_original_is_truncated_is_not_read_again() {
    let outside = Outside::new();
    let mut source = outside.open_without_cursor(tail_all(&outside)).await;
    let lines: String = (0..100).map(|number| format!("line {number}\n")).collect();
    outside.append("in/app.log", &lines);
    settle_next(&mut source, 100).await;
    fs::copy(outside.path("in/app.log"), outside.path("in/app.log.1")).unwrap();
    assert!(is_silent(&mut source).await);
    outside.append("in/app.log", "between\n");
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["between"]);
    copy_and_truncate(&outside, "in/app.log", "in/app.log.2");
    outside.append("in/app.log", "after\n");
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["after"]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn copy_with_nothing_left_to_read_is_known_once_the_next_line_is_settled() {
    let outside = Outside::new();
    let mut source = outside.open_without_cursor(tail_all(&outside)).await;
    outside.append("in/app.log", "1\n2\n3\n");
    settle_next(&mut source, 3).await;
    copy_and_truncate(&outside, "in/app.log", "in/app.log.1");
    outside.append("in/app.log", "4\n5\n");
    let both = next_unsettled(&mut source, ROOM).await;
    assert_eq!(texts(&both), ["4", "5"]);
    source.settle(&tokens(&both[..1])).await.unwrap();
    for (after, rest) in [(source.cursor_at(both[0].token), 1), (source.cursor_at(both[1].token), 0)] {
        let mut next = outside.open(tail_all(&outside), after.as_ref()).await.unwrap();
        assert_eq!(texts(&settle_next(&mut next, rest).await), ["5"][..rest]);
        assert!(is_silent(&mut next).await);
    }
}

#[tokio::test(start_paused = true)]
async fn copy_that_is_seen_while_it_is_empty_is_not_read_again() {
    let outside = Outside::new();
    let mut source = outside.open_without_cursor(tail_all(&outside)).await;
    let lines: String = (0..100).map(|number| format!("line {number}\n")).collect();
    outside.append("in/app.log", &lines);
    settle_next(&mut source, 100).await;
    assert!(is_silent(&mut source).await);
    outside.write("in/app.log.1", "");
    assert!(tokio::time::timeout(3 * RESCAN, source.next(ROOM)).await.is_err(), "nothing has moved");
    outside.write("in/app.log.1", &lines);
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn log_that_ends_like_another_one_is_read_whether_or_not_that_one_is_truncated() {
    for is_truncated in [false, true] {
        let outside = Outside::new();
        let mut source = outside.open_without_cursor(tail_all(&outside)).await;
        let lines = |first: &str| format!("{first}\n{}", "tick\n".repeat(100));
        outside.append("in/app.log", &lines("here"));
        settle_next(&mut source, 101).await;
        if is_truncated {
            outside.write("in/app.log", "");
        }
        outside.append("in/app.log-eu", &lines("over"));
        assert_eq!(texts(&settle_next(&mut source, 101).await)[0], "over", "{is_truncated}");
        assert!(is_silent(&mut source).await, "{is_truncated}");
    }
}

#[tokio::test(start_paused = true)]
async fn short_log_that_begins_like_one_that_is_truncated_is_read() {
    let outside = Outside::new();
    let mut source = outside.open_without_cursor(tail_all(&outside)).await;
    outside.append("in/app.log", "start\n");
    settle_next(&mut source, 1).await;
    outside.write("in/app.log", "");
    outside.append("in/app.log.errors", "start\nfailed\n");
    assert_eq!(texts(&settle_next(&mut source, 2).await), ["start", "failed"]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn log_that_begins_like_another_one_and_grows_all_the_while_is_read_within_minutes() {
    let outside = Outside::new();
    let mut source = outside.open_without_cursor(tail_all(&outside)).await;
    outside.append("in/app.log", &"tick\n".repeat(1_000));
    settle_next(&mut source, 1_000).await;
    assert!(is_silent(&mut source).await);
    let (mut written, begin) = (60, Instant::now());
    outside.append("in/app.log-eu", &"tick\n".repeat(written));
    let mut read = Vec::new();
    while read.is_empty() {
        assert!(begin.elapsed() < 6 * MINUTE, "{written} lines");
        outside.append("in/app.log-eu", "tick\n");
        written += 1;
        if let Ok(Ok(PullOutcome::Messages(messages))) = tokio::time::timeout(Duration::from_secs(1), source.next(ROOM)).await {
            source.settle(&tokens(&messages)).await.unwrap();
            read.extend(messages.into_iter().filter(is_content));
        }
    }
    assert_eq!(about(&read[0], "name"), json!("app.log-eu"));
    read.extend(settle_next(&mut source, written - read.len()).await);
    assert_eq!(read.len(), written);
}

#[tokio::test(start_paused = true)]
async fn two_logs_that_begin_the_same_are_both_read() {
    let outside = Outside::new();
    let mut source = outside.open_without_cursor(tail_all(&outside)).await;
    outside.append("in/app.log", "start\n");
    settle_next(&mut source, 1).await;
    outside.append("in/app.log.errors", "start\n");
    outside.append("in/app.log2", "start\n");
    assert_eq!(texts(&settle_next(&mut source, 2).await), ["start", "start"]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn truncated_file_that_grew_to_its_old_size_or_beyond_is_read_from_its_beginning() {
    for text in ["ten\nsix\n", "ten\nsix\nand more\n"] {
        let outside = Outside::new();
        outside.append("in/app.log", "one\ntwo\n");
        let mut source = outside.open_without_cursor(tail(&outside)).await;
        settle_next(&mut source, 2).await;
        outside.write("in/app.log", text);
        let rest: Vec<&str> = text.lines().collect();
        assert_eq!(texts(&settle_next(&mut source, rest.len()).await), rest);
        assert!(is_silent(&mut source).await);
    }
}

#[tokio::test(start_paused = true)]
async fn file_with_two_names_is_read_once() {
    use std::os::unix::fs::symlink;

    let outside = Outside::new();
    outside.append("in/app.log.today", "1\n");
    symlink("app.log.today", outside.path("in/app.log")).unwrap();
    fs::hard_link(outside.path("in/app.log.today"), outside.path("in/app.log.same")).unwrap();
    let mut source = outside.open_without_cursor(tail_all(&outside)).await;
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["1"]);
    outside.append("in/app.log", "2\n");
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["2"]);
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn cursor_of_an_older_release_continues_where_it_was() {
    use std::os::unix::fs::MetadataExt;

    let outside = Outside::new();
    outside.append("in/app.log", "one\ntwo\n");
    let about = fs::metadata(outside.path("in/app.log")).unwrap();
    let head = &Digest::of(b"one\ntwo\n").to_string()[..16];
    let older = Document::from_value(&json!({ "tail": { "app.log": [about.dev(), about.ino(), 8, head, 8] } }));
    outside.append("in/app.log", "three\n");
    let mut source = outside.open(tail(&outside), Some(&older)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["three"]);
    rename(&outside, "in/app.log", "in/app.log.1");
    outside.append("in/app.log", "four\n");
    let mut next = outside.open(tail(&outside), Some(&older)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut next, 2).await), ["three", "four"]);
}

#[tokio::test(start_paused = true)]
async fn file_with_the_number_of_one_that_is_gone_is_another_file() {
    use std::os::unix::fs::MetadataExt;

    let outside = Outside::new();
    outside.append("in/private.txt", "secret\nsecret\n");
    let about = fs::metadata(outside.path("in/private.txt")).unwrap();
    for (offset, bytes) in [(0, &b""[..]), (4, b"old\n")] {
        let hash = &Digest::of(bytes).to_string()[..16];
        let gone = Document::from_value(&json!({ "tail": [["app.log", about.dev(), about.ino(), offset, hash]] }));
        let mut source = outside.open(tail(&outside), Some(&gone)).await.unwrap();
        assert!(is_silent(&mut source).await, "{offset}");
        assert_eq!(cursor(&*source).root().to_value(), json!({ "tail": [] }));
    }
    // After a restart of the machine, the device may have another number.
    let hash = &Digest::of(b"secret\n").to_string()[..16];
    let renumbered = Document::from_value(&json!({ "tail": [["private.txt", about.dev() + 1, about.ino(), 7, hash]] }));
    let followed = FileSource { content: FileContent::Tail, ..outside.source("in/private.txt") };
    let mut source = outside.open(followed, Some(&renumbered)).await.unwrap();
    assert_eq!(texts(&settle_next(&mut source, 1).await), ["secret"]);
    assert!(is_silent(&mut source).await);
}

/// Draws numbers that are the same in each run of the test.
struct SeededNumbers(u64);

impl SeededNumbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[tokio::test(start_paused = true)]
async fn any_rotations_and_restarts_lose_and_repeat_no_line() {
    for seed in 0..12 {
        let (outside, mut drawn) = (Outside::new(), SeededNumbers(seed));
        let open = || fs::OpenOptions::new().append(true).create(true).open(outside.path("in/app.log")).unwrap();
        let (mut writer, mut written, mut copies, mut seen) = (open(), 0, 0, Vec::new());
        let mut source = outside.open_without_cursor(tail_all(&outside)).await;
        let mut steps = Vec::new();
        for _ in 0..60 {
            let step = drawn.below(12);
            steps.push(step);
            match step {
                0..=4 => {
                    for _ in 0..1 + drawn.below(40) {
                        writer.write_all(format!("line {written}\n").as_bytes()).unwrap();
                        written += 1;
                    }
                }
                5 | 6 => {
                    for number in (1..40).rev() {
                        let _ =
                            fs::rename(outside.path(&format!("in/app.log.{number}")), outside.path(&format!("in/app.log.{}", number + 1)));
                    }
                    let _ = fs::rename(outside.path("in/app.log"), outside.path("in/app.log.1"));
                }
                7 => writer = open(),
                8 => {
                    writer = open();
                    copies += 1;
                    copy_and_truncate(&outside, "in/app.log", &format!("in/app.log.copy-{copies}"));
                }
                9 => {
                    let after = source.cursor_at(Token(0));
                    source = outside.open(tail_all(&outside), after.as_ref()).await.unwrap();
                }
                _ => {
                    // Some of what comes is settled.
                    if let Ok(Ok(PullOutcome::Messages(messages))) = tokio::time::timeout(2 * RESCAN, source.next(ROOM)).await {
                        let count = drawn.below(messages.len() as u64 + 1) as usize;
                        if count > 0 {
                            source.settle(&[messages[count - 1].token]).await.unwrap();
                        }
                        seen.extend(texts(&messages[..count]).into_iter().filter(|text| text.starts_with("line ")));
                        let after = source.cursor_at(Token(0));
                        source = outside.open(tail_all(&outside), after.as_ref()).await.unwrap();
                    }
                }
            }
        }
        while let Ok(Ok(PullOutcome::Messages(messages))) = tokio::time::timeout(30 * RESCAN, source.next(ROOM)).await {
            source.settle(&tokens(&messages)).await.unwrap();
            seen.extend(texts(&messages).into_iter().filter(|text| text.starts_with("line ")));
        }
        let all: BTreeSet<String> = (0..written).map(|number| format!("line {number}")).collect();
        assert_eq!(seen.len(), written, "seed {seed}: {steps:?}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all, "seed {seed}: {steps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_lines_come_in_order_and_within_the_room() {
    let outside = Outside::new();
    let text: String = (0..5_000).map(|number| format!("{number}\n")).collect();
    outside.append("in/app.log", &text);
    let mut source = outside.open_without_cursor(tail(&outside)).await;
    let mut seen = Vec::new();
    while seen.len() < 5_000 {
        let messages = messages(&mut source).await;
        assert!(messages.len() <= ROOM.messages);
        source.settle(&messages.iter().map(|message| message.token).collect::<Vec<_>>()).await.unwrap();
        seen.extend(texts(&messages).into_iter().filter(|text| text.parse::<u32>().is_ok()));
    }
    assert!(seen.iter().enumerate().all(|(number, text)| *text == number.to_string()));
}

#[tokio::test(start_paused = true)]
async fn file_has_a_message_of_all_its_bytes_up_to_the_limit_and_of_its_beginning_above_it() {
    let outside = Outside::new();
    outside.write("in/a.txt", vec![b'a'; MESSAGE_BYTES_MAX]);
    outside.write("in/b.txt", vec![b'b'; MESSAGE_BYTES_MAX + 1]);
    let mut source = outside.open_without_cursor(outside.source("in/*.txt")).await;
    let all = settle_next(&mut source, 2).await;
    assert!(matches!(&all[0].body, Body::Bytes(bytes) if bytes.len() == MESSAGE_BYTES_MAX));
    let most = MESSAGE_BYTES_MAX as u64 + 1;
    assert!(matches!(&all[1].body, Body::Cut { head, whole } if head.len() == 64 << 10 && *whole == most), "{:?}", all[1].about);
    assert!(is_silent(&mut source).await);
}

#[tokio::test(start_paused = true)]
async fn look_for_the_end_remembers_each_file_and_a_test_shows_each() {
    let mut outside = Outside::new();
    for (wanted, expected) in two_files_by_content(&outside) {
        let wanted = FileSource { start: FileStart::Now, ..wanted };
        outside.purpose = SourcePurpose::End;
        let mut end = outside.open_without_cursor(wanted.clone()).await;
        let first = messages(&mut end).await.remove(0);
        assert!(!is_content(&first));
        let at_the_end = end.cursor_at(first.token).unwrap();
        outside.purpose = SourcePurpose::Test;
        let mut shown = outside.open_without_cursor(wanted.clone()).await;
        assert_eq!(texts(&settle_next(&mut shown, expected.len()).await), expected);
        outside.purpose = SourcePurpose::Run;
        let mut next = outside.open(wanted.clone(), Some(&at_the_end)).await.unwrap();
        assert!(is_silent(&mut next).await, "{:?}", wanted.content);
    }
    assert_eq!(outside.lines.0.lock().unwrap().len(), 4, "each test says that a run would begin elsewhere");
}

#[tokio::test(start_paused = true)]
async fn lag_is_known_once_a_file_was_read() {
    let outside = Outside::new();
    for (wanted, _) in two_files_by_content(&outside).into_iter().filter(|(wanted, _)| wanted.content != FileContent::Nothing) {
        let mut source = outside.open_without_cursor(wanted).await;
        assert_eq!(source.lag(), Lag::Unknown);
        tokio::time::advance(MINUTE).await;
        let read_at = outside.clock.now();
        next_unsettled(&mut source, ROOM).await;
        assert_eq!(source.lag(), Lag::NewestAt(read_at));
    }
}

/// The time of the runtime, with what was waited for.
struct CountedClock {
    clock: Arc<dyn Clock>,
    waits: watch::Sender<Vec<Duration>>,
}

impl Clock for CountedClock {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep(&self, long: Duration) -> Pending<'_, ()> {
        self.waits.send_modify(|waits| waits.push(long));
        self.clock.sleep(long)
    }
}

/// The only test whose time is not its own: the system reports when it does.
#[tokio::test]
async fn change_in_a_folder_below_is_found_by_what_the_system_reports() {
    let mut outside = Outside::new();
    let clock = Arc::new(CountedClock { clock: Arc::new(RuntimeClock::at(outside.clock.now())), waits: watch::Sender::default() });
    outside.clock = clock.clone();
    fs::create_dir(outside.path("in/below")).unwrap();
    let rescan = Duration::from_secs(24 * 3_600);
    for content in [FileContent::Whole, FileContent::Tail] {
        let mut source = outside.open_without_cursor(FileSource { content, rescan, ..outside.source("in/**") }).await;
        clock.waits.send_replace(Vec::new());
        let writing = async {
            // The first wait ends by itself, for what changed before the source was open.
            let mut waits = clock.waits.subscribe();
            waits.wait_for(|waits| waits.iter().filter(|long| **long == rescan).count() >= 2).await.unwrap();
            outside.append("in/below/a.txt", &format!("{content:?}\n"));
        };
        let (found, ()) = tokio::join!(settle_next(&mut source, 1), writing);
        assert!(texts(&found)[0].starts_with(&format!("{content:?}")));
        fs::remove_file(outside.path("in/below/a.txt")).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn foreign_cursor_is_rejected() {
    let outside = Outside::new();
    let cursor = Document::from_value(&json!({ "polled": true }));
    for source in [tail(&outside), outside.source("in/*")] {
        assert_eq!(outside.open(source, Some(&cursor)).await.err().unwrap().kind, SensorErrorKind::Protocol);
    }
}
