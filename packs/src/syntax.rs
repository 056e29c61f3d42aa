//! A pack as its author wrote it: every file parsed, every field taken, every value with its place.
//!
//! References are still names here, and expressions are text: `check/` resolves and compiles them.

mod action;
mod concurrency;
mod fake;
mod flow;
mod http;
mod inquiry;
mod labels;
mod local_names;
mod mail;
mod manifest;
mod pull_source;
mod repeat;
mod retry;
mod rule;
mod schedule;
mod sensor;
mod test;
mod text_decoding;
mod timing;
mod trigger;
mod verify;
mod wait;
mod webhook;
mod workflow;

use std::collections::BTreeMap;
use std::ops::Range;

use ensue_engine::catalog::FileLocation;
use ensue_engine::names::{PackName, is_name};
use ensue_engine::record::Digest;
use ensue_expression::nearest;

pub(crate) use action::{ACTION, Action, Environment, WrittenRun};
pub(crate) use concurrency::Concurrency;
pub(crate) use fake::{ANSWER, AUTH, AUTH_HEADER, ENCODINGS, FAKE, FAKE_AUTH, JSON_FIELD, KEY_OF, ROUTE};
pub(crate) use flow::FlowStage;
pub(crate) use http::{Http, Secrecy, Signing, Url, WithoutConnection, WrittenBody};
pub(crate) use inquiry::{Inquiry, Notify, Remind};
pub(crate) use labels::Label;
pub(crate) use mail::{Mail, MailServer};
pub(crate) use manifest::{Manifest, PACK};
pub(crate) use pull_source::{Cursor, File as FileWatch, FileDisposal, MessageReading, Poll, PollAction, PollAsked, Process, PulledSource};
pub(crate) use repeat::Repeat;
pub(crate) use retry::Retry;
pub(crate) use rule::{RULE, Rule, Task as RuleTask};
pub(crate) use sensor::{Emit, SENSOR, Sensor, SensorSource};
pub(crate) use test::{
    CASE_ERROR, ENFORCEMENT, ENFORCEMENT_OUTCOMES, EVENT_CASE, EXPECTED_END, EXPECTED_ERROR, EXPECTED_EVENT, EXPECTED_ITEM, EXPECTED_STEP,
    GIVEN, GIVEN_EVENT, GIVEN_MESSAGE, MOCK, RUN_CASE, RUN_WHAT, RUNS, STATUSES, STEP_STATUSES,
};
pub(crate) use timing::Period;
pub(crate) use trigger::{TRIGGER, Trigger};
pub(crate) use verify::Verify;
pub(crate) use wait::{CancelWhen, Wait};
pub(crate) use webhook::{Early as EarlyReply, ReplyContent, Webhook, WrittenWaitingReply as WaitingReply};
pub(crate) use workflow::{ForEach, StepTask, Undo, Workflow, WrittenStep};

use crate::diagnostics::{Code, Report};
use crate::fields::first_line;
use crate::read::{PackFile, PackSource};
use crate::source::SourceText;
use crate::yaml::{self, Content, Node, WithSpan};

/// The file that makes a folder a pack.
const PACK_FILE: &str = "pack.yaml";
/// The folders of a pack whose YAML files are read.
const FOLDERS: [&str; 6] = ["triggers", "sensors", "actions", "rules", "tests", "fake"];
/// The file that describes the fake vendor of a pack, in its folder.
const FAKE_FILE: &str = "server.yaml";

/// A pack with all its definitions by name.
pub(crate) struct WrittenPack {
    pub(crate) name: PackName,
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
    pub(crate) triggers: BTreeMap<String, LocatedDefinition<Trigger>>,
    pub(crate) sensors: BTreeMap<String, LocatedDefinition<Sensor>>,
    pub(crate) actions: BTreeMap<String, LocatedDefinition<Action>>,
    pub(crate) rules: BTreeMap<String, LocatedDefinition<Rule>>,
    /// Its test files, which are parsed further only when they are needed.
    pub(crate) tests: Vec<(SourceText, Node)>,
    /// Its fake vendor, which is parsed further only when it is needed.
    pub(crate) fake: Option<(SourceText, Node)>,
    /// All its files, used to look up the programs that actions start.
    pub(crate) files: BTreeMap<String, PackFile>,
}

/// A definition and its place.
pub(crate) struct LocatedDefinition<T> {
    pub(crate) file: SourceText,
    /// The path of its file in the pack.
    pub(crate) path: String,
    /// Where it begins: errors that concern it as a whole are reported there.
    pub(crate) start: Range<usize>,
    /// The definition; `None` if it has errors that have been reported.
    pub(crate) body: Option<T>,
}

impl<T> LocatedDefinition<T> {
    /// Returns where it is written.
    pub(crate) fn place(&self) -> FileLocation {
        FileLocation { file: self.path.clone(), line: self.file.place(self.start.start).line }
    }
}

