//! Checks a sensor against the catalog: its key is listed, its triggers exist, and its expressions read
//! existing parts of a delivery.

use std::sync::Arc;

use ensue_engine::catalog::{self, Emit, EmitKey, Extra, Repeats, Source};
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::names::{KeyRef, SensorRef};
use ensue_expression::{Expression, ValueType};
use serde_json::Value;

use super::expression_findings::Taker;
use super::literals::optional;
use super::parameters::MappingCheck;
use super::pull_sources;
use super::roots::config_type;
use super::schemas::{ValueForm, type_of};
use super::scope::{ListedKeys, Scope, check_listed};
use super::versions::{Sender, trigger_sent};
use super::{Checking, webhooks};
use crate::diagnostics::{Code, Report};
use crate::fields::first_line;
use crate::source::SourceText;
use crate::syntax::{self, Verify};
use crate::yaml::{Content, Node, WithSpan};

pub(super) fn sensor(
    checking: &mut Checking<'_>,
    name: SensorRef,
    file: &SourceText,
    written: &syntax::Sensor,
    config: &Arc<Value>,
    report: &mut Report,
) -> Option<catalog::Sensor> {
    let source = match &written.source {
        syntax::SensorSource::Webhook(webhook) => {
            let verify = verify(checking, file, &webhook.verify, &name, report);
            webhooks::webhook(checking, file, webhook, verify, report).map(|webhook| Source::Webhook(Arc::new(webhook)))
        }
        syntax::SensorSource::Timer(plan) => Some(Source::Timer { schedule: Arc::new(plan.clone()) }),
        syntax::SensorSource::Pulled(pulled, reading) => pull_sources::source(checking, file, (pulled, reading), &written.emits, report),
    };
    webhooks::warn_of_wait_without_key(file, written, report);
    webhooks::warn_of_unnamed_rule(checking, file, written, report);
    let emits: Vec<Option<Emit>> = written.emits.iter().map(|emit| self::emit(checking, file, (&written.source, emit), report)).collect();
    Some(catalog::Sensor {
        name,
        description: written.description.clone(),
        source: source?,
        emits: emits.into_iter().collect::<Option<_>>()?,
        config: config.clone(),
    })
}

/// Returns the scope of a sensor's expressions.
fn scope<'a>(checking: &Checking<'_>, file: &'a SourceText, source: &'a syntax::SensorSource) -> Scope<'a> {
    match source {
        syntax::SensorSource::Webhook(webhook) => webhooks::delivery(checking, file, webhook),
        syntax::SensorSource::Timer(_) => Scope::new(file)
            .with("scheduled_at", ValueType::text())
            .with("late_seconds", ValueType::integer())
            .with("config", config_type(checking)),
        syntax::SensorSource::Pulled(pulled, reading) => {
            pull_sources::scope(Scope::new(file), pulled, reading).with("config", config_type(checking))
        }
    }
}

