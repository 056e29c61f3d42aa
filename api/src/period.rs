//! The period that a request asks about.

use ensue_engine::time::Timestamp;

use crate::query::Query;

/// The parameters of a period.
#[derive(Query)]
pub(crate) struct PeriodQuery {
    /// Only those at or after this time.
    pub(crate) since: Option<Timestamp>,
    /// Only those before this time.
    pub(crate) until: Option<Timestamp>,
}