/// Reads all files of a pack. Returns `None` if not even the pack's name is known. Errors in its tests go
/// into a separate report, because they do not prevent its installation.
pub(crate) fn read(source: &PackSource, report: &mut Report, tests: &mut Report) -> Option<WrittenPack> {
    let manifest = read_manifest(source, report);
    let name = match manifest.as_ref().and_then(|manifest| manifest.name.clone()) {
        Some(name) => name.value,
        // The files are read all the same, so that one run reports all their errors.
        None => source.origin.rsplit('/').next()?.parse().ok()?,
    };
    let mut pack = WrittenPack {
        digest: source.digest(),
        manifest: manifest.unwrap_or_else(|| Manifest::unknown(source)),
        triggers: BTreeMap::new(),
        sensors: BTreeMap::new(),
        actions: BTreeMap::new(),
        rules: BTreeMap::new(),
        tests: Vec::new(),
        fake: None,
        files: source.files.clone(),
        name,
    };
    for (path, file) in &source.files {
        let Some((folder, inside)) = path.split_once('/') else {
            if path != PACK_FILE && is_yaml(path) {
                report_unexpected_file(source, path, "a YAML file next to `pack.yaml` has no effect", report);
            }
            continue;
        };
        match folder {
            "triggers" => collect(source, path, inside, file, Some("triggers"), trigger::read, &mut pack.triggers, report),
            "sensors" => collect(source, path, inside, file, Some("sensors"), sensor::read, &mut pack.sensors, report),
            "actions" => collect(source, path, inside, file, Some("actions"), action::read, &mut pack.actions, report),
            "rules" => collect(source, path, inside, file, Some("rules"), rule::read, &mut pack.rules, report),
            "tests" => pack.tests.extend(read_test(source, path, inside, file, tests)),
            "fake" => pack.fake = read_fake(source, path, inside, file, tests).or(pack.fake),
            _ => {
                if let Some(near) = nearest(folder, FOLDERS).filter(|_| is_yaml(path)) {
                    let message = format!("the folder `{folder}` is not read");
                    let file = SourceText::new(display_path(source, path), "");
                    report.error(Code::UnexpectedFile, &file, 0..0, message).did_you_mean(Some(near));
                }
            }
        }
    }
    Some(pack)
}

/// The path of a pack's file as shown to users.
pub(crate) fn display_path(source: &PackSource, path: &str) -> String {
    if source.origin.is_empty() { path.to_owned() } else { format!("{}/{path}", source.origin) }
}

fn read_manifest(source: &PackSource, report: &mut Report) -> Option<Manifest> {
    let Some(file) = source.files.get(PACK_FILE) else {
        let file = SourceText::new(display_path(source, PACK_FILE), "");
        report
            .error(Code::NoPackFile, &file, 0..0, "the folder has no `pack.yaml`, so it is not a pack")
            .hint("name: my_pack\nversion: 0.1.0\ndescription: What it is for.");
        return None;
    };
    let text = decode(source, PACK_FILE, file, report)?;
    let node = yaml::parse(&text, report)?;
    manifest::read(node, &text, report)
}

fn decode(source: &PackSource, path: &str, file: &PackFile, report: &mut Report) -> Option<SourceText> {
    let shown = display_path(source, path);
    match std::str::from_utf8(&file.bytes) {
        Ok(text) => Some(SourceText::new(shown, text)),
        Err(error) => {
            let before = String::from_utf8_lossy(&file.bytes[..error.valid_up_to()]).into_owned();
            let end = before.len();
            let text = SourceText::new(shown, before);
            report.error(Code::NotUtf8, &text, end..end, "the file is not valid UTF-8 from here on").hint("save it as UTF-8");
            None
        }
    }
}

type ReadOne<T> = fn(Node, &SourceText, &mut Report) -> Option<T>;

#[allow(clippy::too_many_arguments, reason = "one call for each kind of file, all of the same form")]
fn collect<T>(
    source: &PackSource,
    path: &str,
    inside: &str,
    file: &PackFile,
    several: Option<&str>,
    read_one: ReadOne<T>,
    into: &mut BTreeMap<String, LocatedDefinition<T>>,
    report: &mut Report,
) {
    let Some(name) = definition_name(source, path, inside, report) else { return };
    let Some(text) = decode(source, path, file, report) else {
        into.insert(
            name,
            LocatedDefinition { file: SourceText::new(display_path(source, path), ""), path: path.to_owned(), start: 0..0, body: None },
        );
        return;
    };
    let Some(node) = yaml::parse(&text, report) else {
        into.insert(name, LocatedDefinition { file: text, path: path.to_owned(), start: 0..0, body: None });
        return;
    };
    if let Some((word, at)) = several.and_then(|word| Some((word, list_under(&node, word)?))) {
        report
            .error(Code::WrongType, &text, at, format!("`{word}` must be a mapping of names to definitions, not a list"))
            .hint(format!("name each definition:\n{word}:\n  first_one: {{ … }}"));
        into.insert(name, LocatedDefinition { file: text, path: path.to_owned(), start: 0..0, body: None });
        return;
    }
    match several.and_then(|word| take_several(&node, word)) {
        Some(SeveralIn { entries, strangers }) => {
            for stranger in strangers {
                let word = several.unwrap_or_default();
                report.error(
                    Code::UnknownField,
                    &text,
                    stranger.span,
                    format!("`{}` is not allowed next to `{word}`, which contains the definitions of this file", stranger.value),
                );
            }
            for (key, node) in entries {
                if is_name(&key.value) {
                    let body = read_one(node, &text, report);
                    insert(key.value, LocatedDefinition { file: text.clone(), path: path.to_owned(), start: key.span, body }, into, report);
                } else {
                    crate::schema::report_bad_name(&key.value, &key.span, &text, report);
                }
            }
        }
        None => {
            let start = match &node.content {
                Content::Map(entries) => entries.first().map_or(0..1, |first| first.key.span.clone()),
                _ => first_line(&node.span, &text),
            };
            let body = read_one(node, &text, report);
            insert(name, LocatedDefinition { file: text, path: path.to_owned(), start, body }, into, report);
        }
    }
}

