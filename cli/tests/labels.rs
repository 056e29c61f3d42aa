//! Labels on a running node: executions are found and changed by them, and keep them over kills and reruns.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, CommandOutput, Node, NodeFolder};

const DEPLOY: &str = "\
description: Deploys to a site.
parameters: { site: string, wave: integer = 1 }
run: { shell: { script: \"true\" } }
labels: { site: \"${{ params.site }}\", wave: \"${{ params.wave }}\", team: web }
";

const ROLL: &str = "\
description: Deploys to all sites.
parameters: { sites: [string] }
run:
  workflow:
    steps:
      each: { for_each: params.sites, action: release.deploy, with: { site: \"${{ item }}\", wave: 2 } }
labels: { team: releases }
";

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "200"))
}

fn list_by_labels(place: &NodeFolder, node: &Node, labels: &[&str]) -> Vec<Value> {
    let labels = labels.iter().flat_map(|label| ["--label", *label]);
    let arguments: Vec<&str> = ["executions", "list", "-o", "json"].into_iter().chain(labels).collect();
    let printed = ensue(place, node, &arguments);
    let document: Value = serde_json::from_str(&printed.stdout).unwrap_or_else(|_| panic!("{}{}", printed.stdout, printed.stderr));
    document["items"].as_array().unwrap().clone()
}

fn sites(items: &[Value]) -> Vec<&str> {
    items.iter().filter_map(|item| item["labels"]["site"].as_str()).collect()
}

#[tokio::test]
async fn executions_are_selected_by_labels_and_keep_them_over_kill_and_rerun() {
    let place = NodeFolder::new();
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Ships.\n");
    place.write_pack_file("release/actions/deploy.yaml", DEPLOY);
    place.write_pack_file("release/actions/roll.yaml", ROLL);
    let node = place.start();
    let run = |node: &Node, arguments: &[&str]| {
        let all: Vec<&str> = ["run", "release.deploy"].iter().chain(arguments).copied().collect();
        ensue(&place, node, &all)
    };
    assert_eq!(run(&node, &["--param", "site=eu", "--label", "ticket=OPS-7", "--wait"]).code, Some(0));
    assert_eq!(run(&node, &["--param", "site=us", "--label", "ticket=OPS-7", "--wait"]).code, Some(0));
    let refused = run(&node, &["--param", "site=eu", "--label", "site=us"]);
    assert!(refused.stderr.contains("`site` is already a label of `release.deploy`"), "{}", refused.stderr);
    let mistyped = run(&node, &["--param", "site=eu", "--label", "ticket"]);
    assert!(mistyped.stderr.contains("`ticket` is not a label; write `<name>=<value>`"), "{}", mistyped.stderr);
    let rolled = ensue(&place, &node, &["run", "release.roll", "--param", "sites:=[\"eu\", \"ap\"]", "--wait"]);
    assert_eq!(rolled.code, Some(0), "{}", rolled.stderr);

    node.kill();
    let node = place.start();
    assert_eq!(sites(&list_by_labels(&place, &node, &["ticket=OPS-7"])), ["us", "eu"], "the newest first");
    assert_eq!(sites(&list_by_labels(&place, &node, &["site=eu", "wave=1"])), ["eu"]);
    assert_eq!(sites(&list_by_labels(&place, &node, &["site=eu"])), ["eu", "eu"], "one of them is a step, which has labels of its own");
    assert_eq!(list_by_labels(&place, &node, &["team=releases"])[0]["labels"], json!({ "team": "releases" }));
    assert_eq!(list_by_labels(&place, &node, &["team=releases"]).len(), 1);

    let rerun = ensue(&place, &node, &["executions", "rerun", "--label", "ticket=OPS-7", "--label", "site=us"]);
    assert!(rerun.stdout.contains("runs again as"), "{}{}", rerun.stdout, rerun.stderr);
    let found = list_by_labels(&place, &node, &["ticket=OPS-7"]);
    assert_eq!(sites(&found), ["us", "us", "eu"]);
    let shown = ensue(&place, &node, &["executions", "show", found[0]["id"].as_str().unwrap()]);
    assert!(shown.stdout.contains("site=us, team=web, ticket=OPS-7, wave=1"), "{}", shown.stdout);
    let tried = ensue(&place, &node, &["executions", "cancel", "--label", "site=eu", "--dry-run"]);
    assert!(tried.stdout.contains("rejected"), "what has ended is not cancelled: {}{}", tried.stdout, tried.stderr);
}
