//! The built catalogs by revision, and how the packs folder becomes the next one.
//!
//! Nothing runs from the folder that a pack was read from: its files are first copied under their digest, and a
//! catalog is built from the copies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use ensue_engine::access::scope::Scope;
use ensue_engine::catalog::state::InstalledPacks;
use ensue_engine::catalog::{Catalog, Catalogs};
use ensue_engine::command::PackChange;
use ensue_engine::explain::Explain;
use ensue_engine::fact::ByNoun;
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::names::{PackName, RuleRef};
use ensue_engine::ports::LogReader;
use ensue_engine::recent::Recent;
use ensue_engine::record::{Body, BodyHandle, CatalogRevision, Digest, Record};
use ensue_engine::time::Timestamp;
use ensue_executor::pulling::CurrentCatalog;
use ensue_packs::{
    BuildError, CheckResult, CopiedFile, CopyError, Diagnostic, FileMode, Manifest, NewCopies, PackFile, PackSource, Severity, StopCheck,
};
use serde_json::Value;
use thiserror::Error;

use crate::backend::PackArchive;
use crate::clock::SteppedClock;
use crate::config::AcceptedPermissions;
use crate::plain_body::body_at;

/// The most catalogs that stay built: those requested last.
const BUILT_MAX: usize = 32;

/// How many times the node tries to build an older catalog if the disk cannot be read.
const BUILD_ATTEMPTS: u32 = 3;

/// Why a catalog cannot be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The copy of a pack differs from the installed pack.
    #[error("the copy of pack `{pack}` cannot be used: {why}; restore the data directory's `packs` folder from a backup")]
    Copy {
        /// The pack.
        pack: PackName,
        /// Why.
        why: String,
    },
    /// A file in the copy of a pack cannot be read.
    #[error("the file `{path}` in the copy of a pack cannot be read: {why}")]
    CopiedFile {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The copy of a pack cannot be written.
    #[error(transparent)]
    Unwritten(#[from] CopyError),
    /// The files of a pack cannot be kept for other machines.
    #[error("the files of a pack cannot be written to the database: {0}")]
    Archive(String),
    /// The manifest of a pack is not in the log.
    #[error(
        "the manifest of pack `{pack}` cannot be read: {why}; `ensue log verify` shows the damage: restore the data directory's log from a backup"
    )]
    Manifest {
        /// The pack.
        pack: PackName,
        /// Why.
        why: String,
    },
    /// The packs do not fit together.
    #[error("the catalog cannot be built: {0}")]
    Build(String),
}

/// Why there is no catalog with another version of a pack.
#[derive(Debug, Error)]
pub(crate) enum WithPackError {
    /// The pack is not installed.
    #[error("the pack `{0}` is not installed")]
    NoPack(PackName),
    /// The check was given up.
    #[error("the check of the pack was stopped; try again")]
    Stopped,
    /// The pack has errors.
    #[error("the pack has errors and cannot be tested: {}", .0.iter().map(|one| format!("{}:{}: {}", one.file, one.line, one.message)).collect::<Vec<_>>().join("; "))]
    Mistakes(Vec<Diagnostic>),
    /// The other packs cannot be built.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Why there is no catalog with another text of a file.
#[derive(Debug, Error, Explain)]
pub(crate) enum WithFileError {
    /// The file belongs to no installed pack.
    #[error("the pack `{0}` is not installed, but its rules are tested with its triggers, actions and configuration")]
    #[explain(slug = "not-found", fault = Missing, hint = "install it: put its folder into the packs folder")]
    NoPack(String),
    /// The file has errors.
    #[error("the rule has errors and cannot be tested: {}", .0.iter().map(|one| format!("{}:{}: {}", one.file, one.line, one.message)).collect::<Vec<_>>().join("; "))]
    #[explain(slug = "rule-invalid", fault = Invalid, hint = "see each error with its file and line with `ensue check`")]
    Mistakes(Vec<Diagnostic>),
    /// The file does not define the rule.
    #[error("`{path}` does not define `{rule}`: a rule's file is in its pack's `rules` folder, and has the rule's name or contains it")]
    #[explain(slug = "rule-invalid", fault = Invalid,
        hint = "name the file that contains the rule; if the file contains several, name the rule as well")]
    NotItsFile {
        /// The file.
        path: String,
        /// The rule.
        rule: RuleRef,
    },
    /// The other packs cannot be built.
    #[error(transparent)]
    #[explain(slug = "catalog-unbuildable", fault = World)]
    Catalog(#[from] CatalogError),
}

