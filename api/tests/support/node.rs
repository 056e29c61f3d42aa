//! The small node: the real core and its views, in memory. Its ports are in `ports.rs`, its programs in
//! `programs.rs`.

mod ports;
mod programs;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) use self::ports::ENDLESS_RULE;
use bytes::Bytes;
use ensue_api::ports::{AskedInquiryLink, GivenEvent, LoginOf, PortError};
use ensue_api::{Ends, RecentChanges};
use ensue_engine::access::keys::state::KeyVersions;
use ensue_engine::access::quota::{Tier, Tiers};
use ensue_engine::batch::{BatchInputs, OfferOutcome, Sequencing};
use ensue_engine::catalog::{Catalog, Catalogs, NotAccepted};
use ensue_engine::command::{Ask, Bodies, Command, DedupeEntry, DedupeKey, Moment, NewToken, ObservedEvent, Refusal, SeenKeys, Settings};
use ensue_engine::engine::Engine;
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::health::state::OwedReaction;
use ensue_engine::ids::{AttemptId, EventId, Id, IdentityId, LinkId, LogId, SessionId, TokenId};
use ensue_engine::names::{KeyRef, PackName, SensorRef};
use ensue_engine::ports::{CommitReceipt, OutputState, OutputStream, Secret, SubmitError};
use ensue_engine::record::{Actor, BodyHandle, CatalogRevision, Epoch, Head, Position, Record};
use ensue_engine::rules::judge::{EventView, judge};
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use ensue_store::blobs::MemoryBlobs;
use ensue_store::memory::{MemoryViewReader, MemoryViews};
use ensue_views::Projector;
use ensue_views::changed_rows::ChangedRows;
use ensue_views::onlooker::Nobody;
use tokio::sync::watch;

use super::{GATE_SECRET, entropy, packs, token_name};

/// The mark of the token of every attempt.
pub(crate) const PROGRAM_MARK: [u8; 32] = [0x5e; 32];
/// When the small node starts; each command comes a millisecond later.
pub(crate) const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);
/// The secret of every token.
const TOKEN_SECRET: &str = "secret";
/// The roles for which there are tokens.
const ROLES: [&str; 5] = ["admin", "operator", "author", "viewer", "release_managers"];

/// A node in memory.
pub(crate) struct TestNode {
    core: Mutex<Core>,
    catalog: Arc<Catalog>,
    tiers: Tiers,
    script: Mutex<Script>,
    views_at: watch::Sender<Position>,
    outputs: Mutex<PrintedOutputs>,
    log_reads: AtomicU64,
    /// The packs whose files were asked for, in that order.
    source_reads: Mutex<Vec<PackName>>,
    revocations: watch::Sender<u64>,
    pub(crate) ends: Arc<Ends>,
    pub(crate) changes: Arc<RecentChanges>,
    /// How often a request waited for the views.
    pub(crate) hurries: AtomicU64,
    pub(crate) blobs: MemoryBlobs,
}

/// The output of attempts, and whether more may come.
type PrintedOutputs = BTreeMap<(AttemptId, OutputStream), (Vec<u8>, OutputState)>;

/// The planned failures.
#[derive(Default)]
struct Script {
    views_stand_still: bool,
    submit: Option<SubmitError>,
    admission: Option<SubmitError>,
    doctor_panics: bool,
    /// If the files of packs are not read until this is false.
    holds_sources: bool,
    log: Option<String>,
    not_ready: bool,
    revoked: Vec<TokenId>,
    gate_secret: Option<&'static str>,
}

struct Core {
    sequencing: Sequencing,
    records: Vec<Record>,
    seen: BTreeMap<DedupeKey, DedupeEntry>,
    views: MemoryViews,
    projector: Projector,
    ticks: u64,
    /// The values of keys, by their versions.
    key_values: BTreeMap<(KeyRef, u32), Arc<Secret>>,
    /// The login codes that were not used.
    codes: BTreeMap<String, LoginOf>,
    /// The links to inquiries that were not used.
    links: BTreeMap<String, (LinkId, AskedInquiryLink)>,
    /// The hashes of the cookies of sessions.
    cookies: BTreeMap<SessionId, [u8; 32]>,
    /// When each token was last used.
    used: BTreeMap<TokenId, Timestamp>,
    /// The identities by their names.
    names: BTreeMap<String, IdentityId>,
}

impl Core {
    fn versions(&self, key: &KeyRef) -> KeyVersions {
        self.sequencing.engine().access().key(key).unwrap_or_default()
    }
}

struct AllBodies<'a>(&'a [Record]);

impl Bodies for AllBodies<'_> {
    fn plain(&self, handle: &BodyHandle) -> Option<Bytes> {
        self.0.iter().filter_map(|record| record.body.as_ref()).find(|body| body.digest == handle.digest)?.content.clone()
    }
}

struct AllSeen<'a>(&'a BTreeMap<DedupeKey, DedupeEntry>);

