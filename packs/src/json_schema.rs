//! JSON Schemas of user-written files, for editors, generated from the shapes used to read the files.
//!
//! A schema describes a single file. References between files, names in expressions and YAML pitfalls are
//! covered by `check`, which reports everything.

mod text_patterns;

use serde_json::{Map, Value, json};

use crate::schema::LONG_FIELD;
use crate::shape::{FieldConstraint, Form, Kind, Naming, Need, Shape, ShapeField};
use crate::syntax::{ACTION, EVENT_CASE, PACK, RULE, RUN_CASE, RUNS, SENSOR, TRIGGER};
use text_patterns::FormPattern;

/// The dialect of the schemas. They use only features of draft 7, because some editors support nothing newer.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A kind of file in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// `pack.yaml`
    Pack,
    /// `triggers/*.yaml`
    Trigger,
    /// `sensors/*.yaml`
    Sensor,
    /// `actions/*.yaml`
    Action,
    /// `rules/*.yaml`
    Rule,
    /// `tests/*.test.yaml`
    Test,
}

impl FileKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Pack, Self::Trigger, Self::Sensor, Self::Action, Self::Rule, Self::Test];

    /// Returns the kind's name, such as `rule`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::Trigger => "trigger",
            Self::Sensor => "sensor",
            Self::Action => "action",
            Self::Rule => "rule",
            Self::Test => "test",
        }
    }

    /// Returns the JSON Schema of this kind of file.
    pub fn json_schema(self) -> Value {
        match self {
            Self::Pack => of_one("An Ensue pack", &PACK),
            Self::Trigger => of_one_or_several("An Ensue trigger: a kind of event", &TRIGGER, "triggers", "trigger"),
            Self::Sensor => of_one_or_several("An Ensue sensor: where events come from", &SENSOR, "sensors", "sensor"),
            Self::Action => of_one_or_several("An Ensue action: something that can be run", &ACTION, "actions", "action"),
            Self::Rule => of_one_or_several("An Ensue rule: when an event leads to an action", &RULE, "rules", "rule"),
            Self::Test => cases("Test cases of an Ensue pack: what comes in, and what is expected", RUNS, &RUN_CASE, &EVENT_CASE),
        }
    }
}

/// Returns the JSON Schema of a file that holds one mapping of a shape.
pub fn of_one(title: &str, shape: &'static Shape) -> Value {
    let mut maker = Maker::default();
    let body = maker.shape(shape);
    maker.finish(title, body)
}

/// Returns the JSON Schema of a file that holds one definition of a shape, or several by name under a
/// keyword.
fn of_one_or_several(title: &str, shape: &'static Shape, several: &str, one: &'static str) -> Value {
    let mut maker = Maker::default();
    let definition = maker.shape(shape);
    maker.defined.insert(one.to_owned(), definition);
    let reference = reference(one);
    let body = json!({
        "if": { "type": "object", "required": [several], "properties": { (several): { "type": "object" } } },
        "then": {
            "properties": {
                (several): {
                    "type": "object",
                    "description": "Several definitions in one file, by name.",
                    "propertyNames": text(Form::Name),
                    "additionalProperties": reference,
                },
            },
            "additionalProperties": false,
        },
        "else": reference,
    });
    maker.finish(title, body)
}

/// Returns the JSON Schema of a file that holds a list. Items with the field have the first shape, all others
/// the second.
fn cases(title: &str, field: &str, with: &'static Shape, without: &'static Shape) -> Value {
    let mut maker = Maker::default();
    let (with, without) = (maker.shape(with), maker.shape(without));
    let case = json!({ "if": { "type": "object", "required": [field] }, "then": with, "else": without });
    maker.finish(title, json!({ "type": "array", "minItems": 1, "items": case }))
}

/// Builds one schema; definitions used in more than one place are written once.
#[derive(Default)]
struct Maker {
    defined: Map<String, Value>,
}

