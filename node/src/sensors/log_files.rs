//! The logs of sensors on disk: two files for each sensor take turns, so that the oldest lines go.
//!
//! One thread writes all of them, so that nobody who adds a line waits for the disk. A line that cannot be written is
//! lost, and said to be.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ensue_api::ports::SensorLine;
use ensue_engine::ids::SensorId;
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The size in bytes at which the other file of a sensor is truncated and used.
const FILE_BYTES_MAX: u64 = 5 << 20;
/// The maximum number of lines that wait for the disk.
const WAITING_MAX: usize = 10_000;
/// The maximum number of files that are kept open.
const OPEN_MAX: usize = 64;
/// The names of the files of a sensor.
const NAMES: [&str; 2] = ["0.jsonl", "1.jsonl"];

/// The logs of all sensors. A clone is the same.
#[derive(Clone)]
pub(super) struct LogFiles {
    folder: Arc<Path>,
    to: SyncSender<Todo>,
    /// How many lines were lost since the last one that was written.
    lost: Arc<AtomicU64>,
}

/// What the thread does.
enum Todo {
    Add(SensorId, SensorLine),
    Remove(SensorId),
}

/// A line as it is on disk.
#[derive(Serialize, Deserialize)]
struct StoredLine {
    number: u64,
    time: Timestamp,
    text: String,
}

impl LogFiles {
    /// Starts the thread, which ends with the last clone. Removes the logs of sensors that are gone.
    pub(super) fn open(folder: PathBuf, is_there: impl Fn(SensorId) -> bool) -> io::Result<Self> {
        let (to, todo) = sync_channel(WAITING_MAX);
        let folder: Arc<Path> = folder.into();
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(&folder)?.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(SensorId);
            if let Some(id) = id.filter(|id| !is_there(*id)) {
                remove(&folder, id);
            }
        }
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer { folder: folder.clone(), open: BTreeMap::new(), has_failed: false };
        std::thread::Builder::new().name("sensor-logs".to_owned()).spawn(move || writer.work(&todo))?;
        Ok(Self { folder, to, lost })
    }

    /// Adds a line. Never blocks.
    pub(super) fn add(&self, id: SensorId, line: SensorLine) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let text = format!("{lost} lines of sensors are missing here: they came faster than the disk took them");
            let said = SensorLine { number: line.number.saturating_sub(1), time: line.time, text };
            if self.to.try_send(Todo::Add(id, said)).is_err() {
                self.lost.fetch_add(lost, Ordering::Relaxed);
            }
        }
        if self.to.try_send(Todo::Add(id, line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes the log of a sensor that is gone.
    pub(super) fn remove(&self, id: SensorId) {
        // If the thread is that busy, the next start removes it.
        let _ = self.to.try_send(Todo::Remove(id));
    }

    /// Returns the lines of a sensor after a number and before another, the oldest first. Blocking.
    pub(super) fn between(&self, id: SensorId, after: u64, before: u64) -> Vec<SensorLine> {
        let mut lines = Vec::new();
        for name in NAMES {
            let Ok(file) = File::open(self.folder.join(id.to_string()).join(name)) else { continue };
            // A line that was cut off by the end of the node is invalid JSON.
            let written = BufReader::new(file).split(b'\n').map_while(Result::ok);
            let read = written.filter_map(|line| serde_json::from_slice::<StoredLine>(&line).ok());
            let wanted = read.filter(|line| line.number > after && line.number < before);
            lines.extend(wanted.map(|StoredLine { number, time, text }| SensorLine { number, time, text }));
        }
        lines.sort_by_key(|line| line.number);
        lines
    }
}

/// The thread that writes.
struct Writer {
    folder: Arc<Path>,
    open: BTreeMap<SensorId, Current>,
    /// Whether the last line could not be written, so that a full disk is reported once.
    has_failed: bool,
}

/// The file of a sensor that is written now.
struct Current {
    file: File,
    place: usize,
    bytes: u64,
}

impl Writer {
    fn work(&mut self, todo: &Receiver<Todo>) {
        while let Ok(todo) = todo.recv() {
            match todo {
                Todo::Add(id, line) => {
                    let written = self.add(id, line);
                    if let Err(why) = &written
                        && !self.has_failed
                    {
                        tracing::warn!(sensor = %id, %why, "the log of a sensor cannot be written to the disk");
                    }
                    self.has_failed = written.is_err();
                }
                Todo::Remove(id) => {
                    self.open.remove(&id);
                    remove(&self.folder, id);
                }
            }
        }
    }

    fn add(&mut self, id: SensorId, line: SensorLine) -> io::Result<()> {
        let SensorLine { number, time, text } = line;
        let mut bytes = serde_json::to_vec(&StoredLine { number, time, text })?;
        bytes.push(b'\n');
        let mut current = match self.open.remove(&id) {
            Some(current) => current,
            None => Current::open(&self.folder.join(id.to_string()))?,
        };
        if current.bytes >= FILE_BYTES_MAX {
            current = Current::begin(&self.folder.join(id.to_string()), 1 - current.place)?;
        }
        current.file.write_all(&bytes)?;
        current.bytes += bytes.len() as u64;
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        self.open.insert(id, current);
        Ok(())
    }
}

impl Current {
    /// Continues the newer file of a sensor.
    fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let begins = NAMES.map(|name| first_number(&folder.join(name)));
        let place = usize::from(begins[1] > begins[0]);
        let mut file = OpenOptions::new().create(true).append(true).open(folder.join(NAMES[place]))?;
        let bytes = file.metadata()?.len();
        if bytes > 0 {
            // The last line may have been cut off.
            file.write_all(b"\n")?;
        }
        Ok(Self { file, place, bytes })
    }

    fn begin(folder: &Path, place: usize) -> io::Result<Self> {
        Ok(Self { file: File::create(folder.join(NAMES[place]))?, place, bytes: 0 })
    }
}

