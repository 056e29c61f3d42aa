//! The pure half of the sequencer: commands in, one batch of records out.
//!
//! Each command is a turn: decide, fold, and compute the consequences up to a limit. Consequences over the
//! limit are owed and served between batches. The thread that owns the log, waits for the disk and answers
//! callers is in `ensue-node`.

mod recent_bodies;

use crate::workflows::waits::is_awaited;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use recent_bodies::{AtHand, Both, is_read_soon};

use crate::catalog::Catalogs;
use crate::command::{
    Answer, Ask, Bodies, Command, Context, Decision, DedupeEntry, DedupeKey, Moment, Novelty, ObservedEvent, ReceivedEvent, Refusal,
    SeenKeys, Settings, TurnLimits,
};
use crate::effect::Effect;
use crate::engine::Engine;
use crate::events::react::judgement;
use crate::explain::panic_text;
use crate::fact::{Fact, FactTooLarge};
use crate::health::facts::{ReactionDeferred, ReactionHeld, ReactionParked, ReactionResumed};
use crate::health::state::OwedReaction;
use crate::ids::{EventId, Id};
use crate::ports::Batch;
use crate::reaction::{Consequence, Reaction, Then};
use crate::record::{Body, BodyHandle, Cause, Draft, Epoch, Head, Position, Record, StreamId};
use crate::rules::judge::Judgement;
use crate::text::cut;

/// The maximum size of a parked reaction's error, in bytes.
const ERROR_BYTES_MAX: usize = 2_048;

/// The rules' judgements of the events of a turn.
type Judgements = BTreeMap<EventId, Arc<Judgement>>;

/// The inputs to a batch other than its commands.
#[derive(Clone, Copy)]
pub struct BatchInputs<'a> {
    /// The built catalogs.
    pub catalogs: &'a dyn Catalogs,
    /// The bodies in memory.
    pub bodies: &'a dyn Bodies,
    /// The keys that the log has seen.
    pub seen: &'a dyn SeenKeys,
    /// The operator's settings.
    pub settings: &'a Settings,
}

/// The outcome of an offered command.
#[derive(Debug)]
pub enum OfferOutcome {
    /// The command is in the batch. The answer is valid once the batch is in the log.
    Taken {
        /// The newest position of its records, or the newest position of the log if it recorded nothing.
        position: Position,
        /// The answer to the caller.
        answer: Answer,
    },
    /// The command is not allowed; the batch is unchanged.
    Refused(Refusal),
    /// These bodies must be fetched first; the batch is unchanged.
    Needs(Vec<BodyHandle>),
}

/// The core of a log with the batch that is being made.
#[derive(Debug)]
pub struct Sequencing {
    engine: Engine,
    /// The newest record in the log.
    committed: Head,
    /// The newest record of the batch.
    head: Head,
    epoch: Epoch,
    batch: Batch,
    effects: Vec<Effect>,
    seen: BTreeMap<DedupeKey, DedupeEntry>,
    /// The bodies that will be read soon.
    at_hand: AtHand,
    /// How many steps rules took in evaluating the batch's events.
    steps: u64,
}

/// A batch that is in the log.
#[derive(Debug)]
pub struct CommittedBatch {
    /// Its records.
    pub records: Vec<Record>,
    /// The effects that are now due.
    pub effects: Vec<Effect>,
}

impl Sequencing {
    /// Continues from a state that has folded the log up to `head`.
    pub fn new(engine: Engine, head: Head, epoch: Epoch) -> Self {
        Self {
            engine,
            committed: head,
            head,
            epoch,
            batch: Batch::default(),
            effects: Vec::new(),
            seen: BTreeMap::new(),
            at_hand: AtHand::default(),
            steps: 0,
        }
    }

    /// Returns the state, with the batch's records folded in.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the batch.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Returns the effects of the batch, which are due once it is in the log.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// Releases the memory of the bodies at hand. What is needed again is fetched from the log.
    pub fn release_caches(&mut self) {
        self.at_hand = AtHand::default();
    }

