//! The command line at a terminal: a person's input reaches the right program.

#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::support::skipped::has_program;
use crate::support::{ADMIN_TOKEN, CommandOutput, Node, NodeFolder, program_file, until};

/// A command at a terminal of 10 lines and 80 columns, created by `script` of util-linux.
struct AtTerminal {
    script: Child,
    chunks: Receiver<Vec<u8>>,
    shown: Vec<u8>,
}

/// How long the terminal may show nothing new before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

impl AtTerminal {
    fn of(place: &NodeFolder, node: &Node, line: &str, variables: &[(&str, &str)]) -> Self {
        let binary = env!("CARGO_BIN_EXE_ensue");
        // A test that runs in the background of a script may have inherited that Ctrl-C is ignored.
        let line = format!("stty rows 10 cols 80; exec /usr/bin/env --default-signal=INT '{binary}' {line}");
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]).current_dir(place.path());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", place.path());
        command.env("SHELL", "/bin/sh").env("TERM", "xterm-256color").env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN);
        command.envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().unwrap();
        let mut stdout = script.stdout.take().unwrap();
        let (tell, chunks) = sync_channel(64);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stdout.read(&mut bytes) {
                if tell.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { script, chunks, shown: Vec::new() }
    }

    /// Types keys, as a person would.
    fn types(&mut self, keys: &str) {
        let stdin = self.script.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).and_then(|()| stdin.flush()).unwrap();
    }

    /// Reads until the terminal has shown a text.
    fn until_shown(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.shown).contains(text) {
            let shown = || String::from_utf8_lossy(&self.shown).into_owned();
            let chunk = self.chunks.recv_timeout(PATIENCE).unwrap_or_else(|why| panic!("`{text}` is not shown ({why}): {}", shown()));
            self.shown.extend_from_slice(&chunk);
        }
    }

    /// Waits for its end. Returns its exit code and everything that the terminal showed.
    fn end(mut self) -> (Option<i32>, String) {
        loop {
            match self.chunks.recv_timeout(PATIENCE) {
                Ok(chunk) => self.shown.extend_from_slice(&chunk),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {}", String::from_utf8_lossy(&self.shown)),
            }
        }
        (self.script.wait().unwrap().code(), String::from_utf8_lossy(&self.shown).into_owned())
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// A pager that reports its start, an interrupt, and its end.
const PAGER: &str = "#!/bin/sh
trap 'touch interrupted' INT
cat > paged
touch begun
until read key < /dev/tty; do :; done
touch left
";

#[tokio::test]
async fn ctrl_c_in_the_pager_goes_to_the_pager_and_leaves_no_process() {
    if !has_program("ctrl_c_in_the_pager_goes_to_the_pager_and_leaves_no_process", "script") {
        return;
    }
    let place = NodeFolder::new();
    let node = place.start();
    let pager = place.path().join("pager");
    program_file::write(&pager, PAGER.as_bytes());
    let has = |file: &str| place.path().join(file).exists();
    let mut terminal = AtTerminal::of(&place, &node, "triggers list", &[("PAGER", pager.to_str().unwrap())]);
    until("the pager begins", async || has("begun")).await;
    terminal.types("\u{3}");
    until("the pager is interrupted", async || has("interrupted")).await;
    terminal.types("q\n");
    until("the pager is left", async || has("left")).await;
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    let paged = std::fs::read_to_string(place.path().join("paged")).unwrap();
    assert!(paged.lines().count() > 10 && paged.starts_with("TRIGGER"), "{paged}");
}

#[tokio::test]
async fn text_is_printed_if_the_pager_fails_or_is_missing() {
    let name = "text_is_printed_if_the_pager_fails_or_is_missing";
    if !has_program(name, "script") {
        return;
    }
    let place = NodeFolder::new();
    let node = place.start();
    // A machine without `less`.
    let bare = place.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for program in ["script", "sh", "stty"] {
        let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists());
        std::os::unix::fs::symlink(found.unwrap(), bare.join(program)).unwrap();
    }
    for variable in [("PAGER", "exit 3"), ("PATH", bare.to_str().unwrap())] {
        let (code, shown) = AtTerminal::of(&place, &node, "triggers list", &[variable]).end();
        assert_eq!(code, Some(0), "{variable:?}: {shown}");
        assert!(shown.starts_with("TRIGGER") && shown.lines().count() > 10, "{variable:?}: {shown}");
    }
}

#[tokio::test]
async fn watched_list_is_redrawn_in_place_until_ctrl_c() {
    if !has_program("watched_list_is_redrawn_in_place_until_ctrl_c", "script") {
        return;
    }
    let place = NodeFolder::new();
    let node = place.start();
    let mut terminal = AtTerminal::of(&place, &node, "executions list --watch", &[]);
    terminal.until_shown("STATUS");
    node.client().run("core.noop", &serde_json::json!({})).await;
    terminal.until_shown("succeeded");
    terminal.types("\u{3}");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(130), "{shown}");
    let frames: Vec<&str> = shown.split("\u{1b}[H").skip(1).collect();
    assert!(frames.len() > 1 && frames.iter().all(|frame| frame.starts_with("ID ")), "{frames:?}");
}

#[test]
fn status_watch_runs_until_q_and_restores_the_terminal() {
    if !has_program("status_watch_runs_until_q_and_restores_the_terminal", "script") {
        return;
    }
    let place = NodeFolder::new();
    let node = place.start();
    let mut terminal = AtTerminal::of(&place, &node, "top", &[]);
    terminal.until_shown("q quits");
    terminal.until_shown("/s");
    terminal.types("q");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    let (taken, given_back) = (shown.find("\u{1b}[?1049h").unwrap(), shown.rfind("\u{1b}[?1049l").unwrap());
    assert!(taken < given_back && shown.contains("rates"), "{shown}");

    let piped = CommandOutput::by(place.ensue(&["top", "--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN));
    assert_eq!((piped.code, piped.stdout.as_str()), (Some(2), ""), "{piped:?}");
    assert!(piped.stderr.contains("ensue status --watch"), "{piped:?}");
}

#[test]
fn long_work_shows_a_progress_bar_only_at_a_terminal() {
    if !has_program("long_work_shows_a_progress_bar_only_at_a_terminal", "script") {
        return;
    }
    let place = NodeFolder::new();
    let node = place.start();
    for (line, bar) in [("log verify", "verifying "), ("views rebuild", "rebuilding ")] {
        let (code, shown) = AtTerminal::of(&place, &node, line, &[]).end();
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.contains(bar) && shown.contains(" records"), "{shown}");
        let (code, shown) = AtTerminal::of(&place, &node, line, &[("TERM", "dumb")]).end();
        assert!(code == Some(0) && !shown.contains(bar), "{shown}");
        let arguments: Vec<&str> = line.split(' ').chain(["--server"]).collect();
        let piped = CommandOutput::by(place.ensue(&arguments).arg(node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
        assert!(piped.code == Some(0) && !piped.stderr.contains(bar), "{piped:?}");
    }
}
