//! I1: a request with an idempotency key is carried out once while the key is remembered, and repeats get the
//! same answer; another request with the same key is rejected.
//!
//! A key belongs to its caller, so requests are grouped by both. The effects of a copy of a request are found
//! by its trace.

use std::collections::BTreeMap;

use ensue_engine::command::{Answer, Novelty};

use crate::http::trace;
use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::sometimes;
use crate::traffic::{Outcome, Request, RequestNumber, Transport, Wish};
use crate::witness::{RequestArrival, Witness};

/// How long a key is remembered, in microseconds.
const KEY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
/// How much of that time the wall clock may gain or lose by its pace alone, in microseconds.
const PACE_MICROS: i64 = 60 * 60 * 1_000_000;
/// How long a node may use a wall clock time that has jumped since, in microseconds of the world.
const NOTICED_MICROS: u64 = 300_000_000;
/// What a refusal says that a key was used before, as text or as its problem's code.
const USED_BEFORE: [&str; 2] = ["was already used for another request", "idempotency_key_reused"];
/// What it says that the key's first request is under way.
const UNDER_WAY: &str = "request_under_way";

/// The first record of each accepted request, which identifies it.
const BEGINNINGS: [&str; 2] = ["event.received", "execution.requested"];

/// The requests with one key of one caller.
struct Group<'a> {
    client: usize,
    key: &'a str,
    requests: Vec<(RequestNumber, &'a Request)>,
    /// The answers in order.
    answers: Vec<AnsweredCopy<'a>>,
    /// The effects in the order of the log.
    begun: Vec<CopyEffect<'a>>,
    witness: &'a Witness,
}

/// An answer to a copy of a request.
struct AnsweredCopy<'a> {
    number: RequestNumber,
    request: &'a Request,
    place: usize,
    taken: &'a RequestArrival,
    outcome: &'a Outcome,
}

impl AnsweredCopy<'_> {
    fn over_at(&self) -> u64 {
        self.taken.over_at.unwrap_or(u64::MAX)
    }

    fn is_done(&self) -> bool {
        matches!(self.outcome, Outcome::Done(_))
    }
}

/// The effect of a copy of a request.
struct CopyEffect<'a> {
    record: &'a Raw,
    at: u64,
}

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let witness = ledger.ground.witness();
    let mut by_trace: BTreeMap<&str, Vec<&Raw>> = BTreeMap::new();
    for record in records.iter().filter(|record| BEGINNINGS.contains(&record.kind.as_str()) && record.is_asked_for()) {
        by_trace.entry(record.cause.trace.as_deref().unwrap_or_default()).or_default().push(record);
    }
    let mut groups: BTreeMap<(usize, &str), Vec<(RequestNumber, &Request)>> = BTreeMap::new();
    for (number, request) in ledger.requests {
        if let Some(key) = &request.under {
            groups.entry((request.client, key)).or_default().push((*number, request));
        }
    }
    let mut carried_out: BTreeMap<&str, usize> = BTreeMap::new();
    for ((client, key), requests) in groups {
        let copies = requests.iter().flat_map(|(number, request)| (1..=request.arrivals).map(|copy| trace(*number, copy)));
        let of_copies = copies.flat_map(|trace| by_trace.get(trace.as_str()).cloned().unwrap_or_default());
        let mut begun: Vec<CopyEffect<'_>> = of_copies.map(|record| CopyEffect { record, at: at(ledger, record) }).collect();
        begun.sort_by_key(|begun| begun.record.position);
        let group = Group { client, key, answers: answers(&requests, &witness), requests, begun, witness: &witness };
        group.is_carried_out_once()?;
        group.is_answered_alike()?;
        group.refusals()?;
        group.is_seen();
        *carried_out.entry(key).or_default() += usize::from(!group.begun.is_empty());
    }
    sometimes!(carried_out.values().any(|callers| *callers > 1), "two callers used the same key");
    modes(records, ledger, &witness)
}

/// Returns when a record was stored, in microseconds of the world.
fn at(ledger: &Ledger<'_>, record: &Raw) -> u64 {
    ledger.ground.committed_at(record.position).unwrap_or(0)
}

fn answers<'a>(requests: &[(RequestNumber, &'a Request)], witness: &'a Witness) -> Vec<AnsweredCopy<'a>> {
    let of = |(number, request): &(RequestNumber, &'a Request)| {
        let (number, request) = (*number, *request);
        request.said.iter().filter_map(move |said| {
            let taken = witness.taken.get(said.place)?;
            Some(AnsweredCopy { number, request, place: said.place, taken, outcome: &said.outcome })
        })
    };
    let mut answers: Vec<_> = requests.iter().flat_map(of).collect();
    answers.sort_by_key(AnsweredCopy::over_at);
    answers
}

