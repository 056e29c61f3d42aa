//! Why the `cel` crate returns something else, if it does: each reason is a rule with an example.

use cel::Value as Theirs;
use ensue_expression::Value;

use super::Case;
use super::oracle::same;

/// A reason for a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// The crate iterates over a map in the order of a hash map, which differs between runs; here it is the
    /// order of the keys.
    MapOrder,
    /// The crate has no macros with two variables.
    TwoVariables,
    /// The crate does not have `cel.bind`, names in backticks, or the functions of the pack language.
    NotThere,
    /// An unknown name, an unknown function or an invalid pattern is an error before evaluation here, and no
    /// `||` hides it.
    FoundBefore,
    /// The crate has no budget.
    Unbounded,
    /// The crate evaluates the argument of `or` and `orValue` even if it is not needed.
    EagerAlternative,
    /// The crate removes pairs of `-` and of `!` before it looks at their operand.
    PairedSigns,
    /// An order comparison with NaN: false here, according to IEEE 754; an error in the crate.
    OrderOfNaN,
    /// A value that cannot be a key is not in a map here; in the crate the test is an error.
    NoKey,
    /// The crate adds the keys of a map to a list.
    ListAndMap,
    /// An optional index into a text is an error here, because it never exists; in the crate it is absent.
    OptionalIndexOfText,
    /// The crate rejects literals that `math.greatest`, `math.least` and `sortBy` do not accept before
    /// evaluation.
    LiteralArgument,
    /// The crate sorts only values of a single type; here ints, uints and doubles have one order, because an
    /// integer of JSON may be any of them.
    MixedNumbers,
    /// Very large, very small and infinite doubles: `1e+21` and `+Inf` here, as the specification's own implementation has them; all digits
    /// and `inf` in the crate.
    DoubleText,
    /// The milliseconds of a duration: those within its second here, according to the specification; all of
    /// them in the crate.
    MillisecondsOfDuration,
    /// The crate reads the seconds of a duration as a double, and loses digits of long ones.
    LongDuration,
    /// The crate returns the parts of a timestamp at its written offset; here they are in UTC, according to
    /// the specification.
    OffsetOfTimestamp,
}

impl Difference {
    pub(super) const ALL: [Self; 17] = [
        Self::MapOrder,
        Self::TwoVariables,
        Self::NotThere,
        Self::FoundBefore,
        Self::Unbounded,
        Self::EagerAlternative,
        Self::PairedSigns,
        Self::OrderOfNaN,
        Self::NoKey,
        Self::ListAndMap,
        Self::OptionalIndexOfText,
        Self::LiteralArgument,
        Self::MixedNumbers,
        Self::DoubleText,
        Self::MillisecondsOfDuration,
        Self::LongDuration,
        Self::OffsetOfTimestamp,
    ];

