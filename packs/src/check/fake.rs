//! Reads the fake vendor of a pack, and checks it against the pack: its keys and its setting exist, its schemas and expressions
//! are valid.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use ensue_engine::catalog::{ConnectionKind, JsonSchema, Schema, Type};
use ensue_engine::names::KeyRef;
use ensue_expression::{Expression, MapType, Occurrence, Others, ValueType, nearest};
use regex::RegexBuilder;

use super::Checking;
use super::literals::optional;
use super::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::fake::{ANSWERS_MAX, Encoding, Fake, FakeAnswer, FakeAuth, FakeProof, FakeRoute, ROUTES_MAX, Segment};
use crate::fields::{FieldReader, first_line, quote_names, text, wrong_type};
use crate::schema;
use crate::source::SourceText;
use crate::syntax::{ANSWER, AUTH, AUTH_HEADER, ENCODINGS, FAKE, FAKE_AUTH, JSON_FIELD, KEY_OF, ROUTE};
use crate::yaml::{Content, Node, WithSpan, YamlEntry};

/// The setting that holds the address of the vendor, if the file does not name another.
const SETTING: &str = "api";
/// The most bytes of the compiled pattern of a header.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// What a pattern counts as, because the work of compiling it is not known, in bytes.
const PATTERN_WORK: usize = 128 << 10;
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Reads the fake vendor of a pack. Returns `None` if there is none, or if it has errors, which are reported.
pub(super) fn fake(checking: &Checking<'_>, report: &mut Report) -> Option<Fake> {
    let (file, node) = checking.pack.fake.as_ref()?;
    FakeReader { checking, file }.fake(node.clone(), report)
}

struct FakeReader<'c, 'a> {
    checking: &'c Checking<'a>,
    file: &'a SourceText,
}

