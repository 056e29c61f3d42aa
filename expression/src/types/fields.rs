//! What is known about a map: its fields, whether they are always there, and whether there may be others.

use std::collections::BTreeMap;

use super::ValueType;

/// What is known about a map.
#[derive(Clone, Debug, PartialEq)]
pub struct MapType {
    fields: BTreeMap<Box<str>, FieldType>,
    others: Others,
    /// What the fields are called in messages: "the settings of `config`".
    called: Option<&'static str>,
    /// What each of the possible maps is called.
    each: Option<&'static str>,
}

/// A field of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldType {
    /// Its value.
    pub value: ValueType,
    /// How often it is there.
    pub occurrence: Occurrence,
}

/// How often something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Occurrence {
    /// Always.
    Always,
    /// It may be missing.
    Sometimes,
    /// It is in some of the possible maps, and not in others.
    InSome,
}

/// What is known about the fields that a map does not name.
#[derive(Clone, Debug, PartialEq)]
pub enum Others {
    /// There are none.
    None,
    /// There may be some. Reading one is an error, because nothing guarantees it.
    Undeclared,
    /// There may be some, of this type.
    Are(ValueType),
}

/// The result of looking up a name in a map.
pub(crate) enum FieldLookup<'m> {
    Field(&'m FieldType),
    /// The name is not declared, and need not be.
    Open(&'m ValueType),
    /// There is no such field, or it is not declared although it must be.
    Unknown,
}

impl MapType {
    /// Returns a map without fields.
    pub fn new(others: Others) -> Self {
        Self { fields: BTreeMap::new(), others, called: None, each: None }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: impl Into<Box<str>>, value: ValueType, occurrence: Occurrence) -> Self {
        self.fields.insert(name.into(), FieldType { value, occurrence });
        self
    }

    /// Sets what its fields are called in messages, and what each of the maps is called that it was joined
    /// from.
    #[must_use]
    pub fn with_wording(mut self, fields: &'static str, each: Option<&'static str>) -> Self {
        (self.called, self.each) = (Some(fields), each);
        self
    }

    /// Returns what can be one map or the other. A field that only one of them has is there in some.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut fields = BTreeMap::new();
        for (one, another) in [(self, other), (other, self)] {
            for (name, field) in &one.fields {
                let joined = match (another.fields.get(name), &another.others) {
                    (Some(same), _) => {
                        let occurrence = field.occurrence.max(same.occurrence);
                        FieldType { value: field.value.clone().or(same.value.clone()), occurrence }
                    }
                    (None, Others::None | Others::Undeclared) => FieldType { value: field.value.clone(), occurrence: Occurrence::InSome },
                    (None, Others::Are(value)) => {
                        FieldType { value: field.value.clone().or(value.clone()), occurrence: field.occurrence.max(Occurrence::Sometimes) }
                    }
                };
                fields.insert(name.clone(), joined);
            }
        }
        let others = match (&self.others, &other.others) {
            (Others::Are(one), Others::Are(other)) => Others::Are(one.clone().or(other.clone())),
            (Others::Are(value), _) | (_, Others::Are(value)) => Others::Are(value.clone()),
            (Others::Undeclared, _) | (_, Others::Undeclared) => Others::Undeclared,
            (Others::None, Others::None) => Others::None,
        };
        Self { fields, others, called: self.called.or(other.called), each: self.each.or(other.each) }
    }

    pub(crate) fn find(&self, name: &str) -> FieldLookup<'_> {
        match (self.fields.get(name), &self.others) {
            (Some(field), _) => FieldLookup::Field(field),
            (None, Others::Are(value)) => FieldLookup::Open(value),
            (None, Others::None | Others::Undeclared) => FieldLookup::Unknown,
        }
    }

    pub(crate) fn fields(&self) -> &BTreeMap<Box<str>, FieldType> {
        &self.fields
    }

    pub(crate) fn others(&self) -> &Others {
        &self.others
    }

    pub(crate) fn fields_called(&self) -> Option<&'static str> {
        self.called
    }

    pub(crate) fn each_called(&self) -> Option<&'static str> {
        self.each
    }

    /// Returns the number of types within it.
    pub(crate) fn size(&self) -> u32 {
        let others = match &self.others {
            Others::Are(value) => value.size,
            Others::None | Others::Undeclared => 0,
        };
        self.fields.values().fold(others, |all, field| all.saturating_add(field.value.size))
    }

    pub(crate) fn depth(&self) -> u8 {
        let others = match &self.others {
            Others::Are(value) => value.depth,
            Others::None | Others::Undeclared => 0,
        };
        self.fields.values().map(|field| field.value.depth).max().unwrap_or(0).max(others)
    }
}
