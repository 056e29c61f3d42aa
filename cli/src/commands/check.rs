//! `ensue check`: every error of every pack, before anything runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use ensue_engine::names::PackName;
use ensue_packs::{Colour, Diagnostic, PackSource, ReadError, Severity};
use serde_json::{Value, json};

use super::Asking;
use crate::report::{Exit, Failure, Outcome, say, tell};
use crate::style::Style;
use crate::table::{Output, print_json};

/// Check packs: every error with its file, line and column, and what to write instead.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue check packs/                 a folder of packs
  ensue check packs/release          one pack
  ensue check packs/ -o json         for editors; exit code 1 if there is an error")]
pub(crate) struct Check {
    /// Folders of packs, or packs.
    #[arg(default_value = "packs")]
    folders: Vec<PathBuf>,
    /// The node's own file, whose settings the packs get; `ensue.yaml` where it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self, asking: &Asking) -> Outcome {
        let mut packs = ensue_packs::library();
        let shipped = packs.len();
        let mut unreadable = Vec::new();
        for folder in &self.folders {
            for pack in read(folder)? {
                match pack {
                    Ok(pack) => packs.push(pack),
                    Err(error) => unreadable.push(error.to_string()),
                }
            }
        }
        let read = packs.len() - shipped;
        let checked = ensue_packs::check(&packs, &settings(self.config.as_deref())?);
        let errors = count(&checked.diagnostics, Severity::Error) + unreadable.len();
        let warnings = count(&checked.diagnostics, Severity::Warning);
        match asking.output {
            Output::Json => print_json(&json!({
                "diagnostics": checked.diagnostics.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
                "unreadable": unreadable,
                "errors": errors,
                "warnings": warnings,
            })),
            Output::Table => {
                let colour = if Style::of_stdout() == Style::PLAIN { Colour::Plain } else { Colour::Ansi };
                for diagnostic in &checked.diagnostics {
                    say(diagnostic.render(colour));
                }
                for error in &unreadable {
                    say(format!("error: {error}\n"));
                }
            }
        }
        let found = format!("{} in {}", counted(errors, "error"), counted(read, "pack"));
        match (errors, warnings) {
            (0, 0) => tell(format!("no mistakes in {}", counted(read, "pack"))),
            (0, warnings) => tell(format!("no errors and {} in {}", counted(warnings, "warning"), counted(read, "pack"))),
            (_, 0) => return Err(Failure::new(found)),
            (_, warnings) => return Err(Failure::new(format!("{found}, and {}", counted(warnings, "warning")))),
        }
        Ok(())
    }
}

fn read(folder: &Path) -> Result<Vec<Result<PackSource, ReadError>>, Failure> {
    if folder.join("pack.yaml").is_file() {
        return Ok(vec![PackSource::read(folder)]);
    }
    let packs = PackSource::read_all(folder)
        .map_err(|error| Failure::with(Exit::Missing, error.to_string()).hint("name a folder of packs, or a pack: `ensue check packs/`"))?;
    if packs.is_empty() {
        return Err(Failure::with(Exit::Missing, format!("there is no pack in `{}`", folder.display()))
            .hint("a pack is a folder with a `pack.yaml`; `ensue init` makes one"));
    }
    Ok(packs)
}

/// What the operator sets for packs, as `check` of packs takes it.
fn settings(file: Option<&Path>) -> Result<BTreeMap<PackName, Value>, Failure> {
    let config = super::serve::settings(file)?;
    Ok(config.pack_settings.into_iter().map(|(pack, settings)| (pack, Value::Object(settings.config))).collect())
}

fn count(diagnostics: &[Diagnostic], severity: Severity) -> usize {
    diagnostics.iter().filter(|one| one.severity == severity).count()
}

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
