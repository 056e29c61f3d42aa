//! Copies a log from one location to another, without a running node.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use ensue_engine::ids::LogId;
use ensue_engine::ports::VaultError;
use ensue_engine::record::Head;
use ensue_executor::programs::count_left;
use ensue_postgres::{CopyIntoError, CopyStep, Database, Lead, PostgresEnvelopes, PostgresLogReader, PostgresPacks};
pub use ensue_store::copy::CopyStage;
use ensue_store::copy::{copy, new_log_in};
use ensue_store::stored_vault::copy_envelopes;
use ensue_store::transfer::{Source, TransferError};
use ensue_store::verify::verify;

use super::OfflineError;
pub use crate::backend::Format;
use crate::backend::postgres::ArchiveInDatabase;
use crate::backend::{CopiedLog, FillError, Folder, LogSource, PackArchive as _, fill_log, new_secrets, secrets_in, sources_in};
use crate::config::{DatabaseAddress, DatabaseAddressError};
use crate::start_error::{StartError, machine};

/// Where a log is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A data directory on this machine: the log, together with everything that it refers to.
    Directory(PathBuf),
    /// The address of a PostgreSQL database: the log, the sealed secrets and the packs.
    Database(DatabaseAddress),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => {
                text.parse().map(Self::Database).map_err(|why: DatabaseAddressError| format!("a database's address {why}"))
            }
            Some((scheme, _)) => {
                Err(format!("this release cannot copy from or to a `{scheme}` address; name a data directory or a `postgres://` address"))
            }
            None if text.is_empty() => Err("the name of a data directory is missing".to_owned()),
            None => Ok(Self::Directory(text.into())),
        }
    }
}

/// Copies the log of a stopped node with its secrets and packs to a location that does not have it. Between two
/// directories, outputs and artifacts are copied too. Verifies the copy, and returns the copied logs. `progress` receives
/// the stage, the number of records that are done in it, and their total number.
pub fn copy_log(
    from: &Location,
    to: &Location,
    format: Format,
    mut progress: impl FnMut(CopyStage, u64, u64),
) -> Result<Vec<CopiedLog>, OfflineError> {
    match (from, to) {
        (Location::Directory(from), Location::Directory(to)) => {
            let from = open_stopped(from)?;
            Ok(copy(&from, to, format, &mut progress)?)
        }
        (Location::Directory(_) | Location::Database(_), _) if format != Format::Current => Err(OfflineError::FormatOfDatabase),
        (Location::Directory(from), Location::Database(to)) => {
            let from = open_stopped(from)?;
            let beside = |log: LogId, mut secrets: PostgresEnvelopes, packs: PostgresPacks| {
                if let Some(mut sealed) = secrets_in(&from, log).map_err(|error| VaultError::Store(error.to_string()))? {
                    copy_envelopes(&mut *sealed, &mut secrets)?;
                }
                ArchiveInDatabase::of(packs).exchange(&from.packs()).map_err(CopyIntoError::Packs)
            };
            into_database(sources_in(&from)?, to, beside, &mut progress)
        }
        (Location::Database(from), Location::Database(to)) => {
            let database = Database::at(from.reveal())?;
            let beside = |log: LogId, mut secrets: PostgresEnvelopes, mut packs: PostgresPacks| {
                copy_envelopes(&mut PostgresEnvelopes::open(&database, log, Lead::default())?, &mut secrets)?;
                let mut archived = PostgresPacks::open(&database, log, Lead::default())?;
                for pack in archived.packs()? {
                    packs.put(&pack, &archived.files(&pack)?)?;
                }
                Ok(())
            };
            into_database(sources_of(&database)?, to, beside, &mut progress)
        }
        (Location::Database(from), Location::Directory(to)) => {
            let database = Database::at(from.reveal())?;
            let sources = sources_of(&database)?;
            new_log_in(to, |file| {
                let copied = into_file(&sources, file, &mut progress)?;
                for CopiedLog { id, .. } in &copied {
                    let mut secrets = PostgresEnvelopes::open(&database, *id, Lead::default())?;
                    let mut sealed = new_secrets(file, *id)?;
                    copy_envelopes(&mut secrets, &mut *sealed).map_err(CopyIntoError::from)?;
                    let packs = ArchiveInDatabase::of(PostgresPacks::open(&database, *id, Lead::default())?);
                    packs.exchange(&file.with_file_name("packs")).map_err(CopyIntoError::Packs)?;
                }
                Ok(copied)
            })
        }
    }
}

/// Opens a data directory without a running node and without programs that are still running.
fn open_stopped(data: &Path) -> Result<Folder, OfflineError> {
    let folder = Folder::open(data).map_err(StartError::from)?;
    let programs = count_left(&folder.supervisors()).map_err(|why| machine("counting the programs that the node left", &why))?;
    if programs > 0 {
        return Err(OfflineError::ProgramsLeft { data: folder.path().to_owned(), programs });
    }
    Ok(folder)
}

