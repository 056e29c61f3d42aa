//! `ensue check` and `ensue pack test`: which packs and which settings they read, wherever they are run.

use std::path::Path;

use serde_json::json;

use crate::support::{CommandOutput, NodeFolder};

/// A pack that needs another one beside it, which has a finding of its own, and a third one with an error.
fn place_with_three_packs() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("a/pack.yaml", "name: a\nversion: 1.0.0\nrequires: { packs: { core: ^0.1, b: ^1.0 } }\n");
    place.write_pack_file("a/rules/greet.yaml", "trigger: b.rung\naction: core.echo\nwith: { message: '${{ event.payload.who }}' }\n");
    place.write_pack_file("b/pack.yaml", "name: b\nversion: 1.2.0\n");
    place.write_pack_file("b/triggers/rung.yaml", "payload: { who: string }\n");
    place.write_pack_file(
        "b/sensors/door.yaml",
        "webhook: { verify: { scheme: none } }\nemits:\n  - { trigger: b.rung, payload: { who: '${{ body.who }}' } }\n",
    );
    place.write_pack_file("c/pack.yaml", "name: c\nversion: 1.0.0\n");
    place.write_pack_file("c/rules/broken.yaml", "trigger: b.rang\naction: core.noop\n");
    place
}

#[test]
fn check_of_one_pack_knows_the_packs_beside_it_but_reports_only_its_own() {
    let place = place_with_three_packs();
    let all = CommandOutput::by(&mut place.ensue(&["check", "packs"]));
    assert!(all.code == Some(1) && all.stdout.contains("b/sensors/door.yaml") && all.stdout.contains("c/rules/broken.yaml"), "{all:?}");
    let one = CommandOutput::by(&mut place.ensue(&["check", "packs/a"]));
    assert_eq!((one.code, one.stdout.as_str(), one.stderr.trim()), (Some(0), "", "no errors in 1 pack"));

    place.write_pack_file("a/rules/greet.yaml", "trigger: b.rung\naction: core.echo\nwith: { message: '${{ event.payload.whom }}' }\n");
    let one = CommandOutput::by(&mut place.ensue(&["check", "packs/a"]));
    assert!(one.code == Some(1) && one.stdout.contains("whom"), "{one:?}");
    assert!(!one.stdout.contains("packs/b") && !one.stdout.contains("packs/c"), "{one:?}");
}

#[test]
fn check_and_pack_test_find_the_settings_from_any_current_folder() {
    let place = NodeFolder::new();
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\nconfig: { owner: string }\n");
    place.write_pack_file("release/triggers/ping.yaml", "payload: { owner: string }\n");
    place.write_pack_file(
        "release/rules/greet.yaml",
        "trigger: release.ping\nwhen: event.payload.owner == config.owner\naction: core.echo\nwith: { message: hello }\n",
    );
    place.write_pack_file(
        "release/tests/greet.test.yaml",
        "- it: greets the owner\n  config: { owner: acme }\n  given: { event: { trigger: release.ping, payload: { owner: acme } } }\n  expect: [{ rule: release.greet }]\n",
    );
    std::fs::write(place.path().join("ensue.yaml"), "packs: { release: { config: { owner: acme } } }\n").unwrap();
    let elsewhere = place.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("other.yaml"), "{}\n").unwrap();

    let packs = place.path().join("packs");
    let absolute = packs.join("release").display().to_string();
    let from = |folder: &Path, arguments: &[&str]| CommandOutput::by(place.ensue(arguments).current_dir(folder));
    for (folder, path) in [
        (place.path(), "packs"),
        (&elsewhere, "../packs"),
        (&elsewhere, "../packs/release"),
        (&elsewhere, absolute.as_str()),
        (&packs, "."),
        (&packs, "release"),
        (&packs.join("release"), "."),
    ] {
        let checked = from(folder, &["check", path]);
        assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), ""), "{path} from {}: {checked:?}", folder.display());
        let tested = from(folder, &["pack", "test", path]);
        assert_eq!(tested.code, Some(0), "{path} from {}: {tested:?}", folder.display());
    }
    let other = from(&elsewhere, &["check", "../packs", "--config", "other.yaml"]);
    assert!(other.code == Some(1) && other.stdout.contains("owner"), "the case depends on the settings: {other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_over_the_api_knows_that_a_file_of_the_pack_is_a_program() {
    let place = NodeFolder::new();
    place.write_pack_file("lab/pack.yaml", "name: lab\nversion: 1.0.0\ndescription: A trap.\n");
    place.write_pack_file("lab/actions/trap.yaml", "description: Springs.\nrun: { process: { command: [./trap.sh] } }\n");
    place.write_pack_program("lab/actions/trap.sh", "#!/bin/sh\n");
    let node = place.start();
    let client = node.client();
    let changed = json!({ "actions/trap.sh": "#!/bin/sh\nexit 0\n" });
    for files in [json!({}), changed] {
        let checked = client.post("/packs/lab/check", &json!({ "files": files })).await;
        assert_eq!(checked.body["is_good"], true, "{checked:#?}");
    }
    let new = json!({ "files": { "actions/trap.sh": null, "actions/trap2.sh": "#!/bin/sh\n" } });
    let checked = client.post("/packs/lab/check", &new).await;
    assert_eq!(checked.body["is_good"], false, "{checked:#?}");
}
