//! The shapes of the files that people write: which fields a mapping may have, and what may stand in each.
//!
//! One table of each shape is what the file is read by, what its JSON Schema is made of, and what the reference is held to.
//! Reading is `fields.rs`, the JSON Schemas are `json_schema.rs`; what a value means is nobody's here.

/// What a mapping of one kind may hold.
#[derive(Debug)]
pub struct Shape {
    /// What it is, with its article: `a rule`.
    pub what: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
    /// Fields that the pack language has and this release does not, each with what it brings.
    pub later: &'static [(&'static str, &'static str)],
    /// What holds between its fields.
    pub between: &'static [Between],
}

/// One field of a shape.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub need: Need,
    /// What stands in it.
    pub kind: Kind,
    /// What it is for, as an editor shows it.
    pub about: &'static str,
}

/// Whether a field must be there.
#[derive(Debug)]
pub enum Need {
    /// It need not.
    Optional,
    /// It must.
    Required {
        /// How it may be written, with its name.
        example: &'static str,
    },
}

/// What holds between the fields of a shape.
#[derive(Debug)]
pub enum Between {
    /// Exactly one of all its fields is there.
    ExactlyOne,
    /// Both are there only where each is exactly one expression, of which one may turn out to be nothing.
    NotBothWritten(&'static str, &'static str),
    /// `field` is there only where the text in `other` matches the pattern.
    OnlyFor {
        /// The field that is not always possible.
        field: &'static str,
        /// The one that it depends on.
        other: &'static str,
        /// What that one is then.
        pattern: &'static str,
    },
    /// At most one of the two is there.
    NotBoth(&'static str, &'static str),
    /// Exactly one of these fields is there.
    ExactlyOneOf(&'static [&'static str]),
    /// `field` is there only beside `other`.
    OnlyBeside {
        /// The field that is not always possible.
        field: &'static str,
        /// The one that it says more of.
        other: &'static str,
    },
    /// `field` is not there where the mapping in `outer` has `inner`.
    NotWhereHas {
        /// The field that is not always possible.
        field: &'static str,
        /// The field with the mapping.
        outer: &'static str,
        /// What rules it out there.
        inner: &'static str,
    },
    /// `field` is not there where `flag` is true.
    NotBesideTrue {
        /// The field that is not always possible.
        field: &'static str,
        /// The one that rules it out.
        flag: &'static str,
    },
}

/// What stands in a field.
#[derive(Debug)]
pub enum Kind {
    /// A text.
    Text(Form),
    /// What becomes a text: one, a number, or a boolean.
    Scalar,
    /// What becomes a text, or a list of such.
    Scalars,
    /// True or false.
    Boolean,
    /// True, and nothing else: what is not so is left out.
    True,
    /// A whole number.
    Integer {
        /// The least.
        from: i64,
        /// The greatest.
        to: i64,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts {
        /// The form of each.
        of: Form,
        /// How many there are at least.
        least: usize,
    },
    /// One text, or a list of at least one in which none stands twice.
    TextOrTexts(Form),
    /// A mapping of names.
    Mapping {
        /// The form of the names.
        names: Form,
        /// What stands under each.
        of: &'static Kind,
    },
    /// A mapping of names to what becomes the value of a label.
    Labels {
        /// How many there may be.
        most: usize,
    },
    /// A mapping of names, or one expression that gives it.
    MappingOrExpression {
        /// The form of the names.
        names: Form,
        /// What stands under each.
        of: &'static Kind,
    },
    /// An expression, bare.
    Expression,
    /// Any value but null, with `${{ … }}` in its texts or without.
    Value,
    /// Any value, null too.
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
    /// A list of at least one such mapping.
    List(&'static Shape),
    /// A list of such mappings, which may be empty.
    Listing(&'static Shape),
    /// A list of what stands alone elsewhere: a word of a few, or a mapping of fields.
    ListOfChoiceOrFields(&'static [&'static str], &'static Shape),
    /// A mapping of fields, or a list of at least one of such mappings and lists.
    Nested(&'static Shape),
    /// A mapping of names to such mappings, at least one.
    Named {
        /// The form of the names.
        names: Form,
        /// What stands under each.
        of: &'static Shape,
        /// How many there may be.
        most: usize,
    },
    /// A mapping of fields whose shape a word in one of them decides.
    ByWord {
        /// The field with the word.
        field: &'static str,
        /// The shape for each word.
        shapes: &'static [(&'static str, &'static Shape)],
    },
}

/// Whose names the fields of a schema have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The pack's own: parameters and configuration, which expressions read as `params.x`.
    Ours,
    /// Somebody else's: payloads and results.
    Theirs,
}

/// The form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Any,
    /// The name of a pack or of what it defines.
    Name,
    /// A name that expressions can say.
    OwnName,
    /// The name of a key, with its pack or without.
    KeyName,
    /// The name of a var.
    VarName,
    /// A ref, `<pack>.<name>`.
    Ref,
    /// A version, as Semantic Versioning has them.
    Version,
    /// A range of versions.
    VersionRange,
    /// A number and a unit; `0s` is one.
    Duration,
    /// A duration that leaves some time.
    SomeTime,
    /// A duration, or a text with expressions that gives one.
    Wait,
    /// The name of a header of HTTP.
    Header,
    /// The name of an environment variable that is not Ensue's.
    Variable,
    /// A method of HTTP, or a text with expressions that gives one.
    Method,
    /// A URL whose scheme and host are written out, or one expression that gives a whole one.
    Url,
    /// A script: code without expressions, or exactly one parameter that is declared as code.
    Script,
    /// An argument of a program: no expressions.
    Argument,
    /// An address and a port.
    Address,
}

impl Shape {
    /// A shape of no fields, between which nothing holds: what most shapes add nothing to.
    pub(crate) const BARE: Self = Self { what: "", fields: &[], later: &[], between: &[] };

    /// Gives the field of that name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Gives the names of the fields.
    pub fn names(&self) -> Vec<&'static str> {
        self.fields.iter().map(|field| field.name).collect()
    }
}

/// A field that must be there; `example` shows how it may be written.
pub const fn required(name: &'static str, example: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, need: Need::Required { example }, kind, about }
}

/// A field that need not be there.
pub const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, need: Need::Optional, kind, about }
}

/// The words of a choice, so that what is offered is what is understood.
pub(crate) const fn words<T, const N: usize>(choices: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut index = 0;
    while index < N {
        words[index] = choices[index].0;
        index += 1;
    }
    words
}
