//! Programs that a test writes and then runs.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a program that everybody may run.
///
/// Another process writes it. A process that another test starts meanwhile has the open files of this one until it runs its own
/// program, and the kernel runs no program that is open for writing.
pub(crate) fn write(at: &Path, content: &[u8]) {
    let mut writer = Command::new("sh");
    writer.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(at).stdin(Stdio::piped());
    let mut writer = writer.spawn().unwrap();
    writer.stdin.take().unwrap().write_all(content).unwrap();
    assert!(writer.wait().unwrap().success(), "{} cannot be written", at.display());
}
