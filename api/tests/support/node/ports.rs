//! The ports of the API over the small node.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use ensue_api::ports::{
    Access, AskedCode, AskedIdentity, AskedInquiryLink, AskedLink, AskedLoginLink, AskedToken, BacktestResult, Backtests, BegunDevice,
    BreakerState, CodeNotFound, ConfirmedTopic, ConnectionError, ConnectionStatus, Connections, Credential, Dependency, DependencyState,
    DeviceDecision, Devices, EffectiveSetting, EventMaker, FileText, Finding, FindingEnd, FindingVerdict, FollowingViews, GivenEvent,
    Holder, HookOutcome, HookRefusal, InstalledCatalogs, Issuers, Job, JobKind, JobState, KeyWriter, LogAccess, Login, LoginFrom, LoginOf,
    MadeToken, MintedCode, NewOtp, NewValue, Node, NodeStatus, NotAdmitted, OnBehalf, OpenedSession, OtpAtReset, Pair, PasswordAttempt,
    Passwords, Patience, People, PortError, Progress, Readiness, RedeemedCode, Refusals, RefusedAttempt, ReplayResult, Replays,
    RepresentedIdentity, RetentionStatus, RevealedKey, SecretState, SeenSession, SensorLine, SensorState, SensorStatus, SensorTest,
    SensorTested, Sensors, SessionEnds, SessionForm, SessionSecret, Sessions, SetKey, SettingSource, ShownDelivery, SourceEnd,
    StorageUsage, TestEnd, TestedBody, TestedConnection, TestedEvent, TestedMessage, TestedOutcome, Testing, ToBacktest, ToReplay, ToSign,
    Tokens, UsageReader, WaitingDevice, Webhooks,
};
use ensue_api::worker_queues::{StartRate, WorkerQueue};
use ensue_engine::access::audit::facts::{AccessDenied, LoginRefused};
use ensue_engine::access::facts::SessionEnd;
use ensue_engine::access::quota::Tiers;
use ensue_engine::access::quota::state::IdentityUsage;
use ensue_engine::access::state;
use ensue_engine::access::state::effective_rights::{EffectiveRights, NotHeld};
use ensue_engine::catalog::{Catalog, Catalogs as _, ConnectionKind, Sensor, WaitingReply};
use ensue_engine::command::{
    Ask, Command, Conflict, Dedupe, DedupeKey, DeniedRequests, KeyRotation, NewLink, NewLoginLink, NewSession, NewToken, ObservedEvent,
    OpenedLink, Refusal, RefusedDelivery, RefusedLogin, RotatedToken,
};
use ensue_engine::events::facts::KeptMessage;
use ensue_engine::executions::program::rights_of_program;
use ensue_engine::executions::state::Phase;
use ensue_engine::explain::Explain;
use ensue_engine::ids::{Id, IdentityId, LinkId, LogId, SessionId, TokenId};
use ensue_engine::names::{ConnectionName, DEFAULT_QUEUE, IssuerName, KeyRef, PackName, RuleRef, SensorRef, WorkerQueueName};
use ensue_engine::ports::{Came, CommitReceipt, HookReply, HookRequest, LogError, ReadLimit, Reply, Secret, Submit};
use ensue_engine::record::{
    Actor, AttemptOf, Body, CatalogRevision, CredentialId, Digest, Epoch, Head, Position, Record, Revision, StreamId,
};
use ensue_engine::sensors::cursor::{Cursor, StoredCursor};
use ensue_engine::time::Timestamp;
use ensue_packs::{CopiedFile, Diagnostic, PackSource};
use ensue_sensors::message::Message;
use ensue_sensors::pulled_messages::{self, MessageResult};
use ensue_sensors::webhook::{self, EmittedEvent, HookKeys, Outgoing, Proving};
use ensue_sensors::{Stage, replies};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde_json::Map;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::watch;

use super::{NOON, OneCatalog, PROGRAM_MARK, TOKEN_SECRET, TestNode, token_id};
use crate::support::packs::{catalog_with, sources};

impl Submit for TestNode {
    fn submit(&self, command: Command, reply: Reply) {
        reply(self.carry_out(&command));
    }
}