    /// Expressions that show it, each over [`super::event`].
    pub(super) fn examples(self) -> &'static [&'static str] {
        match self {
            // Of eight keys, one order in 40,320 is that of the keys by chance.
            Self::MapOrder => &["{'d': 1, 'c': 2, 'b': 3, 'a': 4, 'g': 5, 'f': 6, 'e': 7, 'i': 8}.map(k, k)"],
            Self::TwoVariables => &["[7].exists(i, v, i == 0 && v == 7)", "{'a': 1}.transformMap(k, v, v + 1)"],
            Self::NotThere => &["cel.bind(x, 1, x + 1)", "event.`n`", "'a.rs'.glob('*.rs')", "sha256('')", "'1.2.0'.semver('^1')"],
            Self::FoundBefore => &["nothing || true", "f(1) || true", "'a'.f() || true", "'a'.matches('(') || true"],
            Self::Unbounded => &["size(lists.range(200000))"],
            Self::EagerAlternative => &["event.?n.orValue(1 / 0)", "optional.of(1).or(optional.of(1 / 0)).value()"],
            Self::PairedSigns => &["--event.z", "!!event.s", "--9223372036854775808 > 0 || true"],
            Self::OrderOfNaN => &["0.0 / 0.0 < 1.0", "1.0 >= 0.0 / 0.0"],
            Self::NoKey => &["null in {}", "b'a' in event"],
            Self::ListAndMap => &["[1] + {'a': 1}"],
            Self::OptionalIndexOfText => &["event.s[?0].orValue('x')"],
            Self::LiteralArgument => &["math.greatest('a', 1) > 0 || true", "math.least([]) == 0 || true", "1.sortBy(e, e) == [] || true"],
            Self::MixedNumbers => &["[2, 1u, 1.5].sort()", "[2u, 1].sortBy(e, e)"],
            Self::DoubleText => &["string(1e21)", "string(1e-7)", "string(1.0 / 0.0)", "bytes(string(1e21))"],
            Self::MillisecondsOfDuration => &["duration('90.25s').getMilliseconds()"],
            Self::LongDuration => &["duration('9223372036.000000001s')"],
            Self::OffsetOfTimestamp => &["timestamp('2024-02-29T12:00:00+05:30').getMinutes()"],
        }
    }

    /// Returns true if this is why the two differ.
    pub(super) fn explains(self, case: &Case<'_>) -> bool {
        let has = |parts: &[&str]| parts.iter().any(|part| case.source.contains(part));
        let ours_errs = |parts: &[&str]| case.ours.as_ref().is_err_and(|error| parts.iter().any(|part| error.contains(part)));
        let theirs_errs = |parts: &[&str]| case.theirs.as_ref().is_err_and(|error| parts.iter().any(|part| error.contains(part)));
        let has_two_variables = has(&["(i, v, ", "(k, v, "]);
        match self {
            Self::MapOrder => matches!((&case.ours, &case.theirs), (Ok(ours), Ok(theirs)) if same_in_any_order(ours, theirs)),
            Self::TwoVariables => has_two_variables && theirs_errs(&["Undeclared reference"]),
            Self::NotThere => !has_two_variables && case.ours.is_ok() && theirs_errs(&["Undeclared reference", "unsupported syntax: '`'"]),
            Self::FoundBefore => ours_errs(&["unknown name", "unknown function", "unknown method", "invalid pattern"]),
            Self::Unbounded => ours_errs(&["evaluation takes more than 100000 steps"]),
            Self::EagerAlternative => case.ours.is_ok() && case.theirs.is_err() && has_alternative_that_may_err(case.source),
            Self::PairedSigns => {
                has(&["--", "!!"]) && (ours_errs(&["`-`", "expected true or false"]) || theirs_errs(&["invalid int literal"]))
            }
            Self::OrderOfNaN => {
                let orders = ["'_<_' applied to", "'_<=_' applied to", "'_>_' applied to", "'_>=_' applied to"];
                case.ours.is_ok() && theirs_errs(&orders) && theirs_errs(&["(double", "double)"])
            }
            Self::NoKey => case.ours.is_ok() && theirs_errs(&["'@in' applied to"]),
            Self::ListAndMap => ours_errs(&["`+` cannot be applied to a list and a map", "`+` cannot be applied to a map and a list"]),
            Self::OptionalIndexOfText => has(&["[?"]) && ours_errs(&["is a string and cannot be indexed"]),
            Self::LiteralArgument => {
                theirs_errs(&["literal arguments must be numeric", "invalid single argument value", "sortBy can only be applied to"])
            }
            Self::MixedNumbers => case.ours.is_ok() && theirs_errs(&["list elements must have the same type"]),
            // The result of a function on such a text may not show it.
            Self::DoubleText => {
                has(&["string(", ".format("]) && case.ours.as_ref().is_ok_and(|value| has_exponent(value) || has(&["1e308", "1e-7"]))
            }
            Self::MillisecondsOfDuration => has(&["s').getMilliseconds()"]),
            Self::LongDuration => has(&["duration('9223372036."]),
            Self::OffsetOfTimestamp => has(&["+05:30').get"]),
        }
    }
}

/// Returns true if some `or` or `orValue` has an argument that is more than a constant.
fn has_alternative_that_may_err(source: &str) -> bool {
    [".or(", ".orValue("]
        .iter()
        .any(|call| source.split(call).skip(1).any(|rest| rest.split(')').next().is_some_and(|argument| argument.contains(" / "))))
}

/// Returns true if two values are the same except for the order of lists.
fn same_in_any_order(ours: &Value<'_>, theirs: &Theirs) -> bool {
    let (Some(ours), Theirs::List(theirs)) = (ours.elements(), theirs) else {
        return same(ours, theirs);
    };
    let mut left: Vec<_> = theirs.iter().collect();
    ours.len() == left.len()
        && ours.iter().all(|one| {
            let at = left.iter().position(|other| same(one, other));
            at.map(|at| left.swap_remove(at)).is_some()
        })
}

/// Returns true if a text of the value, or bytes that are text, may be that of a very large, very small or
/// infinite double.
fn has_exponent(value: &Value<'_>) -> bool {
    let is_one = |text: &str| ["e+", "e-", "E+", "E-", "Inf", "INF", "inf"].iter().any(|part| text.contains(part));
    match value {
        Value::String(text) => is_one(text),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).is_ok_and(is_one),
        Value::List(list) => list.items().iter().any(has_exponent),
        Value::Map(map) => map.entries().iter().any(|(key, value)| has_exponent(key) || has_exponent(value)),
        _ => false,
    }
}
