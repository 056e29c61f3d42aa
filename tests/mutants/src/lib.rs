//! The bugs that the simulator must find: what each breaks, and a world that shows it.
//!
//! A patch in `tests/mutants` plants each of them. A bug that is not found shows a gap in the simulator.

pub mod patch;

/// The most worlds in which each is looked for.
pub const WORLDS_MAX: u64 = 100;

/// A one-line bug.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name, in the patch that plants it.
    pub name: &'static str,
    /// The mistake that it imitates.
    pub breaks: &'static str,
    /// The seed of a world that showed it. The search begins there, so that it does not run a hundred worlds for a bug that
    /// appears in one of them.
    pub world: u64,
}

const fn mutant(name: &'static str, breaks: &'static str, world: u64) -> Mutant {
    Mutant { name, breaks, world }
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    mutant("acknowledged before the commit", "callers are answered before the batch is on disk", 2),
    mutant("error of the commit swallowed", "a batch that found no room counts as kept", 3),
    mutant("unknown commit taken as failed", "a commit with an unknown outcome counts as failed, without a lookup", 4),
    mutant("unknown commit taken as kept", "a commit with an unknown outcome counts as kept, without a lookup", 2),
    mutant("undo forgotten", "the changes of a rejected batch stay in the state", 3),
    mutant("effects of an undone batch carried out", "attempts that are in no log are started", 7),
    mutant("full disk swallows the answer", "a caller that found the disk full never gets an answer", 7),
    mutant("key remembered beside the batch", "a dedupe key is not in the transaction of its event", 1),
    mutant("another body under a key", "a used key with another body counts as a repeat", 2),
    mutant("shadow rule acts", "a rule in shadow mode runs its action", 2),
    mutant("index drops a rule", "the index returns at most two candidates", 2),
    mutant("loop stopped late", "a chain is stopped one event too late", 8),
    mutant("token given out twice", "the fencing token does not grow", 1),
    mutant("ended execution stays queued", "an execution that ended while it waited stays in the queue", 2),
    mutant("lost attempt always tried again", "an attempt that may have begun is retried, whatever the action says", 1),
    mutant("begun not noted", "an attempt begins without a note in the `begun` file", 2),
    mutant("no file proves that nothing began", "a missing `begun` file counts as an empty one", 2),
    mutant("begun forgotten at a restart", "the begun attempts are forgotten when the file is rewritten", 3),
    mutant("timeout fires early", "an attempt gets half of its time", 1),
    mutant("report given up", "a report that found the disk full is not retried", 3),
    mutant("snapshot off by one", "a start skips the first record after a snapshot", 1),
    mutant("late report counts", "a report of an attempt that was given up ends the running one", 1),
    mutant("cancel not delivered", "the worker is not notified of a cancel", 3),
    mutant("slot kept by an indeterminate execution", "an execution that waits for a person keeps its worker slot", 4),
    mutant("cancel forgotten at a loss", "a cancelled execution whose attempt is lost waits for a worker again", 4),
    mutant("living program taken for lost", "a program that an earlier node left is not adopted", 1),
    mutant("one scope for all keys", "a dedupe key of one caller counts for another", 1),
    mutant("judged by an older catalog", "a judgement of the edge counts although the catalog has changed since", 3),
    mutant("owed reaction dropped", "a reaction that does not fit into a turn is never carried out", 1),
    mutant("follower skips a batch", "a follower continues after a batch that it was not notified of", 7),
    mutant("mode of now", "an event is compared with the present mode, not with that of its position", 3),
    mutant("panic drops the reaction", "a reaction that panicked is not parked", 3),
    mutant("file of another boot believed", "attempts that a file lost in a power cut count as not begun", 4),
    mutant("own begun file asked for another's attempt", "a worker reports that another worker's attempt had not begun", 3),
    mutant("stop forgotten at a restart", "a cancel from before a restart is not delivered after it", 5),
    mutant("orphan program not ended", "a program that nobody waits for continues", 97),
    mutant("stop ends programs that may continue", "a node that stops ends programs that the next one would have adopted", 3),
    mutant("request remembered beside the batch", "a request's key is not in the transaction of its records", 1),
    mutant("request carried out again", "a request's key is not looked up at its turn", 3),
    mutant("request forgotten early", "a request's key is remembered for ten seconds", 1),
    mutant("another request under a key", "another request under a used key gets the first one's answer", 3),
    mutant("one request key for all callers", "a caller's key also counts for other callers", 1),
    mutant("lock never released", "an ended execution keeps its lock", 2),
    mutant("one more holds a lock", "the limit of a lock is one too high", 3),
    mutant("skipped execution waits", "an execution that must be skipped waits for the lock", 3),
    mutant("newcomer has nobody cancelled", "an execution that replaces another waits for it to end by itself", 2),
    mutant("only the first need counts", "a step begins when the first step that it needs has succeeded", 2),
    mutant("failed step fails nothing", "a workflow continues as if a failed step had succeeded", 7),
    mutant("event that cancels overlooked", "a step continues although the event that cancels it came", 7),
    mutant("cancelled step forgets its event", "a step that an event canceled ends as if somebody had canceled it", 3),
    mutant("rule has no say in retries", "the action decides how often a failed execution is retried, and not the rule", 1),
    mutant("window of several triggers takes one twice", "two matches of one trigger fill a window that waits for one of each", 6),
    mutant("step begins in a cancelled workflow", "a cancelled workflow continues with its steps", 5),
    mutant("workflow ends before its last step", "a workflow ends when all of its steps but one have ended", 2),
    mutant("cancelled workflow goes by its steps", "a cancelled workflow succeeds if no step failed", 5),
    mutant("question kept that has its answer", "the outcome of an attempt is known, and people are still asked", 2),
    mutant("nobody is asked about a lost attempt", "nobody is asked about an attempt with an unknown outcome", 2),
    mutant("paused execution continues", "the steps of a paused execution start", 1),
    mutant("timer fires early", "a timer fires half a second before it is due", 1),
    mutant("repeat let through early", "a match counts as a repeat for only half of the time", 4),
    mutant("one more than a throttle allows", "a throttle lets one more match through", 6),
    mutant("throttled match keeps its repeats back", "a match that repeats a dropped one counts as a repeat", 6),
    mutant("older match held beside a newer one", "a debounce acts on each match, and not on the last", 3),
    mutant("window filled too soon", "a window is full with one match less", 3),
    mutant("held match outlives its flow control", "matches of a rule that was changed, removed or disabled stay held", 4),
    mutant("rerun takes nothing over", "succeeded steps run again", 21),
    mutant("step taken over whose need runs again", "a step is reused although its input changed", 21),
    mutant("var set whatever was seen", "a caller that has seen an older value sets a var", 4),
    mutant("removed var read on", "a removed var keeps its value", 5),
    mutant("pack runs what it may not", "a rule or a step of a pack runs an action that the pack may not run", 9),
    mutant("step runs as the caller", "a step runs on the rights of the caller, and not on those of its pack", 4),
    mutant("one start too many in a while", "a queue starts one more attempt than its rate allows", 1),
    mutant("settled before the commit", "messages are settled at their peer before their events are on disk", 2),
    mutant("cursor one batch behind", "a commit stores the cursor of the batch before", 2),
    mutant("refused message forgotten", "a message that cannot be read leaves no dead letter", 2),
    mutant("message without its key", "a message of a queue has no dedupe key", 2),
    mutant("each failure recorded", "each failure of a sensor in a row has a record", 4),
    mutant("new cursor does not end the run", "a run that began before a sensor was rewound still writes", 8),
    mutant("disabled sensor continues", "a disabled sensor still takes messages", 6),
    mutant("batch of an old run taken", "a run that another one replaced still writes", 6),
];
