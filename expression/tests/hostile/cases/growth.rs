//! Values that grow, and documents that are deep, wide or deceptive.

use serde_json::json;

use super::{Case, Then, bound, case, deep, fill_source, list, object, over, text};

/// L05: values that grow.
pub(super) fn growth() -> Vec<Case> {
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
            "['a'].map(a, a+a).map(b, b+b)".to_owned() + &fill_source(".map(b,b+b)", 80),
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
        case("growth: nested without end", format!("[1]{}", fill_source(".map(x,[x])", 20)), Then::Exhausted),
        case(
            "growth: optionals nested without end",
            format!("optional.of(1){}", fill_source(".optMap(x,optional.of(x))", 20)),
            Then::Exhausted,
        ),
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

/// Documents that are deep, wide or deceptive.
pub(super) fn documents() -> Vec<Case> {
    let keys = |count: usize| (0..count).map(|at| format!("\"{at:x}\":0")).collect::<Vec<_>>().join(",");
    vec![
        over(
            "document: 128 levels compared and copied",
            deep(128),
            "event == event && event == json_parse(json_text(event))",
            Then::Gives(json!(true)),
        ),
        over("document: 128 levels and one more around", deep(128), "[event]", Then::Exhausted),
        over("document: 100,000 brackets", "[".repeat(100_000), "true", Then::Unread("nested deeper")),
        over(
            "document: a million equal keys",
            format!("{{{}}}", vec!["\"a\":0"; 1_000_000].join(",")),
            "true",
            Then::Unread("duplicate key"),
        ),
        over("document: a million equal keys at its end", format!("{{{},\"0\":0}}", keys(100_000)), "true", Then::Unread("duplicate key")),
        over("document: a number beyond all", "[1e400]", "true", Then::Unread("too large")),
        over(
            "document: a key written twice, once escaped",
            r#"{"role":"user","\u0072ole":"admin"}"#,
            "true",
            Then::Unread("duplicate key"),
        ),
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
