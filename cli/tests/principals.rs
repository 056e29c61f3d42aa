//! On whose rights things run on a running node: packs, callers, and what outlives neither a restart nor a kill.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder, Running};

const PACK: &str = "name: release\nversion: 1.0.0\ndescription: Ships.\n";

const ECHO: &str = "\
description: Says it with a program of another pack.
run:
  workflow:
    steps:
      own: { action: release.own }
      far: { needs: [own], action: core.shell, with: { script: \"echo hi\" } }
";

const OWN: &str = "description: Does little.\nrun: { shell: { script: \"true\" } }\n";

const AS_CALLER: &str = "\
description: Waits, and then runs a program of another pack as its caller.
run_as: caller
run:
  workflow:
    steps:
      hold: { action: release.hold }
      far: { needs: [hold], action: core.shell, with: { script: \"echo hi\" } }
";

/// Waits in its own folder for a file `go`.
const HOLD: &str = "\
description: Waits until it may end.
timeout: 5m
run:
  shell:
    script: |
      echo begun > begun
      while [ ! -e go ]; do sleep 0.02; done
";

fn ensue(place: &NodeFolder, node: &Node, token: &str, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", token).env("COLUMNS", "200"))
}

fn admin(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    let printed = ensue(place, node, ADMIN_TOKEN, arguments);
    assert_eq!(printed.code, Some(0), "{arguments:?}: {}{}", printed.stdout, printed.stderr);
    printed
}

fn write(place: &NodeFolder, permissions: &str) {
    place.write_pack_file("release/pack.yaml", &format!("{PACK}{permissions}"));
    place.write_pack_file("release/actions/own.yaml", OWN);
    place.write_pack_file("release/actions/tell.yaml", ECHO);
    place.write_pack_file("release/triggers/ping.yaml", "description: A ping.\n");
    place.write_pack_file(
        "release/rules/shells.yaml",
        "description: Runs a script.\ntrigger: release.ping\naction: core.shell\nwith: { script: \"echo hi\" }\n",
    );
}

/// Sends an event and returns the outcome of the rule's decision on it, and its error.
async fn await_decision(client: &Client) -> (String, String) {
    let sent = client.post("/events", &json!({ "trigger": "release.ping", "payload": {} })).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{sent:?}");
    let event = sent.body["id"].as_str().unwrap().to_owned();
    let listed = client.until(&format!("/enforcements?event={event}"), |listed| !listed["items"][0].is_null()).await;
    let made = &listed["items"][0];
    (made["outcome"].as_str().unwrap_or_default().to_owned(), made["error"].as_str().unwrap_or_default().to_owned())
}

/// Runs an action to its end, and returns the execution.
fn run(place: &NodeFolder, node: &Node, action: &str) -> Value {
    let printed = ensue(place, node, ADMIN_TOKEN, &["run", action, "--wait", "-o", "json"]);
    serde_json::from_str(&printed.stdout).unwrap_or_else(|_| panic!("{}{}", printed.stdout, printed.stderr))
}

#[tokio::test]
async fn pack_does_with_other_packs_what_it_is_permitted_and_nothing_else() {
    // A pack of version 0.1, without permissions, keeps working.
    let place = NodeFolder::new();
    write(&place, "");
    let node = place.start();
    assert_eq!(await_decision(&node.client()).await.0, "executed");
    let told = run(&place, &node, "release.tell");
    assert_eq!((told["status"].as_str(), told["principal"].as_str()), (Some("succeeded"), Some("token/admin")), "{told:#}");
    let doctor = ensue(&place, &node, ADMIN_TOKEN, &["doctor"]);
    assert!(doctor.stdout.contains("`release` may do everything with other packs"), "{}{}", doctor.stdout, doctor.stderr);
    let steps = node.client().get(&format!("/executions?parent={}", told["id"].as_str().unwrap())).await;
    let principals: Vec<&str> = steps["items"].as_array().unwrap().iter().filter_map(|step| step["principal"].as_str()).collect();
    assert_eq!(principals, ["pack/release", "pack/release"]);
    node.kill();

    // The operator limits packs to what they list. It holds after a kill, whoever calls.
    std::fs::write(place.path().join("ensue.yaml"), "access: { packs: listed }\n").unwrap();
    let node = place.start();
    let (outcome, error) = await_decision(&node.client()).await;
    assert_eq!(outcome, "rejected");
    assert!(error.contains("not_permitted: the pack `release` may not run `core.shell`"), "{error}");
    let told = run(&place, &node, "release.tell");
    assert_eq!(told["status"], "failed", "{told:#}");
    assert!(told["error"]["message"].as_str().unwrap().contains("not_permitted"), "{told:#}");
    node.kill();
    let node = place.start();
    assert_eq!(await_decision(&node.client()).await.0, "rejected");
    node.kill();

    // The pack lists what it needs.
    write(&place, "permissions: [actions:execute on action=core.shell]\n");
    let node = place.start();
    assert_eq!(await_decision(&node.client()).await.0, "executed");
    assert_eq!(run(&place, &node, "release.tell")["status"], "succeeded");
    let shown = node.client().get("/packs/release").await;
    assert_eq!(shown["permissions"], json!(["actions:execute on action=core.shell"]));
    let records = node.client().records().await;
    let set: Vec<&Value> = records.iter().filter(|record| record["kind"] == "pack.permissions_set").map(|record| &record["fact"]).collect();
    assert_eq!(set.len(), 2, "once for each change, and not at each start: {set:?}");

    // A pack that does more than it lists is not installed: its last good version stays.
    write(&place, "permissions: []\n");
    let checked = CommandOutput::by(&mut place.ensue(&["check", "packs"]));
    assert_ne!(checked.code, Some(0));
    assert!(
        checked.stdout.contains("error[not_permitted]") || checked.stderr.contains("error[not_permitted]"),
        "{}{}",
        checked.stdout,
        checked.stderr
    );
}

#[tokio::test]
async fn workflow_of_a_disabled_caller_starts_no_further_step() {
    let place = NodeFolder::new();
    place.write_pack_file("release/pack.yaml", PACK);
    place.write_pack_file("release/actions/hold.yaml", HOLD);
    place.write_pack_file("release/actions/careful.yaml", AS_CALLER);
    let node = place.start();
    admin(&place, &node, &["identities", "add", "ana"]);
    admin(&place, &node, &["grants", "add", "identity:ana", "--role", "author"]);
    let ana = admin(&place, &node, &["tokens", "add", "laptop", "--identity", "ana"]).stdout.trim().to_owned();
    let started = ensue(&place, &node, &ana, &["run", "release.careful", "-o", "json"]);
    let started: Value = serde_json::from_str(&started.stdout).unwrap_or_else(|_| panic!("{}{}", started.stdout, started.stderr));
    let id = started["id"].as_str().unwrap().to_owned();
    let principal = started["principal"].as_str().unwrap().to_owned();
    assert!(principal.starts_with("identity/"), "{started:#}");
    let program = Running::one(&place).await;
    admin(&place, &node, &["identities", "disable", "ana"]);
    node.kill();
    let node = place.start();
    program.let_go();
    let client = node.client();
    let ended = client.until(&format!("/executions/{id}"), |execution| execution["ended_at"].is_string()).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    assert!(ended["error"]["message"].as_str().unwrap().contains(&format!("{principal} may not run `core.shell`")), "{ended:#}");
    let failed = &ended["not_started"][0];
    assert_eq!((failed["step"].as_str(), failed["error"]["kind"].as_str()), (Some("far"), Some("not_permitted")), "{ended:#}");
}

/// An action that reads a key of another pack, and prints its hash.
const READS: &str =
    "run: { process: { command: [sh, -c, 'printf %s \"$TOKEN\" | sha256sum'], env: { TOKEN: '${{ keys[\"shared.token\"] }}' } } }\n";

#[tokio::test]
async fn action_reads_a_key_of_another_pack_only_with_its_permission() {
    let place = NodeFolder::new();
    let manifest = |name: &str, more: &str| {
        place.write_pack_file(&format!("{name}/pack.yaml"), &format!("name: {name}\nversion: 1.0.0\ndescription: A pack.\n{more}"));
    };
    manifest("shared", "keys: [token]\n");
    manifest("release", "");
    place.write_pack_file("release/actions/read.yaml", READS);
    let checked = CommandOutput::by(&mut place.ensue(&["check", "packs"]));
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains("error[unlisted_key]") && said.contains("keys:use on pack=shared"), "{said}");

    manifest("release", "permissions: [keys:use on pack=shared]\n");
    let node = place.start();
    let client = node.client();
    let set = client.request(reqwest::Method::PUT, "/api/v1/keys/shared.token").json(&json!({ "value": "the-value-of-the-shared-token" }));
    assert!(set.send().await.unwrap().status().is_success());
    let ran = client.run("release.read", &json!({})).await;
    assert_eq!(ran["status"], "succeeded", "{ran:#}");
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("the-value-of-the-shared-token"));
    assert!(client.get(&format!("/executions/{}/logs", ran["id"].as_str().unwrap())).await.to_string().contains(&hash));
    let is_noted = |audit: &Value| audit["items"].as_array().unwrap().iter().any(|row| row["what"] == "key.used");
    client.until("/audit", is_noted).await;
    let records = client.records().await;
    let used = records.iter().find(|record| record["kind"] == "key.used").expect("the use is recorded");
    assert_eq!((&used["fact"]["key"], &used["fact"]["action"]), (&json!("shared.token"), &json!("release.read")));
}
