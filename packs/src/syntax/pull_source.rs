//! `process`, `poll` and `file` of a sensor: the sources that the node reads itself, and how their messages are
//! read.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use ensue_engine::catalog::{
    Decode, FileChange, FileContent, FileStart, FirstPoll, OnPoison, PAGES_MAX, POISON_MAX, POLL_ITEMS_MAX, PoisonLimit, PollMemory,
    PollTimes, REMEMBER_MAX, REMEMBER_MIN, Restart, Schema, TextDecoding,
};
use ensue_engine::schedule::plan::When;

use super::action;
use super::http::{self, Http};
use super::schedule;
use super::text_decoding::{INVALID_WORDS, read_text_decoding};
use super::timing::read_some_time;
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, text, wrong_type};
use crate::schema;
use crate::shape::{FieldConstraint, Form, Kind, Naming, Shape, optional_field, required_field, words};
use crate::source::SourceText;
use crate::yaml::{Content, Node, WithSpan, YamlEntry};

/// The sources that the node reads itself.
pub(super) const PULLED: [&str; 3] = ["process", "poll", "file"];
/// The fields beside such a source that say how its messages are read.
pub(super) const READING: [&str; 4] = ["decode", "schema", "poison", "on_poison"];

const DECODES: [(&str, Decode); 2] = [("json", Decode::Json), ("text", Decode::Text)];
pub(super) const DECODE_WORDS: [&str; 2] = words(&DECODES);
const ON_POISONS: [(&str, OnPoison); 2] = [("letter", OnPoison::Letter), ("stop", OnPoison::Stop)];
pub(super) const ON_POISON_WORDS: [&str; 2] = words(&ON_POISONS);
const RESTARTS: [(&str, Restart); 2] = [("always", Restart::Always), ("on_failure", Restart::OnFailure)];
const RESTART_WORDS: [&str; 2] = words(&RESTARTS);
const FIRSTS: [(&str, FirstPoll); 2] = [("skip", FirstPoll::Skip), ("emit", FirstPoll::Emit)];
const FIRST_WORDS: [&str; 2] = words(&FIRSTS);
const CHANGES: [(&str, FileChange); 3] =
    [("created", FileChange::Created), ("modified", FileChange::Modified), ("removed", FileChange::Removed)];
const READS: [(&str, FileReads); 4] =
    [("none", FileReads::Nothing), ("json", FileReads::Json), ("text", FileReads::Text), ("lines", FileReads::Lines)];
const READ_WORDS: [&str; 4] = words(&READS);
const STARTS: [(&str, FileStart); 2] = [("now", FileStart::Now), ("all", FileStart::All)];
const START_WORDS: [&str; 2] = words(&STARTS);

/// The default time that a program has to end after it was asked to stop.
const GRACE_DEFAULT: Duration = Duration::from_secs(10);
/// The default of `max_pages`.
const PAGES_DEFAULT: u32 = 100;
/// The default time for which a file must stay the same.
const SETTLE_DEFAULT: Duration = Duration::from_secs(2);
/// The default time between two looks at all files, and the shortest one.
const RESCAN_DEFAULT: Duration = Duration::from_secs(300);
const RESCAN_MIN: Duration = Duration::from_secs(1);

pub(super) static PROCESS: Shape = Shape {
    what: "`process`",
    fields: &[
        required_field(
            "command",
            "command: [./watch.py]",
            Kind::Texts { of: Form::Argument, least: 1 },
            "The program, then its arguments. `./x` is a file next to the sensor's file. A bare name is looked up in the node's PATH. It \
             cannot contain `${{ }}`.",
        ),
        optional_field(
            "input",
            Kind::Value,
            "What the program gets in the first line of its standard input, as JSON. The default is `{}`.",
        ),
        optional_field(
            "env",
            Kind::Mapping { names: Form::Variable, of: &Kind::Scalar },
            "Environment variables, by name. Other programs of the same user can see them, so pass a secret with `input` instead.",
        ),
        optional_field(
            "grace",
            Kind::Text(Form::Duration),
            "How long the program may keep running after it was asked to stop. The default is 10 seconds.",
        ),
        optional_field(
            "restart",
            Kind::Choice(&RESTART_WORDS),
            "When the program is started again after it ended: `always` (default), or `on_failure`, with which the sensor is done once \
             the program ends with code 0.",
        ),
    ],
    ..Shape::BARE
};

