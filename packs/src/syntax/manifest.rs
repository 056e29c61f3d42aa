//! `pack.yaml`: the pack's identity, its requirements, its settings, and the keys and connections it may use.

use std::ops::Range;

use ensue_engine::access::permission::Permission;
use ensue_engine::access::scope::{SCOPES_MAX, Scope};
use ensue_engine::catalog::{Fields as SchemaFields, Schema};
use ensue_engine::names::{ConnectionName, KeyRef, PackName};
use semver::{Version, VersionReq};

use super::{PACK_FILE, display_path};
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, text};
use crate::read::PackSource;
use crate::schema;
use crate::shape::{Form, Kind, Naming, Shape, optional_field, required_field};
use crate::source::SourceText;
use crate::yaml::{Node, WithSpan};

pub(crate) static PACK: Shape = Shape {
    what: "a pack",
    fields: &[
        required_field(
            "name",
            "name: release",
            Kind::Text(Form::Name),
            "The pack's name, with which the refs of all its definitions begin. `core`, `github` and `examples` are reserved for the \
                library.",
        ),
        required_field("version", "version: 1.0.0", Kind::Text(Form::Version), "The pack's version, as in Semantic Versioning: `1.4.0`."),
        optional_field("description", Kind::Text(Form::Any), "What the pack is for, in a sentence."),
        optional_field("requires", Kind::Fields(&REQUIRES), "What the pack needs to work."),
        optional_field(
            "config",
            Kind::Schema(Naming::Ours),
            "The settings that the operator may set for the pack in `ensue.yaml`: names with their types. Expressions read them as \
                `config.<name>`.",
        ),
        optional_field(
            "keys",
            Kind::Texts { of: Form::KeyName, least: 0 },
            "The secrets that the pack may read; it can read no others. Set one with `ensue keys set <pack>.<name>`.",
        ),
        optional_field(
            "connections",
            Kind::Texts { of: Form::Name, least: 0 },
            "The connections that the pack may use; it can use no others. The operator defines them in `ensue.yaml`, with their addresses \
                and credentials.",
        ),
        optional_field(
            "permissions",
            Kind::Texts { of: Form::Permission, least: 0 },
            "What the pack may do with other packs: `actions:execute on action=core.http`, `events:write on pack=github`. It can do \
                nothing else with them. Programs with a `token` may do the same over the API, and what other permissions allow, such as \
                `executions:read on pack=release` or `vars:write`. Without it, the operator decides what the workflows of the pack may \
                run.",
        ),
    ],
    ..Shape::BARE
};

static REQUIRES: Shape = Shape {
    what: "`requires`",
    fields: &[
        optional_field("ensue", Kind::Text(Form::VersionRange), "The versions of Ensue that the pack works with, for example `>=0.1`."),
        optional_field(
            "packs",
            Kind::Mapping { names: Form::Name, of: &Kind::Text(Form::VersionRange) },
            "Each pack whose triggers or actions are used, with a range of versions: `{ github: ^0.1 }`. `core` need not be listed.",
        ),
    ],
    later: &[("programs", "programs that must be installed")],
    between: &[],
};

pub(crate) struct Manifest {
    pub(crate) file: SourceText,
    pub(crate) start: Range<usize>,
    pub(crate) name: Option<WithSpan<PackName>>,
    pub(crate) version: Option<Version>,
    pub(crate) description: String,
    pub(crate) ensue: Option<WithSpan<VersionReq>>,
    pub(crate) packs: Vec<(WithSpan<PackName>, WithSpan<VersionReq>)>,
    /// The operator's settings; `None` if their schema has errors.
    pub(crate) config: Option<Schema>,
    /// The keys that the pack may read; `None` if they have errors.
    pub(crate) keys: Option<Vec<KeyRef>>,
    /// The connections that the pack may use; `None` if they have errors.
    pub(crate) connections: Option<Vec<WithSpan<ConnectionName>>>,
    /// What the pack may do with other packs, if it says so; the outer `None` if that has errors.
    pub(crate) permissions: Option<Option<Vec<Scope>>>,
}

