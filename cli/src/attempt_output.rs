//! Prints the output of attempts: all of it, or live, including across restarts of the node.
//!
//! Programs get it unchanged. At a terminal, it cannot control the terminal.

use std::io::IsTerminal;
use std::ops::ControlFlow;

use clap::ValueEnum;
use ensue_engine::names::Names;
use serde_json::Value;

use crate::client::Client;
use crate::report::{CommandResult, Exit, Failure, eprint_bytes, eprint_line, printable, say, say_bytes};
use crate::sse;
use crate::table::text;

/// A stream of an attempt's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Names)]
pub(crate) enum AttemptStream {
    /// Standard output.
    Stdout,
    /// Standard error: the log, for people.
    Stderr,
}

/// Prints streams as they come, until the execution has ended.
pub(crate) async fn follow(client: &Client, path: &str, only: Option<AttemptStream>) -> CommandResult {
    let mut query = vec![("follow", "true".to_owned())];
    query.extend(only.map(|stream| ("stream", stream.as_str().to_owned())));
    let mut out = Screens::default();
    sse::follow_on(client, path, &query, |told| {
        if told.name == "output" {
            out.part(&told.data);
        }
        if told.name == sse::END { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await
}

/// Prints a whole stream, after the title if there is any output. The title is then taken, because two
/// streams share it.
pub(crate) async fn print_whole(client: &Client, path: &str, stream: AttemptStream, title: &mut Option<String>) -> CommandResult {
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
    print_loss(&end["items"][0]);
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
        let stream = if text(part, "stream") == AttemptStream::Stderr.as_str() { AttemptStream::Stderr } else { AttemptStream::Stdout };
        self.bytes(stream, text(part, "text").as_bytes());
        print_loss(part);
    }

    fn bytes(&mut self, stream: AttemptStream, bytes: &[u8]) {
        match stream {
            AttemptStream::Stdout if std::io::stdout().is_terminal() => say_bytes(self.stdout.render(bytes).as_bytes()),
            AttemptStream::Stdout => say_bytes(bytes),
            AttemptStream::Stderr if std::io::stderr().is_terminal() => eprint_bytes(self.stderr.render(bytes).as_bytes()),
            AttemptStream::Stderr => eprint_bytes(bytes),
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
    fn render(&mut self, bytes: &[u8]) -> String {
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

fn print_loss(part: &Value) {
    if let Some(dropped) = part["bytes_dropped"].as_u64().filter(|dropped| *dropped > 0) {
        eprint_line(format!("… {dropped} more bytes were printed but not kept"));
    }
    if text(part, "state") == "truncated" && part["bytes_dropped"] == 0 {
        eprint_line(format!("… more may have been printed on {} before the machine was lost that ran the attempt", text(part, "stream")));
    }
    if text(part, "state") == "removed" {
        eprint_line(format!("… the output on {} was deleted because it was old or to free space", text(part, "stream")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_output_contains_no_control_sequences() {
        let mut screen = Screen::default();
        let shown = screen.render(b"\x1b]0;title\x07ok\r\x1b[2Kfaked\tcolumn\n\x9b31m");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\r', '\u{9b}']), "{shown:?}");
        assert!(shown.contains("ok") && shown.contains("faked\tcolumn\n"), "{shown:?}");
        assert!(!screen.render("\u{9b}31m".as_bytes()).contains('\u{9b}'));
    }

    #[test]
    fn split_character_is_printed_once_complete() {
        let mut screen = Screen::default();
        let (first, second) = "né".as_bytes().split_at(2);
        assert_eq!((screen.render(first).as_str(), screen.render(second).as_str()), ("n", "é"));
    }
}