    /// Drops an effect by its index: the attempt that it starts has already ended in the batch.
    pub fn drop_effect(&mut self, index: usize) {
        self.effects.remove(index);
    }

    /// Returns the newest record in the log. The batch is appended after it.
    pub fn committed_head(&self) -> Head {
        self.committed
    }

    /// Returns the epoch under which the batch is written.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Decides a command and folds its changes and their consequences. If deciding panics, the command is
    /// refused and nothing changes.
    pub fn offer(&mut self, command: &Command, at: &Moment, beside: &BatchInputs<'_>) -> OfferOutcome {
        let events = command.events();
        let mut judgements = events.iter().map(|event| (event.id, event.judgement.clone())).collect();
        let offered = OfferedBodies { events, beside: beside.bodies };
        let seen = BothSeen { batch: &self.seen, log: beside.seen };
        let with = Context { catalogs: beside.catalogs, bodies: &offered, seen: &seen, judgements: &judgements, settings: beside.settings };
        let decided = catch_unwind(AssertUnwindSafe(|| self.engine.decide(command, at, &with)));
        let (drafts, mut answer) = match decided {
            Ok(Decision::Done { drafts, answer }) => (drafts, answer),
            Ok(Decision::Refused(refusal)) => return OfferOutcome::Refused(refusal),
            Ok(Decision::Needs(digests)) => return OfferOutcome::Needs(digests),
            Err(panic) => return OfferOutcome::Refused(Refusal::Bug(panic_text(&*panic).to_owned())),
        };
        let mut facts = Vec::with_capacity(drafts.len());
        for draft in drafts {
            match draft.fact.to_json() {
                Ok(json) => facts.push((draft, json)),
                Err(too_large) => return OfferOutcome::Refused(Refusal::TooLarge(too_large.to_string())),
            }
        }
        if matches!(command.ask, Ask::Check(_)) {
            return OfferOutcome::Taken { position: self.head.position, answer };
        }
        let beside = BatchInputs { bodies: &offered, ..*beside };
        let mut turn = OpenTurn::default();
        let mut positions = Vec::with_capacity(facts.len());
        for (draft, json) in facts {
            let position = self.append(draft, json, at, &mut turn);
            self.note_seen(position, events, at);
            positions.push(position);
        }
        self.follow(turn, at, &mut judgements, &beside);
        if let Answer::Events(received) = &mut answer {
            place(received, &positions);
        }
        if let Ask::Once { request, .. } = &command.ask {
            for (key, seen) in request.rows(self.engine.log(), &answer, self.head.position, at) {
                self.seen.insert(key.clone(), seen);
                self.batch.seen.push((key, seen));
            }
        }
        let position = match &answer {
            Answer::Before(before) => before.position,
            Answer::Done | Answer::Events(_) | Answer::Execution(_) | Answer::Catalog(_) | Answer::ReportedLate => self.head.position,
        };
        OfferOutcome::Taken { position, answer }
    }

    /// Folds drafts that were decided earlier, with their consequences. A replay uses this for input that
    /// came from outside.
    ///
    /// # Errors
    /// Fails if a fact is too large to store; the batch is then unchanged.
    pub fn repeat(&mut self, drafts: Vec<Draft>, at: &Moment, beside: &BatchInputs<'_>) -> Result<(), FactTooLarge> {
        let facts = drafts.into_iter().map(|draft| draft.fact.to_json().map(|json| (draft, json)));
        let mut turn = OpenTurn::default();
        for (draft, json) in facts.collect::<Result<Vec<_>, _>>()? {
            self.append(draft, json, at, &mut turn);
        }
        self.follow(turn, at, &mut BTreeMap::new(), beside);
        Ok(())
    }