fn emit(
    checking: &mut Checking<'_>,
    file: &SourceText,
    (source, written): (&syntax::SensorSource, &syntax::Emit),
    report: &mut Report,
) -> Option<Emit> {
    let scope = scope(checking, file, source);
    if let (syntax::SensorSource::Timer(_), Some(dedupe)) = (source, &written.dedupe) {
        report
            .error(
                Code::FieldOutOfPlace,
                file,
                first_line(&dedupe.span, file),
                "`dedupe` is only for deliveries: each time of a timer comes only once",
            )
            .hint("remove it");
        return None;
    }
    if let (Some(span), syntax::SensorSource::Timer(_) | syntax::SensorSource::Pulled(..)) = (&written.no_key, source) {
        report
            .error(Code::FieldOutOfPlace, file, first_line(span, file), "`dedupe: none` is only for webhooks, whose schemes may have a key")
            .hint("remove it");
        return None;
    }
    let trigger = trigger_sent(checking, Sender::Pack, (file, &written.trigger), report);
    let when = written.when.as_ref().map(|node| scope.condition(node, "`when`", report));
    let scope = match &when {
        Some(when) => scope.after(when.as_ref()),
        None => scope,
    };
    let dedupe = written.dedupe.as_ref().map(|node| dedupe(&scope, node, file, report));
    if let (Some(node), Some(Some(expression))) = (&written.dedupe, &dedupe) {
        warn_of_unsigned_key(source, expression, node, file, report);
    }
    let taker = trigger.as_ref().and_then(|(name, schema)| {
        let takes = type_of((*schema)?, ValueForm::Accepted, "", None);
        Some(Taker { takes, name: format!("the payload of `{name}`") })
    });
    let payload = written.payload.as_ref().map(|node| scope.template_for(node, taker.as_ref(), report));
    if let (Some((trigger, Some(schema))), Some(node)) = (&trigger, &written.payload) {
        let is_mapping = matches!(node.content, Content::Map(_));
        let given = MappingCheck {
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
    let dedupe = match optional(dedupe)? {
        Some(expression) => EmitKey::By(expression),
        None if written.no_key.is_some() => EmitKey::Nothing,
        None => EmitKey::Natural,
    };
    let VersionedTrigger { name, version } = trigger?.0;
    Some(Emit { trigger: name, version, when: optional(when)?, dedupe, payload: optional(payload)? })
}

/// Compiles `dedupe`, which is a text or a whole number. A delivery without the key is not deduplicated.
fn dedupe(scope: &Scope<'_>, node: &Node, file: &SourceText, report: &mut Report) -> Option<Expression> {
    let (expression, value) = scope.clone().forgiving().expression(node, "`dedupe`", report)?;
    let key = ValueType::text().or(ValueType::integer()).or_null();
    if value.is_unknown_or_nothing() || key.overlaps(&value.to_json_type()) {
        return Some(expression);
    }
    let place = first_line(&node.span, file);
    report
        .error(Code::TypeMismatch, file, place, format!("`dedupe` must be a string or an integer, not {value}"))
        .hint("use the id that the sender gives each delivery, for example `headers[\"x-github-delivery\"]`");
    None
}

/// Warns of a key that a replay can change: with `repeats: allow`, nothing else rejects a repeated body.
fn warn_of_unsigned_key(source: &syntax::SensorSource, dedupe: &Expression, node: &Node, file: &SourceText, report: &mut Report) {
    let syntax::SensorSource::Webhook(webhook) = source else { return };
    let (Verify::Proof { scheme, .. }, Repeats::Allow) = (&webhook.verify, webhook.repeats) else { return };
    if !scheme.signs_the_body() {
        return;
    }
    let Some(unsigned) = ["headers", "query", "path", "method"].into_iter().find(|root| dedupe.reads_root(root)) else { return };
    let message = format!("`dedupe` reads `{unsigned}`, which the signature does not cover: anyone who has one delivery can repeat it");
    report
        .warning(Code::DedupeUnsigned, file, first_line(&node.span, file), message)
        .hint("read the key from `body`, or remove `repeats: allow`");
}

fn verify(checking: &Checking<'_>, file: &SourceText, written: &Verify, name: &SensorRef, report: &mut Report) -> Option<catalog::Verify> {
    match written {
        Verify::Proof { scheme, key, weak } => {
            if let Some(place) = weak {
                report.warning(Code::WeakHash, file, place.clone(), "SHA-1 is known to be weak").hint("use `sha256` if the sender can");
            }
            Some(catalog::Verify::Proof { scheme: scheme.clone(), key: self::key(checking, file, key, report)? })
        }
        Verify::Vouched { vouched, weak } => {
            if let Some(place) = weak {
                report
                    .warning(Code::WeakHash, file, place.clone(), "SHA-1 is known to be weak")
                    .hint("set `SignatureVersion` of the topic to 2, and remove `sha1`");
            }
            Some(catalog::Verify::Vouched(Arc::new(vouched.clone())))
        }
        Verify::None(span) => {
            report
                .warning(Code::VerifyNone, file, span.clone(), format!("anyone who knows the URL can create events at `{name}`"))
                .hint("have the sender sign its deliveries: `verify: { scheme: hmac, key: …, header: … }`");
            Some(catalog::Verify::None)
        }
    }
}

fn key(checking: &Checking<'_>, file: &SourceText, written: &WithSpan<String>, report: &mut Report) -> Option<KeyRef> {
    let Ok(key) = written.value.parse::<KeyRef>() else {
        let name = checking.pack.name.as_str();
        let diagnostic =
            report.error(Code::InvalidRef, file, written.span.clone(), format!("`{}` is not the name of a key", written.value));
        if crate::schema::is_our_name(&written.value) {
            diagnostic.did_you_mean(Some(&format!("{name}.{}", written.value)));
        } else {
            diagnostic.hint(format!("write `<pack>.<name>`, for example `{name}.webhook_secret`"));
        }
        return None;
    };
    let own = ListedKeys { permissions: None, ..checking.listed_keys() };
    check_listed(&written.value, own, file, written.span.clone(), report).then_some(key)
}