/// The catalogs of a node.
pub struct NodeCatalogs {
    /// The folder of copies in the data directory.
    copies: PathBuf,
    /// Where other machines find them.
    archive: Option<Arc<dyn PackArchive>>,
    current: ArcSwap<Catalog>,
    /// Executions use the catalog that they began with, however many newer ones there are.
    built: Mutex<Recent<CatalogRevision, Arc<Catalog>>>,
    installed: Mutex<InstalledPacks>,
    reader: Mutex<Box<dyn LogReader>>,
    findings: ArcSwap<BTreeMap<PackName, Vec<Diagnostic>>>,
}

/// The files of an installed pack cannot be read.
#[derive(Debug, Error, Explain)]
#[error(transparent)]
#[explain(slug = "catalog-unbuildable", fault = World)]
pub(crate) struct NoFiles(#[from] CatalogError);

/// How the packs folder and the library change the catalog.
pub(crate) struct Proposal {
    /// The revision that the changes are based on.
    pub base: CatalogRevision,
    /// The changes; empty if the folder equals what is installed.
    pub changes: Vec<PackChange>,
}

impl CurrentCatalog for NodeCatalogs {
    fn current(&self) -> Arc<Catalog> {
        self.current.load_full()
    }
}

impl NodeCatalogs {
    /// Starts from the packs that the state lists as installed, and builds the current catalog.
    pub fn open(copies: PathBuf, installed: InstalledPacks, reader: Box<dyn LogReader>) -> Result<Self, CatalogError> {
        let revision = installed.revision();
        let catalogs = Self {
            copies,
            archive: None,
            current: ArcSwap::default(),
            built: Mutex::new(Recent::new(BUILT_MAX)),
            installed: Mutex::new(installed),
            reader: Mutex::new(reader),
            findings: ArcSwap::default(),
        };
        let current = catalogs.build(revision)?;
        catalogs.keep(current.clone());
        catalogs.current.store(current);
        Ok(catalogs)
    }

    /// Lets new copies be kept for other machines as well.
    #[must_use]
    pub(crate) fn archived_in(self, archive: Option<Arc<dyn PackArchive>>) -> Self {
        Self { archive, ..self }
    }

    /// Returns the catalog that judges new events.
    pub fn current(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// Returns errors and notes about the packs of the folder.
    pub(crate) fn findings(&self) -> Arc<BTreeMap<PackName, Vec<Diagnostic>>> {
        self.findings.load_full()
    }

    /// Returns the folder that holds the files of a pack.
    pub fn folder(&self, digest: &Digest) -> PathBuf {
        self.copies.join(digest.to_string())
    }

    /// Returns the files of an installed pack; none if it is not installed.
    pub(crate) fn source_of(&self, pack: &PackName) -> Result<Option<PackSource>, NoFiles> {
        let digest = self.current().packs().get(pack).map(|pack| pack.digest);
        digest.map(|digest| self.version_of(pack, &digest)).transpose()
    }

    /// Returns the files of a version of a pack that is or was installed.
    pub(crate) fn version_of(&self, pack: &PackName, digest: &Digest) -> Result<PackSource, NoFiles> {
        let source = self.copy_of(pack, digest)?;
        // Errors name the pack by its name, wherever its copy is.
        Ok(PackSource { origin: pack.to_string(), ..source })
    }

    /// Releases what the reader of manifests caches. Catalogs that are built stay.
    pub(crate) fn release_caches(&self) {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).release_caches();
    }

    /// Notes a committed record that installs or removes a pack.
    pub fn note(&self, records: &[Record]) {
        let mut revision = None;
        let mut installed = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            if matches!(record.fact.by_noun(), ByNoun::CatalogFact(_)) {
                installed.note(record);
                revision = Some(installed.revision());
            }
        }
        drop(installed);
        if let Some(catalog) = revision.and_then(|revision| self.at(revision)) {
            self.current.store(catalog);
        }
    }

    /// Creates the changes that bring the catalog in line with the library and the folder, copies new files,
    /// and builds the resulting catalog so that it is ready at the commit. A pack with errors is not installed:
    /// its last good version stays.
    pub(crate) fn propose(
        &self,
        checked: CheckResult,
        broken: &BTreeSet<PackName>,
        accepted: AcceptedPermissions,
        clock: &dyn SteppedClock,
    ) -> Result<Proposal, CatalogError> {
        let now = self.current();
        let base = now.revision();
        let mut next: BTreeMap<PackName, (PackSource, Manifest)> = BTreeMap::new();
        let mut asked: Vec<(PackName, Option<Vec<Scope>>)> = Vec::new();
        let mut changes = Vec::new();
        let mut copies = NewCopies::in_folder(&self.copies);
        for pack in checked.good {
            let manifest = pack.manifest(|rule| rule_id(&now, rule, clock));
            let installed = now.packs().get(&pack.name);
            let is_same = installed.is_some_and(|installed| installed.digest == pack.digest && *installed.config == manifest.config);
            if !is_same {
                copies.write(&pack.source)?;
                if let Some(archive) = &self.archive {
                    archive.keep(&pack.source).map_err(CatalogError::Archive)?;
                }
                changes.push(PackChange::Install {
                    name: pack.name.clone(),
                    version: pack.version,
                    digest: pack.digest,
                    manifest: Body::json(manifest_json(&manifest)),
                });
            }
            asked.push((pack.name.clone(), pack.permissions));
            next.insert(pack.name, (pack.source, manifest));
        }
        copies.keep()?;
        for (name, pack) in now.packs() {
            if next.contains_key(name) {
                continue;
            }
            if broken.contains(name) {
                let source = self.copy_of(name, &pack.digest)?;
                let rules =
                    now.rules().values().filter(|rule| rule.name.pack() == *name).map(|rule| (rule.name.clone(), rule.id)).collect();
                asked.push((name.clone(), pack.permissions.clone()));
                next.insert(name.clone(), (source, Manifest { rules, config: (*pack.config).clone() }));
            } else {
                changes.push(PackChange::Remove { name: name.clone() });
            }
        }
        if !changes.is_empty() {
            let packs: Vec<(PackSource, Manifest)> = next.into_values().collect();
            let catalog = ensue_packs::build(base.next(), &packs).map_err(|error| CatalogError::Build(error.to_string()))?;
            self.keep(Arc::new(catalog));
        }
        changes.extend(self.permits(asked, accepted));
        Ok(Proposal { base, changes })
    }

    /// Returns the names of the installed packs that may do everything with other packs, except those that ship with the
    /// binary.
    pub(crate) fn without_limits(&self) -> Vec<PackName> {
        let shipped = ensue_packs::library_names();
        let current = self.current();
        let installed = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_unlimited = |name: &&PackName| !shipped.contains(*name) && installed.permissions(name).is_none();
        current.packs().keys().filter(is_unlimited).cloned().collect()
    }

    /// Returns the changes that let each pack do what it asks for, as far as the operator accepts that. The packs that ship
    /// with the binary may do everything.
    fn permits(&self, asked: Vec<(PackName, Option<Vec<Scope>>)>, accepted: AcceptedPermissions) -> Vec<PackChange> {
        let shipped = ensue_packs::library_names();
        let installed = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = asked.into_iter().map(|(name, asked)| {
            let permissions = if shipped.contains(&name) { None } else { accepted.of(asked) };
            (name, permissions)
        });
        let changed = wanted.filter(|(name, permissions)| installed.permissions(name) != permissions.as_deref());
        changed.map(|(name, permissions)| PackChange::Permit { name, permissions }).collect()
    }

    /// Stores the findings about the packs folder.
    pub(crate) fn set_findings(&self, findings: BTreeMap<PackName, Vec<Diagnostic>>) {
        self.findings.store(Arc::new(findings));
    }

    /// Builds the catalog as if a file of an installed pack had this text, and stores nothing.
    ///
    /// # Errors
    /// Fails if the pack is not installed or would have errors.
    pub(crate) fn with_file(&self, rule: &RuleRef, path: &str, text: &str) -> Result<Catalog, WithFileError> {
        let (now, pack) = (self.current(), rule.pack());
        let mut packs = self.sources(now.revision())?;
        let Some(place) = packs.iter().position(|(name, ..)| *name == pack) else { return Err(WithFileError::NoPack(pack.to_string())) };
        // Errors name the pack by its name, wherever its copy is.
        packs[place].1.origin = pack.to_string();
        packs[place].1.files.remove(path);
        let is_elsewhere = built_with_new_rules(now.revision(), &mut packs).is_ok_and(|without| without.rules().contains_key(rule));
        if is_elsewhere || !path.starts_with("rules/") {
            return Err(WithFileError::NotItsFile { path: path.to_owned(), rule: rule.clone() });
        }
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        packs[place].1.files.insert(path.to_owned(), PackFile { bytes, mode: FileMode::Plain });
        built_with_new_rules(now.revision(), &mut packs)
    }

    /// Builds the catalog as if an installed pack were replaced by this one, and stores nothing. The check is given up once
    /// `is_stopped` returns true.
    ///
    /// # Errors
    /// Fails if the pack is not installed or has errors, or if the check was given up.
    pub(crate) fn with_pack(&self, name: &PackName, source: PackSource, is_stopped: &StopCheck) -> Result<Catalog, WithPackError> {
        let revision = self.current().revision();
        let mut packs = self.sources(revision)?;
        let Some(place) = packs.iter().position(|(installed, ..)| installed == name) else {
            return Err(WithPackError::NoPack(name.clone()));
        };
        packs[place].1 = source;
        // Settings added since then have their defaults.
        let sources: Vec<PackSource> = packs.iter().map(|(_, source, _)| source.clone()).collect();
        let configs: BTreeMap<PackName, Value> = packs.iter().map(|(name, _, manifest)| (name.clone(), manifest.config.clone())).collect();
        let checked = ensue_packs::check_until(&sources, &configs, is_stopped).ok_or(WithPackError::Stopped)?;
        let id = RuleId(Id::root(Timestamp::from_micros(0), 1));
        let Some(good) = checked.good.into_iter().find(|good| good.name == *name) else {
            let mistakes = checked.diagnostics.into_iter().filter(|one| one.severity == Severity::Error);
            return Err(WithPackError::Mistakes(mistakes.collect()));
        };
        let known = packs[place].2.rules.clone();
        packs[place].2 = good.manifest(|rule| known.get(rule).copied().unwrap_or(id));
        let sources: Vec<(PackSource, Manifest)> = packs.into_iter().map(|(_, source, manifest)| (source, manifest)).collect();
        ensue_packs::build(revision, &sources).map_err(|error| match error {
            BuildError::Broken(mistakes) => WithPackError::Mistakes(mistakes),
            other => CatalogError::Build(other.to_string()).into(),
        })
    }

    fn keep(&self, catalog: Arc<Catalog>) {
        self.built.lock().unwrap_or_else(PoisonError::into_inner).put(catalog.revision(), catalog, 1);
    }

    fn build(&self, revision: CatalogRevision) -> Result<Arc<Catalog>, CatalogError> {
        let sources: Vec<(PackSource, Manifest)> =
            self.sources(revision)?.into_iter().map(|(_, source, manifest)| (source, manifest)).collect();
        let catalog = ensue_packs::build(revision, &sources).map_err(|error| CatalogError::Build(error.to_string()))?;
        Ok(Arc::new(catalog))
    }

    /// Returns the packs of a revision, with the settings that each was installed with.
    fn sources(&self, revision: CatalogRevision) -> Result<Vec<(PackName, PackSource, Manifest)>, CatalogError> {
        let packs: Vec<(PackName, Digest, BodyHandle)> = {
            let installed = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
            installed.at(revision).into_iter().map(|(name, pack)| (name.clone(), pack.digest, pack.manifest)).collect()
        };
        let mut sources = Vec::with_capacity(packs.len());
        for (name, digest, manifest) in packs {
            let manifest = self.manifest(&name, manifest)?;
            let source = self.copy_of(&name, &digest)?;
            sources.push((name, source, manifest));
        }
        Ok(sources)
    }

    /// Returns one file of a version of a pack that is or was installed.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn copied_file(&self, digest: &Digest, path: &str) -> Result<CopiedFile, NoFiles> {
        let failed = |error: std::io::Error| CatalogError::CopiedFile { path: path.to_owned(), why: error.to_string() };
        Ok(CopiedFile::read(&self.copies, *digest, path).map_err(failed)?)
    }

    fn copy_of(&self, pack: &PackName, digest: &Digest) -> Result<PackSource, CatalogError> {
        PackSource::read_copy(&self.copies, *digest).map_err(|error| CatalogError::Copy { pack: pack.clone(), why: error.to_string() })
    }

    fn manifest(&self, pack: &PackName, handle: BodyHandle) -> Result<Manifest, CatalogError> {
        let failed = |why: String| CatalogError::Manifest { pack: pack.clone(), why };
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let plain = body_at(&**reader, handle.at).map_err(|error| failed(error.to_string()))?;
        let plain = plain.ok_or_else(|| failed("it was erased".to_owned()))?;
        serde_json::from_slice(&plain).map_err(|error| failed(error.to_string()))
    }
}

