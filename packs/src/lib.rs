//! The pack format: reading packs, diagnostics, and building catalogs.
//!
//! Read in this order: [`read`] and [`digest`] hold a pack's files. `source` and `yaml` are the text and the
//! tree of one file, every value with its place. [`shape`] declares what a file may hold; `fields` and
//! `written` extract what an author wrote, `schema` the schemas. [`json_schema`] describes the shapes to
//! editors. [`check`] resolves the refs and compiles the expressions into what `checked` holds.
//! [`diagnostics`] are reported to authors. [`build`] builds the engine's catalog from the installed packs.
//! [`cases`] are the cases of their tests, and [`fake`] what
//! they run against. `lint` finds code that is probably not meant. [`library`] ships
//! with the binary, [`highlight()`] shows a file to readers, and [`init`] creates a starting point for newcomers.
//!
//! No pack is run here, and nothing but a pack's folder is read.

pub mod build;
pub mod cases;
pub mod check;
mod definitions;
pub mod diagnostics;
pub mod digest;
pub mod fake;
mod fields;
mod highlight;
pub mod init;
mod install_manifest;
pub mod json_schema;
pub mod library;
mod lint;
pub mod read;
mod schema;
mod settings_check;
pub mod shape;
mod source;
mod syntax;
mod yaml;

pub use build::{BuildError, build};
pub use check::{CheckResult, CollectedTests, GoodPack, check, check_until, lint, tests};
pub use diagnostics::{Code, Colour, Diagnostic, Severity, excerpt};
pub use digest::{CopiedFile, CopyError, NewCopies};
pub use ensue_engine::time::parse_duration;
pub use ensue_expression::StopCheck;
pub use highlight::{HighlightedToken, TokenClass, highlight};
pub use init::init_files;
pub use install_manifest::Manifest;
pub use json_schema::FileKind;
pub use library::{AvailablePack, available as available_packs, library, names as library_names};
pub use read::{FileMode, PackFile, PackSource, ReadError};
pub use schema::whole_schema;
pub use settings_check::{DeclaredConnection, connection_findings, url_findings};
