//! Heads of the log that are kept elsewhere: whoever rewrites the whole log cannot rewrite them too.
//!
//! A line is `<position> <hash> <time>`.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;

use ensue_engine::record::{Chain, Position};
use ensue_engine::time::Timestamp;

use crate::report::{CommandResult, Exit, Failure};

/// A head of the log at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    /// The newest position.
    pub(super) position: Position,
    /// The chain's hash there.
    pub(super) chain: Chain,
    /// When it was written down.
    pub(super) time: Timestamp,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.position, self.chain, self.time)
    }
}

impl FromStr for Anchor {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let [position, chain, time] = parts[..] else { return Err("it has not three parts".to_owned()) };
        Ok(Self {
            position: position.parse().map(Position).map_err(|_| format!("`{}` is not a position", printable_start(position)))?,
            chain: chain.parse()?,
            time: time.parse().map_err(|_| format!("`{}` is not a time", printable_start(time)))?,
        })
    }
}

fn printable_start(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Reads a file of anchors, each with the number of its line.
pub(super) fn read(path: &Path) -> Result<Vec<(usize, Anchor)>, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::with(Exit::Missing, format!("{name} cannot be read: {error}")))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let anchors: Vec<(usize, Anchor)> = lines
        .map(|(at, line)| {
            let wrong = |why| {
                Failure::with(Exit::Usage, format!("{name}:{}: not a head of a log: {why}", at + 1))
                    .hint("`ensue log head --append` writes a line: `<position> <hash> <time>`")
            };
            Ok((at + 1, line.parse().map_err(wrong)?))
        })
        .collect::<Result<_, Failure>>()?;
    if anchors.is_empty() {
        return Err(Failure::with(Exit::Usage, format!("{name} has no head of a log")).hint("write one with `ensue log head --append`"));
    }
    Ok(anchors)
}

/// Compares the hash that the log has at the position of an anchor; `None` if the log ends before it.
pub(super) fn compare(path: &Path, (line, anchor): (usize, Anchor), found: Option<Chain>) -> CommandResult {
    let (name, Anchor { position, chain, time }) = (path.display(), anchor);
    let message = match found {
        Some(found) if found == chain => return Ok(()),
        Some(found) => {
            format!("{name}:{line}: the log was rewritten: at {time} position {position} had the hash {chain}, and now it has {found}")
        }
        None => format!("{name}:{line}: the end of the log is missing: at {time} it had position {position}"),
    };
    Err(Failure::new(message).hint("keep this data directory as it is; compare it with your backups"))
}

/// Appends an anchor to a file, and syncs it.
pub(super) fn append(path: &Path, anchor: &Anchor) -> CommandResult {
    let failed = |error: std::io::Error| Failure::new(format!("{} cannot be written: {error}", path.display()));
    let mut file = File::options().append(true).create(true).open(path).map_err(failed)?;
    file.write_all(format!("{anchor}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor() -> Anchor {
        Anchor { position: Position(7), chain: Chain::from_bytes([9; 32]), time: Timestamp::from_micros(1_000_000) }
    }

    #[test]
    fn appended_anchors_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        append(&path, &anchor()).unwrap();
        append(&path, &anchor()).unwrap();
        assert_eq!(read(&path).unwrap(), [(1, anchor()), (2, anchor())]);
    }

    #[test]
    fn line_that_is_no_anchor_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        for bad in ["", "7", "x 00 2026-01-01T00:00:00Z", &format!("{}\n7 zz 2026-01-01T00:00:00Z", anchor())] {
            std::fs::write(&path, bad).unwrap();
            assert!(read(&path).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn other_hash_and_missing_end_are_told_apart() {
        let path = Path::new("anchors");
        assert!(compare(path, (1, anchor()), Some(anchor().chain)).is_ok());
        let rewritten = compare(path, (1, anchor()), Some(Chain::default())).unwrap_err().to_string();
        assert!(rewritten.contains("anchors:1: the log was rewritten"), "{rewritten}");
        let missing = compare(path, (1, anchor()), None).unwrap_err().to_string();
        assert!(missing.contains("the end of the log is missing"), "{missing}");
    }
}
