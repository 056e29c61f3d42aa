//! What a stream of changes says.

use std::collections::BTreeMap;

use ensue_derive::wire;

/// What changed.
#[wire()]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct WireChanges {
    /// The ids of things that changed, by their kind: at most 200 of each.
    changed: BTreeMap<String, Vec<String>>,
    /// The kinds of which more things changed, or whose ids are not reported: read their lists again.
    more: Vec<String>,
    /// Whether changes are missing, because the caller was too far behind or the node was started again. All
    /// kinds are in `more` then.
    reset: bool,
}
