//! `ensue schema`: JSON Schemas of user-written files, for editors.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ensue_node::config::settings_schema;
use ensue_packs::FileKind;
use serde_json::Value;

use super::Asking;
use crate::report::{CommandResult, Failure, say};

/// Print the JSON Schema of a kind of file. Editors use it for completion and validation.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue schema rule > rule.json
  ensue schema --all .ensue/schemas     renews what `ensue init` wrote

A file names its schema in its first line, as a path from its own folder:
  # yaml-language-server: $schema=../../../.ensue/schemas/rule.json")]
pub(crate) struct Schema {
    /// The kind of file.
    #[arg(value_enum, required_unless_present = "all")]
    kind: Option<Kind>,
    /// Write the schemas of all kinds into a folder. Existing schemas are overwritten.
    #[arg(long, value_name = "FOLDER", conflicts_with = "kind")]
    all: Option<PathBuf>,
}

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// `pack.yaml`
    Pack,
    /// A file in `triggers/`
    Trigger,
    /// A file in `sensors/`
    Sensor,
    /// A file in `actions/`
    Action,
    /// A file in `rules/`
    Rule,
    /// A file in `tests/`
    Test,
    /// The node's `ensue.yaml`
    Settings,
}

impl Kind {
    fn json_schema(self) -> Value {
        match self {
            Self::Pack => FileKind::Pack.json_schema(),
            Self::Trigger => FileKind::Trigger.json_schema(),
            Self::Sensor => FileKind::Sensor.json_schema(),
            Self::Action => FileKind::Action.json_schema(),
            Self::Rule => FileKind::Rule.json_schema(),
            Self::Test => FileKind::Test.json_schema(),
            Self::Settings => settings_schema(),
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Pack => "pack.json",
            Self::Trigger => "trigger.json",
            Self::Sensor => "sensor.json",
            Self::Action => "action.json",
            Self::Rule => "rule.json",
            Self::Test => "test.json",
            Self::Settings => "settings.json",
        }
    }
}

impl Schema {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        if let Some(kind) = self.kind {
            asking.output.print_one(&kind.json_schema(), |schema| format!("{schema:#}"));
        }
        self.write()
    }

    fn write(&self) -> CommandResult {
        self.all.as_deref().map_or(Ok(()), write_all)
    }
}

/// Returns the schemas of all kinds: each file's name and its text.
pub(super) fn all() -> Vec<(&'static str, String)> {
    Kind::value_variants().iter().map(|kind| (kind.file(), text(*kind))).collect()
}

fn text(kind: Kind) -> String {
    format!("{:#}\n", kind.json_schema())
}

fn write_all(folder: &Path) -> CommandResult {
    let failed = |path: &Path, error: &std::io::Error| Failure::new(format!("`{}` cannot be written: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    for (file, text) in all() {
        let path = folder.join(file);
        std::fs::write(&path, text).map_err(|error| failed(&path, &error))?;
        say(path.display().to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schemas that the library's files name.
    #[test]
    fn stored_schemas_match_the_binary() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs/schemas");
        let renew = "renew them: cargo run -- schema --all packs/schemas";
        let mut there: Vec<String> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        there.sort();
        let mut made: Vec<&str> = all().iter().map(|(file, _)| *file).collect();
        made.sort_unstable();
        assert_eq!(there, made, "{renew}");
        for (file, text) in all() {
            assert_eq!(std::fs::read_to_string(folder.join(file)).unwrap(), text, "{file} is old; {renew}");
        }
    }

    #[test]
    fn existing_schemas_are_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("schemas");
        let write = || Schema { kind: None, all: Some(folder.clone()) }.write().unwrap();
        write();
        std::fs::write(folder.join("rule.json"), "old").unwrap();
        write();
        assert_eq!(std::fs::read_to_string(folder.join("rule.json")).unwrap(), text(Kind::Rule));
    }
}
