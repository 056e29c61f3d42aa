//! `ensue top`: a live view of a node, redrawn every second until the user quits.
//!
//! This file polls the node and reads keys; `crate::screen` draws.

use std::time::Duration;

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Asking;
use crate::client::Client;
use crate::report::{CommandResult, Exit, Failure};
use crate::screen::{Metrics, Screen, StatusSample};
use crate::{style, table};

/// How often the node is polled.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a poll may take before the screen reports that its data is old.
const LOOK_PATIENCE: Duration = Duration::from_secs(3);
/// The timeout for a key, after which the thread checks whether keys are still needed.
const KEY_PATIENCE: Duration = Duration::from_millis(200);
/// The most executions requested; a terminal has no more lines.
const EXECUTIONS_MAX: u16 = 100;
/// The most rules searched for those that erred: a page of the API.
const RULES_MAX: u16 = 200;

/// Watch rates, queues, running executions and failing rules. `q` quits.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue top
  ensue top --profile production")]
pub(crate) struct Top;

impl Top {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        if table::terminal().is_none() || style::is_dumb() {
            return Err(Failure::with(Exit::Usage, "`ensue top` needs a terminal, but standard output is not a terminal")
                .hint("for programs, use `ensue status --watch -o json`"));
        }
        let client = asking.client()?;
        // An error at the start is reported where it can still be read afterwards.
        let mut screen = Screen::new(client.server(), look(&client).await?);
        let terminal = ratatui::try_init();
        let mut terminal = terminal.map_err(|error| Failure::new(format!("the terminal cannot be used: {error}")))?;
        let outcome = show(&client, &mut screen, &mut terminal).await;
        ratatui::restore();
        outcome
    }
}

/// Draws until the user quits, or the node no longer lets this caller read.
async fn show(client: &Client, screen: &mut Screen, terminal: &mut DefaultTerminal) -> CommandResult {
    let (to, mut looks) = mpsc::channel(1);
    let mut keys = keys();
    let looking = async {
        let mut turns = tokio::time::interval(LOOK_EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if to.send(look(client).await).await.is_err() {
                return;
            }
        }
    };
    let mut looking = std::pin::pin!(looking);
    loop {
        terminal.draw(|frame| screen.draw(frame)).map_err(|error| Failure::new(format!("the terminal cannot be used: {error}")))?;
        tokio::select! {
            () = &mut looking => return Ok(()),
            key = keys.recv() => match key {
                Some(KeyPress::Quit) | None => return Ok(()),
                Some(KeyPress::Other) => {}
            },
            look = looks.recv() => match look {
                Some(Ok(look)) => screen.see(look),
                Some(Err(failure)) if matches!(failure.exit(), Exit::Unreachable | Exit::TryLater) => screen.miss(&failure),
                Some(Err(failure)) => return Err(failure),
                None => return Ok(()),
            },
        }
    }
}

/// Polls a node. All requests are sent at once, so that a slow connection costs one round trip instead of
/// four.
async fn look(client: &Client) -> Result<StatusSample, Failure> {
    let query = [("status", "running".to_owned()), ("limit", EXECUTIONS_MAX.to_string())];
    let rules = [("limit", RULES_MAX.to_string())];
    let asked = async {
        tokio::try_join!(
            client.get("/status", &[]),
            client.get_text("/metrics"),
            client.get("/executions", &query),
            client.get("/rules", &rules)
        )
    };
    let silent = || Failure::with(Exit::TryLater, format!("{} has not answered for {} s", client.server(), LOOK_PATIENCE.as_secs()));
    let (status, metrics, running, rules) = tokio::time::timeout(LOOK_PATIENCE, asked).await.unwrap_or_else(|_| Err(silent()))?;
    Ok(StatusSample { at: std::time::Instant::now(), status, metrics: Metrics::read(&metrics), running, rules })
}

/// An input at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyPress {
    Quit,
    /// Anything else: the terminal may have been resized.
    Other,
}

/// Reads keys on a thread of its own, which ends when nobody waits for them.
fn keys() -> mpsc::Receiver<KeyPress> {
    let (to, keys) = mpsc::channel(1);
    std::thread::spawn(move || {
        while !to.is_closed() {
            let key = match event::poll(KEY_PATIENCE).and_then(|is_there| if is_there { event::read().map(Some) } else { Ok(None) }) {
                Ok(Some(event)) => meaning(&event),
                Ok(None) => continue,
                // A terminal that is gone sends no more input.
                Err(_) => KeyPress::Quit,
            };
            if to.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}

fn meaning(event: &Event) -> KeyPress {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Release => KeyPress::Other,
        Event::Key(key) => match (key.code, key.modifiers) {
            (KeyCode::Char('q') | KeyCode::Esc, _) | (KeyCode::Char('c'), KeyModifiers::CONTROL) => KeyPress::Quit,
            (_, _) => KeyPress::Other,
        },
        _ => KeyPress::Other,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn q_escape_and_ctrl_c_are_the_only_keys_that_quit() {
        let key = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(key(code, KeyModifiers::NONE), KeyPress::Quit);
        }
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), KeyPress::Quit);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), KeyPress::Other);
        assert_eq!(meaning(&Event::Resize(1, 1)), KeyPress::Other);
    }
}
