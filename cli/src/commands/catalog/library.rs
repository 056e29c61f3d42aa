//! `ensue packs list --available` and `ensue packs add`: the packs of the library that are in the binary. No node is asked.

use std::path::{Path, PathBuf};

use clap::Args;
use ensue_packs::{AvailablePack, available_packs, library_names};
use serde_json::{Value, json};

use crate::commands::Asking;
use crate::commands::check::count_noun;
use crate::report::{CommandResult, Exit, Failure, eprint_line, say};
use crate::table::{Column, cell};

/// Where the files of a project say that the schemas for editors are, and where those of the library say it.
const SCHEMAS_OF_PROJECT: &str = "../.ensue/schemas/";
const SCHEMAS_OF_LIBRARY: &str = "../schemas/";
const SCHEMA_LINE: &str = "# yaml-language-server: ";

const COLUMNS: &[Column] = &[
    Column::whole("PACK", |pack| cell(pack, "name")),
    Column::whole("VERSION", |pack| cell(pack, "version")),
    Column::cut("DESCRIPTION", |pack| cell(pack, "description")),
];

/// The pack to add, and where.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The name of a pack from `ensue packs list --available`.
    #[arg(value_name = "PACK")]
    name: String,
    /// The folder of packs.
    #[arg(long, value_name = "FOLDER", default_value = "packs")]
    to: PathBuf,
}

/// Prints the packs that can be added.
pub(super) fn list(asking: &Asking) -> CommandResult {
    let item = |pack: &AvailablePack| {
        let keys: Vec<&str> = pack.keys.iter().map(|key| key.as_str()).collect();
        json!({
            "name": pack.name,
            "version": pack.version,
            "description": pack.description,
            "keys": keys,
            "settings": pack.settings,
        })
    };
    let items: Vec<Value> = available_packs().iter().map(item).collect();
    asking.output.print_list(&json!({ "items": items, "next": Value::Null }), COLUMNS);
    Ok(())
}

impl Add {
    pub(super) fn run(self) -> CommandResult {
        let pack = find(&self.name)?;
        let folder = self.to.join(pack.name.as_str());
        if folder.exists() {
            return Err(Failure::with(Exit::Refused, format!("`{}` already exists; nothing was written", folder.display()))
                .hint("to compare it with the pack of this release, add that to another folder: --to /tmp/packs"));
        }
        copy(&pack, &self.to, &folder)?;
        for file in pack.source.files.keys() {
            say(folder.join(file).display().to_string());
        }
        eprint_line(next_steps(&pack, &folder));
        Ok(())
    }
}

fn find(name: &str) -> Result<AvailablePack, Failure> {
    if library_names().iter().any(|installed| installed.as_str() == name) {
        return Err(Failure::with(Exit::Refused, format!("every node has the pack `{name}`: there is nothing to add"))
            .hint(format!("see what it contains: ensue packs show {name}")));
    }
    let mut available = available_packs();
    if let Some(at) = available.iter().position(|pack| pack.name.as_str() == name) {
        return Ok(available.swap_remove(at));
    }
    let near = ensue_expression::nearest(name, available.iter().map(|pack| pack.name.as_str()));
    let failure = Failure::with(Exit::Missing, format!("the library has no pack `{name}`"));
    Err(match near {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("see which there are: ensue packs list --available"),
    })
}

/// Writes the files beside their place, under a name that nodes do not read, and then renames the folder: a node that watches
/// the folder of packs never sees half a pack.
fn copy(pack: &AvailablePack, packs: &Path, folder: &Path) -> CommandResult {
    let failed = |path: &Path, error: &std::io::Error| Failure::new(format!("`{}` cannot be written: {error}", path.display()));
    let new = packs.join(format!(".{}.new-{}", pack.name, std::process::id()));
    let written = (|| {
        for (file, content) in &pack.source.files {
            let path = new.join(file);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
            }
            std::fs::write(&path, for_project(&content.bytes)).map_err(|error| failed(&path, &error))?;
        }
        std::fs::rename(&new, folder).map_err(|error| failed(folder, &error))
    })();
    if written.is_err() {
        // The first error is reported. Files that remain are under a name that nodes do not read.
        let _ = std::fs::remove_dir_all(&new);
    }
    written
}

/// Returns a file with the first line that names its schema for editors where `ensue init` puts the schemas.
fn for_project(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    match text.strip_prefix(SCHEMA_LINE).and_then(|rest| rest.split_once('\n')) {
        Some((line, rest)) => format!("{SCHEMA_LINE}{}\n{rest}", line.replace(SCHEMAS_OF_LIBRARY, SCHEMAS_OF_PROJECT)).into_bytes(),
        None => bytes.to_vec(),
    }
}

fn next_steps(pack: &AvailablePack, folder: &Path) -> String {
    let shown = folder.display();
    let mut text = format!(
        "\n`{}` has {}. They are yours to read and to change.\n\nNext:\n  read {shown}/README.md",
        pack.name,
        count_noun(pack.source.files.len(), "file")
    );
    if !pack.settings.is_empty() {
        let names = pack.settings.join(", ");
        text.push_str(&format!("\n  in ensue.yaml, under packs.{}.config, set: {names}", pack.name));
    }
    for key in &pack.keys {
        text.push_str(&format!("\n  ensue keys set {key}"));
    }
    let packs = folder.parent().unwrap_or(folder).display();
    text.push_str(&format!("\n  ensue check {packs}\n  ensue pack test --real {shown}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(name: &str, to: &Path) -> CommandResult {
        Add { name: name.to_owned(), to: to.to_owned() }.run()
    }

    #[test]
    fn added_pack_is_whole_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let packs = folder.path().join("packs");
        for pack in available_packs() {
            add(pack.name.as_str(), &packs).unwrap();
            let read = ensue_packs::PackSource::read(&packs.join(pack.name.as_str())).unwrap();
            assert!(read.files.keys().eq(pack.source.files.keys()), "{}", pack.name);
            assert_eq!(add(pack.name.as_str(), &packs).unwrap_err().exit(), Exit::Refused);
        }
        let hidden = std::fs::read_dir(&packs).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().as_encoded_bytes()[0] == b'.');
        assert_eq!(hidden.count(), 0);
    }

    #[test]
    fn installed_and_unknown_packs_cannot_be_added() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(add("github", folder.path()).unwrap_err().exit(), Exit::Refused);
        assert_eq!(add("slakc", folder.path()).unwrap_err().exit(), Exit::Missing);
    }

    #[test]
    fn schema_line_leads_to_the_schemas_of_the_project() {
        let line = b"# yaml-language-server: $schema=../../../schemas/action.json\nrun: {}\n";
        let expected = "# yaml-language-server: $schema=../../../.ensue/schemas/action.json\nrun: {}\n";
        assert_eq!(String::from_utf8(for_project(line)).unwrap(), expected);
        assert_eq!(for_project(b"# slack\n"), b"# slack\n");
    }
}
