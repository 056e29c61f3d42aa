//! Checks packs against each other: the content of each file, references between files, and the operator's
//! settings.
//!
//! One run reports every error of every pack. A pack with errors does not stop the others, unless they need
//! it.

mod actions;
mod code;
mod connections;
mod expression_findings;
mod fake;
mod flow;
mod http;
mod labels;
mod literals;
mod mail;
mod parameters;
mod permissions;
mod pull_sources;
mod refs;
mod requirements;
mod retry;
mod roots;
mod rules;
mod runner_results;
mod schemas;
mod scope;
mod sensors;
mod settings;
mod tests;
mod url;
mod versions;
mod webhooks;
mod workflows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ensue_engine::access::scope::Scope;
use ensue_engine::catalog::{ConnectionKind, DefinitionRef, Schema, Scheme, Sensor, Source, Trigger, Verify};
use ensue_engine::names::{ActionRef, ConnectionName, PackName, RuleRef, SensorRef, TriggerRef};
use ensue_engine::record::Digest;
use ensue_expression::StopCheck;
use ensue_expression::ValueType;
use serde_json::{Value, json};

use crate::cases::{self, Case, Suite};
use crate::definitions::{PackDefinitions, Parts};
use crate::diagnostics::{Code, Diagnostic, Report, Severity};
use crate::fake::Fake;
use crate::install_manifest::Manifest;
use crate::library;
use crate::lint::findings as lint_findings;
use crate::read::PackSource;
use crate::settings_check::{BodyLimit, PackConnections, UrlSigned};
use crate::syntax;
use requirements::Uses;
use scope::ListedKeys;
use versions::WrittenVersion;

/// The result of checking packs.
#[derive(Debug)]
pub struct CheckResult {
    /// All diagnostics, in the order of packs, files and lines.
    pub diagnostics: Vec<Diagnostic>,
    /// The packs that can be installed, by name.
    pub good: Vec<GoodPack>,
}

impl CheckResult {
    /// Reports whether there is an error among the diagnostics.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|one| one.severity == Severity::Error)
    }
}

/// A pack that can be installed.
#[derive(Clone, Debug)]
pub struct GoodPack {
    /// Its name.
    pub name: PackName,
    /// Its version.
    pub version: String,
    /// The digest over its files.
    pub digest: Digest,
    /// Its files.
    pub source: PackSource,
    /// Its configuration: the operator's values, completed with the defaults.
    pub config: Value,
    /// What it asks to do with other packs; `None` if it does not say.
    pub permissions: Option<Vec<Scope>>,
    /// The permissions on other packs that its files require.
    pub needs: Vec<Scope>,
    /// The connections that it lists and uses.
    pub(crate) connections: PackConnections,
    /// Its webhooks whose senders sign the public URL.
    pub(crate) url_signed: Vec<UrlSigned>,
    /// The bodies that its webhooks ask for.
    pub(crate) body_limits: Vec<BodyLimit>,
    /// Its triggers, each with its version.
    pub(crate) versions: Vec<WrittenVersion>,
    /// Its rules. Each needs an id in the pack's manifest.
    pub rules: BTreeSet<RuleRef>,
}

impl GoodPack {
    /// Creates the manifest for installing the pack, with an id for each of its rules.
    pub fn manifest(&self, mut id_of: impl FnMut(&RuleRef) -> ensue_engine::ids::RuleId) -> Manifest {
        Manifest { rules: self.rules.iter().map(|rule| (rule.clone(), id_of(rule))).collect(), config: self.config.clone() }
    }

    /// Returns an error for each of its triggers whose version is lower than the installed one: the log may have events of
    /// the versions between.
    pub fn lowered_versions(&self, installed: &BTreeMap<TriggerRef, Arc<Trigger>>) -> Vec<Diagnostic> {
        versions::report_lowered(&self.name, &self.versions, installed)
    }
}

