//! A pager for text that is longer than the terminal, as in `git` and `man`.
//!
//! It is used only if a person is at the terminal: a pipe gets the text itself.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGINT;
use signal_hook::flag::register_conditional_shutdown;

use crate::report::Exit;
use crate::table;

/// The program used if `$PAGER` is not set.
const DEFAULT_PAGER: &str = "less";
/// How much a pipe buffers before anything is read.
const PIPE_BYTES: usize = 64 * 1024;
/// The options of `less` if `$LESS` does not set them: colors are shown, the screen is left as it is, and a
/// short text needs no key.
const LESS_OPTIONS: &str = "FRX";

/// Returns true if a text needs a pager: a person is present, and it is longer than the terminal.
pub(crate) fn is_wanted(text: &str) -> bool {
    let is_person = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    is_person && table::terminal().is_some_and(|(_, height)| is_longer(text, height))
}

/// Returns true if a text and the prompt after it need more lines than the terminal has.
fn is_longer(text: &str, height: usize) -> bool {
    text.lines().count() >= height
}

/// Returns the pager command, parsed from `$PAGER` as a shell does; `None` if the user wants no pager.
fn command(pager: Option<&str>) -> Option<Command> {
    let mut command = match pager.map(str::trim) {
        // Not through a shell, which would complain if there is no such program.
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

/// Shows a text in the pager, and waits until it is closed. Returns false if there is no pager, or it failed
/// before it had read everything.
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
    // A user who leaves the pager early has seen enough; a short text fits into the pipe even if the pager
    // never read it.
    !has_failed || (is_taken && text.len() > PIPE_BYTES)
}

/// While this exists, Ctrl-C belongs to the pager, which returns to its prompt. The terminal sends the signal
/// to both processes. If it ended this one, the pager would be left without a parent, at a terminal that the
/// shell has taken back.
struct HeldInterrupts {
    are_released: Arc<AtomicBool>,
}

impl HeldInterrupts {
    fn begin() -> Self {
        let are_released = Arc::new(AtomicBool::new(false));
        // The handler itself decides: a thread that waits for the signal may run only after the pager is
        // closed, and would take the pager's Ctrl-C for its own. If no handler can be installed, Ctrl-C keeps
        // its default effect.
        let _ = register_conditional_shutdown(SIGINT, Exit::Interrupted as i32, Arc::clone(&are_released));
        Self { are_released }
    }
}

impl Drop for HeldInterrupts {
    fn drop(&mut self) {
        self.are_released.store(true, Ordering::SeqCst);
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
