//! The command line: its output, and its exit codes.

use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncBufReadExt as _;

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, NodeFolder};

#[test]
fn new_project_passes_the_check() {
    let place = NodeFolder::new();
    let made = CommandOutput::by(&mut place.ensue(&["init", "my-automation"]));
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stderr.contains("ensue serve"), "{made:?}");
    let checked = CommandOutput::by(place.ensue(&["check", "packs/"]).current_dir(place.path().join("my-automation")));
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), ""), "{checked:?}");
}

#[test]
fn every_error_of_a_pack_is_reported_with_its_place_and_exit_code_1() {
    let place = NodeFolder::new();
    place.write_pack_file("broken/pack.yaml", "name: broken\nversion: 1.0.0\n");
    place.write_pack_file("broken/rules/one.yaml", "trigger: github.push\nwhem: 'true'\naction: core.echo\n");
    place.write_pack_file("broken/rules/two.yaml", "trigger: github.pushed\naction: core.ecko\n");
    let checked = CommandOutput::by(&mut place.ensue(&["check", "packs"]));
    assert_eq!(checked.code, Some(1), "{checked:?}");
    for told in ["rules/one.yaml:2:1", "did you mean `when`?", "github.push", "core.echo"] {
        assert!(checked.stdout.contains(told), "`{told}` in:\n{}", checked.stdout);
    }
    assert!(!checked.stdout.contains('\u{1b}'), "no colour in a pipe");
    let json = CommandOutput::by(&mut place.ensue(&["check", "packs", "--output", "json"]));
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(json["diagnostics"].as_array().unwrap().len() >= 3, "{json:#}");
}

#[test]
fn lint_warning_is_a_failure_only_with_strict() {
    let place = NodeFolder::new();
    place.write_pack_file("loop/pack.yaml", "name: loop\nversion: 1.0.0\n");
    place.write_pack_file("loop/triggers/tick.yaml", "payload: { n: integer }\n");
    place.write_pack_file(
        "loop/rules/again.yaml",
        "trigger: loop.tick\naction: core.emit\nwith: { trigger: loop.tick, payload: { n: 1 } }\n",
    );
    let checked = CommandOutput::by(&mut place.ensue(&["check", "packs"]));
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), ""), "{checked:?}");
    let linted = CommandOutput::by(&mut place.ensue(&["lint", "packs"]));
    assert_eq!(linted.code, Some(0), "{linted:?}");
    assert!(linted.stdout.contains("→ rule `loop.again` → action `core.emit` → `loop.tick`"), "{linted:?}");
    let strict = CommandOutput::by(&mut place.ensue(&["lint", "packs", "--strict", "--output", "json"]));
    assert_eq!(strict.code, Some(1), "{strict:?}");
    let json: serde_json::Value = serde_json::from_str(&strict.stdout).unwrap();
    let one = &json["diagnostics"][0];
    assert_eq!(
        (&json["warnings"], &one["code"], &one["line"], &one["end_column"]),
        (&1.into(), &"rule_triggers_itself".into(), &1.into(), &19.into())
    );
    let explained = CommandOutput::by(&mut place.ensue(&["check", "--explain", one["code"].as_str().unwrap()]));
    assert!(explained.code == Some(0) && explained.stdout.contains("the loop:"), "{explained:?}");
    assert_eq!(CommandOutput::by(&mut place.ensue(&["explain", one["code"].as_str().unwrap()])).stdout, explained.stdout);
    assert_eq!(CommandOutput::by(&mut place.ensue(&["check", "--explain", "rule_triggers"])).code, Some(5));
}

#[test]
fn unreachable_node_error_says_what_to_type() {
    let place = NodeFolder::new();
    let listed = CommandOutput::by(&mut place.ensue(&["events", "list", "--server", "http://127.0.0.1:1"]));
    assert_eq!((listed.code, listed.stdout.as_str()), (Some(3), ""));
    assert!(listed.stderr.starts_with("error: no node answers at http://127.0.0.1:1"), "{}", listed.stderr);
    assert!(listed.stderr.contains("hint: start one with `ensue serve`"), "{}", listed.stderr);
}

