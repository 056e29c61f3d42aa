//! The source `process`: a program that prints one message on each line.
//!
//! The first line of its standard input is `{"input": …, "cursor": …}`. It prints `{"event": …, "cursor": …, "time": …}`,
//! `{"log": …}`, `{"part": …, "state": …, "error": …}`, `{"done": true}`, or any other value, which is an event as it is.
//! For each group of messages whose events are in the log it gets a line `{"ack": n}`, where n counts the messages that
//! it printed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_content::{decode_line, parse_json_text};
use ensue_engine::catalog::{Decode, ProcessSource, Restart, Sensor, TextDecoding};
use ensue_engine::schedule::moment;
use ensue_engine::sensors::facts::{PART_ERROR_BYTES_MAX, PART_NAME_BYTES_MAX};
use ensue_engine::time::Timestamp;
use ensue_expression::{Document, Node, NodeKind};
use ensue_sensors::message::{Body, MESSAGE_BYTES_MAX, Message, Room, Token};
use serde_json::Map;

use crate::Pending;
use crate::error::{SensorErrorKind, SourceError};
use crate::line_reader::{BoundedLine, LineReader};
use crate::source::{Guarantee, MessageSource, PullOutcome};
use crate::world::{PartReport, PartState, Program, ProgramEnd, ProgramOrder, SourcePurpose, World};

/// The maximum number of messages of a program that may wait for their commit.
pub(crate) const AHEAD_LINES_MAX: usize = 1_000;
/// The maximum number of bytes of such messages. One message may exceed it.
pub(crate) const AHEAD_BYTES_MAX: usize = 4 << 20;
/// The maximum size of a cursor, in bytes.
pub(crate) const CURSOR_BYTES_MAX: usize = 256 << 10;
/// How long it takes until a program that ended successfully is started again.
pub(crate) const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// The maximum length of a line of a program's log, in bytes.
const LOG_LINE_BYTES_MAX: usize = 4 << 10;
/// What the sensor's log says of an object with `part` that is an event as it is.
const NO_REPORT: &str = "an object with `part` is not a report of a part, so it is an event: a report has `state` with `running`, \
                         or with `failing` and an `error`, and no other fields";

/// A program, over all its starts within one run.
pub(crate) struct Process {
    sensor: Arc<Sensor>,
    process: Arc<ProcessSource>,
    world: Arc<World>,
    state: State,
    lines: LineReader,
    /// The messages that are not settled, in order.
    held: VecDeque<UnsettledMessage>,
    held_bytes: usize,
    /// The cursor of the newest settled message, or the one that the run began with.
    settled: Option<Document>,
    last: u64,
    /// What was wrong with a line behind messages that are not taken yet.
    broken: Option<SourceError>,
    /// Whether the sensor's log says that an object with `part` is an event. Another start of the program is no news.
    has_said_no_report: bool,
}

enum State {
    Running(ProgramRun),
    /// It ended successfully, and is started again at this time.
    Ended {
        again_at: Timestamp,
        program: Box<dyn Program>,
    },
    /// No more messages follow.
    Done(Option<Box<dyn Program>>),
}

struct ProgramRun {
    program: Box<dyn Program>,
    /// The number of messages of the run before it was started.
    before: u64,
    /// The newest message that the program should learn to be settled, if the line did not fit into its pipe.
    to_tell: Option<Token>,
}

struct UnsettledMessage {
    token: Token,
    bytes: usize,
    cursor: Option<Document>,
}

/// Starts the program.
pub(crate) async fn open(
    sensor: Arc<Sensor>,
    process: Arc<ProcessSource>,
    world: Arc<World>,
    cursor: Option<Document>,
) -> Result<Box<dyn MessageSource>, SourceError> {
    if world.purpose == SourcePurpose::End {
        let why = "only its program knows where the source of a `process` ends";
        return Err(SourceError::new(SensorErrorKind::NotFound, why));
    }
    let mut source = Process {
        sensor,
        process,
        world,
        state: State::Done(None),
        lines: LineReader::default(),
        held: VecDeque::new(),
        held_bytes: 0,
        settled: cursor,
        last: 0,
        broken: None,
        has_said_no_report: false,
    };
    source.start().await?;
    Ok(Box::new(source))
}

