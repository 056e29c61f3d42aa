//! Control of executions on a running node: rerun ended ones, pause running ones.

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder};

const SHIP: &str = "\
description: Builds, then deploys each region.
parameters: { regions: [string] }
run:
  workflow:
    steps:
      build: { action: core.echo, with: { message: built } }
      deploy:
        needs: [build]
        for_each: params.regions
        action: release.deploy
        with: { region: \"${{ item }}\" }
      announce:
        needs: [deploy]
        action: core.echo
        with: { message: \"${{ steps.build.result.message }}: ${{ size(steps.deploy.items) }}\" }
    result: { said: \"${{ steps.announce.result.message }}\" }
";

const NAPS: &str = "\
description: Sleeps, then says so.
parameters: { duration: string }
run:
  workflow:
    steps:
      nap: { sleep: \"${{ params.duration }}\" }
      say: { needs: [nap], action: core.echo, with: { message: awake } }
";

/// Deploys every region except one.
fn deploy(but: &str) -> String {
    format!(
        "description: Deploys one region.
parameters: {{ region: string }}
run:
  shell:
    script: test \"$REGION\" != {but} || exit 3
    env: {{ REGION: \"${{{{ params.region }}}}\" }}
"
    )
}

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Ships.\n");
    for (name, text) in [("deploy", deploy("mars").as_str()), ("ship", SHIP), ("naps", NAPS)] {
        place.write_pack_file(&format!("release/actions/{name}.yaml"), text);
    }
    place
}

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("COLUMNS", "80"))
}

/// The steps of a workflow that are executions, each with its item.
async fn ran(client: &Client, workflow: &str) -> Vec<(String, Option<u64>)> {
    let listed = client.get(&format!("/executions?parent={workflow}&sort=position")).await;
    let items = listed["items"].as_array().unwrap().iter();
    items.map(|step| (step["step"].as_str().unwrap().to_owned(), step["item"].as_u64())).collect()
}

#[tokio::test]
async fn failed_workflow_can_be_rerun_from_there_once_its_pack_is_fixed() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let first = client.execute("release.ship", &json!({ "regions": ["eu", "mars", "us"] })).await;
    client.until(&format!("/executions/{first}"), |execution| execution["status"] == "failed").await;
    node.stop_well();
    place.write_pack_file("release/actions/deploy.yaml", &deploy("venus"));
    let node = place.start();
    let client = node.client();

    let done = ensue(&place, &node, &["executions", "rerun", &first, "--from", "failed", "--wait"]);
    assert_eq!((done.code, done.stdout.trim()), (Some(0), "{\n  \"said\": \"built: 3\"\n}"), "{}", done.stderr);
    let reruns = client.get(&format!("/executions?rerun_of={first}")).await;
    let second = &reruns["items"][0];
    assert_eq!((reruns["items"].as_array().unwrap().len(), &second["rerun_of"]), (1, &json!(first)));
    let second = second["id"].as_str().unwrap().to_owned();
    assert_eq!(ran(&client, &second).await, [("deploy".to_owned(), Some(1)), ("announce".to_owned(), None)]);
    let tree = ensue(&place, &node, &["executions", "show", &second, "--tree"]);
    let place_of = |part: &str| tree.stdout.find(part).unwrap_or_else(|| panic!("`{part}` is missing: {}", tree.stdout));
    assert!(place_of("build succeeded: taken over from ") < place_of("deploy"), "{}", tree.stdout);
    assert!(place_of("deploy") < place_of("announce"), "{}", tree.stdout);

    let refused = ensue(&place, &node, &["executions", "rerun", &second, "--from", "failed"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("succeeded, so there is no failed part"), "{}", refused.stderr);
    let refused = ensue(&place, &node, &["executions", "rerun", &second, "--from", "nowhere"]);
    assert!(refused.stderr.contains("there is no step `nowhere` in the current version of `release.ship`"), "{}", refused.stderr);
    let changed = ensue(&place, &node, &["executions", "rerun", &first, "--param", "regions:=[\"eu\"]", "--wait"]);
    assert!(changed.stdout.contains("built: 1"), "{}{}", changed.stdout, changed.stderr);
}

#[tokio::test]
async fn dry_run_of_an_action_checks_it_and_runs_nothing() {
    let place = place();
    let node = place.start();
    let tried = |arguments: &[&str]| ensue(&place, &node, &[&["run", "--dry-run"], arguments].concat());
    let good = tried(&["release.ship", "--param", "regions:=[\"eu\"]"]);
    assert_eq!((good.code, good.stdout.trim()), (Some(0), "`release.ship` would run"), "{}", good.stderr);
    let unfit = tried(&["release.ship", "--param", "regions:=7"]);
    assert_eq!((unfit.code, unfit.stdout.as_str()), (Some(6), ""), "{}", unfit.stderr);
    let unknown = tried(&["release.shipp"]);
    assert!(unknown.code == Some(5) && unknown.stderr.contains("did you mean `release.ship`?"), "{}", unknown.stderr);
    assert_eq!(node.client().get("/executions").await["items"], json!([]));
}

#[tokio::test]
async fn pause_survives_a_kill_until_resume() {
    let place = place();
    let node = place.start();
    let client = node.client();
    // It must be paused before its nap is over. On a slow machine that takes a longer nap.
    let (mut naps, mut params) = (String::new(), Value::Null);
    for duration in ["1s", "10s", "50s"] {
        params = json!({ "duration": duration });
        naps = client.execute("release.naps", &params).await;
        let printed = ensue(&place, &node, &["executions", "pause", &naps]);
        if ran(&client, &naps).await.len() == 1 {
            assert_eq!(printed.stdout.trim(), "paused", "{}", printed.stderr);
            break;
        }
    }
    node.kill();

    let node = place.start();
    let client = node.client();
    // One that begins a nap of the same length only here would be awake later.
    assert_eq!(client.run("release.naps", &params).await["status"], "succeeded");
    let shown = client.get(&format!("/executions/{naps}")).await;
    assert_eq!((&shown["status"], shown["paused_at"].is_string()), (&json!("paused"), true));
    assert_eq!(ran(&client, &naps).await.len(), 1);
    let listed = client.get("/executions?status=paused").await;
    assert_eq!(listed["items"][0]["id"], json!(naps));

    let resumed = ensue(&place, &node, &["executions", "resume", &naps]);
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    let ended = client.until(&format!("/executions/{naps}"), |execution| execution["status"] == "succeeded").await;
    assert_eq!(ended["paused_at"], Value::Null);
    let refused = ensue(&place, &node, &["executions", "pause", &naps]);
    assert!(refused.stderr.contains("is not open"), "{}", refused.stderr);
}

#[tokio::test]
async fn bulk_change_covers_all_matches_and_names_rejected_ones() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let told = ensue(&place, &node, &["executions", "cancel", "--status", "failed"]);
    assert_eq!((told.code, told.stdout.as_str(), told.stderr.trim()), (Some(0), "", "none fits"));
    let mars = json!({ "regions": ["mars"] });
    let (first, second) = (client.execute("release.ship", &mars).await, client.execute("release.ship", &mars).await);
    for id in [&first, &second] {
        client.until(&format!("/executions/{id}"), |execution| execution["status"] == "failed").await;
    }
    let again = ["executions", "rerun", "--action", "release.ship", "--status", "failed", "--since", "1h", "--from", "failed"];
    let tried = ensue(&place, &node, &[&again[..], &["--dry-run"]].concat());
    assert_eq!(tried.stdout, format!("{second}  would be done\n{first}  would be done\n"), "{}", tried.stderr);
    let done = ensue(&place, &node, &again);
    let lines: Vec<_> = done.stdout.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!((done.code, lines), (Some(0), vec![second.as_str(), first.as_str()]), "{}", done.stderr);
    assert!(done.stdout.lines().all(|line| line.contains("  runs again as ")), "{}", done.stdout);
    assert_eq!(done.stderr.trim(), "done: 2");
    for (_, rerun) in done.stdout.lines().filter_map(|line| line.split_once("  runs again as ")) {
        client.until(&format!("/executions/{rerun}"), |execution| execution["status"] == "failed").await;
    }
    // Their own reruns are not included: they were requested after the first rerun.
    let until = client.get(&format!("/executions/{second}")).await["ended_at"].as_str().unwrap().to_owned();
    let once_more = [&again[..], &["--until", &until]].concat();
    let left_out = ensue(&place, &node, &[&once_more[..], &["--dry-run"]].concat());
    assert_eq!(left_out.code, Some(0), "{}", left_out.stderr);
    assert!(
        left_out.stdout.lines().count() == 2 && left_out.stdout.lines().all(|line| line.contains("  left out: ")),
        "{}",
        left_out.stdout
    );
    assert_eq!(left_out.stderr.trim(), "would be done: 0; left out because they were already rerun: 2 (--again reruns these too)");
    let head = client.get("/log/head").await;
    ensue(&place, &node, &once_more);
    assert_eq!(client.get("/log/head").await["position"], head["position"], "a second operator reruns nothing");
    let twice = ensue(&place, &node, &[&once_more[..], &["--again", "--dry-run"]].concat());
    assert_eq!(twice.stdout, format!("{second}  would be done\n{first}  would be done\n"), "{}", twice.stderr);
    let refused = ensue(&place, &node, &["executions", "pause", "--status", "failed", "--action", "release.ship"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stdout.contains(&format!("{first}  rejected: ")), "{}", refused.stdout);
    let count = refused.stdout.lines().count();
    assert_eq!(refused.stderr.trim(), format!("error: rejected: {count} of {count}"));
    let both = ensue(&place, &node, &["executions", "cancel", &first, "--status", "failed"]);
    assert!(both.code == Some(2) && both.stderr.contains("cannot be used with"), "{}", both.stderr);
    let neither = ensue(&place, &node, &["executions", "cancel"]);
    assert!(neither.code == Some(2) && neither.stderr.contains("required"), "{}", neither.stderr);
}