#[test]
fn conflicting_arguments_are_usage_errors_in_any_position() {
    let place = NodeFolder::new();
    for (line, told) in [
        ("--server http://127.0.0.1:1 status --profile here", "both name the node"),
        ("-o json why 019c --svg", "`--svg`"),
        ("executions show 019c --svg -o yaml", "`--svg`"),
        ("log --follow head", "`--follow`"),
        ("bench ingest --seconds 3 compare a b", "compare"),
        ("bench --rest 1 aims a", "`aims`"),
    ] {
        let refused = CommandOutput::by(&mut place.ensue(&line.split(' ').collect::<Vec<_>>()));
        assert_eq!(refused.code, Some(2), "{line}: {refused:?}");
        assert!(refused.stderr.contains(told), "{line}: {refused:?}");
    }
    // Global options conflict with nothing.
    let unheard = CommandOutput::by(&mut place.ensue(&["log", "--server", "http://127.0.0.1:1", "head"]));
    assert_eq!(unheard.code, Some(3), "{unheard:?}");
    let missing = CommandOutput::by(&mut place.ensue(&["bench", "-o", "json", "compare", "a", "b"]));
    assert_eq!(missing.code, Some(6), "{missing:?}");
}

#[test]
fn misspelled_command_is_a_usage_error_with_a_suggestion() {
    let place = NodeFolder::new();
    let misspelt = CommandOutput::by(&mut place.ensue(&["evnts", "list"]));
    assert_eq!(misspelt.code, Some(2));
    assert!(misspelt.stderr.contains("\nhint: ") && misspelt.stderr.contains("'events'"), "{}", misspelt.stderr);
    assert!(!misspelt.stderr.contains("tip:"), "{}", misspelt.stderr);
}

#[test]
fn usual_words_for_remove_are_accepted() {
    let place = NodeFolder::new();
    for (command, verb) in [("keys", "remove"), ("profiles", "remove"), ("tokens", "revoke"), ("vars", "unset")] {
        let help = |word: &str| CommandOutput::by(&mut place.ensue(&[command, word, "--help"]));
        let expected = help(verb);
        for word in ["remove", "delete", "rm"] {
            let shown = help(word);
            assert_eq!((shown.code, shown.stdout), (Some(0), expected.stdout.clone()), "{command} {word}");
        }
    }
}

#[test]
fn demo_shows_the_whole_story_and_exits_with_0() {
    let place = NodeFolder::new();
    let demo = CommandOutput::by(&mut place.ensue(&["demo"]));
    assert_eq!(demo.code, Some(0), "{demo:?}");
    let told = [
        "202 Accepted",
        "event github.pull_request from github.webhook",
        "rule examples.greet_pull_request matched",
        "Hello octomona, thank you for pull request #42",
        "rule examples.celebrate_merge did not match",
        "event.payload.action",
        "ensue demo --keep",
        "ensue init",
    ];
    for told in told {
        assert!(demo.stdout.contains(told), "`{told}` in:\n{}", demo.stdout);
    }
    for gone in ["curl", "ENSUE_SERVER=", "ENSUE_TOKEN="] {
        assert!(!demo.stdout.contains(gone), "`{gone}` needs the node, which is stopped:\n{}", demo.stdout);
    }
    let too_wide: Vec<&str> = demo.stdout.lines().filter(|line| line.chars().count() > 80 && !line.contains("ENSUE_TOKEN=")).collect();
    assert_eq!(too_wide, Vec::<&str>::new());
}

#[tokio::test]
async fn demo_that_is_kept_prints_a_link_that_logs_its_reader_in() {
    let place = NodeFolder::new();
    let mut demo = tokio::process::Command::from(place.ensue(&["demo", "--keep"]))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(demo.stdout.take().unwrap()).lines();
    let link = loop {
        let line = lines.next_line().await.unwrap().expect("the demo prints a link");
        if let Some((server, code)) = line.trim().split_once("/ui/login#") {
            break (server.to_owned(), code.to_owned());
        }
    };
    let client = Client::new(link.0);
    let open = || client.anonymous(Method::POST, "/api/v1/sessions").header("Ensue-Page", "1").json(&json!({ "code": link.1 })).send();
    let opened = open().await.unwrap();
    assert_eq!(opened.status().as_u16(), 201, "{:?}", opened.text().await);
    assert_ne!(open().await.unwrap().status().as_u16(), 201, "the link counts once");
}

