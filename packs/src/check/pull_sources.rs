//! Checks the sources that the node reads itself: their programs and requests, and the types of what the
//! expressions of their `emits` read.

use std::sync::Arc;

use ensue_engine::catalog::{
    self, AfterFile, Decode, FileContent, FileSource, HttpRequest, PollCursor, PollSource, PollTarget, PolledAction, ProcessSource, Source,
};
use ensue_expression::{Expression, MapType, Occurrence, Others, Template, ValueType};

use super::Checking;
use super::actions;
use super::connections;
use super::expression_findings::Taker;
use super::literals::optional;
use super::parameters;
use super::refs::action_named;
use super::roots::config_type;
use super::schemas::{ValueForm, type_of};
use super::scope::{Holds, Scope};
use crate::diagnostics::{Code, Report};
use crate::fields::first_line;
use crate::source::SourceText;
use crate::syntax::{self, FileDisposal, MessageReading, PollAction, PollAsked, PulledSource, WrittenRun};
use crate::yaml::{Content, Node};

/// The folder with the files of sensors.
const FOLDER: &str = "sensors";

/// Compiles a source that the node reads itself.
pub(super) fn source(
    checking: &mut Checking<'_>,
    file: &SourceText,
    (pulled, reading): (&PulledSource, &MessageReading),
    emits: &[syntax::Emit],
    report: &mut Report,
) -> Option<Source> {
    if let (Some(at), PulledSource::File(watched)) = (&reading.decode_at, pulled)
        && watched.decode.is_some()
        && (reading.decode.is_some() || watched.content == FileContent::Nothing)
    {
        let message = "`decode` is only for lines here: `read` states the form of the whole content";
        report.error(Code::FieldOutOfPlace, file, at.clone(), message).hint("remove it, or use `read: lines`");
        return None;
    }
    if let (Some(at), PulledSource::Poll(poll)) = (&reading.decode_at, pulled)
        && matches!(poll.asked, PollAsked::Action(_))
    {
        let message = "`decode` is only for the answers of a server here: the result of an action is JSON";
        report.error(Code::FieldOutOfPlace, file, at.clone(), message).hint("remove it");
        return None;
    }
    if let (Some(at), Some(charset)) = (&reading.decode_at, &reading.text_decoding.charset)
        && is_in_lines(pulled)
        && !ensue_content::is_ascii_compatible(charset)
    {
        let message = format!("lines cannot be read in `{charset}`, which is not compatible with ASCII");
        report
            .error(Code::InvalidValue, file, at.clone(), message)
            .hint("write UTF-8 at the source, or read the whole file with `read: text`");
        return None;
    }
    let decode = decode(pulled, reading);
    let reading = catalog::Reading {
        decode,
        text_decoding: reading.text_decoding.clone(),
        schema: reading.schema.clone(),
        poison: reading.poison,
        on_poison: reading.on_poison,
    };
    match pulled {
        PulledSource::Process(process) => self::process(checking, file, process, reading, report).map(|one| Source::Process(Arc::new(one))),
        PulledSource::Poll(poll) => self::poll(checking, file, poll, (reading, emits), report).map(|one| Source::Poll(Arc::new(one))),
        PulledSource::File(watched) => self::file(checking, file, watched, reading, report).map(|one| Source::File(Arc::new(one))),
    }
}

/// Returns true if each line is a message.
fn is_in_lines(pulled: &PulledSource) -> bool {
    match pulled {
        PulledSource::Process(_) => true,
        PulledSource::Poll(_) => false,
        PulledSource::File(watched) => watched.content.is_in_lines(),
    }
}

/// Adds what the expressions of `emits` read.
pub(super) fn scope<'a>(scope: Scope<'a>, pulled: &PulledSource, reading: &MessageReading) -> Scope<'a> {
    let message = match (&reading.schema, decode(pulled, reading)) {
        (Some(schema), _) => type_of(schema, ValueForm::Sent, "the fields of the message", None),
        (None, Decode::Json) => ValueType::json(),
        (None, Decode::Text) => ValueType::text(),
    };
    match pulled {
        PulledSource::Process(_) => scope.with("line", message),
        PulledSource::Poll(_) => {
            // An item is a part of the answer, so it can be any value even if the answer is a text.
            let item = if reading.schema.is_some() { message } else { ValueType::json() };
            scope.with("item", item).with("index", ValueType::integer()).with("page", ValueType::json())
        }
        PulledSource::File(watched) => {
            let scope = scope.with("file", ValueType::map(about_file(watched.content, message.clone())));
            if watched.content.is_in_lines() { scope.with("line", message) } else { scope }
        }
    }
}

