//! The container image: builds its runtime stage with podman and runs it.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{Report, refuse_in_ci};

/// Builds the image around the tested binary, and runs a node in it.
pub(crate) fn check(report: &mut Report) -> Result<()> {
    check_with(report, "container image", &crate::root().join("target/debug/ensue"))
}

fn check_with(report: &mut Report, name: &'static str, binary: &Path) -> Result<()> {
    let missing = ["podman", "runc", "debootstrap"].into_iter().find(|program| Command::new(program).arg("--version").output().is_err());
    if let Some(program) = missing {
        refuse_in_ci(program)?;
        report.skip(name, "`.ci/run` installs podman, runc and debootstrap");
        return Ok(());
    }
    if !is_root() {
        report.skip(name, "debootstrap needs root");
        return Ok(());
    }
    report.time(name, || {
        let root = crate::root();
        let script = root.join("packaging/check-image.sh");
        let status = Command::new(script).arg(binary).status()?;
        ensure!(status.success(), "the image cannot be built or does not run");
        Ok(())
    })
}

/// Builds the binary that a release ships, and runs a node with it in the image.
pub(crate) fn check_shipped(report: &mut Report) -> Result<()> {
    let root = crate::root();
    report.time("shipped binary", || {
        let status = Command::new(root.join("packaging/build.sh")).status()?;
        ensure!(status.success(), "the binary that a release ships cannot be built");
        Ok(())
    })?;
    check_with(report, "container image of it", &root.join("target/dist/ensue"))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}
