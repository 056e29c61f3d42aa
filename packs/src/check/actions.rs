//! Checks an action against the catalog: its expressions, where its secrets may appear, and its programs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ensue_engine::catalog::{self, Builtin, Extra, ProcessCommand, Run, ShellScript};
use ensue_engine::names::ActionRef;
use ensue_engine::vars::reads::VARS;
use ensue_expression::{Document, MapType, Occurrence, Others, Template, ValueType, nearest};
use serde_json::{Map, Value, json};

use super::expression_findings::Taker;
use super::literals::{literal, optional};
use super::parameters::{self, MappingCheck};
use super::roots::{config_type, locals, vars};
use super::runner_results::{Gives, raw_fields};
use super::schemas::{ValueForm, type_of};
use super::scope::Scope;
use super::versions::{Sender, trigger_sent};
use super::{CheckPurpose, Checking, code, flow, workflows};
use crate::diagnostics::{Code, Report};
use crate::fields::{first_line, wrong_type};
use crate::read::FileMode;
use crate::source::SourceText;
use crate::syntax::{self, Environment};
use crate::yaml::{Content, Node, WithSpan, YamlEntry};

/// The folder with the files of actions.
const FOLDER: &str = "actions";

pub(super) fn action(
    checking: &mut Checking<'_>,
    name: ActionRef,
    file: &SourceText,
    written: &syntax::Action,
    config: &Arc<Value>,
    report: &mut Report,
) -> Option<catalog::Action> {
    let params = written
        .parameters
        .as_ref()
        .map_or_else(ValueType::anything, |schema| type_of(schema, ValueForm::Completed, "the parameters of this action", None));
    // Keys and labels are computed before an execution exists.
    let keyed = Scope::new(file).with("params", params).with("config", config_type(checking));
    let base = keyed.clone().with("execution", execution()).with(VARS, vars());
    let (local, scope) = locals(&base, &written.local, report);
    let retry = written.retry.as_ref().map(|retry| super::retry::retry(file, retry, report));
    let concurrency = written.concurrency.as_ref().map(|written| flow::concurrency(file, written, &keyed, report));
    let labels = super::labels::labels(file, &written.labels, &keyed, report);
    let run = self::run(checking, file, written, &scope, report);
    let output = written.output.as_ref().map(|node| compile_output(file, node, written, &scope, report));
    if checking.stage == CheckPurpose::Offered
        && written.output.is_none()
        && let Some(gives) = Gives::of(&written.run)
    {
        gives.check_result(written, file, report);
        written.mock.iter().for_each(|mock| gives.check_mock(mock, file, report));
    }
    check_mock(file, written, report);
    let templates = templates(file, written, report);
    Some(catalog::Action {
        name,
        description: written.description.clone(),
        parameters: written.parameters.clone()?,
        result: written.result.clone(),
        output: optional(output)?,
        local: local?,
        run: run?,
        run_as: written.run_as,
        has_token: written.has_token,
        timeout: written.timeout,
        limit: written.limit,
        grace: written.grace,
        idempotent: written.idempotent,
        on_lost: written.on_lost,
        retry: optional(retry)?,
        concurrency: optional(concurrency)?,
        priority: written.priority,
        queue: written.queue.clone(),
        config: config.clone(),
        pack: checking.pack.digest,
        templates,
        labels: labels?,
    })
}

/// Compiles `output`, which reads the fields of what the runner returns.
fn compile_output(file: &SourceText, node: &Node, written: &syntax::Action, scope: &Scope<'_>, report: &mut Report) -> Option<Template> {
    let scope = raw_fields(&written.run).into_iter().fold(scope.clone(), |scope, (name, value)| scope.with(name, value));
    let taker = written.result.as_ref().map(|schema| {
        let (at, taker) = (first_line(&node.span, file), "the result".to_owned());
        MappingCheck { file, node: Some(node), at, taker: taker.clone(), called: "field" }.check(schema, Extra::Allowed, report);
        Taker { takes: type_of(schema, ValueForm::Accepted, "", None), name: taker }
    });
    scope.template_for(node, taker.as_ref(), report)
}

/// Returns the parameters that are stored under a name, and reports those that the action does not take.
fn templates(file: &SourceText, written: &syntax::Action, report: &mut Report) -> BTreeMap<String, Map<String, Value>> {
    let mut templates = BTreeMap::new();
    for YamlEntry { key, value } in written.templates.iter().filter(|entry| !entry.value.is_poisoned()) {
        let params = value.to_value();
        let document = Document::from_value(&params);
        let Value::Object(params) = params else {
            wrong_type(value, &format!("`{}`", key.value), "a mapping of parameters", file, report);
            continue;
        };
        for misfit in written.parameters.iter().flat_map(|schema| schema.misfits_of_part(document.root())) {
            let span = first_line(&value.at(&misfit.pointer).unwrap_or(value).span, file);
            report.error(Code::ValueUnfit, file, span, format!("the value does not fit the action's `parameters`: {misfit}"));
        }
        if let Some(parameters) = &written.parameters {
            parameters::check_numbers(file, Some(value), parameters, report);
        }
        templates.insert(key.value.clone(), params);
    }
    templates
}

