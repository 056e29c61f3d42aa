//! The open files limit of a node and its programs: the node raises its own, and the programs get the
//! original.

#![cfg(target_os = "linux")]

use serde_json::json;

use crate::support::NodeFolder;

const LOOK: &str = "description: Prints the limits on open files.\nrun:\n  shell:\n    script: 'echo \"$(ulimit -Sn) $(ulimit -Hn)\"'\n";

#[tokio::test(flavor = "multi_thread")]
async fn node_raises_its_open_files_limit_and_programs_keep_the_original() {
    let limited = ["sh", "-c", "ulimit -n 2048 && ulimit -Sn 512 && exec \"$@\"", "limited"].map(str::to_owned).to_vec();
    let place = NodeFolder::new().within(limited);
    place.write_pack_file("look/pack.yaml", "name: look\nversion: 1.0.0\ndescription: Looks around.\n");
    place.write_pack_file("look/actions/around.yaml", LOOK);
    let node = place.start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.pid())).unwrap();
    let open_files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open_files.split_whitespace().collect::<Vec<_>>()[3..5], ["2048", "2048"], "{limits}");
    let client = node.client();
    let shown = client.run("look.around", &json!({})).await;
    assert_eq!(shown["result"], "512 2048", "{shown:#}");
    node.stop_well();
}