/// Returns the number of the first line of a file, if it has one.
fn first_number(path: &Path) -> Option<u64> {
    let mut line = Vec::new();
    BufReader::new(File::open(path).ok()?).read_until(b'\n', &mut line).ok()?;
    serde_json::from_slice::<StoredLine>(&line).ok().map(|line| line.number)
}

fn remove(folder: &Path, id: SensorId) {
    let folder = folder.join(id.to_string());
    if let Err(why) = std::fs::remove_dir_all(&folder)
        && why.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %why, "the log of a sensor that is gone cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;

    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

    fn id(number: u128) -> SensorId {
        SensorId(Id::root(NOON, number))
    }

    fn line(number: u64, text: &str) -> SensorLine {
        SensorLine { number, time: NOON, text: text.to_owned() }
    }

    fn writer(folder: &Path) -> Writer {
        Writer { folder: folder.into(), open: BTreeMap::new(), has_failed: false }
    }

    fn numbers(files: &LogFiles, id: SensorId, after: u64) -> Vec<u64> {
        files.between(id, after, u64::MAX).iter().map(|line| line.number).collect()
    }

    #[test]
    fn lines_survive_a_restart_and_a_line_that_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        writer(folder.path()).add(id(1), line(1, "one")).unwrap();
        let path = folder.path().join(id(1).to_string()).join(NAMES[0]);
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"{\"number\":2,\"ti").unwrap();
        writer(folder.path()).add(id(1), line(3, "three")).unwrap();
        let files = LogFiles::open(folder.path().to_owned(), |_| true).unwrap();
        assert_eq!(numbers(&files, id(1), 0), [1, 3]);
        assert_eq!(numbers(&files, id(1), 1), [3]);
        assert_eq!(files.between(id(1), 0, 3)[0].text, "one");
    }

    #[test]
    fn oldest_lines_go_when_two_files_are_full() {
        let folder = tempfile::tempdir().unwrap();
        let text = "x".repeat(4 << 10);
        let lines = 3 * FILE_BYTES_MAX / (4 << 10);
        let mut one = writer(folder.path());
        (1..=lines / 2).for_each(|number| one.add(id(1), line(number, &text)).unwrap());
        // Another node continues in the newer file.
        let mut next = writer(folder.path());
        (lines / 2 + 1..=lines).for_each(|number| next.add(id(1), line(number, &text)).unwrap());
        let files = LogFiles::open(folder.path().to_owned(), |_| true).unwrap();
        let kept = numbers(&files, id(1), 0);
        assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1), "the lines that are kept are the last ones, in order");
        assert!(kept.last() == Some(&lines) && kept[0] > 1 && kept.len() as u64 > lines / 3, "{} of {lines}", kept.len());
    }

    #[test]
    fn log_of_a_sensor_that_is_gone_is_removed_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        (1..3).for_each(|number| writer(folder.path()).add(id(number), line(1, "one")).unwrap());
        let files = LogFiles::open(folder.path().to_owned(), |known| known == id(1)).unwrap();
        assert_eq!((numbers(&files, id(1), 0).len(), numbers(&files, id(2), 0).len()), (1, 0));
    }
}