impl SeenKeys for AllSeen<'_> {
    fn find_key(&self, key: &DedupeKey) -> Option<DedupeEntry> {
        self.0.get(key).copied()
    }
}

struct OneCatalog(Arc<Catalog>);

impl Catalogs for OneCatalog {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        (self.0.revision() == revision).then(|| self.0.clone())
    }
}

/// The settings of the small node: rights can be limited by the label `site`, and the group `trial` has a tier.
fn settings() -> Settings {
    let free = Tier { events_per_day: Some(3), executions_per_hour: Some(2), concurrent: Some(1) };
    let tiers = Tiers::new([("free".parse().unwrap(), free)].into(), vec![("trial".parse().unwrap(), "free".parse().unwrap())]);
    Settings { scope_labels: ["site".parse().unwrap()].into(), tiers: tiers.unwrap(), ..Settings::default() }
}

impl TestNode {
    pub(crate) fn new() -> Self {
        Self::with_catalog(packs::INSTALLED.0.clone())
    }

    /// Creates a node whose pack has other contents of a file.
    pub(crate) fn with_file(path: &str, text: &str) -> Self {
        Self::with_catalog(Arc::new(packs::catalog_with(path, text)))
    }

    fn with_catalog(catalog: Arc<Catalog>) -> Self {
        let views = MemoryViews::new();
        let log = LogId(Id::root(NOON, 1));
        let core = Core {
            sequencing: Sequencing::new(Engine::new(log), Head::default(), Epoch(1)),
            records: Vec::new(),
            seen: BTreeMap::new(),
            views,
            projector: Projector::new(),
            ticks: 0,
            key_values: BTreeMap::new(),
            codes: BTreeMap::new(),
            links: BTreeMap::new(),
            cookies: BTreeMap::new(),
            used: BTreeMap::new(),
            names: BTreeMap::new(),
        };
        let node = Self {
            core: Mutex::new(core),
            catalog,
            tiers: settings().tiers,
            script: Mutex::new(Script { gate_secret: Some(GATE_SECRET), ..Script::default() }),
            views_at: watch::Sender::new(Position(0)),
            outputs: Mutex::default(),
            log_reads: AtomicU64::new(0),
            source_reads: Mutex::default(),
            revocations: watch::Sender::new(0),
            ends: Ends::after(Position(0)),
            changes: RecentChanges::after(Position(0)),
            hurries: AtomicU64::new(0),
            blobs: MemoryBlobs::default(),
        };
        let changes = packs::INSTALLED.1.clone();
        node.ask(Actor::Operator, Ask::ChangePacks { base: CatalogRevision(0), changes }).unwrap();
        for role in ROLES {
            let token = NewToken::with_roles(token_id(role), token_name(role), vec![role.to_owned()]);
            node.ask(Actor::Operator, Ask::AddToken(token)).unwrap();
        }
        node
    }

    pub(crate) fn views(&self) -> MemoryViewReader {
        self.core().views.reader()
    }

    pub(crate) fn views_at(&self) -> watch::Receiver<Position> {
        self.views_at.subscribe()
    }

    pub(crate) fn token_of(&self, role: &str) -> String {
        format!("ens_{}_{TOKEN_SECRET}", token_id(role))
    }

    pub(crate) fn head_position(&self) -> u64 {
        self.core().sequencing.committed_head().position.0
    }

