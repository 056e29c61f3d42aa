//! The small node: every port of the API over the real core.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use ensue_api::ports::{
    Access, Declined, Dependency, DependencyState, Finding, FindingVerdict, GivenEvent, Holder, HookRefusal, Installed, Job, JobKind,
    JobState, Kept, Keys, LogAccess, NewToken, Node, NodeStatus, Observe, OnBehalf, Readiness, SecretState, SetKey, Tokens, Webhooks,
};
use ensue_engine::batch::{Beside, Offered, Sequencing};
use ensue_engine::catalog::{Catalog, Catalogs, Extra};
use ensue_engine::command::{
    Ask, Bodies, Command, Conflict, Dedupe, DedupeKey, Message, Moment, ObservedEvent, Refusal, RefusedDelivery, Report, ReportOutcome,
    Said, SaidArtifact, Seen, SeenKeys, Settings,
};
use ensue_engine::engine::Engine;
use ensue_engine::fact::Fact;
use ensue_engine::health::state::Owed;
use ensue_engine::ids::{AttemptId, EventId, ExecutionId, Id, LogId, TokenId};
use ensue_engine::names::{KeyRef, PackName, SensorRef};
use ensue_engine::ports::{
    Blobs as _, Committed, HookRequest, LogError, OutputError, OutputPart, OutputState, OutputStream, Outputs, ReadLimit, Reply, Secret,
    Submit, SubmitError,
};
use ensue_engine::record::{Actor, Body, CatalogRevision, Digest, Epoch, Head, Position, Record, Revision, StreamId};
use ensue_engine::rules::judge::{EventView, judge};
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use ensue_packs::Diagnostic;
use ensue_sensors::webhook::{self, Outgoing, Stage};
use ensue_store::blobs::MemoryBlobs;
use ensue_store::memory::{MemoryViewReader, MemoryViews};
use ensue_views::Projector;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{GATE_SECRET, entropy, holder, packs};

/// When the small node begins; each command comes a millisecond later.
pub(crate) const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);
/// The secret of every token.
const TOKEN_SECRET: &str = "secret";
/// The roles that there are tokens for.
const ROLES: [&str; 5] = ["admin", "operator", "author", "viewer", "release_managers"];

/// A node in memory.
pub(crate) struct TestNode {
    core: Mutex<Core>,
    catalog: Arc<Catalog>,
    script: Mutex<Script>,
    views_at: watch::Sender<Position>,
    outputs: Mutex<Printed>,
    pub(crate) blobs: MemoryBlobs,
}

/// What attempts printed, and whether more may come.
type Printed = BTreeMap<(AttemptId, OutputStream), (Vec<u8>, OutputState)>;

/// What goes wrong on purpose.
#[derive(Default)]
struct Script {
    views_stand_still: bool,
    submit: Option<SubmitError>,
    admission: Option<SubmitError>,
    doctor_panics: bool,
    log: Option<String>,
    not_ready: bool,
    revoked: Vec<TokenId>,
    gate_secret: Option<&'static str>,
}

struct Core {
    sequencing: Sequencing,
    records: Vec<Record>,
    seen: BTreeMap<DedupeKey, Seen>,
    views: MemoryViews,
    projector: Projector,
    ticks: u64,
    key_versions: BTreeMap<KeyRef, u32>,
}

struct AllBodies<'a>(&'a [Record]);

impl Bodies for AllBodies<'_> {
    fn plain(&self, digest: &Digest) -> Option<Bytes> {
        self.0.iter().filter_map(|record| record.body.as_ref()).find(|body| body.digest == *digest)?.content.clone()
    }
}

struct AllSeen<'a>(&'a BTreeMap<DedupeKey, Seen>);

impl SeenKeys for AllSeen<'_> {
    fn seen(&self, key: &DedupeKey) -> Option<Seen> {
        self.0.get(key).copied()
    }
}

struct OneCatalog(Arc<Catalog>);

impl Catalogs for OneCatalog {
    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        (self.0.revision() == revision).then(|| self.0.clone())
    }
}