impl Witness {
    /// Returns true if a key may have expired between two moments of the world: whether the wall clock
    /// advanced that much. With a clock that goes back, a key lives longer.
    fn may_have_passed(&self, from: u64, until: u64) -> bool {
        let (mut off, mut least, mut rise) = (0_i64, 0_i64, 0_i64);
        for (_, by) in self.steps.iter().filter(|(at, _)| (from.saturating_sub(NOTICED_MICROS)..=until).contains(at)) {
            off = off.saturating_add(*by);
            least = off.min(least);
            rise = rise.max(off.saturating_sub(least));
        }
        rise >= KEY_MICROS - PACE_MICROS
    }
}

impl Group<'_> {
    /// Checks that, of all copies of all requests with a key, one takes effect while the key is remembered.
    fn is_carried_out_once(&self) -> Result<(), Violation> {
        let Self { client, key, .. } = self;
        for pair in self.begun.windows(2) {
            let [first, second] = pair else { continue };
            let has_passed = self.witness.may_have_passed(first.at, second.at);
            let (once, again) = (first.record.position, second.record.position);
            demand!(has_passed, "I1", "the request of client{client} under {key} was carried out at {once} and again at {again}");
            sometimes!("a request was carried out again after its key's time");
        }
        Ok(())
    }

    /// Checks that each positive answer is the same, to the same request, and true.
    fn is_answered_alike(&self) -> Result<(), Violation> {
        let Self { client, key, .. } = self;
        let done: Vec<_> = self.answers.iter().filter(|answer| answer.is_done()).collect();
        for pair in done.windows(2) {
            let [first, again] = pair else { continue };
            if self.witness.may_have_passed(first.taken.at.min(again.taken.at), again.over_at()) {
                continue;
            }
            let (a, b) = (first.number, again.number);
            let is_same = request_content(first.request) == request_content(again.request);
            demand!(
                is_same,
                "I1",
                "request {a} of client{client} was carried out under {key}, and so was request {b}, which is another one"
            );
            let (said, other) = (first.outcome, again.outcome);
            demand!(
                said == other,
                "I1",
                "request {a} of client{client} under {key} was answered with {said:?}, its repeat {b} with {other:?}"
            );
        }
        for answer in done {
            self.is_true(answer)?;
        }
        Ok(())
    }

    /// Checks that one of these requests caused the effect that an answer names.
    fn is_true(&self, answer: &AnsweredCopy<'_>) -> Result<(), Violation> {
        let Outcome::Done(committed) = answer.outcome else { return Ok(()) };
        let began = |stream: String| self.begun.iter().any(|begun| begun.record.stream == stream);
        let is_true = match &committed.answer {
            Answer::Execution(id) if matches!(answer.request.wish, Wish::Run { .. } | Wish::Rerun { .. }) => {
                began(format!("execution/{id}"))
            }
            Answer::Events(events) => events.iter().all(|event| event.novelty == Novelty::Repeat || began(format!("event/{}", event.id))),
            Answer::Execution(_) | Answer::Done | Answer::Catalog(_) | Answer::Before(_) | Answer::ReportedLate => true,
        };
        let Self { client, key, .. } = self;
        demand!(
            is_true,
            "I1",
            "the answer to request {} of client{client} under {key} names records of others: {committed:?}",
            answer.number
        );
        Ok(())
    }

    /// Checks that a refusal because of the key has its reason, and that a request that was done is refused
    /// only because of the key.
    fn refusals(&self) -> Result<(), Violation> {
        let Self { client, key, .. } = self;
        for answer in &self.answers {
            let (Outcome::Not(why), number) = (answer.outcome, answer.number) else { continue };
            if USED_BEFORE.iter().any(|used| why.contains(used)) {
                sometimes!("a key was refused that had been used for another request");
                let may_have_been_first = |request: &Request| {
                    let declined = request.said.iter().filter(|said| matches!(said.outcome, Outcome::Not(_))).count();
                    request_content(request) != request_content(answer.request) && declined < request.arrivals as usize
                };
                let has_reason = self.requests.iter().any(|(_, request)| may_have_been_first(request));
                demand!(has_reason, "I1", "request {number} was rejected ({why}), but client{client} sent no other request under {key}");
            } else if why.contains(UNDER_WAY) {
                sometimes!("a request was repeated while it was in progress");
                let has_reason = self.is_under_way_beside(answer);
                demand!(
                    has_reason,
                    "I1",
                    "request {number} was rejected ({why}), but no request of client{client} under {key} was in progress"
                );
            } else if answer.request.by == Transport::Http && ["404", "409", "422"].iter().any(|status| why.starts_with(status)) {
                let was_told = |first: &&AnsweredCopy<'_>| {
                    first.is_done()
                        && first.over_at() < answer.taken.at
                        && request_content(first.request) == request_content(answer.request)
                };
                let first = self.answers.iter().find(was_told);
                let has_passed = first.is_none_or(|first| self.witness.may_have_passed(first.taken.at, answer.over_at()));
                demand!(
                    has_passed,
                    "I1",
                    "request {number} of client{client} under {key} was carried out before, but its repeat is rejected: {why}"
                );
            }
        }
        Ok(())
    }

    fn is_under_way_beside(&self, answer: &AnsweredCopy<'_>) -> bool {
        let is_beside = |(place, taken): (usize, &RequestArrival)| {
            place != answer.place
                && taken.node == answer.taken.node
                && taken.at <= answer.over_at()
                && taken.over_at.is_none_or(|over| over >= answer.taken.at)
                && self.requests.iter().any(|(number, _)| *number == taken.request)
        };
        self.witness.taken.iter().enumerate().any(is_beside)
    }

    /// Notes the rare states among these.
    fn is_seen(&self) {
        let done: Vec<_> = self.answers.iter().filter(|answer| answer.is_done()).collect();
        for again in &done {
            let first = done.iter().find(|first| first.over_at() < again.taken.at);
            sometimes!(first.is_some_and(|first| first.taken.node != again.taken.node), "a keyed request was repeated over a restart");
            let is_in_the_log = self.begun.iter().any(|begun| begun.at < again.taken.at);
            sometimes!(first.is_none() && is_in_the_log, "a keyed request was repeated of which no answer had been heard");
        }
        let ends_alone = |answer: &&AnsweredCopy<'_>| matches!(answer.request.wish, Wish::Cancel(_) | Wish::Settle(..));
        sometimes!(done.iter().filter(|answer| ends_alone(answer)).count() > 1, "a cancel or a settlement was repeated under its key");
    }
}

