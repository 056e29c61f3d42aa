//! `ensue cron`: when a cron expression is due.
//!
//! This is computed locally, by the same function that schedules use; no node is asked.

use clap::{Args, Subcommand};
use ensue_engine::explain::Explain;
use ensue_engine::schedule::{self, Cron as Expression, Firing, Occasion, ScheduleError, Zone};
use ensue_engine::time::Timestamp;
use ensue_packs::excerpt;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::Asking;
use crate::report::{CommandResult, Failure, eprint_line};
use crate::style::Style;
use crate::table::{self, Column, TableWidth, cell};
use crate::{json_lines, this_machine};

/// The most times that are listed for one expression.
const COUNT_MAX: u16 = 1_000;

/// Print when cron expressions are due.
#[derive(Debug, Args)]
#[command(
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  ensue cron '0 2 * * *'
  ensue cron '0 9 * * 1-5' --zone Europe/Berlin
  ensue cron next '0 2 * * *'        the same as without `next`"
)]
pub(crate) struct Cron {
    #[command(flatten)]
    moments: Moments,
    #[command(subcommand)]
    named: Option<CronCommand>,
}

#[derive(Debug, Subcommand)]
enum CronCommand {
    /// Print the next times at which a cron expression is due.
    #[command(after_help = "\
Examples:
  ensue cron next '0 9 * * 1-5' --zone Europe/Berlin
  ensue cron next '30 2 * * *' --zone Europe/Berlin --from 2026-03-28T00:00:00Z
  ensue cron next @monthly --count 12 -o json
  ensue cron next --batch < lines.jsonl     {\"expr\": …, \"zone\": …, \"from\": …}")]
    Next(Moments),
}

/// Which moments are printed.
#[derive(Debug, Args)]
pub(crate) struct Moments {
    /// The expression: minute, hour, day of the month, month and day of the week. With 6 fields, seconds
    /// come first; with 7, years come last.
    #[arg(value_name = "EXPR", required_unless_present = "batch", conflicts_with = "batch")]
    expr: Option<String>,
    /// The time zone of the expression.
    #[arg(long, value_name = "NAME", default_value = "UTC")]
    zone: String,
    /// The time after which to start, in RFC 3339 [default: now].
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// How many times to print.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=i64::from(COUNT_MAX)))]
    count: u16,
    /// Read JSON lines `{"expr": …, "zone": …, "from": …, "count": …}` from standard input, and write
    /// `{"next": […]}` or `{"error": …}` for each. The options supply any field that a line omits.
    #[arg(long)]
    batch: bool,
}

impl Cron {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        match self.named {
            None => self.moments.run(asking),
            Some(CronCommand::Next(moments)) => moments.run(asking),
        }
    }
}

impl Moments {
    fn run(self, asking: &Asking) -> CommandResult {
        let from = self.from.as_deref().map_or_else(|| Ok(this_machine::now()), schedule::moment).map_err(|why| to_failure(&why))?;
        let zone = self.zone.parse().map_err(|why| to_failure(&why))?;
        let usual = CronRequest { zone, from, count: self.count.into() };
        match &self.expr {
            Some(expr) => print_next(expr, usual, asking),
            None => {
                let given = self.from.is_some().then_some(usual.from);
                json_lines::answer_each(
                    |line| answer(line, CronRequest { from: given.unwrap_or_else(this_machine::now), ..usual }),
                    unreadable,
                )
            }
        }
    }
}

/// A request about an expression.
#[derive(Clone, Copy)]
struct CronRequest {
    zone: Zone,
    from: Timestamp,
    count: usize,
}

impl CronRequest {
    fn due(self, expression: &Expression) -> Vec<Timestamp> {
        let due = std::iter::successors(expression.next_after(self.from), |due| expression.next_after(*due));
        due.take(self.count).collect()
    }
}

fn print_next(expr: &str, asked: CronRequest, asking: &Asking) -> CommandResult {
    let misspelt = |why: ScheduleError| match why.span() {
        Some(span) => to_failure(&why).notes(excerpt("expression", expr, span)),
        None => to_failure(&why),
    };
    let expression = Expression::parse(expr, asked.zone).map_err(misspelt)?;
    let due = asked.due(&expression);
    let firings: Vec<(Timestamp, Firing)> = due.into_iter().map(|due| (due, expression.firing(due))).collect();
    let document = json!({
        "expr": expr,
        "zone": asked.zone.to_string(),
        "from": utc(asked.from),
        "next": firings.iter().map(|(due, _)| utc(*due)).collect::<Vec<_>>(),
        "local": firings.iter().map(|(_, firing)| firing.local.to_rfc3339()).collect::<Vec<_>>(),
    });
    asking.output.print(&document, || asking.output.page(&render(&firings, TableWidth::of_output(), asking.output.style())));
    if firings.len() < asked.count {
        let last = firings.last().map_or(asked.from, |(due, _)| *due);
        eprint_line(format!("it is not due again after {}", utc(last)));
    }
    Ok(())
}