impl TestNode {
    pub(crate) fn new() -> Self {
        let (catalog, changes) = packs::catalog();
        let views = MemoryViews::new();
        let log = LogId(Id::root(NOON, 1));
        let core = Core {
            sequencing: Sequencing::new(Engine::new(log), Head::default(), Epoch(1)),
            records: Vec::new(),
            seen: BTreeMap::new(),
            views,
            projector: Projector::new(),
            ticks: 0,
            key_versions: BTreeMap::new(),
        };
        let node = Self {
            core: Mutex::new(core),
            catalog: Arc::new(catalog),
            script: Mutex::new(Script { gate_secret: Some(GATE_SECRET), ..Script::default() }),
            views_at: watch::Sender::new(Position(0)),
            outputs: Mutex::default(),
            blobs: MemoryBlobs::default(),
        };
        node.ask(Actor::Operator, Ask::ChangePacks { base: CatalogRevision(0), changes }).unwrap();
        for role in ROLES {
            let Holder { name, roles } = holder(role);
            node.ask(Actor::Operator, Ask::AddToken { id: token_id(role), name, roles }).unwrap();
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

    /// Tells every record's kind, oldest first.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.core().records.iter().map(Record::kind).collect()
    }

    /// Gives the newest record.
    pub(crate) fn newest(&self) -> Record {
        self.core().records.last().unwrap().clone()
    }

    pub(crate) fn revoke(&self, role: &str) {
        self.script().revoked.push(token_id(role));
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

    pub(crate) fn break_log(&self, why: &str) {
        self.script().log = Some(why.to_owned());
    }

    pub(crate) fn be_not_ready(&self) {
        self.script().not_ready = true;
    }

    pub(crate) fn set_gate_secret(&self, secret: Option<&'static str>) {
        self.script().gate_secret = secret;
    }

    /// Prints as the newest attempt of an execution would.
    pub(crate) fn print(&self, execution: &str, stream: OutputStream, text: &str) {
        let (attempt, _) = self.attempt_of(execution);
        let mut outputs = self.outputs.lock().unwrap();
        let (bytes, _) = outputs.entry((attempt, stream)).or_insert((Vec::new(), OutputState::Open));
        bytes.extend_from_slice(text.as_bytes());
    }

    /// Throws away what the newest attempt of an execution printed.
    pub(crate) fn remove_output(&self, execution: &str) {
        let (attempt, _) = self.attempt_of(execution);
        let mut outputs = self.outputs.lock().unwrap();
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            outputs.insert((attempt, stream), (Vec::new(), OutputState::Removed));
        }
    }

    /// Says something as the newest attempt of an execution would.
    pub(crate) fn say(&self, execution: &str, index: u32, said: Said) {
        let (attempt, token) = self.attempt_of(execution);
        let message = Message { execution: execution.parse().unwrap(), attempt, token, index, said };
        self.ask(Actor::Worker("local".into()), Ask::TakeMessage(message)).unwrap();
    }

    /// Gives a file away as the newest attempt of an execution would; gives its hash.
    pub(crate) fn give_away(&self, execution: &str, index: u32, name: &str, media_type: Option<&str>, content: &[u8]) -> Digest {
        let mut new = self.blobs.begin().unwrap();
        new.write(content).unwrap();
        let kept = new.keep().unwrap();
        let (name, media_type) = (name.parse().unwrap(), media_type.map(|media_type| media_type.parse().unwrap()));
        self.say(execution, index, Said::Artifact(SaidArtifact { name, media_type, blob: kept.digest, bytes: kept.bytes }));
        kept.digest
    }

    /// Drops so many bytes of what the newest attempt of an execution prints.
    pub(crate) fn cut_output(&self, execution: &str, stream: OutputStream, bytes_dropped: u64) {
        let (attempt, _) = self.attempt_of(execution);
        let mut outputs = self.outputs.lock().unwrap();
        let (_, state) = outputs.entry((attempt, stream)).or_insert((Vec::new(), OutputState::Open));
        *state = OutputState::Truncated { bytes_dropped };
    }

    /// Ends the newest attempt of an execution as its worker would.
    pub(crate) fn succeed(&self, execution: &str, result: &'static str) {
        let (attempt, token) = self.attempt_of(execution);
        Outputs::finish(self, attempt).unwrap();
        let report = Report {
            execution: execution.parse().unwrap(),
            attempt,
            token,
            outcome: ReportOutcome::Succeeded,
            body: Some(Body::json(Bytes::from_static(result.as_bytes()))),
            emitted: Vec::new(),
        };
        self.ask(Actor::Worker("local".into()), Ask::ReportAttempt(report)).unwrap();
    }

    /// Loses the newest attempt of an execution.
    pub(crate) fn lose(&self, execution: &str) {
        let (attempt, _) = self.attempt_of(execution);
        let evidence = ensue_engine::executions::facts::Evidence::MayHaveBegun;
        let ask = Ask::LoseAttempt { execution: execution.parse().unwrap(), attempt, evidence };
        self.ask(Actor::Engine, ask).unwrap();
    }

    fn attempt_of(&self, execution: &str) -> (AttemptId, u64) {
        let execution: ExecutionId = execution.parse().unwrap();
        let core = self.core();
        let started = core.records.iter().rev().filter(|record| record.stream == StreamId::Execution(execution));
        let mut attempts = started.filter_map(|record| match &record.fact {
            Fact::AttemptStarted(fact) => Some((AttemptId(record.id), fact.token)),
            _ => None,
        });
        attempts.next().expect("the execution has an attempt")
    }

    pub(crate) fn ask(&self, actor: Actor, ask: Ask) -> Result<Committed, SubmitError> {
        self.carry_out(&Command { actor, trace: None, ask })
    }

    fn carry_out(&self, command: &Command) -> Result<Committed, SubmitError> {
        if let Some(error) = &self.script().submit {
            return Err(error.clone());
        }
        let mut core = self.core();
        let core = &mut *core;
        core.ticks += 1;
        let at = Moment { time: NOON.plus_millis(core.ticks), entropy: u128::from(core.ticks) << 20 };
        let catalogs = OneCatalog(self.catalog.clone());
        let (bodies, seen, settings) = (AllBodies(&core.records), AllSeen(&core.seen), Settings::default());
        let beside = Beside { catalogs: &catalogs, bodies: &bodies, seen: &seen, settings: &settings };
        match core.sequencing.offer(command, &at, &beside) {
            Offered::Refused(refusal) => Err(SubmitError::Refused(refusal)),
            Offered::Needs(digests) => panic!("all bodies are at hand, but not {digests:?}"),
            Offered::Taken { position, answer } => {
                core.seen.extend(core.sequencing.batch().seen.iter().cloned());
                let records = core.sequencing.committed().records;
                if !self.script().views_stand_still {
                    core.projector.advance(&mut core.views, &records).unwrap();
                    self.views_at.send_replace(position);
                }
                core.records.extend(records);
                Ok(Committed { position, answer })
            }
        }
    }

    /// Puts the reaction to the record at a position aside, as a bug in working it out would.
    pub(crate) fn park(&self, of: u64) {
        let mut core = self.core();
        let core = &mut *core;
        let record = core.records.iter().find(|record| record.position.0 == of).unwrap().clone();
        core.ticks += 1;
        let at = Moment { time: NOON.plus_millis(core.ticks), entropy: u128::from(core.ticks) << 20 };
        let owed = Owed { of: record.position, next: 0, root: record.cause.root };
        core.sequencing.park(&record, owed, "it broke".to_owned(), &at);
        let records = core.sequencing.committed().records;
        core.projector.advance(&mut core.views, &records).unwrap();
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

    fn judged(&self, given: GivenEvent, sensor: Option<SensorRef>) -> Result<ObservedEvent, Declined> {
        let trigger = self.catalog.triggers().get(&given.trigger).ok_or_else(|| Refusal::NoTrigger(given.trigger.clone()))?;
        let payload = Document::parse(given.payload.clone()).unwrap();
        let misfits = trigger.payload.misfits(payload.root(), Extra::Allowed);
        if !misfits.is_empty() {
            let told = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return Err(Declined::from(Refusal::PayloadMisfit { trigger: given.trigger, misfits: told }).with_misfits(misfits));
        }
        let mut core = self.core();
        core.ticks += 1;
        let time = NOON.plus_millis(core.ticks);
        let id = EventId(Id::root(time, u128::from(core.ticks) << 40));
        let view = EventView { id, trigger: &given.trigger, source: &given.source, time, payload: &payload };
        let judgement = Arc::new(judge(&self.catalog, &view));
        let (trigger, source, dedupe) = (given.trigger, given.source, given.dedupe);
        Ok(ObservedEvent { id, trigger, source, sensor, occurred_at: time, body: Body::json(given.payload), payload, dedupe, judgement })
    }
}

fn token_id(role: &str) -> TokenId {
    TokenId(Id::root(NOON, entropy(role)))
}

impl Submit for TestNode {
    fn submit(&self, command: Command, reply: Reply) {
        reply(self.carry_out(&command));
    }
}

impl Installed for TestNode {
    fn current(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        OneCatalog(self.catalog.clone()).at(revision)
    }

    fn findings(&self) -> Arc<BTreeMap<PackName, Vec<Diagnostic>>> {
        Arc::default()
    }
}

impl LogAccess for TestNode {
    fn head(&self) -> Result<Head, LogError> {
        // Nobody holds the script while they wait for the core: who changes the core asks the script.
        let broken = self.script().log.clone();
        match broken {
            Some(why) => Err(LogError::Store(why)),
            None => Ok(self.core().sequencing.committed_head()),
        }
    }

    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        LogAccess::head(self)?;
        Ok(self.core().records.iter().filter(|record| record.position > after).take(limit.records).cloned().collect())
    }

    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        let core = self.core();
        let of_stream = core.records.iter().filter(|record| record.stream == *stream && record.revision > after);
        Ok(of_stream.take(limit.records).cloned().collect())
    }