/// Returns a request's content, to compare it with another's.
fn request_content(request: &Request) -> String {
    format!("{:?}", request.wish)
}

/// Checks that a mode is set as often as it was requested, and once for each key.
fn modes(records: &[Raw], ledger: &Ledger<'_>, witness: &Witness) -> Result<(), Violation> {
    if witness.may_have_passed(0, u64::MAX) {
        return Ok(());
    }
    let mut asked: BTreeMap<(String, String, &str), u64> = BTreeMap::new();
    let mut keys: BTreeMap<(usize, &str, String), ()> = BTreeMap::new();
    for request in ledger.requests.values() {
        let Wish::SetMode(rule, mode) = &request.wish else { continue };
        let is_first = request.under.as_ref().is_none_or(|key| keys.insert((request.client, key, request_content(request)), ()).is_none());
        let most = match &request.under {
            Some(_) => u64::from(is_first),
            None => u64::from(request.arrivals),
        };
        *asked.entry((format!("token/client{}", request.client), rule.clone(), mode.as_str())).or_default() += most;
    }
    for ((actor, rule, mode), most) in asked {
        let is_it = |record: &&Raw| {
            record.kind == "rule.mode_set" && record.actor == actor && record.text("rule") == rule && record.text("mode") == mode
        };
        let set = records.iter().filter(is_it).count() as u64;
        demand!(set <= most, "I1", "{actor} asked {most} times that {rule} be {mode}, keys counted once, and it was set {set} times");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a key is used first, in microseconds of the world.
    const SET_AT: u64 = 10 * 60 * 1_000_000;

    /// Returns true if a key may have expired a minute after its first use, with a wall clock jump of so many
    /// days each second.
    fn has_passed(days: &[i64]) -> bool {
        let mut witness = Witness::default();
        witness.steps.extend((1..).zip(days).map(|(second, days)| (SET_AT + second * 1_000_000, days * KEY_MICROS)));
        witness.may_have_passed(SET_AT, SET_AT + 60_000_000)
    }

    #[test]
    fn key_expires_only_by_a_clock_that_advances() {
        for fallen in [&[][..], &[-2], &[-1, -1]] {
            assert!(!has_passed(fallen), "{fallen:?}");
        }
        for risen in [&[2][..], &[-2, 2], &[2, -2]] {
            assert!(has_passed(risen), "{risen:?}");
        }
    }
}