/// Reports a mock that does not fit the declared result of the action.
fn check_mock(file: &SourceText, written: &syntax::Action, report: &mut Report) {
    let (Some(mock), Some(schema)) = (&written.mock, &written.result) else { return };
    if mock.is_poisoned() || schema.is_too_complex() {
        return;
    }
    let document = Document::from_value(&mock.to_value());
    for misfit in schema.misfits(document.root(), Extra::Allowed) {
        let span = first_line(&mock.at(&misfit.pointer).unwrap_or(mock).span, file);
        report.error(Code::ValueUnfit, file, span, format!("the value does not fit the action's `result`: {misfit}"));
    }
}

/// The type of `execution` in expressions of an action.
fn execution() -> ValueType {
    let fields = MapType::new(Others::None)
        .with_wording("the fields of `execution`", None)
        .with("id", ValueType::text(), Occurrence::Always)
        .with("attempt", ValueType::integer(), Occurrence::Always)
        .with("started_at", ValueType::text(), Occurrence::Always)
        .with("actor", ValueType::text(), Occurrence::Always);
    ValueType::map(fields)
}

fn run(checking: &mut Checking<'_>, file: &SourceText, action: &syntax::Action, plain: &Scope<'_>, report: &mut Report) -> Option<Run> {
    let with_keys = plain.clone().with_keys(checking.listed_keys());
    match &action.run {
        syntax::WrittenRun::Process { command, input, env, files } => {
            let beside = beside(checking, FOLDER, command);
            let command = self::command(checking, FOLDER, file, command, report);
            let input = input.as_ref().map(|node| with_keys.template(node, report));
            let env = variables(env, &with_keys, report).inspect(|compiled| {
                for ((_, template), entry) in compiled.iter().zip(env) {
                    note_keys(template, &entry.value, file, report);
                }
            });
            let files = variables(files, &with_keys, report);
            Some(Run::Process(ProcessCommand { command: command?, beside, input: optional(input)?, env: env?, files: files? }))
        }
        syntax::WrittenRun::Shell { script, env } => {
            let is_fine = code::check_script(script, action.parameters.as_ref(), plain, file, report);
            let script = if is_fine { plain.template(script, report) } else { None };
            let env = match env {
                Environment::None => Some(literal(&json!({}))),
                Environment::Given(node) => with_keys.template(node, report).inspect(|env| note_keys(env, node, file, report)),
            };
            Some(Run::Shell(ShellScript { script: script?, env: env? }))
        }
        syntax::WrittenRun::Http(http) => {
            let request = super::http::request(checking, (file, http), action.parameters.as_ref(), (plain, &with_keys), report);
            request.map(|request| Run::Http(Box::new(request)))
        }
        syntax::WrittenRun::Mail(mail) => {
            let mail = super::mail::mail(checking, (file, mail), action.parameters.as_ref(), (plain, &with_keys), report);
            mail.map(|mail| Run::Mail(Box::new(mail)))
        }
        syntax::WrittenRun::Emit { trigger, payload, dedupe } => {
            emit(checking, file, trigger, (payload.as_ref(), dedupe.as_ref()), plain, report)
        }
        syntax::WrittenRun::Workflow(workflow) => {
            let written = (catalog::WorkflowInput::Parameters, workflow);
            workflows::workflow(checking, file, action.result.as_ref(), written, plain, report)
        }
        syntax::WrittenRun::Builtin { which, at } => builtin(checking, file, *which, at, report),
    }
}

