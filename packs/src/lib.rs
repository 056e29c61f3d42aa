//! The pack format: reading, diagnostics, and the building of catalogs.
//!
//! Read in this order. [`read`] and [`digest`] handle the files of a pack; `source` and `yaml` hold the text and the tree of one
//! file, each value with its place. [`shape`] defines what a file may contain; `fields` and `written` read what an author wrote, and
//! `schema` reads schemas. [`json_schema`] describes the shapes to editors. [`check`] resolves the refs and compiles the expressions
//! into what `checked` holds. [`diagnostics`] are reported to authors. [`build`] makes the engine's catalog of the installed packs,
//! [`cases`] holds their tests, and `lint` looks for probable errors. [`library`] ships with the binary, and [`init`] has the pack
//! that a new user starts from.
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