impl<'a> FakeReader<'_, 'a> {
    fn fake(&self, node: Node, report: &mut Report) -> Option<Fake> {
        let mut fields = FieldReader::open(node, &FAKE, self.file, report)?;
        let setting = self.setting(&mut fields, report);
        let keys = fields.take("keys").map_or(Some(BTreeMap::new()), |entry| sent_keys(self.checking, self.file, entry, report));
        let auth = fields.take(AUTH).map(|entry| self.auth(entry, report));
        let no_captures = BTreeSet::new();
        let refusal = |entry: Option<YamlEntry>, status: u16, report: &mut Report| match entry {
            Some(entry) => self.answer(entry.value, &no_captures, status, report),
            None => Some(FakeAnswer { when: None, status, headers: BTreeMap::new(), body: None }),
        };
        let unauthorized = refusal(fields.take("unauthorized"), 401, report);
        let invalid = refusal(fields.take("invalid"), 400, report);
        let routes = self.list(fields.take_required("routes", report)?, "`routes`", ROUTES_MAX, report)?;
        let routes: Vec<_> = routes.into_iter().map(|node| self.route(node, report)).collect();
        Some(Fake {
            file: self.file.path().to_owned(),
            setting: setting?,
            keys: keys?,
            auth: optional(auth)?,
            unauthorized: unauthorized?,
            invalid: invalid?,
            routes: routes.into_iter().collect::<Option<_>>()?,
        })
    }

    fn setting(&self, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<String> {
        let at = if fields.has("setting") { fields.span_of("setting") } else { fields.start.clone() };
        let setting = if fields.has("setting") { fields.text("setting", report)?.value } else { SETTING.to_owned() };
        // Without a valid schema of the settings, that error is enough.
        let Some(Schema::Fields(declared)) = &self.checking.pack.manifest.config else { return Some(setting) };
        if declared.get(&setting).is_some() {
            return Some(setting);
        }
        let names: Vec<&str> = declared.0.iter().map(|field| field.name.as_str()).collect();
        report
            .error(
                Code::InvalidValue,
                self.file,
                at,
                format!("the pack has no setting `{setting}`, which would hold the address of the vendor"),
            )
            .did_you_mean(nearest(&setting, names))
            .hint("declare it under `config` in `pack.yaml`, and begin the `url` of each action with it: `config.api + \"/items\"`");
        None
    }

    fn auth(&self, entry: YamlEntry, report: &mut Report) -> Option<FakeAuth> {
        let at = entry.key.span;
        let mut fields = FieldReader::open(entry.value, &FAKE_AUTH, self.file, report)?;
        let mut ways: Vec<YamlEntry> = FAKE_AUTH.names().into_iter().filter_map(|name| fields.take(name)).collect();
        let (Some(way), None) = (ways.pop(), ways.pop()) else {
            report
                .error(Code::NotExactlyOne, self.file, at, "`auth` needs exactly one way to prove who sends a request")
                .hint(format!("use one of {}", quote_names(&FAKE_AUTH.names())));
            return None;
        };
        let (proof, key) = match way.key.value.as_str() {
            "bearer" => (FakeProof::Bearer, self.key_of(way.value, report)?),
            "header" => {
                let mut fields = FieldReader::open(way.value, &AUTH_HEADER, self.file, report)?;
                let name = fields.take_required("name", report).and_then(|entry| text(entry.value, "`name`", self.file, report));
                let prefix = fields.text("prefix", report).map_or(String::new(), |prefix| prefix.value);
                let key = fields.take_required("value", report).and_then(|entry| self.key_of(entry.value, report));
                (FakeProof::Header { name: name?.value, prefix }, key?)
            }
            _ => {
                let mut fields = FieldReader::open(way.value, &JSON_FIELD, self.file, report)?;
                let name = fields.take_required("name", report).and_then(|entry| text(entry.value, "`name`", self.file, report));
                let key = fields.take_required("value", report).and_then(|entry| self.key_of(entry.value, report));
                (FakeProof::JsonField(name?.value), key?)
            }
        };
        Some(FakeAuth { setting: self.connection_setting(at, report)?, key, proof })
    }

    fn key_of(&self, node: Node, report: &mut Report) -> Option<KeyRef> {
        let mut fields = FieldReader::open(node, &KEY_OF, self.file, report)?;
        let key = fields.take_required("key", report).and_then(|entry| text(entry.value, "`key`", self.file, report))?;
        key_named(self.checking, self.file, &key, report)
    }

    /// Returns the setting of the pack that names a connection.
    fn connection_setting(&self, at: Range<usize>, report: &mut Report) -> Option<String> {
        // Without a valid schema of the settings, that error is enough.
        let declared = self.checking.pack.manifest.config.as_ref()?;
        let fields = declared.fields().into_iter().flat_map(|fields| &fields.0);
        let mut named = fields.filter(|field| field.kind == Type::Connection(ConnectionKind::Http));
        if let (Some(field), None) = (named.next(), named.next()) {
            return Some(field.name.clone());
        }
        report
            .error(Code::InvalidValue, self.file, at, "`auth` needs exactly one setting of the pack that names a connection")
            .hint("declare it under `config` in `pack.yaml`: `connection: connection<http>?`");
        None
    }

    fn list(&self, entry: YamlEntry, name: &str, most: usize, report: &mut Report) -> Option<Vec<Node>> {
        match entry.value.content {
            Content::List(items) if (1..=most).contains(&items.len()) => Some(items),
            Content::List(items) => {
                let message = format!("{name} has {} items; it must have 1 to {most}", items.len());
                report.error(Code::InvalidValue, self.file, entry.key.span, message);
                None
            }
            _ => {
                wrong_type(&entry.value, name, "a list of mappings", self.file, report);
                None
            }
        }
    }

    fn route(&self, node: Node, report: &mut Report) -> Option<FakeRoute> {
        let line = self.file.place(node.span.start).line;
        let mut fields = FieldReader::open(node, &ROUTE, self.file, report)?;
        let request = fields.take_required("request", report).and_then(|entry| text(entry.value, "`request`", self.file, report));
        let (method, path) = self.request(&request?, report)?;
        let captures: BTreeSet<String> =
            path.iter().filter_map(|segment| if let Segment::Any(name) = segment { Some(name.clone()) } else { None }).collect();
        let authorized = match fields.take("authorized") {
            Some(entry) => Some(self.condition(&entry.value, "`authorized`", &captures, report)?),
            None => None,
        };
        let headers = self.patterns(fields.take("headers"), report)?;
        let encoding = fields.choice("encoding", &ENCODINGS, report).unwrap_or(Encoding::Json);
        let query = self.schema(fields.take("query"), report)?;
        let body = self.schema(fields.take("body"), report)?;
        let answers = self.list(fields.take_required("answers", report)?, "`answers`", ANSWERS_MAX, report)?;
        let answers: Vec<_> = answers.into_iter().map(|answer| self.answer(answer, &captures, 200, report)).collect();
        let answers = answers.into_iter().collect::<Option<_>>()?;
        Some(FakeRoute { line, method, path, authorized, headers, encoding, query, body, answers })
    }

    fn request(&self, written: &WithSpan<String>, report: &mut Report) -> Option<(String, Vec<Segment>)> {
        let parts = written.value.split_once(' ').filter(|(method, path)| METHODS.contains(method) && path.starts_with('/'));
        let Some((method, path)) = parts else {
            report
                .error(Code::InvalidValue, self.file, written.span.clone(), format!("`{}` is not a method and a path", written.value))
                .hint(format!("write one of {} and a path, for example `POST /items/{{id}}`", quote_names(&METHODS)));
            return None;
        };
        let segment = |text: &str| match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => Segment::Any(name.to_owned()),
            None => Segment::Text(text.to_owned()),
        };
        Some((method.to_owned(), path[1..].split('/').map(segment).collect()))
    }

    fn patterns(&self, entry: Option<YamlEntry>, report: &mut Report) -> Option<Vec<(String, regex::Regex)>> {
        let mut patterns = Vec::new();
        for YamlEntry { key, value } in self.entries(entry, "`headers`", report)? {
            let pattern = text(value, &format!("`{}`", key.value), self.file, report)?;
            report.count_patterns(PATTERN_WORK, self.file, pattern.span.clone());
            if report.is_over() {
                return None;
            }
            match RegexBuilder::new(&pattern.value).size_limit(PATTERN_BYTES_MAX).build() {
                Ok(regex) => patterns.push((key.value.to_ascii_lowercase(), regex)),
                Err(error) => {
                    // The lines before the last one show the pattern, which the diagnostic shows too.
                    let error = error.to_string();
                    let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    let message = format!("invalid regular expression: {why}");
                    report.error(Code::InvalidValue, self.file, pattern.span, message);
                    return None;
                }
            }
        }
        Some(patterns)
    }

    fn entries(&self, entry: Option<YamlEntry>, name: &str, report: &mut Report) -> Option<Vec<YamlEntry>> {
        let Some(entry) = entry else { return Some(Vec::new()) };
        match entry.value.content {
            Content::Map(entries) => Some(entries),
            _ => {
                wrong_type(&entry.value, name, "a mapping", self.file, report);
                None
            }
        }
    }

    fn schema(&self, entry: Option<YamlEntry>, report: &mut Report) -> Option<Option<Arc<dyn JsonSchema>>> {
        let Some(YamlEntry { value: node, .. }) = entry else { return Some(None) };
        match schema::whole_schema(node.to_value()) {
            Ok(schema) => Some(Some(schema)),
            Err(misfit) => {
                let at = node.at(&misfit.pointer).unwrap_or(&node);
                let message = format!("invalid JSON Schema: {}", misfit.message);
                report.error(Code::InvalidSchema, self.file, first_line(&at.span, self.file), message);
                None
            }
        }
    }

    fn answer(&self, node: Node, captures: &BTreeSet<String>, status: u16, report: &mut Report) -> Option<FakeAnswer> {
        let mut fields = FieldReader::open(node, &ANSWER, self.file, report)?;
        let when = match fields.take("when") {
            Some(entry) => Some(self.condition(&entry.value, "`when`", captures, report)?),
            None => None,
        };
        let status = if fields.has("status") { u16::try_from(fields.integer("status", report)?).ok()? } else { status };
        let mut headers = BTreeMap::new();
        for YamlEntry { key, value } in self.entries(fields.take("headers"), "`headers`", report)? {
            headers.insert(key.value.to_ascii_lowercase(), text(value, "a header", self.file, report)?.value);
        }
        let body = match fields.take("body") {
            Some(entry) => Some(self.scope(captures).template(&entry.value, report)?),
            None => None,
        };
        Some(FakeAnswer { when, status, headers, body })
    }

    fn condition(&self, node: &Node, name: &str, captures: &BTreeSet<String>, report: &mut Report) -> Option<Expression> {
        self.scope(captures).condition(node, name, report)
    }

    /// Returns what the expressions read: the request, the keys, and how many requests came before.
    fn scope(&self, captures: &BTreeSet<String>) -> Scope<'a> {
        let texts = || ValueType::map(MapType::new(Others::Are(ValueType::text())));
        let path = captures.iter().fold(MapType::new(Others::None).with_wording("the names in the path", None), |path, name| {
            path.with(name.as_str(), ValueType::text(), Occurrence::Always)
        });
        Scope::new(self.file)
            .with("headers", texts())
            .with("query", texts())
            .with("path", ValueType::map(path))
            .with("body", ValueType::json())
            .with("calls", ValueType::integer())
            .with_keys(self.checking.listed_keys())
            .forgiving()
    }
}

