//! Expressions and documents generated from choices: mostly of fitting types, so that they have values, and
//! occasionally not.

use serde_json::{Map, Value as Json, json};

/// The nesting depth of an expression. Deep nesting can make the oracle's parser abort the process.
const DEPTH_MAX: u32 = 4;
/// One of so many sub-expressions has any type, whatever type is needed.
const MISFIT_EVERY: usize = 24;

const STRINGS: &[&str] = &["", "a", "ab", "A b", " x ", "Grüße", "😀é", "refs/tags/v1.2", "1", "-7", "1.5", "true", "a,b,,c"];
const INTS: &[&str] = &["0", "1", "-1", "2", "7", "0x1f", "9223372036854775807", "-9223372036854775808", "4611686018427387904"];
const UINTS: &[&str] = &["0u", "1u", "7u", "0xFFu", "18446744073709551615u"];
const DOUBLES: &[&str] = &["0.0", "1.0", "-1.5", "2.5e3", "1e-7", ".5", "1e308", "9223372036854775807.0"];
const MOMENTS: &[&str] = &[
    "'2026-01-31T23:30:15.25Z'",
    "'2024-02-29T06:30:00Z'",
    "'1969-12-31T23:59:59.999999999Z'",
    "'0001-01-01T00:00:00Z'",
    "'9999-12-31T23:59:59.999999999Z'",
    "'2026-03-29T01:30:00Z'",
    "0",
    "-1",
];
const SPANS: &[&str] = &["'0s'", "'1h30m'", "'-1.5s'", "'250ms'", "'1ns'", "'9223372036s'", "'1h1m1s1ms1us1ns'", "'0.000000001s'", "'24h'"];
/// Doubles with the same text in both.
const DOUBLES_OF_PLAIN_TEXT: &[&str] = &["0.0", "1.0", "-1.5", "2.5e3", "0.001", "1e20"];
/// Fields of the document, by the type that they mostly have.
const FIELDS: &[(Type, &[&str])] = &[
    (Type::Int, &["event.n", "event.big", "event.o.n", "event.ns[0]", "event.o['n']"]),
    (Type::Double, &["event.d", "event.o.d"]),
    (Type::String, &["event.s", "event.t", "event.o.s", "event['s']", "event.ss[1]"]),
    (Type::Bool, &["event.b", "event.o.b"]),
    (Type::Ints, &["event.ns", "event.o.ns"]),
    (Type::Strings, &["event.ss", "event.o.ss"]),
    (Type::Map, &["event.o", "event.o.o", "event"]),
    (Type::Null, &["event.z", "event.o.z"]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Ints,
    Strings,
    Map,
    Null,
    Moment,
    Span,
}

const TYPES: [Type; 12] = [
    Type::Bool,
    Type::Int,
    Type::Uint,
    Type::Double,
    Type::String,
    Type::Bytes,
    Type::Ints,
    Type::Strings,
    Type::Map,
    Type::Null,
    Type::Moment,
    Type::Span,
];

/// Predefined choices; when they are exhausted, the first and simplest option is always taken.
pub(super) struct Choices<'c> {
    bytes: std::slice::Iter<'c, u8>,
}

impl<'c> Choices<'c> {
    pub(super) fn new(bytes: &'c [u8]) -> Self {
        Self { bytes: bytes.iter() }
    }

    fn below(&mut self, count: usize) -> usize {
        self.bytes.next().map_or(0, |&byte| usize::from(byte)) % count
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }
}

/// A document with the fields of [`FIELDS`], some of them missing and some of another type.
pub(super) fn document(choices: &mut Choices<'_>) -> Json {
    let mut event = object(choices);
    event.insert("o".to_owned(), Json::Object(object(choices)));
    Json::Object(event)
}