pub(super) static POLL: Shape = Shape {
    what: "`poll`",
    fields: &[
        optional_field("every", Kind::Text(Form::SomeTime), "How long it is from one poll to the next, at least one second."),
        optional_field("cron", Kind::Text(Form::Any), "When to poll: a cron expression, instead of `every`."),
        optional_field("timezone", Kind::Text(Form::Any), "The time zone of `cron`, by its name in the IANA database. The default is UTC."),
        optional_field(
            "http",
            Kind::Fields(&http::POLLED_HTTP),
            "The request, as for the runner `http`. It reads `config`, `keys`, `cursor` and `page`.",
        ),
        optional_field(
            "action",
            Kind::Text(Form::Ref),
            "The action to run instead of a request: one of the pack, with `process`, `shell` or `http`. Its runs are not in the log.",
        ),
        optional_field(
            "with",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "The parameters of the action. They read `config`, `cursor` and `page`.",
        ),
        optional_field(
            "items",
            Kind::Expression,
            "An expression that returns the list of items of a page. It reads `body`, `headers` and `status` of the answer, or `result` of \
             the action, and `page` and `config`. Without it, the body or the result is the only item.",
        ),
        optional_field(
            "next_page",
            Kind::Expression,
            "An expression that returns what `page` is in the next request; null or an empty text ends the poll. It reads the same names \
             as `items`, and `items` itself. Without it, a poll is one request.",
        ),
        optional_field(
            "max_pages",
            Kind::Integer { from: 1, to: PAGES_MAX as i64 },
            "The maximum number of pages of a poll. A poll with more pages fails. The default is 100.",
        ),
        optional_field(
            "max_items",
            Kind::Integer { from: 1, to: POLL_ITEMS_MAX as i64 },
            "The maximum number of items of a poll. A poll with more items fails. The default is 10,000.",
        ),
        optional_field("cursor", Kind::Fields(&CURSOR), "A value that each poll passes to the next one."),
        optional_field(
            "only_new",
            Kind::Expression,
            "An expression that returns the id of an `item`. An item whose id was seen before makes no event.",
        ),
        optional_field(
            "remember",
            Kind::Fields(&REMEMBER),
            "How long the ids of `only_new` are remembered that answers no longer have. Those of the last poll always are.",
        ),
        optional_field(
            "first",
            Kind::Choice(&FIRST_WORDS),
            "What happens to the items of the sensor's first poll: `skip` (default), they are only remembered; `emit`, they make events.",
        ),
    ],
    later: &[],
    between: &[
        FieldConstraint::ExactlyOneOf(&["every", "cron"]),
        FieldConstraint::OnlyBeside { field: "timezone", other: "cron" },
        FieldConstraint::ExactlyOneOf(&["http", "action"]),
        FieldConstraint::OnlyBeside { field: "with", other: "action" },
        FieldConstraint::OnlyBeside { field: "remember", other: "only_new" },
    ],
};

static REMEMBER: Shape = Shape {
    what: "`remember`",
    fields: &[
        optional_field(
            "ids",
            Kind::Integer { from: 1, to: POLL_ITEMS_MAX as i64 },
            "The maximum number of ids. Those that are gone for the longest time are forgotten first. The default is 10,000.",
        ),
        optional_field(
            "for",
            Kind::Text(Form::SomeTime),
            "For how long, from 10 minutes to 365 days. The default is a day, or ten polls if they take longer.",
        ),
    ],
    ..Shape::BARE
};

static CURSOR: Shape = Shape {
    what: "`cursor`",
    fields: &[
        required_field("start", "start: \"''\"", Kind::Expression, "An expression for the value in the first poll. It reads `config`."),
        required_field(
            "next",
            "next: items.map(i, i.updated_at).max()",
            Kind::Expression,
            "An expression for the value after a poll that found items. It reads `items` (of all pages), `cursor` and `config`. If an \
             action is polled, it can read the `result` of the last page; then it is computed after each poll.",
        ),
    ],
    ..Shape::BARE
};