/// Finds a list in place of the mapping of definitions in a file that holds several. Returns the place of its
/// name.
fn list_under(node: &Node, word: &str) -> Option<Range<usize>> {
    let Content::Map(fields) = &node.content else { return None };
    let several = fields.iter().find(|entry| entry.key.value == word)?;
    matches!(several.value.content, Content::List(_)).then(|| several.key.span.clone())
}

struct SeveralIn {
    entries: Vec<(WithSpan<String>, Node)>,
    strangers: Vec<WithSpan<String>>,
}

/// Takes the definitions of a file that holds several: `rules: { a: …, b: … }`.
fn take_several(node: &Node, word: &str) -> Option<SeveralIn> {
    let Content::Map(fields) = &node.content else { return None };
    let several = fields.iter().find(|entry| entry.key.value == word)?;
    let Content::Map(entries) = &several.value.content else { return None };
    Some(SeveralIn {
        entries: entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect(),
        strangers: fields.iter().filter(|entry| entry.key.value != word).map(|entry| entry.key.clone()).collect(),
    })
}

fn insert<T>(name: String, defined: LocatedDefinition<T>, into: &mut BTreeMap<String, LocatedDefinition<T>>, report: &mut Report) {
    if let Some(first) = into.get(&name) {
        let place = first.file.place(first.start.start);
        report.error(Code::DuplicateDefinition, &defined.file, defined.start, format!("`{name}` is defined twice")).hint(format!(
            "the first definition is at {}:{}; rename one of the two",
            first.file.path(),
            place.line
        ));
        return;
    }
    into.insert(name, defined);
}

/// Returns the name of the definition in a file of one of the folders; `None` if the file does not hold a
/// definition.
fn definition_name(source: &PackSource, path: &str, inside: &str, report: &mut Report) -> Option<String> {
    let is_nested = inside.contains('/');
    let folder = path.split('/').next().unwrap_or_default();
    if !is_yaml(path) {
        // Programs are stored next to the actions and the sensors that start them. The other folders hold only definitions.
        if !["actions", "sensors"].contains(&folder) && !path.ends_with(".md") {
            report_unexpected_file(source, path, &format!("`{folder}/` can contain only YAML files"), report);
        }
        return None;
    }
    if is_nested {
        // An action's program may have a folder of its own with any content.
        if folder != "actions" {
            report_unexpected_file(source, path, &format!("files in subfolders of `{folder}/` are not read"), report);
        }
        return None;
    }
    let Some(name) = inside.strip_suffix(".yaml") else {
        report_unexpected_file(source, path, "definitions must be in files that end in `.yaml`", report);
        return None;
    };
    if !is_name(name) {
        let file = SourceText::new(display_path(source, path), "");
        crate::schema::report_bad_name(name, &(0..0), &file, report);
        return None;
    }
    Some(name.to_owned())
}

/// Reads a pack's tests as YAML. Their content is examined only when a pack is checked, not when it is
/// already installed.
fn read_test(source: &PackSource, path: &str, inside: &str, file: &PackFile, report: &mut Report) -> Option<(SourceText, Node)> {
    if !inside.ends_with(".test.yaml") || inside.contains('/') {
        if is_yaml(path) {
            report_unexpected_file(source, path, "tests must be in `tests/<name>.test.yaml`", report);
        }
        return None;
    }
    let text = decode(source, path, file, report)?;
    let node = yaml::parse(&text, report)?;
    Some((text, node))
}

/// Reads the fake vendor of a pack as YAML.
fn read_fake(source: &PackSource, path: &str, inside: &str, file: &PackFile, report: &mut Report) -> Option<(SourceText, Node)> {
    if inside != FAKE_FILE {
        if is_yaml(path) {
            report_unexpected_file(source, path, "the fake vendor must be in `fake/server.yaml`", report);
        }
        return None;
    }
    let text = decode(source, path, file, report)?;
    let node = yaml::parse(&text, report)?;
    Some((text, node))
}

fn report_unexpected_file(source: &PackSource, path: &str, message: &str, report: &mut Report) {
    let file = SourceText::new(display_path(source, path), "");
    report.error(Code::UnexpectedFile, &file, 0..0, message).hint("move or rename it; a file that is not read is never silently ignored");
}

fn is_yaml(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    lower.ends_with(".yaml") || lower.ends_with(".yml")
}
