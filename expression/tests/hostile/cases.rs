//! The inputs: one row each, grouped by what they attack.

use ensue_expression::{ErrorKind, SOURCE_BYTES_MAX};
use serde_json::{Value as Json, json};

/// A hostile input and what must become of it.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) source: String,
    /// The event as its sender wrote it.
    pub(super) event: String,
    pub(super) then: Then,
}

/// What must become of an input.
#[derive(Debug)]
pub(super) enum Then {
    /// The event is no document; the error has these words.
    Unread(&'static str),
    /// The source is no expression; the error has these words.
    Refused(&'static str),
    /// The budget is used up, which no operator absorbs.
    Exhausted,
    /// An error of this kind, so that a rule does not fire.
    Erred(ErrorKind),
    Gives(Json),
    /// A value, or a budget used up: what it costs is all that matters.
    Ends,
}

pub(super) fn all() -> Vec<Case> {
    [sources(), costs(), patterns(), growth(), arithmetic(), absence(), documents(), work()].into_iter().flatten().collect()
}

fn case(name: &'static str, source: impl Into<String>, then: Then) -> Case {
    Case { name, source: source.into(), event: "{}".to_owned(), then }
}

fn over(name: &'static str, event: impl Into<String>, source: impl Into<String>, then: Then) -> Case {
    Case { name, source: source.into(), event: event.into(), then }
}

/// `part` as often as a source may be long.
fn filled(part: &str, room: usize) -> String {
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

/// `cel.bind` over `cel.bind`, each made of the one before: `step` holds `@` where that stands.
fn bound(seed: &str, step: &str, times: usize, use_of: &str) -> String {
    let mut source = format!("cel.bind(v0, {seed}, ");
    for at in 1..times {
        source += &format!("cel.bind(v{at}, {}, ", step.replace('@', &format!("v{}", at - 1)));
    }
    source + &use_of.replace('@', &format!("v{}", times - 1)) + &")".repeat(times)
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
        case("source: conditions after conditions", filled("true ? 1 : ", 20) + "1", Then::Gives(json!(1))),
        case("source: 10,000 fields in a row", format!("event{}", ".b".repeat(10_000)), Then::Refused("longer than")),
        case("source: 4,000 fields in a row", format!("event{}", ".b".repeat(4_000)), Then::Erred(ErrorKind::Missing)),
        case("source: a literal of a megabyte", format!("'{}'", "a".repeat(1 << 20)), Then::Refused("longer than")),
        case("source: 100,000 times `|| true`", format!("true{}", "|| true".repeat(100_000)), Then::Refused("longer than")),
        case("source: as many `|| false` as there is room for", format!("false{}", filled("||false", 20)), Then::Gives(json!(false))),
        case("source: macros in macros", "[1].map(x,".repeat(700), Then::Refused("nested deeper")),
        case("source: as many `has` as there is room for", format!("true{}", filled("&&has(event.a)", 20)), Then::Gives(json!(false))),
        case("source: an unknown name of 8 KB", "a".repeat(8_000), Then::Refused("unknown name")),
        case("source: an unknown function of 8 KB", "a".repeat(8_000) + "()", Then::Refused("unknown")),
        case("source: an unknown method of 8 KB", format!("1.0.{}()", "a".repeat(8_000)), Then::Refused("unknown")),
        case("source: an unknown name with 4,000 dots", format!("a{}", ".b".repeat(4_000)), Then::Refused("unknown name")),
        case("source: dotted names looked ahead for", format!("google{}", filled(".google", 20)), Then::Refused("unknown name")),
        case("source: one list of 4,000 elements", format!("[{}]", "1,".repeat(4_000)), Then::Ends),
        case("source: one map of equal keys", format!("{{{}}}", filled("1:1,", 20)), Then::Erred(ErrorKind::Invalid)),
        case("source: 1,000 fields read in one part", format!("event.f{}", filled("+event.f", 20)), Then::Erred(ErrorKind::Missing)),
        over(
            "source: 1,000 fields read and explained",
            format!("{{{}}}", (0..750).map(|at| format!("\"a{at}\":{at}")).collect::<Vec<_>>().join(",")),
            format!("event.a0{}", (0..680).map(|at| format!("+event.a{at}")).collect::<String>()),
            Then::Gives(json!(230_860)),
        ),
    ]
}

/// L03: small sources that ask for much work.
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
        over("cost: deep equal values in each turn", deep_event(120), "lists.range(9000).all(i, event == event)", Then::Exhausted),
    ]
}