#[test]
fn keys_and_tokens_can_be_edited_offline_only_while_no_node_runs() {
    let place = NodeFolder::new();
    place.start().stop();
    let at_rest = |arguments: &[&str]| {
        let mut command = place.ensue(arguments);
        command.args(["--data", "data"]);
        command
    };
    let set = CommandOutput::by_feeding(&mut at_rest(&["keys", "set", "github.webhook_secret"]), b"another secret, long enough\n");
    assert_eq!(set.code, Some(0), "{set:?}");
    let listed = CommandOutput::by(&mut at_rest(&["keys", "list"]));
    assert!(listed.stdout.contains("github.webhook_secret\t2"), "{listed:?}");
    let added = CommandOutput::by(&mut at_rest(&["tokens", "add", "rescue", "--role", "admin"]));
    assert!(added.stdout.starts_with("ens_"), "{added:?}");

    let node = place.start();
    let refused = CommandOutput::by(&mut at_rest(&["keys", "list"]));
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(6), ""), "{refused:?}");
    assert!(refused.stderr.contains("--server"), "{refused:?}");
    let rescue = added.stdout.trim();
    let listed = CommandOutput::by(place.ensue(&["tokens", "list", "--server", &node.url()]).env("ENSUE_TOKEN", rescue));
    assert!(listed.stdout.contains("rescue"), "{listed:?}");
}

#[test]
fn every_list_is_printed_as_a_table_or_as_a_document() {
    let place = NodeFolder::new();
    let node = place.start();
    let asked =
        |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).args(["--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN));
    for list in ["events", "enforcements", "executions", "rules", "packs", "actions", "triggers", "keys", "tokens", "hooks"] {
        let table = asked(&[list, "list"]);
        assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""), "{list}: {table:?}");
        let json = asked(&[list, "list", "--output", "json"]);
        let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert!(json["items"].is_array(), "{list}: {json:#}");
        let yaml = asked(&[list, "list", "--output", "yaml"]);
        let yaml: serde_json::Value = serde_saphyr::from_str(&yaml.stdout).unwrap();
        assert_eq!(yaml, json, "{list}");
        if list != "hooks" {
            let columns: Vec<usize> = table.stdout.lines().map(|line| line.split('\t').count()).collect();
            assert!(columns[0] > 1 && columns.iter().all(|count| *count == columns[0]), "{list}: {table:?}");
            assert!(!table.stdout.contains('…'), "{list}: {table:?}");
        }
    }
    let log = asked(&["log", "--after", "0", "-o", "yaml"]);
    let records: Vec<serde_json::Value> = serde_saphyr::from_multiple(&log.stdout).unwrap();
    assert!(records.len() > 1 && records[0]["position"] == 1, "{log:?}");
    for one in [&["status"][..], &["doctor"], &["log", "head"], &["log", "verify"], &["views", "rebuild"], &["log"]] {
        let printed = asked(one);
        assert_eq!(printed.code, Some(0), "{one:?}: {printed:?}");
    }
}

