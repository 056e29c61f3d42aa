//! Errors in a schedule are reported with their place and a suggestion, and no text causes a panic.

use ensue_engine::explain::Explain;
use ensue_engine::schedule::{Cron, EXPRESSION_BYTES_MAX, ScheduleError, Zone, moment};
use ensue_engine::time::Timestamp;
use proptest::prelude::*;

fn wrong(expression: &str) -> ScheduleError {
    Cron::parse(expression, Zone::UTC).expect_err(expression)
}

/// The error, with the text at its place and the hint.
fn render_error(expression: &str) -> String {
    let error = wrong(expression);
    let place = error.span().map(|span| format!(" at `{}`", &expression[span])).unwrap_or_default();
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{error}{place}{hint}")
}

#[test]
fn each_error_has_its_place_and_a_suggestion() {
    let cases = [
        ("61 * * * *", "`61` is not a valid minute: the range is 0 to 59 at `61`"),
        ("0 24 * * *", "`24` is not a valid hour: the range is 0 to 23 at `24`"),
        ("0 0 0 * *", "`0` is not a valid day of the month: the range is 1 to 31 at `0`"),
        (
            "0 0 99999999999999999999 * *",
            "`99999999999999999999` is not a valid day of the month: the range is 1 to 31 at `99999999999999999999`",
        ),
        ("0 0 * * MONDAY", "`MONDAY` is not a valid day of the week at `MONDAY`; write `MON`"),
        ("0 0 * JULY *", "`JULY` is not a valid month at `JULY`; write `JUL`"),
        ("JAN 0 * * *", "`JAN` is not a valid minute at `JAN`; write 0 to 59, `*`, a list `1,2`, a range `1-5`, a step `*/5`"),
        ("0 22-2 * * *", "the range `22-2` ends before it begins at `22-2`; write `22-23,0-2`"),
        ("0 0 * * FRI-MON", "the range `FRI-MON` ends before it begins at `FRI-MON`; write `FRI-6,0-MON`"),
        ("0 0 * * 6-1", "the range `6-1` ends before it begins at `6-1`; write `6,0-1`"),
        ("*/0 * * * *", "the step of `*/0` is zero at `*/0`; write a step of 1 or more"),
        ("1,5/15 * * * *", "`5/15` has a step but no range at `5/15`; write `5-59/15` to start there, or `*/15`"),
        ("1,,2 * * * *", "a minute is missing next to a comma or after a sign at ``; remove the sign, or add the missing value"),
        ("0 *,3 * * *", "`*` is part of a list, but it already means every value at `*`; remove either this part or the rest of the list"),
        ("? * * * *", "`?` is only for day fields, but this is the minute at `?`; write `*`"),
        (
            "0 0 * * L",
            "`L` means the last one, but it does not say which day of the week at `L`; write `5L` for the last Friday of the month; 0 and 7 are Sunday",
        ),
        (
            "0 0 * * 1#6",
            "`1#6` counts a weekday within a month, which must be from 1 to 5 at `1#6`; write `1#2` for the second Monday of the month, or `1L` for the last",
        ),
        (
            "0 0 L,LW * *",
            "`L` and `LW` cannot be combined, as in `LW` at `LW`; use `L` for the last day of the month, or `LW` for the last day from Monday to Friday",
        ),
        (
            "* * * *",
            "a cron expression has 5 fields, 6 with seconds, or 7 with seconds and years; this one has 4 at ``; write minute, hour, day of the month, month and day of the week, for example `0 9 * * 1-5`",
        ),
        (
            "1 2 3 4 5 6 7 8 9",
            "a cron expression has 5 fields, 6 with seconds, or 7 with seconds and years; this one has 9 at `8 9`; put the seconds first (6 fields), and the years last (7 fields)",
        ),
        ("  @dayly ", "there is no schedule named `@dayly` at `@dayly`; did you mean `@daily`?"),
        ("@reboot", "there is no schedule named `@reboot` at `@reboot`; write one of @hourly, @daily, @weekly, @monthly, @yearly"),
        (
            "0 0 */2 * 1",
            "`*/2` is ambiguous together with another day field: some programs require both to match, others either one at `*/2`; write `+` before the day of the week if both must match, or `1-31/2` instead of the step if either may match",
        ),
        (
            "0 0 30 2 *",
            "`0 0 30 2 *` is never due: no such day exists; use a day that exists: February has at most 29 days; April, June, September and November have 30",
        ),
        ("0 0 0 1 1 * 5000", "`5000` is not a valid year: the range is 1 to 4999 at `5000`"),
        ("  ", "the cron expression is empty; write minute, hour, day of the month, month and day of the week, for example `0 9 * * 1-5`"),
    ];
    for (expression, expected) in cases {
        assert_eq!(render_error(expression), expected, "{expression}");
    }
    assert!(
        render_error("*/90 * * * *").ends_with("a step starts again each time that the next larger unit changes"),
        "{}",
        render_error("*/90 * * * *")
    );
}

