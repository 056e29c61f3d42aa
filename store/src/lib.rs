//! The stores: log, views, vault, outputs and blobs, in memory and on SQLite.
//!
//! Read in this order: [`sqlite`] and [`memory`] each hold one implementation of every port; [`batch`], [`row`],
//! [`contents`] and [`found`] are what logs in databases have in common; [`encode`] compresses bodies; [`settled`] looks up commits
//! with an unknown outcome; [`verify`] walks a log's chain; [`vault`] and [`master_key`] seal secrets, which [`stored_vault`] keeps in a table; [`outputs`] keeps
//! the output of attempts, and [`blobs`] their artifacts, both as long as [`retention`] allows, and [`objects`] shares them between nodes; [`data_dir`] and
//! [`state_folder`] are the places on disk, and [`copy`] copies the first; [`transfer`] copies a log to another store; [`checkpoints`] are saved states.
//!
//! The stores decide nothing: the engine defines the meaning and the consequences of records.

pub mod batch;
pub mod blobs;
pub mod checkpoints;
pub mod contents;
pub mod copy;
pub mod data_dir;
pub mod disk_retention;
pub mod encode;
pub mod index_checks;
pub mod master_key;
pub mod memory;
pub mod objects;
pub mod outputs;
pub mod rotation;
pub mod row;
pub mod settling_log;
mod space;
pub mod spare_file;
pub mod sqlite;
pub mod state_folder;
pub mod stored_vault;
pub mod sync;
pub mod transfer;
pub mod vault;
pub mod verify;

pub use batch::POSITION_MAX;
