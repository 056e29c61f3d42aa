//! The own log of each sensor: what its source and its program say, and how its runs end. The last lines are kept in
//! memory, and more of them on disk, for people; nothing else reads them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use ensue_api::ports::SensorLine;
use ensue_connectors::world::LineSink;
use ensue_engine::ids::SensorId;

use super::log_files::LogFiles;
use crate::clock::SteppedClock;

/// The maximum number of lines of a sensor that are kept in memory.
pub(super) const LINES_MAX: usize = 1_000;
/// The maximum length of a line in bytes; the rest is cut off.
pub(super) const LINE_BYTES_MAX: usize = 4 * 1024;

/// The last lines of a sensor.
pub(super) struct SensorLog {
    clock: Arc<dyn SteppedClock>,
    lines: Mutex<VecDeque<SensorLine>>,
    /// Where its lines are kept on disk, unless they are only for a test of the sensor.
    on_disk: Option<(SensorId, LogFiles)>,
}

impl SensorLog {
    pub(super) fn new(clock: Arc<dyn SteppedClock>, on_disk: Option<(SensorId, LogFiles)>) -> Arc<Self> {
        Arc::new(Self { clock, lines: Mutex::default(), on_disk })
    }

    /// Returns the lines in memory after the one with this number, the oldest first.
    pub(super) fn after(&self, number: u64) -> Vec<SensorLine> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.number > number).cloned().collect()
    }
}

impl LineSink for SensorLog {
    fn add(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // The number grows with time, so that it also grows over restarts.
        let time = self.clock.now();
        let number = u64::try_from(time.micros()).unwrap_or(0).max(lines.back().map_or(1, |line| line.number + 1));
        if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        let line = SensorLine { number, time, text: shorten(line) };
        if let Some((id, files)) = &self.on_disk {
            files.add(*id, line.clone());
        }
        lines.push_back(line);
    }
}

/// Cuts a line at a character boundary.
fn shorten(mut line: String) -> String {
    if line.len() > LINE_BYTES_MAX {
        let end = (0..=LINE_BYTES_MAX).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn log_keeps_the_last_lines_in_order() {
        let log = SensorLog::new(Arc::new(SystemClock::default()), None);
        (1..=LINES_MAX + 5).for_each(|number| log.add(format!("line {number}")));
        let lines = log.after(0);
        assert_eq!((lines.len(), lines[0].text.as_str()), (LINES_MAX, "line 6"));
        assert!(lines.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!(log.after(lines[LINES_MAX - 2].number).len(), 1);
    }

    #[test]
    fn long_line_is_cut_between_characters() {
        let log = SensorLog::new(Arc::new(SystemClock::default()), None);
        log.add("ä".repeat(LINE_BYTES_MAX));
        assert_eq!(log.after(0)[0].text.len(), LINE_BYTES_MAX + '…'.len_utf8());
    }
}
