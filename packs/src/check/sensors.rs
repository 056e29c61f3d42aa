//! A sensor against the catalog: its key is listed, its triggers are there, its expressions read what a delivery has.

use std::sync::Arc;

use ensue_engine::catalog::{self, Emit, Extra, HmacVerify, Source};
use ensue_engine::names::{KeyRef, SensorRef};
use serde_json::Value;

use super::Checking;
use super::parameters::Given;
use super::refs::trigger_named;
use super::scope::{Scope, check_listed};
use crate::diagnostics::{Code, Report};
use crate::source::SourceText;
use crate::written::{self, Verify};
use crate::yaml::{Content, Spanned};

pub(super) fn sensor(
    checking: &mut Checking<'_>,
    name: SensorRef,
    file: &SourceText,
    written: &written::Sensor,
    config: &Arc<Value>,
    report: &mut Report,
) -> Option<catalog::Sensor> {
    let verify = verify(checking, file, &written.verify, &name, report);
    let emits: Vec<Option<Emit>> = written.emits.iter().map(|emit| self::emit(checking, file, emit, report)).collect();
    Some(catalog::Sensor {
        name,
        description: written.description.clone(),
        source: Source::Webhook { verify: verify? },
        emits: emits.into_iter().collect::<Option<_>>()?,
        config: config.clone(),
    })
}

fn emit(checking: &mut Checking<'_>, file: &SourceText, written: &written::Emit, report: &mut Report) -> Option<Emit> {
    let manifest = &checking.pack.manifest;
    let scope = Scope::new(file, &["headers", "body", "query", "config"]).schemas(
        &["config"],
        "the settings of `config`",
        [manifest.config.as_ref()],
    );
    let trigger = trigger_named(checking, file, &written.trigger, report);
    let when = written.when.as_ref().map(|node| scope.expression(node, "`when`", report));
    let dedupe = written.dedupe.as_ref().map(|node| scope.expression(node, "`dedupe`", report));
    let payload = written.payload.as_ref().map(|node| scope.template(node, report));
    if let (Some((trigger, Some(schema))), Some(node)) = (&trigger, &written.payload) {
        let is_mapping = matches!(node.content, Content::Map(_));
        let given = Given {
            file,
            node: Some(node).filter(|_| is_mapping),
            at: written.trigger.span.clone(),
            taker: format!("the payload of `{trigger}`"),
            called: "field",
        };
        if is_mapping {
            given.check(schema, Extra::Allowed, report);
        }
    }
    Some(Emit { trigger: trigger?.0, when: optional(when)?, dedupe: optional(dedupe)?, payload: optional(payload)? })
}

/// Turns "not given, or given and compiled or not" into "compiled or not".
pub(super) fn optional<T>(given: Option<Option<T>>) -> Option<Option<T>> {
    match given {
        None => Some(None),
        Some(compiled) => compiled.map(Some),
    }
}

fn verify(checking: &Checking<'_>, file: &SourceText, written: &Verify, name: &SensorRef, report: &mut Report) -> Option<catalog::Verify> {
    match written {
        Verify::Github { key } => Some(catalog::Verify::Github { key: self::key(checking, file, key, report)? }),
        Verify::Hmac { key, header, algorithm, encoding, prefix } => Some(catalog::Verify::Hmac(HmacVerify {
            key: self::key(checking, file, key, report)?,
            header: header.clone(),
            algorithm: *algorithm,
            encoding: *encoding,
            prefix: prefix.clone(),
        })),
        Verify::None(span) => {
            report
                .warning(Code::VerifyNone, file, span.clone(), format!("anybody who knows the URL can make events at `{name}`"))
                .hint("have the sender sign: `verify: { scheme: hmac, key: …, header: … }`");
            Some(catalog::Verify::None)
        }
    }
}

fn key(checking: &Checking<'_>, file: &SourceText, written: &Spanned<String>, report: &mut Report) -> Option<KeyRef> {
    let Ok(key) = written.value.parse::<KeyRef>() else {
        let name = checking.pack.name.as_str();
        let told = report.error(Code::InvalidRef, file, written.span.clone(), format!("`{}` is not the name of a key", written.value));
        if crate::schema::is_our_name(&written.value) {
            told.did_you_mean(Some(&format!("{name}.{}", written.value)));
        } else {
            told.hint(format!("write `<pack>.<name>`, for example `{name}.webhook_secret`"));
        }
        return None;
    };
    check_listed(&written.value, checking.listed_keys(), file, written.span.clone(), report).then_some(key)
}