/// Checks packs against each other, with the operator's configuration of each. Include the library packs in
/// `packs`; otherwise nothing can refer to them.
pub fn check(packs: &[PackSource], config: &BTreeMap<PackName, Value>) -> CheckResult {
    check_reported(packs, config, Report::default)
}

/// Checks packs as [`check`] does. Gives up and returns `None` soon after `is_stopped` returns true.
pub fn check_until(packs: &[PackSource], config: &BTreeMap<PackName, Value>, is_stopped: &StopCheck) -> Option<CheckResult> {
    let checked = check_reported(packs, config, || Report::until(is_stopped.clone()));
    (!is_stopped()).then_some(checked)
}

fn check_reported(packs: &[PackSource], config: &BTreeMap<PackName, Value>, report: impl Fn() -> Report) -> CheckResult {
    let mut checking = CheckingAll::read(packs, library::digests(), report);
    let settings = checking.complete_settings(config);
    let outcomes = checking.check(&settings);
    finish_check(packs, config, checking, &settings, outcomes)
}

/// The result of collecting the tests of packs.
#[derive(Debug)]
pub struct CollectedTests {
    /// The diagnostics of the packs and their tests.
    pub diagnostics: Vec<Diagnostic>,
    /// The cases of each pack that has cases and no errors, by the pack's index in the given list.
    pub suites: Vec<(usize, Suite)>,
}

/// Checks packs as [`check`] does, and returns the cases of their tests, each with everything needed to run
/// it. A required setting that the operator has not set is not an error here: the cases say what is set.
pub fn tests(packs: &[PackSource], config: &BTreeMap<PackName, Value>) -> CollectedTests {
    let mut checking = CheckingAll::read(packs, library::digests(), Report::default);
    let settings = checking.complete_settings_untold(config);
    // An operator's settings on a machine must not change the outcome of a pack's own tests.
    let defaults = checking.complete_settings_untold(&BTreeMap::new());
    let (outcomes, offered) = checking.check_with(&settings, CheckPurpose::Offered);
    let manifest = |index: usize, outcome: &PackOutcome, settings: &[Arc<Value>]| Manifest {
        rules: cases::ids(outcome.parts.rules.iter().map(|rule| &rule.name)),
        config: (*settings[index]).clone(),
    };
    let mut suites = Vec::new();
    for (index, TestMaterial { cases, fake }) in offered.into_iter().enumerate().filter(|(_, offered)| !offered.cases.is_empty()) {
        let needed = checking.with_needed(index);
        let all = needed.iter().map(|index| Some((*index, outcomes[*index].as_ref().filter(|outcome| outcome.is_good)?)));
        let Some(all) = all.collect::<Option<Vec<_>>>() else { continue };
        let Some(pack) = &checking.packs[index].pack else { continue };
        let with_manifest = |(of, outcome): &(usize, &PackOutcome)| {
            let settings = if *of == index { &defaults } else { &settings };
            (packs[*of].clone(), manifest(*of, outcome, settings))
        };
        suites.push((
            index,
            Suite {
                pack: pack.name.clone(),
                cases,
                fake: fake.map(Arc::new),
                mocks: all.iter().flat_map(|(index, _)| checking.mocks_of(*index)).collect(),
                packs: all.iter().map(with_manifest).collect(),
            },
        ));
    }
    CollectedTests { diagnostics: checking.into_diagnostics(), suites }
}