    fn body(&self, at: Position) -> Result<Option<Bytes>, LogError> {
        let core = self.core();
        let record = core.records.iter().find(|record| record.position == at);
        Ok(record.and_then(|record| record.body.as_ref()).and_then(|body| body.content.clone()))
    }
}

impl Outputs for TestNode {
    fn append_at(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        assert_eq!(offset, self.taken(attempt, stream)?, "a small node's programs tell everything once");
        let mut outputs = self.outputs.lock().unwrap();
        outputs.entry((attempt, stream)).or_insert((Vec::new(), OutputState::Open)).0.extend_from_slice(bytes);
        Ok(())
    }

    fn taken(&self, attempt: AttemptId, stream: OutputStream) -> Result<u64, OutputError> {
        Ok(self.outputs.lock().unwrap().get(&(attempt, stream)).map_or(0, |(bytes, _)| bytes.len() as u64))
    }

    fn note_printed(&self, attempt: AttemptId, stream: OutputStream, bytes: u64) -> Result<(), OutputError> {
        assert_eq!(bytes, self.taken(attempt, stream)?, "a small node's programs tell everything");
        Ok(())
    }

    fn finish(&self, attempt: AttemptId) -> Result<(), OutputError> {
        for ((of, _), (_, state)) in self.outputs.lock().unwrap().iter_mut() {
            if *of == attempt && *state == OutputState::Open {
                *state = OutputState::Complete;
            }
        }
        Ok(())
    }