impl InstalledCatalogs for TestNode {
    fn current(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    fn at(&self, revision: CatalogRevision) -> Option<Arc<Catalog>> {
        OneCatalog(self.catalog.clone()).at(revision)
    }

    fn findings(&self) -> Arc<BTreeMap<PackName, Vec<Diagnostic>>> {
        Arc::default()
    }

    fn source(&self, pack: &PackName) -> Result<Option<PackSource>, PortError> {
        self.source_reads.lock().unwrap().push(pack.clone());
        while self.script().holds_sources {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(self.catalog.packs().get(pack).and_then(|_| sources().into_iter().find(|source| source.origin.ends_with(pack.as_str()))))
    }

    fn copy(&self, pack: &PackName, _: &Digest) -> Result<PackSource, PortError> {
        panic!("the small node has one revision, and is asked for another version of `{pack}`")
    }

    fn copied_file(&self, _: &Digest, path: &str) -> Result<CopiedFile, PortError> {
        let file = sources().into_iter().find_map(|mut source| source.files.remove(path));
        Ok(file.map_or(CopiedFile::Absent, |file| CopiedFile::Present(file.bytes.to_vec())))
    }

    fn with_file(&self, rule: &RuleRef, file: &FileText) -> Result<Arc<Catalog>, PortError> {
        assert_eq!(rule.pack().as_str(), "demo", "only the pack for tests has files that tests change");
        Ok(Arc::new(catalog_with(&file.path, &file.text)))
    }
}

impl LogAccess for TestNode {
    fn head(&self) -> Result<Head, LogError> {
        // The script must not be locked while waiting for the core, because a change of the core reads the
        // script.
        let broken = self.script().log.clone();
        match broken {
            Some(why) => Err(LogError::Store(why)),
            None => Ok(self.core().sequencing.committed_head()),
        }
    }

    fn read(&self, after: Position, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        self.log_reads.fetch_add(1, Ordering::Relaxed);
        LogAccess::head(self)?;
        Ok(within(limit, self.core().records.iter().filter(|record| record.position > after)))
    }

    fn read_stream(&self, stream: &StreamId, after: Revision, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        let core = self.core();
        Ok(within(limit, core.records.iter().filter(|record| record.stream == *stream && record.revision > after)))
    }

    fn body(&self, at: Position) -> Result<Option<Bytes>, LogError> {
        let core = self.core();
        let record = core.records.iter().find(|record| record.position == at);
        Ok(record.and_then(|record| record.body.as_ref()).and_then(|body| body.content.clone()))
    }
}

/// The rule whose backtest ends only when its caller disconnects.
pub(crate) const ENDLESS_RULE: &str = "demo.endless";

/// The log of a small node is not read: `cli/tests` covers the real backtest.
impl Backtests for TestNode {
    fn backtest(&self, asked: &ToBacktest, patience: &Patience, progress: &Progress) -> Result<BacktestResult, PortError> {
        while asked.rule.as_str() == ENDLESS_RULE {
            patience.demand()?;
            progress.report::<PortError>(0.25, || Ok(BacktestResult { judged: 3, ..BacktestResult::default() }))?;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(BacktestResult::default())
    }
}

/// The views follow each command at once.
impl FollowingViews for TestNode {
    fn hurry(&self) {
        self.hurries.fetch_add(1, Ordering::Relaxed);
    }
}

impl Replays for TestNode {
    fn replay(&self, _: &ToReplay, _: &Patience) -> Result<ReplayResult, PortError> {
        Ok(ReplayResult::default())
    }
}

impl TestNode {
    fn events_of(&self, sensor: &Sensor, request: &HookRequest, emitted: Vec<EmittedEvent>) -> Result<Vec<ObservedEvent>, PortError> {
        let events = emitted.into_iter().map(|one| {
            let dedupe = one.dedupe.map(|key| Dedupe {
                key: DedupeKey { scope: sensor.name.to_string(), hash: Digest::of(key.as_bytes()) },
                content: Digest::of(&request.body),
                conflict: Conflict::IsRepeat,
            });
            let payload = one.payload.bytes().clone();
            let source = sensor.name.to_string();
            let given = GivenEvent { trigger: one.trigger, payload, source, occurred_at: None, trace: None, dedupe, rule: None };
            self.judge_event(given, Some(sensor.name.clone()))
        });
        events.collect()
    }
}

/// The small node has one connection, which works.
impl Connections for TestNode {
    fn all(&self) -> Vec<ConnectionStatus> {
        Connections::status(self, &"orders".parse().unwrap()).into_iter().collect()
    }

    fn status(&self, name: &ConnectionName) -> Option<ConnectionStatus> {
        (name.as_str() == "orders").then(|| ConnectionStatus {
            name: name.clone(),
            kind: ConnectionKind::Http,
            address: "https://orders.example.test/api".to_owned(),
            auth: "bearer",
            packs: Some(vec!["demo".parse().unwrap()]),
            max: 16,
            in_use: 0,
            opened_at: Some(NOON),
            breaker: BreakerState::Open,
            retry_at: Some(NOON.plus_millis(30_000)),
            last_used_at: Some(NOON),
            succeeded: 7,
            failed: 5,
            last_error: Some(ConnectionError { time: NOON, kind: "server", message: "the server answered 503".to_owned() }),
        })
    }

    fn test(&self, name: ConnectionName) -> Pin<Box<dyn Future<Output = Option<TestedConnection>> + Send>> {
        let tested = TestedConnection { message: "the server answered 200 OK".to_owned(), error: None, took: Duration::from_millis(3) };
        let tested = Connections::status(self, &name).map(|_| tested);
        Box::pin(std::future::ready(tested))
    }
}

/// The small node runs no sensors: those that pull are always about to start.
impl Sensors for TestNode {
    fn status(&self, sensor: &SensorRef) -> Option<SensorStatus> {
        let core = self.core();
        let sensors = core.sequencing.engine().sensors();
        let (_, pulling) = sensors.of(sensor)?;
        let cursor = pulling.cursor.as_ref().and_then(StoredCursor::short).map(|cursor| cursor.unwrap().into_text());
        Some(SensorStatus {
            state: SensorState::Starting,
            since: NOON,
            error: None,
            waits_for: None,
            retry_at: None,
            failing_parts: Vec::new(),
            mode: sensors.mode(sensor),
            run: pulling.run,
            restarts: 0,
            events: pulling.events,
            refused: pulling.refused,
            last_event_at: pulling.last_event_at,
            lag_messages: None,
            newest_at: None,
            cursor,
        })
    }

    fn lines(&self, _: &SensorRef, _: Option<u64>) -> Vec<SensorLine> {
        Vec::new()
    }

    fn test(&self, asked: SensorTest) -> Testing {
        let message = TestedMessage {
            body: TestedBody::Json(r#"{"name":"ana"}"#.to_owned()),
            bytes: 14,
            about: Map::new(),
            time: None,
            would: TestedOutcome::Events(vec![TestedEvent {
                trigger: "demo.hello".parse().unwrap(),
                payload: Some(r#"{"name":"ana"}"#.to_owned()),
                occurred_at: NOON,
                dedupe: Some("ana".to_owned()),
                is_repeat: Some(false),
                rules: vec!["demo.greet".parse().unwrap()],
            }]),
            cursor: Some(r#"{"line":1}"#.to_owned()),
        };
        let messages = vec![message; asked.count.min(1)];
        let tested = SensorTested { ended: TestEnd::Done, error: None, after: None, messages, lines: Vec::new(), took: Duration::ZERO };
        Box::pin(std::future::ready(Ok(tested)))
    }

    fn check_cursor(&self, _: &SensorRef, _: &Cursor) -> Result<(), PortError> {
        Ok(())
    }

    fn end_of(&self, sensor: &SensorRef) -> FindingEnd {
        let core = self.core();
        let after =
            core.sequencing.engine().sensors().of(sensor).and_then(|(_, pulling)| pulling.cursor.as_ref().map(StoredCursor::digest));
        Box::pin(std::future::ready(Ok(SourceEnd { after, cursor: Cursor::of_json("9").unwrap() })))
    }

    fn read_again(&self, sensor: &SensorRef, message: KeptMessage, body: Bytes) -> Result<Vec<ObservedEvent>, PortError> {
        let sensor = &self.catalog.sensors()[sensor];
        let message = Message::again(message, body).unwrap();
        let emitted = match pulled_messages::events_of(sensor, &message) {
            MessageResult::Events(emitted) => emitted,
            MessageResult::Passed | MessageResult::Nothing => Vec::new(),
            MessageResult::Refused(refusal) => return Err(refusal.into()),
        };
        let source = sensor.name.to_string();
        let given = |one: EmittedEvent| GivenEvent {
            trigger: one.trigger,
            payload: one.payload.bytes().clone(),
            source: source.clone(),
            occurred_at: message.time,
            trace: None,
            dedupe: None,
            rule: None,
        };
        emitted.into_iter().map(|one| self.judge_event(given(one), Some(sensor.name.clone()))).collect()
    }
}

impl Webhooks for TestNode {
    fn receive(&self, request: HookRequest) -> Result<HookOutcome, HookRefusal> {
        let sensor = &self.catalog.sensors()[&request.sensor];
        let keep = |reason: String| {
            let body = Body::raw(request.body.clone());
            Some(Box::new(RefusedDelivery {
                sensor: sensor.name.clone(),
                trigger: None,
                reason,
                body,
                with: webhook::kept_parts(sensor, &request),
            }))
        };
        let key = self.gate_key();
        let keys = HookKeys { current: key.as_ref(), previous: None };
        let received = webhook::receive(sensor, &request, &Proving { keys, now: Access::now(self), vouched: None }).map_err(|refusal| {
            let keep = if refusal.stage() == Stage::Content { keep(refusal.to_string()) } else { None };
            HookRefusal { declined: refusal.into(), keep }
        })?;
        let (emitted, waits) = match received {
            webhook::ReceiveOutcome::Reply(reply) => return Ok(HookOutcome::Reply(reply)),
            webhook::ReceiveOutcome::Events { emitted, waits } => (emitted, waits),
        };
        let events = self.events_of(sensor, &request, emitted);
        let events = events.map_err(|declined| HookRefusal { keep: keep(declined.why.to_string()), declined })?;
        Ok(HookOutcome::Events { events, waits })
    }

    fn reply_to(&self, sensor: &SensorRef, waits: &WaitingReply, came: &Came) -> Result<Option<HookReply>, PortError> {
        replies::reply_to(&self.catalog.sensors()[sensor], waits, came).map_err(PortError::from)
    }

    fn deliver_again(&self, request: HookRequest) -> Result<Vec<ObservedEvent>, PortError> {
        let sensor = &self.catalog.sensors()[&request.sensor];
        let emitted = webhook::events_of(sensor, &request).map_err(PortError::from)?;
        self.events_of(sensor, &request, emitted)
    }

    fn sign(&self, sensor: &SensorRef, ToSign { event, delivery, body, url, path }: ToSign<'_>) -> Result<HookRequest, PortError> {
        let sensor = &self.catalog.sensors()[sensor];
        Ok(webhook::compose(sensor, &Outgoing { event, delivery, body, now: Access::now(self), url, path }, self.gate_key().as_ref())
            .unwrap())
    }

    fn shown_delivery(&self, request: &HookRequest) -> ShownDelivery {
        let headers = webhook::shown_headers(&self.catalog.sensors()[&request.sensor], request);
        ShownDelivery { headers, query: webhook::shown_query(request) }
    }

    fn may_wait(&self, _: &SensorRef) -> bool {
        false
    }

    fn confirm(&self, _: &SensorRef) -> Result<Vec<ConfirmedTopic>, PortError> {
        Ok(vec![ConfirmedTopic { topic: "arn:aws:sns:eu-west-1:123456789012:alarms".to_owned() }])
    }

    fn secret(&self, sensor: &SensorRef) -> SecretState {
        match (sensor.name(), self.script().gate_secret) {
            ("door", _) => SecretState::NotNeeded,
            (_, Some(_)) => SecretState::Set,
            (_, None) => SecretState::Missing,
        }
    }
}

impl EventMaker for TestNode {
    fn observe(&self, given: GivenEvent) -> Result<ObservedEvent, PortError> {
        self.judge_event(given, None)
    }
}

impl Access for TestNode {
    fn admit(&self, credential: &Credential) -> Result<Arc<Holder>, NotAdmitted> {
        let (id, secret_sha256) = match credential {
            Credential::Token { id, secret_sha256 } => (*id, secret_sha256),
            Credential::Session { id, secret_sha256 } => {
                let is_right = self.core().cookies.get(id) == Some(secret_sha256);
                return if is_right { self.in_session(*id) } else { Err(NotAdmitted::NoSession) };
            }
            Credential::Program { attempt, mark } => return self.program(*attempt, mark),
            Credential::Signed(_) | Credential::Issuer { .. } => return Err(NotAdmitted::Unknown),
        };
        let is_right = *secret_sha256 == <[u8; 32]>::from(Sha256::digest(TOKEN_SECRET.as_bytes()));
        if !is_right || self.script().revoked.contains(&id) {
            return Err(NotAdmitted::Unknown);
        }
        let held = self.directory().effective_rights(&id, Access::now(self)).map_err(|why| match why {
            NotHeld::Unknown => NotAdmitted::Unknown,
            NotHeld::Expired => NotAdmitted::Expired,
            NotHeld::Disabled => NotAdmitted::Disabled,
        })?;
        let identity = held.identity.and_then(|id| Some((id, self.name_of(id)?)));
        let represents = self.represented_identities(&held.represents);
        let EffectiveRights { name, roles, rights, only, expires_at, .. } = held;
        Ok(Arc::new(Holder { by: CredentialId::Token(id), credential: name, identity, roles, represents, rights, only, until: expires_at }))
    }

    fn note_use(&self, by: &CredentialId) {
        if let CredentialId::Token(id) = by {
            let now = Access::now(self);
            self.core().used.insert(*id, now);
        }
    }

    fn last_use(&self, token: TokenId) -> Option<Timestamp> {
        self.core().used.get(&token).copied()
    }

    fn revocations(&self) -> watch::Receiver<u64> {
        self.revocations.subscribe()
    }

    fn directory(&self) -> Arc<state::Access> {
        Arc::new(self.core().sequencing.engine().access().clone())
    }

    fn now(&self) -> Timestamp {
        NOON.plus_millis(self.core().ticks)
    }

    fn name_of(&self, id: IdentityId) -> Option<String> {
        self.core().names.iter().find(|(_, named)| **named == id).map(|(name, _)| name.clone())
    }

    fn identity_named(&self, name: &str) -> Option<IdentityId> {
        self.core().names.get(name).copied()
    }
}

impl UsageReader for TestNode {
    fn usage_of(&self, id: IdentityId) -> IdentityUsage {
        self.core().sequencing.engine().usage().of(&id)
    }

    fn tiers(&self) -> &Tiers {
        &self.tiers
    }
}

impl TestNode {
    /// Stores a value, and returns its version.
    fn store(&self, key: &KeyRef, value: Secret) -> u32 {
        assert!(!value.reveal().is_empty());
        let mut core = self.core();
        let version = core.versions(key).newest + 1;
        core.key_values.insert((key.clone(), version), Arc::new(value));
        version
    }
}

impl KeyWriter for TestNode {
    fn set(&self, key: &KeyRef, new: NewValue, by: &OnBehalf) -> Result<SetKey, PortError> {
        let version = self.store(key, new.value);
        let committed = self.ask(by.actor.clone(), Ask::SetKey { key: key.clone(), version, expires_at: new.expires_at })?;
        Ok(SetKey { version, committed })
    }

    fn rotate(&self, key: &KeyRef, new: NewValue, overlap_millis: u64, by: &OnBehalf) -> Result<SetKey, PortError> {
        let version = self.store(key, new.value);
        let ask = Ask::RotateKey(KeyRotation { key: key.clone(), version, overlap_millis, expires_at: new.expires_at });
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        let committed = self.ask(by.actor.clone(), ask)?;
        Ok(SetKey { version, committed })
    }

    fn reveal(&self, key: &KeyRef, version: Option<u32>, by: &OnBehalf) -> Result<RevealedKey, PortError> {
        let version = version.or(self.core().versions(key).current).ok_or_else(|| Refusal::NoKey(key.clone()))?;
        let committed = self.ask(by.actor.clone(), Ask::RevealKey { key: key.clone(), version })?;
        let value = self.core().key_values[&(key.clone(), version)].clone();
        Ok(RevealedKey { version, value, committed })
    }

    fn remove(&self, key: &KeyRef, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        Ok(self.ask(by.actor.clone(), Ask::RemoveKey { key: key.clone() })?)
    }
}

impl Tokens for TestNode {
    fn add(&self, asked: &AskedToken, by: &OnBehalf) -> Result<MadeToken, PortError> {
        let id = token_id(&asked.name);
        let expires_at = asked.expires_in.map(|period| Access::now(self).plus_millis(period.as_millis() as u64));
        let AskedToken { name, roles, identity, scopes, .. } = asked.clone();
        let ask = Ask::AddToken(NewToken { id, name, roles, identity, scopes, expires_at });
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        let committed = self.ask(by.actor.clone(), ask)?;
        Ok(MadeToken { id, token: shown_once(id), expires_at, committed })
    }

    fn rotate(&self, name: &str, overlap: Duration, by: &OnBehalf) -> Result<MadeToken, PortError> {
        let successor = token_id(&format!("{name} at {}", Access::now(self)));
        let until = Access::now(self).plus_millis(overlap.as_millis() as u64);
        let ask = Ask::RotateToken(RotatedToken { name: name.to_owned(), successor, until });
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        let committed = self.ask(by.actor.clone(), ask)?;
        let expires_at = self.directory().token(&successor).and_then(|token| token.expires_at);
        Ok(MadeToken { id: successor, token: shown_once(successor), expires_at, committed })
    }

    fn revoke(&self, name: &str, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        Ok(self.ask(by.actor.clone(), Ask::RevokeToken { name: name.to_owned() })?)
    }
}

/// Returns a token with the secret of every token.
fn shown_once(id: TokenId) -> Secret {
    Secret::new(format!("ens_{id}_{TOKEN_SECRET}").into_bytes())
}

/// No issuer is configured, but links are kept.
impl Issuers for TestNode {
    fn cached_credential(&self, _token: &str) -> Option<Credential> {
        None
    }

    fn verify(&self, _token: &str) -> Result<Option<Credential>, PortError> {
        Ok(None)
    }

    fn link(&self, id: IdentityId, link: &AskedLink, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        let ask = Ask::LinkIdentity { id, issuer: link.issuer.clone() };
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        Ok(self.ask(by.actor.clone(), ask)?)
    }

    fn unlink(&self, id: IdentityId, issuer: &IssuerName, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        Ok(self.ask(by.actor.clone(), Ask::UnlinkIdentity { id, issuer: issuer.clone() })?)
    }
}

/// Terminals begin, and none is found. These logins are tested with the real node.
impl Devices for TestNode {
    fn are_allowed(&self) -> bool {
        true
    }

    fn begin(&self, _: WaitingDevice) -> Result<BegunDevice, PortError> {
        let (valid_for, interval) = (std::time::Duration::from_secs(600), std::time::Duration::from_secs(5));
        Ok(BegunDevice { device_code: Secret::new(b"00".to_vec()), user_code: "WDJB-MJHT".into(), valid_for, interval })
    }

    fn poll(&self, _: &Secret) -> Result<RedeemedCode, PortError> {
        Err(Refusal::CredentialGone.into())
    }

    fn look_up(&self, _: &str, _: &str) -> Result<WaitingDevice, CodeNotFound> {
        Err(CodeNotFound::Unknown)
    }

    fn decide(&self, _: &str, _: &str, _: DeviceDecision) -> Result<(), CodeNotFound> {
        Err(CodeNotFound::Unknown)
    }
}

impl People for TestNode {
    fn add(&self, asked: &AskedIdentity, by: &OnBehalf) -> Result<(IdentityId, CommitReceipt), PortError> {
        let id = IdentityId(token_id(&format!("identity {}", asked.name)).0);
        let ask = Ask::AddIdentity { id, kind: asked.kind, groups: asked.groups.clone() };
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        let committed = self.ask(by.actor.clone(), ask)?;
        self.core().names.insert(asked.name.clone(), id);
        Ok((id, committed))
    }

    fn erase(&self, id: IdentityId, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        let committed = self.ask(by.actor.clone(), Ask::EraseIdentity(id))?;
        self.core().names.retain(|_, named| *named != id);
        Ok(committed)
    }
}

impl TestNode {
    fn represented_identities(&self, ids: &[IdentityId]) -> Vec<RepresentedIdentity> {
        let (directory, now) = (self.directory(), Access::now(self));
        ids.iter().filter_map(|id| RepresentedIdentity::new(*id, self.name_of(*id), &directory, now)).collect()
    }

    /// Returns the holder of the token of an attempt that runs. The mark of every attempt is the same here.
    fn program(&self, attempt: AttemptOf, mark: &[u8; 32]) -> Result<Arc<Holder>, NotAdmitted> {
        if *mark != PROGRAM_MARK {
            return Err(NotAdmitted::Unknown);
        }
        let core = self.core();
        let engine = core.sequencing.engine();
        let execution = engine.executions().get(&attempt.execution).ok_or(NotAdmitted::NotRunning)?;
        if !matches!(execution.phase, Phase::Running(running) if running.number == attempt.number) {
            return Err(NotAdmitted::NotRunning);
        }
        let pack = execution.action.pack();
        let held = rights_of_program(engine.access(), engine.packs(), (&pack, None), NOON).map_err(|_| NotAdmitted::Unknown)?;
        Ok(Arc::new(Holder {
            by: CredentialId::Execution(attempt),
            credential: format!("pack/{pack}"),
            identity: None,
            roles: Vec::new(),
            represents: Vec::new(),
            rights: held.rights,
            only: None,
            until: None,
        }))
    }

    fn in_session(&self, id: SessionId) -> Result<Arc<Holder>, NotAdmitted> {
        let held = self.directory().held_in_session(&id, Access::now(self)).map_err(|_| NotAdmitted::NoSession)?;
        let identity = held.identity.and_then(|id| Some((id, self.name_of(id)?)));
        let represents = self.represented_identities(&held.represents);
        let EffectiveRights { name, roles, rights, only, expires_at, .. } = held;
        Ok(Arc::new(Holder {
            by: CredentialId::Session(id),
            credential: name,
            identity,
            roles,
            represents,
            rights,
            only,
            until: expires_at,
        }))
    }
}

/// The small node has passwords switched off. They are tested with the real node.
#[derive(Debug, Error, Explain)]
#[error("passwords are switched off")]
#[explain(slug = "passwords-off", fault = Forbidden)]
struct PasswordsOff;

impl Passwords for TestNode {
    fn are_allowed(&self) -> bool {
        false
    }

    fn open(&self, _: &PasswordAttempt, _: &LoginFrom) -> Result<OpenedSession, RefusedAttempt> {
        Err(PasswordsOff.into())
    }

    fn change(&self, _: &PasswordAttempt, _: &Secret, _: &OnBehalf) -> Result<CommitReceipt, RefusedAttempt> {
        Err(PasswordsOff.into())
    }

    fn reset(&self, _: IdentityId, _: OtpAtReset, _: &OnBehalf) -> Result<MintedCode, PortError> {
        Err(PasswordsOff.into())
    }

    fn set_by_code(&self, _: &Secret, _: &Secret, _: Option<String>) -> Result<CommitReceipt, PortError> {
        Err(PasswordsOff.into())
    }

    fn add_otp(&self, _: &PasswordAttempt) -> Result<NewOtp, RefusedAttempt> {
        Err(PasswordsOff.into())
    }

    fn confirm_otp(&self, _: IdentityId, _: &Secret, _: &OnBehalf) -> Result<(Vec<Secret>, CommitReceipt), PortError> {
        Err(PasswordsOff.into())
    }

    fn remove_otp(&self, _: &PasswordAttempt, _: &OnBehalf) -> Result<CommitReceipt, RefusedAttempt> {
        Err(PasswordsOff.into())
    }
}

/// Sessions of browsers. The tokens of programs are tested with the real node.
impl Sessions for TestNode {
    fn open(&self, login: &Login) -> Result<OpenedSession, PortError> {
        let id = SessionId(token_id(&format!("session at {}", self.head_position())).0);
        let secret = hex::encode(Sha256::digest(id.to_string()));
        let until = Access::now(self).plus_millis(60_000);
        let (way, (credential, identity)) = match login.of {
            LoginOf::Token(token) => (login.way.clone(), (Some(token), None)),
            LoginOf::Identity(identity) => (login.way.clone(), (None, Some(identity))),
        };
        let ask = Ask::OpenSession(NewSession { id, identity, way, credential, only: None, link: None, until, in_place_of: None });
        let committed = self.ask(Actor::Operator, ask)?;
        self.core().cookies.insert(id, Sha256::digest(&secret).into());
        let secret = match login.form {
            SessionForm::Cookie => SessionSecret::Cookie(Secret::new(secret.into_bytes())),
            SessionForm::Pair => SessionSecret::Pair(Pair {
                session: id,
                access: Secret::new(b"eyJ.eyJ.x".to_vec()),
                expires_in: 600,
                refresh: Secret::new(format!("ensr_{id}_1_00").into_bytes()),
            }),
        };
        Ok(OpenedSession { id, until, secret, committed })
    }

    fn mint(&self, asked: &AskedCode) -> Result<MintedCode, PortError> {
        let code = format!("code-{}", self.head_position());
        self.core().codes.insert(code.clone(), asked.of);
        Ok(MintedCode { code: Secret::new(code.into_bytes()), until: Access::now(self).plus_millis(60_000) })
    }

    fn redeem(&self, code: &Secret, _: Option<&Secret>) -> Result<RedeemedCode, PortError> {
        let of = self.core().codes.remove(std::str::from_utf8(code.reveal()).unwrap()).ok_or(Refusal::CredentialGone)?;
        Ok(RedeemedCode { of, way: "link".into(), link: None, ends: SessionEnds::default() })
    }

    fn mint_login_link(&self, asked: &AskedLoginLink, by: &OnBehalf) -> Result<(MintedCode, CommitReceipt), PortError> {
        let id = LinkId(token_id(&format!("login link at {}", self.head_position())).0);
        let until = Access::now(self).plus_millis(60_000);
        let new = NewLoginLink { id, token: asked.token, name: asked.name.clone(), until };
        let committed = self.ask(by.actor.clone(), Ask::MintLoginLink(new))?;
        let code = format!("code-{id}");
        self.core().codes.insert(code.clone(), LoginOf::Token(asked.token));
        Ok((MintedCode { code: Secret::new(code.into_bytes()), until }, committed))
    }

    fn mint_link(&self, link: &AskedInquiryLink, by: &OnBehalf) -> Result<(MintedCode, CommitReceipt), PortError> {
        let id = LinkId(token_id(&format!("link at {}", self.head_position())).0);
        let until = Access::now(self).plus_millis(60_000);
        let AskedInquiryLink { inquiry, identity, name, .. } = link.clone();
        let committed = self.ask(by.actor.clone(), Ask::MintLink(NewLink { id, inquiry, identity, name, until }))?;
        let code = format!("link-{id}");
        self.core().links.insert(code.clone(), (id, link.clone()));
        Ok((MintedCode { code: Secret::new(code.into_bytes()), until }, committed))
    }

    fn open_link(&self, code: &Secret, _: &LoginFrom) -> Result<OpenedSession, PortError> {
        let known = self.core().links.remove(std::str::from_utf8(code.reveal()).unwrap());
        let (link, AskedInquiryLink { inquiry, identity, digest, .. }) = known.ok_or(Refusal::CredentialGone)?;
        let id = SessionId(token_id(&format!("session at {}", self.head_position())).0);
        let secret = hex::encode(Sha256::digest(id.to_string()));
        let until = Access::now(self).plus_millis(60_000);
        let new = NewSession {
            id,
            identity: Some(identity),
            way: "link".into(),
            credential: None,
            only: Some(inquiry),
            link: Some(OpenedLink::OfInquiry { id: link, digest }),
            until,
            in_place_of: None,
        };
        let committed = self.ask(Actor::Operator, Ask::OpenSession(new))?;
        self.core().cookies.insert(id, Sha256::digest(&secret).into());
        Ok(OpenedSession { id, until, secret: SessionSecret::Cookie(Secret::new(secret.into_bytes())), committed })
    }

    fn refresh(&self, _: &Secret) -> Result<Pair, PortError> {
        Err(Refusal::CredentialGone.into())
    }

    fn end(&self, sessions: Vec<SessionId>, reason: SessionEnd, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        let committed = self.ask(by.actor.clone(), Ask::EndSessions { sessions, reason })?;
        self.revocations.send_modify(|ended| *ended += 1);
        Ok(committed)
    }

    fn last_seen(&self, _: SessionId) -> Option<SeenSession> {
        Some(SeenSession { used_at: Access::now(self), agent: "Firefox 133".into(), address: "192.0.2.7".into() })
    }

    fn public_keys(&self) -> Vec<serde_json::Value> {
        vec![serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k", "x": "AA" })]
    }
}

impl Node for TestNode {
    fn admission(&self) -> Result<(), PortError> {
        self.script().admission.clone().map_or(Ok(()), |error| Err(error.into()))
    }

    fn readiness(&self) -> Readiness {
        let is_ready = !self.script().not_ready;
        let state = if is_ready { DependencyState::Up } else { DependencyState::Down { why: "the disk is full".into() } };
        Readiness { is_ready, dependencies: vec![Dependency { name: "log", state }] }
    }

    fn status(&self) -> Result<NodeStatus, PortError> {
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
            outputs: StorageUsage { bytes: 4_096, quota_bytes: 1 << 30 },
            artifacts: StorageUsage::default(),
            retention: RetentionStatus::default(),
        })
    }

    fn register(&self, metrics: &mut Registry) {
        metrics.register("memory_max_bytes", "How much memory the process may hold", ConstGauge::<i64>::new(512));
    }

    fn doctor(&self) -> Result<Vec<Finding>, PortError> {
        assert!(!self.script().doctor_panics, "a secret detail of the node");
        let hint = Some("ensue keys set demo.secret".into());
        Ok(vec![Finding { check: "hooks".into(), verdict: FindingVerdict::Warning, message: "demo.door takes from anybody".into(), hint }])
    }

    fn settings(&self) -> Vec<EffectiveSetting> {
        let place = Some("/etc/ensue.yaml:3".to_owned());
        vec![EffectiveSetting { name: "workers".to_owned(), value: 8.into(), source: SettingSource::File, place }]
    }

    fn begin_job(&self, kind: JobKind, _: &OnBehalf) -> Result<Job, PortError> {
        Ok(Job { kind, began_at: NOON, position: Position(0), state: JobState::Running })
    }

    fn worker_queues(&self) -> Result<Vec<WorkerQueue>, PortError> {
        let core = self.core();
        let executions = core.sequencing.engine().executions();
        let told = |queue: &WorkerQueueName, workers: Option<u32>| WorkerQueue {
            name: queue.clone(),
            workers,
            rate: workers.map(|_| StartRate { limit: 50, per: Duration::from_millis(1_500) }),
            next_start_at: None,
            busy: executions.queues().working_count(queue),
            waiting: executions.queues().waiting_count(queue),
            oldest: executions.queues().oldest(queue),
            first_busy: executions.at_work().map(|(id, _)| *id).collect(),
            first_waiting: executions.queues().waiting(queue).map(|(_, id)| id).collect(),
        };
        let others = executions.queues().names().filter(|queue| !queue.is_default()).map(|queue| told(queue, None));
        Ok(std::iter::once(told(&DEFAULT_QUEUE, Some(8))).chain(others).collect())
    }

    fn job(&self, kind: JobKind) -> Option<Job> {
        let state = JobState::Succeeded { ended_at: NOON };
        (kind == JobKind::LogVerify).then_some(Job { kind, began_at: NOON, position: Position(3), state })
    }
}

/// Returns the first of some records as a log does: at least one, and no more than the limit allows.
fn within<'a>(limit: ReadLimit, records: impl Iterator<Item = &'a Record>) -> Vec<Record> {
    let mut bytes = 0;
    let fits = |(index, record): &(usize, &Record)| {
        let body = record.body.as_ref().and_then(|body| body.content.as_ref()).map_or(0, Bytes::len);
        bytes += record.fact_json.len() + body;
        *index == 0 || bytes <= limit.bytes
    };
    records.take(limit.records).enumerate().take_while(fits).map(|(_, record)| record.clone()).collect()
}

impl Refusals for TestNode {
    fn note_denied(&self, caller: Actor, permission: &'static str) {
        let fact = AccessDenied { permission: Some(permission.to_owned()), count: 1, first: NOON, last: NOON };
        drop(self.ask(Actor::Engine, Ask::NoteDenied(vec![DeniedRequests { caller, fact }])));
    }

    fn login_refused(&self, login: ensue_api::ports::RefusedLogin<'_>) {
        let fact = LoginRefused { way: Some(login.way.to_owned()), identity: login.identity, count: 1, first: NOON, last: NOON };
        drop(self.ask(Actor::Engine, Ask::NoteRefusedLogins(vec![RefusedLogin { fact, origin: None }])));
    }
}