    /// Computes one turn's worth of the consequences owed to `record`. [`next_owed`](Self::next_owed) returns
    /// the pieces to serve.
    pub fn serve(&mut self, record: &Record, owed: OwedReaction, at: &Moment, beside: &BatchInputs<'_>) -> OfferOutcome {
        let mut judgements = BTreeMap::new();
        // Request missing bodies before recording anything: a resumption without its consequences would lose
        // them.
        if let Ok(Reaction::Needs(digests)) = self.reaction(record, Consequence(owed.next), at, &mut judgements, beside) {
            return OfferOutcome::Needs(digests);
        }
        // A piece always makes progress, however much the batch has done so far.
        self.steps = 0;
        let mut turn = OpenTurn { is_piece: true, ..OpenTurn::default() };
        self.append_own(record, ReactionResumed { of: owed.of }.into(), at, &mut turn);
        turn.pending.push_front((record.clone(), Consequence(owed.next)));
        self.follow(turn, at, &mut judgements, beside);
        OfferOutcome::Taken { position: self.head.position, answer: Answer::Done }
    }

    /// Parks the reaction that is owed to `record`, with the error.
    pub fn park(&mut self, record: &Record, owed: OwedReaction, error: String, at: &Moment, beside: &BatchInputs<'_>) {
        let mut turn = OpenTurn::default();
        let fact = ReactionParked { of: owed.of, next: owed.next, error: cut(error, ERROR_BYTES_MAX) };
        self.append_own(record, fact.into(), at, &mut turn);
        self.follow(turn, at, &mut BTreeMap::new(), beside);
    }

    /// Returns the owed piece to serve after one of the chain `last`.
    pub fn next_owed(&self, last: Option<Id>) -> Option<OwedReaction> {
        self.engine.health().next_owed(last)
    }

    /// Marks the batch as written to the log, and starts the next one.
    pub fn mark_committed(&mut self) -> CommittedBatch {
        self.engine.commit();
        self.committed = self.head;
        self.seen.clear();
        self.steps = 0;
        let batch = std::mem::take(&mut self.batch);
        CommittedBatch { records: batch.records, effects: std::mem::take(&mut self.effects) }
    }

    /// Undoes the batch: it is not in the log.
    pub fn undo(&mut self) {
        self.engine.undo();
        self.head = self.committed;
        self.batch = Batch::default();
        self.effects.clear();
        self.seen.clear();
        self.steps = 0;
    }

    /// Computes the consequences of the turn's records, depth first, so that few of them are pending when the
    /// limit is reached.
    fn follow(&mut self, mut turn: OpenTurn, at: &Moment, judgements: &mut Judgements, beside: &BatchInputs<'_>) {
        while !turn.is_full(&beside.settings.turn)
            && (turn.is_piece || self.batch.records.len() < beside.settings.turn.batch_drafts)
            && let Some((record, next)) = turn.pending.pop_front()
        {
            if self.is_for_a_later_batch(&record, &beside.settings.turn) {
                self.append_own(&record, ReactionDeferred { of: record.position, next: next.0 }.into(), at, &mut turn);
                continue;
            }
            let parked = match self.reaction(&record, next, at, judgements, beside) {
                Ok(Reaction::Drafts { drafts, then, steps }) => match with_json(drafts) {
                    Ok(facts) => {
                        self.steps += steps;
                        // Judging and deciding takes time even if it produces no facts.
                        turn.drafts += usize::from(facts.is_empty() && then != Then::Nothing);
                        let later = std::mem::take(&mut turn.pending);
                        for (draft, json) in facts {
                            self.append(draft, json, at, &mut turn);
                        }
                        match then {
                            Then::Nothing => {}
                            Then::More => turn.pending.push_back((record, next.next())),
                            Then::From(next) => turn.pending.push_back((record, next)),
                        }
                        turn.pending.extend(later);
                        continue;
                    }
                    Err(too_large) => too_large,
                },
                Ok(Reaction::Held(execution)) => {
                    self.append_own(&record, ReactionHeld { of: record.position, next: next.0, execution }.into(), at, &mut turn);
                    continue;
                }
                // The bodies are fetched between two batches.
                Ok(Reaction::Needs(_)) => {
                    self.append_own(&record, ReactionDeferred { of: record.position, next: next.0 }.into(), at, &mut turn);
                    continue;
                }
                Ok(Reaction::Impossible(why)) => why,
                Err(panic) => panic,
            };
            // Parking it again would not help.
            if matches!(record.fact, Fact::ReactionParked(_)) {
                continue;
            }
            let error = cut(parked, ERROR_BYTES_MAX);
            self.append_own(&record, ReactionParked { of: record.position, next: next.0, error }.into(), at, &mut turn);
        }
        for (record, next) in std::mem::take(&mut turn.pending) {
            let is_late = self.is_for_a_later_batch(&record, &beside.settings.turn);
            let left = if is_late { None } else { Some(self.reaction(&record, next, at, judgements, beside)) };
            if let Some(Ok(Reaction::Drafts { steps, .. })) = &left {
                self.steps += steps;
            }
            match left {
                None => {}
                // Usually the only thing left is to start an execution and no worker is free. Nothing is owed
                // for that.
                Some(Ok(Reaction::Drafts { drafts, then: Then::Nothing, .. })) if drafts.is_empty() => continue,
                Some(Ok(Reaction::Drafts { .. } | Reaction::Needs(_) | Reaction::Held(_) | Reaction::Impossible(_)) | Err(_)) => {}
            }
            self.append_own(&record, ReactionDeferred { of: record.position, next: next.0 }.into(), at, &mut turn);
        }
    }

