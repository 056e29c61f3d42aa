//! The container image: builds its runtime stage with podman and runs it.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{Report, refuse_in_ci};

const NAME: &str = "container image";

/// Builds the image around the tested binary, and runs a node in it.
pub(crate) fn check(report: &mut Report) -> Result<()> {
    let missing = ["podman", "runc", "debootstrap"].into_iter().find(|program| Command::new(program).arg("--version").output().is_err());
    if let Some(program) = missing {
        refuse_in_ci(program)?;
        report.skip(NAME, "`.ci/run` installs podman, runc and debootstrap");
        return Ok(());
    }
    if !is_root() {
        report.skip(NAME, "debootstrap needs root");
        return Ok(());
    }
    report.time(NAME, || {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let script = root.join("packaging/check-image.sh");
        let status = Command::new(script).arg(root.join("target/debug/ensue")).status()?;
        ensure!(status.success(), "the image cannot be built or does not run");
        Ok(())
    })
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}
