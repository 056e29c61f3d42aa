//! The time in which the rules of a node judge one delivery, without the rest of the node.

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_node::event_judge::EventJudge;

use crate::{github, log_folder, packs};

/// How often the judging is timed: other work of the machine disturbs some of these turns.
const TURNS: usize = 5;
/// How long one turn takes.
const TURN: Duration = Duration::from_millis(100);

/// Judges a delivery by the rules that are installed in a folder, again and again. Returns the time for one
/// event, in the fastest turn.
pub(crate) fn time_per_event(folder: &Path) -> io::Result<Duration> {
    let trigger = packs::PULL_REQUEST_REF.parse().map_err(io::Error::other)?;
    let event = EventJudge::open(&log_folder::config(folder), trigger, Bytes::from_static(github::PULL_REQUEST));
    let event = event.map_err(|error| io::Error::other(error.to_string()))?;
    let turn = |_| {
        let (begin, mut events) = (Instant::now(), 0);
        while begin.elapsed() < TURN {
            black_box(event.judge());
            events += 1;
        }
        begin.elapsed() / events
    };
    Ok((0..TURNS).map(turn).min().unwrap_or_default())
}
