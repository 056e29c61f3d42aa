//! Rare states that a run reached: a simulation that never reaches them proves nothing about them.
//!
//! This module judges nothing; the caller that runs many seeds decides which names must be reached.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// All rare states: each must be reached in a long run. `tests/tidy` compares this list with the marks in the
/// sources.
pub const NAMES: &[&str] = &[
    "a body did not come in time",
    "a bug occurred in the core",
    "a bug occurred in evaluating a rule",
    "a caller had its share",
    "a caller waited for the end of its execution",
    "a caller disconnected, and its request was carried out",
    "a client tried again",
    "a connection broke in the middle of a body",
    "a delivery that came again was recognised",
    "a delivery without an id was taken",
    "a flush failed",
    "a follower was not notified of a batch",
    "a cancel or a settlement was repeated under its key",
    "a key was accepted again after its time",
    "a key was refused that had been used for another event",
    "a key was refused that had been used for another request",
    "a keyed request was repeated of which no answer had been heard",
    "a keyed request was repeated over a restart",
    "a late report settled an indeterminate execution",
    "a living program was adopted",
    "a lock became free before its waiter was known",
    "a log of more than five hundred events was judged",
    "a loop was stopped",
    "a node died while it stopped",
    "a node was stopped for longer than a lease",
    "a node stopped when it was asked to",
    "a node stopped while attempts ran",
    "a node stopped while the disk had no room",
    "a node loaded an edited pack on its own",
    "a node was deposed",
    "a node was restarted soon after a cancel",
    "a person would have had a cancelled execution tried again",
    "a power cut lost sectors that were not flushed",
    "a power cut undid a rename of a small file",
    "a power cut lost the content of a small file",
    "a power cut tore a sector",
    "a program could not be started",
    "a program emitted an event",
    "a program handed over an artifact",
    "a program had ended while no node was there",
    "a program had to be killed",
    "a program outlived its attempt",
    "a program sent an invalid message",
    "a program was found running by the next node",
    "a program was found that nobody waited for",
    "a program was told to stop some time after its cancel",
    "a question was withdrawn",
    "a reaction was parked",
    "a reaction was parked because it ended three processes",
    "a reaction was worked out in a later turn",
    "a repeated key was recognised",
    "a report came late while another attempt ran",
    "a report came late",
    "a sleep ended",
    "a request met a conflict",
    "a request was carried out again after its key's time",
    "a request was not authenticated",
    "a request was repeated while it was in progress",
    "a request was redirected to where it may not go",
    "a rule erred",
    "a rule only watched",
    "a rule rejected",
    "a signed delivery made an event",
    "a signed delivery was kept as a dead letter",
    "a saved state was searched for secrets",
    "a start failed by itself",
    "a start found attempts that were running",
    "a stop ended what outlasted its patience",
    "a stop left programs to the next node",
    "a supervisor died with its program",
    "a supervisor had died while no node was there",
    "a task's timers came late",
    "a view was behind what its reader wrote",
    "a write under an old epoch was refused",
    "an action's request was redirected to another server",
    "an answer was lost after the effect",
    "an append found no room",
    "an attempt was lost between its cancel and its end",
    "an attempt was lost that had provably not begun",
    "an attempt was lost that may have begun",
    "an attempt was lost that was given to another worker",
    "an attempt was made again",
    "an effect happened twice, where that is allowed",
    "an effect of a request happened twice, where that is allowed",
    "an execution became indeterminate",
    "an execution timed out",
    "an execution was cancelled while it ran",
    "an execution was cancelled",
    "an execution was indeterminate",
    "an execution was settled",
    "a workflow failed with a step",
    "a workflow succeeded",
    "a workflow was cancelled",
    "an assertion was true",
    "enough of several steps succeeded",
    "a step succeeded although an item failed",
    "a step failed because of its items",
    "an event canceled a step",
    "an execution was paused",
    "an execution waited for a lock",
    "an execution was skipped because of a lock",
    "an execution was to end for a newcomer",
    "an unknown commit was kept",
    "an unknown commit was lost",
    "it was unknown whether a program was started",
    "killed after a write of the vault",
    "killed between a record and its consequences",
    "killed at an append, all kept",
    "killed at an append, nothing kept",
    "killed after a rare record",
    "killed between noting that an attempt begins and its effect",
    "killed between two steps",
    "killed right after a program was started",
    "killed right after an action's request was sent",
    "killed while starting",
    "records were folded one by one",
    "somebody answered about a lost attempt",
    "the answer to an action's request was lost after its effect",
    "the catalog changed between a judgement and its submission",
    "the disk had no room for a while",
    "the node had no room for a request",
    "the power was cut",
    "the store failed for good",
    "the vault could not be written",
    "the views were lost",
    "the wall clock ran at another pace",
    "two callers used the same key",
    "rebuilt views replaced the live ones",
    "work waited while all workers were busy",
    "work waited while a worker of another queue was free",
    "the clock stepped while a timer was pending",
    "what failed was tried again",
    "a rule knew too many keys, and forgot the one that was used longest ago",
    "a rule held too many matches, and released the oldest",
    "as many attempts had started as a rate allows",
    "a caller with an older value tried to set a var",
    "an execution set a var",
    "a var lost its value",
    "a var was set by hand",
    "a pack ran an action of another pack that it may run",
    "a step was rejected because its pack may not run the action",
    "a workflow read a var",
    "a rule read a var",
    "a rerun reused a step",
    "a rerun with reused steps succeeded",
    "an execution was run again",
    "an execution was run again with other parameters",
    "a match was worked on after its rule's flow control had gone",
    "a match repeated another",
    "a match was more than a throttle lets through",
    "a window was filled",
    "a match was delayed by a throttle",
    "a match was skipped because of its rule's lock",
    "nothing followed a match for long enough to act on it",
    "after a quiet time, the last match was acted on",
    "a debounce reached its limit",
    "a debounce acted on several matches",
    "a digest was acted on after its time",
    "a match was held over a restart",
    "a match was held by one flow control after the other",
    "a newer match took the place of one that was held",
    "a window passed before it was filled",
    "the flow control of a rule ended with its held matches",
];

static REACHED: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Notes that a rare state was reached.
pub fn reached(name: &'static str) {
    *REACHED.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
}

/// Returns the states that this process reached, with their counts.
pub fn all() -> BTreeMap<&'static str, u64> {
    REACHED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Returns the states that this process never reached.
pub fn missed() -> Vec<&'static str> {
    let reached = all();
    NAMES.iter().copied().filter(|name| !reached.contains_key(name)).collect()
}

/// Notes that a rare state was reached: `sometimes!("a token was refused")`, or `sometimes!(is_so, "…")`.
#[macro_export]
macro_rules! sometimes {
    ($name:literal) => {
        $crate::sometimes::reached($name)
    };
    ($is_so:expr, $name:literal) => {
        if $is_so {
            $crate::sometimes::reached($name);
        }
    };
}
