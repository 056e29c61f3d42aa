//! The guides, followed as a newcomer would: in a fresh directory, with nothing but the page, in its order.
//! Every file is written, a shell runs every command, and the output that a page shows is compared with the
//! real one.
//!
//! The guide for running a node is not among them: its commands need a machine that is set up for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::database_server;
use crate::sources::Feed;
use crate::support::issuer::{Issuer, Mood};
use crate::support::page::{Step, blocks};
use crate::support::skipped::{has_program, not_installed};
use crate::support::{ADMIN_TOKEN, CommandOutput, Node, NodeFolder, PYTHON, until};

/// A person at the keyboard: a folder, a node in it once it is started, and a shell that keeps its variables.
struct Newcomer {
    place: NodeFolder,
    /// The folder in which the shell finds programs and keeps its variables; not the project's.
    desk: tempfile::TempDir,
    node: Option<Node>,
    /// The database server that the page kills.
    primary: Option<database_server::Server>,
    /// Whether the node loads saved files by itself.
    watches: bool,
    printed: String,
}

/// The expected end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Done,
    /// With the error that the page shows.
    Refused,
}

/// The steps that were done of a page.
#[derive(Debug, Default, PartialEq)]
struct GuideCounts {
    files: usize,
    commands: usize,
    outputs: usize,
}