impl Manifest {
    /// Returns the manifest of a pack whose `pack.yaml` cannot be read: nothing can be checked against it.
    pub(super) fn unknown(source: &PackSource) -> Self {
        Self {
            file: SourceText::new(display_path(source, PACK_FILE), ""),
            start: 0..0,
            name: None,
            version: None,
            description: String::new(),
            ensue: None,
            packs: Vec::new(),
            config: None,
            keys: None,
            connections: None,
            permissions: None,
        }
    }
}

pub(super) fn read(node: Node, file: &SourceText, report: &mut Report) -> Option<Manifest> {
    let mut fields = FieldReader::open(node, &PACK, file, report)?;
    let start = fields.start.clone();
    let name = read_name(&mut fields, report);
    let version = read_version(&mut fields, report);
    let description = fields.text("description", report).map_or(String::new(), |text| text.value);
    let (ensue, packs) = read_requires(&mut fields, report);
    let config = match fields.take("config") {
        Some(entry) => schema::read(entry.value, Naming::Ours, file, report),
        None => Some(Schema::Fields(SchemaFields::default())),
    };
    let keys = read_keys(&mut fields, name.as_ref(), report);
    let connections = read_connections(&mut fields, report);
    let permissions = read_permissions(&mut fields, report);
    Some(Manifest { file: file.clone(), start, name, version, description, ensue, packs, config, keys, connections, permissions })
}

