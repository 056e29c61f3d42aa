//! Changes of files: each is a message, with the file's content or without it, or each line of the file is one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::{AfterFile, FileChange, FileContent, FileSource, FileStart};
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use ensue_sensors::message::{Body, HEAD_BYTES_MAX, Lag, MESSAGE_BYTES_MAX, Message, Room, Token};
use serde_json::{Map, Value, json};

use super::folder::{Folder, Look};
use super::known_files::{KnownFiles, Partly};
use super::wake::Wake;
use super::{blocking, foreign_cursor, start_of};
use crate::Pending;
use crate::base85::hash;
use crate::error::{SensorErrorKind, SourceError};
use crate::line_reader::{BoundedLine, LineReader};
use crate::process::CURSOR_BYTES_MAX;
use crate::source::{Guarantee, MessageSource, PullOutcome};
use crate::world::World;

/// The maximum size of a file that is read line by line, in bytes. A longer one becomes a dead letter.
pub(super) const LINES_FILE_BYTES_MAX: usize = 32 << 20;

/// Files, over one run.
pub(super) struct Watch {
    file: Arc<FileSource>,
    folder: Arc<Folder>,
    world: Arc<World>,
    wake: Wake,
    /// What is known, without the messages that are not settled.
    known: KnownFiles,
    has_begun: bool,
    /// Files that differ from what is known, since when they are as they are.
    settling: BTreeMap<String, (Look, Timestamp)>,
    /// Changes that are not messages yet, in order.
    ready: VecDeque<(String, Look, FileChange)>,
    /// The messages of the file that was read last.
    queue: VecDeque<QueuedMessage>,
    held: VecDeque<(Token, Effect)>,
    /// The hashes of the paths of files of which a message is not kept anywhere else.
    left: BTreeSet<u64>,
    last: u64,
    newest_at: Option<Timestamp>,
}

struct QueuedMessage {
    body: Body,
    about: Map<String, Value>,
    effect: Effect,
}

/// What a message changes in what is known.
#[derive(Clone)]
enum Effect {
    /// The file is known as it is now.
    Known { below: String, look: Look },
    /// The file is gone.
    Gone { below: String },
    /// Some lines of the file are messages.
    Partly(Partly),
    /// All of it.
    All(Box<KnownFiles>),
}

impl Effect {
    fn on(&self, known: &mut KnownFiles) {
        match self {
            Self::Known { below, look } => known.note(below, look),
            Self::Gone { below } => known.forget(below),
            Self::Partly(partly) => known.partly = Some(*partly),
            Self::All(all) => *known = (**all).clone(),
        }
    }
}

/// Returns true if a document has what is known of files.
pub(super) fn reads(cursor: &Document) -> bool {
    KnownFiles::read(cursor, false).is_some()
}

pub(super) fn open(
    file: Arc<FileSource>,
    folder: Arc<Folder>,
    world: Arc<World>,
    cursor: Option<&Document>,
) -> Result<Box<dyn MessageSource>, SourceError> {
    let has_names = file.on.contains(&FileChange::Removed);
    let known = match cursor {
        Some(cursor) => KnownFiles::read(cursor, has_names).ok_or_else(foreign_cursor)?,
        None => KnownFiles::new(has_names),
    };
    let wake = Wake::of(folder.base(), folder.is_deep(), &world);
    Ok(Box::new(Watch {
        file,
        folder,
        wake,
        known,
        has_begun: cursor.is_some(),
        settling: BTreeMap::new(),
        ready: VecDeque::new(),
        queue: VecDeque::new(),
        held: VecDeque::new(),
        left: BTreeSet::new(),
        last: 0,
        newest_at: None,
        world,
    }))
}

impl Watch {
    async fn pull(&mut self, room: Room) -> Result<PullOutcome, SourceError> {
        loop {
            if !self.queue.is_empty() {
                return Ok(PullOutcome::Messages(self.messages(room)));
            }
            if let Some((below, look, change)) = self.ready.front().cloned() {
                self.read(below, look, change).await?;
                self.ready.pop_front();
                continue;
            }
            if !self.held.is_empty() {
                // The next look compares with what is settled. Settling ends this wait.
                return std::future::pending().await;
            }
            let wait = self.look().await?;
            if self.ready.is_empty() && self.queue.is_empty() {
                self.wake.wait(&self.world, wait).await;
            }
        }
    }

