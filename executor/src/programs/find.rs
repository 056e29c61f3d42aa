//! Finding the program that an action's command names.
//!
//! It only looks: that the file is still there when it is started is not promised.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// Why there is no such program.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindError {
    /// It is a path, or nothing.
    #[error("`{0}` is no program; write `./file` for a file of the pack, or a bare name")]
    NoName(String),
    /// It leaves its folder.
    #[error("`./{0}` leaves the folder of the action")]
    Outside(String),
    /// The file may not be run.
    #[error("`./{0}` is not executable; run `chmod +x` on it in the pack, and install the pack again")]
    NotExecutable(String),
    /// There is no such file.
    #[error("there is no file `{0}` beside the action in its pack")]
    NotInPack(String),
    /// It is not in the path.
    #[error("there is no program `{0}` in the node's PATH; install it, or write `./{0}` for a file of the pack")]
    NotInPath(String),
}

/// Finds a program: `./x` in the folder `beside`, a bare name in `path`. Blocks.
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
