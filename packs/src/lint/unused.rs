//! Finds unused declarations: parameters, local values, settings, keys and connections.
//!
//! Values that may be read without being named (a whole object, a program's standard input) count as used.

use std::collections::BTreeSet;
use std::ops::Range;

use ensue_engine::catalog::{Action, Field, Flow, PollTarget, Run, Source, Stage, Step, UsedConnection};
use ensue_engine::names::KeyRef;
use ensue_expression::{Expression, Path, Template};

use super::{Findings, LintFinding, place_of};
use crate::definitions::{CheckedTask, PackDefinitions};
use crate::diagnostics::{Code, Report, Severity};
use crate::source::SourceText;
use crate::yaml::{self, Content, Node};

pub(super) fn look(pack: &PackDefinitions<'_>, findings: &mut Findings) {
    let mut of_pack = ReadPaths::default();
    for action in &pack.parts.actions {
        let reads = reads_of_run(action);
        report_unused_in_action(pack, action, &reads, findings);
        of_pack.paths.extend(reads.paths);
        of_pack.paths.extend(action.local.iter().flat_map(|(_, local)| local.reads()));
    }
    for (rule, written) in pack.parts.rules.iter().filter_map(|rule| Some((rule, pack.pack.rules.get(rule.name.name())?))) {
        let mut reads = ReadPaths::default();
        reads.paths.extend(rule.when.iter().flat_map(Expression::reads));
        reads.paths.extend(rule.with.reads());
        let keys = rule.flow.as_deref().into_iter().flat_map(Flow::stages).flat_map(Stage::expressions);
        reads.paths.extend(keys.flat_map(Expression::reads));
        if let CheckedTask::Steps(action) = &rule.task {
            reads.paths.extend(reads_of_run(action).paths);
        }
        report_unused_locals(pack, "rules", rule.name.name(), &written.file, &rule.local, &reads, findings);
        reads.paths.extend(rule.local.iter().flat_map(|(_, local)| local.reads()));
        of_pack.paths.extend(reads.paths);
    }
    for sensor in &pack.parts.sensors {
        let emits = sensor.emits.iter();
        of_pack.paths.extend(emits.clone().flat_map(|emit| emit.when.iter().chain(emit.dedupe.expression()).flat_map(Expression::reads)));
        of_pack.paths.extend(emits.flat_map(|emit| emit.payload.iter().flat_map(Template::reads)));
        of_pack.paths.extend(reads_of_source(&sensor.source));
        of_pack.keys.extend(sensor.source.webhook().and_then(|verify| verify.key()).map(ToString::to_string));
    }
    // The setting that a request gets its connection from.
    of_pack.settings.extend(pack.parts.settings_of_connections());
    report_unused_in_manifest(pack, &of_pack, findings);
    report_unused_connections(pack, findings);
}

/// The paths that are read.
#[derive(Default)]
struct ReadPaths {
    paths: Vec<Path>,
    keys: BTreeSet<String>,
    settings: BTreeSet<String>,
}

impl ReadPaths {
    /// Returns true if a field of a root is read, or may be because the whole root is.
    fn has(&self, root: &str, name: &str) -> bool {
        let reads = self.paths.iter().filter(|path| path.segments.first().is_some_and(|first| first == root));
        { reads }.any(|path| path.segments.get(1).is_none_or(|second| second == name))
    }
}

/// Returns the reads of an action outside of `local`: in its `run`, its `labels` and the key of its
/// `concurrency`.
fn reads_of_run(action: &Action) -> ReadPaths {
    let templates: Vec<&Template> = match &action.run {
        Run::Process(process) => {
            let given = process.env.iter().chain(&process.files).map(|(_, template)| template);
            process.input.iter().chain(given).collect()
        }
        Run::Shell(shell) => vec![&shell.script, &shell.env],
        Run::Http(request) => request.all_templates(),
        Run::Mail(message) => message.templates().collect(),
        Run::Emit { payload, dedupe, .. } => std::iter::once(payload).chain(dedupe).collect(),
        Run::Workflow(workflow) => workflow.result().into_iter().collect(),
        Run::Builtin(_) => Vec::new(),
    };
    let mut reads = ReadPaths::default();
    if let Run::Workflow(workflow) = &action.run {
        reads.paths.extend(workflow.steps().iter().flat_map(Step::reads));
    }
    reads.paths.extend(templates.into_iter().chain(action.labels.values()).flat_map(Template::reads));
    // The key that distinguishes executions counts as part of what the action does.
    reads.paths.extend(action.concurrency.iter().filter_map(|concurrency| concurrency.key.as_ref()).flat_map(Expression::reads));
    reads
}

/// Returns the reads of what a sensor reads its messages from.
fn reads_of_source(source: &Source) -> Vec<Path> {
    match source {
        Source::Webhook(_) | Source::Timer { .. } => Vec::new(),
        Source::Process(process) => {
            process.input.iter().chain(process.env.iter().map(|(_, template)| template)).flat_map(Template::reads).collect()
        }
        Source::Poll(poll) => {
            let cursor = poll.cursor.iter().flat_map(|cursor| [&cursor.start, &cursor.next]);
            let expressions = poll.items.iter().chain(&poll.next_page).chain(&poll.only_new).chain(cursor);
            let templates = match &poll.asked {
                PollTarget::Http(request) => request.all_templates(),
                PollTarget::Action(action) => vec![&action.with],
            };
            expressions.flat_map(Expression::reads).chain(templates.into_iter().flat_map(Template::reads)).collect()
        }
        Source::File(file) => file.path.reads().into_iter().collect(),
    }
}