/// Opens the logs of a database that no node leads.
fn sources_of(database: &Database) -> Result<Vec<LogSource>, OfflineError> {
    let open = |log: LogId| {
        database.demand_no_leader(log)?;
        Ok((log, Box::new(PostgresLogReader::open(database, log)?) as Box<dyn Source>))
    };
    database.logs_to_copy()?.into_iter().map(open).collect()
}

fn into_database(
    from: Vec<LogSource>,
    to: &DatabaseAddress,
    mut beside: impl FnMut(LogId, PostgresEnvelopes, PostgresPacks) -> Result<(), CopyIntoError>,
    progress: &mut dyn FnMut(CopyStage, u64, u64),
) -> Result<Vec<CopiedLog>, OfflineError> {
    if from.len() > 1 {
        return Err(OfflineError::SeveralToCopy(from.len()));
    }
    let database = Database::at(to.reveal())?;
    let mut copied = Vec::new();
    for (id, source) in from {
        let end = head(&*source)?.position.0;
        let steps = |step, done| {
            let stage = match step {
                CopyStep::Copying => CopyStage::Copying,
                CopyStep::Verifying => CopyStage::Verifying,
            };
            progress(stage, done, end);
        };
        let verified = database.copy_from(id, &*source, steps, |secrets, packs| beside(id, secrets, packs))?;
        copied.push(CopiedLog { id, verified });
    }
    Ok(copied)
}

fn into_file(from: &[LogSource], to: &Path, progress: &mut dyn FnMut(CopyStage, u64, u64)) -> Result<Vec<CopiedLog>, OfflineError> {
    let mut copied = Vec::new();
    for (id, source) in from {
        let known = head(&**source)?;
        let end = known.position.0;
        let reader = fill_log(to, *id, &**source, |done| progress(CopyStage::Copying, done, end)).map_err(|error| match error {
            FillError::Open(error) => OfflineError::from(error),
            FillError::Transfer(error) => error.into(),
        })?;
        let verified = verify(&*reader, Some(known), |at| progress(CopyStage::Verifying, at.0, end))?;
        copied.push(CopiedLog { id: *id, verified });
    }
    Ok(copied)
}

fn head(source: &dyn Source) -> Result<Head, TransferError> {
    Ok(source.head()?)
}

#[cfg(test)]
mod tests {
    use ensue_engine::explain::Explain;

    use super::*;
    use crate::AskedToken;
    use crate::config::Config;
    use crate::offline::Offline;

    fn viewer(name: &str) -> AskedToken {
        AskedToken { name: name.to_owned(), roles: vec!["viewer".to_owned()], ..AskedToken::default() }
    }

    #[test]
    fn location_is_a_directory_or_a_database() {
        assert_eq!("./ensue-data".parse(), Ok(Location::Directory("./ensue-data".into())));
        let address = "postgres://localhost/ensue";
        assert_eq!(address.parse(), Ok(Location::Database(address.parse().unwrap())));
        assert!("mysql://localhost/ensue".parse::<Location>().unwrap_err().contains("`mysql`"));
        assert!("".parse::<Location>().is_err());
    }

    #[test]
    fn database_has_no_older_format() {
        let (directory, database) = (Location::Directory("data".into()), Location::Database("postgres://localhost/ensue".parse().unwrap()));
        for (from, to) in [(&directory, &database), (&database, &directory), (&database, &database)] {
            assert!(matches!(copy_log(from, to, Format::V0_1, |_, _, _| ()), Err(OfflineError::FormatOfDatabase)));
        }
    }

    #[test]
    fn directory_with_programs_of_its_node_is_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("data"));
        config.state_base = Some(folder.path().join("state"));
        let mut offline = Offline::open(&config).unwrap();
        offline.add_token(&viewer("one")).unwrap();
        let head = offline.head();
        drop(offline);
        let supervisor = config.data.join("supervisors/1");
        std::fs::create_dir_all(&supervisor).unwrap();
        let (from, to) = (Location::Directory(config.data), Location::Directory(folder.path().join("copy")));
        let copied = |format| copy_log(&from, &to, format, |_, _, _| ());

        std::fs::write(supervisor.join("held"), "{").unwrap();
        let refused = copied(Format::Current).unwrap_err();
        assert_eq!(refused.slug(), "programs-left");
        assert!(!folder.path().join("copy").exists());
        // A supervisor without a program has an empty note.
        std::fs::write(supervisor.join("held"), "").unwrap();
        assert_eq!(copied(Format::V0_1).unwrap()[0].verified.head, head);
    }
}
