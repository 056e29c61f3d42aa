//! Copies a log from one location to another, without a running node.

use std::path::PathBuf;
use std::str::FromStr;

use ensue_executor::programs::count_left;
pub use ensue_store::copy::CopyStage;
use ensue_store::copy::copy;

use super::OfflineError;
pub use crate::backend::Format;
use crate::backend::{CopiedLog, Folder};
use crate::start_error::{StartError, machine};

/// Where a log is stored, together with everything that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A data directory on this machine.
    Directory(PathBuf),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some((scheme, _)) => Err(format!("this release cannot copy from or to a `{scheme}` address; name a data directory")),
            None if text.is_empty() => Err("the name of a data directory is missing".to_owned()),
            None => Ok(Self::Directory(text.into())),
        }
    }
}

/// Copies the log of a stopped node, and what it refers to, to a location that is empty or does not exist.
/// Verifies the copy, and returns the copied logs. `progress` receives the stage, the number of records that are
/// done in it, and their total number.
pub fn copy_log(
    from: &Location,
    to: &Location,
    format: Format,
    mut progress: impl FnMut(CopyStage, u64, u64),
) -> Result<Vec<CopiedLog>, OfflineError> {
    let (Location::Directory(from), Location::Directory(to)) = (from, to);
    let from = Folder::open(from).map_err(StartError::from)?;
    let programs = count_left(&from.supervisors()).map_err(|why| machine("counting the programs that the node left", &why))?;
    if programs > 0 {
        return Err(OfflineError::ProgramsLeft { data: from.path().to_owned(), programs });
    }
    Ok(copy(&from, to, format, &mut progress)?)
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
    fn location_is_a_directory_and_no_address() {
        assert_eq!("./ensue-data".parse(), Ok(Location::Directory("./ensue-data".into())));
        assert!("postgres://localhost/ensue".parse::<Location>().unwrap_err().contains("`postgres`"));
        assert!("".parse::<Location>().is_err());
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