#[test]
fn run_wait_exits_with_the_execution_s_outcome() {
    let place = NodeFolder::new();
    let node = place.start();
    let asked =
        |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).args(["--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN));
    let echoed = asked(&["run", "core.echo", "--param", "message=hello", "--wait"]);
    assert_eq!(echoed.code, Some(0), "{echoed:?}");
    assert!(echoed.stdout.contains("hello"), "{echoed:?}");
    let failed = asked(&["run", "core.shell", "--param", "script=exit 3", "--wait"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("exit_code 3"), "{failed:?}");
    let misfit = asked(&["run", "core.echo", "--param", "mesage=hello", "--wait"]);
    assert_eq!((misfit.code, misfit.stdout.as_str()), (Some(6), ""), "{misfit:?}");
    assert!(misfit.stderr.contains("/mesage"), "{misfit:?}");
}

#[test]
fn list_can_be_shown_in_both_orders() {
    let place = NodeFolder::new();
    let node = place.start();
    let asked =
        |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).args(["--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN));
    for message in ["first", "second", "third"] {
        let ran = asked(&["run", "core.echo", "--param", &format!("message={message}"), "--wait"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let positions = |arguments: &[&str]| -> Vec<u64> {
        let listed = asked(&[["executions", "list", "-o", "json"].as_slice(), arguments].concat());
        let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap_or_else(|why| panic!("{why}: {listed:?}"));
        listed["items"].as_array().unwrap().iter().map(|one| one["position"].as_u64().unwrap()).collect()
    };
    let oldest_first = positions(&["--sort", "position"]);
    assert!(oldest_first.len() == 3 && oldest_first.is_sorted(), "{oldest_first:?}");
    let newest_first: Vec<u64> = oldest_first.iter().rev().copied().collect();
    for without_or_with in [&[] as &[&str], &["--sort", "-position"], &["--sort=-position"]] {
        assert_eq!(positions(without_or_with), newest_first, "{without_or_with:?}");
    }
    for list in ["events", "enforcements", "dead-letters", "parked"] {
        let listed = asked(&[list, "list", "--sort", "position", "-o", "json"]);
        assert_eq!(listed.code, Some(0), "{listed:?}");
    }
    let unknown = asked(&["executions", "list", "--sort", "time"]);
    assert!(unknown.code == Some(2) && unknown.stderr.contains("-position, position"), "{unknown:?}");
}

#[test]
fn hint_without_a_token_says_how_to_set_one() {
    let place = NodeFolder::new();
    let node = place.start();
    let refused = CommandOutput::by(&mut place.ensue(&["events", "list", "--server", &node.url()]));
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(4), ""));
    assert!(refused.stderr.contains("export ENSUE_TOKEN="), "{refused:?}");
}

#[test]
fn allocator_returns_free_memory_in_the_background_and_honors_its_variable() {
    let place = NodeFolder::new();
    let mut command = place.ensue(&["--version"]);
    let printed = CommandOutput::by(command.env("_RJEM_MALLOC_CONF", "confirm_conf:true,dirty_decay_ms:0"));
    for setting in ["background_thread:true", "max_background_threads:1", "dirty_decay_ms:1000", "muzzy_decay_ms:0", "dirty_decay_ms:0"] {
        assert!(printed.stderr.contains(&format!("Set conf value: {setting}\n")), "{setting}: {printed:?}");
    }
}

#[test]
fn color_is_printed_on_request_but_not_by_default_in_a_pipe() {
    let place = NodeFolder::new();
    let asked = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = place.ensue(&["events", "list", "--server", "http://127.0.0.1:1"]);
        CommandOutput::by(command.args(arguments).envs(variables.iter().copied())).stderr
    };
    let is_coloured = |printed: &str| printed.starts_with("\u{1b}[1;31merror:\u{1b}[0m no node answers");
    for coloured in [asked(&["--color", "always"], &[("NO_COLOR", "1")]), asked(&[], &[("CLICOLOR_FORCE", "1")])] {
        assert!(is_coloured(&coloured), "{coloured:?}");
    }
    for plain in [
        asked(&[], &[]),
        asked(&[], &[("CLICOLOR_FORCE", "0")]),
        asked(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]),
        asked(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]),
    ] {
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
    }
}

#[test]
fn bash_accepts_its_completion_script() {
    let place = NodeFolder::new();
    let printed = CommandOutput::by(&mut place.ensue(&["completions", "bash"]));
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let script = place.path().join("ensue.bash");
    std::fs::write(&script, &printed.stdout).unwrap();
    let completed = |words: &str| {
        let script = format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _ensue ensue \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        CommandOutput::by(std::process::Command::new("bash").args(["-c", &script]))
    };
    let checked = CommandOutput::by(std::process::Command::new("bash").arg("-n").arg(&script));
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    assert_eq!(completed("ensue exec").stdout.trim(), "executions");
    assert_eq!(completed("ensue executions can").stdout.trim(), "cancel");
    assert_eq!(completed("ensue events list --output y").stdout.trim(), "yaml");
}

#[test]
fn man_pages_of_all_commands_are_written() {
    let place = NodeFolder::new();
    let written = CommandOutput::by(&mut place.ensue(&["man", "--all", "man1"]));
    assert_eq!(written.code, Some(0), "{written:?}");
    let page = std::fs::read_to_string(place.path().join("man1/ensue-executions-list.1")).unwrap();
    assert!(page.contains("ensue\\-executions\\-list") || page.contains("ensue-executions-list"), "{page}");
    let alone = CommandOutput::by(&mut place.ensue(&["man"]));
    assert_eq!(alone.stdout, std::fs::read_to_string(place.path().join("man1/ensue.1")).unwrap());
}

#[test]
fn misspelled_ref_and_wrong_kind_of_id_get_a_suggestion() {
    let place = NodeFolder::new();
    let node = place.start();
    let asked =
        |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).args(["--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN));
    for (kind, misspelt, meant) in
        [("actions", "core.ecko", "core.echo"), ("packs", "gihub", "github"), ("triggers", "github.pusch", "github.push")]
    {
        let shown = asked(&[kind, "show", misspelt]);
        assert_eq!((shown.code, shown.stdout.as_str()), (Some(5), ""), "{shown:?}");
        assert!(shown.stderr.contains(&format!("hint: did you mean `{meant}`?")), "{shown:?}");
    }
    for (arguments, meant) in [
        (["run", "core.ecko"].as_slice(), "core.echo"),
        (&["run", "core.ecko", "--wait"], "core.echo"),
        (&["rules", "set", "examples.greet_pul_request", "shadow"], "examples.greet_pull_request"),
    ] {
        let refused = asked(arguments);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(5), ""), "{refused:?}");
        assert!(refused.stderr.contains(&format!("hint: did you mean `{meant}`?")), "{refused:?}");
    }
    let nothing = asked(&["actions", "show", "other.altogether"]);
    assert!(nothing.code == Some(5) && !nothing.stderr.contains("did you mean"), "{nothing:?}");
    let run = asked(&["run", "core.echo", "--param", "message=hello", "--wait", "-o", "json"]);
    let execution: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let id = execution["id"].as_str().unwrap();
    let shown = asked(&["events", "show", id]);
    assert_eq!((shown.code, shown.stdout.as_str()), (Some(5), ""), "{shown:?}");
    assert!(shown.stderr.contains(&format!("hint: this is an execution: ensue executions show {id}")), "{shown:?}");
}