    fn read(&self, attempt: AttemptId, stream: OutputStream, offset: u64, bytes_max: usize) -> Result<OutputPart, OutputError> {
        let outputs = self.outputs.lock().unwrap();
        let (bytes, state) = outputs.get(&(attempt, stream)).cloned().unwrap_or((Vec::new(), OutputState::Open));
        if state == OutputState::Removed {
            return Ok(OutputPart { bytes: Bytes::new(), next: offset, state });
        }
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        let to = (from + bytes_max).min(bytes.len());
        Ok(OutputPart { bytes: Bytes::copy_from_slice(&bytes[from..to]), next: to as u64, state })
    }
}

impl Webhooks for TestNode {
    fn receive(&self, request: HookRequest) -> Result<Vec<ObservedEvent>, HookRefusal> {
        let sensor = &self.catalog.sensors()[&request.sensor];
        let keep = |reason: String| {
            let body = Body::raw(request.body.clone());
            Some(Box::new(RefusedDelivery { sensor: sensor.name.clone(), trigger: None, reason, body }))
        };
        let emitted = webhook::receive(sensor, &request, self.gate_key().as_ref()).map_err(|refusal| {
            let keep = if refusal.stage() == Stage::Content { keep(refusal.to_string()) } else { None };
            HookRefusal { declined: refusal.into(), keep }
        })?;
        let events = emitted.into_iter().map(|one| {
            let dedupe = one.dedupe.map(|key| Dedupe {
                key: DedupeKey { scope: sensor.name.to_string(), hash: Digest::of(key.as_bytes()) },
                content: Digest::of(&request.body),
                conflict: Conflict::IsRepeat,
            });
            let payload = one.payload.bytes().clone();
            let given = GivenEvent { trigger: one.trigger, payload, source: sensor.name.to_string(), dedupe };
            self.judged(given, Some(sensor.name.clone()))
        });
        events.collect::<Result<_, _>>().map_err(|declined| HookRefusal { keep: keep(declined.why.to_string()), declined })
    }

    fn sign(&self, sensor: &SensorRef, event: &str, delivery: &str, body: Bytes) -> Result<HookRequest, Declined> {
        let sensor = &self.catalog.sensors()[sensor];
        Ok(webhook::compose(sensor, Outgoing { event, delivery, body }, self.gate_key().as_ref()).unwrap())
    }

