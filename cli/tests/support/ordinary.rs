//! An ordinary user, for nodes of a test that runs as the superuser.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{NodeFolder, program_file};

/// A user and a group that own nothing.
const NOBODY: u32 = 65_534;

/// Makes the nodes of a place run as an ordinary user, from a copy of the binary that everybody may run, or
/// returns why that is impossible.
pub(crate) fn as_ordinary_user(mut place: NodeFolder) -> Result<NodeFolder, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(place);
    }
    let as_nobody = ["setpriv", &format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "--"].map(str::to_owned);
    let copy = place.path().join("ensue");
    program_file::write(&copy, &std::fs::read(env!("CARGO_BIN_EXE_ensue")).map_err(|error| error.to_string())?);
    give_away(place.path()).map_err(|error| error.to_string())?;
    let mut tried = Command::new(&as_nobody[0]);
    tried.args(&as_nobody[1..]).arg(&copy).arg("--version").stdin(Stdio::null());
    match tried.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("setpriv may not start the node as another user here: {}", said.trim()));
        }
        Err(error) => return Err(format!("there is no setpriv here: {error}")),
    }
    place.go_on_with(&copy);
    Ok(place.within(as_nobody.into()))
}

/// Gives a folder with all its content to that user.
pub(crate) fn give_away(folder: &Path) -> std::io::Result<()> {
    std::os::unix::fs::lchown(folder, Some(NOBODY), Some(NOBODY))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give_away(&entry.path())?;
        } else {
            std::os::unix::fs::lchown(entry.path(), Some(NOBODY), Some(NOBODY))?;
        }
    }
    Ok(())
}