fn decode(pulled: &PulledSource, reading: &MessageReading) -> Decode {
    let otherwise = match pulled {
        PulledSource::Process(_) | PulledSource::Poll(_) => Decode::Json,
        PulledSource::File(watched) => watched.decode.unwrap_or(Decode::Text),
    };
    reading.decode.unwrap_or(otherwise)
}

fn about_file(content: FileContent, body: ValueType) -> MapType {
    let fields = MapType::new(Others::None)
        .with_wording("the fields of `file`", None)
        .with("path", ValueType::text(), Occurrence::Always)
        .with("name", ValueType::text(), Occurrence::Always)
        .with("bytes", ValueType::integer(), Occurrence::Always)
        .with("change", ValueType::one_of(["created", "modified", "removed"]), Occurrence::Always);
    match content {
        // A file that is gone has no content.
        FileContent::Whole => fields.with("sha256", ValueType::text(), Occurrence::Sometimes).with("body", body, Occurrence::Sometimes),
        FileContent::Lines | FileContent::Tail => fields.with("line", ValueType::integer(), Occurrence::Sometimes),
        FileContent::Nothing => fields,
    }
}

fn process(
    checking: &Checking<'_>,
    file: &SourceText,
    written: &syntax::Process,
    reading: catalog::Reading,
    report: &mut Report,
) -> Option<ProcessSource> {
    let scope = Scope::new(file).with("config", config_type(checking)).with_keys(checking.listed_keys());
    let beside = actions::beside(checking, FOLDER, &written.command);
    let command = actions::command(checking, FOLDER, file, &written.command, report);
    let input = written.input.as_ref().map(|node| scope.template(node, report));
    let env = actions::variables(&written.env, &scope, report).inspect(|compiled| {
        for ((_, template), entry) in compiled.iter().zip(&written.env) {
            actions::note_keys(template, &entry.value, file, report);
        }
    });
    Some(ProcessSource {
        command: command?,
        beside,
        input: optional(input)?,
        env: env?,
        grace: written.grace,
        restart: written.restart,
        reading,
        pack: checking.pack.digest,
    })
}

fn poll(
    checking: &mut Checking<'_>,
    file: &SourceText,
    written: &syntax::Poll,
    (reading, emits): (catalog::Reading, &[syntax::Emit]),
    report: &mut Report,
) -> Option<PollSource> {
    let settings = config_type(checking);
    let config = || Scope::new(file).with("config", settings.clone());
    let asking = config().with("page", ValueType::json());
    let asking = if written.cursor.is_some() { asking.with("cursor", ValueType::json()) } else { asking };
    let (asked, result) = match &written.asked {
        PollAsked::Http(http) => (request(checking, file, http, &asking, report).map(|request| PollTarget::Http(Arc::new(request))), None),
        PollAsked::Action(action) => {
            let (action, result) = polled_action(checking, file, action, &asking, report).unzip();
            (action.map(PollTarget::Action), Some(result.unwrap_or_else(ValueType::json)))
        }
    };
    let answered = config().with("page", ValueType::json());
    let answered = match &result {
        Some(result) => answered.with("result", result.clone()),
        None => {
            let texts = ValueType::map(MapType::new(Others::Are(ValueType::text())));
            let body = match reading.decode {
                Decode::Json => ValueType::json(),
                Decode::Text => ValueType::text(),
            };
            answered.with("body", body).with("headers", texts).with("status", ValueType::integer())
        }
    };
    let items = written.items.as_ref().map(|node| list(&answered, node, file, report));
    let found = || ValueType::list(ValueType::json());
    let after = answered.with("items", found());
    let next_page = written.next_page.as_ref().map(|node| after.expression(node, "`next_page`", report).map(|(next, _)| next));
    let cursor = written.cursor.as_ref().map(|cursor| {
        let start = config().expression(&cursor.start, "`start`", report);
        let moving = config().with("items", found()).with("cursor", ValueType::json());
        let moving = match &result {
            Some(result) => moving.with("result", result.clone()),
            None => moving,
        };
        let next = moving.expression(&cursor.next, "`next`", report);
        start.zip(next).map(|((start, _), (next, _))| PollCursor { start, next })
    });
    let only_new = written.only_new.as_ref().map(|node| {
        let scope = config().with("item", ValueType::json());
        scope.expression(node, "`only_new`", report).map(|(id, _)| id)
    });
    let has_identity = written.cursor.is_some() || written.only_new.is_some() || emits.iter().all(|emit| emit.dedupe.is_some());
    if !has_identity {
        let message = "each poll makes events of all items again: it does not know which ones are new";
        report
            .warning(Code::PollRepeats, file, written.at.clone(), message)
            .hint("add `only_new: item.id`, or a `cursor` that the request reads, or `dedupe` to each item of `emits`");
    }
    if let Some(cursor) = &written.cursor {
        warn_of_unread_cursor(&asking, written, cursor, file, report);
    }
    Some(PollSource {
        times: written.times.clone(),
        asked: asked?,
        items: optional(items)?,
        next_page: optional(next_page)?,
        pages_max: written.pages_max,
        items_max: written.items_max,
        cursor: optional(cursor)?,
        only_new: optional(only_new)?,
        remember: written.remember,
        first: written.first,
        reading,
    })
}

