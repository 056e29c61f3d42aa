//! The bugs that the simulator must find: what each breaks, and in how many worlds it was found.
//!
//! Where each stands in the code is found by its name. A bug that is not found shows a hole in the simulator: it is told, with the hole.

/// A bug of one line.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name, as the code asks for it.
    pub name: &'static str,
    /// What somebody got wrong.
    pub breaks: &'static str,
    /// In how many worlds it is to be found, at the most.
    pub seeds_max: u64,
}

const fn mutant(name: &'static str, breaks: &'static str, seeds_max: u64) -> Mutant {
    Mutant { name, breaks, seeds_max }
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    mutant("acknowledged before the commit", "callers are answered before the batch is on the disk", 100),
    mutant("error of the commit swallowed", "a batch that found no room counts as kept", 100),
    mutant("unknown commit taken as failed", "a commit whose outcome is unknown is said to be nowhere, and not looked up", 100),
    mutant("unknown commit taken as kept", "a commit whose outcome is unknown is said to be kept, and not looked up", 100),
    mutant("undo forgotten", "what a refused batch changed stays in the state", 100),
    mutant("effects of an undone batch carried out", "attempts that are in no log are started", 100),
    mutant("full disk swallows the answer", "who found the disk full waits for ever", 100),
    mutant("key remembered beside the batch", "a dedupe key is not in the transaction of its event", 100),
    mutant("another body under a key", "a used key with another body counts as a repeat", 100),
    mutant("shadow rule acts", "a rule that only watches runs its action", 100),
    mutant("index drops a rule", "the index gives two candidates at the most", 100),
    mutant("loop stopped late", "a chain is stopped one event too late", 100),
    mutant("token given out twice", "the fencing token does not grow", 100),
    mutant("ended execution stays queued", "an execution that ended while it waited stays in the queue", 100),
    mutant("lost attempt always tried again", "an attempt that may have begun is tried again, whatever the action says", 100),
    mutant("begun not noted", "an attempt begins without a note in the `begun` file", 100),
    mutant("no file proves that nothing began", "a missing `begun` file counts as an empty one", 100),
    mutant("begun forgotten at a restart", "what had begun is forgotten when the file is begun anew", 100),
    mutant("timeout fires early", "an attempt gets half of its time", 100),
    mutant("report given up", "a report that found the disk full is not told again", 100),
    mutant("snapshot off by one", "a snapshot says a position whose record it has not folded", 100),
    mutant("late report counts", "a report on an attempt that was given up ends the one that runs", 100),
    mutant("cancel not delivered", "the worker is not told of a cancel", 100),
    mutant("slot kept by an indeterminate execution", "who waits for a person holds a worker's slot", 100),
    mutant("cancel forgotten at a loss", "a cancelled execution whose attempt is lost waits for a worker again", 100),
    mutant("living program taken for lost", "a program that an earlier node left is not adopted", 100),
    mutant("one scope for all keys", "a dedupe key of one caller is taken for another's", 100),
    mutant("judged by an older catalog", "what the edge judged counts although the catalog changed since", 100),
    mutant("owed reaction dropped", "what does not fit into a turn is never worked out", 100),
    mutant("follower skips a batch", "a follower goes on behind a batch that it was not told of", 100),
    mutant("mode of now", "an event is held against the mode of now, not of its position", 100),
    mutant("panic drops the reaction", "a reaction that stopped at a bug is not put aside", 100),
    mutant("file of another boot believed", "what the file lost in a power cut counts as not begun", 100),
    mutant("stop forgotten at a restart", "a cancel that was asked for before a restart is not delivered after it", 100),
    mutant("orphan program not ended", "a program that nobody waits for goes on", 100),
];
