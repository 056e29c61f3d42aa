//! `ensue log series`: counts over time, with a bar for each minute or hour.

use clap::Args;
use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use super::Asking;
use crate::ago::moment_of;
use crate::report::{CommandResult, eprint_line, say};
use crate::table::{Column, cell, page, time};

/// Count events, executions, enforcements, errors of rules or deliveries over time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue log series executions --by outcome
  ensue log series events --by trigger --bucket 1h --since 7d
  ensue log series enforcements --rule my_automation/greet --since 2h")]
pub(crate) struct Series {
    /// What to count.
    #[arg(value_name = "OF", value_parser = ["events", "executions", "enforcements", "rule_errors", "deliveries"])]
    of: String,
    /// Count each outcome or each name apart: events have a trigger, executions an action, enforcements and
    /// errors a rule, and deliveries a sensor.
    #[arg(long, value_name = "WHAT", value_parser = ["outcome", "trigger", "action", "rule", "sensor"])]
    by: Option<String>,
    /// The length of a bucket. Minutes are kept for 48 hours, and hours for 400 days.
    #[arg(long, value_name = "LENGTH", value_parser = ["1m", "1h"], default_value = "1m")]
    bucket: String,
    #[command(flatten)]
    filters: SeriesFilters,
    /// Only from this time on, or since so long ago (`2h`, `7d`) [default: 60 buckets before the end].
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<Timestamp>,
    /// Only before this time [default: now].
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<Timestamp>,
}

/// The filters of each kind.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct SeriesFilters {
    /// Only events of this trigger.
    #[arg(long, value_name = "REF")]
    trigger: Option<String>,
    /// Only executions of this action.
    #[arg(long, value_name = "REF")]
    action: Option<String>,
    /// Only enforcements or errors of this rule.
    #[arg(long, value_name = "REF")]
    rule: Option<String>,
    /// Only deliveries at this sensor.
    #[arg(long, value_name = "REF")]
    sensor: Option<String>,
}

const COLUMNS: &[Column] = &[
    Column::whole("KEY", |row| if row["key"].is_null() { "all".to_owned() } else { cell(row, "key") }),
    Column::whole("TOTAL", |row| cell(row, "total")),
    Column::whole("LAST", |row| row["counts"].as_array().and_then(|counts| counts.last()).map(Value::to_string).unwrap_or_default()),
    Column::cut("COUNTS", |row| bars(&counts(row))),
];

/// The most bars of a row: more buckets are added up.
const BARS_MAX: usize = 60;

impl Series {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let Self { of, by, bucket, filters, since, until } = self;
        let SeriesFilters { trigger, action, rule, sensor } = filters;
        let moment = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let given = [("by", by), ("trigger", trigger), ("action", action), ("rule", rule), ("sensor", sensor)];
        let given = given.into_iter().chain([("since", moment(since)), ("until", moment(until))]);
        let given = given.filter_map(|(name, value)| Some((name, value?)));
        let query: Vec<_> = [("of", of), ("bucket", bucket)].into_iter().chain(given).collect();
        let series = asking.client()?.get("/series", &query).await?;
        asking.output.print(&series, || {
            let found = series["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
            if found.is_empty() {
                eprint_line(format!("nothing happened between {} and {}", time(&series, "from"), time(&series, "until")));
                return;
            }
            say(page(&json!({ "items": found }), COLUMNS));
            eprint_line(format!("from {} to {}", time(&series, "from"), time(&series, "until")));
            if text_of(&series, "from") < text_of(&series, "kept_from") {
                eprint_line(format!("buckets before {} are not kept and count as 0; use --bucket 1h", time(&series, "kept_from")));
            }
        });
        Ok(())
    }
}

/// Returns a time as text; those of the API are all of one length.
fn text_of<'a>(series: &'a Value, name: &str) -> &'a str {
    series[name].as_str().unwrap_or_default()
}

fn counts(row: &Value) -> Vec<u64> {
    row["counts"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

/// Draws counts as bars, the largest as the highest.
fn bars(counts: &[u64]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let together = counts.len().div_ceil(BARS_MAX).max(1);
    let sums: Vec<u64> = counts.chunks(together).map(|chunk| chunk.iter().sum()).collect();
    let most = sums.iter().copied().max().unwrap_or_default().max(1);
    let bar = |count: &u64| match count {
        0 => ' ',
        count => HEIGHTS[usize::try_from(count.saturating_mul(7).div_ceil(most)).unwrap_or(7).min(7)],
    };
    sums.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_share_of_the_largest() {
        assert_eq!(bars(&[0, 1, 50, 100]), " ▂▅█");
        assert_eq!(bars(&[0, 0]), "  ");
        assert_eq!(bars(&[]), "");
        assert_eq!(bars(&[1; 500]).chars().count(), 56, "buckets are added up");
    }
}
