//! Lines that are appended to files. A file is followed by its device, its number and its first bytes, so that it is
//! found again after it was renamed, and a new file of the same name is read from its beginning.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use ensue_engine::catalog::{FileSource, FileStart};
use ensue_engine::record::Digest;
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use ensue_sensors::message::{Body, Lag, Message, Room, Token};
use serde_json::{Map, Value, json};

use super::folder::{Folder, Look};
use super::wake::Wake;
use super::{blocking, foreign_cursor, start_of};
use crate::Pending;
use crate::error::{SensorErrorKind, SourceError};
use crate::lines::{Line, LineReader};
use crate::process::CURSOR_BYTES_MAX;
use crate::source::{Guarantee, Pulled, Source};
use crate::world::World;

/// The number of bytes at the beginning of a file that identify it.
const HEAD_BYTES: u64 = 256;
/// The number of bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// The number of bytes that are read of one file before the next one has its turn.
const TURN_BYTES_MAX: u64 = 1 << 20;

/// The lines of files, over one run.
pub(super) struct Tail {
    file: Arc<FileSource>,
    folder: Arc<Folder>,
    world: Arc<World>,
    wake: Wake,
    /// How far each file is settled, by its path below the folder.
    settled: Offsets,
    /// How far each file was read.
    read: Offsets,
    queue: VecDeque<Queued>,
    held: VecDeque<Held>,
    /// The offsets differ from those of the cursor although no line was read.
    has_moved: bool,
    last: u64,
    newest_at: Option<Timestamp>,
}

type Offsets = BTreeMap<String, Place>;

/// How far a file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
    /// The number of bytes at the beginning that were hashed, and their hash.
    head: (u64, String),
    /// The number of bytes before the first line that is not a message.
    offset: u64,
}

struct Queued {
    line: Line,
    below: String,
    after: Place,
}

struct Held {
    token: Token,
    /// The offset after the message; `None` if all offsets moved.
    after: Option<(String, Place)>,
    /// All offsets, if the message only moves the cursor.
    all: Option<Offsets>,
}

pub(super) async fn open(
    file: Arc<FileSource>,
    folder: Arc<Folder>,
    world: Arc<World>,
    cursor: Option<&Document>,
) -> Result<Box<dyn Source>, SourceError> {
    let wake = Wake::of(folder.base(), folder.is_deep(), &world);
    let settled = match cursor {
        Some(cursor) => read_cursor(cursor).ok_or_else(foreign_cursor)?,
        None => Offsets::new(),
    };
    let mut read = settled.clone();
    if cursor.is_none() && start_of(&file, &world) == FileStart::Now {
        let folder = Arc::clone(&folder);
        read = blocking(move || ends(&folder)).await??;
    }
    let has_moved = cursor.is_none();
    Ok(Box::new(Tail {
        file,
        folder,
        world,
        wake,
        settled,
        read,
        queue: VecDeque::new(),
        held: VecDeque::new(),
        has_moved,
        last: 0,
        newest_at: None,
    }))
}

impl Tail {
    async fn pull(&mut self, room: Room) -> Result<Pulled, SourceError> {
        loop {
            if self.has_moved {
                self.has_moved = false;
                return Ok(Pulled::Messages(vec![self.progress()?]));
            }
            if !self.queue.is_empty() {
                return Ok(Pulled::Messages(self.messages(room)));
            }
            let (folder, read) = (Arc::clone(&self.folder), self.read.clone());
            let Grown { read, queue, is_more } = blocking(move || grown(&folder, read)).await??;
            let is_moved = read.keys().ne(self.read.keys());
            self.read = read;
            self.queue = queue.into();
            if !self.queue.is_empty() {
                self.newest_at = Some(self.world.clock.now());
            } else if is_moved && self.held.is_empty() {
                self.has_moved = true;
            } else if !is_more {
                self.wake.wait(&self.world, self.file.rescan).await;
            }
        }
    }

    fn progress(&mut self) -> Result<Message, SourceError> {
        let bytes = written(&self.read).bytes().len();
        if bytes > CURSOR_BYTES_MAX {
            let message = format!("what is known of the files has {bytes} bytes; the limit is {CURSOR_BYTES_MAX}; follow fewer files");
            return Err(SourceError::new(SensorErrorKind::Limit, message));
        }
        let token = self.next_token();
        self.held.push_back(Held { token, after: None, all: Some(self.read.clone()) });
        Ok(Message { token, body: Body::Progress, about: Map::new(), key: None, time: None })
    }

