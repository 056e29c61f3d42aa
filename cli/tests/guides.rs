//! The guides, followed as a newcomer would: in a fresh directory, with nothing but the page, in its order. Every file is written, every command
//! run by a shell, and what a page says that one prints is held against what it did.
//!
//! Writing a rule, which goes through mistakes on purpose, has a test of its own (`guide.rs`).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::page::{Step, blocks};
use crate::support::skipped::has_program;
use crate::support::{ADMIN_TOKEN, Node, Place, Printed};

/// Somebody at the keyboard: a folder, a node in it once it is started, and a shell that keeps its variables.
struct Newcomer {
    place: Place,
    /// What the shell finds programs and its variables in; not the project's.
    desk: tempfile::TempDir,
    node: Option<Node>,
    printed: String,
}

/// What was done of a page.
#[derive(Debug, Default, PartialEq)]
struct Done {
    files: usize,
    commands: usize,
    outputs: usize,
}

impl Newcomer {
    fn new(page: &str) -> Self {
        let place = Place::new().without_variable("ENSUE_KEY_GITHUB_WEBHOOK_SECRET_FILE");
        let place = if page.contains("ensue serve --watch") { place.with_arguments(&["--watch"]) } else { place };
        let desk = tempfile::TempDir::new().unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ensue"), desk.path().join("ensue")).unwrap();
        std::fs::write(desk.path().join("variables"), "").unwrap();
        Self { place, desk, node: None, printed: String::new() }
    }

    async fn follow(&mut self, page: &str) -> Done {
        let mut done = Done::default();
        for block in blocks(page) {
            match block.step() {
                Step::File(path) => {
                    self.write(Path::new(path), &block.text).await;
                    done.files += 1;
                }
                Step::Commands => {
                    self.printed.clear();
                    for command in block.text.replace("\\\n", " ").lines() {
                        self.run(command).await;
                        done.commands += 1;
                    }
                }
                Step::Printed => {
                    assert!(self.printed.contains(block.text.trim_end()), "the page shows\n{}\nit printed\n{}", block.text, self.printed);
                    done.outputs += 1;
                }
                Step::Example => {}
            }
        }
        done
    }

    /// Saves a file; one of a pack is live by the time that anybody has got to the other terminal.
    async fn write(&self, path: &Path, text: &str) {
        let before = match &self.node {
            Some(node) if path.starts_with("packs") => node.client().get("/status").await["catalog"].as_u64(),
            Some(_) | None => None,
        };
        let path: PathBuf = self.place.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        if let (Some(node), Some(before)) = (&self.node, before) {
            node.client().until("/status", |status| status["catalog"].as_u64() > Some(before)).await;
        }
    }

    async fn run(&mut self, command: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            // The test's folder is the project already, and its address and token are its own.
            ["cd", _] | ["export", ..] => {}
            ["ensue", "init", _] => {
                let project = self.place.path().display().to_string();
                self.shell(&format!("ensue init '{project}' --pack my_automation"));
            }
            ["ensue", "serve"] | ["ensue", "serve", "--watch"] => self.node = Some(self.place.start()),
            [..] => self.shell(command),
        }
        if let Some(node) = &self.node {
            // Whoever reads the page types no faster than this.
            let is_quiet =
                |status: &serde_json::Value| status["views_position"] == status["position"] && status["totals"]["executions_open"] == 0;
            node.client().until("/status", is_quiet).await;
        }
    }

    fn shell(&mut self, command: &str) {
        let variables = self.desk.path().join("variables").display().to_string();
        let script = format!("set -ae; . '{variables}'; {command}\nexport -p > '{variables}'");
        let path = format!("{}:{}", self.desk.path().display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(self.place.path()).env_clear().env("PATH", path).env("HOME", self.place.path());
        if let Some(node) = &self.node {
            shell.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN);
        }
        let printed = Printed::by(&mut shell);
        assert_eq!(printed.code, Some(0), "{command}: {}{}", printed.stdout, printed.stderr);
        self.printed.push_str(&printed.stdout);
        self.printed.push_str(&printed.stderr);
    }
}

/// Follows a page, if the programs that it names are here.
async fn followed(test: &str, programs: &[&str], page: &str, expected: Done) {
    if programs.iter().all(|program| has_program(test, program)) {
        assert_eq!(Newcomer::new(page).follow(page).await, expected, "the page is read otherwise");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_to_sending_events_works_as_it_is_written() {
    let page = include_str!("../../docs/guides/send-events.md");
    let test = "the_guide_to_sending_events_works_as_it_is_written";
    followed(test, &["curl", "python3"], page, Done { files: 1, commands: 16, outputs: 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_to_connecting_github_works_as_it_is_written() {
    let page = include_str!("../../docs/guides/connect-github.md");
    let test = "the_guide_to_connecting_github_works_as_it_is_written";
    followed(test, &["curl", "openssl"], page, Done { files: 3, commands: 16, outputs: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_to_watching_and_debugging_works_as_it_is_written() {
    let page = include_str!("../../docs/guides/watch-and-debug.md");
    followed("the_guide_to_watching_and_debugging", &[], page, Done { files: 0, commands: 21, outputs: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_to_measuring_works_as_it_is_written() {
    let page = include_str!("../../docs/guides/measure.md");
    let test = "the_guide_to_measuring_works_as_it_is_written";
    followed(test, &["curl"], page, Done { files: 0, commands: 13, outputs: 1 }).await;
}
