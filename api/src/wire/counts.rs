//! The numbers of things in groups.

use std::collections::BTreeMap;

use ensue_derive::wire;
use ensue_views::Column;
use ensue_views::store::{Counts, Group};
use serde::Serialize;

/// The numbers of things in groups.
#[wire(Serialize)]
pub(crate) struct WireCounts {
    /// The first 200 groups, the largest first.
    items: Vec<WireCount>,
    /// The number of groups.
    groups_count: u64,
    /// The number of things that were counted, also of groups that are left out.
    total: u64,
    /// False if there are more than 1,000,000 things and they are counted one by one: only that many were counted.
    is_exact: bool,
}

/// A group.
#[wire(Serialize)]
struct WireCount {
    /// The value of each name in `by`; null for things without one.
    by: BTreeMap<String, Option<String>>,
    count: u64,
}

impl WireCounts {
    /// Shows counts by these columns.
    pub(crate) fn new(by: &[Column], counts: Counts) -> Self {
        let item = |group: Group| WireCount {
            by: by.iter().map(|column| column.as_str().to_owned()).zip(group.values).collect(),
            count: group.count,
        };
        Self {
            items: counts.groups.into_iter().map(item).collect(),
            groups_count: counts.groups_count,
            total: counts.counted,
            is_exact: !counts.is_cut,
        }
    }
}