pub(super) static FILE: Shape = Shape {
    what: "`file`",
    fields: &[
        required_field(
            "path",
            "path: /srv/inbox/*.csv",
            Kind::Text(Form::Any),
            "The absolute path of the files. `*` and `?` stand for parts of a name, and `**` for any folders. It may read `config`.",
        ),
        optional_field(
            "on",
            Kind::TextOrTexts(Form::FileChange),
            "The changes that make events: `created`, `modified`, `removed`, or a list of them. The default is `created` and `modified`.",
        ),
        optional_field(
            "settle",
            Kind::Text(Form::Duration),
            "How long a file must stay the same before it is read. The default is 2 seconds.",
        ),
        optional_field(
            "read",
            Kind::Choice(&READ_WORDS),
            "What is read of a file: `none` (default), `json` or `text` for its content, `lines` for one event for each line.",
        ),
        optional_field("tail", Kind::Boolean, "Whether to read the lines that are appended to the files, one event for each line."),
        optional_field(
            "start",
            Kind::Choice(&START_WORDS),
            "What happens to the files that are there when the sensor starts for the first time: `now` (default), they are only \
             remembered; `all`, they make events.",
        ),
        optional_field(
            "rescan",
            Kind::Text(Form::SomeTime),
            "How often all files are looked at, in addition to the changes that the system reports. The default is 5 minutes.",
        ),
        optional_field(
            "after",
            Kind::ChoiceOrFields(&["none", "delete"], &MOVE),
            "What happens to a file after its events are in the log: `none` (default), `delete`, or `{ move: FOLDER }`.",
        ),
    ],
    later: &[],
    between: &[FieldConstraint::NotBoth("read", "tail"), FieldConstraint::NotBoth("after", "tail"), FieldConstraint::NotBoth("on", "tail")],
};

static MOVE: Shape = Shape {
    what: "`after`",
    fields: &[required_field(
        "move",
        "move: done",
        Kind::Text(Form::Any),
        "The folder that files are moved to: a name next to the file, or an absolute path.",
    )],
    ..Shape::BARE
};

pub(super) static DECODE: Shape = Shape {
    what: "`decode`",
    fields: &[
        optional_field(
            "form",
            Kind::Choice(&DECODE_WORDS),
            "The form of the messages: `json` or `text`. The default is that of the source.",
        ),
        optional_field(
            "charset",
            Kind::Text(Form::Any),
            "The charset of the messages, for example `windows-1252`; of a poll, that of answers that name none. The default is UTF-8.",
        ),
        optional_field(
            "invalid",
            Kind::Choice(&INVALID_WORDS),
            "What happens to a message with bytes that are not valid: `reject` (default), it becomes a dead letter; `replace`, U+FFFD takes \
             their place.",
        ),
    ],
    ..Shape::BARE
};

pub(super) static POISON: Shape = Shape {
    what: "`poison`",
    fields: &[
        required_field(
            "limit",
            "limit: 100",
            Kind::Integer { from: 0, to: POISON_MAX as i64 },
            "How many messages may be refused within `per`, with none that is accepted, before the sensor is shown as failing.",
        ),
        required_field("per", "per: 1m", Kind::Text(Form::SomeTime), "The period."),
    ],
    ..Shape::BARE
};

/// What a file is read as.
#[derive(Clone, Copy)]
enum FileReads {
    Nothing,
    Json,
    Text,
    Lines,
}

/// A source that the node reads itself.
pub(crate) enum PulledSource {
    Process(Process),
    Poll(Box<Poll>),
    File(Box<File>),
}

pub(crate) struct Process {
    pub(crate) command: Vec<WithSpan<String>>,
    pub(crate) input: Option<Node>,
    pub(crate) env: Vec<YamlEntry>,
    pub(crate) grace: Duration,
    pub(crate) restart: Restart,
}

pub(crate) struct Poll {
    pub(crate) times: PollTimes,
    pub(crate) asked: PollAsked,
    pub(crate) items: Option<Node>,
    pub(crate) next_page: Option<Node>,
    pub(crate) pages_max: u32,
    pub(crate) items_max: u32,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) only_new: Option<Node>,
    pub(crate) remember: PollMemory,
    pub(crate) first: FirstPoll,
    /// Where it is written, for a warning about the whole.
    pub(crate) at: Range<usize>,
}

/// What returns the pages of a poll.
pub(crate) enum PollAsked {
    Http(Box<Http>),
    Action(PollAction),
}

