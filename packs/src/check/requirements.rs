//! Checks the packs and versions that packs need, the version of Ensue, and that every pack in use is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ensue_engine::catalog::ConnectionKind;
use ensue_engine::names::{ConnectionName, PackName};
use ensue_expression::nearest;
use semver::Version;

use super::World;
use crate::diagnostics::{Code, Report};
use crate::library;
use crate::source::SourceText;
use crate::syntax;

/// The pack that every pack may use without listing it.
const CORE: &str = "core";

/// The packs that a pack uses, each with the place of its first use.
#[derive(Default)]
pub(super) struct Uses {
    first: BTreeMap<PackName, (SourceText, Range<usize>)>,
    /// The permissions that it needs for things of other packs, each with the place of its first use.
    permissions: BTreeMap<String, NeededPermission>,
    /// The connections that it passes to actions, each with the kind that the action takes.
    connections: BTreeSet<(ConnectionName, ConnectionKind)>,
}

/// A permission that a pack needs.
pub(super) struct NeededPermission {
    pub(super) permission: ensue_engine::access::scope::Scope,
    /// What the pack does with it.
    pub(super) what: String,
    pub(super) file: SourceText,
    pub(super) span: Range<usize>,
}

impl Uses {
    pub(super) fn note(&mut self, pack: PackName, file: &SourceText, span: &Range<usize>) {
        self.first.entry(pack).or_insert_with(|| (file.clone(), span.clone()));
    }

    /// Notes a permission that the pack needs, as `<noun>:<verb> on <limit>`.
    pub(super) fn need(&mut self, permission: &str, what: String, file: &SourceText, span: &Range<usize>) {
        if let Ok(scope) = permission.parse() {
            let needed = || NeededPermission { permission: scope, what, file: file.clone(), span: span.clone() };
            self.permissions.entry(permission.to_owned()).or_insert_with(needed);
        }
    }

    /// Notes a connection that the pack passes to an action.
    pub(super) fn note_connection(&mut self, name: ConnectionName, kind: ConnectionKind) {
        self.connections.insert((name, kind));
    }

    /// Returns the connections that the pack passes to actions.
    pub(super) fn connections(&self) -> &BTreeSet<(ConnectionName, ConnectionKind)> {
        &self.connections
    }

    /// Returns the permissions that the pack needs, in the order of their names.
    pub(super) fn permissions(&self) -> impl Iterator<Item = &NeededPermission> {
        self.permissions.values()
    }
}

/// Checks the `requires` of `pack.yaml` against the available packs, and the packs in use against `requires`.
/// Returns all packs that the pack needs.
pub(super) fn check(pack: &syntax::WrittenPack, uses: &Uses, world: &World<'_>, report: &mut Report) -> BTreeSet<PackName> {
    let manifest = &pack.manifest;
    if let Some(range) = &manifest.ensue {
        let ours = ours();
        if !range.value.matches(&ours) {
            report.error(
                Code::EnsueVersion,
                &manifest.file,
                range.span.clone(),
                format!("the pack needs Ensue {}, but this is {ours}", range.value),
            );
        }
    }
    let mut needed = BTreeSet::new();
    for (name, range) in &manifest.packs {
        needed.insert(name.value.clone());
        let Some(other) = world.packs.get(&name.value) else {
            report
                .error(Code::UnknownPack, &manifest.file, name.span.clone(), format!("there is no pack `{}`", name.value))
                .did_you_mean(nearest(name.value.as_str(), world.packs.keys().map(PackName::as_str)))
                .hint(
                    library::how_to_add(name.value.as_str()).unwrap_or_else(|| "put it next to this pack, or install it first".to_owned()),
                );
            continue;
        };
        if let Some(version) = &other.manifest.version
            && !range.value.matches(version)
        {
            report.error(
                Code::PackVersion,
                &manifest.file,
                range.span.clone(),
                format!("the pack needs `{}` in version {}, but version {version} is present", name.value, range.value),
            );
        }
    }
    report_unlisted(pack, uses, &needed, world, report);
    needed.extend(uses.first.keys().filter(|name| **name != pack.name).cloned());
    needed
}

