//! What packs need of each other and of Ensue: names, versions, and that what is used is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ensue_engine::names::PackName;
use semver::Version;

use super::World;
use crate::diagnostics::{Code, Report, nearest};
use crate::source::SourceText;
use crate::written;

/// The pack that every pack may use without saying so.
const CORE: &str = "core";

/// The packs that a pack uses, each with the place of the first use.
#[derive(Default)]
pub(super) struct Uses {
    first: BTreeMap<PackName, (SourceText, Range<usize>)>,
}

impl Uses {
    pub(super) fn note(&mut self, pack: PackName, file: &SourceText, span: &Range<usize>) {
        self.first.entry(pack).or_insert_with(|| (file.clone(), span.clone()));
    }
}

/// Checks what `pack.yaml` requires against what is there, and what is used against what is required; gives all packs that
/// the pack needs.
pub(super) fn check(pack: &written::Pack, uses: &Uses, world: &World<'_>, report: &mut Report) -> BTreeSet<PackName> {
    let manifest = &pack.manifest;
    if let Some(range) = &manifest.ensue {
        let ours = ours();
        if !range.value.matches(&ours) {
            report.error(
                Code::EnsueVersion,
                &manifest.file,
                range.span.clone(),
                format!("the pack needs Ensue {}, and this is {ours}", range.value),
            );
        }
    }
    let mut needed = BTreeSet::new();
    for (name, range) in &manifest.packs {
        needed.insert(name.value.clone());
        let Some(other) = world.packs.get(&name.value) else {
            report
                .error(Code::UnknownPack, &manifest.file, name.span.clone(), format!("the pack `{}` is not there", name.value))
                .did_you_mean(nearest(name.value.as_str(), world.packs.keys().map(PackName::as_str)))
                .hint("put it beside this one, or install it first");
            continue;
        };
        if let Some(version) = &other.manifest.version
            && !range.value.matches(version)
        {
            report.error(
                Code::PackVersion,
                &manifest.file,
                range.span.clone(),
                format!("`{}` is needed as {}, and is there as {version}", name.value, range.value),
            );
        }
    }
    for (name, (file, span)) in &uses.first {
        let is_known = world.packs.contains_key(name);
        let is_listed = needed.contains(name) || *name == pack.name || name.as_str() == CORE;
        if is_known && !is_listed {
            let version = world.packs[name].manifest.version.as_ref().map_or("0".to_owned(), |version| {
                if version.major == 0 { format!("0.{}", version.minor) } else { version.major.to_string() }
            });
            report
                .warning(Code::PackNotRequired, file, span.clone(), format!("`{name}` is used here and not listed in `pack.yaml`"))
                .hint(format!("requires:\n  packs:\n    {name}: ^{version}"));
        }
    }
    needed.extend(uses.first.keys().filter(|name| **name != pack.name).cloned());
    needed
}

fn ours() -> Version {
    Version::parse(env!("CARGO_PKG_VERSION")).expect("Cargo takes no package of another form")
}