fn to_failure(why: &ScheduleError) -> Failure {
    Failure::from_error(why)
}

/// Returns a time in UTC, without the fraction, which is always zero.
fn utc(moment: Timestamp) -> String {
    moment.to_string().replace(".000000Z", "Z")
}

const COLUMNS: &[Column] = &[
    Column::whole("LOCAL TIME", |firing| cell(firing, "local")),
    Column::whole("UTC", |firing| cell(firing, "utc")),
    Column::cut("NOTE", |firing| table::text(firing, "note")),
];

/// Returns the times for people, each in local time and in UTC, with what the clocks do then.
fn render(firings: &[(Timestamp, Firing)], room: TableWidth, style: Style) -> String {
    let row = |(due, firing): &(Timestamp, Firing)| {
        let local = firing.local.format("%a %Y-%m-%d %H:%M:%S %:z").to_string();
        json!({ "local": local, "utc": utc(*due), "note": note(firing.occasion) })
    };
    let rows: Vec<Json> = firings.iter().map(row).collect();
    let notes = std::iter::once("").chain(firings.iter().map(|(_, firing)| note(firing.occasion)));
    let text = table::rows(&rows, COLUMNS, room);
    let painted = text.lines().zip(notes).map(|(line, note)| match line.strip_suffix(note) {
        Some(before) => format!("{before}{}", style.strong(note)),
        None => line.to_owned(),
    });
    painted.collect::<Vec<_>>().join("\n")
}

fn note(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Usual => "",
        Occasion::Skipped => "clocks skipped it",
        Occasion::FirstOfTwo => "first of two",
        Occasion::SecondOfTwo => "second of two",
    }
}

/// An input line. Other fields are ignored: they may be the caller's own.
#[derive(Deserialize)]
struct CronLine {
    expr: String,
    zone: Option<String>,
    from: Option<String>,
    count: Option<u64>,
}

/// Answers one line; options that it leaves out default to `usual`.
fn answer(line: &[u8], usual: CronRequest) -> Json {
    match next_of(line, usual) {
        Ok(next) => json!({ "next": next }),
        Err(error) => json!({ "error": error }),
    }
}

fn next_of(line: &[u8], usual: CronRequest) -> Result<Vec<String>, Json> {
    let line: CronLine = serde_json::from_slice(line).map_err(|why| error("line", &why.to_string(), Some(LINE_HINT)))?;
    let zone = line.zone.map_or(Ok(usual.zone), |name| name.parse()).map_err(|why| wrong("zone", &why))?;
    let from = line.from.map_or(Ok(usual.from), |text| schedule::moment(&text)).map_err(|why| wrong("from", &why))?;
    let expression = Expression::parse(&line.expr, zone).map_err(|why| wrong("expr", &why))?;
    let count = line.count.map_or(Some(usual.count), |count| usize::try_from(count).ok());
    let count = count.filter(|count| (1..=usize::from(COUNT_MAX)).contains(count));
    let count = count.ok_or_else(|| error("count", &format!("`count` is not one of 1 to {COUNT_MAX}"), None))?;
    Ok(CronRequest { zone, from, count }.due(&expression).into_iter().map(utc).collect())
}

const LINE_HINT: &str = "write one object a line: {\"expr\": …, \"zone\": …, \"from\": …, \"count\": …}";

fn wrong(kind: &str, why: &ScheduleError) -> Json {
    let mut told = error(kind, &why.to_string(), why.hint().as_deref());
    told["span"] = why.span().map_or(Json::Null, |span| json!({ "start": span.start, "end": span.end }));
    told
}

fn unreadable(message: &str) -> Json {
    json!({ "error": error("line", message, Some(LINE_HINT)) })
}

