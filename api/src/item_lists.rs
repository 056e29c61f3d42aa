//! Lists in the body of a request: as many items as one request may have.

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::Problem;

/// Returns true if a body that is JSON is a list.
pub(crate) fn is_list(body: &Bytes) -> bool {
    body.trim_ascii_start().starts_with(b"[")
}

/// The items of a list up to the limit of one request, and their total: a list that is too long is counted
/// without being held in memory.
pub(crate) struct Items<'a, const MAX: usize> {
    /// The first items, at most `MAX`.
    pub(crate) first: Vec<&'a RawValue>,
    /// The number of all items.
    pub(crate) given: usize,
}

impl<'a, const MAX: usize> Items<'a, MAX> {
    /// Returns the items of a text that was already parsed strictly, and is a list.
    pub(crate) fn of(text: &'a str) -> Result<Self, Problem> {
        serde_json::from_str(text).map_err(|why| Problem::bug(&why))
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Items<'de, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor<const MAX: usize>;

        impl<'de, const MAX: usize> Visitor<'de> for ItemsVisitor<MAX> {
            type Value = Items<'de, MAX>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Items<'de, MAX>, A::Error> {
                let mut first = Vec::new();
                while first.len() < MAX
                    && let Some(item) = items.next_element()?
                {
                    first.push(item);
                }
                let mut given = first.len();
                while items.next_element::<IgnoredAny>()?.is_some() {
                    given += 1;
                }
                Ok(Items { first, given })
            }
        }

        deserializer.deserialize_seq(ItemsVisitor)
    }
}