#[test]
fn trace_and_execution_can_be_printed_as_svg() {
    let place = NodeFolder::new();
    let node = place.start();
    let asked =
        |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).args(["--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN));
    let run = asked(&["run", "core.echo", "--param", "message=<hello>", "--wait", "-o", "json"]);
    let execution: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let id = execution["id"].as_str().unwrap();
    for (arguments, told) in [(["why", id, "--svg"].as_slice(), "&lt;hello&gt;"), (&["executions", "show", id, "--svg"], ">attempt 1<")] {
        let picture = asked(arguments);
        assert_eq!(picture.code, Some(0), "{picture:?}");
        assert!(picture.stdout.starts_with("<svg ") && picture.stdout.ends_with("</svg>\n"), "{picture:?}");
        assert!(picture.stdout.contains(told), "{picture:?}");
    }
    let both = asked(&["why", id, "--svg", "-o", "json"]);
    assert_eq!(both.code, Some(2), "{both:?}");
}

#[test]
fn profile_token_is_sent_only_to_its_own_node() {
    let place = NodeFolder::new();
    let node = place.start();
    let asked = |arguments: &[&str]| CommandOutput::by(&mut place.ensue(arguments));
    let add = &["profiles", "add", "here", "--url", &node.url(), "--token-file", "-"];
    let added = CommandOutput::by_feeding(&mut place.ensue(add), format!("{ADMIN_TOKEN}\n").as_bytes());
    assert_eq!(added.code, Some(0), "{added:?}");
    assert_eq!(asked(&["profiles", "add", "elsewhere", "--url", "http://127.0.0.1:1"]).code, Some(0));

    let listed = asked(&["profiles", "list"]);
    assert!(listed.stdout.contains("here") && !listed.stdout.contains(ADMIN_TOKEN), "{listed:?}");
    let kept = std::fs::read_to_string(place.path().join(".config/ensue/profiles.json")).unwrap();
    assert!(!kept.contains(ADMIN_TOKEN), "{kept}");

    assert_eq!(asked(&["status", "--profile", "here"]).code, Some(0));
    assert_eq!(CommandOutput::by(place.ensue(&["status"]).env("ENSUE_PROFILE", "here")).code, Some(0));
    assert_eq!(asked(&["profiles", "use", "here"]).code, Some(0));
    assert_eq!(asked(&["status"]).code, Some(0));
    assert_eq!(asked(&["status", "--profile", "elsewhere"]).code, Some(3));
    assert_eq!(asked(&["status", "--server", &node.url()]).code, Some(4), "the token is the profile's, not the address's");
    assert_eq!(CommandOutput::by(place.ensue(&["status"]).env("ENSUE_SERVER", "http://127.0.0.1:1")).code, Some(3));
    let typed = |arguments: &[&str]| {
        let variables = [("ENSUE_SERVER", "http://127.0.0.1:1"), ("ENSUE_PROFILE", "elsewhere"), ("ENSUE_TOKEN", ADMIN_TOKEN)];
        CommandOutput::by(place.ensue(&["status"]).args(arguments).envs(variables)).code
    };
    assert_eq!(typed(&["--profile", "here"]), Some(0), "what is typed goes before what is set");
    assert_eq!(typed(&["--server", &node.url()]), Some(0));
    assert_eq!(typed(&["--server", &node.url(), "--profile", "here"]), Some(2), "one of them would be ignored");
    let nowhere = CommandOutput::by(place.ensue(&["status"]).env("ENSUE_PROFILE", "../here"));
    assert!(nowhere.code == Some(2) && nowhere.stderr.contains("ENSUE_PROFILE: `../here` is not a valid name"), "{nowhere:?}");
    let old = CommandOutput::by_feeding(&mut place.ensue(add), b"ens_of_before\n");
    assert_eq!(old.code, Some(0), "{old:?}");
    let refused = asked(&["status"]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("hint: the token of the profile `here` is not valid"), "{refused:?}");
    let misspelt = asked(&["status", "--profile", "heer"]);
    assert!(misspelt.code == Some(5) && misspelt.stderr.contains("did you mean `here`?"), "{misspelt:?}");

    assert_eq!(asked(&["profiles", "remove", "here"]).code, Some(0));
    assert!(!place.path().join(".config/ensue/tokens/here").exists());
    assert_eq!(asked(&["status", "--profile", "here"]).code, Some(5));
}

#[test]
fn plain_http_works_on_a_machine_without_certificates() {
    let place = NodeFolder::new();
    let node = place.start();
    let asked = |server: &str| {
        let nothing = [("SSL_CERT_FILE", "/nowhere.pem"), ("SSL_CERT_DIR", "/nowhere"), ("ENSUE_TOKEN", ADMIN_TOKEN)];
        CommandOutput::by(place.ensue(&["status", "--server", server]).envs(nothing))
    };
    let plain = asked(&node.url());
    assert_eq!(plain.code, Some(0), "{plain:?}");
    let trusting = asked("https://127.0.0.1:1");
    assert_eq!(trusting.code, Some(1), "{trusting:?}");
    assert!(trusting.stderr.contains("certificates") && trusting.stderr.contains("ca-certificates"), "{trusting:?}");
}

#[test]
fn environment_token_overrides_the_profile_s_unless_profile_is_typed() {
    let place = NodeFolder::new();
    let node = place.start();
    for (name, token) in [("good", ADMIN_TOKEN), ("old", "ens_of_before")] {
        let add = &["profiles", "add", name, "--url", &node.url(), "--token-file", "-"];
        assert_eq!(CommandOutput::by_feeding(&mut place.ensue(add), token.as_bytes()).code, Some(0));
    }
    assert_eq!(CommandOutput::by(&mut place.ensue(&["profiles", "add", "without", "--url", &node.url()])).code, Some(0));
    let status = |variables: &[(&str, &str)], arguments: &[&str]| {
        CommandOutput::by(place.ensue(&["status"]).args(arguments).envs(variables.iter().copied()))
    };

    let set = status(&[("ENSUE_TOKEN", ADMIN_TOKEN), ("ENSUE_PROFILE", "old")], &[]);
    assert_eq!(set.code, Some(0), "{set:?}");
    let typed = status(&[("ENSUE_TOKEN", "ens_of_before")], &["--profile", "good"]);
    assert_eq!(typed.code, Some(0), "{typed:?}");
    let typed_without = status(&[("ENSUE_TOKEN", ADMIN_TOKEN)], &["--profile", "without"]);
    assert_eq!(typed_without.code, Some(0), "{typed_without:?}");
    let empty = status(&[("ENSUE_TOKEN", ""), ("ENSUE_PROFILE", "good")], &[]);
    assert_eq!(empty.code, Some(0), "an empty variable is none: {empty:?}");

    let using = CommandOutput::by(place.ensue(&["profiles", "use", "good"]).env("ENSUE_TOKEN", "ens_of_before"));
    assert!(using.code == Some(0) && using.stderr.contains("ENSUE_TOKEN is set and overrides its token"), "{using:?}");
    let using = CommandOutput::by(&mut place.ensue(&["profiles", "use", "good"]));
    assert!(using.code == Some(0) && !using.stderr.contains("ENSUE_TOKEN"), "{using:?}");
    assert_eq!(status(&[], &[]).code, Some(0));
    let refused = status(&[("ENSUE_TOKEN", "ens_of_before")], &[]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("run `unset ENSUE_TOKEN` or use `--profile good`"), "{refused:?}");
}

#[test]
fn failed_profile_update_leaves_no_token_with_another_address() {
    let place = NodeFolder::new();
    let token = place.path().join(".config/ensue/tokens/here");
    let add = |place: &NodeFolder, url: &str, token: &str| {
        CommandOutput::by_feeding(&mut place.ensue(&["profiles", "add", "here", "--url", url, "--token-file", "-"]), token.as_bytes())
    };
    assert_eq!(add(&place, "http://127.0.0.1:1", "ens_of_the_first").code, Some(0));
    // Writing a file of more than one block kills the program: the list of profiles is that long, the token
    // is not.
    let place = place.within(["sh", "-c", "ulimit -c 0 && ulimit -f 1 && exec \"$@\"", "limited"].map(str::to_owned).to_vec());
    let broken_off = add(&place, &format!("http://127.0.0.1:1/{}", "long/".repeat(400)), "ens_of_the_second");
    assert_ne!(broken_off.code, Some(0), "{broken_off:?}");
    let kept = std::fs::read_to_string(place.path().join(".config/ensue/profiles.json")).unwrap();
    assert!(kept.contains("\"http://127.0.0.1:1\""), "{kept}");
    assert!(!token.exists(), "the first address has {:?}", std::fs::read_to_string(&token));
}

/// Returns the exit code and standard error of a command whose standard output is a device or a pipe of the
/// test.
fn with_stdout(place: &NodeFolder, arguments: &[&str], stdout: std::process::Stdio) -> (Option<i32>, String) {
    let ended = place.ensue(arguments).stdout(stdout).stderr(std::process::Stdio::piped()).output().unwrap();
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn closed_pipe_ends_a_command_without_an_error() {
    // More than a pipe holds: the command writes after its reader has gone.
    let place = NodeFolder::new();
    for arguments in [&["cron", "@daily", "--count", "1000"][..], &["completions", "bash"]] {
        let mut command = place.ensue(arguments);
        let mut process = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        drop(process.stdout.take());
        let ended = process.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn full_device_is_reported_even_for_the_help() {
    let place = NodeFolder::new();
    for arguments in [&["--help"][..], &["executions", "list", "--help"], &["--version"], &["cron", "@daily"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = with_stdout(&place, arguments, full.into());
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains("standard output cannot be written"), "{arguments:?}: {said}");
    }
}

#[test]
fn help_and_usage_errors_have_their_exit_codes() {
    let place = NodeFolder::new();
    let help = CommandOutput::by(&mut place.ensue(&["--help"]));
    assert!(help.code == Some(0) && help.stdout.contains("First steps"), "{help:?}");
    let mistake = CommandOutput::by(&mut place.ensue(&["executions", "list", "--nonsense"]));
    assert!(mistake.code == Some(2) && mistake.stdout.is_empty(), "{mistake:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_id_is_accepted_and_an_ambiguous_one_lists_candidates() {
    let place = NodeFolder::new();
    let node = place.start();
    let asked =
        |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).args(["--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN));
    let (one, other) = (
        node.client().run("core.echo", &serde_json::json!({ "message": "one" })).await["id"].as_str().unwrap().to_owned(),
        node.client().run("core.echo", &serde_json::json!({ "message": "other" })).await["id"].as_str().unwrap().to_owned(),
    );
    let end = &one[24..];
    for arguments in
        [&["executions", "show", end][..], &["executions", "logs", end], &["executions", "rerun", end, "--dry-run"], &["why", end]]
    {
        let printed = asked(arguments);
        assert_eq!(printed.code, Some(0), "{arguments:?}: {printed:?}");
    }
    let shown = asked(&["executions", "show", end, "-o", "json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown.stdout).unwrap()["id"], one);
    // Ids of the same minute have a common prefix.
    let common: String = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).map(|(one, _)| one).collect();
    assert!(common.len() >= 4, "{one} {other}");
    let ambiguous = asked(&["executions", "show", &common]);
    assert_eq!((ambiguous.code, ambiguous.stdout.as_str()), (Some(6), ""), "{ambiguous:?}");
    assert!(
        ambiguous.stderr.contains("is ambiguous") && ambiguous.stderr.contains(&one) && ambiguous.stderr.contains(&other),
        "{ambiguous:?}"
    );
    let nothing = asked(&["executions", "cancel", "ffffffff"]);
    assert!(nothing.code == Some(5) && nothing.stderr.contains("begins or ends with `ffffffff`"), "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_grouped_filtered_and_counted() {
    let place = NodeFolder::new();
    let node = place.start();
    let asked =
        |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).args(["--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN));
    for script in ["exit 3", "exit 3", "exit 4"] {
        let id = node.client().execute("core.shell", &serde_json::json!({ "script": script })).await;
        node.client().until(&format!("/executions/{id}"), |execution| execution["status"] == "failed").await;
    }
    node.client().run("core.echo", &serde_json::json!({ "message": "well" })).await;
    let groups = asked(&["executions", "list", "--since", "1h", "--by", "error", "-o", "json"]);
    let groups: serde_json::Value = serde_json::from_str(&groups.stdout).unwrap();
    let counts: Vec<u64> = groups["items"].as_array().unwrap().iter().filter_map(|group| group["count"].as_u64()).collect();
    assert_eq!((counts, &groups["counted"], &groups["complete"]), (vec![2, 1], &3.into(), &true.into()), "{groups:#}");
    assert!(groups["items"][0]["error"].as_str().unwrap().starts_with("exit_code 3"), "{groups:#}");
    let by_action = asked(&["executions", "list", "--by", "action"]);
    assert!(by_action.stdout.lines().nth(1).is_some_and(|line| line.starts_with("3\tcore.shell\t")), "{by_action:?}");
    let picked = asked(&["executions", "list", "--error-kind", "exit_code", "--limit", "2"]);
    assert!(picked.stdout.lines().count() == 3 && picked.stdout.contains("exit_code 3"), "{picked:?}");
    assert!(picked.stderr.contains("there are more items"), "{picked:?}");
    assert_eq!(asked(&["executions", "list", "--error-kind", "network"]).stdout.lines().count(), 1);
    assert_eq!(asked(&["executions", "list", "--until", "1h"]).stdout.lines().count(), 1);
    let status = asked(&["status"]);
    for line in ["failed within 1 h  3", "dead letters open  3", "indeterminate      0", "inquiries overdue  0"] {
        assert!(status.stdout.contains(line), "{line}: {status:?}");
    }
    let doctor = asked(&["doctor"]);
    assert!(doctor.stdout.contains("3 executions failed within the last hour"), "{doctor:?}");
    let retried = asked(&["dead-letters", "retry", "--action", "core.shell", "--since", "2h", "--dry-run"]);
    assert_eq!((retried.code, retried.stdout.lines().count()), (Some(0), 3), "{retried:?}");
    assert_eq!(retried.stderr.trim(), "would be done: 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_log_output_equals_the_api_s() {
    let place = NodeFolder::new();
    let node = place.start();
    node.client().run("core.echo", &serde_json::json!({ "message": "kept" })).await;
    let asked =
        |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).args(["--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN));
    let printed = asked(&["log", "--after", "0", "-o", "json"]);
    let page = node.client().request(reqwest::Method::GET, "/api/v1/log?after=0&limit=200").send().await.unwrap().text().await.unwrap();
    assert!(printed.stdout.lines().count() > 3);
    for line in printed.stdout.lines().take(5) {
        assert!(page.contains(line), "{line} is not in {page}");
    }
    let last = asked(&["log", "--limit", "2", "-o", "json"]);
    assert_eq!(
        last.stdout.lines().collect::<Vec<_>>(),
        printed.stdout.lines().rev().take(2).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>()
    );
    let bodies = asked(&["log", "--after", "0", "--bodies", "-o", "json"]);
    let requested = bodies.stdout.lines().find(|line| line.contains("\"kind\":\"execution.requested\"")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(requested).unwrap()["content"]["message"], "kept", "{requested}");
    assert_eq!(asked(&["log", "verify", "--limit", "2"]).code, Some(2));
}
