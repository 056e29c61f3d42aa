//! The pure core: the words, the log's record, and the state machine that decides.
