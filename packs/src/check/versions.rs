//! Checks versions of triggers: what turns an older payload into a newer one, and the version that a sender names.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use ensue_engine::catalog::{Extra, Schema, Trigger};
use ensue_engine::events::version::{TriggerVersion, VersionedTrigger};
use ensue_engine::names::{PackName, TriggerRef};
use ensue_expression::{Template, ValueType};

use super::Checking;
use super::expression_findings::Taker;
use super::parameters::MappingCheck;
use super::refs::{trigger_named, trigger_to_make};
use super::schemas::{ValueForm, type_of};
use super::scope::Scope;
use crate::diagnostics::{Code, Diagnostic, Report};
use crate::fields::first_line;
use crate::source::SourceText;
use crate::syntax;
use crate::yaml::{Content, WithSpan};

/// Compiles the upcasts of a trigger. Each reads the payload of its version; what the last one makes must fit the schema.
pub(super) fn upcasts(file: &SourceText, name: &TriggerRef, written: &syntax::Trigger, report: &mut Report) -> Option<Vec<Template>> {
    let nodes = written.upcasts.as_ref()?;
    let scope = Scope::new(file).with("payload", ValueType::json());
    let compiled = nodes.iter().enumerate().map(|(index, node)| {
        let schema = written.payload.as_ref().filter(|_| index + 1 == nodes.len());
        let taker = format!("the payload of `{name}`");
        let takes = schema.map(|schema| Taker { takes: type_of(schema, ValueForm::Accepted, "", None), name: taker.clone() });
        let template = scope.template_for(node, takes.as_ref(), report);
        if let (Some(schema), Content::Map(_)) = (schema, &node.content) {
            let at = first_line(&node.span, file);
            MappingCheck { file, node: Some(node), at, taker, called: "field" }.check(schema, Extra::Allowed, report);
        }
        template
    });
    compiled.collect::<Vec<_>>().into_iter().collect()
}

/// The version of a trigger, as a pack has it.
#[derive(Clone, Debug)]
pub(crate) struct WrittenVersion {
    trigger: TriggerRef,
    version: TriggerVersion,
    file: SourceText,
    at: Range<usize>,
}

/// Returns the versions of a pack's triggers.
pub(super) fn written_versions(pack: &syntax::WrittenPack) -> Vec<WrittenVersion> {
    let version = |(name, defined): (&String, &syntax::LocatedDefinition<syntax::Trigger>)| {
        let (trigger, body) = (TriggerRef::new(&pack.name, name).ok()?, defined.body.as_ref()?);
        Some(WrittenVersion { trigger, version: body.version, file: defined.file.clone(), at: body.version_at.clone() })
    };
    pack.triggers.iter().filter_map(version).collect()
}

/// Reports the triggers whose version is lower than the installed one.
pub(super) fn report_lowered(
    pack: &PackName,
    versions: &[WrittenVersion],
    installed: &BTreeMap<TriggerRef, Arc<Trigger>>,
) -> Vec<Diagnostic> {
    let mut report = Report::default();
    for WrittenVersion { trigger, version, file, at } in versions {
        let Some(live) = installed.get(trigger).map(|live| live.version).filter(|live| live > version) else { continue };
        report
            .error(
                Code::VersionLowered,
                file,
                at.clone(),
                format!("version {version} of `{trigger}` is lower than the installed version {live}"),
            )
            .hint(format!("the log may have events of version {live}; to go back to an older form, add a version after it"));
    }
    report.into_sorted(Some(pack))
}

/// A trigger that a sender names, with the schema of its payload: `None` if that is not known, as for an older version.
pub(super) type SentTrigger<'a> = (VersionedTrigger, Option<&'a Schema>);

/// The sender that names a trigger with a version.
#[derive(Clone, Copy)]
pub(super) enum Sender {
    /// A sensor or an action, which creates events.
    Pack,
    /// A case of a test, which may also send events of the engine's own triggers.
    Case,
}

/// Finds the trigger that a sender names, perhaps with a version.
pub(super) fn trigger_sent<'a>(
    checking: &mut Checking<'a>,
    sender: Sender,
    (file, written): (&SourceText, &WithSpan<String>),
    report: &mut Report,
) -> Option<SentTrigger<'a>> {
    let (name, version) = apart(written);
    let found = match sender {
        Sender::Pack => trigger_to_make(checking, file, &name, report)?,
        Sender::Case => trigger_named(checking, file, &name, report)?,
    };
    of_version(checking, file, (written, version), found, report)
}

/// Takes the version from the end of a ref.
fn apart(written: &WithSpan<String>) -> (WithSpan<String>, Option<&str>) {
    match written.value.split_once('@') {
        Some((name, version)) => (WithSpan { value: name.to_owned(), span: written.span.clone() }, Some(version)),
        None => (WithSpan { value: written.value.clone(), span: written.span.clone() }, None),
    }
}

fn of_version<'a>(
    checking: &Checking<'a>,
    file: &SourceText,
    (written, version): (&WithSpan<String>, Option<&str>),
    (trigger, schema): (TriggerRef, Option<&'a Schema>),
    report: &mut Report,
) -> Option<SentTrigger<'a>> {
    if version.is_none() {
        return Some((trigger.into(), schema));
    }
    let defined = checking.world.packs.get(&trigger.pack()).and_then(|pack| pack.triggers.get(trigger.name()));
    let newest = defined.and_then(|defined| defined.body.as_ref()).map(|body| body.version);
    let parsed = written.value.parse::<VersionedTrigger>().map_err(|why| why.to_string());
    let known = parsed.and_then(|named| match (named.version, newest) {
        (Some(version), Some(newest)) if version > newest => Err(format!("`{trigger}` has no version {version}")),
        (version, newest) => Ok((named, version == newest)),
    });
    match known {
        Ok((named, is_newest)) => Some((named, schema.filter(|_| is_newest))),
        Err(message) => {
            let hint = newest.map(|newest| format!("the newest version is {newest}; without `@`, a payload is of the newest"));
            report.error(Code::UnknownVersion, file, written.span.clone(), message).hint = hint;
            None
        }
    }
}