/// Checks packs as [`check`] does, and reports code that is probably not meant in those without errors. Packs
/// that ship with Ensue are not reported on.
pub fn lint(packs: &[PackSource], config: &BTreeMap<PackName, Value>) -> CheckResult {
    let shipped = library::digests();
    let mut checking = CheckingAll::read(packs, shipped, Report::default);
    let settings = checking.complete_settings(config);
    let outcomes = checking.check(&settings);
    let definitions: Vec<PackDefinitions<'_>> = checking
        .packs
        .iter()
        .zip(&outcomes)
        .filter_map(|(candidate, outcome)| {
            let outcome = outcome.as_ref().filter(|outcome| outcome.is_good)?;
            let pack = candidate.pack.as_ref()?;
            let is_shipped = shipped.get(&pack.name) == Some(&pack.digest);
            Some(PackDefinitions {
                pack,
                parts: &outcome.parts,
                connections: &outcome.connections,
                report: &candidate.report,
                is_reported: !is_shipped,
            })
        })
        .collect();
    let findings = lint_findings(&definitions);
    for (name, report) in findings {
        let candidate = checking.packs.iter_mut().find(|candidate| candidate.name.as_ref() == Some(&name) && candidate.pack.is_some());
        if let Some(candidate) = candidate {
            candidate.report.take_over(report);
        }
    }
    finish_check(packs, config, checking, &settings, outcomes)
}

fn finish_check(
    packs: &[PackSource],
    config: &BTreeMap<PackName, Value>,
    checking: CheckingAll,
    settings: &[Arc<Value>],
    outcomes: Vec<Option<PackOutcome>>,
) -> CheckResult {
    let mut good = Vec::new();
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let Some(outcome) = outcome.filter(|outcome| outcome.is_good) else { continue };
        let Some(pack) = &checking.packs[index].pack else { continue };
        good.push(GoodPack {
            name: pack.name.clone(),
            version: pack.manifest.version.as_ref().map_or(String::new(), ToString::to_string),
            digest: pack.digest,
            source: packs[index].clone(),
            config: (*settings[index]).clone(),
            permissions: pack.manifest.permissions.clone().flatten(),
            needs: outcome.needs,
            connections: PackConnections {
                file: Some(pack.manifest.file.clone()),
                listed: pack.manifest.connections.clone().unwrap_or_default(),
                used: outcome.connections,
                chosen: settings::chosen_connections(pack.manifest.config.as_ref(), &settings[index]),
            },
            versions: versions::written_versions(pack),
            url_signed: url_signed(pack, &outcome.parts.sensors),
            body_limits: body_limits(pack, &outcome.parts.sensors),
            rules: outcome.parts.rules.into_iter().map(|rule| rule.name).collect(),
        });
    }
    good.sort_by(|a, b| a.name.cmp(&b.name));
    let mut diagnostics = checking.into_diagnostics();
    diagnostics.extend(settings::warn_unknown_packs(config, &good, &diagnostics));
    CheckResult { diagnostics, good }
}

/// Returns the webhooks whose senders sign the public URL.
fn url_signed(pack: &syntax::WrittenPack, sensors: &[Sensor]) -> Vec<UrlSigned> {
    let signed = sensors.iter().filter(|sensor| sensor.source.webhook().and_then(Verify::scheme).is_some_and(Scheme::signs_the_url));
    signed
        .filter_map(|sensor| {
            let defined = pack.sensors.get(sensor.name.name())?;
            Some(UrlSigned { sensor: sensor.name.clone(), file: defined.file.clone(), at: defined.start.clone() })
        })
        .collect()
}

/// Returns the longest body that each webhook asks for, if it says so.
fn body_limits(pack: &syntax::WrittenPack, sensors: &[Sensor]) -> Vec<BodyLimit> {
    let limits = sensors.iter().filter_map(|sensor| {
        let Source::Webhook(webhook) = &sensor.source else { return None };
        let defined = pack.sensors.get(sensor.name.name())?;
        let bytes = webhook.body_bytes_max? as usize;
        Some(BodyLimit { sensor: sensor.name.clone(), bytes, file: defined.file.clone(), at: defined.start.clone() })
    });
    limits.collect()
}

