//! The inputs: one row each, grouped by what they attack.

mod growth;
mod patterns;
mod work;

use ensue_expression::{ErrorKind, SOURCE_BYTES_MAX};
use serde_json::{Value as Json, json};

/// A hostile input with the required outcome.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) source: String,
    /// The event as its sender wrote it.
    pub(super) event: String,
    pub(super) then: Then,
}

/// The required outcome of an input.
#[derive(Debug)]
pub(super) enum Then {
    /// The event is not a valid document; the error has these words.
    Unread(&'static str),
    /// The source is not a valid expression; the error has these words.
    Refused(&'static str),
    /// The budget is exhausted, which no operator absorbs.
    Exhausted,
    /// An error of this kind, so that a rule does not fire.
    Erred(ErrorKind),
    Gives(Json),
    /// A value or an exhausted budget: only the cost matters.
    Ends,
}

pub(super) fn all() -> Vec<Case> {
    [sources(), costs(), patterns::patterns(), growth::growth(), arithmetic(), absence(), growth::documents(), work::work()]
        .into_iter()
        .flatten()
        .collect()
}

fn case(name: &'static str, source: impl Into<String>, then: Then) -> Case {
    Case { name, source: source.into(), event: "{}".to_owned(), then }
}

fn over(name: &'static str, event: impl Into<String>, source: impl Into<String>, then: Then) -> Case {
    Case { name, source: source.into(), event: event.into(), then }
}

/// Repeats `part` as often as a source may be long.
fn fill_source(part: &str, room: usize) -> String {
    part.repeat((SOURCE_BYTES_MAX - room) / part.len())
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("{{\"xs\":[{}]}}", items.collect::<Vec<_>>().join(","))
}

fn object(fields: usize) -> String {
    let fields: Vec<_> = (0..fields).map(|at| format!("\"k{at:06}\":{at}")).collect();
    format!("{{\"xs\":{{{}}}}}", fields.join(","))
}

fn text(content: &str) -> String {
    json!({"s": content}).to_string()
}

/// Nests `cel.bind` calls, each using the previous one: `@` in `step` is replaced by its variable.
fn bound(seed: &str, step: &str, times: usize, use_of: &str) -> String {
    let mut source = format!("cel.bind(v0, {seed}, ");
    for at in 1..times {
        source += &format!("cel.bind(v{at}, {}, ", step.replace('@', &format!("v{}", at - 1)));
    }
    source + &use_of.replace('@', &format!("v{}", times - 1)) + &")".repeat(times)
}

/// A nested list of this depth.
fn deep(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

/// L01 and L02: sources that are long or deep.
fn sources() -> Vec<Case> {
    let brackets = "!!(!!!!!!(!!!!(((((!!(!!(!!!!((".repeat(4) + "1";
    vec![
        case("source: nested nots and brackets, 125 bytes", brackets, Then::Refused("ends where")),
        case("source: 10,000 round brackets", "(".repeat(10_000), Then::Refused("longer than")),
        case("source: 8,000 round brackets", "(".repeat(8_000), Then::Refused("nested deeper")),
        case("source: 8,000 square brackets", "[".repeat(8_000), Then::Refused("nested deeper")),
        case("source: 2,600 braces", "{1:".repeat(2_600), Then::Refused("nested deeper")),
        case("source: 8,000 nots", "!".repeat(8_000), Then::Refused("ends where")),
        case("source: 8,000 nots before a value", "!".repeat(8_000) + "true", Then::Gives(json!(true))),
        case("source: 8,000 minuses before a value", "-".repeat(8_000) + "1", Then::Gives(json!(1))),
        case("source: conditions within conditions", "true ? ".repeat(1_000), Then::Refused("nested deeper")),
        case("source: conditions after conditions", fill_source("true ? 1 : ", 20) + "1", Then::Gives(json!(1))),
        case("source: 10,000 fields in a row", format!("event{}", ".b".repeat(10_000)), Then::Refused("longer than")),
        case("source: 4,000 fields in a row", format!("event{}", ".b".repeat(4_000)), Then::Erred(ErrorKind::Missing)),
        case("source: a literal of a megabyte", format!("'{}'", "a".repeat(1 << 20)), Then::Refused("longer than")),
        case("source: 100,000 times `|| true`", format!("true{}", "|| true".repeat(100_000)), Then::Refused("longer than")),
        case("source: as many `|| false` as there is room for", format!("false{}", fill_source("||false", 20)), Then::Gives(json!(false))),
        case("source: macros in macros", "[1].map(x,".repeat(700), Then::Refused("nested deeper")),
        case("source: as many `has` as there is room for", format!("true{}", fill_source("&&has(event.a)", 20)), Then::Gives(json!(false))),
        case("source: an unknown name of 8 KB", "a".repeat(8_000), Then::Refused("unknown name")),
        case("source: an unknown function of 8 KB", "a".repeat(8_000) + "()", Then::Refused("unknown")),
        case("source: an unknown method of 8 KB", format!("1.0.{}()", "a".repeat(8_000)), Then::Refused("unknown")),
        case("source: an unknown name with 4,000 dots", format!("a{}", ".b".repeat(4_000)), Then::Refused("unknown name")),
        case("source: dotted names looked ahead for", format!("google{}", fill_source(".google", 20)), Then::Refused("unknown name")),
        case("source: one list of 4,000 elements", format!("[{}]", "1,".repeat(4_000)), Then::Ends),
        case("source: one map of equal keys", format!("{{{}}}", fill_source("1:1,", 20)), Then::Erred(ErrorKind::Invalid)),
        case("source: 1,000 fields read in one part", format!("event.f{}", fill_source("+event.f", 20)), Then::Erred(ErrorKind::Missing)),
        over(
            "source: 1,000 fields read and explained",
            format!("{{{}}}", (0..750).map(|at| format!("\"a{at}\":{at}")).collect::<Vec<_>>().join(",")),
            format!("event.a0{}", (0..680).map(|at| format!("+event.a{at}")).collect::<String>()),
            Then::Gives(json!(230_860)),
        ),
    ]
}

/// L03: small sources that cause much work.
fn costs() -> Vec<Case> {
    let numbers = |count: usize| list((0..count).map(|at| at.to_string()));
    let thrice = "event.xs.all(a, event.xs.all(b, event.xs.all(c, a+b+c >= 0)))";
    let four = "event.xs.all(a, event.xs.all(b, event.xs.all(c, event.xs.all(d, a+b+c+d >= 0))))";
    vec![
        over("cost: three nested loops over 300", numbers(300), thrice, Then::Exhausted),
        over("cost: four nested loops over 1,000", numbers(1_000), four, Then::Exhausted),
        over("cost: absorbed by nothing", numbers(300), format!("{thrice} || true"), Then::Exhausted),
        over("cost: not absorbed by a loop", numbers(300), format!("[1, 2].exists(x, x == 2 || {thrice})"), Then::Exhausted),
        over("cost: a field looked for in each turn", object(100_000), "lists.range(9000).all(i, event.xs.k099999 > 0)", Then::Exhausted),
        over(
            "cost: an element looked for in each turn",
            numbers(100_000),
            "lists.range(9000).all(i, event.xs[99999] > 0)",
            Then::Exhausted,
        ),
        over("cost: a list looked through in each turn", numbers(1_000), "event.xs.all(x, !(-1 in event.xs))", Then::Exhausted),
        over(
            "cost: the size of a document's list in each turn",
            numbers(200_000),
            "lists.range(9000).all(i, size(event.xs) > 0)",
            Then::Exhausted,
        ),
        over(
            "cost: whether it is empty, in each turn",
            numbers(200_000),
            "lists.range(9000).all(i, optional.ofNonZeroValue(event.xs).hasValue())",
            Then::Ends,
        ),
        over("cost: equal lists of equal numbers", numbers(20_000), "event.xs == event.xs", Then::Ends),
        over("cost: deep equal values in each turn", deep(120), "lists.range(9000).all(i, event == event)", Then::Exhausted),
    ]
}

/// L06: arithmetic that has no result.
fn arithmetic() -> Vec<Case> {
    vec![
        case("arithmetic: beyond the largest int", "9223372036854775807 + 1 > 0", Then::Erred(ErrorKind::Overflow)),
        case("arithmetic: the least int by minus one", "-9223372036854775808 / -1 > 0", Then::Erred(ErrorKind::Overflow)),
        case("arithmetic: the remainder of the least int by minus one", "-9223372036854775808 % -1 == 0", Then::Erred(ErrorKind::Overflow)),
        case("arithmetic: the least int turned", "-(-9223372036854775808) > 0", Then::Erred(ErrorKind::Overflow)),
        case("arithmetic: the least int without its sign", "math.abs(-9223372036854775808) > 0", Then::Erred(ErrorKind::Overflow)),
        case("arithmetic: a remainder by zero", "1 % 0 == 0", Then::Erred(ErrorKind::DivisionByZero)),
        case("arithmetic: a division by zero", "1u / 0u == 0u", Then::Erred(ErrorKind::DivisionByZero)),
        case("arithmetic: below the least uint", "0u - 1u < 1u", Then::Erred(ErrorKind::Overflow)),
        case("arithmetic: a product of ints", "9223372036854775807 * 2 > 0", Then::Erred(ErrorKind::Overflow)),
        case(
            "arithmetic: a duration of a hundred thousand years",
            "duration('999999999999h') > duration('0s')",
            Then::Erred(ErrorKind::Overflow),
        ),
        case(
            "arithmetic: a duration of 8,000 digits",
            format!("duration('{}h') > duration('0s')", "9".repeat(8_000)),
            Then::Erred(ErrorKind::Overflow),
        ),
        case(
            "arithmetic: a duration of a thousand parts",
            format!("duration('{}') > duration('0s')", "9999999999999999999h".repeat(400)),
            Then::Erred(ErrorKind::Overflow),
        ),
        case(
            "arithmetic: a moment after the last",
            "timestamp('9999-12-31T23:59:59Z') + duration('1s') > timestamp(0)",
            Then::Erred(ErrorKind::Overflow),
        ),
        case("arithmetic: an undefined number as a key", "size({0.0 / 0.0: 1}) == 1", Then::Erred(ErrorKind::Type)),
        case("arithmetic: an undefined number equals nothing", "0.0 / 0.0 == 0.0 / 0.0", Then::Gives(json!(false))),
        case("arithmetic: an infinite number as an int", "int(1.0 / 0.0) > 0", Then::Erred(ErrorKind::Overflow)),
        case("arithmetic: undefined numbers sorted", "size([0.0 / 0.0, 1.0, 0.0 / 0.0, 0.5].sort()) == 4", Then::Erred(ErrorKind::Invalid)),
        case("arithmetic: a shift by much", "math.bitShiftLeft(1, 9223372036854775807) == 0", Then::Gives(json!(true))),
        case("arithmetic: a precision beyond all", "'%.999999999f'.format([1.0])", Then::Erred(ErrorKind::Invalid)),
        over("arithmetic: a million digits as a number", text(&"9".repeat(1 << 20)), "double(event.s) > 0.0", Then::Ends),
        over("arithmetic: a million digits as an int", text(&"9".repeat(1 << 20)), "int(event.s) > 0", Then::Erred(ErrorKind::Invalid)),
    ]
}

/// L07: fields that are missing or of another type.
fn absence() -> Vec<Case> {
    let event = r#"{"n":1,"t":"1","none":null,"o":{"a":1}}"#;
    let erred = |name, source: &str, kind| over(name, event, source, Then::Erred(kind));
    vec![
        erred("absence: a field that is not there", "event.nothing == 'x'", ErrorKind::Missing),
        erred("absence: a field of a field that is not there", "event.nothing.more == 'x'", ErrorKind::Missing),
        erred("absence: an element that is not there", "event.o['b'] == 1", ErrorKind::Missing),
        erred("absence: an int and a text ordered", "event.n < event.t", ErrorKind::Type),
        erred("absence: a field of null", "event.none.a == 1", ErrorKind::Type),
        erred("absence: a text that is no condition", "event.t && true", ErrorKind::Type),
        erred("absence: null that is no condition", "event.none && true", ErrorKind::Type),
        erred("absence: a method of null", "event.none.startsWith('a')", ErrorKind::Type),
        over("absence: an int and a text compared", event, "event.n == event.t", Then::Gives(json!(false))),
        over("absence: an error beside what decides", event, "event.nothing == 'x' || true", Then::Gives(json!(true))),
    ]
}
