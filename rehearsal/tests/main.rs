//! Rehearsals: cases of small packs, and those of the library.

mod cases;
mod library;
mod support;
