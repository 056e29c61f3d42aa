//! Peers in memory, behind the trait of connectors: one with an order of its own and a cursor, and a queue that
//! delivers again what was not settled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use ensue_connectors::{
    Body, Connect, Guarantee, Lag, Message, MessageSource, Pending, PullOutcome, Room, SensorErrorKind, SourceError, Token, World,
};
use ensue_engine::catalog::Sensor;
use ensue_expression::Document;
use serde_json::json;
use tokio::time::Instant;

use super::site::{Outside, Setting};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The peer cannot be reached.
    OpenFails,
    /// The run fails after this many messages.
    NextFailsAfter(u64),
    /// Reading panics.
    NextPanics,
    /// Settling fails: the peer does not learn of it.
    SettleFails,
    /// Settling never ends.
    SettleHangs,
    /// Settling takes longer than messages may be held without a word.
    SettleIsSlow,
    /// The peer does not hear that messages are worked on.
    KeepFails,
}

/// What a message makes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sort {
    /// An event.
    Event,
    /// Two events.
    Two,
    /// Nothing.
    Passed,
    /// A dead letter.
    Poison,
    /// What follows from these bytes.
    Raw(Bytes),
}

/// A peer. A clone is the same peer.
#[derive(Clone)]
pub(super) struct Peer {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    has_order: bool,
    /// The length of each cursor in bytes, with blanks before the number.
    cursor_bytes: usize,
    /// All messages of an ordered peer; those that a queue would deliver now.
    messages: VecDeque<StoredMessage>,
    /// The messages that a queue has delivered and that are not settled.
    held: BTreeMap<u64, ClaimedMessage>,
    /// How long a reader of a queue may keep a message without a word; `None` for as long as it lives.
    claim: Option<Duration>,
    /// The numbers that were delivered again because their reader said nothing for too long.
    expired: Vec<u64>,
    settled: Vec<u64>,
    once: Option<Fault>,
    always: Option<Fault>,
    opens: u64,
    closes: u64,
    /// Returns true if a number may be settled.
    check: Option<Arc<dyn Fn(u64) -> bool + Send + Sync>>,
    /// The numbers that were settled although they might not be.
    early: Vec<u64>,
}

#[derive(Clone)]
struct StoredMessage {
    number: u64,
    sort: Sort,
}

/// A message that a reader has.
struct ClaimedMessage {
    stored: StoredMessage,
    since: Instant,
}

/// How long settling takes where it is slow.
const SLOW: Duration = Duration::from_millis(2_500);
/// How often the sources of a queue with claims must be asked to keep messages.
const KEEP_EVERY: Duration = Duration::from_secs(1);

impl Peer {
    /// A peer with an order of its own: its sources have a cursor.
    pub(super) fn with_order() -> Self {
        Self::new(true, None)
    }

    /// A queue: its messages have keys.
    pub(super) fn without_order() -> Self {
        Self::new(false, None)
    }

    /// A queue that delivers a message again if its reader has said nothing for this long.
    pub(super) fn with_claims(claim: Duration) -> Self {
        Self::new(false, Some(claim))
    }

