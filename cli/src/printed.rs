//! Prints the output of attempts: all of it, or live, including across restarts of the node.
//!
//! Programs get it unchanged. At a terminal, it cannot control the terminal.

use std::io::IsTerminal;
use std::ops::ControlFlow;

use clap::ValueEnum;
use ensue_engine::names::Names;
use serde_json::Value;

use crate::client::Client;
use crate::live;
use crate::report::{Exit, Failure, Outcome, printable, say, say_bytes, tell, tell_bytes};
use crate::table::text;

/// A stream of an attempt's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Names)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error: the log, for people.
    Stderr,
}

/// Prints streams as they come, until the execution has ended.
pub(crate) async fn follow(client: &Client, path: &str, only: Option<Stream>) -> Outcome {
    let mut query = vec![("follow", "true".to_owned())];
    query.extend(only.map(|stream| ("stream", stream.as_str().to_owned())));
    let mut out = Screens::default();
    live::follow_on(client, path, &query, |told| {
        if told.name == "output" {
            out.part(&told.data);
        }
        if told.name == live::END { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await
}

/// Prints a whole stream, after the title if there is any output. The title is then taken, because two
/// streams share it.
pub(crate) async fn print_whole(client: &Client, path: &str, stream: Stream, title: &mut Option<String>) -> Outcome {
    let name = stream.as_str().to_owned();
    let mut response = client.stream(path, &[("stream", name.clone())], "text/plain").await?;
    let mut out = Screens::default();
    let mut offset = 0;
    let (mut has_title, mut ends_a_line) = (false, true);
    let broken = |error: reqwest::Error| Failure::with(Exit::Unreachable, format!("the output was interrupted: {error}"));
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if let Some(title) = title.take_if(|_| !chunk.is_empty()) {
            say(printable(&title));
            has_title = true;
        }
        offset += chunk.len();
        ends_a_line = chunk.ends_with(b"\n");
        out.bytes(stream, &chunk);
    }
    if has_title && !ends_a_line {
        // The next title begins a line.
        out.bytes(stream, b"\n");
    }
    let end = client.get(path, &[("stream", name), ("offset", offset.to_string())]).await?;
    tell_lost(&end["items"][0]);
    Ok(())
}

/// The destinations of the two streams: standard output to ours, standard error to ours.
#[derive(Default)]
struct Screens {
    stdout: Screen,
    stderr: Screen,
}

impl Screens {
    fn part(&mut self, part: &Value) {
        let stream = if text(part, "stream") == Stream::Stderr.as_str() { Stream::Stderr } else { Stream::Stdout };
        self.bytes(stream, text(part, "text").as_bytes());
        tell_lost(part);
    }

    fn bytes(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout if std::io::stdout().is_terminal() => say_bytes(self.stdout.shown(bytes).as_bytes()),
            Stream::Stdout => say_bytes(bytes),
            Stream::Stderr if std::io::stderr().is_terminal() => tell_bytes(self.stderr.shown(bytes).as_bytes()),
            Stream::Stderr => tell_bytes(bytes),
        }
    }
}

/// A stream on its way to a terminal: holds the beginning of a character whose rest has not arrived.
#[derive(Default)]
struct Screen {
    begun: Vec<u8>,
}

impl Screen {
    /// Returns the next bytes as shown, without anything that controls a terminal.
    fn shown(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&all) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => all.len(),
        };
        self.begun = all.split_off(whole);
        printable(&String::from_utf8_lossy(&all))
    }
}

fn tell_lost(part: &Value) {
    if let Some(dropped) = part["bytes_dropped"].as_u64().filter(|dropped| *dropped > 0) {
        tell(format!("… {dropped} more bytes were printed but not kept"));
    }
    if text(part, "state") == "truncated" && part["bytes_dropped"] == 0 {
        tell(format!("… more may have been printed on {} before the machine was lost that ran the attempt", text(part, "stream")));
    }
    if text(part, "state") == "removed" {
        tell(format!("… the output on {} was deleted because it was old or to free space", text(part, "stream")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_output_contains_no_control_sequences() {
        let mut screen = Screen::default();
        let shown = screen.shown(b"\x1b]0;title\x07ok\r\x1b[2Kfaked\tcolumn\n\x9b31m");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\r', '\u{9b}']), "{shown:?}");
        assert!(shown.contains("ok") && shown.contains("faked\tcolumn\n"), "{shown:?}");
        assert!(!screen.shown("\u{9b}31m".as_bytes()).contains('\u{9b}'));
    }

    #[test]
    fn split_character_is_printed_once_complete() {
        let mut screen = Screen::default();
        let (first, second) = "né".as_bytes().split_at(2);
        assert_eq!((screen.shown(first).as_str(), screen.shown(second).as_str()), ("n", "é"));
    }
}