    fn messages(&mut self, room: Room) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        while messages.len() < room.messages && bytes < room.bytes {
            let Some(Queued { line, below, after }) = self.queue.pop_front() else { break };
            let body = match line {
                Line::Whole(bytes) => Body::Bytes(bytes),
                Line::Cut { head, whole } => Body::Cut { head, whole },
            };
            bytes += body.len();
            let path = self.folder.path(&below).to_string_lossy().into_owned();
            let name = below.rsplit('/').next().unwrap_or(&below);
            let file = json!({ "path": path, "name": name, "bytes": after.offset, "change": "modified" });
            let token = self.next_token();
            let about = Map::from_iter([("file".to_owned(), file)]);
            messages.push(Message { token, body, about, key: None, time: None });
            self.held.push_back(Held { token, after: Some((below, after)), all: None });
        }
        messages
    }

    fn next_token(&mut self) -> Token {
        self.last += 1;
        Token(self.last)
    }
}

impl Held {
    fn on(&self, offsets: &mut Offsets) {
        if let Some(all) = &self.all {
            offsets.clone_from(all);
        }
        if let Some((below, place)) = &self.after {
            offsets.insert(below.clone(), place.clone());
        }
    }
}

impl Source for Tail {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactByCursor
    }

    fn next(&mut self, room: Room) -> Pending<'_, Result<Pulled, SourceError>> {
        Box::pin(self.pull(room))
    }

    fn cursor_at(&self, last: Token) -> Option<Document> {
        let mut offsets = self.settled.clone();
        self.held.iter().take_while(|held| held.token <= last).for_each(|held| held.on(&mut offsets));
        Some(written(&offsets))
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

/// What was appended.
struct Grown {
    read: Offsets,
    queue: Vec<Queued>,
    /// There is more to read at once.
    is_more: bool,
}

/// Returns the ends of all files, so that nothing that is in them is read.
fn ends(folder: &Folder) -> Result<Offsets, SourceError> {
    let mut offsets = Offsets::new();
    for below in folder.scan()?.into_keys() {
        let Ok(file) = folder.open_file(&below) else { continue };
        if let Ok(look) = Look::at(&file)
            && let Ok(place) = Place::at(&file, &look, look.bytes)
        {
            offsets.insert(below, place);
        }
    }
    Ok(offsets)
}

/// Reads what was appended to the files. A file that cannot be read is looked at again later.
fn grown(folder: &Folder, mut read: Offsets) -> Result<Grown, SourceError> {
    let there = folder.scan()?;
    let mut grown = Grown { read: Offsets::new(), queue: Vec::new(), is_more: false };
    for (below, look) in there {
        let before = read.remove(&below);
        let is_grown = before.as_ref().is_none_or(|place| !place.is_of(&look) || place.offset != look.bytes);
        if !is_grown {
            grown.read.extend(before.map(|place| (below, place)));
            continue;
        }
        if let Ok(place) = grown_file(folder, &below, before.as_ref(), &mut grown) {
            grown.read.insert(below, place);
        } else if let Some(before) = before {
            grown.read.insert(below, before);
        }
    }
    // A file that is gone may have been renamed: what was appended before that is read by its number.
    for (below, place) in read {
        if let Some(file) = renamed(folder, &below, &place) {
            let _ = lines(&file, &below, &place, Last::Complete, &mut grown);
        }
    }
    Ok(grown)
}

fn grown_file(folder: &Folder, below: &str, before: Option<&Place>, grown: &mut Grown) -> io::Result<Place> {
    let file = folder.open_file(below)?;
    let look = Look::at(&file)?;
    let place = match before {
        Some(place) if place.is_of(&look) && place.offset <= look.bytes && place.has_head_of(&file)? => place.clone(),
        Some(place) => {
            // Another file has its name now. The rest of the one that was followed comes first.
            if !place.is_of(&look)
                && let Some(old) = renamed(folder, below, place)
            {
                lines(&old, below, place, Last::Complete, grown)?;
            }
            Place::at(&file, &look, 0)?
        }
        None => Place::at(&file, &look, 0)?,
    };
    lines(&file, below, &place, Last::Awaited, grown)
}

/// Whether a last line without a line break is a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// It is: nothing more will be appended.
    Complete,
    /// Its end is awaited.
    Awaited,
}