    /// Returns the kind of every record, oldest first.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.core().records.iter().map(Record::kind).collect()
    }

    /// Returns the newest record.
    pub(crate) fn newest(&self) -> Record {
        self.core().records.last().unwrap().clone()
    }

    /// Returns how many times the log was read.
    pub(crate) fn log_reads(&self) -> u64 {
        self.log_reads.load(Ordering::Relaxed)
    }

    pub(crate) fn revoke(&self, role: &str) {
        self.script().revoked.push(token_id(role));
        self.revocations.send_modify(|revoked| *revoked += 1);
    }

    pub(crate) fn hold_views(&self) {
        self.script().views_stand_still = true;
    }

    pub(crate) fn fail_submit(&self, error: SubmitError) {
        self.script().submit = Some(error);
    }

    pub(crate) fn close_admission(&self, error: SubmitError) {
        self.script().admission = Some(error);
    }

    pub(crate) fn panic_in_doctor(&self) {
        self.script().doctor_panics = true;
    }

    /// Returns the packs whose files were asked for so far.
    pub(crate) fn source_reads(&self) -> Vec<PackName> {
        self.source_reads.lock().unwrap().clone()
    }

    /// Lets each read of the files of a pack wait until they are released.
    pub(crate) fn hold_sources(&self) {
        self.script().holds_sources = true;
    }

    pub(crate) fn release_sources(&self) {
        self.script().holds_sources = false;
    }

    pub(crate) fn break_log(&self, why: &str) {
        self.script().log = Some(why.to_owned());
    }

    pub(crate) fn be_not_ready(&self) {
        self.script().not_ready = true;
    }

    pub(crate) fn set_gate_secret(&self, secret: Option<&'static str>) {
        self.script().gate_secret = secret;
    }

    pub(crate) fn ask(&self, actor: Actor, ask: Ask) -> Result<CommitReceipt, SubmitError> {
        self.carry_out(&Command { actor, trace: None, ask })
    }

    fn carry_out(&self, command: &Command) -> Result<CommitReceipt, SubmitError> {
        if let Some(error) = &self.script().submit {
            return Err(error.clone());
        }
        let mut core = self.core();
        let core = &mut *core;
        core.ticks += 1;
        let at = Moment { time: NOON.plus_millis(core.ticks), entropy: u128::from(core.ticks) << 20 };
        let catalogs = OneCatalog(self.catalog.clone());
        let (bodies, seen, settings) = (AllBodies(&core.records), AllSeen(&core.seen), settings());
        let beside = BatchInputs { catalogs: &catalogs, bodies: &bodies, seen: &seen, settings: &settings };
        match core.sequencing.offer(command, &at, &beside) {
            OfferOutcome::Refused(refusal) => Err(SubmitError::Refused(refusal)),
            OfferOutcome::Needs(digests) => panic!("all bodies are at hand, but not {digests:?}"),
            OfferOutcome::Taken { position, answer } => {
                core.seen.extend(core.sequencing.batch().seen.iter().cloned());
                let records = core.sequencing.mark_committed().records;
                self.ends.note(&records);
                if !self.script().views_stand_still {
                    let told = &mut |after, changes| self.changes.note(ChangedRows::of(after, changes));
                    core.projector.advance_telling(&mut core.views, &records, &mut Nobody, told).unwrap();
                    self.views_at.send_replace(position);
                }
                core.records.extend(records);
                Ok(CommitReceipt { position, answer })
            }
        }
    }

    /// Forgets which rows changed, as a restart does.
    pub(crate) fn forget_changes(&self) {
        let (at, through) = (Position(u64::MAX), Position(self.head_position()));
        self.changes.note(ChangedRows { after: at, through, rows: Vec::new() });
    }

    /// Parks the reaction to the record at a position, as a panic in it would.
    pub(crate) fn park(&self, of: u64) {
        let mut core = self.core();
        let core = &mut *core;
        let record = core.records.iter().find(|record| record.position.0 == of).unwrap().clone();
        core.ticks += 1;
        let at = Moment { time: NOON.plus_millis(core.ticks), entropy: u128::from(core.ticks) << 20 };
        let owed = OwedReaction { of: record.position, next: 0, root: record.cause.root };
        let catalogs = OneCatalog(self.catalog.clone());
        let (bodies, seen, settings) = (AllBodies(&core.records), AllSeen(&core.seen), settings());
        let beside = BatchInputs { catalogs: &catalogs, bodies: &bodies, seen: &seen, settings: &settings };
        core.sequencing.park(&record, owed, "it broke".to_owned(), &at, &beside);
        let records = core.sequencing.mark_committed().records;
        self.ends.note(&records);
        let told = &mut |after, changes| self.changes.note(ChangedRows::of(after, changes));
        core.projector.advance_telling(&mut core.views, &records, &mut Nobody, told).unwrap();
        self.views_at.send_replace(core.sequencing.committed_head().position);
        core.records.extend(records);
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn gate_key(&self) -> Option<Secret> {
        self.script().gate_secret.map(|secret| Secret::new(secret.as_bytes().to_vec()))
    }

    fn judge_event(&self, given: GivenEvent, sensor: Option<SensorRef>) -> Result<ObservedEvent, PortError> {
        let VersionedTrigger { name, version } = given.trigger.clone();
        let trigger = self.catalog.triggers().get(&name).ok_or_else(|| Refusal::NoTrigger(name.clone()))?;
        let payload = Document::parse(given.payload.clone()).unwrap();
        let accepted = trigger.accept(version, &payload).map_err(|why| match why {
            NotAccepted::NoNewest(why) => PortError::from(why),
            NotAccepted::Misfits(misfits) => {
                let told = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                PortError::from(Refusal::PayloadMisfit { trigger: name.clone(), misfits: told }).with_misfits(misfits)
            }
        })?;
        let mut core = self.core();
        core.ticks += 1;
        let time = NOON.plus_millis(core.ticks);
        let id = EventId(Id::root(time, u128::from(core.ticks) << 40));
        let GivenEvent { source, dedupe, trace, rule, .. } = given;
        let occurred_at = given.occurred_at.unwrap_or(time);
        let view = EventView { id, trigger: &name, source: &source, time: occurred_at, payload: &accepted.newest, only: rule.as_ref() };
        let event = ObservedEvent::from_view(&view, judge(&self.catalog, &view)).came_as(accepted.version, &payload);
        Ok(ObservedEvent { sensor, trace, dedupe, ..event })
    }
}

fn token_id(role: &str) -> TokenId {
    TokenId(Id::root(NOON, entropy(role)))
}