impl Maker {
    fn finish(self, title: &str, body: Value) -> Value {
        let mut schema = into_object(body);
        schema.insert("$schema".to_owned(), json!(DIALECT));
        schema.insert("title".to_owned(), json!(title));
        if !self.defined.is_empty() {
            schema.insert("$defs".to_owned(), Value::Object(self.defined));
        }
        Value::Object(schema)
    }

    fn shape(&mut self, shape: &'static Shape) -> Value {
        let properties: Map<String, Value> = shape.fields.iter().map(|field| (field.name.to_owned(), self.field(field))).collect();
        let required: Vec<&str> =
            shape.fields.iter().filter(|field| matches!(field.need, Need::Required { .. })).map(|field| field.name).collect();
        let mut schema = into_object(json!({ "type": "object", "properties": properties, "additionalProperties": false }));
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        let mut conditions = Vec::new();
        for between in shape.between {
            match between {
                FieldConstraint::ExactlyOne => {
                    schema.insert("minProperties".to_owned(), json!(1));
                    schema.insert("maxProperties".to_owned(), json!(1));
                }
                FieldConstraint::NotBothWritten(one, other) => {
                    let open = json!({ "type": "string", "pattern": text_patterns::ONE_EXPRESSION });
                    conditions.push(json!({
                        "if": { "required": [one, other] },
                        "then": { "properties": { (*one): open, (*other): open } },
                    }));
                }
                FieldConstraint::NotBoth(one, other) => conditions.push(json!({ "not": { "required": [one, other] } })),
                FieldConstraint::OnlyFor { field, other, pattern } => conditions.push(json!({
                    "if": { "required": [field] },
                    "then": { "properties": { (*other): { "type": "string", "pattern": pattern } } },
                })),
                FieldConstraint::ExactlyOneOf(fields) => {
                    let each: Vec<Value> = fields.iter().map(|field| json!({ "required": [field] })).collect();
                    conditions.push(json!({ "oneOf": each }));
                }
                FieldConstraint::AtLeastOneOf(fields) => {
                    let each: Vec<Value> = fields.iter().map(|field| json!({ "required": [field] })).collect();
                    conditions.push(json!({ "anyOf": each }));
                }
                FieldConstraint::OnlyBeside { field, other } => conditions.push(json!({
                    "if": { "required": [field] },
                    "then": { "required": [other] },
                })),
                FieldConstraint::OnlyBesideOneOf { field, others } => {
                    let each: Vec<Value> = others.iter().map(|other| json!({ "required": [other] })).collect();
                    conditions.push(json!({ "if": { "required": [field] }, "then": { "anyOf": each } }));
                }
                FieldConstraint::NotWhereHas { field, outer, inner } => conditions.push(json!({
                    "if": { "required": [outer], "properties": { (*outer): { "type": "object", "required": [inner] } } },
                    "then": { "properties": { (*field): false } },
                })),
                FieldConstraint::OnlyWhereHas { field, outer, inner } => conditions.push(json!({
                    "if": { "required": [field] },
                    "then": { "properties": { (*outer): { "required": [inner] } } },
                })),
                FieldConstraint::NotBesideTrue { field, flag } => conditions.push(json!({
                    "if": { "required": [field] },
                    "then": { "properties": { (*flag): { "const": false } } },
                })),
            }
        }
        if !conditions.is_empty() {
            schema.insert("allOf".to_owned(), Value::Array(conditions));
        }
        Value::Object(schema)
    }