/// The action of a poll.
pub(crate) struct PollAction {
    pub(crate) action: WithSpan<String>,
    pub(crate) with: Option<Node>,
}

pub(crate) struct Cursor {
    pub(crate) start: Node,
    pub(crate) next: Node,
}

pub(crate) struct File {
    pub(crate) path: Node,
    pub(crate) on: BTreeSet<FileChange>,
    pub(crate) settle: Duration,
    pub(crate) content: FileContent,
    /// The form of its content, if `read` determines it.
    pub(crate) decode: Option<Decode>,
    pub(crate) start: FileStart,
    pub(crate) rescan: Duration,
    pub(crate) after: FileDisposal,
}

/// What happens to a file after its messages are in the log.
pub(crate) enum FileDisposal {
    Keep,
    Delete,
    Move(WithSpan<String>),
}

/// How the messages of a source are read.
pub(crate) struct MessageReading {
    /// The form; `None` for the source's default.
    pub(crate) decode: Option<Decode>,
    pub(crate) text_decoding: TextDecoding,
    /// Where `decode` is written, if it is.
    pub(crate) decode_at: Option<Range<usize>>,
    pub(crate) schema: Option<Schema>,
    pub(crate) poison: PoisonLimit,
    pub(crate) on_poison: OnPoison,
}

pub(super) fn read(entry: YamlEntry, file: &SourceText, report: &mut Report) -> Option<PulledSource> {
    match entry.key.value.as_str() {
        "process" => read_process(entry.value, file, report).map(PulledSource::Process),
        "poll" => {
            let at = entry.key.span;
            read_poll(entry.value, at, file, report).map(|poll| PulledSource::Poll(Box::new(poll)))
        }
        _ => read_file(entry.value, file, report).map(|file| PulledSource::File(Box::new(file))),
    }
}

