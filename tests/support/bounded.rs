//! Commands that a test waits for, with a limit. Included by the tests of several crates.

use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How long a command may take. None of the tests takes a tenth of it, also beside load.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long the rest of the output of a killed command is waited for.
const REST: Duration = Duration::from_secs(5);

/// Runs a command to its end, and returns its output. Fails if the command, or a process that it left and that has its output, has
/// not ended in time.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    output_of(child, &format!("{command:?}"))
}

/// Waits until a child has ended, whose output is piped. `name` is what it is called if it does not end.
#[track_caller]
pub(crate) fn output_of(child: Child, name: &str) -> Output {
    let id = child.id().to_string();
    let (ended, ends) = sync_channel(1);
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    if let Ok(output) = ends.recv_timeout(LIMIT) {
        return output.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let _ = Command::new("kill").args(["-KILL", &id]).status();
    let printed = ends.recv_timeout(REST).map(|output| output.map(|output| (text(&output.stdout), text(&output.stderr))));
    panic!("{name} had not ended after {LIMIT:?}; it printed {printed:?}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
