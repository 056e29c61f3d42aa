//! One running node: the sequencer's thread, followers, and the only wiring.
