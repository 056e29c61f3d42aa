//! The bugs that the simulator must find: what each breaks, and in how many worlds it was found.
//!
//! A patch in `tests/mutants` plants each of them. A bug that is not found shows a gap in the simulator.

pub mod patch;

/// The most worlds in which each must be found.
pub const SEEDS_MAX: u64 = 100;

/// A one-line bug.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name, in the patch that plants it.
    pub name: &'static str,
    /// The mistake that it imitates.
    pub breaks: &'static str,
    /// How many worlds to skip before the search: a bug that appears in one of a hundred takes minutes to
    /// reach.
    pub passes: u64,
}

const fn mutant(name: &'static str, breaks: &'static str) -> Mutant {
    Mutant { name, breaks, passes: 0 }
}

impl Mutant {
    const fn passing(self, worlds: u64) -> Self {
        Self { passes: worlds, ..self }
    }
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    mutant("acknowledged before the commit", "callers are answered before the batch is on the disk"),
    mutant("error of the commit swallowed", "a batch that found no room counts as kept"),
    mutant("unknown commit taken as failed", "a commit whose outcome is unknown is said to be nowhere, and not looked up"),
    mutant("unknown commit taken as kept", "a commit whose outcome is unknown is said to be kept, and not looked up"),
    mutant("undo forgotten", "what a refused batch changed stays in the state"),
    mutant("effects of an undone batch carried out", "attempts that are in no log are started"),
    mutant("full disk swallows the answer", "who found the disk full waits for ever"),
    mutant("key remembered beside the batch", "a dedupe key is not in the transaction of its event"),
    mutant("another body under a key", "a used key with another body counts as a repeat"),
    mutant("shadow rule acts", "a rule that only watches runs its action"),
    mutant("index drops a rule", "the index gives two candidates at the most"),
    mutant("loop stopped late", "a chain is stopped one event too late"),
    mutant("token given out twice", "the fencing token does not grow"),
    mutant("ended execution stays queued", "an execution that ended while it waited stays in the queue"),
    mutant("lost attempt always tried again", "an attempt that may have begun is tried again, whatever the action says"),
    mutant("begun not noted", "an attempt begins without a note in the `begun` file"),
    mutant("no file proves that nothing began", "a missing `begun` file counts as an empty one"),
    mutant("begun forgotten at a restart", "what had begun is forgotten when the file is begun anew"),
    mutant("timeout fires early", "an attempt gets half of its time"),
    mutant("report given up", "a report that found the disk full is not told again"),
    mutant("snapshot off by one", "a start passes over the first record that a snapshot has not folded"),
    mutant("late report counts", "a report on an attempt that was given up ends the one that runs"),
    mutant("cancel not delivered", "the worker is not told of a cancel"),
    mutant("slot kept by an indeterminate execution", "who waits for a person holds a worker's slot"),
    mutant("cancel forgotten at a loss", "a cancelled execution whose attempt is lost waits for a worker again"),
    mutant("living program taken for lost", "a program that an earlier node left is not adopted"),
    mutant("one scope for all keys", "a dedupe key of one caller is taken for another's"),
    mutant("judged by an older catalog", "what the edge judged counts although the catalog changed since"),
    mutant("owed reaction dropped", "what does not fit into a turn is never worked out"),
    mutant("follower skips a batch", "a follower goes on behind a batch that it was not told of"),
    mutant("mode of now", "an event is held against the mode of now, not of its position"),
    mutant("panic drops the reaction", "a reaction that stopped at a bug is not put aside"),
    mutant("file of another boot believed", "what the file lost in a power cut counts as not begun"),
    mutant("own begun file asked for another's attempt", "a worker says of what another was given that it had not begun"),
    mutant("stop forgotten at a restart", "a cancel that was asked for before a restart is not delivered after it"),
    mutant("orphan program not ended", "a program that nobody waits for goes on").passing(90),
    mutant("a stop ends what may go on", "a node that stops ends programs that the next one would have adopted"),
    mutant("request remembered beside the batch", "a request's key is not in the transaction of what it asked for"),
    mutant("request carried out again", "a request's key is not looked up at its turn"),
    mutant("request forgotten early", "a request's key is remembered for ten seconds"),
    mutant("another request under a key", "another request under a used key is answered as the first one"),
    mutant("one request key for all callers", "a caller is held to what another one asked for under the same key"),
    mutant("lock let go by nobody", "what has ended holds its lock on"),
    mutant("one more holds a lock", "the limit of a lock is one too high"),
    mutant("who is to be skipped waits", "an execution that is not to run beside others waits for them"),
    mutant("newcomer has nobody cancelled", "an execution that takes another's place waits for it to end by itself"),
    mutant("only the first need counts", "a step begins when the first that it needs has succeeded"),
    mutant("failed step fails nothing", "a workflow goes on as if a step that failed had not"),
    mutant("step begins in a cancelled workflow", "a workflow that was asked to end goes on with its steps"),
    mutant("workflow ends before its last step", "a workflow ends when all of its steps but one have"),
    mutant("cancelled workflow goes by its steps", "a workflow that was asked to end succeeds where no step failed"),
    mutant("question kept that has its answer", "what became of an attempt is known, and people are still asked"),
    mutant("nobody is asked about a lost attempt", "nobody learns that it is unknown what became of an attempt"),
    mutant("what is paused goes on", "what stands below an execution that is paused starts all the same"),
    mutant("timer fires early", "a timer fires half a second before it is due"),
    mutant("repeat let through early", "a match repeats another for half of the while only"),
    mutant("one more than a throttle allows", "a throttle lets one more match through at once"),
    mutant("throttled match keeps its repeats back", "what repeats a match that was dropped counts as a repeat").passing(200),
    mutant("older match held beside a newer one", "a debounce acts on each match, and not on the last"),
    mutant("window filled too soon", "a window is full with one match less"),
    mutant("what a rule holds outlives its flow control", "matches are held on for a rule that has changed, gone or been disabled"),
    mutant("rerun takes nothing over", "what had succeeded runs again"),
    mutant("step taken over whose need runs again", "a step is taken over that was made of something else"),
    mutant("var set whatever was seen", "who had seen an older value sets a var"),
    mutant("removed var read on", "a var that was taken away has its value on"),
    mutant("one start too many in a while", "a queue may have one more started than its rate allows"),
];
