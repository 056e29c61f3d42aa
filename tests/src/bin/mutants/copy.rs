//! A copy of the workspace in which the bugs are planted, and the simulator that is built there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use ensue_mutants::patch;

use crate::cargo::cargo;

/// The crate root that declares the module with the seam, and the file of the module.
const ENGINE: &str = "engine/src/lib.rs";
const SEAM: &str = "engine/src/mutants.rs";
const DECLARED: &str = "pub mod mutants;";
/// The manifest of the workspace, and the version of its crates: there, and in the copy. Both workspaces share a target folder, so
/// that dependencies are built once, and cargo would take their crates for the same if the versions were equal.
const MANIFEST: &str = "Cargo.toml";
const VERSION: &str = concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"");
const VERSION_OF_COPY: &str = concat!("version = \"", env!("CARGO_PKG_VERSION"), "+mutants\"");

/// Builds this program with all bugs planted. Returns the built program.
pub(crate) fn build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in the workspace")?;
    let itself = std::env::current_exe()?;
    let target = itself.parent().and_then(Path::parent).context("this program lies in a target folder")?;
    let (source, planted) = (target.join("mutants/source"), target.join("mutants/planted"));
    write(root, &source)?;
    // Offline: only the versions of our own crates differ from what is locked.
    let with = ["build", "-q", "--workspace", "--bin", "mutants", "--offline", "--target-dir"];
    let status = cargo(&with).arg(target).current_dir(&source).status().context("cargo does not start")?;
    if !status.success() {
        bail!("the sources with the bugs of {} do not compile: renew the patch that the error shows", patch::FOLDER);
    }
    // The next build of the workspace puts its own program at this place.
    fs::copy(target.join("debug/mutants"), &planted).context("the program with the bugs")?;
    Ok(planted)
}

/// Writes the copy. Files that have not changed are left as they are, so that cargo does not build them again.
fn write(root: &Path, to: &Path) -> Result<()> {
    let mut planted = patch::apply(root, &patch::read_all(root)?)?;
    let read = |path: &str| fs::read_to_string(root.join(path)).with_context(|| path.to_owned());
    planted.insert(SEAM.to_owned(), read(&format!("{}/seam.rs", patch::FOLDER))?);
    let manifest = read(MANIFEST)?;
    let (before, after) = manifest.split_once(VERSION).with_context(|| format!("{MANIFEST} has no line `{VERSION}`"))?;
    planted.insert(MANIFEST.to_owned(), format!("{before}{VERSION_OF_COPY}{after}"));
    let engine = planted.remove(ENGINE).map_or_else(|| read(ENGINE), Ok)?;
    planted.insert(ENGINE.to_owned(), format!("{engine}\n{DECLARED}\n"));
    let mut written: BTreeSet<PathBuf> = BTreeSet::new();
    for path in files(root)?.into_iter().filter(|path| !planted.contains_key(path)) {
        // A file that git knows may have been deleted.
        if let Ok(content) = fs::read(root.join(&path)) {
            written.insert(write_changed(&to.join(path), &content)?);
        }
    }
    for (path, text) in &planted {
        written.insert(write_changed(&to.join(path), text.as_bytes())?);
    }
    remove_others(to, &written)
}

/// Returns the files that git knows or would add, as paths from the root.
fn files(root: &Path) -> Result<Vec<String>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(list).current_dir(root).output().context("git does not start")?;
    if !output.status.success() {
        bail!("git cannot list the files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let listed = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(listed.split_terminator('\0').map(str::to_owned).collect())
}

fn write_changed(path: &Path, content: &[u8]) -> Result<PathBuf> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(path.to_owned());
    }
    let folder = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).and_then(|()| fs::write(path, content)).with_context(|| path.display().to_string())?;
    Ok(path.to_owned())
}

/// Removes all other files below a folder: cargo finds some sources by their place.
fn remove_others(folder: &Path, written: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, written)?;
        } else if !written.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