impl Catalogs for NodeCatalogs {
    /// Returns a catalog, rebuilt if it is not cached. Definitions are kept as long as events that they judged.
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        let built = self.built.lock().unwrap_or_else(PoisonError::into_inner).get(&revision).cloned();
        if built.is_some() {
            return built;
        }
        // Without the catalog, anything that needs it is parked or fails, so one failed disk read must not
        // decide that.
        let tried = (1..BUILD_ATTEMPTS).find_map(|_| self.build(revision).ok()).map_or_else(|| self.build(revision), Ok);
        match tried {
            Ok(catalog) => {
                self.keep(catalog.clone());
                Some(catalog)
            }
            Err(error) => {
                tracing::error!(%revision, %error, "an older catalog cannot be built");
                None
            }
        }
    }
}

/// Returns the id of a rule. A rule keeps its id while it exists; a new rule gets a new one, even if a deleted
/// rule had the same name.
fn rule_id(now: &Catalog, name: &RuleRef, clock: &dyn SteppedClock) -> RuleId {
    now.rules().get(name).map_or_else(
        || {
            let moment = clock.moment();
            RuleId(Id::root(moment.time, moment.entropy))
        },
        |rule| rule.id,
    )
}

fn manifest_json(manifest: &Manifest) -> Vec<u8> {
    serde_json::to_vec(manifest).expect("a manifest holds only names, ids and JSON, which always have a JSON form")
}

