//! The node of an ordinary user: its actions run, they are isolated as the doctor reports, and nothing needs
//! the superuser.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::skipped::skipped;
use crate::support::{Client, Node, NodeFolder, ordinary};

const LOOK: &str = "\
description: Says who it is and tries to get out.
run:
  shell:
    script: |
      exec 2>/dev/null
      vault=shut
      (head -c 1 ../../vault.sqlite >/dev/null) && vault=open
      outside=shut
      (echo x > ../../../outside) && outside=open
      echo mine > file
      printf '{\"user\":%s,\"vault\":\"%s\",\"outside\":\"%s\",\"own\":\"%s\"}' \"$(id -u)\" $vault $outside \"$(cat file)\"
";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("look/pack.yaml", "name: look\nversion: 1.0.0\ndescription: Looks around.\n");
    place.write_pack_file("look/actions/around.yaml", LOOK);
    place
}

/// Returns the doctor's finding about something.
async fn finding(client: &Client, check: &str) -> Value {
    let found = client.get("/doctor").await;
    let findings = found["findings"].as_array().unwrap().clone();
    findings.into_iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("nothing of {check}: {found:#}"))
}

const STEAL: &str = "\
description: Tries to read what the node was started with.
run:
  shell:
    script: |
      exec 2>/dev/null
      settings=shut
      (head -c 1 \"$PLACE/ensue.yaml\" >/dev/null) && settings=open
      (echo >> \"$PLACE/ensue.yaml\") && settings=writable
      key=shut
      (head -c 1 \"$PLACE/deploy.secret\" >/dev/null) && key=open
      printf '{\"settings\":\"%s\",\"key\":\"%s\",\"plain\":\"%s\"}' $settings $key \"$(cat \"$PLACE/plain\")\"
    env: { PLACE: '${{ params.place }}' }
parameters: { place: string }
";

/// The walls as the doctor's message names the missing ones.
const FILES: &str = "files: ";
const METADATA: &str = "modes and times of files: ";

/// Starts a node of an ordinary user. Returns none, and says that the test is skipped, if this machine cannot start one or has
/// no such wall.
async fn isolated_node(test: &str, place: NodeFolder, wall: &str) -> Option<(NodeFolder, Node)> {
    let place = match ordinary::as_ordinary_user(place) {
        Ok(place) => place,
        Err(why) => {
            skipped(test, &why);
            return None;
        }
    };
    let node = place.start();
    if let Some(why) = why_missing(&node.client(), wall).await {
        skipped(test, &why);
        return None;
    }
    Some((place, node))
}

/// Returns the doctor's finding about isolation if it says that this wall is missing, or that all are.
async fn why_missing(client: &Client, wall: &str) -> Option<String> {
    let walls = finding(client, "actions").await;
    if walls["verdict"] == "good" {
        return None;
    }
    let message = walls["message"].as_str().unwrap();
    let missing = message.strip_prefix("this machine cannot isolate programs completely: ");
    let is_there = missing.is_some_and(|missing| !missing.split("; ").any(|one| one.starts_with(wall)));
    (!is_there).then(|| format!("the walls: {message}"))
}

const LOOSEN: &str = "\
description: Tries to change the modes and times of the node's files.
run:
  shell:
    script: |
      exec 2>/dev/null
      changed=nothing
      for file in \"$PLACE\" \"$PLACE\"/* \"$PLACE\"/*/* \"$PLACE\"/data/log.sqlite \"$STATE\"/*; do
        (chmod a+rwx \"$file\" || touch -d 1999-01-01 \"$file\") && changed=\"$file\"
      done
      printf '{\"changed\":\"%s\"}' \"$changed\"
    env: { PLACE: '${{ params.place }}', STATE: '${{ params.state }}' }
parameters: { place: string, state: string }
";

/// Returns the mode of each file and folder beneath a folder.
fn modes(folder: &Path) -> BTreeMap<PathBuf, u32> {
    let mut modes = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let about = entry.metadata().unwrap();
        modes.insert(entry.path(), about.permissions().mode());
        if about.is_dir() {
            modes.extend(self::modes(&entry.path()));
        }
    }
    modes
}

#[tokio::test(flavor = "multi_thread")]
async fn program_of_an_ordinary_user_changes_no_modes_or_times_of_the_node_s_files() {
    let test = "program_of_an_ordinary_user_changes_no_modes_or_times_of_the_node_s_files";
    let place = place();
    place.write_pack_file("look/actions/loosen.yaml", LOOSEN);
    let folder = place.path().to_owned();
    std::fs::write(folder.join("ensue.yaml"), "actions: { readable: [.] }\n").unwrap();
    let Some((_place, node)) = isolated_node(test, place, METADATA).await else { return };
    let client = node.client();
    let before = modes(&folder);
    assert!(before.keys().any(|path| path.ends_with("master.key")), "{before:#?}");
    let state = before.keys().find(|path| path.ends_with("master.key")).unwrap().parent().unwrap();
    let shown = client.run("look.loosen", &json!({ "place": folder, "state": state })).await;
    assert_eq!(shown["result"]["changed"], "nothing", "{shown:#}");
    let after = modes(&folder);
    let changed: Vec<_> = before.iter().filter(|(path, mode)| after.get(*path).is_some_and(|now| now != *mode)).collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(node.stop(), Some(0));
}

const LOOSEN_PACK: &str = "\
description: Tries to change the modes and times of its pack.
run:
  shell:
    script: |
      exec 2>/dev/null
      changed=nothing
      for file in \"$ENSUE_PACK_DIR\" \"$ENSUE_PACK_DIR\"/*; do
        (chmod a+rwx \"$file\" || touch -d 1999-01-01 \"$file\") && changed=\"$file\"
      done
      printf '{\"changed\":\"%s\"}' \"$changed\"
";

#[tokio::test(flavor = "multi_thread")]
async fn program_does_not_change_its_pack_even_inside_a_writable_folder() {
    let test = "program_does_not_change_its_pack_even_inside_a_writable_folder";
    let place = place();
    place.write_pack_file("look/actions/loosen.yaml", LOOSEN_PACK);
    std::fs::write(place.path().join("ensue.yaml"), "actions: { writable: [.] }\n").unwrap();
    let Some((_place, node)) = isolated_node(test, place, METADATA).await else { return };
    let shown = node.client().run("look.loosen", &json!({})).await;
    assert_eq!(shown["result"]["changed"], "nothing", "{shown:#}");
    assert_eq!(node.stop(), Some(0));
}

/// Where OpenSSH looks for further settings, each of which must belong to the superuser or to the user of `ssh`.
const SSH_SETTINGS: &str = "/etc/ssh/ssh_config.d";

const CONNECT: &str = "\
description: Shows the settings of OpenSSH for a host.
run:
  shell:
    script: |
      ssh -G host.example 2>&1 | grep -E '^port|owner'
";

#[tokio::test(flavor = "multi_thread")]
async fn ssh_of_a_program_reads_the_settings_of_the_system() {
    let test = "ssh_of_a_program_reads_the_settings_of_the_system";
    if !rustix::process::geteuid().is_root() || !Path::new(SSH_SETTINGS).is_dir() {
        return skipped(test, &format!("only root can mount something at {SSH_SETTINGS}, which must exist"));
    }
    let settings = ssh_settings();
    let place = place_with_ssh_settings(settings.path());
    place.write_pack_file("look/actions/connect.yaml", CONNECT);
    let Some((_place, node)) = isolated_node(test, place, METADATA).await else { return };
    let shown = node.client().run("look.connect", &json!({})).await;
    assert_eq!(shown["result"], "port 2222", "{shown:#}");
    assert_eq!(node.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_ssh_that_nobody_may_read_leave_the_node_s_files_protected() {
    let test = "settings_of_ssh_that_nobody_may_read_leave_the_node_s_files_protected";
    if !rustix::process::geteuid().is_root() || !Path::new(SSH_SETTINGS).is_dir() {
        return skipped(test, &format!("only root can mount something at {SSH_SETTINGS}, which must exist"));
    }
    let settings = ssh_settings();
    std::fs::set_permissions(settings.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let place = place_with_ssh_settings(settings.path());
    place.write_pack_file("look/actions/loosen.yaml", LOOSEN_PACK);
    let Some((_place, node)) = isolated_node(test, place, METADATA).await else { return };
    let shown = node.client().run("look.loosen", &json!({})).await;
    assert_eq!(shown["result"]["changed"], "nothing", "{shown:#}");
    assert_eq!(node.stop(), Some(0));
}

/// Makes a folder with further settings of OpenSSH that belong to the superuser.
fn ssh_settings() -> tempfile::TempDir {
    let settings = tempfile::tempdir().unwrap();
    std::fs::set_permissions(settings.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(settings.path().join("50-port.conf"), "Host host.example\n  Port 2222\n").unwrap();
    settings
}

/// Makes a place whose nodes see this folder as that of OpenSSH's further settings.
fn place_with_ssh_settings(settings: &Path) -> NodeFolder {
    let script = format!("mount --bind \"$0\" {SSH_SETTINGS} && exec \"$@\"");
    let with_settings = ["unshare", "--mount", "sh", "-c", &script, &settings.display().to_string()].map(str::to_owned);
    place().within(with_settings.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn program_reads_neither_the_settings_file_nor_the_password_beside_it() {
    let test = "program_reads_neither_the_settings_file_nor_the_password_beside_it";
    let place = place();
    place.write_pack_file("look/pack.yaml", "name: look\nversion: 1.0.0\ndescription: Looks around.\nkeys: [deploy]\n");
    place.write_pack_file("look/actions/steal.yaml", STEAL);
    let folder = place.path().to_owned();
    std::fs::write(folder.join("deploy.secret"), "s3cret-1").unwrap();
    std::fs::write(folder.join("plain"), "plain").unwrap();
    // The operator even opens the folder to programs.
    let settings = "actions: { readable: [.], writable: [.] }\npacks: { look: { keys: { deploy: { file: deploy.secret } } } }\n";
    std::fs::write(folder.join("ensue.yaml"), settings).unwrap();
    let Some((_place, node)) = isolated_node(test, place, FILES).await else { return };
    let client = node.client();
    let shown = client.run("look.steal", &json!({ "place": folder })).await;
    assert_eq!(shown["result"], json!({ "settings": "shut", "key": "shut", "plain": "plain" }), "{shown:#}");
    assert_eq!(node.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn unprivileged_node_isolates_actions_as_its_doctor_reports() {
    let test = "unprivileged_node_isolates_actions_as_its_doctor_reports";
    let place = match ordinary::as_ordinary_user(place()) {
        Ok(place) => place,
        Err(why) => return skipped(test, &why),
    };
    let node = place.start();
    let client = node.client();
    let shown = client.run("look.around", &json!({})).await;
    assert_eq!(shown["status"], "succeeded", "{shown:#}");
    let result = &shown["result"];
    assert_ne!(result["user"], 0, "{result}");
    assert_eq!(result["own"], "mine");
    // An action's isolation is exactly what the doctor reports.
    match why_missing(&client, FILES).await {
        None => assert_eq!((&result["vault"], &result["outside"]), (&json!("shut"), &json!("shut"))),
        Some(why) => skipped(test, &why),
    }
    assert_eq!(finding(&client, "processes").await["verdict"], "good", "an ordinary user's programs can always be bounded");
    assert_eq!(node.stop(), Some(0));
}
