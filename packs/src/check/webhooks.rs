//! Checks what a webhook accepts and replies: its expressions read parts of the delivery that exist there.

use std::sync::Arc;

use ensue_engine::catalog::{self, EarlyReply, PathPart, Repeats, Reply, ReplyProof, SenderAuthority, WaitingReply};
use ensue_engine::names::RuleRef;
use ensue_expression::{MapType, Occurrence, Others, ValueType};

use super::Checking;
use super::literals::optional;
use super::refs::own_rule;
use super::roots::config_type;
use super::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::fields::quote_names;
use crate::source::SourceText;
use crate::syntax;

/// The hints about a rule that a reply waits for: one of the same pack, because a pack does not tell senders what other packs do.
const OF_THE_SENSOR: &str = "a reply waits for a rule of the sensor's own pack";
const NO_RULE: &str = "a reply waits for a rule of the sensor's own pack, which has none";

/// Compiles everything of a webhook except its emits.
pub(super) fn webhook(
    checking: &Checking<'_>,
    file: &SourceText,
    written: &syntax::Webhook,
    verify: Option<catalog::Verify>,
    report: &mut Report,
) -> Option<catalog::Webhook> {
    let scope = delivery(checking, file, written);
    let decode = written.decode.as_ref().map(|node| {
        let (expression, value) = scope.clone().forgiving().expression(node, "`decode`", report)?;
        let is_text = value.is_unknown_or_nothing() || ValueType::text().or_null().overlaps(&value);
        if !is_text {
            let place = crate::fields::first_line(&node.span, file);
            report
                .error(Code::TypeMismatch, file, place, format!("`decode` must be a string that holds JSON, not {value}"))
                .hint("for example `body.payload`");
        }
        is_text.then_some(expression)
    });
    let replies: Vec<Option<EarlyReply>> = written.replies.iter().map(|reply| early(file, (written, &scope), reply, report)).collect();
    let waits = written.waits.as_ref().map(|waits| waiting(checking, file, (&scope, waits), report));
    Some(catalog::Webhook {
        verify: verify?,
        repeats: written.repeats,
        accepts: written.accepts.clone(),
        types: written.types.clone(),
        text_decoding: written.text_decoding.clone(),
        decode: optional(decode)?,
        methods: written.methods.clone(),
        path: written.path.clone(),
        allow: written.allow.clone(),
        headers: written.headers.clone(),
        rate: written.rate,
        body_bytes_max: written.body_bytes_max,
        replies: replies.into_iter().collect::<Option<_>>()?,
        waits: optional(waits)?.map(Arc::new),
    })
}

/// Returns the scope of expressions about a delivery whose sender is proven.
pub(super) fn delivery<'a>(checking: &Checking<'_>, file: &'a SourceText, written: &'a syntax::Webhook) -> Scope<'a> {
    let mut path = MapType::new(Others::None).with_wording("the parameters of `path`", None);
    for part in &written.path {
        if let PathPart::Parameter(name) = part {
            path = path.with(name.as_str(), ValueType::text(), Occurrence::Always);
        }
    }
    unproven(file, written).with("body", ValueType::json()).with("path", ValueType::map(path)).with("config", config_type(checking))
}

/// Returns the scope of expressions about a delivery that anybody may have sent.
fn unproven<'a>(file: &'a SourceText, written: &'a syntax::Webhook) -> Scope<'a> {
    let scheme = match &written.verify {
        syntax::Verify::Proof { scheme, .. } => Some(scheme),
        syntax::Verify::Vouched { .. } | syntax::Verify::None(_) => None,
    };
    let texts = ValueType::map(MapType::new(Others::Are(ValueType::text())));
    Scope::new(file).with_headers_of_delivery(scheme).with("query", texts).with("method", ValueType::text())
}

