//! Whatever needs a person's attention: failures of the last hour, open dead letters, indeterminate
//! executions and overdue inquiries.
//!
//! It counts up to a bound, so that a node with a million failures answers as fast as one with a thousand.

use ensue_engine::time::Timestamp;
use ensue_views::RowReach;
use ensue_views::dead_letters::LetterStatus;
use ensue_views::executions::Status;
use ensue_views::inquiries::InquiryStatus;
use ensue_views::store::{LIST_ROWS_MAX, ListQuery, Row, ViewError};
use ensue_views::{Column, DeadLetter, Inquiry, ViewName};

use crate::ports::{Finding, FindingVerdict, Ports};

/// The bound of each count.
pub(crate) const COUNTED_MAX: usize = LIST_ROWS_MAX;
/// The period in which failures are counted.
const HOUR_MICROS: i64 = 3_600_000_000;

/// The counts. Each goes up to [`COUNTED_MAX`], which means that many or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attention {
    /// The executions that failed permanently within the last hour; steps of workflows are not counted.
    pub(crate) failed_last_hour: usize,
    /// The dead letters that nobody has dealt with.
    pub(crate) dead_letters_open: usize,
    /// The executions that may or may not have taken effect.
    pub(crate) indeterminate: usize,
    /// The open inquiries of which people were reminded, or that are older than a day.
    pub(crate) inquiries_overdue: usize,
}

/// Counts everything that needs attention. Blocking.
pub(crate) fn count(ports: &Ports, now: Timestamp) -> Result<Attention, ViewError> {
    let list = |query: ListQuery| ports.views.list(&ListQuery { limit: COUNTED_MAX, ..query });
    let ago = |micros: i64| Timestamp::from_micros(now.micros().saturating_sub(micros));
    let letters = ListQuery::newest(ViewName::DeadLetters, RowReach::Everything);
    let gave_up = read::<DeadLetter>(&list(ListQuery { since: Some(ago(HOUR_MICROS)), ..letters.clone() })?)?;
    let open = list(ListQuery::newest(ViewName::Inquiries, RowReach::Everything).with(Column::Status, InquiryStatus::Open.as_str()))?;
    Ok(Attention {
        failed_last_hour: gave_up.iter().filter(|letter| letter.execution.is_some()).count(),
        dead_letters_open: list(letters.with(Column::Status, LetterStatus::Open.as_str()))?.len(),
        indeterminate: list(
            ListQuery::newest(ViewName::Executions, RowReach::Everything).with(Column::Status, Status::Indeterminate.as_str()),
        )?
        .len(),
        inquiries_overdue: read::<Inquiry>(&open)?.iter().filter(|inquiry| inquiry.is_overdue(now)).count(),
    })
}

fn read<V: ensue_views::View>(rows: &[Row]) -> Result<Vec<V>, ViewError> {
    rows.iter().map(Row::read).collect()
}

impl Attention {
    /// Returns the findings for `doctor`: one for each count above zero, or one that says that there is
    /// nothing.
    pub(crate) fn findings(self) -> Vec<Finding> {
        let told = [
            (self.failed_last_hour, "execution", "failed within the last hour", "`ensue executions list --since 1h --by error`"),
            (self.dead_letters_open, "dead letter", "is open", "`ensue dead-letters list --status open`"),
            (
                self.indeterminate,
                "execution",
                "is indeterminate: it may have taken effect",
                "`ensue executions list --status indeterminate`",
            ),
            (self.inquiries_overdue, "inquiry", "is overdue", "`ensue inquiries list --status open`"),
        ];
        let findings: Vec<Finding> = told
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, is, command)| Finding {
                check: "attention".into(),
                verdict: FindingVerdict::Warning,
                message: sentence(count, one, is),
                hint: Some(format!("list them with {command}")),
            })
            .collect();
        if !findings.is_empty() {
            return findings;
        }
        let message = "nothing failed within the last hour, and nothing is waiting for a person".into();
        vec![Finding { check: "attention".into(), verdict: FindingVerdict::Good, message, hint: None }]
    }
}

fn sentence(count: usize, one: &str, is: &str) -> String {
    if count == 1 {
        return format!("1 {one} {is}");
    }
    let several = if one == "inquiry" { "inquiries".to_owned() } else { format!("{one}s") };
    let are = is.replacen("is ", "are ", 1).replace("it may have", "they may have");
    let more = if count >= COUNTED_MAX { " or more" } else { "" };
    format!("{count}{more} {several} {are}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_reported_in_sentences() {
        let attention = Attention { failed_last_hour: 1_000, dead_letters_open: 1, indeterminate: 2, inquiries_overdue: 3 };
        let messages: Vec<String> = attention.findings().into_iter().map(|finding| finding.message).collect();
        assert_eq!(
            messages,
            [
                "1000 or more executions failed within the last hour",
                "1 dead letter is open",
                "2 executions are indeterminate: they may have taken effect",
                "3 inquiries are overdue",
            ]
        );
        assert_eq!(Attention::default().findings()[0].verdict, FindingVerdict::Good);
    }
}
