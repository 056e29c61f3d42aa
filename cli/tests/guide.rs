//! The guide "write a rule", followed as a new author would: every file is written and every command run, in the page's order.
//!
//! What a command printed is compared where the page shows it; that it reads well is for readers.

use std::process::Command;

use crate::support::page::{Step, blocks};
use crate::support::{ADMIN_TOKEN, Node, Place, Printed};

const PAGE: &str = include_str!("../../docs/guides/write-a-rule.md");

/// The author at the keyboard.
struct Author {
    place: Place,
    node: Option<Node>,
    printed: String,
}

impl Author {
    async fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            // The test's folder is the project already.
            ["cd", _] | ["export", ..] => {}
            ["ensue", "init", _] => {
                let project = self.place.path().display().to_string();
                self.printed = succeeded(line, &mut self.place.ensue(&["init", &project, "--pack", "my_automation"]));
            }
            ["ensue", "serve", "--watch"] => self.node = Some(self.place.start()),
            ["ensue", ..] => self.ask(line).await,
            _ => {
                let mut shell = Command::new("sh");
                self.printed = succeeded(line, shell.args(["-c", line]).current_dir(self.place.path()));
            }
        }
    }

    /// Asks the binary, and where one runs its node.
    async fn ask(&mut self, line: &str) {
        let mut line = line.to_owned();
        if let Some(node) = &self.node {
            if line.contains("EVENT") {
                let events = node.client().until("/events?trigger=github.issues", |page| page["items"][0]["id"].is_string()).await;
                line = line.replace("EVENT", events["items"][0]["id"].as_str().unwrap());
            }
            if line.contains("executions list") {
                node.client().until("/executions", |page| page["items"][0]["action"] == "core.shell").await;
            }
        }
        // By a shell, because the page quotes for one.
        let binary = env!("CARGO_BIN_EXE_ensue");
        let mut command = self.place.ensue(&[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &line.replacen("ensue", binary, 1)]).current_dir(self.place.path()).env_clear();
        shell.envs(command.env("ENSUE_TOKEN", ADMIN_TOKEN).get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(node) = &self.node {
            shell.env("ENSUE_SERVER", node.url());
        }
        let printed = Printed::by(&mut shell);
        // The page checks a mistake on purpose.
        let is_fine = printed.code == Some(0) || printed.stdout.contains("did you mean");
        assert!(is_fine, "{line}: {}{}", printed.stdout, printed.stderr);
        self.printed = printed.stdout;
    }
}

fn succeeded(line: &str, command: &mut Command) -> String {
    let printed = Printed::by(command);
    assert_eq!(printed.code, Some(0), "{line}: {}{}", printed.stdout, printed.stderr);
    printed.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_to_writing_a_rule_works_as_it_is_written() {
    let place = Place::new().without_variable("ENSUE_KEY_GITHUB_WEBHOOK_SECRET_FILE").with_arguments(&["--watch"]);
    let mut author = Author { place, node: None, printed: String::new() };
    let (mut files, mut commands, mut outputs) = (0, 0, 0);
    for block in blocks(PAGE) {
        match block.step() {
            Step::File(path) => {
                std::fs::create_dir_all(author.place.path().join(path).parent().unwrap()).unwrap();
                let before = match &author.node {
                    Some(node) => node.client().get("/status").await["catalog"].as_u64(),
                    None => None,
                };
                std::fs::write(author.place.path().join(path), &block.text).unwrap();
                // A saved pack is live a moment later; the author needs longer to get to the other terminal.
                if let (Some(node), Some(before)) = (&author.node, before)
                    && path.starts_with("packs/")
                {
                    node.client().until("/status", |status| status["catalog"].as_u64() > Some(before)).await;
                }
                files += 1;
            }
            Step::Commands => {
                for line in block.text.lines() {
                    author.run(line).await;
                    commands += 1;
                }
            }
            Step::Printed => {
                assert!(author.printed.contains(block.text.trim_end()), "the page shows\n{}\nit printed\n{}", block.text, author.printed);
                outputs += 1;
            }
            Step::Example => {}
        }
    }
    assert!(
        files >= 6 && commands >= 12 && outputs >= 1,
        "{files} files, {commands} commands, {outputs} outputs: the page is read no more"
    );
}
