//! Finds the program that an action's command names.
//!
//! This module only looks. It does not promise that the file is still there when the program is started.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use super::ProgramUsers;

/// Why a program was not found.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindError {
    /// It is a path, or nothing.
    #[error("`{0}` is not a valid program; write `./file` for a file of the pack, or a bare name")]
    NoName(String),
    /// It leaves its folder.
    #[error("`./{0}` is outside the folder of the action")]
    Outside(String),
    /// The file is not executable.
    #[error("`./{0}` is not executable; run `chmod +x` on it in the pack, and install the pack again")]
    NotExecutable(String),
    /// There is no such file.
    #[error("there is no file `{0}` next to the action in its pack")]
    NotInPack(String),
    /// It is not in the path.
    #[error("there is no program `{0}` in the node's PATH; install it, or write `./{0}` for a file of the pack")]
    NotInPath(String),
}

/// Finds a program: `./x` in the folder `beside`, or a bare name in `path`. Blocks.
pub fn find_on_disk(program: &str, beside: &Path, path: &OsStr) -> Result<PathBuf, FindError> {
    if let Some(inside) = program.strip_prefix("./") {
        return in_folder(beside, inside);
    }
    if program.is_empty() || program.contains(['/', '\0']) {
        return Err(FindError::NoName(program.to_owned()));
    }
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path| is_program(path))
        .ok_or_else(|| FindError::NotInPath(program.to_owned()))
}

/// Finds a program that these users can start, like [`find_on_disk`]. If they can start none of that name,
/// the first is returned, so that the error names it. Blocks.
#[cfg(target_os = "linux")]
pub(crate) fn find_on_disk_as(program: &str, beside: &Path, path: &OsStr, users: ProgramUsers) -> Result<PathBuf, FindError> {
    let first = find_on_disk(program, beside, path)?;
    if program.starts_with("./") {
        return Ok(first);
    }
    let mut folders = std::env::split_paths(path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(program));
    Ok(folders.find(|path| is_program(path) && may_pass(path, users)).unwrap_or(first))
}

/// Returns true if these users may enter each folder on the way to a path, and may run the file or enter the
/// folder there. Blocks.
pub fn may_pass(path: &Path, users: ProgramUsers) -> bool {
    let (user, group) = match users {
        ProgramUsers::Node => return true,
        ProgramUsers::One { user, group } => (Some(user), group),
        ProgramUsers::Range { first, .. } => (None, first),
    };
    let Ok(path) = path.canonicalize() else { return false };
    path.ancestors().all(|part| {
        fs::metadata(part).is_ok_and(|about| {
            let place = if Some(about.uid()) == user {
                6
            } else if about.gid() == group {
                3
            } else {
                0
            };
            about.permissions().mode() >> place & 0o001 != 0
        })
    })
}

fn in_folder(folder: &Path, name: &str) -> Result<PathBuf, FindError> {
    if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(FindError::Outside(name.to_owned()));
    }
    let path = folder.join(name);
    if is_program(&path) {
        return Ok(path);
    }
    match fs::metadata(&path) {
        Ok(found) if found.is_file() => Err(FindError::NotExecutable(name.to_owned())),
        Ok(_) | Err(_) => Err(FindError::NotInPack(name.to_owned())),
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
