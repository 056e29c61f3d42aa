//! The packs of `examples/`: they are valid, their tests pass, and they work as described on a running node,
//! even over kills.

use std::collections::BTreeMap;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::fake_server::{Fake, examples};
use crate::support::skipped::has_program;
use crate::support::{Answer, Client, CommandOutput, Delivery, NodeFolder, SECRET, files_below, signature, until};

const PACKS: [&str; 10] = ["backup", "canary", "desk", "incident", "news", "on_call", "provision", "release", "sync", "triage"];
/// The packs of the library that some of them use.
const LIBRARY: [&str; 7] = ["alertmanager", "digest", "mail", "pagerduty", "rss", "slack", "stripe"];

/// How many changes the source of `sync` has here, and how many of them arrive at once.
const CHANGES: usize = 60;
const PAGE: usize = 10;

/// Creates a place with one of the packs, and the `ensue.yaml` of its README.
pub(crate) fn example(pack: &str, settings: &str) -> NodeFolder {
    let place = NodeFolder::new();
    let folder = examples(pack);
    for file in files_below(&folder) {
        let to = place.path().join("packs").join(pack).join(file.strip_prefix(&folder).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        // Including the mode, so that programs can be started.
        std::fs::copy(&file, to).unwrap();
    }
    std::fs::write(place.path().join("ensue.yaml"), settings).unwrap();
    place
}

/// Shortens the delays in a file of the place's pack that are too long for a test.
pub(crate) fn hurry(place: &NodeFolder, file: &str, from: &str, to: &str) {
    let path = place.path().join("packs").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} no longer has `{from}`");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// The settings of a pack whose keys all have the same secret.
fn settings(pack: &str, config: &Value, keys: &[&str]) -> String {
    let keys: BTreeMap<&str, Value> = keys.iter().map(|key| (*key, json!({ "file": "secret" }))).collect();
    json!({ "egress": { "allow": ["127.0.0.1"] }, "packs": { pack: { "config": config, "keys": keys } } }).to_string()
}

pub(crate) async fn token(client: &Client, name: &str, role: &str) -> String {
    let added = client.post("/tokens", &json!({ "name": name, "roles": [role] })).await;
    added.body["token"].as_str().unwrap_or_else(|| panic!("{added:#?}")).to_owned()
}

/// Waits for the inquiry of a step, and returns its id.
pub(crate) async fn question(client: &Client, step: &str) -> String {
    let asked = |listed: &Value| {
        let items = listed["items"].as_array()?;
        items.iter().find(|item| item["step"] == step)?["id"].as_str().map(str::to_owned)
    };
    asked(&client.until("/inquiries?status=open", |listed| asked(listed).is_some()).await).unwrap()
}

pub(crate) async fn answer(client: &Client, token: &str, inquiry: &str, answer: &Value) {
    let path = format!("/api/v1/inquiries/{inquiry}");
    let shown = Answer::of(client.anonymous(Method::GET, &path).bearer_auth(token).send().await.unwrap()).await.body;
    let given = json!({ "answer": answer, "digest": shown["digest"] });
    let request = client.anonymous(Method::POST, &format!("{path}/respond")).bearer_auth(token).json(&given);
    let answered = Answer::of(request.send().await.unwrap()).await;
    assert!(answered.status.is_success(), "{answered:#?}");
}

/// Waits for the end of the only execution of an action.
pub(crate) async fn await_end(client: &Client, action: &str) -> Value {
    let is_one = |listed: &Value| listed["items"].as_array().is_some_and(|items| items.len() == 1);
    let listed = client.until(&format!("/executions?action={action}"), is_one).await;
    let id = listed["items"][0]["id"].as_str().unwrap();
    client.until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await
}

#[test]
fn examples_are_valid_and_their_tests_pass() {
    // The folder itself stays as it is: the packs of the library are added to a copy.
    let place = NodeFolder::new();
    let folder = place.path().join("examples");
    for file in files_below(&examples("")) {
        let to = folder.join(file.strip_prefix(examples("")).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&file, to).unwrap();
    }
    let run = |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).current_dir(&folder));
    for pack in LIBRARY {
        let added = run(&["packs", "add", pack, "--to", "."]);
        assert_eq!(added.code, Some(0), "{added:#?}");
    }
    for arguments in [["check", "."], ["lint", "."]] {
        let printed = run(&arguments);
        assert_eq!((printed.code, printed.stdout.trim()), (Some(0), ""), "{printed:#?}");
        assert_eq!(printed.stderr.trim(), format!("no errors in {} packs", PACKS.len() + LIBRARY.len()));
    }
    let real = run(&["pack", "test", "--real", "."]);
    assert_eq!(real.code, Some(0), "{real:#?}");
    let tested = run(&["pack", "test", "."]);
    assert_eq!(tested.code, Some(0), "{tested:#?}");
    for pack in PACKS {
        let cases = tested.stdout.lines().filter(|line| line.contains(&format!("./{pack}/tests/"))).count();
        assert!(cases >= 5, "{pack} has {cases} cases");
    }
}

