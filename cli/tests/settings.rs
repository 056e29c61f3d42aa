//! The settings of a running node, as its operator lists them.

use crate::support::{ADMIN_TOKEN, CommandOutput, NodeFolder};

#[test]
fn operator_sees_each_setting_and_where_it_was_written() {
    let place = NodeFolder::new().with_variable("ENSUE_LEASE", "20s");
    std::fs::write(place.path().join("ensue.yaml"), "# The node.\nworkers: 3\nqueues:\n  heavy: { workers: 1 }\n").unwrap();
    let node = place.start();
    let list = |arguments: &[&str]| {
        let listed = CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN));
        listed.stdout.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let changed = list(&["settings", "--changed"]);
    for line in [
        ["workers", "3", "ensue.yaml:2"],
        ["queues", r#"{"heavy":{"workers":1}}"#, "ensue.yaml:3"],
        ["lease", "20s", "ENSUE_LEASE"],
        ["data", "data", "--data"],
    ] {
        assert!(changed.contains(&line.map(str::to_owned).to_vec()), "{line:?} is not in {changed:?}");
    }
    assert!(!changed.iter().any(|line| line[0] == "memory"), "{changed:?}");
    assert!(list(&["settings"]).contains(&["memory", "536870912 (512 MiB)", "default"].map(str::to_owned).to_vec()));
}
