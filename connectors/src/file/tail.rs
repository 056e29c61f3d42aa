//! Lines that are appended to files. A file is its device and its number, whatever its name, so that it is followed when
//! it is renamed. The last bytes that were read show whether it is still the same file.
//!
//! `tail/position.rs` has the places, `tail/growth.rs` finds what was appended.

mod growth;
mod position;

use std::collections::VecDeque;
use std::sync::Arc;

use ensue_engine::catalog::{FileSource, FileStart};
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use ensue_sensors::message::{Body, Lag, Message, Room, Token};
use serde_json::{Map, json};

use super::folder::Folder;
use super::wake::Wake;
use super::{blocking, foreign_cursor, start_of};
use crate::Pending;
use crate::error::{SensorErrorKind, SourceError};
use crate::line_reader::BoundedLine;
use crate::process::CURSOR_BYTES_MAX;
use crate::source::{Guarantee, MessageSource, PullOutcome};
use crate::world::World;
use growth::{Growth, LastLook, QueuedLine, ends, read_growth};
use position::{ReadPosition, ReadPositions};

/// The lines of files, over one run.
pub(super) struct FileTail {
    file: Arc<FileSource>,
    folder: Arc<Folder>,
    world: Arc<World>,
    wake: Wake,
    /// How far each file is settled.
    settled: ReadPositions,
    /// How far each file was read.
    read: ReadPositions,
    /// What the last look found of each file.
    seen: LastLook,
    queue: VecDeque<QueuedLine>,
    /// How far each file was read before the first line of the queue, if that one was not returned yet.
    before_lines: Option<ReadPositions>,
    held: VecDeque<UnsettledPosition>,
    /// The cursor is to be written although no line was read.
    has_moved: bool,
    last: u64,
    newest_at: Option<Timestamp>,
}

struct UnsettledPosition {
    token: Token,
    after: PositionUpdate,
}

/// What a message changes in what is settled.
enum PositionUpdate {
    /// A file was read to this place.
    One(ReadPosition),
    /// These are all places.
    All(ReadPositions),
}

/// Returns true if a document has the places of files that are read.
pub(super) fn reads(cursor: &Document) -> bool {
    ReadPositions::read(cursor).is_some()
}

pub(super) async fn open(
    file: Arc<FileSource>,
    folder: Arc<Folder>,
    world: Arc<World>,
    cursor: Option<&Document>,
) -> Result<Box<dyn MessageSource>, SourceError> {
    let wake = Wake::of(folder.base(), folder.is_deep(), &world);
    let settled = match cursor {
        Some(cursor) => ReadPositions::read(cursor).ok_or_else(foreign_cursor)?,
        None => ReadPositions::default(),
    };
    let mut read = settled.clone();
    if cursor.is_none() && start_of(&file, &world) == FileStart::Now {
        let folder = Arc::clone(&folder);
        read = blocking(move || ends(&folder)).await??;
    }
    let has_moved = cursor.is_none();
    Ok(Box::new(FileTail {
        file,
        folder,
        world,
        wake,
        settled,
        read,
        seen: LastLook::default(),
        queue: VecDeque::new(),
        before_lines: None,
        held: VecDeque::new(),
        has_moved,
        last: 0,
        newest_at: None,
    }))
}

impl FileTail {
    async fn pull(&mut self, room: Room) -> Result<PullOutcome, SourceError> {
        loop {
            if self.has_moved {
                self.has_moved = false;
                return Ok(PullOutcome::Messages(vec![self.progress()?]));
            }
            if !self.queue.is_empty() {
                return Ok(PullOutcome::Messages(self.messages(room)));
            }
            let (folder, read, seen) = (Arc::clone(&self.folder), self.read.clone(), self.seen.clone());
            let now = self.world.clock.now();
            let Growth { read, before_lines, seen, queue, is_more, next } =
                blocking(move || read_growth(&folder, read, seen, now)).await??;
            (self.read, self.seen, self.queue) = (read, seen, queue.into());
            if !self.queue.is_empty() {
                self.newest_at = Some(self.world.clock.now());
                self.before_lines = Some(before_lines);
            } else if self.held.is_empty() && self.read != self.settled {
                self.has_moved = true;
            } else if !is_more {
                let wait = next.map_or(self.file.rescan, |next| next.min(self.file.rescan));
                self.wake.wait(&self.world, wait).await;
            }
        }
    }

    fn progress(&mut self) -> Result<Message, SourceError> {
        let bytes = self.read.to_document().bytes().len();
        if bytes > CURSOR_BYTES_MAX {
            let message = format!("what is known of the files has {bytes} bytes; the limit is {CURSOR_BYTES_MAX}; follow fewer files");
            return Err(SourceError::new(SensorErrorKind::Limit, message));
        }
        let token = self.next_token();
        self.held.push_back(UnsettledPosition { token, after: PositionUpdate::All(self.read.clone()) });
        Ok(Message { token, body: Body::Progress, about: Map::new(), key: None, time: None })
    }

    fn messages(&mut self, room: Room) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        while messages.len() < room.messages && bytes < room.bytes {
            let Some(QueuedLine { line, after }) = self.queue.pop_front() else { break };
            let body = match line {
                BoundedLine::Whole(bytes) => Body::Bytes(bytes),
                BoundedLine::Cut { head, whole } => Body::Cut { head, whole },
            };
            bytes += body.len();
            let path = self.folder.path(&after.below).to_string_lossy().into_owned();
            let name = after.below.rsplit('/').next().unwrap_or(&after.below);
            let file = json!({ "path": path, "name": name, "bytes": after.offset, "change": "modified" });
            let token = self.next_token();
            let about = Map::from_iter([("file".to_owned(), file)]);
            messages.push(Message { token, body, about, key: None, time: None });
            // A place that moved without a line has no message of its own as long as there are lines.
            let after = match self.before_lines.take() {
                Some(mut all) => {
                    all.insert(after);
                    PositionUpdate::All(all)
                }
                None => PositionUpdate::One(after),
            };
            self.held.push_back(UnsettledPosition { token, after });
        }
        messages
    }

    fn next_token(&mut self) -> Token {
        self.last += 1;
        Token(self.last)
    }
}

impl UnsettledPosition {
    fn on(&self, places: &mut ReadPositions) {
        match &self.after {
            PositionUpdate::One(place) => places.insert(place.clone()),
            PositionUpdate::All(all) => places.clone_from(all),
        }
    }
}

impl MessageSource for FileTail {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactByCursor
    }

    fn next(&mut self, room: Room) -> Pending<'_, Result<PullOutcome, SourceError>> {
        Box::pin(self.pull(room))
    }

    fn cursor_at(&self, last: Token) -> Option<Document> {
        let mut places = self.settled.clone();
        self.held.iter().take_while(|held| held.token <= last).for_each(|held| held.on(&mut places));
        Some(places.to_document())
    }

    fn settle(&mut self, done: &[Token]) -> Pending<'_, Result<(), SourceError>> {
        let newest = done.iter().max().copied();
        while self.held.front().is_some_and(|held| Some(held.token) <= newest) {
            if let Some(held) = self.held.pop_front() {
                held.on(&mut self.settled);
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn lag(&self) -> Lag {
        self.newest_at.map_or(Lag::Unknown, Lag::NewestAt)
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
