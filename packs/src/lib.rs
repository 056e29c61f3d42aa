//! The pack format: reading, diagnostics, and the building of catalogs.
//!
//! Read in this order: [`read`] and [`digest`] hold a pack's files; `source` and `yaml` are the text and the tree of one file,
//! every value with its place; [`shape`] says what a file may hold, `fields` and `written` take what an author wrote out of it,
//! `schema` the schemas; [`json_schema`] tells editors of the shapes; [`check`] resolves the refs and compiles the expressions into
//! what `checked` holds;
//! [`diagnostics`] is what authors are told; [`build`] makes the engine's catalog of what is installed; [`cases`] are what its tests say; `lint` looks for what is
//! probably not meant. [`library`] ships with the binary, [`init`] is what a newcomer starts from.
//!
//! No pack is run here, and nothing but a pack's folder is read.

pub mod build;
pub mod cases;
pub mod check;
mod checked;
pub mod diagnostics;
pub mod digest;
mod fields;
pub mod init;
mod installed;
pub mod json_schema;
pub mod library;
mod lint;
pub mod read;
mod schema;
pub mod shape;
mod source;
mod written;
mod yaml;

pub use build::{BuildError, build};
pub use check::{Checked, GoodPack, Tested, check, lint, tests};
pub use diagnostics::{Code, Colour, Diagnostic, Severity, excerpt};
pub use digest::CopyError;
pub use ensue_engine::time::parse_duration;
pub use init::init_files;
pub use installed::Manifest;
pub use json_schema::FileKind;
pub use library::library;
pub use read::{FileMode, PackFile, PackSource, ReadError};
pub use schema::whole_schema;
