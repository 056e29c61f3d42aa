//! Who looks on while records are folded: a fold that ends the process, or never comes to its end, cannot tell of that by itself.
//! To fold is all that is done with a record until its row can be kept: finding the row, reading it, changing it, writing it down.
//!
//! What is noted, and where, is the node's.

use ensue_engine::record::Position;

use crate::view::ViewName;

/// How a run of records is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// All of it at once.
    AtOnce,
    /// One record into one view after the other.
    OneByOne,
}

/// Who looks on.
pub trait Onlooker: Send {
    /// Says how the records of these positions are to be folded.
    fn care(&self, first: Position, last: Position) -> Care;
    /// Hears that records up to this position are about to be folded at once.
    fn begin_all(&mut self, last: Position);
    /// Hears that one record is about to be folded into one view; gives why it must not be, where it must not.
    fn begin_one(&mut self, view: ViewName, position: Position) -> Option<String>;
    /// Hears that what had begun came to its end, by itself or in a panic, or waits for the store.
    fn end(&mut self);
    /// Hears that the store has what records up to this position came to.
    fn kept(&mut self, through: Position);
}

/// Nobody looks on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Onlooker for Nobody {
    fn care(&self, _: Position, _: Position) -> Care {
        Care::AtOnce
    }

    fn begin_all(&mut self, _: Position) {}

    fn begin_one(&mut self, _: ViewName, _: Position) -> Option<String> {
        None
    }

    fn end(&mut self) {}

    fn kept(&mut self, _: Position) {}
}