fn early(
    file: &SourceText,
    (webhook, scope): (&syntax::Webhook, &Scope<'_>),
    written: &syntax::EarlyReply,
    report: &mut Report,
) -> Option<EarlyReply> {
    let (proof, scope) = match written.is_unproven {
        true => (ReplyProof::NotDemanded, unproven(file, webhook)),
        false => (ReplyProof::Demanded, scope.clone()),
    };
    let when = written.when.as_ref().map(|node| scope.condition(node, "`when`", report));
    let scope = match &when {
        Some(when) => scope.after(when.as_ref()),
        None => scope,
    };
    let reply = reply(&scope, &written.answer, report);
    Some(EarlyReply { when: optional(when)?, proof, reply: reply? })
}

fn waiting(
    checking: &Checking<'_>,
    file: &SourceText,
    (scope, written): (&Scope<'_>, &syntax::WaitingReply),
    report: &mut Report,
) -> Option<WaitingReply> {
    let when = written.when.as_ref().map(|node| scope.condition(node, "`when`", report));
    let rule = written.rule.as_ref().map(|rule| own_rule(checking, file, rule, (OF_THE_SENSOR, NO_RULE), report));
    let ended = reply_scope(checking, file);
    let succeeded = reply(&ended, &written.succeeded, report);
    let mut other = |written: &Option<syntax::ReplyContent>| optional(written.as_ref().map(|answer| reply(&ended, answer, &mut *report)));
    let (late, failed, none) = (other(&written.late), other(&written.failed), other(&written.none));
    let rule: Option<RuleRef> = optional(rule)?;
    Some(WaitingReply {
        when: optional(when)?,
        wait_millis: written.wait_millis,
        rule,
        succeeded: succeeded?,
        late: late?,
        failed: failed?,
        none: none?,
    })
}

/// Returns the scope of a reply that has waited.
fn reply_scope<'a>(checking: &Checking<'_>, file: &'a SourceText) -> Scope<'a> {
    let fields = |name: &'static str, fields: &[&str]| {
        let named = MapType::new(Others::None).with_wording(name, None);
        ValueType::map(fields.iter().fold(named, |map, field| map.with(*field, ValueType::text(), Occurrence::Always)))
    };
    Scope::new(file)
        .with("result", ValueType::json())
        .with("status", ValueType::text())
        .with("event", fields("the fields of `event`", &["id"]))
        .with("execution", fields("the fields of `execution`", &["id", "url"]))
        .with("error", fields("the fields of `error`", &["kind"]))
        .with("config", config_type(checking))
}

fn reply(scope: &Scope<'_>, written: &syntax::ReplyContent, report: &mut Report) -> Option<Reply> {
    let compiled = |node, report: &mut Report| scope.template(node, report);
    let headers: Vec<_> =
        written.headers.iter().map(|entry| Some((entry.key.value.to_ascii_lowercase(), compiled(&entry.value, report)?))).collect();
    let body = written.body.as_ref().map(|node| compiled(node, report));
    Some(Reply { status: written.status, headers: headers.into_iter().collect::<Option<_>>()?, body: optional(body)? })
}

/// Warns of a reply that waits, if a sender that repeats a delivery would create the event twice.
pub(super) fn warn_of_wait_without_key(file: &SourceText, written: &syntax::Sensor, report: &mut Report) {
    let syntax::SensorSource::Webhook(webhook) = &written.source else { return };
    let Some(waits) = &webhook.waits else { return };
    let drops_repeats = match &webhook.verify {
        syntax::Verify::Proof { scheme, .. } => scheme.signs_the_body() && webhook.repeats == Repeats::Drop,
        syntax::Verify::Vouched { vouched: SenderAuthority::Sns(_), .. } => webhook.repeats == Repeats::Drop,
        syntax::Verify::Vouched { .. } | syntax::Verify::None(_) => false,
    };
    let has_natural_key = match &webhook.verify {
        syntax::Verify::Proof { scheme, .. } => scheme.has_natural_key(),
        syntax::Verify::Vouched { vouched, .. } => matches!(vouched, SenderAuthority::Sns(_)),
        syntax::Verify::None(_) => false,
    };
    if drops_repeats || written.emits.iter().all(|emit| emit.dedupe.is_some() || (has_natural_key && emit.no_key.is_none())) {
        return;
    }
    report
        .warning(
            Code::WaitWithoutDedupe,
            file,
            waits.at.clone(),
            "a sender that gets no reply in time sends again, and this sensor does not recognize the repeat",
        )
        .hint("add `dedupe` to each item of `emits`, so that the repeat gets the reply of the first delivery");
}

/// Warns of a reply that waits for any rule, if several rules of the pack react to the events of the delivery: which of them answers is
/// then a matter of their order.
pub(super) fn warn_of_unnamed_rule(checking: &Checking<'_>, file: &SourceText, written: &syntax::Sensor, report: &mut Report) {
    let syntax::SensorSource::Webhook(webhook) = &written.source else { return };
    let Some(waits) = webhook.waits.as_ref().filter(|waits| waits.rule.is_none()) else { return };
    let is_emitted = |trigger: &str| written.emits.iter().any(|emit| emit.trigger.value == trigger);
    let reacts = |rule: &syntax::Rule| rule.triggers.iter().any(|trigger| is_emitted(&trigger.value));
    let rules = checking.pack.rules.iter().filter(|(_, rule)| rule.body.as_ref().is_some_and(reacts));
    let names: Vec<String> = rules.map(|(name, _)| format!("{}.{name}", checking.pack.name)).collect();
    if let [first, second, ..] = names.as_slice() {
        report
            .warning(
                Code::ReplyRuleUnnamed,
                file,
                waits.at.clone(),
                format!("the reply waits for any rule, and {} rules react to this sensor's events: {}", names.len(), quote_names(&names)),
            )
            .hint(format!("name the rule whose execution answers, for example `rule: {first}` or `rule: {second}`"));
    }
}
