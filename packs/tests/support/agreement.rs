//! Compares the findings of `check` for a file with its JSON Schema.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ensue_packs::{CheckResult, Code, FileKind, PackSource, Severity};
use jsonschema::Validator;
use serde_json::Value;

/// Errors in the shape of one file: if `check` reports one of these codes, the schema must reject the file
/// too.
const OF_THE_SHAPE: [Code; 15] = [
    Code::UnknownField,
    Code::NotYet,
    Code::MissingField,
    Code::EmptyField,
    Code::WrongType,
    Code::InvalidValue,
    Code::InvalidName,
    Code::InvalidRef,
    Code::InvalidDuration,
    Code::InvalidVersion,
    Code::InvalidSchema,
    Code::NotExactlyOne,
    Code::FieldOutOfPlace,
    Code::TemplateInCode,
    Code::TemplateInHost,
];

/// The exceptions that no JSON Schema can express, by words of the message, each with the reason.
const BEYOND_A_SCHEMA: [(&str, &str); 53] = [
    ("`poll` runs only actions of its own pack", "the pack's name is a value of another file"),
    ("`poll` cannot run `", "the action's file says what it runs"),
    ("`decode` is only for the answers of a server", "what a sensor watches is said in another mapping"),
    ("the host of a secret URL must be written out", "a URL without a secret may be one expression"),
    ("the item with `wait` must be the last", "which item of a list is the last is not known in one of them"),
    ("`wait` must be from 1ms to 25s", "how long a duration is, is inside of a text"),
    ("a reply cannot have the header", "which headers a connection has is not the form of a name"),
    ("is not the ARN of a topic", "what an ARN is, is inside of a text"),
    ("is not a host, or a host and a port", "what a host is, is inside of a text"),
    ("is not a URL that begins with", "what a URL is, is inside of a text"),
    ("is not a SHA-256 in lower-case", "what a fingerprint is, is inside of a text"),
    ("`leeway` is longer than", "how long a duration is, is inside of a text"),
    ("`mtls` needs `names` or `fingerprints`", "that one of two fields is there, or both, is said in no other mapping"),
    ("the charset `", "which charsets there are is not the form of a name"),
    ("lines cannot be read in `", "a schema does not know which charsets are compatible with ASCII"),
    ("`charset` and `invalid` have no effect with `parse: ", "that one of two fields is there is said in no other mapping"),
    ("is not a network", "what a network is, is inside of a text"),
    ("is not a rate", "what a rate is, is inside of a text"),
    ("is not a path", "which parameters a path has is inside of a text"),
    ("`inquiry.link`", "what an expression reads is a text to a schema"),
    ("must be one expression that reads `keys`", "what an expression reads is a text to a schema"),
    ("`dedupe: none` is only for webhooks", "what a sensor watches is said beside its `emits`"),
    ("`dedupe` is only for deliveries", "what a sensor watches is said beside its `emits`"),
    ("is not an absolute path", "whether a text with expressions is a path is known once it is computed"),
    ("files cannot be moved to", "a name and a path have no common form"),
    ("`decode` is only for lines here", "what is read of a file is said in another mapping"),
    ("the engine's own trigger", "which refs lead somewhere is not known in one file"),
    ("only the engine can create events", "which refs lead somewhere is not known in one file"),
    ("(values that actions keep)", "an expression is a text to a schema"),
    ("the default of", "that a default fits is known once the type beside it is read"),
    ("invalid JSON Schema", "a whole schema is for the meta-schema of JSON Schema"),
    ("`most` must be longer than `quiet`", "which of two durations is longer is inside of texts"),
    ("both gather the events of a rule", "that a `debounce` gathers is a word inside of it"),
    ("`of` names `", "the triggers of a rule are values of another field"),
    ("has a `retry`, but", "the action's file says whether it has attempts"),
    ("is a key of another pack", "the pack's name is a value of another field"),
    ("`signed` has `${", "which parts are signed is inside of a text"),
    ("`signed` does not contain", "which parts are signed is inside of a text"),
    ("`signed` names a part", "which parts are signed is inside of a text"),
    ("is not signed, so anyone can change it", "which parts are signed is inside of a text"),
    ("`entry` is the text before the time", "how the header is parsed is said beside the `timestamp`"),
    ("`tolerance` needs a `timestamp`", "what needs what is not in the schema of one field"),
    ("is not a program that a pack can run", "the first item of a command is more than an argument"),
    ("code cannot contain", "the action's file determines whether a rule's parameter is code"),
    ("the pack has no key", "which keys there are is said in `pack.yaml`"),
    ("needs the fake vendor of the pack", "whether there is one is not known in one file"),
    ("`of` names", "a schema does not compare a number with the length of a list"),
    ("`url` is a path below its address", "what a URL is depends on the field beside it"),
    ("`without_connection` is never used", "whether a parameter or a setting is optional is said elsewhere"),
    ("`json` of `without_connection` adds fields", "what needs what is not in the schema of one field"),
    ("needs `auth` in `fake/server.yaml`", "what a fake vendor says is not known in one file"),
    ("a URL must begin with `https://`", "what a URL is depends on the field beside it"),
    ("is not declared as code", "the field next to its name determines whether a parameter is code"),
];