    fn new(has_order: bool, claim: Option<Duration>) -> Self {
        let inner = Inner {
            has_order,
            cursor_bytes: 0,
            messages: VecDeque::new(),
            held: BTreeMap::new(),
            claim,
            expired: Vec::new(),
            settled: Vec::new(),
            once: None,
            always: None,
            opens: 0,
            closes: 0,
            check: None,
            early: Vec::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Sets the length of the cursors from now on.
    pub(super) fn lengthen_cursors(&self, bytes: usize) {
        self.lock().cursor_bytes = bytes;
    }

    pub(super) fn add(&self, numbers: impl IntoIterator<Item = u64>) {
        self.add_each(numbers, &Sort::Event);
    }

    /// Adds messages that make two events each.
    pub(super) fn add_twos(&self, numbers: impl IntoIterator<Item = u64>) {
        self.add_each(numbers, &Sort::Two);
    }

    /// Adds messages that no `emits` matches.
    pub(super) fn add_passed(&self, numbers: impl IntoIterator<Item = u64>) {
        self.add_each(numbers, &Sort::Passed);
    }

    pub(super) fn add_poison(&self, number: u64) {
        self.add_each([number], &Sort::Poison);
    }

    /// Adds a message of these bytes.
    pub(super) fn add_raw(&self, number: u64, bytes: Vec<u8>) {
        self.add_each([number], &Sort::Raw(bytes.into()));
    }

    fn add_each(&self, numbers: impl IntoIterator<Item = u64>, sort: &Sort) {
        self.lock().messages.extend(numbers.into_iter().map(|number| StoredMessage { number, sort: sort.clone() }));
    }

    /// Returns what the sensor of a node reads that reads this peer.
    pub(super) fn setting(&self) -> Setting {
        Setting {
            source: "process: { command: [cat] }".to_owned(),
            other_source: "process: { command: [tac] }".to_owned(),
            name: "line",
            connect: Arc::new(self.clone()),
            outside: Outside::Clock,
        }
    }

    /// Returns true if the peer has an order of its own.
    pub(super) fn has_order(&self) -> bool {
        self.lock().has_order
    }

    /// Returns true if nothing goes wrong the next time.
    pub(super) fn has_no_fault_left(&self) -> bool {
        self.lock().once.is_none()
    }

    /// Delivers messages of a queue again although they were settled.
    pub(super) fn deliver_again(&self, numbers: &[u64]) {
        self.add(numbers.iter().copied());
    }

    /// What goes wrong the next time.
    pub(super) fn fail_next(&self, fault: Fault) {
        self.lock().once = Some(fault);
    }

    /// What goes wrong until the peer is healed.
    pub(super) fn fail_always(&self, fault: Fault) {
        self.lock().always = Some(fault);
    }

    pub(super) fn heal(&self) {
        let mut inner = self.lock();
        (inner.once, inner.always) = (None, None);
    }

    /// Has each number that is settled checked.
    pub(super) fn check_settled(&self, check: impl Fn(u64) -> bool + Send + Sync + 'static) {
        self.lock().check = Some(Arc::new(check));
    }

    /// The numbers that are settled, each once, in order.
    pub(super) fn settled_in_order(&self) -> Vec<u64> {
        let settled: BTreeSet<u64> = self.lock().settled.iter().copied().collect();
        settled.into_iter().collect()
    }

    /// The numbers that were settled although the check says that they might not be.
    pub(super) fn settled_early(&self) -> Vec<u64> {
        self.lock().early.clone()
    }

    /// The numbers that a queue delivered again because their reader said nothing for too long.
    pub(super) fn expired_numbers(&self) -> Vec<u64> {
        self.lock().expired.clone()
    }

    /// How many messages a queue would deliver now.
    pub(super) fn waiting(&self) -> usize {
        self.lock().messages.len()
    }

    /// How many messages of a queue have a reader.
    pub(super) fn claimed_count(&self) -> usize {
        self.lock().held.len()
    }

    pub(super) fn opens(&self) -> u64 {
        self.lock().opens
    }

    pub(super) fn closes(&self) -> u64 {
        self.lock().closes
    }

    /// Returns true if a queue no longer holds anything.
    pub(super) fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.messages.is_empty() && inner.held.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    fn is_faulty(&mut self, fault: Fault) -> bool {
        if self.once == Some(fault) {
            self.once = None;
            return true;
        }
        self.always == Some(fault)
    }

    /// Takes the messages back whose reader has said nothing for too long.
    fn expire(&mut self) {
        let Some(claim) = self.claim else { return };
        let late: Vec<u64> = self.held.iter().filter(|(_, one)| one.since.elapsed() > claim).map(|(number, _)| *number).collect();
        for number in late {
            self.messages.extend(self.held.remove(&number).map(|claimed| claimed.stored));
            self.expired.push(number);
        }
    }

    fn read_max(&self) -> Option<u64> {
        match (self.once, self.always) {
            (Some(Fault::NextFailsAfter(most)), _) | (_, Some(Fault::NextFailsAfter(most))) => Some(most),
            _ => None,
        }
    }
}

impl Connect for Peer {
    fn open(&self, _: Arc<Sensor>, _: Arc<World>, cursor: Option<Document>) -> Pending<'_, Result<Box<dyn MessageSource>, SourceError>> {
        let mut inner = self.lock();
        inner.opens += 1;
        if inner.is_faulty(Fault::OpenFails) {
            return Box::pin(std::future::ready(Err(SourceError::new(SensorErrorKind::Connect, "the peer is away"))));
        }
        // A queue without claims delivers again what an earlier consumer was given and did not settle.
        if inner.claim.is_none() {
            let held: Vec<ClaimedMessage> = std::mem::take(&mut inner.held).into_values().collect();
            inner.messages.extend(held.into_iter().map(|claimed| claimed.stored));
        }
        let from = cursor.map_or(0, |cursor| serde_json::from_slice::<u64>(cursor.bytes()).expect("the cursor is that of this source"));
        let source = PeerSource { peer: self.clone(), from, given: BTreeMap::new(), tokens: 0, read: 0 };
        Box::pin(std::future::ready(Ok(Box::new(source) as Box<dyn MessageSource>)))
    }
}

struct PeerSource {
    peer: Peer,
    /// How many messages of an ordered peer were read.
    from: u64,
    /// The number and the place of each message that was given.
    given: BTreeMap<Token, (u64, u64)>,
    tokens: u64,
    read: u64,
}

impl PeerSource {
    fn give(&mut self, stored: &StoredMessage, place: u64) -> Message {
        self.tokens += 1;
        self.read += 1;
        let token = Token(self.tokens);
        self.given.insert(token, (stored.number, place));
        let with = |times: u64| Bytes::from(json!({ "n": stored.number, "times": times }).to_string());
        let body = match &stored.sort {
            Sort::Event => with(1),
            Sort::Two => with(2),
            Sort::Passed => with(0),
            Sort::Poison => Bytes::from_static(b"?"),
            Sort::Raw(bytes) => bytes.clone(),
        };
        let key = (!self.peer.lock().has_order).then(|| format!("queue/{}", stored.number));
        Message { token, body: Body::Bytes(body), about: serde_json::Map::new(), key, time: None }
    }