/// The text with one tab between the cells of tables. A page shows them as a terminal does, but the test's
/// shell is not a terminal.
fn in_cells(text: &str) -> String {
    let line = |line: &str| {
        let mut cells = String::new();
        let mut spaces = 0;
        for character in line.trim_end().chars() {
            match character {
                ' ' => spaces += 1,
                '\t' => spaces = 2,
                other => {
                    match spaces {
                        0 => {}
                        1 => cells.push(' '),
                        _ => cells.push('\t'),
                    }
                    spaces = 0;
                    cells.push(other);
                }
            }
        }
        cells
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

impl Newcomer {
    fn new(page: &str) -> Self {
        let place = NodeFolder::new().without_variable("ENSUE_KEY_GITHUB_WEBHOOK_SECRET_FILE");
        let place = if page.contains("ensue serve --watch") { place.with_arguments(&["--watch"]) } else { place };
        let desk = tempfile::TempDir::new().unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ensue"), desk.path().join("ensue")).unwrap();
        std::fs::write(desk.path().join("variables"), "").unwrap();
        Self { place, desk, node: None, primary: None, watches: page.contains("ensue serve --watch"), printed: String::new() }
    }

    async fn follow(&mut self, page: &str) -> GuideCounts {
        let mut done = GuideCounts::default();
        let mut blocks = blocks(page).into_iter().peekable();
        while let Some(block) = blocks.next() {
            match block.step() {
                Step::File(path) => {
                    self.write(Path::new(path), &block.text).await;
                    done.files += 1;
                }
                Step::Commands => {
                    self.printed.clear();
                    let ending = match blocks.peek() {
                        Some(next) if next.step() == Step::Printed && next.text.starts_with("error") => Ending::Refused,
                        Some(_) | None => Ending::Done,
                    };
                    for command in block.commands() {
                        self.run(&command, ending).await;
                        done.commands += 1;
                    }
                }
                Step::Printed => {
                    let is_printed = in_cells(&self.printed).contains(&in_cells(block.text.trim_end()));
                    assert!(is_printed, "the page shows\n{}\nit printed\n{}", block.text, self.printed);
                    done.outputs += 1;
                }
                Step::Example => {}
            }
        }
        done
    }

    /// Saves a file. A pack's file is live by the time a person reaches the other terminal.
    async fn write(&self, path: &Path, text: &str) {
        let before = match &self.node {
            Some(node) if self.watches && path.starts_with("packs") => node.client().get("/status").await["catalog"].as_u64(),
            Some(_) | None => None,
        };
        let path: PathBuf = self.place.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        if let (Some(node), Some(before)) = (&self.node, before) {
            node.client().until("/status", |status| status["catalog"].as_u64() > Some(before)).await;
        }
    }

    async fn run(&mut self, command: &str, ending: Ending) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            // The test's folder is already the project, and the test sets the address and token.
            ["cd", _] | ["export", ..] => {}
            ["ensue", "init", _] => {
                let project = self.place.path().display().to_string();
                self.shell(&format!("ensue init '{project}' --pack my_automation"), ending);
            }
            ["ensue", "serve"] | ["ensue", "serve", "--watch"] | ["systemctl", "start", "ensue"] => self.node = Some(self.place.start()),
            ["systemctl", "stop", "ensue"] => {
                self.node.take().expect("the page starts the node before it stops it").stop();
                // The next node of a test has another address.
                std::fs::write(self.desk.path().join("variables"), "").unwrap();
            }
            ["systemctl", "kill", "--signal", "KILL", "postgresql"] => {
                self.primary.take().expect("the page names a server before it kills it").kill();
                // The node does not answer before the page has promoted another server.
                return;
            }
            // The packages are already installed here, so that nothing is fetched from the network.
            ["python3", "-m", "venv", name] => std::os::unix::fs::symlink(PYTHON, self.place.path().join(name)).unwrap(),
            [pip, "install", ..] if pip.ends_with("/pip") => {}
            // What a release installs is in the repository.
            ["cp", from, _] if from.starts_with("/usr/share/ensue/sdk/") => {
                let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/");
                self.shell(&command.replace("/usr/share/ensue/sdk/", sdk), ending);
            }
            // A test's node keeps its data in another folder than a newcomer's.
            [..] => self.shell(&command.replace("ensue-data", "data"), ending),
        }
        if let Some(node) = &self.node {
            // A reader types no faster than this: everything automatic has finished, or reached an inquiry or
            // a wait.
            let is_seen = |status: &serde_json::Value| status["views_position"] == status["position"];
            let is_quiet = |status: &serde_json::Value| is_seen(status) && status["totals"]["executions_open"] == 0;
            let have_begun = |sensors: &serde_json::Value| {
                sensors["items"].as_array().is_some_and(|items| items.iter().all(|sensor| sensor["state"] != "starting"))
            };
            node.client().until("/sensors?limit=200", have_begun).await;
            let open = |listed: &serde_json::Value| listed["items"].as_array().is_some_and(|items| !items.is_empty());
            until("everything automatic has finished", async || {
                node.client().until("/status", is_seen).await;
                let asks = open(&node.client().get("/inquiries?status=open").await)
                    || open(&node.client().get("/executions?action=core.wait&status=waiting").await);
                let asks = asks && !open(&node.client().get("/executions?status=running").await);
                let status = node.client().get("/status").await;
                if asks || is_quiet(&status) { Ok(()) } else { Err(format!("{status:#}")) }
            })
            .await;
        }
    }

    fn shell(&mut self, command: &str, ending: Ending) {
        let variables = self.desk.path().join("variables").display().to_string();
        let script = format!("set -ae; . '{variables}'; {command}\nexport -p > '{variables}'");
        let path = format!("{}:{}", self.desk.path().display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(self.place.path()).env_clear().env("PATH", path).env("HOME", self.place.path());
        shell.env("XDG_STATE_HOME", self.place.path().join("state"));
        if let Some(node) = &self.node {
            shell.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN);
        }
        let printed = CommandOutput::by(&mut shell);
        let ended = if printed.code == Some(0) { Ending::Done } else { Ending::Refused };
        assert_eq!(ended, ending, "{command}: {}{}", printed.stdout, printed.stderr);
        self.printed.push_str(&printed.stdout);
        self.printed.push_str(&printed.stderr);
    }
}

