//! The versions of a rule: what the file that defines it was, each time that its pack was installed.

use std::collections::VecDeque;

use ensue_engine::catalog::Defined;
use ensue_engine::fact::Fact;
use ensue_engine::names::RuleRef;
use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{Digest, Record, Revision, StreamId};

use crate::permissions::{Permission as _, RulesRead};
use crate::ports::Ports;
use crate::problem::{Missing, Problem};
use crate::wire::rules::{VersionChange, WireRuleVersion, WireRuleVersions};

/// The maximum number of changes of the pack that are looked at for an answer, the newest ones.
const PACK_CHANGES_MAX: usize = 200;

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
    let place = catalog.places().get(&Defined::Rule(rule.clone()));
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
            Some((_, digest)) => file_in_copy(ports, rule, digest, &path),
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
fn changes_of_pack(ports: &Ports, rule: &RuleRef) -> Result<(VecDeque<Record>, bool), LogError> {
    let stream = StreamId::Pack(rule.pack());
    let (mut changes, mut after, mut has_more) = (VecDeque::new(), Revision(0), false);
    loop {
        let page = ports.log.read_stream(&stream, after, ReadLimit::default())?;
        let Some(last) = page.last() else { return Ok((changes, has_more)) };
        after = last.revision;
        changes.extend(page.into_iter().filter(|record| matches!(record.fact, Fact::PackInstalled(_) | Fact::PackRemoved(_))));
        let surplus = changes.len().saturating_sub(PACK_CHANGES_MAX);
        has_more |= surplus > 0;
        changes.drain(..surplus);
    }
}

/// Returns what a rule's file is in the stored copy of a pack.
fn file_in_copy(ports: &Ports, rule: &RuleRef, digest: &Digest, path: &str) -> RuleFile {
    let Ok(copy) = ports.installed.copy(&rule.pack(), digest) else { return RuleFile::Gone };
    copy.files.get(path).map_or(RuleFile::Absent, |file| RuleFile::Present(Digest::of(&file.bytes)))
}