    fn take(&mut self, room: Room) -> Result<Vec<Message>, SourceError> {
        let broken = || Err(SourceError::new(SensorErrorKind::Connect, "the connection broke"));
        let (most, has_order) = {
            let mut inner = self.peer.lock();
            if inner.is_faulty(Fault::NextPanics) {
                drop(inner);
                panic!("the source has a bug");
            }
            let most = inner.read_max();
            if most.is_some_and(|most| self.read >= most) {
                inner.once = None;
                return broken();
            }
            (most.map_or(room.messages, |most| room.messages.min(usize::try_from(most - self.read).unwrap())), inner.has_order)
        };
        let mut taken = Vec::new();
        while taken.len() < most {
            let mut inner = self.peer.lock();
            inner.expire();
            let stored = if has_order {
                let place = usize::try_from(self.from).unwrap();
                inner.messages.get(place).cloned()
            } else {
                inner.messages.pop_front()
            };
            let Some(stored) = stored else { break };
            if !has_order {
                inner.held.insert(stored.number, ClaimedMessage { stored: stored.clone(), since: Instant::now() });
            }
            drop(inner);
            self.from += 1;
            let place = self.from;
            taken.push(self.give(&stored, place));
        }
        Ok(taken)
    }
}

impl MessageSource for PeerSource {
    fn guarantee(&self) -> Guarantee {
        if self.peer.lock().has_order { Guarantee::ExactByCursor } else { Guarantee::ExactByKey }
    }

    fn next(&mut self, room: Room) -> Pending<'_, Result<PullOutcome, SourceError>> {
        Box::pin(async move {
            loop {
                let taken = self.take(room)?;
                if !taken.is_empty() {
                    return Ok(PullOutcome::Messages(taken));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    }

    fn cursor_at(&self, last: Token) -> Option<Document> {
        let (_, place) = *self.given.get(&last)?;
        let peer = self.peer.lock();
        let text = format!("{place:>width$}", width = peer.cursor_bytes);
        peer.has_order.then(|| Document::parse(text.into()).expect("a number with blanks before it is JSON"))
    }

    fn settle(&mut self, done: &[Token]) -> Pending<'_, Result<(), SourceError>> {
        let done = done.to_vec();
        Box::pin(async move {
            if self.peer.lock().is_faulty(Fault::SettleHangs) {
                return std::future::pending().await;
            }
            if self.peer.lock().is_faulty(Fault::SettleIsSlow) {
                tokio::time::sleep(SLOW).await;
            }
            if self.peer.lock().is_faulty(Fault::SettleFails) {
                return Err(SourceError::new(SensorErrorKind::Connect, "the connection broke while settling"));
            }
            for token in done {
                let Some((number, _)) = self.given.remove(&token) else { continue };
                let check = self.peer.lock().check.clone();
                let is_right = check.is_none_or(|check| check(number));
                let mut inner = self.peer.lock();
                inner.expire();
                if !is_right {
                    inner.early.push(number);
                }
                inner.held.remove(&number);
                inner.settled.push(number);
            }
            Ok(())
        })
    }

    fn keep_every(&self) -> Option<Duration> {
        self.peer.lock().claim.map(|_| KEEP_EVERY)
    }

    fn keep(&mut self, held: &[Token]) -> Pending<'_, Result<(), SourceError>> {
        let mut inner = self.peer.lock();
        inner.expire();
        let is_heard = !inner.is_faulty(Fault::KeepFails);
        for (number, _) in held.iter().filter_map(|token| self.given.get(token)) {
            inner.held.get_mut(number).into_iter().for_each(|claimed| claimed.since = Instant::now());
        }
        let broken = || SourceError::new(SensorErrorKind::Connect, "the connection broke");
        Box::pin(std::future::ready(is_heard.then_some(()).ok_or_else(broken)))
    }

    fn give_back(&mut self, held: &[Token]) -> Pending<'_, Result<(), SourceError>> {
        let mut inner = self.peer.lock();
        for (number, _) in held.iter().filter_map(|token| self.given.remove(token)) {
            let claimed = inner.held.remove(&number);
            inner.messages.extend(claimed.map(|claimed| claimed.stored));
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn lag(&self) -> Lag {
        let inner = self.peer.lock();
        Lag::Messages(inner.messages.len() as u64 - if inner.has_order { self.from.min(inner.messages.len() as u64) } else { 0 })
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move { self.peer.lock().closes += 1 })
    }
}