    fn field(&mut self, field: &ShapeField) -> Value {
        let mut schema = into_object(self.kind(&field.kind));
        schema.insert("description".to_owned(), json!(field.about));
        Value::Object(schema)
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Text(form) => text(*form),
            Kind::Scalar => scalar(),
            Kind::Scalars => json!({ "type": ["string", "number", "boolean", "array"], "items": scalar(), "x-ensue": "template" }),
            Kind::Boolean => json!({ "type": "boolean" }),
            Kind::True => json!({ "const": true }),
            Kind::Integer { from, to } => json!({ "type": "integer", "minimum": from, "maximum": to }),
            Kind::CountOrPercent { most } => json!({
                "type": ["integer", "string"],
                "minimum": 1,
                "maximum": most,
                "pattern": "^(?:[1-9][0-9]?|100)%$",
            }),
            Kind::Choice(words) => json!({ "enum": words }),
            Kind::Words(words) => json!({ "type": "array", "items": { "enum": words }, "minItems": 1, "uniqueItems": true }),
            Kind::Texts { of, least } => json!({ "type": "array", "items": text(*of), "minItems": least }),
            Kind::TextOrTexts(form) => {
                let mut schema = into_object(text(*form));
                schema.insert("type".to_owned(), json!(["string", "array"]));
                schema.insert("items".to_owned(), text(*form));
                schema.insert("minItems".to_owned(), json!(1));
                schema.insert("uniqueItems".to_owned(), json!(true));
                Value::Object(schema)
            }
            Kind::TextsOrFields(form, shape) => {
                json!({ "if": { "type": "object" }, "then": self.shape(shape), "else": self.kind(&Kind::TextOrTexts(*form)) })
            }
            Kind::TextOrFields(form, shape) => json!({ "if": { "type": "object" }, "then": self.shape(shape), "else": text(*form) }),
            Kind::Mapping { names, of } => {
                json!({ "type": "object", "propertyNames": text(*names), "additionalProperties": self.kind(of) })
            }
            Kind::Labels { most } => json!({
                "type": "object",
                "maxProperties": most,
                "propertyNames": text(Form::Name),
                "additionalProperties": label(),
            }),
            Kind::MappingOrExpression { names, of } => json!({
                "type": ["object", "string"],
                "pattern": text_patterns::ONE_EXPRESSION,
                "propertyNames": text(*names),
                "additionalProperties": self.kind(of),
                "x-ensue": "template",
            }),
            Kind::Expression => json!({ "type": ["string", "boolean", "number"], "x-ensue": "expression" }),
            Kind::Value => json!({ "type": ["string", "number", "boolean", "array", "object"], "x-ensue": "template" }),
            Kind::Anything => json!({ "x-ensue": "template" }),
            Kind::Schema(naming) => self.schema(*naming),
            Kind::Type => self.type_of_a_field(),
            Kind::Fields(shape) => self.shape(shape),
            Kind::WordOrFields(word, shape) => json!({ "anyOf": [{ "const": word }, self.shape(shape)] }),
            Kind::ChoiceOrFields(words, shape) => self.choice_or_fields(words, shape),
            Kind::List(shape) => json!({ "type": "array", "minItems": 1, "items": self.shape(shape) }),
            Kind::Listing(shape) => json!({ "type": "array", "items": self.shape(shape) }),
            Kind::ListOfChoiceOrFields(words, shape) => json!({ "type": "array", "items": self.choice_or_fields(words, shape) }),
            Kind::Nested(shape) => self.one_or_several(shape),
            Kind::Named { names, of, most } => json!({
                "type": "object",
                "minProperties": 1,
                "maxProperties": most,
                "propertyNames": text(*names),
                "additionalProperties": self.shape(of),
            }),
            Kind::ByWord { field, shapes } => self.by_word(field, shapes),
        }
    }

    fn choice_or_fields(&mut self, words: &[&str], shape: &'static Shape) -> Value {
        json!({ "anyOf": [{ "enum": words }, self.shape(shape)] })
    }

    /// One mapping, or a list of mappings and nested lists.
    fn one_or_several(&mut self, shape: &'static Shape) -> Value {
        const NAME: &str = "one_or_several";
        if !self.defined.contains_key(NAME) {
            let one = self.shape(shape);
            let several = json!({ "type": "array", "minItems": 1, "items": reference(NAME) });
            self.defined.insert(NAME.to_owned(), json!({ "if": { "type": "array" }, "then": several, "else": one }));
        }
        reference(NAME)
    }

    /// A mapping whose shape depends on a word in it. Common fields are declared outside, so that an editor
    /// knows them at once.
    fn by_word(&mut self, field: &str, shapes: &'static [(&'static str, &'static Shape)]) -> Value {
        let words: Vec<&str> = shapes.iter().map(|(word, _)| *word).collect();
        let about = shapes.iter().find_map(|(_, shape)| shape.field(field)).map_or("", |field| field.about);
        let each: Vec<Value> = shapes
            .iter()
            .map(|(word, shape)| {
                json!({
                    "if": { "required": [field], "properties": { (field): { "const": word } } },
                    "then": self.shape(shape),
                })
            })
            .collect();
        json!({
            "type": "object",
            "required": [field],
            "properties": { (field): { "enum": words, "description": about } },
            "allOf": each,
        })
    }

    /// Named fields with their types, or a whole JSON Schema under `schema` alone.
    fn schema(&mut self, naming: Naming) -> Value {
        let (name, names) = match naming {
            Naming::Ours => ("our_fields", text(Form::OwnName)),
            Naming::Theirs => ("their_fields", json!({ "type": "string", "minLength": 1 })),
        };
        if !self.defined.contains_key(name) {
            let declaration = self.declaration();
            let schema = json!({
                "type": "object",
                "if": { "required": ["schema"] },
                "then": {
                    "properties": {
                        "schema": { "type": ["object", "boolean"], "description": "A whole JSON Schema, draft 2020-12. No other field is allowed next to it." },
                    },
                    "additionalProperties": false,
                },
                "else": { "propertyNames": names, "additionalProperties": declaration },
            });
            self.defined.insert(name.to_owned(), schema);
        }
        reference(name)
    }

    /// The declaration of a schema field: the short form, a list, or the long form.
    fn declaration(&mut self) -> Value {
        const NAME: &str = "declaration";
        if !self.defined.contains_key(NAME) {
            let list = self.list_of_types();
            let mut long = into_object(self.shape(&LONG_FIELD));
            let declared = text_patterns::declaration();
            long.insert("type".to_owned(), json!(["string", "array", "object"]));
            long.insert("pattern".to_owned(), json!(declared.regex));
            long.insert("patternErrorMessage".to_owned(), json!(declared.is));
            for (name, value) in into_object(list) {
                long.entry(name).or_insert(value);
            }
            self.defined.insert(NAME.to_owned(), Value::Object(long));
        }
        reference(NAME)
    }

    /// A type without presence or default: a text, or a list with one item.
    fn type_of_a_field(&mut self) -> Value {
        const NAME: &str = "type";
        if !self.defined.contains_key(NAME) {
            let mut schema = into_object(text_of(&text_patterns::kind()));
            schema.insert("type".to_owned(), json!(["string", "array"]));
            schema.insert("items".to_owned(), reference(NAME));
            schema.insert("minItems".to_owned(), json!(1));
            schema.insert("maxItems".to_owned(), json!(1));
            self.defined.insert(NAME.to_owned(), Value::Object(schema));
        }
        reference(NAME)
    }

    fn list_of_types(&mut self) -> Value {
        json!({ "items": self.type_of_a_field(), "minItems": 1, "maxItems": 1 })
    }
}

fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"], "x-ensue": "template" })
}

fn label() -> Value {
    let mut schema = into_object(scalar());
    schema.insert("pattern".to_owned(), json!(text_patterns::LABEL.0));
    schema.insert("patternErrorMessage".to_owned(), json!(text_patterns::LABEL.1));
    Value::Object(schema)
}

fn text(form: Form) -> Value {
    match text_patterns::pattern(form) {
        None => json!({ "type": "string" }),
        Some(pattern) => text_of(&pattern),
    }
}

fn text_of(pattern: &FormPattern) -> Value {
    // `patternErrorMessage` is specific to VS Code: its editor shows it instead of the pattern.
    json!({ "type": "string", "pattern": pattern.regex, "patternErrorMessage": pattern.is })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn into_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        // None of our schemas is a bare boolean.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}
