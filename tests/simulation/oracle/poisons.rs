//! I22: exactly the reactions that panicked are parked, and nothing that panicked is silently lost.

use std::collections::BTreeMap;

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};

/// The prefixes of the reasons for parking without a panic: a disk that cannot be read or written, and
/// processes that ended.
const NO_BUGS: [&str; 5] = [
    "bodies that it needs were erased",
    "the catalog of revision",
    "the steps of",
    "the store rejected the resulting records",
    "the process ended",
];

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let (mut parked, mut reported) = (BTreeMap::<u64, u64>::new(), BTreeMap::<u64, u64>::new());
    for record in records {
        let Some(at) = ledger.ground.committed_at(record.position) else { continue };
        match record.kind.as_str() {
            "reaction.parked" if !NO_BUGS.iter().any(|reason| record.text("error").starts_with(reason)) => {
                *parked.entry(at).or_default() += 1;
                *reported.entry(at).or_default() += 1;
            }
            // A reaction that is deferred or resumed does not meet the bug again.
            "reaction.deferred" | "reaction.resumed" => *reported.entry(at).or_default() += 1,
            _ => {}
        }
    }
    let witness = ledger.ground.witness();
    let of = |what: &BTreeMap<u64, u64>, at: u64| what.get(&at).copied().unwrap_or(0);
    for (at, count) in &parked {
        let bugs = of(&witness.bugs, *at);
        demand!(*count <= bugs, "I22", "{count} reactions were parked at {at} µs, and {bugs} bugs occurred then");
    }
    for (at, bugs) in &witness.bugs {
        let (reported, refused) = (of(&reported, *at), of(&witness.refused, *at));
        demand!(
            reported + refused >= *bugs || witness.unkept.contains(at),
            "I22",
            "{bugs} bugs occurred at {at} µs; {refused} commands were rejected because of them, and {reported} reactions were parked or deferred"
        );
    }
    Ok(())
}
