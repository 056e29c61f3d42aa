//! A pager for what is longer than the terminal, as `git` and `man` have one.
//!
//! Only where a person sits at the terminal: a pipe gets the text itself.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use tokio::signal::unix::{SignalKind, signal};

use crate::report::Exit;
use crate::table;

/// The program where `$PAGER` is not set.
const DEFAULT_PAGER: &str = "less";
/// What a pipe takes before anybody reads.
const PIPE_BYTES: usize = 64 * 1024;
/// How `less` is called where `$LESS` does not say: colours are shown, the screen is left as it is, and a short text needs no key.
const LESS_OPTIONS: &str = "FRX";

/// Says whether a text is to be paged: a person is there, and it is longer than the terminal.
pub(crate) fn is_wanted(text: &str) -> bool {
    let is_person = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    is_person && table::terminal().is_some_and(|(_, height)| is_longer(text, height))
}

/// Says whether a text and the prompt behind it need more lines than there are.
fn is_longer(text: &str, height: usize) -> bool {
    text.lines().count() >= height
}

/// The command that pages: what `$PAGER` says, as a shell reads it; none where the person wants none.
fn command(pager: Option<&str>) -> Option<Command> {
    let mut command = match pager.map(str::trim) {
        // Not by a shell, which would complain where there is no such program.
        None => Command::new(DEFAULT_PAGER),
        Some("" | "cat") => return None,
        Some(line) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", line]);
            shell
        }
    };
    command.stdin(Stdio::piped());
    Some(command)
}

/// Shows a text in the pager, and waits until it is left; false where there is no pager, or it failed before it had taken all.
pub(crate) fn show(text: &str) -> bool {
    let pager = std::env::var("PAGER").ok();
    let Some(mut command) = command(pager.as_deref()) else { return false };
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", LESS_OPTIONS);
    }
    let _held = HeldInterrupts::begin();
    let Ok(mut started) = command.spawn() else { return false };
    let is_taken = started.stdin.take().is_some_and(|mut stdin| writeln!(stdin, "{text}").is_ok());
    let has_failed = started.wait().is_ok_and(|end| end.code().is_some_and(|code| code != 0));
    // Who leaves the pager early has seen enough; a short text fits into the pipe of one that never read it.
    !has_failed || (is_taken && text.len() > PIPE_BYTES)
}

/// While it lasts, Ctrl-C is the pager's, which goes back to its prompt. The terminal sends it to both: ended by it, we would leave the pager
/// behind without a parent, at a terminal that the shell has taken back.
struct HeldInterrupts {
    are_held: Arc<AtomicBool>,
}

impl HeldInterrupts {
    fn begin() -> Self {
        let are_held = Arc::new(AtomicBool::new(true));
        let (listens, heard) = sync_channel(1);
        // A thread of its own: the one that waits for the pager can wait for nothing else.
        std::thread::spawn({
            let are_held = Arc::clone(&are_held);
            move || {
                let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
                runtime.block_on(async {
                    let Ok(mut interrupts) = signal(SignalKind::interrupt()) else { return };
                    let _ = listens.send(());
                    while interrupts.recv().await.is_some() {
                        // Once listened for, the signal never ends a program by itself again.
                        if !are_held.load(Ordering::Acquire) {
                            Exit::Interrupted.now();
                        }
                    }
                });
            }
        });
        // Where nothing can be listened for, Ctrl-C does what it does.
        let _ = heard.recv();
        Self { are_held }
    }
}

impl Drop for HeldInterrupts {
    fn drop(&mut self) {
        self.are_held.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_longer_than_the_terminal_is_paged() {
        assert!(!is_longer(&"line\n".repeat(23), 24));
        assert!(is_longer(&"line\n".repeat(24), 24));
    }

    #[test]
    fn pager_is_disabled_by_an_empty_name_or_cat() {
        let started = |pager| command(pager).map(|command| command.get_program().to_owned());
        assert_eq!(started(None), Some("less".into()));
        assert_eq!(started(Some("more -d")), Some("sh".into()));
        assert_eq!((started(Some("")), started(Some("cat"))), (None, None));
    }
}