fn object(choices: &mut Choices<'_>) -> Map<String, Json> {
    let ints = [json!(0), json!(1), json!(-1), json!(7), json!(i64::MAX), json!(i64::MIN)];
    let doubles = [json!(0.0), json!(0.5), json!(-2.0), json!(1e18)];
    let mut fields = Map::new();
    for name in ["n", "big", "d", "s", "t", "b", "ns", "ss", "z"] {
        let string = |choices: &mut Choices<'_>| Json::from(choices.of(STRINGS));
        let value = match name {
            "n" => ints[choices.below(ints.len())].clone(),
            "big" => json!(u64::MAX - choices.below(2) as u64),
            "d" => doubles[choices.below(doubles.len())].clone(),
            "b" => Json::from(choices.below(2) == 1),
            "ns" => (0..choices.below(4)).map(|_| ints[choices.below(ints.len())].clone()).collect(),
            "ss" => (0..choices.below(4)).map(|_| string(choices)).collect(),
            "z" => Json::Null,
            _ => string(choices),
        };
        match choices.below(40) {
            39 => {}
            38 => drop(fields.insert(name.to_owned(), Json::Null)),
            37 => drop(fields.insert(name.to_owned(), json!("other"))),
            _ => drop(fields.insert(name.to_owned(), value)),
        }
    }
    fields
}

/// An expression over the root `event`.
pub(super) fn expression(choices: &mut Choices<'_>) -> String {
    let of = TYPES[choices.below(TYPES.len())];
    Generator { choices, depth: 0, variables: Vec::new() }.any(of)
}

struct Generator<'g, 'c> {
    choices: &'g mut Choices<'c>,
    depth: u32,
    /// The variables of the macros around this place.
    variables: Vec<(String, Type)>,
}

impl Generator<'_, '_> {
    /// An expression of the type, most of the time.
    fn any(&mut self, of: Type) -> String {
        let of = match (self.choices.below(MISFIT_EVERY), TYPES[self.choices.below(TYPES.len())]) {
            // A map instead of a list would only show that the oracle iterates over it in any order.
            (misfit, other) if misfit == MISFIT_EVERY - 1 && other != Type::Map => other,
            _ => of,
        };
        if self.depth >= DEPTH_MAX {
            return self.leaf(of);
        }
        self.depth += 1;
        let text = match self.choices.below(8) {
            0 | 1 => self.leaf(of),
            2 => format!("({} ? {} : {})", self.any(Type::Bool), self.any(of), self.any(of)),
            3 => self.optional(of),
            _ => self.operation(of),
        };
        self.depth -= 1;
        text
    }

    fn leaf(&mut self, of: Type) -> String {
        let variables: Vec<_> = self.variables.iter().filter(|(_, kind)| *kind == of).map(|(name, _)| name.clone()).collect();
        if !variables.is_empty() && self.choices.below(2) == 0 {
            return variables[self.choices.below(variables.len())].clone();
        }
        let fields = FIELDS.iter().find(|(kind, _)| *kind == of).map_or(&[][..], |(_, fields)| fields);
        if !fields.is_empty() && self.choices.below(2) == 0 {
            return self.choices.of(fields).to_owned();
        }
        match of {
            Type::Bool => self.choices.of(&["true", "false"]).to_owned(),
            Type::Int => self.choices.of(INTS).to_owned(),
            Type::Uint => self.choices.of(UINTS).to_owned(),
            Type::Double => self.choices.of(DOUBLES).to_owned(),
            Type::String => self.text(),
            Type::Bytes => self.choices.of(&["b''", "b'a'", "b'\\xff\\000'", "b\"Grüße\""]).to_owned(),
            Type::Ints => self.choices.of(&["[]", "[1]", "[3, 1, 2]", "[1, -1, 1]"]).to_owned(),
            Type::Strings => self.choices.of(&["[]", "['a']", "['b', 'a', 'b']", "['é', '😀']"]).to_owned(),
            Type::Map => self.choices.of(&["{}", "{'a': 1}", "{'n': 2, 's': 'x'}", "{1: 'a', true: 'b'}", "{'o': {'n': 1}}"]).to_owned(),
            Type::Null => "null".to_owned(),
            Type::Moment => format!("timestamp({})", self.choices.of(MOMENTS)),
            Type::Span => format!("duration({})", self.choices.of(SPANS)),
        }
    }

    /// A string literal in one of the ways to write it.
    fn text(&mut self) -> String {
        let text = self.choices.of(STRINGS);
        match self.choices.below(5) {
            0 => format!("'{text}'"),
            1 => format!("\"{text}\\n\\u00e9\\\"\""),
            2 => format!("r'{text}\\d'"),
            3 => format!("'''{text}'\n'''"),
            _ => format!("\"\"\"{text}\\x41\\101\\U0001F600\"\"\""),
        }
    }

