//! Hidden paths inside of folders that programs may otherwise access cannot be reached in any way.

use std::fs;
use std::os::unix::fs::symlink;

use ensue_executor::programs::Isolation;
use serde_json::json;
use tempfile::TempDir;

use crate::kernel::WallKind;
use crate::walls::output_of;
use crate::world::sh;
use crate::world::{Plan, result};

/// A folder that programs may read and write, with a secret in it.
struct Site {
    folder: TempDir,
    isolation: Isolation,
}

impl Site {
    fn with_secret(name: &str) -> Self {
        let folder = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
        fs::write(folder.path().join("plain"), "plain").unwrap();
        let isolation = Isolation {
            readable: vec![folder.path().to_owned()],
            writable: vec![folder.path().to_owned()],
            hidden: vec![folder.path().join(name)],
            ..Isolation::default()
        };
        Self { folder, isolation }
    }

    async fn output_of(&self, script: &str) -> String {
        let script = format!("cd {}; {script}", self.folder.path().display());
        output_of(Plan::new(sh(&script)).with_isolation(self.isolation.clone())).await
    }
}

#[tokio::test]
async fn secret_in_a_writable_folder_can_be_neither_read_nor_written() {
    if !WallKind::Files.stands_for("secret_in_a_writable_folder_can_be_neither_read_nor_written") {
        return;
    }
    let site = Site::with_secret("secret");
    fs::write(site.folder.path().join("secret"), "s3cret").unwrap();
    let script = "(cat secret) 2>/dev/null || echo hidden; (echo x > secret) 2>/dev/null || echo kept; echo more >> plain; cat plain";
    assert_eq!(site.output_of(script).await, "hidden\nkept\nplainmore");
    assert_eq!(fs::read(site.folder.path().join("secret")).unwrap(), b"s3cret");
}

#[tokio::test]
async fn secret_stays_hidden_when_its_link_is_switched_to_another_file() {
    if !WallKind::Files.stands_for("secret_stays_hidden_when_its_link_is_switched_to_another_file") {
        return;
    }
    let site = Site::with_secret("secret");
    let file = |name: &str| site.folder.path().join(name);
    fs::write(file("old"), "0ld").unwrap();
    fs::write(file("new"), "n3w").unwrap();
    symlink("old", file("secret")).unwrap();
    assert_eq!(site.output_of("cat secret old 2>/dev/null; cat new").await, "n3w");
    symlink("new", file("switched")).unwrap();
    fs::rename(file("switched"), file("secret")).unwrap();
    assert_eq!(site.output_of("cat secret new 2>/dev/null; cat old").await, "0ld");
}

#[tokio::test]
async fn link_next_to_a_secret_reveals_nothing() {
    if !WallKind::Files.stands_for("link_next_to_a_secret_reveals_nothing") {
        return;
    }
    let (site, elsewhere) = (Site::with_secret("secret"), tempfile::Builder::new().tempdir_in("/var/tmp").unwrap());
    fs::write(elsewhere.path().join("other"), "other").unwrap();
    symlink(elsewhere.path(), site.folder.path().join("way")).unwrap();
    assert_eq!(site.output_of("cat way/other 2>/dev/null || echo hidden").await, "hidden");
}

#[tokio::test]
async fn writable_folder_is_resolved_when_each_program_starts() {
    if !WallKind::Files.stands_for("writable_folder_is_resolved_when_each_program_starts") {
        return;
    }
    let folder = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
    let of = |name: &str| folder.path().join(name);
    for release in ["old", "new"] {
        fs::create_dir(of(release)).unwrap();
        fs::write(of(release).join("name"), release).unwrap();
    }
    symlink("old", of("current")).unwrap();
    let isolation = Isolation { readable: vec![of("current")], ..Isolation::default() };
    let script =
        format!("cat {}/name 2>/dev/null || echo shut; cat {}/name 2>/dev/null || echo shut", of("current").display(), of("old").display());
    let mut world = Plan::new(sh(&script)).with_isolation(isolation).begin();
    let mut said = Vec::new();
    // So many that every supervisor is used again.
    for number in 1..=8 {
        world.dispatch(number, json!({}));
        said.push(result(&world.report().await));
        if number == 4 {
            symlink("new", of("switched")).unwrap();
            fs::rename(of("switched"), of("current")).unwrap();
        }
    }
    let (old, new) = (json!("oldold"), json!("newshut"));
    assert_eq!(said, [vec![old; 4], vec![new; 4]].concat());
}