/// Follows a page if the programs that it needs are installed.
async fn follow_page(test: &str, programs: &[&str], page: &str, expected: GuideCounts) {
    if programs.iter().all(|program| has_program(test, program)) {
        assert_eq!(Newcomer::new(page).follow(page).await, expected, "the page is read otherwise");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_steps_guide_works() {
    let page = include_str!("../../docs/guides/first-steps.md");
    follow_page("first_steps_guide_works", &["openssl"], page, GuideCounts { files: 0, commands: 19, outputs: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_writing_guide_works() {
    let page = include_str!("../../docs/guides/write-a-rule.md");
    let test = "rule_writing_guide_works";
    follow_page(test, &["openssl"], page, GuideCounts { files: 8, commands: 32, outputs: 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_sending_guide_works() {
    let page = include_str!("../../docs/guides/send-events.md");
    let test = "event_sending_guide_works";
    follow_page(test, &["curl", "python3"], page, GuideCounts { files: 1, commands: 17, outputs: 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn github_guide_works() {
    let page = include_str!("../../docs/guides/connect-github.md");
    let test = "github_guide_works";
    follow_page(test, &["curl", "openssl"], page, GuideCounts { files: 4, commands: 17, outputs: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_guide_works() {
    let page = include_str!("../../docs/guides/connect-slack.md");
    follow_page("slack_guide_works", &["curl", "openssl"], page, GuideCounts { files: 5, commands: 12, outputs: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stripe_guide_works() {
    let page = include_str!("../../docs/guides/connect-stripe.md");
    let test = "stripe_guide_works";
    if !["curl", "openssl"].iter().all(|program| has_program(test, program)) {
        return;
    }
    let mut newcomer = Newcomer::new(page);
    let done = newcomer.follow(page).await;
    assert_eq!(done, GuideCounts { files: 4, commands: 14, outputs: 2 }, "the page is read otherwise");
    // What Stripe's own package signs is accepted in the same way.
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/npm");
    if !packages.join("node_modules/stripe").exists() {
        return not_installed(test, "the package `stripe` of npm");
    }
    let secret = std::fs::read_to_string(newcomer.place.path().join("secret.txt")).unwrap();
    let body = json!({
        "id": "evt_2", "type": "payment_intent.succeeded", "livemode": false,
        "data": { "object": { "id": "pi_2", "amount_received": 99, "currency": "eur", "metadata": {} } },
    });
    let script = "import { createRequire } from 'node:module'; const at = createRequire(process.argv[1] + '/'); \
        const { default: Stripe } = await import(at.resolve('stripe')); const stripe = new Stripe('sk_test_unused'); \
        const header = { payload: process.argv[2], secret: process.argv[3] }; \
        console.log(await stripe.webhooks.generateTestHeaderStringAsync(header));";
    let mut signer = Command::new("node");
    signer.args(["--input-type=module", "-e", script]).arg(&packages).arg(body.to_string()).arg(secret.trim());
    let signed = CommandOutput::by(&mut signer);
    assert_eq!(signed.code, Some(0), "{signed:?}");
    let client = newcomer.node.as_ref().unwrap().client();
    let request = client.anonymous(reqwest::Method::POST, "/hooks/stripe/webhook").header("content-type", "application/json");
    let answer = request.header("stripe-signature", signed.stdout.trim()).body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), reqwest::StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_guide_works() {
    let page = include_str!("../../docs/guides/connect-alertmanager.md");
    follow_page("alertmanager_guide_works", &["curl", "openssl"], page, GuideCounts { files: 5, commands: 13, outputs: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_answering_guide_works() {
    let page = include_str!("../../docs/guides/answer-a-webhook.md");
    follow_page("webhook_answering_guide_works", &["curl", "openssl"], page, GuideCounts { files: 4, commands: 13, outputs: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_bodies_guide_works() {
    let page = include_str!("../../docs/guides/what-other-systems-send.md");
    follow_page("foreign_bodies_guide_works", &["curl", "python3"], page, GuideCounts { files: 6, commands: 15, outputs: 6 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn library_guide_works() {
    let page = include_str!("../../docs/guides/use-a-library-pack.md");
    follow_page("library_guide_works", &[], page, GuideCounts { files: 3, commands: 8, outputs: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_guide_works() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let page = include_str!("../../docs/guides/send-mail-and-chat.md").replace("2525", &port.to_string());
    follow_page("mail_guide_works", &["python3"], &page, GuideCounts { files: 6, commands: 16, outputs: 5 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn debugging_guide_works() {
    let page = include_str!("../../docs/guides/watch-and-debug.md");
    follow_page("the_guide_to_watching_and_debugging", &[], page, GuideCounts { files: 0, commands: 23, outputs: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn measuring_guide_works() {
    let page = include_str!("../../docs/guides/measure.md");
    let test = "measuring_guide_works";
    follow_page(test, &["curl"], page, GuideCounts { files: 0, commands: 15, outputs: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudevents_guide_works() {
    let page = include_str!("../../docs/guides/cloudevents.md");
    let test = "cloudevents_guide_works";
    let imported = Command::new(format!("{PYTHON}/bin/python")).args(["-c", "import cloudevents, requests"]).output();
    if imported.is_ok_and(|imported| imported.status.success()) {
        follow_page(test, &["curl", "python3"], page, GuideCounts { files: 4, commands: 23, outputs: 5 }).await;
    } else {
        not_installed(test, "the package `cloudevents` of PyPI");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inquiry_guide_works() {
    let page = include_str!("../../docs/guides/ask-a-human.md");
    let test = "inquiry_guide_works";
    follow_page(test, &["curl", "python3"], page, GuideCounts { files: 1, commands: 23, outputs: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_guide_works() {
    let page = include_str!("../../docs/guides/write-a-workflow.md");
    let test = "workflow_guide_works";
    follow_page(test, &[], page, GuideCounts { files: 2, commands: 15, outputs: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backtest_guide_works() {
    let page = include_str!("../../docs/guides/backtest-a-rule.md");
    let test = "backtest_guide_works";
    follow_page(test, &[], page, GuideCounts { files: 1, commands: 12, outputs: 4 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_guide_works() {
    let page = include_str!("../../docs/guides/replay-what-ran.md");
    let test = "replay_guide_works";
    follow_page(test, &[], page, GuideCounts { files: 1, commands: 8, outputs: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_recovery_guide_works() {
    let page = include_str!("../../docs/guides/recover-from-failure.md");
    let test = "failure_recovery_guide_works";
    follow_page(test, &[], page, GuideCounts { files: 4, commands: 12, outputs: 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pack_testing_guide_works() {
    let page = include_str!("../../docs/guides/test-a-pack.md");
    let test = "pack_testing_guide_works";
    follow_page(test, &[], page, GuideCounts { files: 4, commands: 14, outputs: 5 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_guide_works() {
    let page = include_str!("../../docs/guides/run-on-a-schedule.md");
    let test = "schedule_guide_works";
    follow_page(test, &[], page, GuideCounts { files: 5, commands: 14, outputs: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_reference_shows_the_real_output() {
    let page = include_str!("../../docs/reference/schedules.md");
    follow_page("schedule_reference_shows_the_real_output", &[], page, GuideCounts { files: 0, commands: 6, outputs: 5 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_guide_works() {
    let page = include_str!("../../docs/guides/back-up-and-restore.md");
    let test = "backup_guide_works";
    follow_page(test, &[], page, GuideCounts { files: 0, commands: 16, outputs: 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_guide_works() {
    if database_server::is_missing() {
        return;
    }
    let server = database_server::Server::instance();
    let address = server.address(&server.new_database());
    let page = include_str!("../../docs/guides/move-to-postgresql.md").replace("postgres://ensue@db.example.test/ensue", &address);
    let mut newcomer = Newcomer::new(&page);
    let done = newcomer.follow(&page).await;
    assert_eq!(done, GuideCounts { files: 1, commands: 13, outputs: 0 }, "the page is read otherwise");
    assert!(newcomer.printed.contains("intact") && newcomer.place.path().join("back/vault.sqlite").exists(), "{}", newcomer.printed);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_backup_guide_works() {
    if database_server::is_missing() {
        return;
    }
    let server = database_server::Server::start();
    server.psql("postgres", "CREATE DATABASE ensue ENCODING 'UTF8' TEMPLATE template0");
    let at = format!("127.0.0.1:{}", server.port());
    let page = include_str!("../../docs/guides/back-up-and-restore-with-postgresql.md").replace("db.example.test", &at);
    let done = Newcomer::new(&page).follow(&page).await;
    assert_eq!(done, GuideCounts { files: 2, commands: 16, outputs: 0 }, "the page is read otherwise");
}

#[tokio::test(flavor = "multi_thread")]
async fn database_loss_guide_works() {
    if database_server::is_missing() {
        return;
    }
    let primary = database_server::Server::start();
    primary.psql("postgres", "CREATE DATABASE ensue ENCODING 'UTF8' TEMPLATE template0");
    let standby = primary.start_standby(None);
    let at = |server: &database_server::Server| format!("127.0.0.1:{}", server.port());
    let page = include_str!("../../docs/guides/survive-the-loss-of-the-database.md");
    let page = page.replace("db1.example.test", &at(&primary)).replace("db2.example.test", &at(&standby));
    let mut newcomer = Newcomer::new(&page);
    newcomer.primary = Some(primary);
    let done = newcomer.follow(&page).await;
    assert_eq!(done, GuideCounts { files: 1, commands: 11, outputs: 0 }, "the page is read otherwise");
}

#[tokio::test(flavor = "multi_thread")]
async fn team_guide_works() {
    let page = include_str!("../../docs/guides/let-your-team-in.md");
    follow_page("team_guide_works", &[], page, GuideCounts { files: 0, commands: 18, outputs: 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_guide_works() {
    let page = include_str!("../../docs/guides/who-did-what.md");
    follow_page("audit_guide_works", &[], page, GuideCounts { files: 0, commands: 15, outputs: 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_guide_works() {
    let page = include_str!("../../docs/guides/give-and-limit-rights.md");
    follow_page("rights_guide_works", &[], page, GuideCounts { files: 0, commands: 16, outputs: 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_guide_works() {
    let page = include_str!("../../docs/guides/rotate-keys.md");
    follow_page("rotation_guide_works", &[], page, GuideCounts { files: 0, commands: 11, outputs: 0 }).await;
}

#[tokio::test]
async fn ci_login_guide_works() {
    let github = Issuer::start(Mood::Well);
    let page = include_str!("../../docs/guides/log-in-from-ci.md").replace("https://token.actions.githubusercontent.com", &github.url());
    let job =
        |branch: &str| github.token(&json!({ "repository": "acme/Shop", "repository_owner_id": "4711", "ref": branch, "groups": null }));
    let mut newcomer = Newcomer::new(&page);
    std::fs::write(newcomer.place.path().join("job.token"), job("refs/heads/main")).unwrap();
    std::fs::write(newcomer.place.path().join("branch.token"), job("refs/heads/other")).unwrap();
    let done = newcomer.follow(&page).await;
    assert_eq!(done, GuideCounts { files: 1, commands: 8, outputs: 1 }, "the page is read otherwise");
}

#[tokio::test(flavor = "multi_thread")]
async fn poll_guide_works() {
    let test = "poll_guide_works";
    if !has_program(test, "python3") {
        return;
    }
    let feed = Feed::start().await;
    let page =
        include_str!("../../docs/guides/poll-an-api.md").replace("https://example.test", &feed.url).replace("every: 1m", "every: 1s");
    let mut newcomer = Newcomer::new(&page);
    newcomer.place = newcomer.place.with_variable("ENSUE_EGRESS_ALLOW", "127.0.0.1");
    assert_eq!(newcomer.follow(&page).await, GuideCounts { files: 8, commands: 11, outputs: 0 }, "the page is read otherwise");
    assert!(newcomer.printed.contains("news 3"), "the test of the sensor shows the items: {}", newcomer.printed);
    let client = newcomer.node.as_ref().unwrap().client();
    // The items that were there make no events here, and a new one does.
    assert_eq!(client.get("/sensors/feed.newest").await["events_count"], 0);
    feed.newest.store(4, std::sync::atomic::Ordering::SeqCst);
    for (sensor, count) in [("newest", 1), ("since", 4), ("fetched", 1)] {
        let made = |sensor: &serde_json::Value| sensor["events_count"].as_u64() >= Some(count);
        client.until(&format!("/sensors/feed.{sensor}"), made).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folder_guide_works() {
    let (inbox, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let page = include_str!("../../docs/guides/watch-a-folder.md");
    let page = page.replace("/srv/inbox", &inbox.path().display().to_string()).replace("/var/log/shop", &logs.path().display().to_string());
    let mut newcomer = Newcomer::new(&page);
    assert_eq!(newcomer.follow(&page).await, GuideCounts { files: 6, commands: 9, outputs: 0 }, "the page is read otherwise");
    let client = newcomer.node.as_ref().unwrap().client();
    for sensor in ["orders", "errors"] {
        client.until(&format!("/sensors/shop.{sensor}"), |sensor| sensor["events_count"] == 1).await;
    }
    client.until("/sensors/shop.orders", |_| inbox.path().join("done/order.json").is_file()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_sensor_guide_works() {
    let test = "python_sensor_guide_works";
    if !has_program(test, "python3") {
        return;
    }
    let page = include_str!("../../docs/guides/write-a-sensor-in-python.md");
    let mut newcomer = Newcomer::new(page);
    assert_eq!(newcomer.follow(page).await, GuideCounts { files: 5, commands: 11, outputs: 0 }, "the page is read otherwise");
    assert!(newcomer.printed.contains("begins after 0"), "the log of the sensor: {}", newcomer.printed);
    // It is started again, as the page says.
    newcomer.run("systemctl stop ensue", Ending::Done).await;
    newcomer.run("systemctl start ensue", Ending::Done).await;
    newcomer.printed.clear();
    newcomer.run("ensue sensors logs device.count", Ending::Done).await;
    let last = newcomer.printed.rsplit("begins after ").next().and_then(|rest| rest.split_whitespace().next());
    assert!(last.and_then(|number| number.parse::<u64>().ok()) > Some(0), "{}", newcomer.printed);
}