/// Compiles `items`, which is a list.
fn list(scope: &Scope<'_>, node: &Node, file: &SourceText, report: &mut Report) -> Option<Expression> {
    let (expression, value) = scope.expression(node, "`items`", report)?;
    if value.is_unknown_or_nothing() || ValueType::list(ValueType::anything()).overlaps(&value.to_json_type()) {
        return Some(expression);
    }
    report
        .error(Code::TypeMismatch, file, first_line(&node.span, file), format!("`items` must be a list, not {value}"))
        .hint("return the list of items in the answer, for example `body.items`");
    None
}

/// Warns of a cursor that the request does not read, so that each poll returns the same items.
fn warn_of_unread_cursor(scope: &Scope<'_>, written: &syntax::Poll, cursor: &syntax::Cursor, file: &SourceText, report: &mut Report) {
    let (asks, all): (_, Vec<&Node>) = match &written.asked {
        PollAsked::Action(action) => ("action", action.with.iter().collect()),
        PollAsked::Http(http) => {
            let body = match &http.body {
                syntax::WrittenBody::None => Vec::new(),
                syntax::WrittenBody::Json(node) | syntax::WrittenBody::Text(node) | syntax::WrittenBody::Form(node) => vec![node],
                syntax::WrittenBody::Either { json, text } => vec![json, text],
            };
            let rest = [Some(&http.url.node), http.method.as_ref(), http.headers.as_ref(), http.query.as_ref()];
            let instead = http.without_connection.iter();
            let instead = instead.flat_map(|written| [Some(&written.url.node), written.headers.as_ref(), written.json.as_ref()]);
            ("request", rest.into_iter().chain(instead).flatten().chain(body).collect())
        }
    };
    let mut reads = all.into_iter().flat_map(|node| scope.reads(node, Holds::Value, report));
    if reads.any(|(path, _)| path.segments.first().is_some_and(|root| root == "cursor")) || written.only_new.is_some() {
        return;
    }
    report
        .warning(
            Code::CursorUnread,
            file,
            first_line(&cursor.next.span, file),
            format!("the {asks} does not read `cursor`, so each poll gets the same items"),
        )
        .hint(match &written.asked {
            PollAsked::Http(_) => "pass it on, for example `query: { since: \"${{ cursor }}\" }`",
            PollAsked::Action(_) => "pass it on, for example `with: { since: \"${{ cursor }}\" }`",
        });
}

