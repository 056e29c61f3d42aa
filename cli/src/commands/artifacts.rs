//! `ensue executions artifacts`: the files that an execution produced, listed or saved.
//!
//! A name from a node is never used as a path, and existing files are never overwritten.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::executions::Artifacts;
use super::{Asking, print_next_cursor};
use crate::client::{Client, segment};
use crate::report::{CommandResult, Exit, Failure, eprint_line, turns_text_around};
use crate::table::{Column, bytes, cell, text, time};

/// How many names are tried for a file before giving up.
const NAMES_TRIED_MAX: u32 = 1_000;

const COLUMNS: &[Column] = &[
    Column::id("ID", |artifact| cell(artifact, "id")),
    Column::cut("NAME", |artifact| cell(artifact, "name")),
    Column::whole("SIZE", |artifact| artifact["bytes"].as_u64().map(bytes).unwrap_or_default()),
    Column::whole("STATE", |artifact| cell(artifact, "state")),
    Column::whole("GIVEN AWAY", |artifact| time(artifact, "time")),
];

impl Artifacts {
    pub(super) async fn run(self, asking: &Asking, client: &Client) -> CommandResult {
        let path = format!("/executions/{}/artifacts", segment(&self.id));
        let answer = client.get(&path, &self.page.query()).await?;
        match &self.save {
            None => asking.output.print_list(&answer, COLUMNS),
            Some(folder) => {
                for artifact in answer["items"].as_array().map(Vec::as_slice).unwrap_or_default() {
                    save(client, &path, artifact, folder).await?;
                }
            }
        }
        print_next_cursor(&answer);
        Ok(())
    }
}

async fn save(client: &Client, path: &str, artifact: &Value, folder: &Path) -> CommandResult {
    let name = text(artifact, "name");
    if text(artifact, "state") == "removed" {
        eprint_line(format!("`{name}` was deleted because it was old or to free space"));
        return Ok(());
    }
    let mut response = client.stream(&format!("{path}/{}", segment(&text(artifact, "id"))), &[], "*/*").await?;
    let mut saved = PartialFile::begin(folder, &safe(&name))?;
    let mut kept = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                saved.write(&chunk)?;
                kept += chunk.len() as u64;
            }
            Ok(None) if Some(kept) == artifact["bytes"].as_u64() => break,
            Ok(None) => return Err(saved.broken_off("it is shorter than it should be")),
            Err(error) => return Err(saved.broken_off(&error.to_string())),
        }
    }
    eprint_line(format!("saved {}", saved.keep()?.display()));
    Ok(())
}

/// A file that is being saved to a temporary place, so that a partial file is never taken for a complete one.
struct PartialFile {
    file: File,
    path: PathBuf,
    is_whole: bool,
}

impl PartialFile {
    fn begin(folder: &Path, name: &str) -> Result<Self, Failure> {
        let (file, path) = create(folder, name)?;
        Ok(Self { file, path, is_whole: false })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| self.write_failure(&error))
    }

    /// Moves the complete file to its final place, and returns its path.
    fn keep(mut self) -> Result<PathBuf, Failure> {
        self.file.sync_all().map_err(|error| self.write_failure(&error))?;
        self.is_whole = true;
        Ok(self.path.clone())
    }

    fn write_failure(&self, error: &std::io::Error) -> Failure {
        Failure::new(format!("{} cannot be written: {error}", self.path.display()))
    }

    fn broken_off(&self, why: &str) -> Failure {
        Failure::with(Exit::Unreachable, format!("{} was not saved: {why}", self.path.display()))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Creates a file that does not exist yet: under its name, or with a number before its extension.
fn create(folder: &Path, name: &str) -> Result<(File, PathBuf), Failure> {
    let failed = |path: &Path, error: &std::io::Error| Failure::new(format!("{} cannot be created: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let (stem, ending) =
        name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or((name, ""), |(stem, _)| (stem, &name[stem.len()..]));
    for number in 1..=NAMES_TRIED_MAX {
        let path = folder.join(if number == 1 { name.to_owned() } else { format!("{stem} ({number}){ending}") });
        match File::options().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&path, &error)),
        }
    }
    Err(Failure::new(format!("{} already has {NAMES_TRIED_MAX} files with the name `{name}`", folder.display())))
}

/// Returns a safe version of a name from the node: a file name that is valid in any folder and not hidden
/// there.
fn safe(name: &str) -> String {
    let plain = |c: char| {
        if c.is_control() || turns_text_around(c) || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|') { '_' } else { c }
    };
    let mut safe: String = name.chars().map(plain).collect();
    if safe.starts_with('.') || safe.starts_with('-') || safe.is_empty() {
        safe.insert(0, '_');
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloaded_file_is_in_the_folder_whatever_its_name() {
        for (name, expected) in [
            ("report.csv", "report.csv"),
            ("../../etc/passwd", "_.._.._etc_passwd"),
            (".bashrc", "_.bashrc"),
            ("-rf", "_-rf"),
            ("a\r\nb\u{1b}[2J", "a__b_[2J"),
            ("", "_"),
            ("C:\\x", "C__x"),
        ] {
            assert_eq!(safe(name), expected, "{name:?}");
        }
    }

    #[test]
    fn partial_download_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut saved = PartialFile::begin(folder.path(), "report.csv").unwrap();
        saved.write(b"a,b\n").unwrap();
        // A file that was opened for reading cannot be written.
        saved.file = File::open(&saved.path).unwrap();
        let path = saved.path.clone();
        assert!(saved.write(b"c,d\n").is_err());
        drop(saved);
        assert!(!path.exists());
        let mut saved = PartialFile::begin(folder.path(), "report.csv").unwrap();
        saved.write(b"a,b\n").unwrap();
        assert_eq!(std::fs::read(saved.keep().unwrap()).unwrap(), b"a,b\n");
    }

    #[test]
    fn existing_file_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a.tar.gz", "plain", "_.hidden"];
        for name in names {
            create(folder.path(), name).unwrap();
            create(folder.path(), name).unwrap();
        }
        let mut made: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        made.sort();
        assert_eq!(made, ["_ (2).hidden", "_.hidden", "a.tar (2).gz", "a.tar.gz", "plain", "plain (2)"]);
    }
}