impl Process {
    async fn start(&mut self) -> Result<(), SourceError> {
        let order = ProgramOrder {
            sensor: Arc::clone(&self.sensor),
            process: Arc::clone(&self.process),
            keys: Arc::clone(&self.world.keys),
            purpose: self.world.purpose,
            cursor: self.settled.clone(),
            lines: Arc::clone(&self.world.lines),
        };
        let program = self.world.programs.start(order).await?;
        self.world.parts.begin();
        self.lines = LineReader::default();
        self.state = State::Running(ProgramRun { program, before: self.last, to_tell: None });
        Ok(())
    }

    async fn pull(&mut self, room: Room) -> Result<PullOutcome, SourceError> {
        loop {
            if self.is_full() {
                // Until something is settled, the program has to wait. Settling ends this wait.
                return std::future::pending().await;
            }
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            let messages = self.messages(room)?;
            if !messages.is_empty() {
                return Ok(PullOutcome::Messages(messages));
            }
            match &mut self.state {
                State::Done(_) => return Ok(PullOutcome::Done),
                State::Ended { again_at, .. } => {
                    if !self.held.is_empty() {
                        // The program would print the same messages again. Settling ends this wait.
                        return std::future::pending().await;
                    }
                    let left = again_at.micros_since(self.world.clock.now());
                    if let Ok(left @ 1..) = u64::try_from(left) {
                        self.world.clock.sleep(Duration::from_micros(left)).await;
                    }
                    self.start().await?;
                }
                State::Running(running) => {
                    if let Some(bytes) = running.program.read().await? {
                        self.lines.push(&bytes);
                        continue;
                    }
                    let end = running.program.end().await;
                    if let Some(last) = self.handle_end(end)? {
                        return Ok(PullOutcome::Messages(vec![last]));
                    }
                }
            }
        }
    }

    /// Decides what follows the end of the program. Returns the message of a last line without a line break.
    fn handle_end(&mut self, end: ProgramEnd) -> Result<Option<Message>, SourceError> {
        let rest = self.lines.finish();
        match end {
            ProgramEnd::Code(0) => {}
            ProgramEnd::Code(code) => {
                self.log_incomplete_line(rest.as_ref());
                return Err(SourceError::new(SensorErrorKind::Exited, format!("the program ended with exit code {code}")));
            }
            ProgramEnd::Otherwise(how) => {
                self.log_incomplete_line(rest.as_ref());
                return Err(SourceError::new(SensorErrorKind::Exited, format!("the program ended {how}")));
            }
        }
        let again_at = self.world.clock.now().plus_millis(RESTART_PAUSE.as_millis() as u64);
        self.state = match (std::mem::replace(&mut self.state, State::Done(None)), self.process.restart) {
            (State::Running(ProgramRun { program, .. }), Restart::Always) => State::Ended { again_at, program },
            (State::Running(ProgramRun { program, .. }), Restart::OnFailure) => State::Done(Some(program)),
            (over, _) => over,
        };
        rest.map_or(Ok(None), |line| self.message(line))
    }

    fn log_incomplete_line(&self, rest: Option<&BoundedLine>) {
        if rest.is_some() {
            self.world.lines.add("the program ended within a line, which is dropped".to_owned());
        }
    }

