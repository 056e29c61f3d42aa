//! Observes the folding of records, because a fold that ends the process or never finishes cannot report that
//! itself. Folding is everything that is done with a record until its row can be stored: finding the row,
//! reading it, changing it, and writing it.
//!
//! The node decides what is noted, and where.

use ensue_engine::record::Position;

use crate::view::ViewName;

/// How a run of records is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// All records at once.
    AtOnce,
    /// One record into one view at a time.
    OneByOne,
}

/// An observer of folds.
pub trait Onlooker: Send {
    /// Returns how the records at these positions must be folded.
    fn care(&self, first: Position, last: Position) -> Care;
    /// Called before records up to this position are folded at once.
    fn begin_all(&mut self, last: Position);
    /// Called before one record is folded into one view. Returns the reason if that must not happen.
    fn begin_one(&mut self, view: ViewName, position: Position) -> Option<String>;
    /// Called when the fold that began has ended, normally or in a panic, or waits for the store.
    fn end(&mut self);
    /// Called when the store has stored the changes of the records up to this position.
    fn note_stored(&mut self, through: Position);
}

/// An observer that does nothing.
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

    fn note_stored(&mut self, _: Position) {}
}