/// Checks installed packs again, each with the configuration it was installed with.
pub(crate) fn check_installed(packs: &[PackSource], configs: &[Value]) -> (Vec<Option<(InstalledPack, Parts)>>, Vec<Diagnostic>) {
    // The installed library may be that of an older release.
    let mut checking = CheckingAll::read(packs, &BTreeMap::new(), Report::of_installed);
    // Earlier releases installed such schemas. No value fits them, and nothing else in their packs is
    // affected.
    for candidate in &mut checking.packs {
        candidate.report.lower(Code::SchemaTooComplex);
    }
    let settings: Vec<Arc<Value>> = configs.iter().map(|config| Arc::new(config.clone())).collect();
    // Tests that only a newer release rejects must not block the catalog.
    let (outcomes, _) = checking.check_with(&settings, CheckPurpose::Installed);
    let installed = outcomes
        .into_iter()
        .enumerate()
        .map(|(index, outcome)| {
            let pack = checking.packs[index].pack.as_ref()?;
            let installed = InstalledPack {
                name: pack.name.clone(),
                version: pack.manifest.version.as_ref()?.to_string(),
                description: pack.manifest.description.clone(),
                digest: pack.digest,
                keys: pack.manifest.keys.clone()?.into_iter().collect(),
                connections: pack.manifest.connections.clone()?.into_iter().map(|name| name.value).collect(),
                permissions: pack.manifest.permissions.clone()?,
                config: settings[index].clone(),
            };
            Some((installed, outcome?.parts))
        })
        .collect();
    (installed, checking.into_diagnostics())
}

/// The catalog's data about a pack, besides its definitions.
pub(crate) struct InstalledPack {
    pub(crate) name: PackName,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) digest: Digest,
    pub(crate) keys: BTreeSet<ensue_engine::names::KeyRef>,
    pub(crate) connections: BTreeSet<ConnectionName>,
    pub(crate) permissions: Option<Vec<Scope>>,
    pub(crate) config: Arc<Value>,
}

/// What a pack has for its own tests.
#[derive(Default)]
struct TestMaterial {
    cases: Vec<Case>,
    fake: Option<Fake>,
}

struct PackOutcome {
    parts: Parts,
    /// The permissions that it needs for things of other packs.
    needs: Vec<Scope>,
    /// The connections that it uses, each with its kind there.
    connections: BTreeSet<(ConnectionName, ConnectionKind)>,
    is_good: bool,
}

/// A pack that is being checked, and its diagnostics so far.
struct Candidate {
    /// The name that the pack declares, even if it is not checked further.
    name: Option<PackName>,
    pack: Option<Arc<syntax::WrittenPack>>,
    report: Report,
    /// The diagnostics of its tests, which do not prevent its installation.
    tests: Report,
}

/// The purpose of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CheckPurpose {
    /// The packs are about to be installed. Their tests are checked too.
    Offered,
    /// The packs are installed. Anything that makes only their tests or a single action fail was not an error
    /// in an earlier release, and does not prevent building the catalog.
    Installed,
}

struct CheckingAll {
    packs: Vec<Candidate>,
}

/// All packs by name: everything that a ref can resolve to.
struct World<'a> {
    packs: BTreeMap<PackName, &'a syntax::WrittenPack>,
}

/// A pack that is being checked, in the context of all packs.
struct Checking<'a> {
    pack: &'a syntax::WrittenPack,
    world: &'a World<'a>,
    stage: CheckPurpose,
    uses: Uses,
    /// The types of the payloads of triggers, by ref.
    payloads: BTreeMap<TriggerRef, ValueType>,
}

impl CheckingAll {
    /// Reads all packs. A pack that uses the name of a library pack, or a name used before, is reported and
    /// not checked further. `new_report` makes the report on each.
    fn read(sources: &[PackSource], library: &BTreeMap<PackName, Digest>, new_report: impl Fn() -> Report) -> Self {
        let mut names: BTreeMap<PackName, String> = BTreeMap::new();
        let mut packs = Vec::new();
        for source in sources {
            let (mut report, mut tests) = (new_report(), new_report());
            let read = library::read(source, &mut report, &mut tests);
            let name = read.as_ref().map(|pack| pack.name.clone());
            let pack = read.filter(|pack| is_first(pack, &names, library, &mut report));
            if let Some(pack) = &pack {
                names.insert(pack.name.clone(), source.origin.clone());
            }
            packs.push(Candidate { name, pack, report, tests });
        }
        Self { packs }
    }

