//! The packs of the library that can be added: listed, added, checked, and run against their fake vendors.

use serde_json::{Value, json};

use crate::support::{CommandOutput, NodeFolder, files_below};

const PACKS: [&str; 11] = ["alertmanager", "digest", "gitlab", "heartbeat", "http", "mail", "pagerduty", "probe", "rss", "slack", "stripe"];

fn run(place: &NodeFolder, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(&mut place.ensue(arguments))
}

#[test]
fn available_packs_are_listed_without_a_node() {
    let place = NodeFolder::new();
    let printed = run(&place, &["packs", "list", "--available", "-o", "json"]);
    let listed: Value = serde_json::from_str(&printed.stdout).unwrap();
    let names: Vec<&str> = listed["items"].as_array().unwrap().iter().filter_map(|pack| pack["name"].as_str()).collect();
    assert_eq!(names, PACKS);
    assert_eq!(listed["items"][9]["keys"], json!(["slack.bot_token", "slack.signing_secret"]));
}

#[test]
fn added_packs_have_no_errors_and_their_cases_pass() {
    let place = NodeFolder::new();
    for pack in PACKS {
        let added = run(&place, &["packs", "add", pack]);
        assert_eq!(added.code, Some(0), "{added:#?}");
        assert!(added.stderr.contains(&format!("read packs/{pack}/README.md")), "{added:#?}");
    }
    for arguments in [&["check"][..], &["lint"], &["pack", "test"], &["pack", "test", "--real"]] {
        let printed = run(&place, arguments);
        assert_eq!(printed.code, Some(0), "{arguments:?}: {printed:#?}");
    }
    let again = run(&place, &["packs", "add", "slack"]);
    assert_eq!(again.code, Some(6), "{again:#?}");
    let hidden = files_below(&place.path().join("packs")).into_iter().filter(|file| file.to_string_lossy().contains(".new"));
    assert_eq!(hidden.count(), 0);
}

#[test]
fn pack_that_is_installed_or_unknown_is_not_added() {
    let place = NodeFolder::new();
    let printed = run(&place, &["packs", "add", "github"]);
    assert_eq!((printed.code, printed.stderr.contains("every node has the pack `github`")), (Some(6), true), "{printed:#?}");
    let printed = run(&place, &["packs", "add", "slakc"]);
    assert_eq!((printed.code, printed.stderr.contains("did you mean `slack`?")), (Some(5), true), "{printed:#?}");
}

#[test]
fn request_that_the_vendor_would_refuse_fails_a_real_case() {
    let place = NodeFolder::new();
    assert_eq!(run(&place, &["packs", "add", "stripe"]).code, Some(0));
    let file = place.path().join("packs/stripe/actions/api.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let broken = text
        .replace("/v1/refunds\"", "/v1/refund\"")
        .replace("\"currency\": params.currency", "\"currency\": params.currency.upperAscii()");
    assert_ne!(text, broken);
    std::fs::write(&file, broken).unwrap();
    let printed = run(&place, &["pack", "test", "--real", "--filter", "refunds a part"]);
    assert_eq!(printed.code, Some(1), "{printed:#?}");
    assert!(printed.stdout.contains("the fake vendor has no route for POST /v1/refund"), "{}", printed.stdout);
    let printed = run(&place, &["pack", "test", "--real", "--filter", "charges a stored"]);
    assert_eq!(printed.code, Some(1), "{printed:#?}");
    assert!(
        printed.stdout.contains("the fake vendor refused a request: POST /v1/payment_intents: the body does not fit: /currency"),
        "{}",
        printed.stdout
    );
}

#[test]
fn real_cases_run_only_if_they_are_asked_for() {
    let place = NodeFolder::new();
    assert_eq!(run(&place, &["packs", "add", "slack"]).code, Some(0));
    let printed = run(&place, &["pack", "test"]);
    assert!(printed.stderr.contains("14 more cases against fake vendors: ensue pack test --real"), "{printed:#?}");
    let printed = run(&place, &["pack", "test", "--filter", "posts a message"]);
    assert_eq!((printed.code, printed.stderr.contains("run: ensue pack test --real")), (Some(5), true), "{printed:#?}");
    let bare = NodeFolder::new();
    bare.write_pack_file("bare/pack.yaml", "name: bare\nversion: 1.0.0\n");
    let printed = run(&bare, &["pack", "test", "--real"]);
    assert_eq!((printed.code, printed.stderr.contains("no `real` cases")), (Some(5), true), "{printed:#?}");
}

#[test]
fn library_s_own_actions_pass_against_their_fake_vendors() {
    let place = NodeFolder::new();
    let github = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs/library/github");
    let printed = run(&place, &["pack", "test", "--real", github.to_str().unwrap()]);
    assert_eq!(printed.code, Some(0), "{printed:#?}");
}