    /// Returns the messages of the complete lines that were read, at most as many as there is room for. Those before a line
    /// that ends the run come first.
    fn messages(&mut self, room: Room) -> Result<Vec<Message>, SourceError> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        while messages.len() < room.messages && bytes < room.bytes {
            if matches!(self.state, State::Done(_)) {
                break;
            }
            let Some(line) = self.lines.next() else { break };
            match self.message(line) {
                Ok(Some(message)) => {
                    bytes += message.body.len();
                    messages.push(message);
                }
                Ok(None) => {}
                Err(broken) if messages.is_empty() => return Err(broken),
                Err(broken) => {
                    self.broken = Some(broken);
                    break;
                }
            }
        }
        Ok(messages)
    }

    /// Returns the message of a line, or `None` if the line is not one.
    fn message(&mut self, line: BoundedLine) -> Result<Option<Message>, SourceError> {
        let said = match line {
            BoundedLine::Whole(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => return Ok(None),
            BoundedLine::Whole(bytes) => match self.process.reading.decode {
                Decode::Text => ParsedLine::Event { body: Body::Bytes(bytes), cursor: None, time: None },
                Decode::Json => parse_line(bytes, &self.process.reading.text_decoding, |text| self.mask(text)),
            },
            BoundedLine::Cut { head, whole } => ParsedLine::Event { body: Body::Cut { head, whole }, cursor: None, time: None },
        };
        match said {
            ParsedLine::Log(text) => {
                self.world.lines.add(text);
                Ok(None)
            }
            ParsedLine::Part(report) => {
                self.world.parts.report(report);
                Ok(None)
            }
            ParsedLine::Done => {
                let running = std::mem::replace(&mut self.state, State::Done(None));
                if let State::Running(ProgramRun { program, .. }) | State::Ended { program, .. } = running {
                    self.state = State::Done(Some(program));
                }
                Ok(None)
            }
            ParsedLine::Event { body, cursor, time } => self.event(body, cursor, time),
            ParsedLine::Other(document) => {
                // It may be what the author means. A report with a mistake in it would be missed without a word.
                if document.root().get("part").is_some() && !std::mem::replace(&mut self.has_said_no_report, true) {
                    self.world.lines.add(NO_REPORT.to_owned());
                }
                self.event(Body::Json(document), None, None)
            }
        }
    }

    fn event(&mut self, body: Body, cursor: Option<Document>, time: Option<Timestamp>) -> Result<Option<Message>, SourceError> {
        let cursor_bytes = cursor.as_ref().map_or(0, |cursor| cursor.bytes().len());
        if cursor_bytes > CURSOR_BYTES_MAX {
            let message = format!("the program printed a cursor of {cursor_bytes} bytes; the limit is {CURSOR_BYTES_MAX}");
            return Err(SourceError::new(SensorErrorKind::Limit, message));
        }
        self.last += 1;
        let token = Token(self.last);
        let bytes = body.len() + cursor_bytes;
        self.held_bytes += bytes;
        self.held.push_back(UnsettledMessage { token, bytes, cursor });
        Ok(Some(Message { token, body, about: Map::new(), key: None, time }))
    }

    fn mask(&self, text: &str) -> String {
        match &self.state {
            State::Running(ProgramRun { program, .. }) | State::Ended { program, .. } | State::Done(Some(program)) => program.mask(text),
            State::Done(None) => text.to_owned(),
        }
    }

    fn acknowledge(&mut self, done: &[Token]) {
        let Some(newest) = done.iter().max().copied() else { return };
        while self.held.front().is_some_and(|held| held.token <= newest) {
            if let Some(held) = self.held.pop_front() {
                self.held_bytes -= held.bytes;
                self.settled = held.cursor.or_else(|| self.settled.take());
            }
        }
        let running = match &mut self.state {
            State::Running(running) => running,
            State::Ended { .. } | State::Done(_) => return,
        };
        running.to_tell = running.to_tell.max(Some(newest));
        if let Some(Token(newest)) = running.to_tell
            && let Some(count @ 1..) = newest.checked_sub(running.before)
            && running.program.write(&format!("{{\"ack\": {count}}}"))
        {
            running.to_tell = None;
        }
    }
}

impl MessageSource for Process {
    fn guarantee(&self) -> Guarantee {
        if self.settled.is_some() { Guarantee::ExactByCursor } else { Guarantee::AtLeastOnce }
    }