/// Reads the lines after a place, and returns the place after them.
fn lines(file: &File, below: &str, from: &Place, last: Last, grown: &mut Grown) -> io::Result<Place> {
    let before = grown.queue.len();
    let mut reader = LineReader::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut at, mut place) = (from.offset, from.clone());
    loop {
        let count = file.read_at(&mut chunk, at)?;
        // What was read before the last line break belongs to complete lines.
        for piece in chunk[..count].split_inclusive(|byte| *byte == b'\n') {
            reader.push(piece);
            at += piece.len() as u64;
            while let Some(line) = reader.next() {
                place.offset = at;
                grown.queue.push(Queued { line, below: below.to_owned(), after: place.clone() });
            }
        }
        let is_turn_over = at - from.offset >= TURN_BYTES_MAX && place.offset > from.offset;
        if is_turn_over && last == Last::Awaited {
            grown.is_more = true;
            break;
        }
        if count == 0 {
            if last == Last::Complete
                && let Some(line) = reader.finish()
            {
                place.offset = at;
                grown.queue.push(Queued { line, below: below.to_owned(), after: place.clone() });
            }
            break;
        }
    }
    let (hashed, _) = place.head;
    if hashed < HEAD_BYTES && place.offset > hashed {
        place.head = head(file, place.offset)?;
        for queued in &mut grown.queue[before..] {
            queued.after.head.clone_from(&place.head);
        }
    }
    Ok(place)
}

/// Finds a followed file under another name in its folder.
fn renamed(folder: &Folder, below: &str, place: &Place) -> Option<File> {
    let path = folder.path(below);
    let beside = path.parent().unwrap_or(Path::new("/"));
    let within = below.rsplit_once('/').map_or(String::new(), |(within, _)| format!("{within}/"));
    for entry in fs::read_dir(beside).ok()?.flatten() {
        let Ok(about) = entry.metadata() else { continue };
        if !about.is_file() || (about.dev(), about.ino()) != (place.device, place.inode) || about.size() < place.offset {
            continue;
        }
        let name = entry.file_name().into_string().ok()?;
        let file = folder.open_file(&format!("{within}{name}")).ok()?;
        return place.has_head_of(&file).ok()?.then_some(file);
    }
    None
}

impl Place {
    fn at(file: &File, look: &Look, offset: u64) -> io::Result<Self> {
        Ok(Self { device: look.device, inode: look.inode, head: head(file, offset)?, offset })
    }

    /// Returns true if it is a place in the file with this device and number.
    fn is_of(&self, look: &Look) -> bool {
        (self.device, self.inode) == (look.device, look.inode)
    }

    /// Returns true if a file begins as the followed one did.
    fn has_head_of(&self, file: &File) -> io::Result<bool> {
        Ok(head(file, self.head.0)? == self.head)
    }
}

/// Hashes the beginning of a file, at most its first bytes and at most as many as are known.
fn head(file: &File, known: u64) -> io::Result<(u64, String)> {
    let wanted = known.min(HEAD_BYTES);
    let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    let digest = Digest::of(&bytes[..filled]).to_string();
    Ok((filled as u64, digest[..16].to_owned()))
}

fn written(offsets: &Offsets) -> Document {
    let places = offsets.iter().map(|(below, place)| {
        let Place { device, inode, head: (bytes, hash), offset } = place;
        (below.clone(), json!([device, inode, bytes, hash, offset]))
    });
    Document::from_value(&json!({ "tail": places.collect::<Map<String, Value>>() }))
}

fn read_cursor(cursor: &Document) -> Option<Offsets> {
    let value = cursor.root().to_value();
    let places = value.get("tail")?.as_object()?;
    let place = |place: &Value| {
        let number = |index: usize| place.get(index).and_then(Value::as_u64);
        let hash = place.get(3)?.as_str()?.to_owned();
        Some(Place { device: number(0)?, inode: number(1)?, head: (number(2)?, hash), offset: number(4)? })
    };
    places.iter().map(|(below, written)| Some((below.clone(), place(written)?))).collect()
}