/// Checks the action that a poll runs. Returns it with the type of its result.
fn polled_action(
    checking: &mut Checking<'_>,
    file: &SourceText,
    written: &PollAction,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<(PolledAction, ValueType)> {
    let name = &written.action;
    let own = checking.pack.name.as_str();
    if name.value.split_once('.').is_some_and(|(pack, _)| pack != own) && !name.value.contains("${{") {
        report
            .error(
                Code::InvalidRef,
                file,
                name.span.clone(),
                format!("`poll` runs only actions of its own pack, and `{}` is in another one", name.value),
            )
            .hint("write an action in the folder `actions` of this pack");
        return None;
    }
    let (action, body) = action_named(checking, file, name, "sensor", report)?;
    // An action with errors has been reported.
    let body = body?;
    let unfit = match &body.run {
        WrittenRun::Process { .. } | WrittenRun::Shell { .. } | WrittenRun::Http(_) if body.has_token => {
            Some("it has `token`, which only the program of an execution gets")
        }
        WrittenRun::Process { .. } | WrittenRun::Shell { .. } | WrittenRun::Http(_) => None,
        WrittenRun::Mail(_) | WrittenRun::Emit { .. } | WrittenRun::Workflow(_) | WrittenRun::Builtin { .. } => {
            Some("a poll runs actions with `process`, `shell` or `http`")
        }
    };
    if let Some(why) = unfit {
        report
            .error(Code::InvalidRef, file, name.span.clone(), format!("`poll` cannot run `{action}`: {why}"))
            .hint("write an action that reads and returns a result, and does nothing else");
        return None;
    }
    let parameters = body.parameters.as_ref();
    connections::check_passed(checking, written.with.as_ref(), parameters, file, report);
    let with = parameters::with(file, name, written.with.as_ref(), parameters, scope, report)?;
    let result =
        body.result.as_ref().map_or_else(ValueType::json, |schema| type_of(schema, ValueForm::Sent, "the fields of the result", None));
    Some((PolledAction { action, with }, result))
}

fn request(
    checking: &Checking<'_>,
    file: &SourceText,
    written: &syntax::Http,
    plain: &Scope<'_>,
    report: &mut Report,
) -> Option<HttpRequest> {
    let with_keys = plain.clone().with_keys(checking.listed_keys());
    super::http::request(checking, (file, written), None, (plain, &with_keys), report)
}

fn file(
    checking: &Checking<'_>,
    file: &SourceText,
    written: &syntax::FileWatch,
    reading: catalog::Reading,
    report: &mut Report,
) -> Option<FileSource> {
    let scope = Scope::new(file).with("config", config_type(checking));
    let taker = Taker { takes: ValueType::text(), name: "`path`".to_owned() };
    let path = scope.template_for(&written.path, Some(&taker), report);
    let is_fine = path.as_ref().is_none_or(|path| is_path(path, &written.path, file, report));
    let after = match &written.after {
        FileDisposal::Keep => AfterFile::Keep,
        FileDisposal::Delete => AfterFile::Delete,
        FileDisposal::Move(folder) => {
            let is_name = !matches!(&*folder.value, "" | "." | "..") && !folder.value.contains(['/', '\0']);
            if !is_name && !is_plain_path(&folder.value) {
                report
                    .error(Code::InvalidValue, file, folder.span.clone(), format!("files cannot be moved to `{}`", folder.value))
                    .hint("write the name of a folder next to the file, for example `done`, or an absolute path");
                return None;
            }
            if path.as_ref().is_some_and(Template::is_literal) && is_folder_of(&folder.value, &written.path) {
                let message = format!("files cannot be moved to `{}`: they are read from there", folder.value);
                report
                    .error(Code::InvalidValue, file, folder.span.clone(), message)
                    .hint("write the name of a folder next to the file, for example `done`, or another absolute path");
                return None;
            }
            AfterFile::Move(folder.value.clone())
        }
    };
    let path = path.filter(|_| is_fine)?;
    Some(FileSource {
        path,
        on: written.on.clone(),
        settle: written.settle,
        content: written.content,
        start: written.start,
        rescan: written.rescan,
        after,
        reading,
    })
}

/// Returns true if a path is absolute as far as it is written out, and has no `.` or `..` in it; reports it if not.
fn is_path(template: &Template, node: &Node, file: &SourceText, report: &mut Report) -> bool {
    let Content::Text { value, .. } = &node.content else { return true };
    let is_computed = !template.is_literal() && value.starts_with("${{");
    let literal = value.split("${{").next().unwrap_or_default();
    if is_computed || (literal.starts_with('/') && !literal.split('/').any(|part| part == "." || part == "..")) {
        return true;
    }
    report
        .error(Code::InvalidValue, file, first_line(&node.span, file), format!("`{value}` is not an absolute path"))
        .hint("write the whole path without `.` and `..`, for example `/srv/inbox/*.csv`, or `${{ config.folder }}/*.csv`");
    false
}

/// Returns true if the files of a path, which is written out, are in a folder, or in any folder below it.
fn is_folder_of(folder: &str, path: &Node) -> bool {
    let Content::Text { value, .. } = &path.content else { return false };
    let parts: Vec<&str> = value.split('/').collect();
    let deep = parts.iter().position(|part| *part == "**").unwrap_or(parts.len() - 1);
    let above = parts.get(..deep).unwrap_or_default();
    folder.starts_with('/') && folder.trim_end_matches('/').split('/').eq(above.iter().copied())
}

fn is_plain_path(text: &str) -> bool {
    let parts = || text.trim_end_matches('/').split('/').skip(1);
    text.starts_with('/') && parts().count() > 0 && parts().all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
}
