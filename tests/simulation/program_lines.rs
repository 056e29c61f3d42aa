//! The lines that a simulated program writes on descriptor 3, and the files that it gives away as artifacts.
//!
//! They are drawn when the program starts; reading lines and collecting files is the executor's own code.

use std::path::Path;

use bytes::Bytes;
use ensue_engine::ids::AttemptId;
use serde_json::json;

use crate::pack::{NUMBER_MAX, TRIGGERS};
use crate::random::Random;
use crate::sometimes;

/// The maximum number of lines of a program.
const LINES_MAX: u64 = 5;

/// A line that a program writes.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// When, in microseconds since the world began.
    pub(crate) at: u64,
    /// The intended meaning of the line.
    pub(crate) meant: LineMeaning,
    /// The line.
    pub(crate) bytes: Bytes,
}

/// The intended meaning of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LineMeaning {
    /// Progress.
    Progress,
    /// An event whose payload has this mark.
    Event(String),
    /// An artifact with this name and content.
    Artifact(String, Vec<u8>),
    /// Nothing valid.
    Nonsense,
}

/// Draws the lines that a program writes between two times, in order.
pub(crate) fn lines(random: &mut Random, attempt: AttemptId, from: u64, to: u64) -> Vec<Line> {
    // Most programs write nothing.
    if random.chance(0.4) {
        return Vec::new();
    }
    let mut times: Vec<u64> = (0..random.below(LINES_MAX + 1)).map(|_| from + random.below(to.saturating_sub(from))).collect();
    times.sort_unstable();
    let line = |(index, at): (usize, u64)| {
        let (meant, bytes) = match random.pick_weighted(&[4, 6, 3, 1]) {
            0 => (LineMeaning::Progress, json!({ "progress": random.below(101) as f64 / 100.0, "message": "at work" }).to_string()),
            1 => {
                let mark = format!("{attempt}-{index}");
                let trigger = format!("sim.t{}", random.below(TRIGGERS));
                let payload = json!({ "mark": mark, "n": random.below(NUMBER_MAX + 1) });
                (LineMeaning::Event(mark), json!({ "emit": { "trigger": trigger, "payload": payload } }).to_string())
            }
            2 => {
                let content = format!("{attempt} {index} {}", "x".repeat(random.below(2_000) as usize)).into_bytes();
                let name = format!("report{index}.txt");
                let line = json!({ "artifact": { "path": format!("out/{name}"), "media_type": "text/plain" } });
                (LineMeaning::Artifact(name, content), line.to_string())
            }
            _ => {
                let pick = ["hello", "{\"progress\": 7}", "{\"emit\": {\"trigger\": \"sim.nothing\", \"payload\": {}}}"];
                (LineMeaning::Nonsense, random.pick(&pick).copied().unwrap_or_default().to_owned())
            }
        };
        Line { at, meant, bytes: Bytes::from(bytes) }
    };
    times.into_iter().enumerate().map(line).collect()
}

/// Writes the files that a program gives away into its private directory.
pub(crate) fn write_files(directory: &Path, lines: &[Line]) -> std::io::Result<()> {
    for line in lines {
        if let LineMeaning::Artifact(name, content) = &line.meant {
            std::fs::create_dir_all(directory.join("out"))?;
            std::fs::write(directory.join("out").join(name), content)?;
            sometimes!("a program handed over an artifact");
        }
    }
    Ok(())
}