fn emit(
    checking: &mut Checking<'_>,
    file: &SourceText,
    trigger: &WithSpan<String>,
    (payload, dedupe): (Option<&Node>, Option<&Node>),
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<Run> {
    let named = trigger_sent(checking, Sender::Pack, (file, trigger), report);
    let taker = named.as_ref().and_then(|(name, schema)| {
        let takes = type_of((*schema)?, ValueForm::Accepted, "", None);
        Some(Taker { takes, name: format!("the payload of `{name}`") })
    });
    let template = match payload {
        Some(node) => scope.template_for(node, taker.as_ref(), report),
        None => Some(literal(&json!({}))),
    };
    if let Some((name, Some(schema))) = &named
        && payload.is_none_or(|node| matches!(node.content, Content::Map(_)))
    {
        let at = trigger.span.clone();
        MappingCheck { file, node: payload, at, taker: format!("the payload of `{name}`"), called: "field" }.check(
            schema,
            Extra::Allowed,
            report,
        );
    }
    let key = Taker { takes: ValueType::text().or(ValueType::integer()).or_null(), name: "`dedupe`".to_owned() };
    let dedupe = dedupe.map(|node| scope.template_for(node, Some(&key), report));
    Some(Run::Emit { trigger: named?.0, payload: template?, dedupe: optional(dedupe)? })
}

fn builtin(checking: &Checking<'_>, file: &SourceText, which: Builtin, at: &std::ops::Range<usize>, report: &mut Report) -> Option<Run> {
    if checking.pack.name.as_str() != "core" {
        report
            .error(Code::BuiltinOutsideCore, file, at.clone(), "only the library pack `core` can have built-in actions")
            .hint("use `core.echo`, `core.noop` or `core.emit` as the action of a rule");
        return None;
    }
    Some(Run::Builtin(which))
}

/// Returns the indexes of the arguments that name a file or folder of the pack in `within`, which is the folder of the
/// definition.
pub(super) fn beside(checking: &Checking<'_>, within: &str, written: &[WithSpan<String>]) -> BTreeSet<usize> {
    let files = &checking.pack.files;
    let is_there = |word: &str| {
        let Some(beside) = word.strip_prefix("./").filter(|beside| !beside.is_empty()) else { return false };
        let (file, folder) = (format!("{within}/{beside}"), format!("{within}/{}/", beside.trim_end_matches('/')));
        files.contains_key(&file) || files.range(folder.clone()..).next().is_some_and(|(path, _)| path.starts_with(&folder))
    };
    written.iter().enumerate().skip(1).filter(|(_, word)| is_there(&word.value)).map(|(place, _)| place).collect()
}

/// Returns the command of a program that is found in the pack's folder `within` or in the node's path; reports what is
/// wrong with it.
pub(super) fn command(
    checking: &Checking<'_>,
    within: &str,
    file: &SourceText,
    written: &[WithSpan<String>],
    report: &mut Report,
) -> Option<Vec<String>> {
    for item in written {
        code::check_argument(&item.value, &item.span, file, report);
    }
    let program = written.first()?;
    if let Some(beside) = program.value.strip_prefix("./") {
        let path = format!("{within}/{beside}");
        match checking.pack.files.get(&path).map(|file| file.mode) {
            Some(FileMode::Executable) => {}
            Some(FileMode::Plain) => {
                report
                    .error(Code::NotExecutable, file, program.span.clone(), format!("`{path}` is not executable"))
                    .hint(format!("chmod +x {path}"));
                return None;
            }
            None => {
                let beside_it = checking.pack.files.keys().filter_map(|path| inside(path, within));
                let near = nearest(beside, beside_it).map(|near| format!("./{near}"));
                report
                    .error(Code::NoSuchProgram, file, program.span.clone(), format!("the pack has no file `{path}`"))
                    .did_you_mean(near.as_deref())
                    .hint(format!("write `./x` for a file in `{within}/`; a bare name is looked up in the node's PATH"));
                return None;
            }
        }
    } else if program.value.contains('/') || program.value.is_empty() {
        report
            .error(Code::InvalidValue, file, program.span.clone(), format!("`{}` is not a program that a pack can run", program.value))
            .hint(format!("write `./x` for a file in `{within}/`; a bare name is looked up in the node's PATH"));
        return None;
    }
    warn_misspelt_files(checking, within, file, written, report);
    Some(written.iter().map(|item| item.value.clone()).collect())
}

/// Warns of an argument that is nearly the name of a file of the pack. If it names no file, the program gets
/// it unchanged.
fn warn_misspelt_files(checking: &Checking<'_>, within: &str, file: &SourceText, written: &[WithSpan<String>], report: &mut Report) {
    let beside_it = || checking.pack.files.keys().filter_map(|path| inside(path, within)).filter(|path| !path.ends_with(".yaml"));
    for word in written.iter().skip(1) {
        let Some(beside) = word.value.strip_prefix("./") else { continue };
        if let Some(near) = nearest(beside, beside_it()).filter(|near| *near != beside) {
            let near = format!("./{near}");
            report
                .warning(Code::NoSuchProgram, file, word.span.clone(), format!("the pack has no file `{within}/{beside}`"))
                .did_you_mean(Some(&near))
                .hint("check the name: the program starts in an empty folder, so `./` finds only files of the pack");
        }
    }
}

/// Returns a path below a folder of the pack, or `None` if it is not in that folder.
fn inside<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

pub(super) fn variables(written: &[YamlEntry], scope: &Scope<'_>, report: &mut Report) -> Option<Vec<(String, Template)>> {
    let compiled: Vec<_> = written.iter().map(|entry| Some((entry.key.value.clone(), scope.template(&entry.value, report)?))).collect();
    compiled.into_iter().collect()
}

/// Adds a note for a secret in the environment, where other programs of the same user can see it.
pub(super) fn note_keys(template: &Template, node: &Node, file: &SourceText, report: &mut Report) {
    if template.reads().iter().any(|path| path.segments[0] == "keys") {
        let span = crate::fields::first_line(&node.span, file);
        report
            .note(Code::KeyInEnvironment, file, span, "other programs of the same user can see a secret in the environment")
            .hint("pass it more safely to a process with `input` or `files`");
    }
}