    fn next(&mut self, room: Room) -> Pending<'_, Result<PullOutcome, SourceError>> {
        Box::pin(self.pull(room))
    }

    fn cursor_at(&self, last: Token) -> Option<Document> {
        let until = self.held.iter().take_while(|held| held.token <= last);
        until.filter_map(|held| held.cursor.as_ref()).last().or(self.settled.as_ref()).cloned()
    }

    fn settle(&mut self, done: &[Token]) -> Pending<'_, Result<(), SourceError>> {
        self.acknowledge(done);
        Box::pin(std::future::ready(Ok(())))
    }

    fn is_full(&self) -> bool {
        self.held.len() >= AHEAD_LINES_MAX || self.held_bytes >= AHEAD_BYTES_MAX
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            let grace = self.process.grace;
            match self.state {
                State::Running(ProgramRun { program, .. }) | State::Done(Some(program)) => program.stop(grace).await,
                State::Ended { .. } | State::Done(None) => {}
            }
        })
    }
}

/// What a line says. Texts for people have no values of keys.
enum ParsedLine {
    Event {
        body: Body,
        cursor: Option<Document>,
        time: Option<Timestamp>,
    },
    Log(String),
    Part(PartReport),
    Done,
    /// A value that the protocol does not have, which is an event as it is.
    Other(Document),
}

/// Reads a line as the protocol. A line that is not of it is an event as it is, or no JSON, which is found out later: a program
/// may hand on what others wrote, and that must not be an error of the program.
fn parse_line(line: Bytes, decoding: &TextDecoding, mask: impl Fn(&str) -> String) -> ParsedLine {
    // Decoded bytes may be longer than they were. A line that is too long then is refused as it is.
    let text = decode_line(&line, decoding.charset.as_deref(), decoding.invalid).ok().filter(|text| text.len() <= MESSAGE_BYTES_MAX);
    let document = text.and_then(|text| parse_json_text(text, decoding.invalid).ok());
    let Some(document) = document else { return ParsedLine::Event { body: Body::Bytes(line), cursor: None, time: None } };
    let root = document.root();
    if root.kind() != NodeKind::Object {
        return ParsedLine::Other(document);
    }
    let has_only = |names: &[&str]| root.entries().all(|(name, _)| names.contains(&&*name));
    if let Some(event) = root.get("event").filter(|_| has_only(&["event", "cursor", "time"])) {
        let cursor = root.get("cursor").filter(|cursor| !cursor.is_null()).map(Node::to_document);
        let time = root.get("time").and_then(Node::as_str).and_then(|time| moment(&time).ok());
        return ParsedLine::Event { body: Body::Json(event.to_document()), cursor, time };
    }
    if let Some(log) = root.get("log").filter(|_| has_only(&["log"])) {
        let mut text = mask(&log.as_str().unwrap_or_else(|| log.raw().into()));
        text.truncate(text.floor_char_boundary(LOG_LINE_BYTES_MAX));
        return ParsedLine::Log(text);
    }
    if has_only(&["part", "state", "error"])
        && let Some(report) = part_report(root, mask)
    {
        return ParsedLine::Part(report);
    }
    if root.get("done").and_then(Node::as_bool) == Some(true) && has_only(&["done"]) {
        return ParsedLine::Done;
    }
    ParsedLine::Other(document)
}

/// Reads what an object says of a part. Returns `None` if that is nothing which the protocol has.
fn part_report(root: Node<'_>, mask: impl Fn(&str) -> String) -> Option<PartReport> {
    let name = mask(&root.get("part")?.as_str()?);
    if name.is_empty() || name.len() > PART_NAME_BYTES_MAX {
        return None;
    }
    let error = root.get("error").filter(|error| !error.is_null());
    let state = match (&*root.get("state")?.as_str()?, error) {
        ("running", None) => PartState::Running,
        ("failing", Some(error)) => {
            let mut error = mask(&error.as_str().filter(|error| !error.is_empty())?);
            error.truncate(error.floor_char_boundary(PART_ERROR_BYTES_MAX));
            PartState::Failing { error }
        }
        _ => return None,
    };
    Some(PartReport { name, state })
}
