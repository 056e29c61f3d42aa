//! The files of packs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ensue_derive::wire;
use ensue_engine::catalog::{Catalog, DefinitionRef};
use ensue_engine::names::PackName;
use ensue_engine::record::Digest;
use ensue_packs::{Diagnostic, FileMode, HighlightedToken, PackFile, TokenClass, highlight};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::shapes;

/// A file of an installed pack.
#[wire(Serialize)]
pub(crate) struct WireInstalledFile {
    path: String,
    bytes: u64,
    digest: Digest,
    is_executable: bool,
    /// Only for a single file: its text; null if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Option<String>>,
    /// Only for a single file: the parts of its text for readers, in their order; empty if it is not YAML. A file with a syntax
    /// error has those before the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Vec<WireToken>>,
    /// Only for a single file: what it defines, in the order of its lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    defines: Option<Vec<WireDefined>>,
}

/// A part of a text with its class.
pub(crate) struct WireToken(HighlightedToken);

/// The class of a part of a text.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TextTokenClass")]
enum WireTokenClass {
    /// The key of a mapping.
    Key,
    /// A text.
    String,
    /// A number.
    Number,
    /// `true`, `false` or `null`.
    Constant,
    /// A comment.
    Comment,
    /// The braces around an expression in a text.
    Expression,
    /// An operator of an expression.
    Operator,
    /// A variable or a field in an expression.
    Identifier,
    /// The name of a function in an expression.
    Function,
    /// A mark between all of these.
    Punctuation,
}

impl From<TokenClass> for WireTokenClass {
    fn from(class: TokenClass) -> Self {
        match class {
            TokenClass::Key => Self::Key,
            TokenClass::String => Self::String,
            TokenClass::Number => Self::Number,
            TokenClass::Constant => Self::Constant,
            TokenClass::Comment => Self::Comment,
            TokenClass::Expression => Self::Expression,
            TokenClass::Operator => Self::Operator,
            TokenClass::Identifier => Self::Identifier,
            TokenClass::Function => Self::Function,
            TokenClass::Punctuation => Self::Punctuation,
        }
    }
}

impl Serialize for WireToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let HighlightedToken { start, length, class } = self.0;
        (start, length, WireTokenClass::from(class)).serialize(serializer)
    }
}

impl JsonSchema for WireToken {
    fn schema_name() -> Cow<'static, str> {
        "TextToken".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let class = generator.subschema_for::<WireTokenClass>();
        json_schema!({
            "type": "array",
            "description": "A part of a text: where it begins, its length, and its class. Both numbers count UTF-16 code units, as JavaScript does. It lies in one line.",
            "prefixItems": [{ "type": "integer", "minimum": 0 }, { "type": "integer", "minimum": 1 }, class],
            "items": {},
            "minItems": 3,
            "maxItems": 3,
        })
    }
}

/// A definition in a file.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FileDefinition")]
pub(crate) struct WireDefined {
    r#ref: String,
    kind: WireDefinedKind,
    /// The line where it begins, from 1.
    line: usize,
}

/// The kind of a definition.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "FileDefinitionKind")]
enum WireDefinedKind {
    Action,
    Rule,
    Sensor,
    Trigger,
}

impl WireDefined {
    /// Returns what a file of a pack defines.
    fn all(catalog: &Catalog, pack: &PackName, path: &str) -> Vec<Self> {
        let in_file = catalog.places().iter().filter(|(_, place)| place.file == path);
        let of_pack = in_file.filter_map(|(defined, place)| {
            let (of, r#ref, kind) = match defined {
                DefinitionRef::Action(name) => (name.pack(), name.to_string(), WireDefinedKind::Action),
                DefinitionRef::Rule(name) => (name.pack(), name.to_string(), WireDefinedKind::Rule),
                DefinitionRef::Sensor(name) => (name.pack(), name.to_string(), WireDefinedKind::Sensor),
                DefinitionRef::Trigger(name) => (name.pack(), name.to_string(), WireDefinedKind::Trigger),
            };
            (of == *pack).then_some(Self { r#ref, kind, line: place.line })
        });
        let mut all: Vec<Self> = of_pack.collect();
        all.sort_by_key(|defined| defined.line);
        all
    }
}

impl WireInstalledFile {
    /// Shows a file as an item of a list.
    pub(crate) fn for_list(path: &str, file: &PackFile) -> Self {
        Self {
            path: path.to_owned(),
            bytes: file.bytes.len() as u64,
            digest: Digest::of(&file.bytes),
            is_executable: file.mode == FileMode::Executable,
            text: None,
            tokens: None,
            defines: None,
        }
    }

    /// Shows a single file of a pack, with the catalog that it belongs to.
    pub(crate) fn whole((pack, path): (&PackName, &str), file: &PackFile, catalog: &Catalog) -> Self {
        let text = std::str::from_utf8(&file.bytes).ok().map(str::to_owned);
        let tokens = tokens(path, text.as_deref().unwrap_or_default());
        let defines = WireDefined::all(catalog, pack, path);
        Self { text: Some(text), tokens: Some(tokens), defines: Some(defines), ..Self::for_list(path, file) }
    }
}

/// Returns the tokens of a text.
fn tokens(path: &str, text: &str) -> Vec<WireToken> {
    highlight(path, text).into_iter().map(WireToken).collect()
}

/// Changes of a pack's files to check.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireToCheck {
    /// The new texts by path; null for a file that is removed. All other files are the installed ones.
    pub(crate) files: BTreeMap<String, Option<String>>,
}

/// The findings about a pack.
#[wire(Serialize)]
pub(crate) struct WireChecked {
    /// Whether the pack could be installed.
    is_good: bool,
    /// Errors, warnings and notes.
    #[schemars(with = "Vec<shapes::PackFinding>")]
    findings: Vec<Value>,
    /// The parts of each given text, by path.
    tokens: BTreeMap<String, Vec<WireToken>>,
}

impl WireChecked {
    pub(crate) fn new(is_good: bool, findings: &[Diagnostic], given: &BTreeMap<String, Option<String>>) -> Self {
        let texts = given.iter().filter_map(|(path, text)| Some((path, text.as_ref()?)));
        let tokens = texts.map(|(path, text)| (path.clone(), tokens(path, text))).collect();
        Self { is_good, findings: findings.iter().map(Diagnostic::to_json).collect(), tokens }
    }
}
