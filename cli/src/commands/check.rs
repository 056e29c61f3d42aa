//! `ensue check`: reports every error of every pack before anything runs. Code shared with `ensue lint` is
//! here too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use ensue_engine::names::{ConnectionName, PackName};
use ensue_node::config::Config;
use ensue_packs::{
    CheckResult, Colour, DeclaredConnection, Diagnostic, PackSource, ReadError, Severity, connection_findings, url_findings,
};
use serde_json::{Value, json};

use super::{Asking, explain};
use crate::report::{CommandResult, Exit, Failure, eprint_line, say};
use crate::style::Style;

/// Check packs, and report every error with its place. Each error has a file, a line and a column,
/// and a correction.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue check packs/                 a folder of packs
  ensue check packs/release          one pack
  ensue check --explain yaml_tag     what a code means, and what to do
  ensue check packs/ -o json         for editors; exit code 1 if there is an error")]
pub(crate) struct Check {
    #[command(flatten)]
    packs: PacksAtHand,
    /// Explain a code with an example, and check nothing.
    #[arg(long, value_name = "CODE", exclusive = true)]
    explain: Option<String>,
}

/// The packs that a command looks at, and what the operator sets for them.
#[derive(Debug, Args)]
pub(super) struct PacksAtHand {
    /// Folders of packs, or folders that contain packs.
    #[arg(default_value = "packs")]
    folders: Vec<PathBuf>,
    /// The node's settings file, which configures the packs [default: `ensue.yaml` in or beside the
    /// folder of packs, or in the current folder].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The findings about packs.
pub(super) struct PackFindings {
    checked: CheckResult,
    unreadable: Vec<String>,
    packs: usize,
}

impl Check {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        if let Some(slug) = &self.explain {
            return explain::print(asking, slug);
        }
        let found = self.packs.look(ensue_packs::check)?;
        found.show(asking);
        found.outcome()
    }
}

/// Packs that were read, with the library's, and the operator's settings for them.
pub(super) struct ReadPacks {
    /// The library packs, except those that were read from a folder, followed by the other packs.
    pub(super) sources: Vec<PackSource>,
    /// The index of the first of the others.
    pub(super) first: usize,
    /// Errors of packs that cannot be read.
    pub(super) unreadable: Vec<String>,
    /// The operator's settings.
    pub(super) settings: BTreeMap<PackName, Value>,
    /// The connections that the operator declares; `None` if there is no settings file.
    pub(super) connections: Option<BTreeMap<ConnectionName, DeclaredConnection>>,
    /// The longest body of a delivery that the node takes; `None` if there is no settings file.
    delivery_bytes_max: Option<usize>,
    /// Whether they have the public address of the node.
    url: DeclaredUrl,
    /// The packs next to a single pack, which it may need. Their findings are not reported.
    beside: AdjacentPacks,
}

/// The packs next to those that a command checks.
#[derive(Default)]
struct AdjacentPacks {
    /// Their folders.
    origins: Vec<String>,
    /// Their names, except those that the checked packs have.
    names: BTreeSet<String>,
}

impl AdjacentPacks {
    /// Reads the packs of the folders around single packs, except those that are checked.
    fn of(folders: &[PathBuf], own: &[PackSource]) -> (Self, Vec<PackSource>) {
        let single = folders.iter().filter(|folder| folder.join("pack.yaml").is_file());
        let around: BTreeSet<PathBuf> = single.filter_map(|folder| Some(folder.canonicalize().ok()?.parent()?.to_owned())).collect();
        let mut others: Vec<PathBuf> =
            around.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten().map(|entry| entry.path()).collect();
        others.retain(|folder| {
            folder.join("pack.yaml").is_file() && !own.iter().any(|own| is_same(Path::new(&own.origin), folder)) && !is_hidden(folder)
        });
        others.sort();
        // A pack that cannot be read is reported when it is checked itself.
        let sources: Vec<PackSource> = others.iter().filter_map(|folder| PackSource::read(folder).ok()).collect();
        let own: BTreeSet<String> = own.iter().filter_map(|pack| name_of_pack(Path::new(&pack.origin))).collect();
        let names = sources.iter().filter_map(|pack| name_of_pack(Path::new(&pack.origin))).filter(|name| !own.contains(name)).collect();
        (Self { origins: sources.iter().map(|pack| pack.origin.clone()).collect(), names }, sources)
    }

    /// Returns true if a diagnostic is about one of them.
    fn has(&self, diagnostic: &Diagnostic) -> bool {
        let is_of = |origin: &String| diagnostic.file.strip_prefix(origin.as_str()).is_some_and(|rest| rest.starts_with('/'));
        self.origins.iter().any(is_of) || diagnostic.pack.as_ref().is_some_and(|pack| self.names.contains(pack.as_str()))
    }
}