fn report_unused_in_action(pack: &PackDefinitions<'_>, action: &Action, run: &ReadPaths, findings: &mut Findings) {
    let name = action.name.name();
    let Some(defined) = pack.pack.actions.get(name) else { return };
    report_unused_locals(pack, "actions", name, &defined.file, &action.local, run, findings);
    // Without `input` a program reads all parameters from its standard input.
    let takes_all = match &action.run {
        Run::Process(process) => process.input.is_none(),
        Run::Builtin(_) => true,
        Run::Shell(_) | Run::Http(_) | Run::Mail(_) | Run::Emit { .. } | Run::Workflow(_) => false,
    };
    let Some(fields) = action.parameters.fields().filter(|_| !takes_all) else { return };
    let local = ReadPaths { paths: action.local.iter().flat_map(|(_, local)| local.reads()).collect(), ..ReadPaths::default() };
    let names_connection = |field: &&Field| match action.run.connection() {
        Some((UsedConnection::Parameter(name), _)) => *name == field.name,
        Some((UsedConnection::Named(_) | UsedConnection::Setting(_), _)) | None => false,
    };
    let is_read = |field: &&Field| run.has("params", &field.name) || local.has("params", &field.name) || names_connection(field);
    for field in fields.0.iter().filter(|field| !is_read(field)) {
        let span = place_of(&defined.file, "actions", name, &["parameters", &field.name]);
        let finding = LintFinding {
            severity: Severity::Warning,
            code: Code::UnusedParameter,
            span,
            message: format!("the action `{}` does not read its parameter `{}`", action.name, field.name),
            hint: format!("read it in `run` as `params.{}`, or remove it", field.name),
        };
        findings.report(&pack.pack.name, &defined.file, finding);
    }
}

fn report_unused_locals(
    pack: &PackDefinitions<'_>,
    several: &str,
    definition: &str,
    file: &SourceText,
    local: &[(String, Expression)],
    reads: &ReadPaths,
    findings: &mut Findings,
) {
    for (at, (name, _)) in local.iter().enumerate() {
        let later = ReadPaths { paths: local[at + 1..].iter().flat_map(|(_, later)| later.reads()).collect(), ..ReadPaths::default() };
        if reads.has("local", name) || later.has("local", name) {
            continue;
        }
        let finding = LintFinding {
            severity: Severity::Warning,
            code: Code::UnusedLocal,
            span: place_of(file, several, definition, &["local", name]),
            message: format!("nothing reads `local.{name}`"),
            hint: "remove it: it is evaluated anyway, and an error in it still counts".to_owned(),
        };
        findings.report(&pack.pack.name, file, finding);
    }
}

fn report_unused_in_manifest(pack: &PackDefinitions<'_>, reads: &ReadPaths, findings: &mut Findings) {
    let manifest = &pack.pack.manifest;
    for field in manifest.config.iter().filter_map(|config| config.fields()).flat_map(|fields| &fields.0) {
        if !reads.has("config", &field.name) && !reads.settings.contains(&field.name) {
            let finding = LintFinding {
                severity: Severity::Warning,
                code: Code::UnusedSetting,
                span: place_of(&manifest.file, "", "", &["config", &field.name]),
                message: format!("nothing in the pack reads its setting `{}`", field.name),
                hint: format!("read it as `config.{}`, or remove it", field.name),
            };
            findings.report(&pack.pack.name, &manifest.file, finding);
        }
    }
    for key in manifest.keys.iter().flatten() {
        if !reads.has("keys", key.as_str()) && !reads.keys.contains(key.as_str()) {
            let finding = LintFinding {
                severity: Severity::Warning,
                code: Code::UnusedKey,
                span: place_of_key(&manifest.file, key),
                message: format!("nothing in the pack reads its key `{key}`"),
                hint: "remove it from `keys`: a key that is not listed cannot leak".to_owned(),
            };
            findings.report(&pack.pack.name, &manifest.file, finding);
        }
    }
}

fn report_unused_connections(pack: &PackDefinitions<'_>, findings: &mut Findings) {
    let manifest = &pack.pack.manifest;
    for name in manifest.connections.iter().flatten().filter(|name| !pack.connections.iter().any(|(used, _)| *used == name.value)) {
        let finding = LintFinding {
            severity: Severity::Warning,
            code: Code::UnusedConnection,
            span: name.span.clone(),
            message: format!("nothing in the pack names its connection `{}`", name.value),
            hint: "remove it from `connections`: a connection that is not listed cannot be misused".to_owned(),
        };
        findings.report(&pack.pack.name, &manifest.file, finding);
    }
}

/// Returns the place where a key is listed: by its bare name, or with its pack's.
fn place_of_key(file: &SourceText, key: &KeyRef) -> Range<usize> {
    let root = yaml::parse(file, &mut Report::default());
    let Some(Content::List(items)) = root.as_ref().and_then(|root| root.at("/keys")).map(|node| &node.content) else { return 0..0 };
    let is_it = |item: &&Node| matches!(&item.content, Content::Text { value, .. } if value == key.name() || value == key.as_str());
    items.iter().find(is_it).map_or(0..0, |item| item.span.clone())
}