/// Builds a catalog that may contain rules that were never installed: each gets an id when it is found.
fn built_with_new_rules(revision: CatalogRevision, packs: &mut [(PackName, PackSource, Manifest)]) -> Result<Catalog, WithFileError> {
    let id = RuleId(Id::root(Timestamp::from_micros(0), 1));
    loop {
        let sources: Vec<(PackSource, Manifest)> = packs.iter().map(|(_, source, manifest)| (source.clone(), manifest.clone())).collect();
        match ensue_packs::build(revision, &sources) {
            Ok(catalog) => return Ok(catalog),
            Err(BuildError::Broken(mistakes)) => return Err(WithFileError::Mistakes(mistakes)),
            Err(BuildError::NoRuleId(rule)) => {
                let pack = rule.pack();
                let known = packs.iter_mut().find(|(name, ..)| *name == pack).map(|(_, _, manifest)| manifest.rules.insert(rule, id));
                if !matches!(known, Some(None)) {
                    return Err(CatalogError::Build("a rule has no id".to_owned()).into());
                }
            }
            Err(error) => return Err(CatalogError::Build(error.to_string()).into()),
        }
    }
}

/// The contents of the library and the packs folder.
pub(crate) struct FoundPacks {
    /// The packs that can be installed, and the messages about them.
    pub checked: CheckResult,
    /// The packs of the folder that cannot be installed as they are.
    pub broken: BTreeSet<PackName>,
    /// Errors and notes, by pack.
    pub findings: BTreeMap<PackName, Vec<Diagnostic>>,
    /// Packs that cannot even be read, as messages for people.
    pub unreadable: Vec<String>,
}