fn deep_event(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

/// L04: patterns that take long to compile, much memory, or long to match.
fn patterns() -> Vec<Case> {
    let long = "a".repeat(100 << 10) + "!";
    let bits = |count: usize| {
        // Noise that is the same each time: nothing in it repeats, so that each place is another state.
        let mut state = 1_u32;
        let mut bit = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'0' + (state >> 31) as u8)
        };
        (0..count).map(|_| bit()).collect::<String>()
    };
    vec![
        over("pattern: (a+)+$ on 100 KB", text(&long), "event.s.matches('(a+)+$')", Then::Gives(json!(false))),
        case("pattern: a counted repetition of a counted one", r"'a'.matches(r'(\w{1000}){1000}')", Then::Refused("needs more than")),
        case("pattern: a megabyte of it", format!("'a'.matches('{}')", "a".repeat(1 << 20)), Then::Refused("longer than")),
        over(
            "pattern: a megabyte of it, taken from the event",
            text(&"a".repeat(1 << 20)),
            "'a'.matches(event.s)",
            Then::Erred(ErrorKind::Invalid),
        ),
        over(
            "pattern: 1,025 bytes of it, taken from the event",
            text(&"a".repeat(1_025)),
            "'a'.matches(event.s)",
            Then::Erred(ErrorKind::Invalid),
        ),
        over(
            "pattern: 1,024 bytes of it, taken from the event",
            text(&"a".repeat(1_024)),
            "'a'.matches(event.s)",
            Then::Gives(json!(false)),
        ),
        over(
            "pattern: counted repetitions, taken from the event",
            text(r"(\w{1000}){1000}"),
            "'a'.matches(event.s)",
            Then::Erred(ErrorKind::Invalid),
        ),
        over(
            "pattern: nested brackets, taken from the event",
            text(&"(".repeat(1_000)),
            "'a'.matches(event.s)",
            Then::Erred(ErrorKind::Invalid),
        ),
        over(
            "pattern: all of Unicode, forty times",
            text(&r"[\w--\d]".repeat(40)),
            "'a'.matches(event.s)",
            Then::Erred(ErrorKind::Invalid),
        ),
        over(
            "pattern: a thousand, taken from the event",
            list((1..1_000).map(|at| format!("\"a{{{at}}}\""))),
            "event.xs.exists(p, 'b'.matches(p))",
            Then::Exhausted,
        ),
        over(
            "pattern: a thousand large ones, taken from the event",
            list((1..1_000).map(|at| format!(r#""\\w{{3}}{at}""#))),
            "event.xs.exists(p, 'b'.matches(p))",
            Then::Exhausted,
        ),
        case(
            "pattern: as many large literals as there is room for",
            format!("'a'.matches(r'\\w{{3}}'){}", (0..280).map(|at| format!("||'a'.matches(r'\\w{{3}}{at}')")).collect::<String>()),
            Then::Refused("patterns"),
        ),
        case(
            "pattern: as many small literals as there is room for",
            format!("'a'.matches('b'){}", (0..340).map(|at| format!("||'a'.matches('a{at}')")).collect::<String>()),
            Then::Gives(json!(false)),
        ),
        over("pattern: a state for each suffix, 4 KB", text(&bits(4_000)), "event.s.matches('[01]*1[01]{60}[a-z]')", Then::Ends),
        over("pattern: a state for each suffix, 100 KB", text(&bits(100_000)), "event.s.matches('[01]*1[01]{60}[a-z]')", Then::Ends),
        over("pattern: a state for each suffix, 1 MB", text(&bits(1_000_000)), "event.s.matches('[01]*1[01]{14}[a-z]')", Then::Ends),
        over("pattern: a thousand states at once, 4 KB", text(&"a".repeat(4_000)), "event.s.matches('a*a{0,900}[b-z]')", Then::Ends),
        over("pattern: a thousand states at once, 100 KB", text(&"a".repeat(100_000)), "event.s.matches('a*a{0,900}[b-z]')", Then::Ends),
        over(
            "pattern: a state for each suffix of words, 4 KB",
            text(&"aé".repeat(1_300)),
            r"event.s.matches(r'\w*a\w{3}[!?]')",
            Then::Ends,
        ),
        over(
            "pattern: a state for each suffix of words, 100 KB",
            text(&"aé".repeat(33_000)),
            r"event.s.matches(r'\w*a\w{3}[!?]')",
            Then::Ends,
        ),
        over(
            "pattern: in a loop over short texts",
            list((0..5_000).map(|at| format!("\"aé{at}\""))),
            r"event.xs.exists(x, x.matches(r'\w*a\w{3}[!?]'))",
            Then::Ends,
        ),
        over("pattern: words to their borders, 100 KB", text(&"aé b ".repeat(20_000)), r"event.s.matches(r'\b[a-z]+\b\d')", Then::Ends),
        over(
            "pattern: classes of all letters without case, from the event",
            text(&format!("(?i){}", r"\pL".repeat(340))),
            "'a'.matches(event.s)",
            Then::Erred(ErrorKind::Invalid),
        ),
        case(
            "pattern: classes of all letters without case",
            format!("'a'.matches(r'(?i){}')", r"\pL".repeat(2_700)),
            Then::Refused("too many letters"),
        ),
        case(
            "pattern: as many classes of all letters as there is room for",
            format!("'a'.matches(r'(?i)\\pL'){}", (0..260).map(|at| format!("||'a'.matches(r'(?i)\\pL{at}')")).collect::<String>()),
            Then::Refused("patterns"),
        ),
        over(
            "pattern: as many literals that grow as there is room for",
            text(&bits(6_000)),
            format!(
                "event.s.matches('[01]*1[01]{{12}}z'){}",
                (0..180).map(|at| format!("||event.s.matches('[01]*1[01]{{{}}}[a-z]')", 11 + at % 9)).collect::<String>()
            ),
            Then::Ends,
        ),
        over(
            "pattern: nineteen classes of all letters, from the event",
            text(&format!("(?i){}", r"[\pL--\pN]".repeat(9))),
            "'a'.matches(event.s)",
            Then::Erred(ErrorKind::Invalid),
        ),
        over(
            "pattern: all but some letters without case, from the event",
            text(&format!("(?i){}", "[^a]".repeat(20))),
            "'a'.matches(event.s)",
            Then::Ends,
        ),
        over(
            "pattern: all letters between two without case, from the event",
            text(&format!("(?i){}", r"[\x{0}-\x{10FFFE}]".repeat(50))),
            "'a'.matches(event.s)",
            Then::Erred(ErrorKind::Invalid),
        ),
        over(
            "pattern: digits without case, from the event",
            text(&format!("(?i){}", r"[\d\s]".repeat(160))),
            "'a'.matches(event.s)",
            Then::Erred(ErrorKind::Invalid),
        ),
        over("pattern: a glob of stars", text(&"a/".repeat(2_000)), "event.s.glob('**/*a*/**/*a*/**/*a*/**/b')", Then::Gives(json!(false))),
        over("pattern: a glob of braces, taken from the event", text(&"{a,b}".repeat(200)), "'a'.glob(event.s)", Then::Ends),
        over(
            "pattern: eight kept, each with its own memory",
            json!({"s": bits(3_000), "xs": (20..28).map(|at| format!("[01]*1[01]{{{at}}}2")).collect::<Vec<_>>()}).to_string(),
            "event.xs.exists(p, event.s.matches(p))",
            Then::Ends,
        ),
    ]
}

/// L05: values that grow.
fn growth() -> Vec<Case> {
    let numbers = |count: usize| list((0..count).map(|at| (at % 10).to_string()));
    vec![
        case("growth: two thousand million numbers", "lists.range(2000000000)", Then::Exhausted),
        case("growth: as many numbers as there are", "lists.range(9223372036854775807)", Then::Exhausted),
        case("growth: as many numbers as the steps allow", "lists.range(99990)", Then::Ends),
        case("growth: as many numbers as the steps allow, sized", "size(lists.range(99990))", Then::Gives(json!(99_990))),
        case("growth: a text doubled", bound("'0123456789abcdef'", "@ + @", 40, "size(@)"), Then::Exhausted),
        case("growth: bytes doubled", bound("b'0123456789abcdef'", "@ + @", 40, "size(@)"), Then::Exhausted),
        case("growth: a list doubled", bound("[1, 2]", "@ + @", 40, "size(@)"), Then::Exhausted),
        case(
            "growth: a text doubled by nested loops",
            "['a'].map(a, a+a).map(b, b+b)".to_owned() + &filled(".map(b,b+b)", 80),
            Then::Exhausted,
        ),
        case("growth: a text replaced by itself", bound("'ab'", "@.replace('a', @).replace('b', @)", 12, "size(@)"), Then::Exhausted),
        case(
            "growth: nothing replaced by much",
            "lists.range(2000).map(x, 'x').join().replace('', lists.range(4000).map(x, 'y').join())",
            Then::Exhausted,
        ),
        case(
            "growth: a hundred digits over and over",
            bound("'%.100f'.format([1.0])", "@.replace('0', '%.100f'.format([1.0]))", 6, "size(@)"),
            Then::Exhausted,
        ),
        case("growth: empty lists", "lists.range(33000).map(x, [])", Then::Ends),
        case("growth: empty lists kept", "size(lists.range(33000).map(x, []))", Then::Ends),
        case("growth: lists of one", "size(lists.range(25000).map(x, [x]))", Then::Ends),
        case("growth: maps of one", "size(lists.range(20000).map(x, {x: x}))", Then::Ends),
        case("growth: optionals", "size(lists.range(25000).map(x, optional.of(x)))", Then::Ends),
        case("growth: small texts", "size(lists.range(20000).map(x, string(x)))", Then::Ends),
        case("growth: small bytes", "size(lists.range(20000).map(x, b'x' + b'y'))", Then::Ends),
        case("growth: a map of many keys", "size(lists.range(24000).transformMap(i, x, x))", Then::Ends),
        case("growth: a map of many entries", "size(lists.range(16000).transformMapEntry(i, x, {x: x}))", Then::Ends),
        case("growth: many characters as texts", "size(lists.range(4000).map(x, '0123456789').join().split(''))", Then::Ends),
        case(
            "growth: shared parts walked, forty levels of eight",
            bound("1", "[@, @, @, @, @, @, @, @]", 40, "json_text(@)"),
            Then::Exhausted,
        ),
        case("growth: shared parts compared", bound("1", "[@, @, @, @, @, @, @, @]", 40, "@ == @"), Then::Exhausted),
        case("growth: shared parts formatted", bound("1", "[@, @, @, @, @, @, @, @]", 40, "'%s'.format([@])"), Then::Exhausted),
        case("growth: shared parts as a result", bound("1", "[@, @, @, @, @, @, @, @]", 40, "@"), Then::Exhausted),
        case("growth: shared parts flattened", bound("1", "[@, @, @, @, @, @, @, @]", 40, "@.flatten(40)"), Then::Exhausted),
        case("growth: nested without end", format!("[1]{}", filled(".map(x,[x])", 20)), Then::Exhausted),
        case("growth: optionals nested without end", format!("optional.of(1){}", filled(".optMap(x,optional.of(x))", 20)), Then::Exhausted),
        over("growth: the whole document as a result", numbers(300_000), "event", Then::Exhausted),
        over(
            "growth: the whole document, many times",
            numbers(10_000),
            "[event, event, event, event, event, event, event, event]",
            Then::Ends,
        ),
        over(
            "growth: a document's escaped text in each turn",
            text(&"\u{1}".repeat(1 << 16)),
            "lists.range(9000).map(i, event.s)",
            Then::Exhausted,
        ),
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

/// Documents that are deep, wide or not what they seem.
fn documents() -> Vec<Case> {
    let keys = |count: usize| (0..count).map(|at| format!("\"{at:x}\":0")).collect::<Vec<_>>().join(",");
    vec![
        over(
            "document: 128 levels compared and copied",
            deep_event(128),
            "event == event && event == json_parse(json_text(event))",
            Then::Gives(json!(true)),
        ),
        over("document: 128 levels and one more around", deep_event(128), "[event]", Then::Exhausted),
        over("document: 100,000 brackets", "[".repeat(100_000), "true", Then::Unread("nested deeper")),
        over(
            "document: a million equal keys",
            format!("{{{}}}", vec!["\"a\":0"; 1_000_000].join(",")),
            "true",
            Then::Unread("stands twice"),
        ),
        over("document: a million equal keys at its end", format!("{{{},\"0\":0}}", keys(100_000)), "true", Then::Unread("stands twice")),
        over("document: a number beyond all", "[1e400]", "true", Then::Unread("too large")),
        over("document: a key written twice, once escaped", r#"{"role":"user","\u0072ole":"admin"}"#, "true", Then::Unread("stands twice")),
        over("document: keys of one fingerprint", format!("{{{}}}", keys(100_000)), "size(event) == 100000", Then::Gives(json!(true))),
        over("document: 100,000 fields compared", object(100_000), "event.xs == event.xs", Then::Ends),
        over("document: 30,000 fields compared", object(30_000), "event.xs == event.xs", Then::Ends),
        over("document: 100,000 fields gone through", object(100_000), "event.xs.all(k, true)", Then::Ends),
        over("document: 40,000 fields gone through", object(40_000), "event.xs.all(k, true)", Then::Ends),
        over("document: 100,000 fields as text", object(100_000), "size(json_text(event.xs)) > 0", Then::Ends),
        over("document: 40,000 fields as text", object(40_000), "size(json_text(event.xs)) > 0", Then::Ends),
        over("document: 100,000 fields formatted", object(100_000), "size('%s'.format([event.xs])) > 0", Then::Ends),
        over("document: 15,000 fields formatted", object(15_000), "size('%s'.format([event.xs])) > 0", Then::Ends),
        over("document: 100,000 fields as a result", object(100_000), "event.xs", Then::Ends),
        over("document: 40,000 fields as a result", object(40_000), "event.xs", Then::Ends),
        over("document: 15,000 fields transformed", object(15_000), "size(event.xs.transformMap(k, v, v)) > 0", Then::Ends),
    ]
}

/// Functions and operators that could take more than they are charged for.
fn work() -> Vec<Case> {
    let long = "ab".repeat(1 << 18);
    let numbers = |count: usize| list((0..count).map(|at| ((at * 7_919) % count).to_string()));
    let texts = |count: usize, len: usize| list((0..count).map(|at| format!("\"{}{at}\"", "x".repeat(len))));
    let parsed = |part: &str, count: usize| text(&format!("[{}]", vec![part; count].join(",")));
    vec![
        over(
            "work: contains, the worst needle",
            text(&"a".repeat(1 << 20)),
            format!("event.s.contains('{}b')", "a".repeat(4_000)),
            Then::Ends,
        ),
        over(
            "work: indexOf, the worst needle",
            text(&"a".repeat(1 << 20)),
            format!("event.s.indexOf('{}b')", "a".repeat(4_000)),
            Then::Ends,
        ),
        over(
            "work: lastIndexOf, the worst needle",
            text(&"a".repeat(1 << 20)),
            format!("event.s.lastIndexOf('b{}')", "a".repeat(4_000)),
            Then::Ends,
        ),
        over("work: charAt in each turn", text(&long), "lists.range(9000).map(i, event.s.charAt(i))", Then::Exhausted),
        over("work: substring in each turn", text(&"é".repeat(2_000)), "lists.range(2000).map(i, event.s.substring(i))", Then::Exhausted),
        over("work: replace, every character", text(&long), "size(event.s.replace('a', 'bc'))", Then::Ends),
        over("work: replace, between all characters", text(&long), "size(event.s.replace('', '-'))", Then::Ends),
        over("work: replace in a chain", text(&"a".repeat(4_000)), format!("size(event.s{})", ".replace('a','a')".repeat(400)), Then::Ends),
        over("work: split at every other character", text(&long), "size(event.s.split('a'))", Then::Ends),
        over("work: split into characters", text(&long), "size(event.s.split(''))", Then::Ends),
        over(
            "work: split and joined in each turn",
            text(&"a,".repeat(500)),
            "lists.range(500).all(i, size(event.s.split(',').join(';')) > 0)",
            Then::Exhausted,
        ),
        over(
            "work: lower and upper in each turn",
            text(&long),
            "lists.range(500).all(i, size(event.s.lowerAscii().upperAscii()) > 0)",
            Then::Exhausted,
        ),
        over("work: reverse", text(&long), "size(event.s.reverse())", Then::Ends),
        over("work: trim in each turn", text(&" ".repeat(1 << 18)), "lists.range(500).all(i, event.s.trim() == '')", Then::Exhausted),
        over("work: quote", text(&"\\\"".repeat(1 << 17)), "size(strings.quote(event.s))", Then::Ends),
        over("work: format in each turn", text(&"%".repeat(2_000)), "lists.range(500).all(i, size(event.s.format([])) > 0)", Then::Ends),
        over("work: hex of a text", text(&long), "size('%x'.format([event.s]))", Then::Ends),
        over("work: a hundred digits in each turn", "{}", "lists.range(9000).all(i, size('%.100f'.format([1e300])) > 0)", Then::Exhausted),
        over("work: numbers sorted", numbers(40_000), "size(event.xs.sort())", Then::Ends),
        over("work: numbers sorted, as many as the steps allow", numbers(5_000), "size(event.xs.sort())", Then::Ends),
        over("work: long texts sorted", texts(500, 1_000), "size(event.xs.sort())", Then::Ends),
        over("work: numbers sorted by themselves", numbers(4_000), "size(event.xs.sortBy(x, -x))", Then::Ends),
        over(
            "work: what has no order, sorted",
            list((0..20_000).map(|at| if at % 2 == 0 { "1".to_owned() } else { "\"a\"".to_owned() })),
            "event.xs.sort()",
            Then::Erred(ErrorKind::Type),
        ),
        over("work: undefined numbers sorted", numbers(3_000), "size(event.xs.map(x, 0.0 / 0.0).sort())", Then::Erred(ErrorKind::Invalid)),
        over("work: distinct numbers", numbers(440), "size(event.xs.distinct())", Then::Ends),
        over("work: distinct long texts", texts(300, 1_000), "size(event.xs.distinct())", Then::Ends),
        over(
            "work: distinct documents",
            list((0..250).map(|at| format!("{{\"a\":[{at}],\"b\":{{\"c\":{at}}}}}"))),
            "size(event.xs.distinct())",
            Then::Ends,
        ),
        over("work: flattened", list((0..9_000).map(|_| "[[[1]]]".to_owned())), "size(event.xs.flatten(3))", Then::Ends),
        over(
            "work: flattened as deep as one likes",
            list((0..20_000).map(|_| "[1]".to_owned())),
            "size(event.xs.flatten(9223372036854775807))",
            Then::Ends,
        ),
        over(
            "work: reversed and sliced in each turn",
            numbers(1_000),
            "event.xs.all(x, size(event.xs.reverse().slice(0, 10)) == 10)",
            Then::Exhausted,
        ),
        over(
            "work: the first of many, in each turn",
            numbers(50_000),
            "lists.range(500).all(i, event.xs.first().hasValue())",
            Then::Exhausted,
        ),
        over("work: the greatest of many, in each turn", numbers(1_000), "event.xs.all(x, math.greatest(event.xs) > 0)", Then::Exhausted),
        over("work: lists joined in each turn", numbers(300), "event.xs.map(x, event.xs + event.xs)", Then::Ends),
        over("work: json_parse of numbers", parsed("1", 200_000), "size(json_parse(event.s))", Then::Ends),
        over("work: json_parse of numbers, as many as the steps allow", parsed("1", 32_000), "size(json_parse(event.s))", Then::Ends),
        over("work: json_parse of small lists", parsed("[1]", 100_000), "size(json_parse(event.s))", Then::Ends),
        over("work: json_parse of small lists, as many as the steps allow", parsed("[1]", 16_000), "size(json_parse(event.s))", Then::Ends),
        over("work: json_parse of empty lists", parsed("[]", 130_000), "size(json_parse(event.s))", Then::Ends),
        over("work: json_parse of empty lists, as many as the steps allow", parsed("[]", 32_000), "size(json_parse(event.s))", Then::Ends),
        over("work: json_parse of small objects", parsed("{\"\":1}", 57_000), "size(json_parse(event.s))", Then::Ends),
        over("work: json_parse of empty texts", parsed("\"\"", 130_000), "size(json_parse(event.s))", Then::Ends),
        over("work: json_parse of one long text", text(&format!("\"{}\"", "x".repeat(1 << 20))), "size(json_parse(event.s))", Then::Ends),
        over("work: json_parse of one object", text(&object(6_000)), "size(json_parse(event.s).xs)", Then::Ends),
        over(
            "work: json_parse of what is no JSON, in each turn",
            text(&format!("[{}", "1,".repeat(2_000))),
            "lists.range(500).exists(i, json_parse(event.s) == 1)",
            Then::Exhausted,
        ),
        over(
            "work: json_parse in each turn",
            text("{\"a\":[1,2,3]}"),
            "lists.range(9000).all(i, json_parse(event.s).a[0] == 1)",
            Then::Exhausted,
        ),
        over("work: json_text in each turn", numbers(100), "lists.range(9000).all(i, size(json_text(event)) > 0)", Then::Exhausted),
        over("work: json_text of large numbers", list((0..40_000).map(|_| "1e300".to_owned())), "size(json_text(event))", Then::Ends),
        over("work: json_text of control characters", text(&"\u{1}".repeat(1 << 18)), "size(json_text(event.s))", Then::Ends),
        case(
            "work: json_text of made texts of control characters",
            "size(json_text(lists.range(4000).map(x, '\\u0001\\u0001\\u0001\\u0001').join()))",
            Then::Ends,
        ),
        over("work: base64 and back", text(&long), "size(base64.decode(base64.encode(bytes(event.s))))", Then::Ends),
        over(
            "work: base64 in each turn",
            text(&"a".repeat(1_000)),
            "lists.range(9000).all(i, size(base64.encode(bytes(event.s))) > 0)",
            Then::Exhausted,
        ),
        over("work: sha256 in each turn", text("a"), "lists.range(9000).all(i, sha256(event.s) != '')", Then::Ends),
        over("work: sha256 of a long text in each turn", text(&long), "lists.range(9000).all(i, sha256(event.s) != '')", Then::Exhausted),
        over(
            "work: semver in each turn",
            text(&format!("1.2.3-{}", "a.".repeat(100) + "b")),
            "lists.range(9000).all(i, semver(event.s).major == 1)",
            Then::Exhausted,
        ),
        over(
            "work: time zones in each turn",
            "{}",
            "lists.range(9000).all(i, timestamp('2026-01-31T09:00:00Z').getHours('America/Argentina/ComodRivadavia') > 0)",
            Then::Ends,
        ),
        over(
            "work: timestamps read in each turn",
            "{}",
            "lists.range(9000).all(i, timestamp('2026-01-31T09:00:00.123456789+01:00') > timestamp(0))",
            Then::Ends,
        ),
        over(
            "work: addresses in each turn",
            "{}",
            "lists.range(9000).all(i, 'ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255'.cidr('::/0'))",
            Then::Ends,
        ),
        over(
            "work: optionals in each turn",
            r#"{"a":{"b":{"c":{"d":1}}}}"#,
            "lists.range(9000).all(i, event.?a.?b.?c.?d.optMap(x, x + 1).or(optional.of(2)).orValue(3) == 2)",
            Then::Exhausted,
        ),
        over(
            "work: errors absorbed in each turn",
            "{}",
            "lists.range(9000).exists(i, event.nothing.more == i)",
            Then::Erred(ErrorKind::Missing),
        ),
        over(
            "work: errors with a long text, absorbed in each turn",
            text(&long),
            "lists.range(9000).exists(i, int(event.s) == i)",
            Then::Erred(ErrorKind::Invalid),
        ),
        over(
            "work: errors with a large list, absorbed in each turn",
            numbers(9_000),
            "lists.range(9000).exists(i, event[event.xs] == i)",
            Then::Erred(ErrorKind::Missing),
        ),
        over(
            "work: errors with a made list, absorbed in each turn",
            "{}",
            "cel.bind(v, lists.range(60), lists.range(9000).exists(i, {}[v] == i))",
            Then::Erred(ErrorKind::Missing),
        ),
        over(
            "work: texts compared in each turn",
            json!({"one": "x".repeat(1 << 18), "other": "x".repeat(1 << 18)}).to_string(),
            "lists.range(9000).all(i, event.one == event.other)",
            Then::Exhausted,
        ),
        over(
            "work: texts ordered in each turn",
            json!({"one": "x".repeat(1 << 18), "other": "x".repeat(1 << 18)}).to_string(),
            "lists.range(9000).all(i, event.one <= event.other)",
            Then::Exhausted,
        ),
        over(
            "work: startsWith in each turn",
            text(&"x".repeat(1 << 12)),
            "lists.range(9000).all(i, event.s.startsWith(event.s))",
            Then::Exhausted,
        ),
        over(
            "work: in over texts of one length",
            texts(3_000, 30),
            format!("event.xs.all(x, !('{}' in event.xs))", "x".repeat(33)),
            Then::Exhausted,
        ),
        over(
            "work: a map made and looked into, in each turn",
            "{}",
            "lists.range(9000).all(i, {'a': i, 'b': i, 'c': i}.c == i)",
            Then::Ends,
        ),
        over("work: a map merged of maps", object(8_000), "size(event.xs.transformMapEntry(k, v, {k: v, v: k}))", Then::Ends),
        over("work: locals twenty deep in each turn", "{}", bound("lists.range(4000)", "@", 30, "@.all(i, i >= 0)"), Then::Ends),
        over(
            "work: long keys compared in each turn",
            format!("{{\"{0}a\":1,\"{0}b\":2}}", "k".repeat(60_000)),
            format!("lists.range(9000).all(i, event['{0}' + '{0}'] == 1 || true)", "k".repeat(3_000)),
            Then::Ends,
        ),
        over(
            "work: long equal keys compared in each turn",
            format!("{{\"{0}a\":1,\"{0}b\":2}}", "k".repeat(60_000)),
            "cel.bind(k, event.transformList(k, v, k)[1], lists.range(9000).all(i, event[k] == 2))",
            Then::Ends,
        ),
        over(
            "work: long keys of made maps",
            format!("{{\"{0}a\":1,\"{0}b\":2}}", "k".repeat(60_000)),
            "cel.bind(m, event.transformMap(k, v, v), cel.bind(k, event.transformList(k, v, k)[1], lists.range(9000).all(i, m[k] == 2)))",
            Then::Ends,
        ),
        over(
            "work: escaped keys compared in each turn",
            format!("{{{}\"b\":2}}", (0..64).map(|at| format!("\"{}\\u0001{at}\":1,", "k".repeat(1_000))).collect::<String>()),
            "cel.bind(k, event.transformList(k, v, k)[1], lists.range(9000).all(i, event[k] == 1))",
            Then::Ends,
        ),
    ]
}
