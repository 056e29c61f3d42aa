//! Messages of running programs on their way to the log: in order, coalesced, retried, and rejected with a
//! reason.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{ProcessCommand, Run};
use ensue_engine::command::{Ask, Message, MessageContent, Refusal};
use ensue_engine::ids::AttemptId;
use ensue_engine::ports::SubmitError;
use ensue_engine::record::{Body, Digest};
use ensue_executor::programs::{
    AtEnd, AttemptRemains, End, Exit, FindError, Isolation, Order, Pending, Program, ProgramUpdate, Programs, StartProgramError, Tell,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::world::{Plan, World, attempt, refuse_with, result};

/// Programs that write the test's lines; one at a time.
struct Talkers {
    folder: TempDir,
    said: Mutex<Option<mpsc::UnboundedReceiver<ProgramUpdate>>>,
}

struct Talker {
    folder: PathBuf,
    said: mpsc::UnboundedReceiver<ProgramUpdate>,
}

impl Programs for Talkers {
    fn find(&self, program: &str, _: &Path, _: &OsString) -> Result<PathBuf, FindError> {
        Ok(PathBuf::from(program))
    }

    fn directory(&self, attempt: AttemptId) -> PathBuf {
        self.folder.path().join(attempt.to_string())
    }

    fn start(&self, order: Order) -> Pending<'_, Result<Box<dyn Program>, StartProgramError>> {
        let folder = self.directory(order.attempt);
        std::fs::create_dir_all(&folder).unwrap();
        let said = self.said.lock().unwrap().take().unwrap();
        Box::pin(async move { Ok(Box::new(Talker { folder, said }) as Box<dyn Program>) })
    }

    fn find_left(&self) -> Pending<'_, Vec<AttemptRemains>> {
        Box::pin(async { Vec::new() })
    }

    fn forget(&self, _: AttemptId) {}

    fn at_end(&self) -> AtEnd {
        AtEnd::Ended
    }

    fn isolation(&self) -> &Isolation {
        Isolation::none()
    }
}

impl Program for Talker {
    fn hear(&mut self) -> Pending<'_, ProgramUpdate> {
        Box::pin(async move { self.said.recv().await.unwrap() })
    }

    fn instruct(&self, _: Tell) {}

    fn clear(self: Box<Self>) -> Pending<'static, ()> {
        std::fs::remove_dir_all(&self.folder).unwrap();
        Box::pin(async {})
    }

    fn leave(self: Box<Self>) {}
}

/// A running program, and the means to make it write lines.
struct Talk {
    world: World,
    says: mpsc::UnboundedSender<ProgramUpdate>,
    directory: PathBuf,
    lines: u32,
}

impl Talk {
    async fn begin(plan: impl FnOnce(Plan) -> Plan) -> Self {
        let (says, said) = mpsc::unbounded_channel();
        let talkers = Arc::new(Talkers { folder: TempDir::new().unwrap(), said: Mutex::new(Some(said)) });
        let directory = talkers.directory(attempt(1));
        let run = Run::Process(ProcessCommand {
            command: vec!["talk".into()],
            beside: Default::default(),
            input: None,
            env: Vec::new(),
            files: Vec::new(),
        });
        let world = plan(Plan::new(run).programs(talkers)).begin();
        world.dispatch(1, json!({}));
        Self { world, says, directory, lines: 0 }
    }

    fn says(&mut self, line: &str) {
        let line = Bytes::copy_from_slice(line.as_bytes());
        self.says.send(ProgramUpdate::Message { index: self.lines, line }).unwrap();
        self.lines += 1;
    }

    fn ends(&self) {
        self.says
            .send(ProgramUpdate::Ended(End { exit: Exit::Code(0), by: None, printed: [0, 0], was_killed: None, ended_at: None }))
            .unwrap();
    }