    /// A value that may be absent, and its default: something that cannot fail, because the oracle evaluates
    /// it in any case.
    fn optional(&mut self, of: Type) -> String {
        let path = self.choices.of(&[
            "event.?n",
            "event.?nothing",
            "event.o.?s",
            "event.?o.?n",
            "event.?o.nothing",
            "event[?'d']",
            "event.o[?'ns']",
            "event.?z",
        ]);
        let other = match of {
            Type::Bool => "true",
            Type::Int => "3",
            Type::Uint => "3u",
            Type::Double => "3e0",
            Type::String => "'x'",
            Type::Bytes => "b'x'",
            Type::Ints => "[3]",
            Type::Strings => "['x']",
            Type::Map => "{'n': 3}",
            Type::Null => "null",
            Type::Moment => "timestamp('2026-01-31T09:00:00Z')",
            Type::Span => "duration('1s')",
        };
        match self.choices.below(5) {
            0 => format!("{path}.orValue({other})"),
            1 => format!("optional.of({}).value()", self.any(of)),
            2 => format!("{path}.optMap(v, {}).orValue({other})", self.any(of)),
            3 => format!("optional.ofNonZeroValue({}).orValue({other})", self.any(of)),
            _ => format!("optional.none().or(optional.of({other})).orValue({other})"),
        }
    }

    fn operation(&mut self, of: Type) -> String {
        match of {
            Type::Bool => self.truth(),
            Type::Int => self.int(),
            Type::Uint => match self.choices.below(3) {
                0 => format!("uint({})", self.any(Type::Int)),
                _ => self.arithmetic(Type::Uint),
            },
            Type::Double => match self.choices.below(7) {
                4 => format!(
                    "math.{}({})",
                    self.choices.of(&["ceil", "floor", "round", "trunc", "abs", "sign", "sqrt"]),
                    self.any(Type::Double)
                ),
                5 => format!("math.{}({}, {})", self.choices.of(&["greatest", "least"]), self.any(Type::Double), self.any(Type::Int)),
                0 => format!("double({})", self.any(Type::Int)),
                1 => format!("-{}", self.any(Type::Double)),
                _ => self.arithmetic(Type::Double),
            },
            Type::String => self.string(),
            Type::Bytes => format!("bytes({})", self.any(Type::String)),
            Type::Ints => self.list(Type::Ints, Type::Int),
            Type::Strings => match self.choices.below(3) {
                0 => format!("{}.split({})", self.any(Type::String), self.any(Type::String)),
                _ => self.list(Type::Strings, Type::String),
            },
            Type::Map => {
                format!("{{{}: {}, 'k': {}, ?'o': event.?o.?n}}", self.any(Type::String), self.any(Type::Int), self.any(Type::String))
            }
            Type::Null => format!("[{}, null][1]", self.any(Type::Int)),
            Type::Moment => match self.choices.below(4) {
                0 => format!("timestamp({})", self.any(Type::Int)),
                1 => format!("timestamp(string({}))", self.any(Type::Moment)),
                2 => format!("({} + {})", self.any(Type::Moment), self.any(Type::Span)),
                _ => format!("({} - {})", self.any(Type::Moment), self.any(Type::Span)),
            },
            Type::Span => match self.choices.below(4) {
                0 => format!("({} - {})", self.any(Type::Moment), self.any(Type::Moment)),
                1 => format!("duration(string({}))", self.leaf(Type::Span)),
                2 => format!("({} + {})", self.any(Type::Span), self.any(Type::Span)),
                _ => format!("({} - {})", self.any(Type::Span), self.any(Type::Span)),
            },
        }
    }

