//! `ensue rules versions`, `diff` and `restore`: what a rule was, what changed, and how to go back.

use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use similar::TextDiff;

use crate::client::{Client, segment};
use crate::commands::Asking;
use crate::nearest;
use crate::report::{CommandResult, Exit, Failure, eprint_line, printable};
use crate::table::{Column, cell, page, text, time};

/// The lines around a change that a comparison shows.
const CONTEXT_LINES: usize = 3;

/// Which rule.
#[derive(Debug, Args)]
pub(crate) struct Versions {
    /// The rule.
    rule: String,
}

/// Which versions to compare.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The rule.
    rule: String,
    /// The revision of the older version, from `ensue rules versions`.
    from: u64,
    /// The revision of the newer version [default: the installed one].
    to: Option<u64>,
}

/// Which version to restore, and where.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The rule.
    rule: String,
    /// The revision of the version, from `ensue rules versions`.
    revision: u64,
    /// The folder of packs that the node installs, or the folder of the pack.
    #[arg(long, value_name = "FOLDER", default_value = "packs")]
    packs: PathBuf,
    /// Replace the file even if it is not the one that is installed.
    #[arg(long)]
    force: bool,
}

const COLUMNS: &[Column] = &[
    Column::whole("REVISION", |version| cell(version, "catalog")),
    Column::whole("CHANGE", |version| cell(version, "change")),
    Column::whole("AT", |version| time(version, "at")),
    Column::cut("BY", |version| cell(version, "by")),
    Column::whole("PACK VERSION", |version| cell(version, "pack_version")),
];

impl Versions {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        let versions = versions_of(&client, &self.rule).await?;
        asking.output.print_one(&versions, |versions| page(versions, COLUMNS));
        if versions["truncated"] == json!(true) {
            eprint_line(
                "older versions may be missing: the node no longer stores them, or the pack has changed more often than the node looks back",
            );
        }
        Ok(())
    }
}

impl Diff {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        let file = RuleFile::of(&client, &self.rule).await?;
        let from = file.read(&client, Some(self.from)).await?;
        let to = match file.read(&client, self.to).await {
            // A rule that was removed is installed as nothing.
            Err(missing) if self.to.is_none() && missing.exit() == Exit::Missing => String::new(),
            read => read?,
        };
        let name_of = |revision: Option<u64>| match revision {
            Some(revision) => format!("{} (revision {revision})", file.path),
            None => format!("{} (installed)", file.path),
        };
        let diff = TextDiff::from_lines(&from, &to);
        let shown = diff.unified_diff().context_radius(CONTEXT_LINES).header(&name_of(Some(self.from)), &name_of(self.to)).to_string();
        let document = json!({ "rule": self.rule, "from": self.from, "to": self.to, "diff": shown });
        asking.output.print_one(&document, |document| printable(&text(document, "diff")));
        if shown.is_empty() {
            eprint_line("the versions are equal");
        }
        Ok(())
    }
}

impl Restore {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        let file = RuleFile::of(&client, &self.rule).await?;
        let wanted = file.read(&client, Some(self.revision)).await?;
        let target = file.place_in(&self.packs)?;
        let unsaved = match std::fs::read(&target) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(Failure::new(format!("`{}` cannot be read: {error}", target.display()))),
            Ok(present) if present == wanted.as_bytes() || self.force => false,
            // A rule that is not installed now has no text that the file could be.
            Ok(present) => file.read(&client, None).await.ok().is_none_or(|installed| installed.as_bytes() != present),
        };
        if unsaved {
            let message = format!("`{}` is not the file that is installed: it has changes that would be lost", target.display());
            return Err(Failure::with(Exit::Refused, message).hint("keep the changes elsewhere, or add --force"));
        }
        write(&target, &wanted)?;
        let document = json!({ "rule": self.rule, "revision": self.revision, "file": target.display().to_string() });
        asking.output.print_one(&document, |_| format!("{} is as it was in revision {}", target.display(), self.revision));
        eprint_line("a node that watches this folder installs it; another one does so when it starts");
        Ok(())
    }
}

/// Reads the versions of a rule.
async fn versions_of(client: &Client, rule: &str) -> Result<Value, Failure> {
    let read = client.get(&format!("/rules/{}/versions", segment(rule)), &[]).await;
    nearest::or_nearest(client, "/rules", rule, read).await
}

/// The file that defines a rule.
struct RuleFile {
    pack: String,
    /// Its path in the pack.
    path: String,
}

impl RuleFile {
    async fn of(client: &Client, rule: &str) -> Result<Self, Failure> {
        let versions = versions_of(client, rule).await?;
        let pack = rule.split_once('.').map_or(rule, |(pack, _)| pack);
        Ok(Self { pack: pack.to_owned(), path: text(&versions, "file") })
    }

    /// Reads the file of a revision, or the installed one.
    async fn read(&self, client: &Client, revision: Option<u64>) -> Result<String, Failure> {
        let path = format!("/packs/{}/files/{}", segment(&self.pack), segment(&self.path));
        let query: Vec<_> = revision.map(|revision| ("revision", revision.to_string())).into_iter().collect();
        let file = client.get(&path, &query).await?;
        let text = file["text"].as_str().map(str::to_owned);
        text.ok_or_else(|| Failure::with(Exit::Refused, format!("`{}` is not text in this revision", self.path)))
    }

    /// Returns where the file is in a folder of packs, or in the folder of the pack.
    fn place_in(&self, packs: &Path) -> Result<PathBuf, Failure> {
        // The node names the file, and whatever it names must be in the pack.
        if !Path::new(&self.path).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Failure::with(Exit::Refused, format!("`{}` is not the path of a file of a pack", self.path)));
        }
        let is_own = |folder: &PathBuf| name_in(folder).is_some_and(|name| name == self.pack);
        let below = std::fs::read_dir(packs).into_iter().flatten().flatten().map(|entry| entry.path());
        let own = [packs.to_owned()].into_iter().chain(below).find(is_own);
        let message = || format!("there is no pack `{}` in `{}`", self.pack, packs.display());
        let missing = || Failure::with(Exit::Missing, message()).hint("name the folder of the node's packs with --packs");
        Ok(own.ok_or_else(missing)?.join(&self.path))
    }
}

/// Returns the name of the pack in a folder, if there is one whose `pack.yaml` can be read.
fn name_in(folder: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct NamedPack {
        name: String,
    }
    let text = std::fs::read_to_string(folder.join("pack.yaml")).ok()?;
    serde_saphyr::from_str::<NamedPack>(&text).ok().map(|pack| pack.name)
}

/// Atomically writes a file, so that a node that watches it never reads a part of it.
fn write(target: &Path, content: &str) -> CommandResult {
    let folder = target.parent().unwrap_or(Path::new("."));
    let written = std::fs::create_dir_all(folder).and_then(|()| {
        let mut file = tempfile::Builder::new().prefix(".restored-").permissions(plain()).tempfile_in(folder)?;
        file.write_all(content.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(target).map(drop).map_err(|error| error.error)
    });
    written.map_err(|error| Failure::new(format!("`{}` cannot be written: {error}", target.display())))
}

/// The mode of a file that everybody may read, within the user's mask.
fn plain() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}