#[test]
fn backup_example_s_programs_pass_their_own_tests() {
    if has_program("backup_example_s_programs_pass_their_own_tests", "python3") {
        let ended = Command::new("python3").args(["-B"]).arg(examples("backup/tests/retention_test.py")).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[tokio::test]
async fn issues_example_labels_greets_and_closes_issues() {
    if !has_program("issues_example_labels_greets_and_closes_issues", "python3") {
        return;
    }
    let github = Fake::start_with_token("triage/try/github.py", &[]);
    let config = json!({ "api": github.url(), "login": "triage-bot" });
    let place = example("triage", &settings("triage", &config, &["token"]));
    let node = place.start();
    let client = node.client();
    let opened = std::fs::read(examples("triage/try/opened.json")).unwrap();
    // GitHub redelivers a delivery that it considers lost.
    for _ in 0..2 {
        assert!(client.deliver(&Delivery::github("issues", "1", &opened)).await.unwrap().status.is_success());
    }
    assert_eq!(await_end(&client, "triage.greet").await["result"], json!({ "greeted": true }));
    until("two labels", async || !github.printed_lines("issue 7 has the labels bug, docs").is_empty()).await;
    let swept = client.run("triage.sweep", &json!({ "repository": "acme/mill" })).await;
    assert_eq!(swept["result"], json!({ "marked": [1], "closed": [2], "failed": 0 }), "{swept:#}");
    // Its output is read by another thread, after its answer.
    until("an issue to be closed", async || !github.printed_lines("issue 2").is_empty()).await;
    assert_eq!(github.printed_lines("issue 2"), ["issue 2 is closed"]);
    assert_eq!((github.printed_lines("issue 3").len(), github.printed_lines("issue 7 has the comment").len()), (0, 1));
}

#[tokio::test]
async fn backup_example_restores_a_backup_and_reports_a_failed_one() {
    if !has_program("backup_example_restores_a_backup_and_reports_a_failed_one", "python3") {
        return;
    }
    let listener = Fake::start("backup/try/listener.py", &[]);
    let place = example("backup", "");
    let [source, target] = ["source", "archives"].map(|name| place.path().join(name));
    std::fs::create_dir(&source).unwrap();
    std::fs::create_dir(&target).unwrap();
    std::fs::write(source.join("recipe"), "grain and water").unwrap();
    let told = [format!("{}/alert", listener.url()), format!("{}/heartbeat", listener.url())];
    let config = json!({ "name": "mill", "source": source, "target": target, "alert_url": told[0], "heartbeat_url": told[1] });
    let settings = json!({
        "egress": { "allow": ["127.0.0.1"] },
        "actions": { "readable": [source], "writable": [target] },
        "packs": { "backup": { "config": config } },
    });
    std::fs::write(place.path().join("ensue.yaml"), settings.to_string()).unwrap();
    let node = place.start();
    let client = node.client();

    let night = client.run("backup.night", &json!({})).await;
    assert_eq!((&night["status"], &night["result"]["files"]), (&json!("succeeded"), &json!(1)), "{night:#}");
    let archive = night["result"]["archive"].as_str().unwrap();
    let restored = Command::new("tar").args(["-xzOf", archive, "recipe"]).output().unwrap();
    assert_eq!(restored.stdout, b"grain and water");
    until("a heartbeat", async || listener.printed_lines("GET /heartbeat").len() == 1).await;

    std::fs::write(source.join("MANIFEST.sha256"), "").unwrap();
    let night = client.run("backup.night", &json!({})).await;
    assert_eq!(night["status"], "failed", "{night:#}");
    until("an alert", async || listener.printed_lines("POST /alert").iter().any(|line| line.contains("no archive was made"))).await;
    assert_eq!(listener.printed_lines("GET /heartbeat").len(), 1, "a night that failed has no heartbeat");
    assert!(std::fs::exists(archive).unwrap(), "the archive of the night before stays");
}

#[tokio::test]
async fn canary_example_rolls_back_bad_versions_and_promotes_good_ones() {
    if !has_program("canary_example_rolls_back_bad_versions_and_promotes_good_ones", "python3") {
        return;
    }
    let cluster = Fake::start_with_token("canary/try/cluster.py", &[]);
    let (url, chat) = (cluster.url(), format!("{}/chat", cluster.url()));
    let config = json!({ "router": url, "prometheus": url, "chat": chat, "settle": "100ms", "every": "50ms", "looks": 2 });
    let place = example("canary", &settings("canary", &config, &["router_token"]));
    let node = place.start();
    let client = node.client();
    let maria = token(&client, "maria", "release_managers").await;

    let bad = client.run("canary.deploy", &json!({ "app": "shop", "version": "v2-bad" })).await;
    assert_eq!(bad["status"], "failed", "{bad:#}");
    let shares = [r#"shop: {"stable": "v1", "canary": {"version": "v2-bad", "share": 5}}"#, r#"shop: {"stable": "v1", "canary": null}"#];
    assert_eq!(cluster.printed_lines("shop: "), shares);

    let released = json!({ "trigger": "canary.released", "payload": { "app": "shop", "version": "v3" } });
    assert!(client.post("/events", &released).await.status.is_success());
    until("a first share", async || cluster.printed_lines("shop: ").len() > 2).await;
    node.kill();
    let node = place.start();
    let client = node.client();
    answer(&client, &maria, &question(&client, "approve").await, &json!({ "promote": true })).await;
    until("all of the traffic", async || cluster.printed_lines("chat: shop v3: has all of the traffic").len() == 1).await;
    assert_eq!(cluster.printed_lines("shop: ").last().unwrap(), r#"shop: {"stable": "v3", "canary": null}"#);
}

#[tokio::test]
async fn sync_example_survives_a_kill_and_loses_no_item() {
    if !has_program("sync_example_survives_a_kill_and_loses_no_item", "python3") {
        return;
    }
    let systems = Fake::start_with_token("sync/try/systems.py", &[&CHANGES.to_string()]);
    let config = json!({ "source": systems.url(), "target": systems.url(), "page_size": PAGE });
    let place = example("sync", &settings("sync", &config, &["source_token", "target_token"]));
    let node = place.start();
    let id = node.client().execute("sync.run", &json!({})).await;
    until("a page", async || !systems.printed_lines("cursor ").is_empty()).await;
    node.kill();
    let node = place.start();
    let client = node.client();
    let run = client.until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!((&run["status"], &run["result"]["rejected"]), (&json!("succeeded"), &json!(["poison"])), "{run:#}");
    let cursors: Vec<String> = (1..=CHANGES / PAGE).map(|page| format!("cursor {}", page * PAGE)).collect();
    let mut kept = systems.printed_lines("cursor ");
    // The kill may have come between storing a cursor and confirming it.
    kept.dedup();
    assert_eq!(kept, cursors);
    let put = systems.printed_lines("put ");
    for number in (0..CHANGES).filter(|number| ![13, 17].contains(number)) {
        let times = put.iter().filter(|line| **line == format!("put item-{number}")).count();
        assert!((1..=2).contains(&times), "item {number} was put {times} times");
    }
    assert!(put.len() < CHANGES, "only what was under way is put twice: {put:#?}");
    let again = client.run("sync.run", &json!({})).await;
    assert_eq!(again["result"], json!({ "put": [0], "rejected": [], "done": true }), "{again:#}");
}

#[tokio::test]
async fn incident_example_escalates_to_the_leads_over_a_kill() {
    if !has_program("incident_example_escalates_to_the_leads_over_a_kill", "python3") {
        return;
    }
    let ops = Fake::start_with_token("incident/try/ops.py", &[]);
    let config = json!({ "ops": ops.url(), "chat": format!("{}/chat", ops.url()), "reports": format!("{}/reports", ops.url()) });
    let place = example("incident", &settings("incident", &config, &["webhook_secret", "ops_token"]));
    hurry(&place, "incident/actions/respond.yaml", "expires: 15m", "expires: 1s");
    let node = place.start();
    let client = node.client();
    let [bob, eve] = [token(&client, "bob", "leads").await, token(&client, "eve", "leads").await];
    // The monitor repeats the alert as long as it lasts.
    for _ in 0..3 {
        deliver(&client, "incident/try/firing.json").await;
    }
    question(&client, "ask").await;
    node.kill();
    let node = place.start();
    let client = node.client();
    let asked = question(&client, "ask_leads").await;
    answer(&client, &bob, &asked, &json!({ "act": "restart" })).await;
    assert_eq!(ops.printed_lines("restarted"), Vec::<String>::new(), "one lead is not enough");
    answer(&client, &eve, &asked, &json!({ "act": "restart" })).await;
    until("a restart", async || ops.printed_lines("restarted mill").len() == 1).await;
    deliver(&client, "incident/try/resolved.json").await;
    let incident = await_end(&client, "incident.respond").await;
    assert_eq!((&incident["status"], &incident["result"]), (&json!("succeeded"), &json!({ "recovered": true })), "{incident:#}");
    let reports = ops.printed_lines("report: ");
    let report: Value = serde_json::from_str(reports[0].trim_start_matches("report: ")).unwrap();
    assert_eq!((reports.len(), &report["decision"]), (1, &json!({ "act": "restart", "by": ["bob", "eve"] })));
    assert_eq!((&report["restart"], report["recovered_at"].is_string()), (&json!("succeeded"), true), "{report:#}");
}

/// Sends a delivery as the monitor does, signed with [`SECRET`].
async fn deliver(client: &Client, file: &str) {
    let body = std::fs::read(examples(file)).unwrap();
    let header = ("x-signature-256".to_owned(), signature(SECRET.as_bytes(), &body));
    let json = ("content-type".to_owned(), "application/json".to_owned());
    let delivery = Delivery { path: "/hooks/incident/monitor".to_owned(), headers: vec![json, header], body };
    let answer = client.deliver(&delivery).await.unwrap();
    assert!(answer.status.is_success(), "{answer:#?}");
}