    /// Completes the operator's settings with the defaults.
    fn complete_settings_untold(&self, given: &BTreeMap<PackName, Value>) -> Vec<Arc<Value>> {
        let complete = |candidate: &Candidate| {
            let pack = candidate.pack.as_ref();
            let mut value = pack.and_then(|pack| given.get(&pack.name)).cloned().unwrap_or_else(|| json!({}));
            if let Some(schema) = pack.and_then(|pack| pack.manifest.config.as_ref()) {
                settings::complete(&mut value, schema);
            }
            Arc::new(value)
        };
        self.packs.iter().map(complete).collect()
    }

    /// Returns the indexes of a pack and of all packs that it needs, directly or not; its own comes first.
    fn with_needed(&self, index: usize) -> Vec<usize> {
        let place =
            |name: &PackName| self.packs.iter().position(|candidate| candidate.pack.as_ref().is_some_and(|pack| pack.name == *name));
        let mut needed = vec![index];
        needed.extend(place(&library::core()).filter(|core| *core != index));
        let mut looked_at = 0;
        while let Some(candidate) = needed.get(looked_at).and_then(|place| self.packs.get(*place)) {
            let names = candidate.pack.iter().flat_map(|pack| &pack.manifest.packs).map(|(name, _)| &name.value);
            let more: BTreeSet<usize> = names.filter_map(place).filter(|place| !needed.contains(place)).collect();
            needed.extend(more);
            looked_at += 1;
        }
        needed
    }

    /// Returns the mock results that the actions of a pack declare for tests.
    fn mocks_of(&self, index: usize) -> Vec<(ActionRef, Value)> {
        let Some(pack) = &self.packs[index].pack else { return Vec::new() };
        let actions = pack.actions.iter().filter_map(|(name, defined)| Some((name, defined.body.as_ref()?.mock.as_ref()?)));
        actions.map(|(name, mock)| (expect_name(ActionRef::new(&pack.name, name)), mock.to_value())).collect()
    }

    /// Completes the operator's settings with the defaults, and checks them.
    fn complete_settings(&mut self, given: &BTreeMap<PackName, Value>) -> Vec<Arc<Value>> {
        let mut complete = Vec::new();
        for Candidate { pack, report, .. } in &mut self.packs {
            let Some(pack) = pack else {
                complete.push(Arc::new(json!({})));
                continue;
            };
            let mut value = given.get(&pack.name).cloned().unwrap_or_else(|| json!({}));
            if let Some(schema) = &pack.manifest.config {
                settings::complete(&mut value, schema);
                settings::report_misfits(pack, schema, &value, report);
            }
            complete.push(Arc::new(value));
        }
        complete
    }

    fn check(&mut self, settings: &[Arc<Value>]) -> Vec<Option<PackOutcome>> {
        self.check_with(settings, CheckPurpose::Offered).0
    }

