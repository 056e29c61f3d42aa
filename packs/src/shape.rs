//! The shapes of user-written files: the fields that a mapping may have, and the values that each may hold.
//!
//! Each shape is one table that is used to read the file, to generate its JSON Schema, and to verify the
//! reference documentation. `fields.rs` reads files, `json_schema.rs` builds the JSON Schemas; the meaning of
//! values is defined elsewhere.

/// The shape of one kind of mapping.
#[derive(Debug)]
pub struct Shape {
    /// Its name with an article: `a rule`.
    pub what: &'static str,
    /// Its fields.
    pub fields: &'static [ShapeField],
    /// Fields of the pack language that this release does not support yet, each with its purpose.
    pub later: &'static [(&'static str, &'static str)],
    /// Constraints between its fields.
    pub between: &'static [FieldConstraint],
}

/// One field of a shape.
#[derive(Debug)]
pub struct ShapeField {
    /// Its name.
    pub name: &'static str,
    /// Whether it is required.
    pub need: Need,
    /// The kind of its value.
    pub kind: Kind,
    /// Its purpose, as shown by editors.
    pub about: &'static str,
}

/// Whether a field is required.
#[derive(Debug)]
pub enum Need {
    /// Not required.
    Optional,
    /// Required.
    Required {
        /// An example of the field, with its name.
        example: &'static str,
    },
}

/// A constraint between the fields of a shape.
#[derive(Debug)]
pub enum FieldConstraint {
    /// Exactly one of all its fields is present.
    ExactlyOne,
    /// Both may be present only if each is exactly one expression, so that one may turn out to be null.
    NotBothWritten(&'static str, &'static str),
    /// `field` may be present only if the text in `other` matches the pattern.
    OnlyFor {
        /// The constrained field.
        field: &'static str,
        /// The field that it depends on.
        other: &'static str,
        /// The pattern that the other field must match.
        pattern: &'static str,
    },
    /// At most one of the two is present.
    NotBoth(&'static str, &'static str),
    /// Exactly one of these fields is present.
    ExactlyOneOf(&'static [&'static str]),
    /// At least one of these fields is present.
    AtLeastOneOf(&'static [&'static str]),
    /// `field` may be present only together with `other`.
    OnlyBeside {
        /// The constrained field.
        field: &'static str,
        /// The field that it qualifies.
        other: &'static str,
    },
    /// `field` may be present only together with one of `others`.
    OnlyBesideOneOf {
        /// The constrained field.
        field: &'static str,
        /// The fields that it qualifies.
        others: &'static [&'static str],
    },
    /// `field` must be absent if the mapping in `outer` has `inner`.
    NotWhereHas {
        /// The constrained field.
        field: &'static str,
        /// The field with the mapping.
        outer: &'static str,
        /// The field in it that rules the first one out.
        inner: &'static str,
    },
    /// `field` may be present only if the mapping in `outer` has `inner`.
    OnlyWhereHas {
        /// The constrained field.
        field: &'static str,
        /// The field with the mapping.
        outer: &'static str,
        /// The field in it that the first one qualifies.
        inner: &'static str,
    },
    /// `field` must be absent if `flag` is true.
    NotBesideTrue {
        /// The constrained field.
        field: &'static str,
        /// The flag that rules it out.
        flag: &'static str,
    },
}

