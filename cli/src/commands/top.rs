//! `ensue top`: a node as it works, drawn again each second until somebody has seen enough.
//!
//! Here the node is asked and keys are read; `crate::screen` draws.

use std::time::Duration;

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Asking;
use crate::client::Client;
use crate::report::{Exit, Failure, Outcome};
use crate::screen::{Look, Metrics, Screen};
use crate::{style, table};

/// How often the node is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a look may take before the screen says that what it shows is old.
const LOOK_PATIENCE: Duration = Duration::from_secs(3);
/// How long a key is waited for before it is looked whether anybody still waits for keys.
const KEY_PATIENCE: Duration = Duration::from_millis(200);
/// The most executions that are asked for; a terminal has no more lines.
const EXECUTIONS_MAX: u16 = 100;
/// The most rules among which those that erred are looked for: a page of the API.
const RULES_MAX: u16 = 200;

/// Watch the rates, queues, running executions and failing rules of a node. `q` quits.
#[derive(Debug, Args)]
pub(crate) struct Top;

impl Top {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        if table::terminal().is_none() || style::is_dumb() {
            return Err(Failure::with(Exit::Usage, "`ensue top` needs a terminal, but standard output is not a terminal")
                .hint("for programs, use `ensue status --watch -o json`"));
        }
        let client = asking.client()?;
        // What is wrong from the beginning is told where it can be read afterwards.
        let mut screen = Screen::new(client.server(), look(&client).await?);
        let terminal = ratatui::try_init();
        let mut terminal = terminal.map_err(|error| Failure::new(format!("the terminal cannot be used: {error}")))?;
        let outcome = show(&client, &mut screen, &mut terminal).await;
        ratatui::restore();
        outcome
    }
}

/// Draws until somebody quits, or the node does not let this caller look any more.
async fn show(client: &Client, screen: &mut Screen, terminal: &mut DefaultTerminal) -> Outcome {
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
                Some(Key::Quit) | None => return Ok(()),
                Some(Key::Other) => {}
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

/// Looks at a node. What it is asked is asked at once: a slow line costs one answer's time, and not that of four.
async fn look(client: &Client) -> Result<Look, Failure> {
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
    Ok(Look { at: std::time::Instant::now(), status, metrics: Metrics::read(&metrics), running, rules })
}

/// What somebody did at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Quit,
    /// Anything else: the terminal may have another size.
    Other,
}

/// Reads keys on a thread of its own, which ends when nobody waits for them.
fn keys() -> mpsc::Receiver<Key> {
    let (to, keys) = mpsc::channel(1);
    std::thread::spawn(move || {
        while !to.is_closed() {
            let key = match event::poll(KEY_PATIENCE).and_then(|is_there| if is_there { event::read().map(Some) } else { Ok(None) }) {
                Ok(Some(event)) => meaning(&event),
                Ok(None) => continue,
                // A terminal that is gone asks for nothing more.
                Err(_) => Key::Quit,
            };
            if to.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}

fn meaning(event: &Event) -> Key {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Release => Key::Other,
        Event::Key(key) => match (key.code, key.modifiers) {
            (KeyCode::Char('q') | KeyCode::Esc, _) | (KeyCode::Char('c'), KeyModifiers::CONTROL) => Key::Quit,
            (_, _) => Key::Other,
        },
        _ => Key::Other,
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
            assert_eq!(key(code, KeyModifiers::NONE), Key::Quit);
        }
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Key::Quit);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), Key::Other);
        assert_eq!(meaning(&Event::Resize(1, 1)), Key::Other);
    }
}