fn error(kind: &str, message: &str, hint: Option<&str>) -> Json {
    json!({ "kind": kind, "message": message, "span": null, "hint": hint })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::visible;

    fn usual() -> CronRequest {
        CronRequest { zone: Zone::UTC, from: schedule::moment("2026-03-28T00:00:00Z").unwrap(), count: 2 }
    }

    fn answer_text(line: &str) -> Json {
        answer(line.as_bytes(), usual())
    }

    fn table(expr: &str, zone: &str, from: &str, style: Style) -> String {
        let asked = CronRequest { zone: zone.parse().unwrap(), from: schedule::moment(from).unwrap(), count: 4 };
        let expression = Expression::parse(expr, asked.zone).unwrap();
        let firings: Vec<_> = asked.due(&expression).into_iter().map(|due| (due, expression.firing(due))).collect();
        render(&firings, TableWidth::Columns(80), style)
    }

    #[test]
    fn batch_line_returns_the_next_moments_and_absent_fields_have_defaults() {
        assert_eq!(answer_text(r#"{"expr":"@daily"}"#), json!({ "next": ["2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"] }));
        let all = r#"{"expr":"0 9 * * 1-5","zone":"Europe/Berlin","from":"2026-04-01T09:00:00+02:00","count":1,"id":"mine"}"#;
        assert_eq!(answer_text(all), json!({ "next": ["2026-04-02T07:00:00Z"] }));
        let null = r#"{"expr":"@daily","zone":null,"from":null,"count":null}"#;
        assert_eq!(answer_text(null), answer_text(r#"{"expr":"@daily"}"#));
        assert_eq!(answer_text(r#"{"expr":"0 0 0 1 1 * 2020"}"#), json!({ "next": [] }));
    }

    #[test]
    fn every_error_is_one_line_with_its_kind_and_message() {
        let kind = |line: &str| answer_text(line)["error"]["kind"].as_str().map(str::to_owned);
        for (line, expected) in [
            ("", "line"),
            ("[]", "line"),
            ("{}", "line"),
            (r#"{"expr":7}"#, "line"),
            (r#"{"expr":"@daily","count":-1}"#, "line"),
            (r#"{"expr":"61 * * * *"}"#, "expr"),
            (r#"{"expr":"@daily","zone":"Europe/Berlni"}"#, "zone"),
            (r#"{"expr":"@daily","from":"yesterday"}"#, "from"),
            (r#"{"expr":"@daily","from":"9999-12-31T23:59:59-01:00"}"#, "from"),
            (r#"{"expr":"@daily","count":0}"#, "count"),
            (r#"{"expr":"@daily","count":1001}"#, "count"),
        ] {
            assert_eq!(kind(line).as_deref(), Some(expected), "{line}");
        }
        insta::assert_json_snapshot!(answer_text(r#"{"expr":"0 0 * * MONDAY"}"#), @r#"
        {
          "error": {
            "hint": "write `MON`",
            "kind": "expr",
            "message": "`MONDAY` is not a valid day of the week",
            "span": {
              "end": 14,
              "start": 8
            }
          }
        }
        "#);
    }

    #[test]
    fn each_moment_is_shown_in_local_time_and_utc() {
        insta::assert_snapshot!(table("0 9 * * 1-5", "Europe/Berlin", "2026-03-26T12:00:00Z", Style::PLAIN), @r"
        LOCAL TIME                      UTC                   NOTE
        Fri 2026-03-27 09:00:00 +01:00  2026-03-27T08:00:00Z
        Mon 2026-03-30 09:00:00 +02:00  2026-03-30T07:00:00Z
        Tue 2026-03-31 09:00:00 +02:00  2026-03-31T07:00:00Z
        Wed 2026-04-01 09:00:00 +02:00  2026-04-01T07:00:00Z
        ");
    }

    #[test]
    fn table_shows_daylight_saving_changes() {
        insta::assert_snapshot!(table("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", Style::PLAIN), @r"
        LOCAL TIME                      UTC                   NOTE
        Sat 2026-03-28 02:30:00 +01:00  2026-03-28T01:30:00Z
        Sun 2026-03-29 03:00:00 +02:00  2026-03-29T01:00:00Z  clocks skipped it
        Mon 2026-03-30 02:30:00 +02:00  2026-03-30T00:30:00Z
        Tue 2026-03-31 02:30:00 +02:00  2026-03-31T00:30:00Z
        ");
        insta::assert_snapshot!(table("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15:00Z", Style::PLAIN), @r"
        LOCAL TIME                      UTC                   NOTE
        Sun 2026-10-25 02:30:00 +02:00  2026-10-25T00:30:00Z  first of two
        Sun 2026-10-25 02:00:00 +01:00  2026-10-25T01:00:00Z  second of two
        Sun 2026-10-25 02:30:00 +01:00  2026-10-25T01:30:00Z  second of two
        Sun 2026-10-25 03:00:00 +01:00  2026-10-25T02:00:00Z
        ");
    }

    #[test]
    fn color_marks_daylight_saving_changes() {
        insta::assert_snapshot!(visible(&table("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", Style::COLOURED)));
    }
}