/// The kind of a field's value.
#[derive(Debug)]
pub enum Kind {
    /// A text.
    Text(Form),
    /// A value that becomes text: a text, a number or a boolean.
    Scalar,
    /// A value that becomes text, or a list of such values.
    Scalars,
    /// True or false.
    Boolean,
    /// `true` only; to express false, omit the field.
    True,
    /// A whole number.
    Integer {
        /// The minimum.
        from: i64,
        /// The maximum.
        to: i64,
    },
    /// A whole number from 1 on, or a percentage from 1 to 100 as text: `10%`.
    CountOrPercent {
        /// The maximum number.
        most: i64,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A non-empty list of a few words, each at most once.
    Words(&'static [&'static str]),
    /// A list of texts.
    Texts {
        /// The form of each.
        of: Form,
        /// The minimum number of texts.
        least: usize,
    },
    /// One text, or a non-empty list of texts without duplicates.
    TextOrTexts(Form),
    /// One text, or a non-empty list of texts without duplicates, or a mapping of fields.
    TextsOrFields(Form, &'static Shape),
    /// One text, or a mapping of fields.
    TextOrFields(Form, &'static Shape),
    /// A mapping of names.
    Mapping {
        /// The form of the names.
        names: Form,
        /// The kind of each value.
        of: &'static Kind,
    },
    /// A mapping of names to values that become the values of labels.
    Labels {
        /// The maximum number of entries.
        most: usize,
    },
    /// A mapping of names, or one expression that returns it.
    MappingOrExpression {
        /// The form of the names.
        names: Form,
        /// The kind of each value.
        of: &'static Kind,
    },
    /// A bare expression.
    Expression,
    /// Any value except null, with or without `${{ … }}` in its texts.
    Value,
    /// Any value, including null.
    Anything,
    /// A schema: named fields in the short form, or a whole JSON Schema.
    Schema(Naming),
    /// A type of the short form, without `?` and `=`.
    Type,
    /// A mapping of fields.
    Fields(&'static Shape),
    /// One word, or a mapping of fields.
    WordOrFields(&'static str, &'static Shape),
    /// One of a few words, or a mapping of fields.
    ChoiceOrFields(&'static [&'static str], &'static Shape),
    /// A non-empty list of such mappings.
    List(&'static Shape),
    /// A list of such mappings, which may be empty.
    Listing(&'static Shape),
    /// A list of items that each are one of a few words or a mapping of fields.
    ListOfChoiceOrFields(&'static [&'static str], &'static Shape),
    /// A mapping of fields, or a non-empty list of such mappings and lists.
    Nested(&'static Shape),
    /// A non-empty mapping of names to such mappings.
    Named {
        /// The form of the names.
        names: Form,
        /// The shape of each value.
        of: &'static Shape,
        /// The maximum number of entries.
        most: usize,
    },
    /// A mapping of fields whose shape depends on the word in one of them.
    ByWord {
        /// The field with the word.
        field: &'static str,
        /// The shape for each word.
        shapes: &'static [(&'static str, &'static Shape)],
    },
}

/// The rules for the names of a schema's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The pack's own: parameters and configuration, which expressions read as `params.x`.
    Ours,
    /// Defined elsewhere: payloads and results.
    Theirs,
}

/// The form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Any,
    /// The name of a pack or of one of its definitions.
    Name,
    /// A name that can be used in expressions.
    OwnName,
    /// The name of a key, with or without its pack.
    KeyName,
    /// A permission, perhaps with a limit.
    Permission,
    /// The name of a var.
    VarName,
    /// A ref, `<pack>.<name>`.
    Ref,
    /// The ref of a trigger, perhaps with a version of its payload: `<pack>.<name>@1`.
    VersionedRef,
    /// The number of a version of a trigger that is not the newest.
    OlderVersion,
    /// A version, as in Semantic Versioning.
    Version,
    /// A range of versions.
    VersionRange,
    /// Numbers with units, or the form of ISO 8601; `0s` is allowed.
    Duration,
    /// A duration greater than zero.
    SomeTime,
    /// A duration, or a text with expressions that returns one.
    Wait,
    /// A duration greater than zero, or a text with expressions that returns one.
    Period,
    /// The name of an HTTP header.
    Header,
    /// A content type without parameters.
    ContentType,
    /// The name of an environment variable that is not reserved for Ensue.
    Variable,
    /// An HTTP method, or a text with expressions that returns one.
    Method,
    /// What an answer is read as, or a text with expressions that returns it.
    AnswerForm,
    /// A URL whose scheme and host are literal, or one expression that returns a whole URL.
    Url,
    /// A script: code without expressions, or exactly one parameter that is declared as code.
    Script,
    /// An argument of a program: no expressions.
    Argument,
    /// The name of a connection, or exactly one parameter or setting that names one.
    Connection,
    /// An address and a port.
    Address,
    /// A change of a file.
    FileChange,
}

impl Shape {
    /// A shape of no fields, between which nothing holds: what most shapes add nothing to.
    pub(crate) const BARE: Self = Self { what: "", fields: &[], later: &[], between: &[] };

    /// Returns the field of that name.
    pub fn field(&self, name: &str) -> Option<&'static ShapeField> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Returns the names of the fields.
    pub fn names(&self) -> Vec<&'static str> {
        self.fields.iter().map(|field| field.name).collect()
    }
}

/// Returns a required field; `example` shows how it may be written.
pub const fn required_field(name: &'static str, example: &'static str, kind: Kind, about: &'static str) -> ShapeField {
    ShapeField { name, need: Need::Required { example }, kind, about }
}

/// Returns an optional field.
pub const fn optional_field(name: &'static str, kind: Kind, about: &'static str) -> ShapeField {
    ShapeField { name, need: Need::Optional, kind, about }
}

/// Returns the words of a choice, so that the offered words are those that are understood.
pub(crate) const fn words<T, const N: usize>(choices: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut index = 0;
    while index < N {
        words[index] = choices[index].0;
        index += 1;
    }
    words
}