/// Reads the fields beside a source that say how its messages are read.
pub(super) fn read_reading(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<MessageReading> {
    let file = fields.file;
    let decode_at = fields.has("decode").then(|| fields.span_of("decode"));
    let (decode, text_decoding) = read_decode(fields, report)?;
    let schema = match fields.take("schema") {
        Some(entry) => Some(schema::read(entry.value, Naming::Theirs, file, report)?),
        None => None,
    };
    let poison = match fields.take("poison") {
        Some(entry) => read_poison(entry.value, file, report)?,
        None => PoisonLimit::default(),
    };
    let on_poison = fields.choice("on_poison", &ON_POISONS, report).unwrap_or_default();
    Some(MessageReading { decode, text_decoding, decode_at, schema, poison, on_poison })
}

fn read_decode(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<(Option<Decode>, TextDecoding)> {
    let Some(node) = fields.take_mapping("decode") else {
        return Some((fields.choice("decode", &DECODES, report), TextDecoding::default()));
    };
    let mut fields = FieldReader::open(node, &DECODE, fields.file, report)?;
    let form = fields.choice("form", &DECODES, report);
    Some((form, read_text_decoding(&mut fields, report)?))
}

fn read_poison(node: Node, file: &SourceText, report: &mut Report) -> Option<PoisonLimit> {
    let mut fields = FieldReader::open(node, &POISON, file, report)?;
    for name in ["limit", "per"] {
        if !fields.has(name) {
            fields.take_required(name, report);
        }
    }
    let limit = fields.integer("limit", report).and_then(|limit| u32::try_from(limit).ok());
    let per = if fields.has("per") { read_some_time("per", &mut fields, report) } else { None };
    Some(PoisonLimit { limit: limit?, per: per? })
}

fn read_process(node: Node, file: &SourceText, report: &mut Report) -> Option<Process> {
    let mut fields = FieldReader::open(node, &PROCESS, file, report)?;
    let command = action::read_command("./watch.py", &mut fields, report);
    let input = fields.take("input").map(|entry| entry.value);
    let env = fields.variables("env", report);
    let grace = if fields.has("grace") { fields.duration("grace", report) } else { Some(GRACE_DEFAULT) };
    let restart = fields.choice("restart", &RESTARTS, report).unwrap_or_default();
    Some(Process { command: command?, input, env: env?, grace: grace?, restart })
}

fn read_poll(node: Node, at: Range<usize>, file: &SourceText, report: &mut Report) -> Option<Poll> {
    let mut fields = FieldReader::open(node, &POLL, file, report)?;
    let times = read_times(&mut fields, report);
    let asked = read_asked(&mut fields, report);
    let items = fields.take("items").map(|entry| entry.value);
    let next_page = fields.take("next_page").map(|entry| entry.value);
    let pages_max = read_count("max_pages", PAGES_DEFAULT, &mut fields, report);
    let items_max = read_count("max_items", POLL_ITEMS_MAX, &mut fields, report);
    let cursor = match fields.take("cursor") {
        Some(entry) => read_cursor(entry.value, file, report).map(Some),
        None => Some(None),
    };
    let remember = read_remember(&mut fields, report);
    let only_new = fields.take("only_new").map(|entry| entry.value);
    let first = fields.choice("first", &FIRSTS, report).unwrap_or_default();
    Some(Poll {
        times: times?,
        asked: asked?,
        items,
        next_page,
        pages_max: pages_max?,
        items_max: items_max?,
        cursor: cursor?,
        only_new,
        remember: remember?,
        first,
        at,
    })
}

fn read_times(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<PollTimes> {
    match schedule::read_repeated(fields, report)? {
        When::Every(period) => Some(PollTimes::Every(period)),
        When::Cron(cron) => Some(PollTimes::Cron(cron)),
        When::At(_) => None,
    }
}

fn read_asked(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<PollAsked> {
    let file = fields.file;
    if fields.has("http") && fields.has("action") {
        let at = fields.key_of("action");
        report.error(Code::NotExactlyOne, file, at, "`poll` must have either `http` or `action`, not both").hint("remove one of them");
        return None;
    }
    if !fields.has("action") {
        if fields.has("with") {
            let at = fields.key_of("with");
            report
                .error(Code::FieldOutOfPlace, file, at, "`with` is only for `action`: it has the parameters of the action")
                .hint("remove it, or use `query` or `json` of `http`");
            return None;
        }
        let Some(entry) = fields.take("http") else {
            report
                .error(Code::NotExactlyOne, file, fields.start.clone(), "`poll` needs either `http` or `action`")
                .hint("for example `http: { url: https://example.test/items }`");
            return None;
        };
        return http::read_http(entry.value, &http::POLLED_HTTP, file, report).map(|http| PollAsked::Http(Box::new(http)));
    }
    let with = fields.take("with").map(|entry| entry.value);
    let action = fields.text("action", report)?;
    Some(PollAsked::Action(PollAction { action, with }))
}

fn read_count(name: &str, otherwise: u32, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<u32> {
    if !fields.has(name) {
        return Some(otherwise);
    }
    fields.integer(name, report).and_then(|count| u32::try_from(count).ok())
}

fn read_remember(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<PollMemory> {
    let (file, at, has_ids) = (fields.file, fields.key_of("remember"), fields.has("only_new"));
    let Some(entry) = fields.take("remember") else { return Some(PollMemory::default()) };
    if !has_ids {
        report
            .error(Code::FieldOutOfPlace, file, at, "`remember` is only for `only_new`: it says how long ids are remembered")
            .hint("remove it, or add `only_new: item.id`");
        return None;
    }
    let mut fields = FieldReader::open(entry.value, &REMEMBER, file, report)?;
    let ids = read_count("ids", PollMemory::default().ids, &mut fields, report);
    let for_at = fields.span_of("for");
    let long = if fields.has("for") { read_some_time("for", &mut fields, report).map(Some) } else { Some(None) };
    if long?.is_some_and(|long| !(REMEMBER_MIN..=REMEMBER_MAX).contains(&long)) {
        report.error(Code::InvalidSchedule, file, for_at, "`for` must be from 10 minutes to 365 days").hint("for example `7d`");
        return None;
    }
    Some(PollMemory { ids: ids?, long: long? })
}

fn read_cursor(node: Node, file: &SourceText, report: &mut Report) -> Option<Cursor> {
    let mut fields = FieldReader::open(node, &CURSOR, file, report)?;
    let (start, next) = (fields.take_required("start", report), fields.take_required("next", report));
    Some(Cursor { start: start?.value, next: next?.value })
}

fn read_file(node: Node, file: &SourceText, report: &mut Report) -> Option<File> {
    let mut fields = FieldReader::open(node, &FILE, file, report)?;
    if !check_tail(&fields, report) {
        return None;
    }
    let path = match fields.take_required("path", report)?.value {
        path @ Node { content: Content::Text { .. }, .. } => Some(path),
        other => {
            wrong_type(&other, "`path`", "a string", file, report);
            None
        }
    };
    let on = if fields.has("on") {
        read_changes(&mut fields, report)
    } else {
        Some(BTreeSet::from([FileChange::Created, FileChange::Modified]))
    };
    let settle = if fields.has("settle") { fields.duration("settle", report) } else { Some(SETTLE_DEFAULT) };
    let is_tail = fields.has("tail") && fields.boolean("tail", report)?;
    let read = fields.choice("read", &READS, report);
    let (content, decode) = match read.unwrap_or(FileReads::Nothing) {
        _ if is_tail => (FileContent::Tail, None),
        FileReads::Nothing => (FileContent::Nothing, Some(Decode::Json)),
        FileReads::Json => (FileContent::Whole, Some(Decode::Json)),
        FileReads::Text => (FileContent::Whole, Some(Decode::Text)),
        FileReads::Lines => (FileContent::Lines, None),
    };
    let start = fields.choice("start", &STARTS, report).unwrap_or_default();
    let rescan = if fields.has("rescan") { read_rescan(&mut fields, report) } else { Some(RESCAN_DEFAULT) };
    let after = match fields.take("after") {
        Some(entry) => read_after(entry.value, file, report),
        None => Some(FileDisposal::Keep),
    };
    Some(File { path: path?, on: on?, settle: settle?, content, decode, start, rescan: rescan?, after: after? })
}

/// Reports what cannot be said of files whose lines are followed.
fn check_tail(fields: &FieldReader<'_>, report: &mut Report) -> bool {
    if !fields.has("tail") {
        return true;
    }
    for (name, why) in [
        ("read", "`tail` reads the lines that are appended, so `read` has no meaning beside it"),
        ("after", "a file whose lines are followed is never finished, so `after` has no meaning beside `tail`"),
        ("on", "`tail` waits for lines that are appended, so `on` has no meaning beside it"),
    ] {
        if fields.has(name) {
            report.error(Code::NotExactlyOne, fields.file, fields.key_of(name), why).hint(format!("remove `{name}` or `tail`"));
            return false;
        }
    }
    true
}

fn read_rescan(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Duration> {
    let at = fields.span_of("rescan");
    let rescan = fields.duration("rescan", report)?;
    if rescan < RESCAN_MIN {
        report.error(Code::InvalidSchedule, fields.file, at, "`rescan` is shorter than a second").hint("use at least `1s`");
        return None;
    }
    Some(rescan)
}

fn read_changes(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<BTreeSet<FileChange>> {
    let file = fields.file;
    let one = ("`created`, `modified` or `removed`", "name at least one change, or remove the line");
    let nodes = fields.text_or_texts("on", one, report)?;
    let mut changes = BTreeSet::new();
    for node in nodes {
        let written = text(node, "`on`", file, report)?;
        let Some((_, change)) = CHANGES.iter().find(|(word, _)| *word == written.value) else {
            let words = CHANGES.map(|(word, _)| word);
            report
                .error(Code::InvalidValue, file, written.span, format!("`on` cannot be `{}`", written.value))
                .did_you_mean(ensue_expression::nearest(&written.value, words))
                .hint(format!("use one of {}", crate::fields::quote_names(&words)));
            return None;
        };
        changes.insert(*change);
    }
    Some(changes)
}

fn read_after(node: Node, file: &SourceText, report: &mut Report) -> Option<FileDisposal> {
    if let Content::Text { value, .. } = &node.content {
        return match value.as_str() {
            "none" => Some(FileDisposal::Keep),
            "delete" => Some(FileDisposal::Delete),
            other => {
                report
                    .error(Code::InvalidValue, file, node.span.clone(), format!("`after` cannot be `{other}`"))
                    .hint("use `none`, `delete` or `{ move: FOLDER }`");
                None
            }
        };
    }
    let mut fields = FieldReader::open(node, &MOVE, file, report)?;
    let folder = fields.take_required("move", report)?;
    text(folder.value, "`move`", file, report).map(FileDisposal::Move)
}