fn is_hidden(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Whether the settings have the public address of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeclaredUrl {
    /// The settings have it, or there is no settings file.
    SetOrUnknown,
    /// There is a settings file without it.
    Missing,
}

impl ReadPacks {
    /// Keeps the findings of the packs themselves, and drops those of the packs next to them.
    pub(super) fn without_adjacent(&self, diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
        diagnostics.into_iter().filter(|one| !self.beside.has(one)).collect()
    }
}

impl PacksAtHand {
    /// Reads the packs, and passes them with the library's to `judge`.
    pub(super) fn look(self, judge: fn(&[PackSource], &BTreeMap<PackName, Value>) -> CheckResult) -> Result<PackFindings, Failure> {
        let read = self.read()?;
        let CheckResult { mut diagnostics, good } = judge(&read.sources, &read.settings);
        if let Some(declared) = &read.connections {
            diagnostics.extend(connection_findings(&good, declared));
        }
        if let Some(bytes_max) = read.delivery_bytes_max {
            diagnostics.extend(good.iter().flat_map(|pack| pack.body_findings(bytes_max)));
        }
        if read.url == DeclaredUrl::Missing {
            diagnostics.extend(url_findings(&good));
        }
        let checked = CheckResult { diagnostics: read.without_adjacent(diagnostics), good };
        Ok(PackFindings { checked, packs: read.sources.len() - read.first, unreadable: read.unreadable })
    }

    /// Reads the packs.
    pub(super) fn read(self) -> Result<ReadPacks, Failure> {
        let (mut own, mut unreadable) = (Vec::new(), Vec::new());
        for folder in &self.folders {
            for pack in read(folder)? {
                match pack {
                    Ok(pack) => own.push(pack),
                    Err(error) => unreadable.push(error.to_string()),
                }
            }
        }
        let beside_the_packs = self.folders.iter().find_map(|folder| settings_beside(folder));
        let file = self.config.as_deref().or(beside_the_packs.as_deref());
        let config = super::serve::settings(file)?;
        let connections = (file.is_some() || !config.connections.is_empty()).then(|| config.declared_connections());
        let delivery_bytes_max = file.is_some().then_some(config.delivery_bytes_max);
        let url = if file.is_some() && config.url.is_none() { DeclaredUrl::Missing } else { DeclaredUrl::SetOrUnknown };
        let settings = settings(config);
        let (beside, others) = AdjacentPacks::of(&self.folders, &own);
        let mut sources = ensue_packs::library();
        // If the library's own folders are checked, they replace the packs that ship with the binary.
        let digests: Vec<_> = own.iter().chain(&others).map(PackSource::digest).collect();
        sources.retain(|shipped| !digests.contains(&shipped.digest()));
        sources.extend(others);
        let first = sources.len();
        sources.extend(own);
        Ok(ReadPacks { sources, first, unreadable, settings, connections, delivery_bytes_max, url, beside })
    }
}

impl PackFindings {
    /// Prints the findings: to people with the affected lines, to programs as JSON.
    pub(super) fn show(&self, asking: &Asking) {
        let document = json!({
            "diagnostics": self.checked.diagnostics.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
            "unreadable": self.unreadable,
            "errors": self.errors(),
            "warnings": self.warnings(),
        });
        asking.output.print(&document, || show_all(&self.checked.diagnostics, &self.unreadable, asking));
    }

    /// Prints a one-line summary; errors are a failure.
    pub(super) fn outcome(&self) -> CommandResult {
        let found = format!("{} in {}", count_noun(self.errors(), "error"), count_noun(self.packs, "pack"));
        match (self.errors(), self.warnings()) {
            (0, 0) => eprint_line(format!("no errors in {}", count_noun(self.packs, "pack"))),
            (0, warnings) => {
                eprint_line(format!("no errors and {} in {}", count_noun(warnings, "warning"), count_noun(self.packs, "pack")))
            }
            (_, 0) => return Err(Failure::new(found)),
            (_, warnings) => return Err(Failure::new(format!("{found}, and {}", count_noun(warnings, "warning")))),
        }
        Ok(())
    }

    pub(super) fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    fn errors(&self) -> usize {
        self.count(Severity::Error) + self.unreadable.len()
    }

    fn count(&self, severity: Severity) -> usize {
        self.checked.diagnostics.iter().filter(|one| one.severity == severity).count()
    }
}

/// Prints what is wrong with packs for people, with the affected lines.
pub(super) fn show_all(diagnostics: &[Diagnostic], unreadable: &[String], asking: &Asking) {
    let colour = if asking.output.style() == Style::PLAIN { Colour::Plain } else { Colour::Ansi };
    for diagnostic in diagnostics {
        say(diagnostic.render(colour));
    }
    for error in unreadable {
        say(format!("error: {error}\n"));
    }
    if let Some(first) = diagnostics.first() {
        eprint_line(format!("for details of a code, run: ensue explain {}", first.code));
    }
}

fn read(folder: &Path) -> Result<Vec<Result<PackSource, ReadError>>, Failure> {
    if folder.join("pack.yaml").is_file() {
        return Ok(vec![PackSource::read(folder)]);
    }
    let packs = PackSource::read_all(folder).map_err(|error| {
        Failure::with(Exit::Missing, error.to_string()).hint("name a folder of packs, or a single pack: `ensue check packs/`")
    })?;
    if packs.is_empty() {
        return Err(Failure::with(Exit::Missing, format!("there is no pack in `{}`", folder.display()))
            .hint("a pack is a folder with a `pack.yaml`; create one with `ensue init`"));
    }
    Ok(packs)
}

/// Returns the node's configuration file in a folder of packs, or next to it.
fn settings_beside(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let packs = if folder.join("pack.yaml").is_file() { folder.parent()?.to_owned() } else { folder };
    [packs.clone(), packs.parent()?.to_owned()].into_iter().map(|folder| folder.join("ensue.yaml")).find(|file| file.is_file())
}

/// Returns the operator's settings for packs, in the form that the checks take.
fn settings(config: Config) -> BTreeMap<PackName, Value> {
    config.pack_settings.into_iter().map(|(pack, settings)| (pack, Value::Object(settings.config))).collect()
}

pub(super) fn count_noun(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// Returns the name of the pack in a folder; `None` if there is no pack or it has no name.
pub(super) fn name_of_pack(folder: &Path) -> Option<String> {
    let manifest = std::fs::read_to_string(folder.join("pack.yaml")).ok()?;
    let name = manifest.lines().find_map(|line| line.strip_prefix("name:"))?;
    Some(name.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned())
}