    fn truth(&mut self) -> String {
        match self.choices.below(18) {
            17 => format!("math.{}({})", self.choices.of(&["isNaN", "isInf", "isFinite"]), self.any(Type::Double)),
            0 | 1 => {
                let of = TYPES[self.choices.below(TYPES.len())];
                let operator = self.choices.of(&["==", "!="]);
                format!("{} {operator} {}", self.any(of), self.any(of))
            }
            14 => format!("{} && {} || {}", self.any(Type::Bool), self.any(Type::Bool), self.any(Type::Bool)),
            15 => {
                let of = TYPES[self.choices.below(TYPES.len())];
                format!(
                    "type({}) == {}",
                    self.any(of),
                    self.choices.of(&["int", "uint", "double", "string", "bool", "bytes", "list", "map", "null_type", "type"])
                )
            }
            16 => format!("bool({})", self.any(Type::String)),
            2 => {
                let of = [Type::Int, Type::Double, Type::String, Type::Uint, Type::Bytes, Type::Bool, Type::Moment, Type::Span]
                    [self.choices.below(8)];
                let operator = self.choices.of(&["<", "<=", ">", ">="]);
                format!("{} {operator} {}", self.any(of), self.any(of))
            }
            3 => format!("({} && {})", self.any(Type::Bool), self.any(Type::Bool)),
            4 => format!("({} || {})", self.any(Type::Bool), self.any(Type::Bool)),
            5 => format!("!{}", self.any(Type::Bool)),
            6 => format!("{} in {}", self.any(Type::Int), self.any(Type::Ints)),
            7 => format!("{} in {}", self.any(Type::String), self.any(Type::Map)),
            8 => format!(
                "has({})",
                self.choices.of(&["event.n", "event.nothing", "event.o.s", "event.nothing.more", "event.z", "event.o.o"])
            ),
            9 | 10 => {
                let name = self.choices.of(&["all", "exists", "exists_one"]);
                let (range, variable) = self.range();
                let body = self.with(variable, |generator| generator.any(Type::Bool));
                format!("{range}.{name}({}, {body})", variable.0)
            }
            11 | 12 => {
                let method = self.choices.of(&["startsWith", "endsWith", "contains"]);
                format!("{}.{method}({})", self.any(Type::String), self.any(Type::String))
            }
            _ => format!("{}.matches({})", self.any(Type::String), self.choices.of(&["'^a'", "'[A-Z]+'", "r'\\d'", "''", "'é|ü'"])),
        }
    }

    fn int(&mut self) -> String {
        match self.choices.below(18) {
            15 => {
                let method = self.choices.of(&[
                    "getFullYear",
                    "getMonth",
                    "getDate",
                    "getDayOfMonth",
                    "getDayOfWeek",
                    "getDayOfYear",
                    "getHours",
                    "getMinutes",
                    "getSeconds",
                    "getMilliseconds",
                ]);
                let zone = self.choices.of(&["", "'UTC'", "'Europe/Berlin'", "'America/St_Johns'", "'+02:00'", "'-08:30'", "'Nowhere'"]);
                format!("({} + {}).{method}({zone})", self.leaf(Type::Moment), self.leaf(Type::Span))
            }
            16 => format!("{}.{}()", self.any(Type::Span), self.choices.of(&["getHours", "getMinutes", "getSeconds"])),
            17 => format!("int({})", self.any(Type::Moment)),
            12 => format!("math.{}({}, {})", self.choices.of(&["bitAnd", "bitOr", "bitXor"]), self.any(Type::Int), self.any(Type::Int)),
            13 => format!(
                "math.{}({}, {})",
                self.choices.of(&["bitShiftLeft", "bitShiftRight"]),
                self.any(Type::Int),
                self.choices.of(&["0", "1", "63", "64", "-1"])
            ),
            14 => format!("math.{}({})", self.choices.of(&["abs", "sign", "greatest", "least"]), self.any(Type::Int)),
            10 => format!("{}[{}u]", self.any(Type::Ints), self.choices.below(2)),
            11 => format!(
                "{{1: {}, 2u: 3, true: 4, 'a': 5}}[{}]",
                self.any(Type::Int),
                self.choices.of(&["1", "2", "1u", "2.0", "true", "'a'", "1.5", "false"])
            ),
            0 => {
                let of = [Type::String, Type::Ints, Type::Strings, Type::Map, Type::Bytes][self.choices.below(5)];
                format!("size({})", self.any(of))
            }
            1 => format!("{}.size()", self.any(Type::Strings)),
            2 => format!("int({})", self.any(Type::Double)),
            3 => format!("int({})", self.any(Type::Uint)),
            4 => format!("-{}", self.any(Type::Int)),
            5 => format!("{}[{}]", self.any(Type::Ints), self.any(Type::Int)),
            6 => {
                let method = self.choices.of(&["indexOf", "lastIndexOf"]);
                format!("{}.{method}({})", self.any(Type::String), self.any(Type::String))
            }
            _ => self.arithmetic(Type::Int),
        }
    }