    /// Returns true if rules still have to judge an event but the rules before them have used up the steps of
    /// a batch.
    fn is_for_a_later_batch(&self, record: &Record, limits: &TurnLimits) -> bool {
        self.steps >= limits.steps && matches!(&record.fact, Fact::EventReceived(event) if event.undecided > 0)
    }

    /// Asks the core for the consequences of a record. Catches a panic and returns its text.
    fn reaction(
        &self,
        record: &Record,
        next: Consequence,
        at: &Moment,
        judgements: &mut Judgements,
        beside: &BatchInputs<'_>,
    ) -> Result<Reaction, String> {
        let seen = BothSeen { batch: &self.seen, log: beside.seen };
        let bodies = Both { at_hand: &self.at_hand, beside: beside.bodies };
        let reaction = catch_unwind(AssertUnwindSafe(|| {
            if let Fact::EventReceived(fact) = &record.fact
                && fact.concerns_rules()
            {
                // All consequences of an event share one judgement. If there is none, the reaction itself
                // reports what it needs: some consequences may not need any.
                let with = Context { catalogs: beside.catalogs, bodies: &bodies, seen: &seen, judgements, settings: beside.settings };
                if let Ok(judgement) = judgement(record, fact, &with) {
                    judgements.insert(EventId(record.id), judgement);
                }
            }
            let with = Context { catalogs: beside.catalogs, bodies: &bodies, seen: &seen, judgements, settings: beside.settings };
            self.engine.react(record, next, at, &with)
        }));
        reaction.map_err(|panic| panic_text(&*panic).to_owned())
    }

    /// Records what happens to a record's reaction: on the log's own stream, in the record's chain.
    fn append_own(&mut self, of: &Record, fact: Fact, at: &Moment, turn: &mut OpenTurn) {
        let json = fact.to_json().expect("facts about reactions are bounded well below the limit");
        let draft = Draft::by_engine(StreamId::Log(self.engine.log()), fact).because(of.cause.from_parent(of.id));
        self.append(draft, json, at, turn);
    }