    /// Checks all packs. Returns the outcome of each, and its cases with their fake vendor.
    fn check_with(&mut self, settings: &[Arc<Value>], stage: CheckPurpose) -> (Vec<Option<PackOutcome>>, Vec<TestMaterial>) {
        let mut reports: Vec<Report> = self.packs.iter_mut().map(|candidate| std::mem::take(&mut candidate.report)).collect();
        let mut reports_of_tests: Vec<Report> = self.packs.iter_mut().map(|candidate| std::mem::take(&mut candidate.tests)).collect();
        let world = World {
            packs: self.packs.iter().filter_map(|candidate| candidate.pack.as_deref()).map(|pack| (pack.name.clone(), pack)).collect(),
        };
        let mut outcomes = Vec::new();
        let mut offered = Vec::new();
        let mut needed_by: BTreeMap<PackName, BTreeSet<PackName>> = BTreeMap::new();
        for (index, candidate) in self.packs.iter().enumerate() {
            let Some(pack) = &candidate.pack else {
                outcomes.push(None);
                offered.push(TestMaterial::default());
                continue;
            };
            let report = &mut reports[index];
            let of_tests = &mut reports_of_tests[index];
            let mut checking = Checking { pack, world: &world, stage, uses: Uses::default(), payloads: BTreeMap::new() };
            let parts = checking.parts(&settings[index], report);
            let needed = requirements::check(pack, &checking.uses, &world, report);
            if stage == CheckPurpose::Offered {
                permissions::check(pack, &checking.uses, report);
            }
            let connections = checking.uses.connections().iter().cloned().chain(parts.connections()).collect();
            let permissions = checking.uses.permissions().map(|needed| needed.permission.clone()).collect();
            offered.push(match stage {
                CheckPurpose::Offered => {
                    // Packs used only by tests are not needed for the installation.
                    checking.uses = Uses::default();
                    let cases = tests::cases(&mut checking, of_tests);
                    requirements::report_unlisted(pack, &checking.uses, &needed, &world, of_tests);
                    TestMaterial { cases, fake: fake::fake(&checking, of_tests) }
                }
                CheckPurpose::Installed => TestMaterial::default(),
            });
            needed_by.insert(pack.name.clone(), needed);
            outcomes.push(Some(PackOutcome { parts, needs: permissions, connections, is_good: !report.has_errors() }));
        }
        self.refuse_cycles(&mut outcomes, &needed_by, &mut reports);
        self.refuse_dependants(&mut outcomes, &needed_by, &mut reports);
        for ((candidate, mut report), of_tests) in self.packs.iter_mut().zip(reports).zip(reports_of_tests) {
            if stage == CheckPurpose::Offered {
                report.take_over(of_tests);
            }
            candidate.report = report;
        }
        (outcomes, offered)
    }

    /// Rejects packs that need each other in a circle. The circle is reported once, at the first of its
    /// packs.
    fn refuse_cycles(&self, outcomes: &mut [Option<PackOutcome>], needs: &BTreeMap<PackName, BTreeSet<PackName>>, reports: &mut [Report]) {
        for cycle in requirements::cycles(needs) {
            for ((candidate, outcome), report) in self.packs.iter().zip(outcomes.iter_mut()).zip(reports.iter_mut()) {
                let (Some(pack), Some(outcome)) = (&candidate.pack, outcome) else { continue };
                if cycle.first() == Some(&pack.name) {
                    outcome.is_good = false;
                    requirements::report_cycle(&cycle, pack, report);
                }
            }
        }
    }

    /// Rejects packs that need a broken one, until nothing changes.
    fn refuse_dependants(
        &self,
        outcomes: &mut [Option<PackOutcome>],
        needs: &BTreeMap<PackName, BTreeSet<PackName>>,
        reports: &mut [Report],
    ) {
        loop {
            let broken: BTreeSet<&PackName> = self
                .packs
                .iter()
                .zip(outcomes.iter())
                .filter(|(_, outcome)| outcome.as_ref().is_some_and(|outcome| !outcome.is_good))
                .filter_map(|(candidate, _)| candidate.pack.as_ref().map(|pack| &pack.name))
                .collect();
            let mut has_changed = false;
            for ((candidate, outcome), report) in self.packs.iter().zip(outcomes.iter_mut()).zip(reports.iter_mut()) {
                let (Some(pack), Some(outcome)) = (&candidate.pack, outcome) else { continue };
                let missing = needs[&pack.name].iter().find(|name| broken.contains(name));
                if let (true, Some(missing)) = (outcome.is_good, missing) {
                    outcome.is_good = false;
                    has_changed = true;
                    report.note(
                        Code::NeedsBrokenPack,
                        &pack.manifest.file,
                        pack.manifest.start.clone(),
                        format!("`{}` is not accepted either, because it needs `{missing}`, which has errors", pack.name),
                    );
                }
            }
            if !has_changed {
                return;
            }
        }
    }

    fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.packs.into_iter().flat_map(|candidate| candidate.report.into_sorted(candidate.name.as_ref())).collect()
    }
}

impl<'a> Checking<'a> {
    fn listed_keys(&self) -> ListedKeys<'a> {
        let permissions = self.pack.manifest.permissions.as_ref().and_then(Option::as_deref).unwrap_or_default();
        ListedKeys { pack: &self.pack.name, keys: self.pack.manifest.keys.as_deref(), permissions: Some(permissions) }
    }

    /// Returns the type of a trigger's payload.
    fn payload_type(&mut self, trigger: &TriggerRef, schema: &Schema) -> ValueType {
        let each = "the payload of every one of the rule's triggers";
        let make = || schemas::type_of(schema, schemas::ValueForm::Sent, "the payload's fields", Some(each));
        self.payloads.entry(trigger.clone()).or_insert_with(make).clone()
    }

    fn parts(&mut self, config: &Arc<Value>, report: &mut Report) -> Parts {
        let pack = self.pack;
        let mut parts = Parts::default();
        for (name, defined) in &pack.triggers {
            let Some(written) = &defined.body else { continue };
            let name = expect_name(TriggerRef::new(&pack.name, name));
            parts.places.push((DefinitionRef::Trigger(name.clone()), defined.place()));
            let Some(upcasts) = versions::upcasts(&defined.file, &name, written, report) else { continue };
            parts.triggers.push(Trigger {
                name,
                description: written.description.clone(),
                payload: written.payload.clone().unwrap_or_default(),
                version: written.version,
                upcasts,
                index: written.index.clone(),
            });
        }
        for (name, defined) in &pack.sensors {
            let Some(written) = &defined.body else { continue };
            let name = expect_name(SensorRef::new(&pack.name, name));
            parts.places.push((DefinitionRef::Sensor(name.clone()), defined.place()));
            parts.sensors.extend(sensors::sensor(self, name, &defined.file, written, config, report));
        }
        for (name, defined) in &pack.actions {
            let Some(written) = &defined.body else { continue };
            let name = expect_name(ActionRef::new(&pack.name, name));
            parts.places.push((DefinitionRef::Action(name.clone()), defined.place()));
            parts.actions.extend(actions::action(self, name, &defined.file, written, config, report));
        }
        for (name, defined) in &pack.rules {
            let Some(written) = &defined.body else { continue };
            let name = expect_name(RuleRef::new(&pack.name, name));
            parts.places.push((DefinitionRef::Rule(name.clone()), defined.place()));
            parts.rules.extend(rules::rule(self, name, &defined.file, written, config, report));
        }
        parts
    }
}

/// Reports whether a pack's name is free; adds a diagnostic if it is not.
fn is_first(
    pack: &syntax::WrittenPack,
    names: &BTreeMap<PackName, String>,
    library: &BTreeMap<PackName, Digest>,
    report: &mut Report,
) -> bool {
    let name = &pack.name;
    let span = pack.manifest.name.as_ref().map_or(0..0, |name| name.span.clone());
    if library.get(name).is_some_and(|digest| *digest != pack.digest) {
        report
            .error(Code::LibraryPackShadowed, &pack.manifest.file, span, format!("`{name}` is the name of a library pack"))
            .hint("rename the pack; packs that ship with Ensue cannot be replaced");
        return false;
    }
    let Some(first) = names.get(name) else { return true };
    report
        .error(Code::DuplicatePack, &pack.manifest.file, span, format!("a pack named `{name}` already exists"))
        .hint(format!("it is in {first}; rename or remove one of the two"));
    false
}

fn expect_name<T>(parsed: Result<T, ensue_engine::names::NameError>) -> T {
    parsed.expect("a definition without a name of the right shape was not read")
}