    /// Waits for the next message of the running attempt to the log.
    async fn next_message(&mut self) -> (u32, MessageContent) {
        match self.world.asked.recv().await {
            Some(Ask::TakeMessage(Message { attempt: of, token, index, said, .. })) => {
                assert_eq!((of, token), (attempt(1), 7));
                (index, said)
            }
            other => panic!("not a message: {other:?}"),
        }
    }

    async fn next_progress(&mut self) -> (u32, Option<u16>) {
        match self.next_message().await {
            (index, MessageContent::Progress { thousandths, .. }) => (index, thousandths),
            other => panic!("not progress: {other:?}"),
        }
    }

    async fn next_unusable(&mut self) -> (u32, String) {
        match self.next_message().await {
            (index, MessageContent::Unusable { reason }) => (index, reason),
            other => panic!("it was taken: {other:?}"),
        }
    }
}

#[tokio::test]
async fn message_is_in_the_log_before_the_end_of_its_program() {
    let mut talk = Talk::begin(|plan| plan).await;
    talk.says(r#"{"progress":0.4,"message":"copying"}"#);
    match talk.next_message().await {
        (0, MessageContent::Progress { thousandths, body }) => {
            assert_eq!((thousandths, body), (Some(400), Some(Body::json(r#"{"message":"copying"}"#))));
        }
        other => panic!("{other:?}"),
    }
    talk.says(r#"{"progress":0.9}"#);
    talk.ends();
    assert_eq!(talk.next_progress().await, (1, Some(900)));
    assert_eq!(result(&talk.world.report().await), json!(""));
}

#[tokio::test]
async fn only_the_newest_of_frequent_progress_is_reported() {
    let mut talk = Talk::begin(Plan::time_in_hand).await;
    talk.says(r#"{"progress":0.1}"#);
    assert_eq!(talk.next_progress().await, (0, Some(100)));
    for share in ["0.2", "0.3", "0.4"] {
        talk.says(&format!(r#"{{"progress":{share}}}"#));
    }
    // Before another message, the pending progress is reported.
    talk.says("nonsense");
    assert_eq!(talk.next_progress().await, (3, Some(400)));
    assert_eq!(talk.next_unusable().await.0, 4);
    talk.says(r#"{"progress":0.5}"#);
    talk.says(r#"{"progress":0.6}"#);
    tokio::task::yield_now().await;
    talk.world.clock.advance(Duration::from_secs(1));
    let (index, _) = talk.next_progress().await;
    assert!(index >= 5, "{index}");
}

#[tokio::test]
async fn artifact_is_collected_before_the_private_directory_is_removed() {
    let mut talk = Talk::begin(|plan| plan).await;
    while !talk.directory.exists() {
        tokio::task::yield_now().await;
    }
    std::fs::write(talk.directory.join("report.csv"), "a,b\n").unwrap();
    talk.says(r#"{"artifact":{"name":"Report.csv","path":"report.csv","media_type":"text/csv"}}"#);
    talk.ends();
    match talk.next_message().await {
        (0, MessageContent::Artifact(artifact)) => {
            assert_eq!((artifact.name.as_str(), artifact.bytes, artifact.blob), ("Report.csv", 4, Digest::of(b"a,b\n")));
            assert_eq!(talk.world.blobs.content(&artifact.blob), b"a,b\n");
        }
        other => panic!("{other:?}"),
    }
    talk.world.report().await;
    assert!(!talk.directory.exists());
}

#[tokio::test]
async fn unusable_message_is_reported_with_its_reason_without_harm() {
    let mut talk = Talk::begin(|plan| plan).await;
    for (line, expected) in [
        ("not json", "descriptor 3"),
        (r#"{"artifact":{"path":"/etc/passwd"}}"#, "is not a path inside"),
        (r#"{"artifact":{"path":"missing"}}"#, "cannot be opened"),
        (r#"{"emit":{"trigger":"no.such","payload":{}}}"#, "no trigger `no.such`"),
    ] {
        talk.says(line);
        let (index, reason) = talk.next_unusable().await;
        assert_eq!(index + 1, talk.lines);
        assert!(reason.contains(expected), "{reason}");
    }
    talk.ends();
    result(&talk.world.report().await);
}

#[tokio::test]
async fn invalid_lines_are_reported_a_hundred_times_and_then_counted() {
    let mut talk = Talk::begin(|plan| plan).await;
    for _ in 0..10_000 {
        talk.says("rubbish");
    }
    talk.says(r#"{"progress":0.5}"#);
    talk.ends();
    for expected in 0..99 {
        assert_eq!(talk.next_unusable().await.0, expected);
    }
    let (index, reason) = talk.next_unusable().await;
    assert_eq!(index, 10_001, "after all of them, so that it is not taken for one that was reported before");
    let expected = "9902 more lines on descriptor 3 were rejected, 69323 bytes in total: ";
    assert!(reason.starts_with(expected), "{reason}");
    result(&talk.world.report().await);
}

#[tokio::test]
async fn messages_over_the_log_s_limit_are_counted_and_others_reported() {
    let enough = || refuse_with(Refusal::TooManyMessages { attempt: attempt(1), what: "artifacts", max: 100 });
    let mut talk = Talk::begin(|plan| plan.answers([enough()])).await;
    while !talk.directory.exists() {
        tokio::task::yield_now().await;
    }
    std::fs::write(talk.directory.join("report.csv"), "a,b\n").unwrap();
    for _ in 0..1_000 {
        talk.says(r#"{"artifact":{"path":"report.csv"}}"#);
    }
    talk.says("rubbish");
    talk.ends();
    assert!(matches!(talk.next_message().await, (0, MessageContent::Artifact(_))));
    assert_eq!(talk.next_unusable().await.0, 1_000);
    let (index, reason) = talk.next_unusable().await;
    assert!((index, reason.starts_with("1000 more lines ")) == (1_001, true), "{index} {reason}");
    result(&talk.world.report().await);
}

#[tokio::test]
async fn message_rejected_by_the_log_is_reported_as_unusable() {
    let refusal = || refuse_with(Refusal::TooLarge("it is too large".into()));
    let mut talk = Talk::begin(|plan| plan.answers([refusal()])).await;
    talk.says(r#"{"progress":0.5}"#);
    assert_eq!(talk.next_progress().await, (0, Some(500)));
    assert_eq!(talk.next_unusable().await, (0, "it is too large".to_owned()));
}

#[tokio::test]
async fn message_that_was_not_accepted_is_retried_with_the_same_index() {
    let mut talk = Talk::begin(|plan| plan.answers([Err(SubmitError::Busy), Err(SubmitError::Unknown)])).await;
    talk.says(r#"{"progress":0.5}"#);
    talk.says(r#"{"progress":0.7}"#);
    talk.ends();
    assert_eq!(talk.next_progress().await, (0, Some(500)));
    assert_eq!(talk.next_progress().await, (1, Some(700)));
}

#[tokio::test]
async fn messages_stop_once_the_attempt_is_over_in_the_log() {
    let mut talk = Talk::begin(|plan| plan.answers([refuse_with(Refusal::NotRunning(attempt(1)))])).await;
    talk.says(r#"{"progress":0.5}"#);
    talk.next_progress().await;
    for _ in 0..20 {
        talk.says("more");
    }
    talk.ends();
    talk.world.report().await;
}

#[tokio::test]
async fn attempt_is_not_reported_until_its_last_message_is_accepted() {
    let mut talk = Talk::begin(|plan| plan.time_in_hand().answers([Err(SubmitError::StorageFull)])).await;
    talk.says(r#"{"emit":{"trigger":"test.t","payload":{}}}"#);
    talk.ends();
    // The program is read to its end, and its message waits for space that never comes.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let stopped = talk.world.executor.stop(Duration::ZERO).await;
    assert_eq!(stopped.ended, [attempt(1)]);
    assert!(talk.world.asked.try_recv().is_err(), "its end is reported, and its messages are not");
}