    fn arithmetic(&mut self, of: Type) -> String {
        let operators = ["+", "-", "*", "/", "%"];
        let (one, other) = (self.choices.of(&operators), self.choices.of(&operators));
        match self.choices.below(3) {
            0 => format!("{} {one} {} {other} {}", self.any(of), self.any(of), self.any(of)),
            _ => format!("({} {one} {})", self.any(of), self.any(of)),
        }
    }

    fn string(&mut self) -> String {
        let text = self.any(Type::String);
        match self.choices.below(15) {
            0 | 1 => format!("({text} + {})", self.any(Type::String)),
            14 => format!("string({})", self.choices.of(DOUBLES_OF_PLAIN_TEXT)),
            2 => {
                let of = [Type::Int, Type::Uint, Type::Bool, Type::Bytes, Type::Moment, Type::Span][self.choices.below(6)];
                format!("string({})", self.any(of))
            }
            3 => format!("{text}.{}()", self.choices.of(&["lowerAscii", "upperAscii", "trim"])),
            4 => format!("{text}.substring({})", self.choices.of(&["0", "1", "3", "-1"])),
            5 => format!("{text}.substring({}, {})", self.choices.of(&["0", "1"]), self.choices.of(&["1", "2", "5"])),
            6 => format!("{text}.replace({}, {})", self.any(Type::String), self.any(Type::String)),
            7 => format!("{text}.replace({}, {}, {})", self.any(Type::String), self.any(Type::String), self.choices.of(&["0", "1", "-1"])),
            8 => format!("{text}.charAt({})", self.choices.of(&["0", "1", "2", "-1"])),
            9 => format!("{}.join({})", self.any(Type::Strings), self.any(Type::String)),
            10 => format!("{text}.split({}, {})[0]", self.any(Type::String), self.choices.of(&["0", "1", "2", "-1"])),
            11 => format!("strings.quote({text})"),
            12 => {
                format!("'%s %d %.2f %x'.format([{text}, {}, {}, {}])", self.any(Type::Int), self.any(Type::Double), self.any(Type::Uint))
            }
            _ => format!("{{'k': {text}}}.k"),
        }
    }

    fn list(&mut self, of: Type, element: Type) -> String {
        match self.choices.below(8) {
            0 => format!("[{}, {}]", self.any(element), self.any(element)),
            1 => format!("({} + {})", self.any(of), self.any(of)),
            2 => {
                let range = self.any(of);
                let body = self.with(("v", element), |generator| generator.any(Type::Bool));
                format!("{range}.filter(v, {body})")
            }
            3 => {
                let (range, variable) = self.list_range();
                let body = self.with(variable, |generator| generator.any(element));
                format!("{range}.map({}, {body})", variable.0)
            }
            4 => {
                let (range, variable) = self.list_range();
                let (filter, body) = self.with(variable, |generator| (generator.any(Type::Bool), generator.any(element)));
                format!("{range}.map({}, {filter}, {body})", variable.0)
            }
            5 => match self.choices.below(4) {
                0 => format!("{}.sortBy(e, {}(e))", self.any(of), self.choices.of(&["string", "size", ""])),
                _ => format!("{}.{}()", self.any(of), self.choices.of(&["sort", "distinct", "reverse"])),
            },
            6 => format!("{}.slice({}, {})", self.any(of), self.choices.of(&["0", "1"]), self.choices.of(&["1", "2", "0"])),
            _ => format!("[{}, [{}]].flatten()", self.any(of), self.any(element)),
        }
    }

    /// The range of a macro, and the variable for its elements.
    fn range(&mut self) -> (String, (&'static str, Type)) {
        match self.choices.below(3) {
            0 => (self.any(Type::Map), ("k", Type::String)),
            _ => self.list_range(),
        }
    }

    /// The same, but never a map: the oracle iterates over one in another order each time.
    fn list_range(&mut self) -> (String, (&'static str, Type)) {
        match self.choices.below(2) {
            0 => (self.any(Type::Ints), ("i", Type::Int)),
            _ => (self.any(Type::Strings), ("s", Type::String)),
        }
    }

    fn with<T>(&mut self, (name, of): (&'static str, Type), make: impl FnOnce(&mut Self) -> T) -> T {
        self.variables.push((name.to_owned(), of));
        let made = make(self);
        self.variables.pop();
        made
    }
}