/// Reads values for keys of the pack.
pub(super) fn sent_keys(
    checking: &Checking<'_>,
    file: &SourceText,
    entry: YamlEntry,
    report: &mut Report,
) -> Option<BTreeMap<KeyRef, String>> {
    let Content::Map(entries) = entry.value.content else {
        wrong_type(&entry.value, "`keys`", "a mapping of the names of keys to their values", file, report);
        return None;
    };
    let mut keys = Some(BTreeMap::new());
    for YamlEntry { key, value } in entries {
        let value = text(value, &format!("the value of `{}`", key.value), file, report);
        let named = key_named(checking, file, &key, report);
        keys = keys.zip(named.zip(value)).map(|(mut keys, (key, value))| {
            keys.insert(key, value.value);
            keys
        });
    }
    keys
}

/// Returns the key of the pack that a name means.
fn key_named(checking: &Checking<'_>, file: &SourceText, name: &WithSpan<String>, report: &mut Report) -> Option<KeyRef> {
    let listed_keys = checking.pack.manifest.keys.as_deref().unwrap_or_default();
    let named = listed_keys.iter().find(|listed| listed.name() == name.value || listed.as_str() == name.value);
    if named.is_none() {
        let names: Vec<&str> = listed_keys.iter().map(KeyRef::name).collect();
        report
            .error(Code::InvalidValue, file, name.span.clone(), format!("the pack has no key `{}`", name.value))
            .did_you_mean(nearest(&name.value, names))
            .hint("list it under `keys` in `pack.yaml`");
    }
    named.cloned()
}
