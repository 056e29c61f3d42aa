//! The versions of a rule: what the file that defines it was, each time that its pack was installed.

use std::collections::VecDeque;

use ensue_engine::catalog::DefinitionRef;
use ensue_engine::fact::Fact;
use ensue_engine::names::RuleRef;
use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{Digest, Record, Revision, StreamId};
use ensue_packs::CopiedFile;

use crate::permissions::{Permission as _, RulesRead};
use crate::ports::{PortError, Ports};
use crate::problem::{Missing, Problem};
use crate::wire::rules::{VersionChange, WireRuleVersion, WireRuleVersions};

/// The maximum number of records of the pack that are looked at for an answer, the newest ones.
const PACK_RECORDS_MAX: u64 = 200;

/// The rule's file after a change of its pack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RuleFile {
    /// The pack is removed, or has no such file.
    Absent,
    /// The file has this digest.
    Present(Digest),
    /// The files of the pack are no longer stored.
    Gone,
}

/// Lists the versions of a rule, the newest first. Blocking.
pub(super) fn list(ports: &Ports, rule: &RuleRef) -> Result<WireRuleVersions, Problem> {
    let catalog = ports.installed.current();
    let place = catalog.places().get(&DefinitionRef::Rule(rule.clone()));
    // A rule that was removed is looked for where a rule of its name is usually defined.
    let path = place.map_or_else(|| format!("rules/{}.yaml", rule.name()), |place| place.file.clone());
    let (changes, mut is_truncated) = changes_of_pack(ports, rule)?;
    let mut before = if is_truncated { RuleFile::Gone } else { RuleFile::Absent };
    let mut items = VecDeque::new();
    for record in changes {
        let (catalog, installed) = match &record.fact {
            Fact::PackInstalled(fact) => (fact.catalog, Some((fact.version.clone(), fact.digest))),
            Fact::PackRemoved(fact) => (fact.catalog, None),
            _ => continue,
        };
        let file = match &installed {
            Some((_, digest)) => file_in_copy(ports, digest, &path)?,
            None => RuleFile::Absent,
        };
        let change = match (before, file) {
            (RuleFile::Absent, RuleFile::Present(_)) => Some(VersionChange::Added),
            (RuleFile::Present(old), RuleFile::Present(new)) if old != new => Some(VersionChange::Changed),
            (RuleFile::Gone, RuleFile::Present(_)) => Some(VersionChange::Unknown),
            (RuleFile::Present(_), RuleFile::Absent) => Some(VersionChange::Removed),
            _ => None,
        };
        is_truncated |= file == RuleFile::Gone;
        before = file;
        if let Some(change) = change {
            items.push_front(WireRuleVersion {
                catalog,
                change,
                at: record.time,
                by: record.actor.to_string(),
                position: record.position,
                pack_version: installed.map(|(version, _)| version),
            });
        }
    }
    if items.is_empty() && !catalog.rules().contains_key(rule) {
        return Err(Missing::new(RulesRead::THING, rule.as_str()).into());
    }
    Ok(WireRuleVersions { file: path, items: items.into(), truncated: is_truncated })
}

/// Reads the newest changes of a rule's pack, oldest first, and whether there were more.
fn changes_of_pack(ports: &Ports, rule: &RuleRef) -> Result<(Vec<Record>, bool), LogError> {
    let stream = StreamId::Pack(rule.pack());
    let head = ports.log.head()?.position;
    let newest = ports.log.newest_until(&stream, head)?.map_or(0, |newest| newest.revision.0);
    let (mut changes, mut after) = (Vec::new(), Revision(newest.saturating_sub(PACK_RECORDS_MAX)));
    let has_more = after.0 > 0;
    loop {
        let page = ports.log.read_stream(&stream, after, ReadLimit::default())?;
        let Some(last) = page.last() else { return Ok((changes, has_more)) };
        after = last.revision;
        changes.extend(page);
    }
}

/// Returns what a rule's file is in the stored copy of a pack.
fn file_in_copy(ports: &Ports, digest: &Digest, path: &str) -> Result<RuleFile, PortError> {
    Ok(match ports.installed.copied_file(digest, path)? {
        CopiedFile::Present(content) => RuleFile::Present(Digest::of(&content)),
        CopiedFile::Absent => RuleFile::Absent,
        CopiedFile::CopyGone => RuleFile::Gone,
    })
}
