//! Pulling sensors: the sensors that read a source of their own accord, such as a program, a file or a page.
//!
//! The log holds which of them exist, how far each has read (its cursor), and how it fares. What runs follows from
//! that: the effects of the records start and stop runs, and the node supervises them. Read the modules in this
//! order: change, cursor, facts, state, decide, react.

pub mod cursor;
pub mod cursor_change;
pub mod decide;
pub mod facts;
pub mod react;
pub mod state;