/// Reads and checks the library and the packs folder together.
pub(crate) fn find_packs(folder: &Path, config: &BTreeMap<PackName, Value>) -> FoundPacks {
    let mut sources = ensue_packs::library();
    let mut unreadable = Vec::new();
    if folder.exists() {
        match PackSource::read_all(folder) {
            Ok(read) => {
                for source in read {
                    match source {
                        Ok(source) => sources.push(source),
                        Err(error) => unreadable.push(error.to_string()),
                    }
                }
            }
            Err(error) => unreadable.push(error.to_string()),
        }
    }
    let checked = ensue_packs::check(&sources, config);
    let mut findings: BTreeMap<PackName, Vec<Diagnostic>> = BTreeMap::new();
    for one in &checked.diagnostics {
        if let Some(pack) = &one.pack {
            findings.entry(pack.clone()).or_default().push(below(folder, one));
        }
    }
    let mut broken: BTreeSet<PackName> = folder_names(folder);
    broken.extend(sources.iter().filter_map(|source| Path::new(&source.origin).file_name()?.to_str()?.parse().ok()));
    for good in &checked.good {
        broken.remove(&good.name);
    }
    FoundPacks { checked, broken, findings, unreadable }
}

/// Names the file of a diagnostic relative to the packs folder: callers need not know where that folder is.
fn below(folder: &Path, one: &Diagnostic) -> Diagnostic {
    let mut one = one.clone();
    if let Some(file) = Path::new(&one.file).strip_prefix(folder).ok().and_then(Path::to_str) {
        one.file = file.to_owned();
    }
    one
}

