//! `retry`: how often a failed attempt is retried, and after what delay.

use std::time::Duration;

use ensue_engine::catalog::{Backoff, DELAY_DEFAULT, DELAY_MAX_DEFAULT, FAILURES_MAX, Jitter, RetryAfter};

use crate::diagnostics::{Code, Report};
use crate::fields::FieldReader;
use crate::shape::{Form, Kind, Shape, optional_field, required_field, words};
use crate::yaml::{Node, YamlEntry};

const BACKOFFS: [(&str, Backoff); 3] =
    [("constant", Backoff::Constant), ("linear", Backoff::Linear), ("exponential", Backoff::Exponential)];
const BACKOFF_WORDS: [&str; 3] = words(&BACKOFFS);

pub(super) static RETRY: Shape = Shape {
    what: "`retry`",
    fields: &[
        required_field(
            "attempts",
            "attempts: 4",
            Kind::Integer { from: 2, to: FAILURES_MAX as i64 },
            "The maximum number of attempts, including the first. An attempt that is lost with its worker does not count.",
        ),
        optional_field(
            "backoff",
            Kind::Choice(&BACKOFF_WORDS),
            "How the waits between attempts grow: `constant` (not at all), `linear` (by `delay` each time) or `exponential` (they \
                double; default).",
        ),
        optional_field("delay", Kind::Text(Form::Duration), "How long the first wait is. The default is 1 second."),
        optional_field(
            "max_delay",
            Kind::Text(Form::Duration),
            "The maximum length of a wait, even if `Retry-After` in a response asks for a longer one. The default is 1 hour.",
        ),
        optional_field(
            "jitter",
            Kind::Boolean,
            "Whether each wait is a random length between half and all of it, so that attempts that failed together are not retried \
             together. The default is true.",
        ),
        optional_field(
            "respect_retry_after",
            Kind::Boolean,
            "Whether a wait is at least as long as `Retry-After` of a failed HTTP response asks for, of which at most 1 hour counts. The \
             default is true.",
        ),
        optional_field(
            "when",
            Kind::Expression,
            "Which failures are retried: an expression over `error` (`kind`, `message`, `detail`) and `attempt`. Without it, all \
             failures that another attempt can fix: not `parameters_invalid`, no 4xx other than 408, 425 and 429, and \
             `answer_unreadable`, `result_invalid` or `output_limit` only with `idempotent: true`.",
        ),
    ],
    ..Shape::BARE
};

/// The retry settings.
pub(crate) struct Retry {
    pub(crate) attempts: u32,
    pub(crate) backoff: Backoff,
    pub(crate) delay: Duration,
    pub(crate) delay_max: Duration,
    pub(crate) jitter: Jitter,
    pub(crate) retry_after: RetryAfter,
    pub(crate) when: Option<Node>,
}

/// Takes the field `retry`. Returns `None` if it is absent, or has errors that have been reported.
pub(super) fn read_retry(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Retry> {
    let YamlEntry { value, .. } = fields.take("retry")?;
    let mut fields = FieldReader::open(value, &RETRY, fields.file, report)?;
    let has_attempts = fields.has("attempts");
    let attempts = fields.integer("attempts", report).and_then(|attempts| u32::try_from(attempts).ok());
    if !has_attempts {
        fields.take_required("attempts", report);
    }
    let backoff = fields.choice("backoff", &BACKOFFS, report).unwrap_or_default();
    let longest_at = fields.span_of("max_delay");
    let delay = fields.duration("delay", report).unwrap_or(DELAY_DEFAULT);
    let delay_max = fields.duration("max_delay", report).unwrap_or(DELAY_MAX_DEFAULT.max(delay));
    let jitter = if fields.boolean("jitter", report).unwrap_or(true) { Jitter::UpToHalf } else { Jitter::None };
    let is_respected = fields.boolean("respect_retry_after", report).unwrap_or(true);
    let retry_after = if is_respected { RetryAfter::Respected } else { RetryAfter::Ignored };
    let when = fields.take("when").map(|entry| entry.value);
    if delay_max < delay {
        report
            .error(Code::InvalidDuration, fields.file, longest_at, "`max_delay` is shorter than `delay`, which is the first wait")
            .hint("make it longer, or remove it");
        return None;
    }
    Some(Retry { attempts: attempts?, backoff, delay, delay_max, jitter, retry_after, when })
}