    fn secret(&self, sensor: &SensorRef) -> SecretState {
        match (sensor.name(), self.script().gate_secret) {
            ("door", _) => SecretState::NotNeeded,
            (_, Some(_)) => SecretState::Set,
            (_, None) => SecretState::Missing,
        }
    }
}

impl Observe for TestNode {
    fn observe(&self, given: GivenEvent) -> Result<ObservedEvent, Declined> {
        self.judged(given, None)
    }
}

impl Access for TestNode {
    fn holder(&self, id: TokenId, secret_sha256: &[u8; 32]) -> Option<Arc<Holder>> {
        let is_right = *secret_sha256 == <[u8; 32]>::from(Sha256::digest(TOKEN_SECRET.as_bytes()));
        let role = ROLES.into_iter().find(|role| token_id(role) == id)?;
        (is_right && !self.script().revoked.contains(&id)).then(|| Arc::new(holder(role)))
    }
}

impl Keys for TestNode {
    fn set(&self, key: &KeyRef, value: Secret, by: &OnBehalf) -> Result<SetKey, Declined> {
        assert!(!value.reveal().is_empty());
        let version = {
            let mut core = self.core();
            let version = core.key_versions.entry(key.clone()).or_default();
            *version += 1;
            *version
        };
        let committed = self.ask(by.actor.clone(), Ask::SetKey { key: key.clone(), version })?;
        Ok(SetKey { version, committed })
    }

    fn remove(&self, key: &KeyRef, by: &OnBehalf) -> Result<Committed, Declined> {
        Ok(self.ask(by.actor.clone(), Ask::RemoveKey { key: key.clone() })?)
    }
}

impl Tokens for TestNode {
    fn add(&self, name: &str, roles: &[String], by: &OnBehalf) -> Result<NewToken, Declined> {
        let id = token_id(name);
        let committed = self.ask(by.actor.clone(), Ask::AddToken { id, name: name.to_owned(), roles: roles.to_vec() })?;
        Ok(NewToken { id, token: Secret::new(format!("ens_{id}_shown_once").into_bytes()), committed })
    }

    fn revoke(&self, name: &str, by: &OnBehalf) -> Result<Committed, Declined> {
        Ok(self.ask(by.actor.clone(), Ask::RevokeToken { name: name.to_owned() })?)
    }
}

impl Node for TestNode {
    fn admission(&self) -> Result<(), Declined> {
        self.script().admission.clone().map_or(Ok(()), |error| Err(error.into()))
    }

    fn readiness(&self) -> Readiness {
        let is_ready = !self.script().not_ready;
        let state = if is_ready { DependencyState::Up } else { DependencyState::Down { why: "the disk is full".into() } };
        Readiness { is_ready, dependencies: vec![Dependency { name: "log", state }] }
    }

    fn status(&self) -> Result<NodeStatus, Declined> {
        Ok(NodeStatus {
            release: "0.1.0-test".into(),
            started_at: NOON,
            log: LogId(Id::root(NOON, 1)),
            epoch: Epoch(1),
            head: LogAccess::head(self)?,
            catalog: CatalogRevision(1),
            workers: 8,
            workers_busy: 0,
            disk_free_bytes: None,
            memory_bytes: None,
            memory_max_bytes: 512 * 1024 * 1024,
            outputs: Kept { bytes: 4_096, quota_bytes: 1 << 30 },
            artifacts: Kept::default(),
        })
    }

    fn register(&self, metrics: &mut Registry) {
        metrics.register("memory_max_bytes", "How much memory the process may hold", ConstGauge::<i64>::new(512));
    }

    fn doctor(&self) -> Result<Vec<Finding>, Declined> {
        assert!(!self.script().doctor_panics, "a secret detail of the node");
        let hint = Some("ensue keys set demo.secret".into());
        Ok(vec![Finding { check: "hooks".into(), verdict: FindingVerdict::Warning, message: "demo.door takes from anybody".into(), hint }])
    }

    fn begin_job(&self, kind: JobKind, _: &OnBehalf) -> Result<Job, Declined> {
        Ok(Job { kind, began_at: NOON, position: Position(0), state: JobState::Running })
    }

    fn job(&self, kind: JobKind) -> Option<Job> {
        let state = JobState::Succeeded { ended_at: NOON };
        (kind == JobKind::LogVerify).then_some(Job { kind, began_at: NOON, position: Position(3), state })
    }
}