static VALIDATORS: LazyLock<BTreeMap<FileKind, Validator>> = LazyLock::new(|| {
    let made = |kind: FileKind| jsonschema::validator_for(&kind.json_schema()).expect("the schema of a kind of file is one");
    FileKind::ALL.into_iter().map(|kind| (kind, made(kind))).collect()
});

/// The kind of a pack's file, or `None` if it has no schema.
pub(crate) fn kind_of(path: &str) -> Option<FileKind> {
    let (folder, inside) = path.split_once('/').unwrap_or(("", path));
    let is_definition = !inside.contains('/') && inside.ends_with(".yaml");
    match folder {
        "" => (inside == "pack.yaml").then_some(FileKind::Pack),
        "triggers" => is_definition.then_some(FileKind::Trigger),
        "sensors" => is_definition.then_some(FileKind::Sensor),
        "actions" => is_definition.then_some(FileKind::Action),
        "rules" => is_definition.then_some(FileKind::Rule),
        "tests" => (is_definition && inside.ends_with(".test.yaml")).then_some(FileKind::Test),
        _ => None,
    }
}

/// Reads YAML as an editor does.
pub(crate) fn of_yaml(bytes: &[u8]) -> Option<Value> {
    serde_saphyr::from_str(std::str::from_utf8(bytes).ok()?).ok()
}

pub(crate) fn fits(kind: FileKind, value: &Value) -> bool {
    VALIDATORS[&kind].is_valid(value)
}

/// Returns where `check` and the schema disagree about a file of a pack, or `None` if they agree or the file
/// is not valid YAML.
pub(crate) fn disagreement(pack: &PackSource, path: &str, checked: &CheckResult) -> Option<String> {
    let kind = kind_of(path)?;
    let value = of_yaml(&pack.files[path].bytes)?;
    let shown = format!("{}/{path}", pack.origin);
    let errors = || checked.diagnostics.iter().filter(|one| one.file == shown && one.severity == Severity::Error);
    // YAML errors hide others, and editors read some of them as values.
    if errors()
        .any(|one| Code::ALL.iter().position(|code| *code == one.code) < Code::ALL.iter().position(|code| *code == Code::UnexpectedFile))
    {
        return None;
    }
    let fits = fits(kind, &value);
    if !fits && errors().next().is_none() {
        let why = VALIDATORS[&kind].iter_errors(&value).next().map(|error| format!("{} at `{}`", error, error.instance_path()));
        return Some(format!("the schema refuses what `check` takes: {}", why.unwrap_or_default()));
    }
    let reported =
        errors().find(|one| OF_THE_SHAPE.contains(&one.code) && !BEYOND_A_SCHEMA.iter().any(|(words, _)| one.message.contains(words)))?;
    fits.then(|| format!("the schema takes what `check` refuses: {}", reported.message))
}