/// The names of the subfolders: a pack that cannot be read today is broken, not removed.
fn folder_names(folder: &Path) -> BTreeSet<PackName> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::LogId;
    use ensue_engine::ports::Log as _;
    use ensue_engine::time::Timestamp;
    use ensue_store::memory::MemoryLog;

    use super::*;

    #[test]
    fn findings_name_files_relative_to_the_packs_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("release")).unwrap();
        std::fs::write(folder.path().join("release/pack.yaml"), "name: release\nversion: 1\nnonsense: 1\n").unwrap();
        let found = find_packs(folder.path(), &BTreeMap::new());
        let files: BTreeSet<&str> = found.findings.values().flatten().map(|one| one.file.as_str()).collect();
        assert_eq!(files, BTreeSet::from(["release/pack.yaml"]));
    }

    #[test]
    fn catalog_in_use_stays_cached_and_an_evicted_one_is_rebuilt() {
        let log = MemoryLog::new(LogId(Id::root(Timestamp::from_micros(1_774_699_200_000_000), 1)));
        let folder = tempfile::tempdir().unwrap();
        let catalogs = NodeCatalogs::open(folder.path().to_owned(), InstalledPacks::default(), log.reader().unwrap()).unwrap();
        let at = |revision| catalogs.at(CatalogRevision(revision)).unwrap();
        let (asked_for, forgotten) = (at(1), at(2));
        for revision in 3..100 {
            assert_eq!(at(revision).revision(), CatalogRevision(revision));
            assert!(Arc::ptr_eq(&at(1), &asked_for), "it was built again after {revision}");
        }
        let built_again = at(2);
        assert!(!Arc::ptr_eq(&built_again, &forgotten));
        assert_eq!(built_again.revision(), forgotten.revision());
    }
}
