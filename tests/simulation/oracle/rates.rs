//! I30: a queue's start rate is never exceeded, counted in elapsed time, whatever the clock and the node do.

use std::collections::{BTreeMap, BTreeSet};

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::sometimes;

/// The credit for the starts of a queue: each start costs as many units as its period has microseconds, and
/// each microsecond adds as many units as starts are allowed in the period.
#[derive(Clone, Copy)]
struct StartCredit {
    credit: i128,
    at: i64,
}

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let rates = &ledger.ground.rates;
    let mut queues: BTreeMap<&str, &str> = BTreeMap::new();
    let mut left: BTreeMap<&str, StartCredit> = BTreeMap::new();
    let mut spent: BTreeSet<&str> = BTreeSet::new();
    let mut stepped = 0;
    for record in records {
        stepped += record.clock_step_micros();
        match record.kind.as_str() {
            "execution.requested" if record.said.get("pace").is_none_or(|pace| pace == "worked") => {
                let queue = Some(record.text("queue")).filter(|queue| !queue.is_empty()).unwrap_or("default");
                queues.insert(&record.stream, queue);
            }
            "attempt.started" => {
                let Some(queue) = queues.get(record.stream.as_str()) else { continue };
                let Some((_, rate)) = rates.iter().find(|(name, _)| name.as_str() == *queue) else { continue };
                let (cost, limit) = (i128::try_from(rate.per.as_micros()).unwrap_or(i128::MAX), i128::from(rate.limit));
                let (at, now) = (record.position, record.micros() - stepped);
                let before = left.get(queue).copied().unwrap_or(StartCredit { credit: cost * limit, at: now });
                let came = i128::from(now - before.at) * limit;
                let credit = (before.credit + came).min(cost * limit) - cost;
                demand!(
                    credit >= 0,
                    "I30",
                    "an attempt of the queue `{queue}` starts at {at}, {} µs before its rate allows one",
                    -credit / limit
                );
                sometimes!(credit < cost && !spent.insert(*queue), "as many attempts had started as a rate allows");
                left.insert(*queue, StartCredit { credit, at: now });
            }
            _ => {}
        }
    }
    Ok(())
}