    /// Assigns a draft its position, folds it, and notes the resulting effects.
    fn append(&mut self, draft: Draft, json: Bytes, at: &Moment, turn: &mut OpenTurn) -> Position {
        let batch = *self.batch.id.get_or_insert_with(|| Id::root(at.time, at.entropy.rotate_left(64) ^ u128::from(self.head.position.0)));
        let revision = self.engine.next_revision(&draft.stream);
        let id = draft.begins.unwrap_or_else(|| Id::of_later(self.engine.log(), &draft.stream, revision));
        let mut record = Record {
            position: self.head.position.next(),
            log: self.engine.log(),
            epoch: self.epoch,
            batch,
            stream: draft.stream,
            revision,
            schema: draft.fact.schema(),
            id,
            time: at.time,
            actor: draft.actor,
            cause: draft.cause.unwrap_or_else(|| Cause::root(id, draft.trace)),
            fact: draft.fact,
            fact_json: json,
            body: draft.body,
            chain: self.head.chain,
        };
        record.chain = self.head.chain.over(&record);
        self.head = Head { position: record.position, chain: record.chain };
        if is_read_soon(&self.engine, &record)
            && let Some(body) = &record.body
        {
            self.at_hand.put(body);
        }
        self.engine.apply(&record);
        self.effects.extend(self.engine.effects_of(&record));
        turn.drafts += 1;
        turn.bytes += record.fact_json.len() + record.body.as_ref().and_then(|body| body.content.as_ref()).map_or(0, Bytes::len);
        if record.fact.reacts() || is_awaited(&self.engine, &record.fact) {
            turn.pending.push_back((record.clone(), Consequence::FIRST));
        }
        let position = record.position;
        self.batch.records.push(record);
        position
    }

    fn note_seen(&mut self, position: Position, events: &[ObservedEvent], at: &Moment) {
        let Some(record) = self.batch.records.last() else { return };
        let StreamId::Event(id) = record.stream else { return };
        let Some(event) = events.iter().find(|event| event.id == id) else { return };
        let of_key = event.dedupe.iter().map(|dedupe| (dedupe.key.clone(), dedupe.content));
        let of_body = event.signed.iter().map(|signed| (signed.key(), signed.body.hash));
        for (key, content) in of_key.chain(of_body) {
            let seen = DedupeEntry { position, event: id, content, until: DedupeEntry::until(at.time) };
            self.seen.insert(key.clone(), seen);
            self.batch.seen.push((key, seen));
        }
    }
}

/// One turn: its drafts, and the records whose consequences are still to be computed.
#[derive(Default)]
struct OpenTurn {
    /// Whether it computes a piece of an owed reaction.
    is_piece: bool,
    drafts: usize,
    bytes: usize,
    pending: VecDeque<(Record, Consequence)>,
}

impl OpenTurn {
    fn is_full(&self, limits: &TurnLimits) -> bool {
        self.drafts >= limits.drafts || self.bytes >= limits.bytes
    }
}

fn with_json(drafts: Vec<Draft>) -> Result<Vec<(Draft, Bytes)>, String> {
    drafts.into_iter().map(|draft| draft.fact.to_json().map(|json| (draft, json)).map_err(|too_large| too_large.to_string())).collect()
}

/// Assigns positions to the new events of a command, in order, and gives each repeat the position of the
/// event that it repeats.
fn place(received: &mut [ReceivedEvent], positions: &[Position]) {
    let new = received.iter_mut().filter(|event| event.novelty == Novelty::New);
    for (event, position) in new.zip(positions) {
        event.position = *position;
    }
    for index in 0..received.len() {
        if received[index].position == Position::default()
            && let Some(first) = received[..index].iter().find(|event| event.id == received[index].id).map(|event| event.position)
        {
            received[index].position = first;
        }
    }
}

/// The bodies that a command brings, and the bodies in memory.
struct OfferedBodies<'a> {
    events: &'a [ObservedEvent],
    beside: &'a dyn Bodies,
}

impl Bodies for OfferedBodies<'_> {
    fn plain(&self, body: &BodyHandle) -> Option<Bytes> {
        let brought = self.events.iter().find(|event| event.body.digest == body.digest);
        brought.map(|event| event.payload.bytes().clone()).or_else(|| self.beside.plain(body))
    }

    fn decoded_bytes(&self, body: &Body) -> Option<Bytes> {
        self.beside.decoded_bytes(body)
    }
}

/// The keys of the batch and of the log.
struct BothSeen<'a> {
    batch: &'a BTreeMap<DedupeKey, DedupeEntry>,
    log: &'a dyn SeenKeys,
}

impl SeenKeys for BothSeen<'_> {
    fn find_key(&self, key: &DedupeKey) -> Option<DedupeEntry> {
        self.batch.get(key).copied().or_else(|| self.log.find_key(key))
    }
}
