//! Patterns that take a long time to compile, much memory, or a long time to match.

use ensue_expression::ErrorKind;
use serde_json::json;

use super::{Case, Then, case, list, over, text};

/// L04: patterns that take a long time to compile, much memory, or a long time to match.
pub(super) fn patterns() -> Vec<Case> {
    let long = "a".repeat(100 << 10) + "!";
    let bits = |count: usize| {
        // Deterministic noise: nothing in it repeats, so each place is another state.
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
            Then::Refused("too many characters"),
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