/// Reports packs in use that are not among those that are needed.
pub(super) fn report_unlisted(
    pack: &syntax::WrittenPack,
    uses: &Uses,
    needed: &BTreeSet<PackName>,
    world: &World<'_>,
    report: &mut Report,
) {
    for (name, (file, span)) in &uses.first {
        let is_known = world.packs.contains_key(name);
        let is_listed = needed.contains(name) || *name == pack.name || name.as_str() == CORE;
        if is_known && !is_listed {
            let version = world.packs[name].manifest.version.as_ref().map_or("0".to_owned(), |version| {
                if version.major == 0 { format!("0.{}", version.minor) } else { version.major.to_string() }
            });
            report
                .warning(Code::PackNotRequired, file, span.clone(), format!("`{name}` is used here but not listed in `pack.yaml`"))
                .hint(format!("requires:\n  packs:\n    {name}: ^{version}"));
        }
    }
}

/// The most packs whose names the message about a circle lists.
const CYCLE_NAMES_MAX: usize = 12;

/// Finds the circles of packs that need each other. Each is returned as its names in order, the
/// alphabetically first one first.
pub(super) fn cycles(needs: &BTreeMap<PackName, BTreeSet<PackName>>) -> Vec<Vec<PackName>> {
    let mut found: Vec<Vec<PackName>> = Vec::new();
    for start in needs.keys() {
        // A pack is reported in only one circle. Its other circles become visible once this one is fixed.
        if found.iter().flatten().all(|name| name != start)
            && let Some(cycle) = shortest_way(needs, start)
        {
            found.push(cycle);
        }
    }
    found
}

/// Returns the shortest path from a pack through its needs back to itself, without the last step.
fn shortest_way(needs: &BTreeMap<PackName, BTreeSet<PackName>>, start: &PackName) -> Option<Vec<PackName>> {
    let mut came_from: BTreeMap<&PackName, &PackName> = BTreeMap::new();
    let mut waiting = std::collections::VecDeque::from([start]);
    while let Some(name) = waiting.pop_front() {
        for next in needs.get(name).into_iter().flatten() {
            if next == start {
                let mut way = vec![name.clone()];
                let mut at = name;
                while let Some(before) = came_from.get(at).copied().filter(|_| at != start) {
                    way.push(before.clone());
                    at = before;
                }
                way.reverse();
                return Some(way);
            }
            if needs.contains_key(next) && !came_from.contains_key(next) {
                came_from.insert(next, name);
                waiting.push_back(next);
            }
        }
    }
    None
}

/// Reports a circle at the first of its packs.
pub(super) fn report_cycle(cycle: &[PackName], pack: &syntax::WrittenPack, report: &mut Report) {
    let manifest = &pack.manifest;
    let next = cycle.get(1).unwrap_or(&cycle[0]);
    let listed = manifest.packs.iter().find(|(name, _)| name.value == *next).map(|(name, _)| name.span.clone());
    let span = listed.unwrap_or_else(|| manifest.start.clone());
    if cycle.len() == 1 {
        report
            .error(Code::PackCycle, &manifest.file, span, format!("`{}` requires itself", pack.name))
            .hint("remove the line: a pack can always use its own definitions");
        return;
    }
    let mut names: Vec<String> = cycle.iter().take(CYCLE_NAMES_MAX).map(|name| format!("`{name}`")).collect();
    if cycle.len() > CYCLE_NAMES_MAX {
        names.push("…".to_owned());
    }
    names.push(format!("`{}`", cycle[0]));
    report
        .error(Code::PackCycle, &manifest.file, span, format!("packs require each other in a circle: {}", names.join(" → ")))
        .hint("move their shared definitions into a separate pack that all of them require");
}

fn ours() -> Version {
    Version::parse(env!("CARGO_PKG_VERSION")).expect("Cargo takes no package of another form")
}
