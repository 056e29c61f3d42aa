//! A long log in a folder that may stay: nodes are started on it repeatedly, including by later measurements.
//!
//! `ensue_node::long_log` builds the log; callers define its purpose.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use ensue_node::long_log::{self, Appending, LongLogPlan};
use ensue_node::{Config, Scratch};

use crate::child::{self, Machine, Node, Start};
use crate::watcher::{Length, Watcher};

/// How often progress is reported if no bar is drawn.
const TELL_EVERY_RECORDS: u64 = 500_000;

/// A folder with a log, and the token that its nodes accept.
pub(crate) struct KeptLog<'f> {
    folder: &'f Path,
    token: String,
    machine: &'f Machine,
    /// The database that has the log, if the machine has a server for it.
    database: Option<Scratch>,
}

impl<'f> KeptLog<'f> {
    /// Opens the folder, or creates it. `write_pack` writes the pack of its nodes; an earlier pack is
    /// removed.
    pub(crate) async fn open(folder: &'f Path, write_pack: impl FnOnce(&Path) -> io::Result<()>, machine: &'f Machine) -> io::Result<Self> {
        // It contains the token of an admin.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        clear_pack(folder)?;
        write_pack(&folder.join("packs/bench"))?;
        let database = machine.database.as_deref().map(child::database_on).transpose()?;
        let kept = Self { folder, token: token(folder)?, machine, database };
        kept.start().await?.stop().await?;
        Ok(kept)
    }

    /// Starts a node without workers on it.
    pub(crate) async fn start(&self) -> io::Result<Node> {
        let mut variables = vec![("ENSUE_WORKERS", "0".to_owned())];
        variables.extend(self.database.as_ref().map(|database| ("ENSUE_DATABASE", database.address().to_owned())));
        Node::start(Start { folder: self.folder, token: &self.token, variables, machine: self.machine }).await
    }

    /// Opens the log for writing at full speed.
    pub(crate) fn appending(&self, plan: LongLogPlan) -> io::Result<Appending> {
        let database = self.database.as_ref().map(|database| database.address().parse()).transpose().map_err(io::Error::other)?;
        let config = Config { database, ..config(self.folder) };
        tokio::task::block_in_place(|| Appending::open(&config, plan)).map_err(|error| io::Error::other(error.to_string()))
    }

    /// Extends the log to the planned length, if it is shorter. Returns its number of records.
    pub(crate) fn lengthen(&self, what: &str, plan: &LongLogPlan, watcher: &dyn Watcher) -> io::Result<u64> {
        let config = config(self.folder);
        let bar = watcher.bar(what, Length::Records(plan.records));
        let mut told = 0;
        let made = tokio::task::block_in_place(|| {
            long_log::lengthen(&config, plan, |position| {
                bar.at(position.0);
                if !bar.is_drawn() && position.0 >= told + TELL_EVERY_RECORDS {
                    told = position.0;
                    watcher.report(&format!("{what}: {told} records"));
                }
            })
        });
        Ok(made.map_err(|error| io::Error::other(error.to_string()))?.0)
    }
}

/// Returns the settings with which a folder's data directory is opened without a running node.
pub(crate) fn config(folder: &Path) -> Config {
    Config { packs: folder.join("packs"), state_base: Some(folder.join("state")), ..Config::new(folder.join("data")) }
}

/// Removes the pack of an earlier measurement.
pub(crate) fn clear_pack(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder.join("packs/bench")) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns the token of the first node here, or a new one if there was none.
pub(crate) fn token(folder: &Path) -> io::Result<String> {
    let path = folder.join("token");
    match File::options().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            if folder.join("data").exists() {
                std::fs::remove_file(&path)?;
                let why = format!("{} has data, but not the token that created it: name another folder", folder.display());
                return Err(io::Error::other(why));
            }
            let token = child::admin_token()?;
            file.write_all(token.as_bytes())?;
            Ok(token)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mut token = String::new();
            File::open(&path)?.read_to_string(&mut token)?;
            Ok(token)
        }
        Err(error) => Err(error),
    }
}
