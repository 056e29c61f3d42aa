//! Counts over time.

use std::collections::BTreeMap;

use ensue_derive::wire;
use ensue_engine::time::Timestamp;
use ensue_views::series::{Bucket, SERIES_KEYS_MAX, SeriesCounts, SeriesQuery};
use schemars::JsonSchema;
use serde::Serialize;

/// The key of what is not told apart.
pub(crate) const OTHERS: &str = "others";

/// How often things happened, in buckets of one length.
#[wire(Serialize)]
pub(crate) struct WireSeries {
    /// When the first bucket begins.
    pub(crate) from: Timestamp,
    /// When the last bucket ends.
    pub(crate) until: Timestamp,
    /// The length of a bucket: 60 or 3600.
    pub(crate) bucket_seconds: i64,
    /// Since when buckets of this length are kept: earlier ones are 0.
    pub(crate) kept_from: Timestamp,
    /// The first 200 series, the largest first. Series without any count are left out.
    pub(crate) rows: Vec<WireSeriesRow>,
}

/// One series.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireSeriesRow {
    /// The outcome or the name; `others` for names that are not told apart; null without `by`.
    pub(crate) key: Option<String>,
    /// The sum of the counts.
    pub(crate) total: u64,
    /// The count of each bucket, oldest first.
    pub(crate) counts: Vec<u64>,
}

impl WireSeries {
    /// Shows the counts of a query. `kept_from` is the first bucket that is kept.
    pub(crate) fn new(query: &SeriesQuery, kept_from: i64, counts: SeriesCounts, is_named: bool) -> Self {
        let mut rows: Vec<WireSeriesRow> = counts
            .into_iter()
            .map(|(key, counts)| {
                let key = if is_named { Some(key.unwrap_or_else(|| OTHERS.to_owned())) } else { key };
                let counts = each(query, &counts);
                WireSeriesRow { key, total: counts.iter().sum(), counts }
            })
            .collect();
        rows.sort_by(|one, other| other.total.cmp(&one.total).then_with(|| one.key.cmp(&other.key)));
        together(&mut rows);
        let Bounds { from, until, bucket_seconds, kept_from } = Bounds::new(query, kept_from);
        Self { from, until, bucket_seconds, kept_from, rows }
    }
}

struct Bounds {
    from: Timestamp,
    until: Timestamp,
    bucket_seconds: i64,
    kept_from: Timestamp,
}

impl Bounds {
    fn new(query: &SeriesQuery, kept_from: i64) -> Self {
        let bucket: Bucket = query.bucket;
        let (from, until, kept_from) = (bucket.begins(query.from), bucket.begins(query.until), bucket.begins(kept_from));
        Self { from, until, bucket_seconds: bucket.seconds(), kept_from }
    }
}

/// Returns the count of each bucket of a query.
pub(crate) fn each(query: &SeriesQuery, counts: &BTreeMap<i64, u64>) -> Vec<u64> {
    (query.from..query.until).map(|number| counts.get(&number).copied().unwrap_or_default()).collect()
}

/// Adds the rows over the maximum to those of names that are not told apart.
fn together(rows: &mut Vec<WireSeriesRow>) {
    if rows.len() <= SERIES_KEYS_MAX {
        return;
    }
    let is_others = |row: &WireSeriesRow| row.key.as_deref() == Some(OTHERS);
    let mut others = rows.iter().position(is_others).map(|at| rows.remove(at));
    for row in rows.split_off(SERIES_KEYS_MAX - 1) {
        match &mut others {
            None => others = Some(WireSeriesRow { key: Some(OTHERS.to_owned()), ..row }),
            Some(others) => {
                others.total += row.total;
                others.counts.iter_mut().zip(row.counts).for_each(|(sum, count)| *sum += count);
            }
        }
    }
    rows.extend(others);
}

#[cfg(test)]
mod tests {
    use ensue_views::RowReach;
    use ensue_views::series::{SeriesBy, SeriesKind};

    use super::*;

    #[test]
    fn smallest_series_over_the_maximum_are_counted_together() {
        let (kind, bucket, by) = (SeriesKind::Events, Bucket::Minute, SeriesBy::Name);
        let query = SeriesQuery { kind, bucket, from: 10, until: 13, by, names: Vec::new(), reach: RowReach::Everything };
        let named = |number: u64| (Some(format!("demo.t{number:03}")), BTreeMap::from([(11, 1_000 - number)]));
        let counts: SeriesCounts = (0..300).map(named).chain([(None, BTreeMap::from([(12, 5)]))]).collect();
        let sum: u64 = counts.values().flat_map(BTreeMap::values).sum();
        let shown = WireSeries::new(&query, 0, counts, true);
        assert_eq!(shown.rows.len(), SERIES_KEYS_MAX);
        assert_eq!((shown.rows[0].key.as_deref(), &*shown.rows[0].counts), (Some("demo.t000"), &[0, 1_000, 0][..]));
        let last = shown.rows.last().unwrap();
        assert_eq!((last.key.as_deref(), last.counts[2]), (Some(OTHERS), 5));
        assert_eq!(shown.rows.iter().map(|row| row.total).sum::<u64>(), sum);
    }
}