#[test]
fn expression_that_is_never_due_is_rejected() {
    let impossible =
        ["0 0 31 4,6,9,11 *", "0 0 30,31 2 *", "0 0 31 2 +1", "0 0 0 29 2 * 2027", "0 0 0 29 2 * 2100", "0 0 31W 2 *", "0 0 1-7 * +5#5"];
    for expression in impossible {
        assert!(matches!(wrong(expression), ScheduleError::Never { .. }), "{expression}: {}", wrong(expression));
    }
    for expression in ["0 0 29 2 *", "0 0 29 2 +1", "0 0 0 29 2 * 2000,4996", "0 0 0 1 1 * 1", "0 0 31 2 1", "0 0 L 2 *"] {
        assert!(Cron::parse(expression, Zone::UTC).is_ok(), "{expression}");
    }
}

#[test]
fn endless_expression_is_rejected() {
    let long = format!("{} * * * *", "0,".repeat(EXPRESSION_BYTES_MAX));
    assert!(matches!(wrong(&long), ScheduleError::TooLong { .. }));
    assert!(wrong(&"@x".repeat(400)).to_string().len() < 200, "an error does not repeat what is long");
}

#[test]
fn unknown_time_zone_gets_a_suggestion() {
    let error = super::cron("0 0 * * *", "Europe/Berlni").unwrap_err();
    assert_eq!(error.to_string(), "there is no time zone `Europe/Berlni`");
    assert_eq!(error.hint().as_deref(), Some("did you mean `Europe/Berlin`?"));
}

fn edges() -> impl Strategy<Value = i64> {
    const YEAR: i64 = 366 * 86_400 * 1_000_000;
    let near = |edge: i64| (-YEAR..YEAR).prop_map(move |away| edge.saturating_add(away));
    // The beginning of time, the years 1, 1970, 5000 and 9999, and arbitrary moments.
    prop_oneof![
        Just(i64::MIN),
        Just(i64::MAX),
        near(-62_167_219_200_000_000),
        near(-62_135_596_800_000_000),
        near(0),
        near(95_617_584_000_000_000),
        near(253_402_300_799_999_999),
        any::<i64>()
    ]
}

/// Texts that look like an expression and are rarely valid.
fn nearly() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[0-9]{1,3}",
        "[0-9*?LW#/,+-]{1,6}",
        "[0-9]{1,2}-[0-9]{1,2}(/[0-9]{1,2})?",
        "\\*/[0-9]{1,3}",
        "(MON|tue|SUN|jan|DEC|L|LW|[0-9]{1,2}W|[0-7]L|[0-7]#[0-6])(,|-)?([0-9]|MON|L)?",
        Just("*".to_owned())
    ];
    proptest::collection::vec(word, 4..=8).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_and_no_moment_causes_a_panic(text in prop_oneof!["\\PC*", ".*", nearly(), "@.{0,12}"], zone in prop_oneof![Just("Europe/Dublin".to_owned()), ".*"], from in edges()) {
        match Cron::parse(&text, Zone::UTC) {
            Ok(cron) => {
                let from = Timestamp::from_micros(from);
                let due = cron.next_after(from);
                prop_assert!(due.is_none_or(|due| due > from));
                due.map(|due| cron.firing(due));
            }
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                error.hint();
                if let Some(span) = error.span() {
                    prop_assert!(text.get(span.clone()).is_some(), "`{}` has no {:?}", text, span);
                }
                prop_assert!(!matches!(error, ScheduleError::Unread { .. }), "{}", error);
            }
        }
        let _ = super::cron("30 2 * * *", &zone);
        let _ = moment(&text);
    }

    #[test]
    fn every_zone_works_at_the_limits_of_time(zone in 0..super::ZONES.len(), from in edges(), minute in 0..60_u32) {
        for expression in [format!("{minute} 2 * * *"), format!("{minute} * * * *"), format!("{minute} 0 29 2 *")] {
            let schedule = super::cron(&expression, super::ZONES[zone]).unwrap();
            let from = Timestamp::from_micros(from);
            prop_assert!(schedule.next_after(from).is_none_or(|due| due > from));
        }
    }
}
