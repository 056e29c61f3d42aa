//! What is hidden lies in what programs may otherwise reach, and is reached by no way into that.

use std::fs;
use std::os::unix::fs::symlink;

use ensue_executor::programs::{Isolation, walls_of_this_machine};
use tempfile::TempDir;

use crate::supervised::sh;
use crate::walls::{printed, stands};
use crate::world::Plan;

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

    async fn printed(&self, script: &str) -> String {
        let script = format!("cd {}; {script}", self.folder.path().display());
        printed(Plan::new(sh(&script)).isolated(self.isolation.clone())).await
    }
}

#[tokio::test]
async fn a_secret_in_a_folder_that_programs_may_write_is_neither_read_nor_written() {
    if !stands("files", &walls_of_this_machine().files) {
        return;
    }
    let site = Site::with_secret("secret");
    fs::write(site.folder.path().join("secret"), "s3cret").unwrap();
    let script = "(cat secret) 2>/dev/null || echo hidden; (echo x > secret) 2>/dev/null || echo kept; echo more >> plain; cat plain";
    assert_eq!(site.printed(script).await, "hidden\nkept\nplainmore");
    assert_eq!(fs::read(site.folder.path().join("secret")).unwrap(), b"s3cret");
}

#[tokio::test]
async fn a_secret_stays_hidden_where_its_link_was_switched_over_to_another_file() {
    if !stands("files", &walls_of_this_machine().files) {
        return;
    }
    let site = Site::with_secret("secret");
    let file = |name: &str| site.folder.path().join(name);
    fs::write(file("old"), "0ld").unwrap();
    fs::write(file("new"), "n3w").unwrap();
    symlink("old", file("secret")).unwrap();
    assert_eq!(site.printed("cat secret old 2>/dev/null; cat new").await, "n3w");
    symlink("new", file("switched")).unwrap();
    fs::rename(file("switched"), file("secret")).unwrap();
    assert_eq!(site.printed("cat secret new 2>/dev/null; cat old").await, "0ld");
}

#[tokio::test]
async fn a_link_beside_a_secret_opens_nothing_up() {
    if !stands("files", &walls_of_this_machine().files) {
        return;
    }
    let (site, elsewhere) = (Site::with_secret("secret"), tempfile::Builder::new().tempdir_in("/var/tmp").unwrap());
    fs::write(elsewhere.path().join("other"), "other").unwrap();
    symlink(elsewhere.path(), site.folder.path().join("way")).unwrap();
    assert_eq!(site.printed("cat way/other 2>/dev/null || echo hidden").await, "hidden");
}