    /// Looks at all files. Returns how long to wait until the next look.
    async fn look(&mut self) -> Result<Duration, SourceError> {
        let folder = Arc::clone(&self.folder);
        let there = blocking(move || folder.scan()).await??;
        let now = self.world.clock.now();
        let mut known = self.known.clone();
        let mut wait = self.file.rescan;
        if !self.has_begun {
            self.has_begun = true;
            if start_of(&self.file, &self.world) == FileStart::Now {
                there.iter().for_each(|(below, look)| known.note(below, look));
                self.progress(known)?;
                return Ok(wait);
            }
        }
        self.settling.retain(|below, _| there.contains_key(below));
        for (below, look) in &there {
            if self.known.is_same(below, look) {
                self.settling.remove(below);
                continue;
            }
            let since = match self.settling.get(below) {
                Some((before, since)) if before == look => *since,
                Some(_) | None => now,
            };
            self.settling.insert(below.clone(), (*look, since));
            let settled_in = micros(self.file.settle).saturating_sub(u64::try_from(now.micros_since(since)).unwrap_or(0));
            if settled_in > 0 {
                wait = wait.min(Duration::from_micros(settled_in));
                continue;
            }
            let change = if self.known.has(below) { FileChange::Modified } else { FileChange::Created };
            if self.file.on.contains(&change) {
                self.ready.push_back((below.clone(), *look, change));
            } else {
                known.note(below, look);
            }
        }
        for below in known.find_removed(&there) {
            let about = self.about(&below, 0, FileChange::Removed);
            self.queue.push_back(QueuedMessage { body: Body::Nothing, about, effect: Effect::Gone { below } });
        }
        if known != self.known && self.queue.is_empty() && self.ready.is_empty() {
            self.progress(known)?;
        }
        Ok(wait)
    }

    /// Moves the cursor without a message.
    fn progress(&mut self, known: KnownFiles) -> Result<(), SourceError> {
        let bytes = known.to_document().bytes().len();
        if bytes > CURSOR_BYTES_MAX {
            let message = format!("what is known of the files has {bytes} bytes; the limit is {CURSOR_BYTES_MAX}; watch fewer files");
            return Err(SourceError::new(SensorErrorKind::Limit, message));
        }
        self.queue.push_back(QueuedMessage { body: Body::Progress, about: Map::new(), effect: Effect::All(Box::new(known)) });
        Ok(())
    }

    /// Reads a file that is ready, and makes its messages. A file that changed meanwhile has to settle again.
    async fn read(&mut self, below: String, look: Look, change: FileChange) -> Result<(), SourceError> {
        self.settling.remove(&below);
        let known = Effect::Known { below: below.clone(), look };
        let about = self.about(&below, look.bytes, change);
        let content = self.file.content;
        if content == FileContent::Nothing {
            self.queue.push_back(QueuedMessage { body: Body::Nothing, about, effect: known });
            return Ok(());
        }
        let most = if content == FileContent::Lines { LINES_FILE_BYTES_MAX } else { MESSAGE_BYTES_MAX };
        let (folder, name) = (Arc::clone(&self.folder), below.clone());
        let bytes = match blocking(move || read(&folder, &name, &look, most)).await? {
            Ok(Some(bytes)) => bytes,
            // It changed while it was read. The next look finds it.
            Ok(None) => return Ok(()),
            Err(error) => {
                self.world.lines.add(format!("the file `{below}` cannot be read: {error}"));
                return Ok(());
            }
        };
        self.newest_at = Some(self.world.clock.now());
        if bytes.len() > most {
            let body = Body::Cut { head: Bytes::copy_from_slice(&bytes[..HEAD_BYTES_MAX]), whole: look.bytes };
            self.queue.push_back(QueuedMessage { body, about, effect: known });
        } else if content == FileContent::Lines {
            self.queue_lines(&bytes, &below, &look, (about, known));
        } else {
            let mut about = about;
            if let Some(file) = about.get_mut("file").and_then(Value::as_object_mut) {
                file.insert("sha256".to_owned(), sha256(&bytes).into());
            }
            self.queue.push_back(QueuedMessage { body: Body::Bytes(bytes), about, effect: known });
        }
        Ok(())
    }

    fn queue_lines(&mut self, bytes: &[u8], below: &str, look: &Look, (about, known): (Map<String, Value>, Effect)) {
        let mut reader = LineReader::default();
        reader.push(bytes);
        let mut lines: Vec<BoundedLine> = std::iter::from_fn(|| reader.next()).collect();
        lines.extend(reader.finish());
        let done = self.known.partly.filter(|partly| partly.is_of(below, look)).map_or(0, |partly| partly.lines);
        let count = lines.len();
        for (index, line) in lines.into_iter().enumerate().skip(done) {
            let mut about = about.clone();
            if let Some(file) = about.get_mut("file").and_then(Value::as_object_mut) {
                file.insert("line".to_owned(), (index + 1).into());
            }
            let effect = if index + 1 == count { known.clone() } else { Effect::Partly(Partly::of(below, look, index + 1)) };
            let body = match line {
                BoundedLine::Whole(bytes) => Body::Bytes(bytes),
                BoundedLine::Cut { head, whole } => Body::Cut { head, whole },
            };
            self.queue.push_back(QueuedMessage { body, about, effect });
        }
        if count <= done {
            self.queue.push_back(QueuedMessage { body: Body::Progress, about: Map::new(), effect: known });
        }
    }

