//! Time bounds: I9, an attempt does not time out early and ends soon after its timeout; I17, a request is
//! answered by its deadline.

use serde_json::Value;

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::timeline::Counts;

/// How long after its timeout and grace period the end of an attempt may come, in microseconds in which a
/// node could write.
const END_MICROS: u64 = 10_000_000;
/// How long a node may take to answer, besides the time that its client makes it take, in microseconds in
/// which it was not paused.
const ANSWER_MICROS: u64 = 10_000_000;

/// Checks that an attempt did not time out early, and that its end, whatever it was, came soon after its
/// timeout.
pub(super) fn hold_attempt_to_its_time(request: &Raw, started: &Raw, ended: &Raw, ledger: &Ledger<'_>) -> Result<(), Violation> {
    let ground = ledger.ground;
    let (Some(from), Some(at)) = (ground.committed_at(started.position), ground.committed_at(ended.position)) else { return Ok(()) };
    let allowed = request.number("timeout_millis") * 1_000;
    if ended.said.pointer("/error/kind").and_then(Value::as_str) == Some("timeout") {
        let (stream, position, lasted) = (&ended.stream, ended.position, at - from);
        demand!(lasted >= allowed, "I9", "{stream} timed out at {position} after {lasted} µs of {allowed}");
    }
    let most = allowed + request.number("grace_millis") * 1_000;
    let due = ground.witness().timeline.due(from + most, END_MICROS, Counts::Working);
    demand!(
        due.is_none_or(|due| at <= due),
        "I9",
        "attempt {} of {} had {most} µs from {from} µs on; {} at {} came at {at} µs, and was due at {due:?} µs",
        started.id,
        started.stream,
        ended.kind,
        ended.position
    );
    Ok(())
}

/// Checks that each request that a node received was answered in time.
pub(super) fn check_answers(ledger: &Ledger<'_>) -> Result<(), Violation> {
    let witness = ledger.ground.witness();
    for taken in &witness.taken {
        let due = witness.timeline.due_for(taken.node, taken.at, taken.own_micros + ANSWER_MICROS, Counts::Awake);
        let over = taken.over_at.unwrap_or(u64::MAX);
        demand!(
            due.is_none_or(|due| over <= due),
            "I17",
            "request {} came to node #{} at {} µs and was answered at {:?} µs",
            taken.request,
            taken.node,
            taken.at,
            taken.over_at
        );
    }
    Ok(())
}