fn read_permissions(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Option<Vec<Scope>>> {
    let Some(entry) = fields.take("permissions") else { return Some(None) };
    let file = fields.file;
    let crate::yaml::Content::List(items) = entry.value.content else {
        let expected = "a list of permissions such as `[actions:execute on action=core.http]`";
        crate::fields::wrong_type(&entry.value, "`permissions`", expected, file, report);
        return None;
    };
    if items.len() > SCOPES_MAX {
        let message = format!("`permissions` has {} entries; the limit is {SCOPES_MAX}", items.len());
        report.error(Code::InvalidValue, file, entry.key.span, message).hint("use patterns: `actions:execute on action=core.*`");
        return None;
    }
    let mut permissions: Vec<Scope> = Vec::new();
    let mut is_whole = true;
    for item in items {
        match text(item, "a permission", file, report).map(|written| (written.value.parse::<Scope>(), written.span)) {
            Some((Ok(scope), span)) if !scope.permission.is_for_packs() => {
                is_whole = false;
                let name = scope.permission.name();
                let message = format!("a pack cannot have the permission `{name}`");
                let known: Vec<&str> = Permission::ALL.iter().filter(|one| one.is_for_packs()).map(|one| one.name()).collect();
                report.error(Code::InvalidValue, file, span, message).hint(format!("remove it; a pack can have {}", known.join(", ")));
            }
            Some((Ok(scope), _)) => {
                if !permissions.contains(&scope) {
                    permissions.push(scope);
                }
            }
            Some((Err(why), span)) => {
                is_whole = false;
                report.error(Code::InvalidValue, file, span, why.to_string());
            }
            None => is_whole = false,
        }
    }
    is_whole.then_some(Some(permissions))
}

fn read_name(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<WithSpan<PackName>> {
    let entry = fields.take_required("name", report)?;
    let written = text(entry.value, "`name`", fields.file, report)?;
    match written.value.parse() {
        Ok(value) => Some(WithSpan { value, span: written.span }),
        Err(_) => {
            schema::report_bad_name(&written.value, &written.span, fields.file, report);
            None
        }
    }
}

fn read_version(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Version> {
    let entry = fields.take_required("version", report)?;
    let written = text(entry.value, "`version`", fields.file, report)?;
    let parsed = Version::parse(&written.value);
    if parsed.is_err() {
        report
            .error(Code::InvalidVersion, fields.file, written.span, format!("`{}` is not a version", written.value))
            .hint("write three numbers, as in Semantic Versioning: `1.4.0`, `2.0.0-beta.1`");
    }
    parsed.ok()
}

type Needs = (Option<WithSpan<VersionReq>>, Vec<(WithSpan<PackName>, WithSpan<VersionReq>)>);

fn read_requires(fields: &mut FieldReader<'_>, report: &mut Report) -> Needs {
    let file = fields.file;
    let Some(mut requires) = fields.take("requires").and_then(|entry| FieldReader::open(entry.value, &REQUIRES, file, report)) else {
        return (None, Vec::new());
    };
    let ensue = requires.text("ensue", report).and_then(|text| read_range(text, file, report));
    let mut packs = Vec::new();
    for entry in requires.mapping("packs", report).unwrap_or_default() {
        let Ok(name) = entry.key.value.parse() else {
            schema::report_bad_name(&entry.key.value, &entry.key.span, file, report);
            continue;
        };
        let range = text(entry.value, &format!("`{}`", entry.key.value), file, report).and_then(|text| read_range(text, file, report));
        if let Some(range) = range {
            packs.push((WithSpan { value: name, span: entry.key.span }, range));
        }
    }
    (ensue, packs)
}

fn read_range(written: WithSpan<String>, file: &SourceText, report: &mut Report) -> Option<WithSpan<VersionReq>> {
    match VersionReq::parse(&written.value) {
        Ok(value) => Some(WithSpan { value, span: written.span }),
        Err(_) => {
            report
                .error(Code::InvalidVersion, file, written.span, format!("`{}` is not a version range", written.value))
                .hint("for example `^1`, `>=0.1`, `>=1.2, <2`");
            None
        }
    }
}

fn read_keys(fields: &mut FieldReader<'_>, pack: Option<&WithSpan<PackName>>, report: &mut Report) -> Option<Vec<KeyRef>> {
    let was_there = fields.take("keys");
    let Some(entry) = was_there else { return Some(Vec::new()) };
    let file = fields.file;
    let crate::yaml::Content::List(items) = entry.value.content else {
        crate::fields::wrong_type(&entry.value, "`keys`", "a list of names such as `[webhook_secret]`", file, report);
        return None;
    };
    let pack = &pack?.value;
    let mut keys = Vec::new();
    let mut is_whole = true;
    for item in items {
        let Some(written) = text(item, "a key's name", file, report) else {
            is_whole = false;
            continue;
        };
        let name = written.value.strip_prefix(&format!("{pack}.")).unwrap_or(&written.value);
        match KeyRef::new(pack, name) {
            Ok(key) => keys.push(key),
            Err(_) => {
                is_whole = false;
                if name.contains('.') {
                    report
                        .error(Code::InvalidRef, file, written.span, format!("`{name}` is a key of another pack"))
                        .hint("use a key of this pack, which the operator sets separately; a pack can read only its own keys");
                } else {
                    schema::report_bad_name(name, &written.span, file, report);
                }
            }
        }
    }
    is_whole.then_some(keys)
}

fn read_connections(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<WithSpan<ConnectionName>>> {
    let Some(entry) = fields.take("connections") else { return Some(Vec::new()) };
    let file = fields.file;
    let crate::yaml::Content::List(items) = entry.value.content else {
        crate::fields::wrong_type(&entry.value, "`connections`", "a list of names such as `[orders]`", file, report);
        return None;
    };
    let mut connections: Vec<WithSpan<ConnectionName>> = Vec::new();
    let mut is_whole = true;
    for item in items {
        match text(item, "a connection's name", file, report) {
            Some(written) => match written.value.parse() {
                Ok(value) => connections.push(WithSpan { value, span: written.span }),
                Err(_) => {
                    is_whole = false;
                    schema::report_bad_name(&written.value, &written.span, file, report);
                }
            },
            None => is_whole = false,
        }
    }
    is_whole.then_some(connections)
}