    fn about(&self, below: &str, bytes: u64, change: FileChange) -> Map<String, Value> {
        let name = below.rsplit('/').next().unwrap_or(below);
        let path = self.folder.path(below).to_string_lossy().into_owned();
        Map::from_iter([("file".to_owned(), json!({ "path": path, "name": name, "bytes": bytes, "change": change.word() }))])
    }

    fn messages(&mut self, room: Room) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        while messages.len() < room.messages && bytes < room.bytes {
            let Some(QueuedMessage { body, about, effect }) = self.queue.pop_front() else { break };
            bytes += body.len();
            self.last += 1;
            let token = Token(self.last);
            self.held.push_back((token, effect));
            messages.push(Message { token, body, about, key: None, time: None });
        }
        messages
    }

    /// Does what the author wants with the files whose messages are in the log. That it fails is no reason to stop.
    async fn finish(&self, finished: Vec<(String, Look)>) {
        if finished.is_empty() || self.file.after == AfterFile::Keep {
            return;
        }
        let (folder, lines) = (Arc::clone(&self.folder), Arc::clone(&self.world.lines));
        let done = blocking(move || {
            for (below, look) in finished {
                if let Err(error) = folder.finish(&below, &look) {
                    lines.add(format!("the file `{below}` stays where it is: {error}"));
                }
            }
        });
        let _ = done.await;
    }
}

impl MessageSource for Watch {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactByCursor
    }

    fn next(&mut self, room: Room) -> Pending<'_, Result<PullOutcome, SourceError>> {
        Box::pin(self.pull(room))
    }

    fn cursor_at(&self, last: Token) -> Option<Document> {
        let mut known = self.known.clone();
        self.held.iter().take_while(|(token, _)| *token <= last).for_each(|(_, effect)| effect.on(&mut known));
        Some(known.to_document())
    }

    fn settle(&mut self, done: &[Token]) -> Pending<'_, Result<(), SourceError>> {
        let newest = done.iter().max().copied();
        let mut finished = Vec::new();
        // What is moved is not lost.
        let stays = |left: &mut BTreeSet<u64>, below: &str| left.remove(&hash(below.as_bytes())) && self.file.after == AfterFile::Delete;
        while self.held.front().is_some_and(|(token, _)| Some(*token) <= newest) {
            if let Some((_, effect)) = self.held.pop_front() {
                effect.on(&mut self.known);
                if let Effect::Known { below, look } = effect {
                    if stays(&mut self.left, &below) {
                        self.world.lines.add(format!("the file `{below}` stays where it is: too many dead letters are open to keep it"));
                    } else {
                        finished.push((below, look));
                    }
                }
            }
        }
        Box::pin(async move {
            self.finish(finished).await;
            Ok(())
        })
    }

    fn leave(&mut self, unkept: &[Token]) {
        let unkept: BTreeSet<Token> = unkept.iter().copied().collect();
        for (_, effect) in self.held.iter().filter(|(token, _)| unkept.contains(token)) {
            match effect {
                Effect::Known { below, .. } => self.left.insert(hash(below.as_bytes())),
                Effect::Partly(partly) => self.left.insert(partly.file),
                Effect::Gone { .. } | Effect::All(_) => continue,
            };
        }
    }

    fn lag(&self) -> Lag {
        self.newest_at.map_or(Lag::Unknown, Lag::NewestAt)
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Reads a file, with one byte more than allowed if it is longer. Returns `None` if it is not what it was, or changes
/// while it is read.
fn read(folder: &Folder, below: &str, was: &Look, most: usize) -> io::Result<Option<Bytes>> {
    let file = match folder.open_file(below) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if Look::at(&file)? != *was {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    (&file).take(most as u64 + 1).read_to_end(&mut bytes)?;
    let is_same = Look::at(&file)? == *was && (bytes.len() as u64 == was.bytes || bytes.len() > most);
    Ok(is_same.then(|| bytes.into()))
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};

    hex::encode(Sha256::digest(bytes))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
