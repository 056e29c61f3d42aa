//! What the node reports about itself: whether it can serve, what it is, and what is wrong or unsafe about its
//! environment.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use ensue_api::metrics::{Distribution, LabelledMetrics};
use ensue_api::ports::{
    Access as _, Dependency, DependencyState, EffectiveSetting, Finding, Job, JobKind, LogAccess, Node, NodeStatus, OnBehalf, PortError,
    Readiness, RetentionStatus, SecretState, StorageUsage, Webhooks,
};
use ensue_api::worker_queues::WorkerQueue;
use ensue_engine::access::keys::warned_at;
use ensue_engine::catalog::{Scheme, Verify};
use ensue_engine::ids::{Id, LogId, TokenId};
use ensue_engine::names::{KeyRef, WorkerQueueName};
use ensue_engine::ports::{ReadLimit, SubmitError};
use ensue_engine::record::{Epoch, Head, Position};
use ensue_engine::time::Timestamp;
use ensue_engine::timers::state::Hold;
use ensue_executor::programs::{AtEnd, SupervisorCommand};
use ensue_packs::Severity;
use ensue_postgres::LeadWatch;
use ensue_views::store::PassedOver;
use ensue_views::{ViewError, ViewReader, ViewRetention};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::access::TokenTable;
use crate::backend::Backend;
use crate::catalogs::NodeCatalogs;
use crate::clock::SteppedClock;
use crate::config::{ActionSettings, DatabaseAddress, WrittenValues};
use crate::connections::NodeConnections;
use crate::edge::Edge;
use crate::followers::FollowerHealth;
use crate::jobs::Jobs;
use crate::key_ring::KeyRing;
use crate::log_access::LogReaders;
use crate::login::NodeIssuers;
use crate::machine::{bad, good, note};
use crate::master_key::MasterKeyRotation;
use crate::memory_limits::{Memory, held_bytes};
use crate::metrics::{counter, gauge};
use crate::output_stores::{OutputStores, SpaceUse};
use crate::outside_writer::OutsideWriter;
use crate::programs::Users;
use crate::sensors::SensorSupervisor;
use crate::sequencer::{QueueGauge, SequencerHandle};
use crate::snapshots::SnapshotTrouble;
use crate::start_error::machine;
use crate::tally::TallyCounts;
use crate::traces::SpanCounts;
use crate::vouching::NodeVouching;

/// The maximum number of packs that a finding names.
const NAMES_MAX: usize = 10;

/// Holds everything that the node's reports are made from.
pub(crate) struct AboutNode {
    /// The release that the node runs.
    pub release: &'static str,
    /// When the node started.
    pub started_at: Timestamp,
    /// The log that the node writes to.
    pub log: LogId,
    /// The storage of that log.
    pub backend: Arc<dyn Backend>,
    /// The epoch under which the node writes.
    pub epoch: Epoch,
    /// The number of attempts that may run at once, in all queues together.
    pub workers: u32,
    /// The handle of the sequencer.
    pub sequencer: SequencerHandle,
    /// The readers of the log.
    pub readers: Arc<LogReaders>,
    /// The catalogs.
    pub catalogs: Arc<NodeCatalogs>,
    /// The edge, where events come in.
    pub edge: Arc<Edge>,
    /// Whether the operator set the public address.
    pub has_url: bool,
    /// The pulling sensors.
    pub sensors: SensorSupervisor,
    /// The connections.
    pub(crate) connections: NodeConnections,
    /// The background jobs.
    pub jobs: Arc<Jobs>,
    /// The rotation of the master key.
    pub master_key: MasterKeyRotation,
    /// The head that is kept outside the data directory.
    pub outside: OutsideWriter,
    /// The outputs and artifacts that are stored next to the log.
    pub kept: OutputStores,
    /// The data directory.
    pub data: PathBuf,
    /// The settings as they were written.
    pub settings: WrittenValues,
    /// The address of the database that has the log, if there is one.
    pub(crate) database: Option<DatabaseAddress>,
    /// The memory that the process holds and may hold.
    pub memory: Memory,
    /// The position that the views have reached.
    pub views_at: watch::Receiver<Position>,
    /// The log's newest position when this node took it over.
    pub taken_over_at: Position,
    /// The number of records that the views skipped.
    pub views_passed_over: Arc<AtomicU64>,
    /// How long ended executions and other old rows stay in the views.
    pub retention: ViewRetention,
    /// The number of executions removed from the views since the start.
    pub removed_executions: Arc<AtomicU64>,
    /// The views.
    pub views: Arc<dyn ViewReader>,
    /// The condition of the follower that keeps the views up to date.
    pub views_health: Arc<FollowerHealth>,
    /// Why the state could not be saved, if it could not.
    pub snapshot_trouble: SnapshotTrouble,
    /// The condition of the follower that counts records.
    pub telemetry_health: Arc<FollowerHealth>,
    /// The counts of spans.
    pub span_counts: Arc<SpanCounts>,
    /// The counts of records.
    pub counts: Arc<TallyCounts>,
    /// The keys.
    pub keys: Arc<KeyRing>,
    /// The tokens.
    pub tokens: Arc<TokenTable>,
    /// The issuers whose tokens are accepted.
    pub(crate) issuers: Arc<NodeIssuers>,
    /// Those who vouch for callers.
    pub(crate) vouching: Arc<NodeVouching>,
    /// How long programs took to start.
    pub spawned: Distribution,
    /// The clock.
    pub clock: Arc<dyn SteppedClock>,
    /// How much space must be free, in bytes.
    pub min_free_bytes: u64,
    /// How programs of actions run.
    pub actions: ActionSettings,
    /// The users that programs run as.
    pub users: Users,
    /// What happens to programs when the node ends.
    pub programs_at_end: AtEnd,
    /// The command that starts a supervisor.
    pub supervisor: Option<SupervisorCommand>,
    /// Set once the node is stopping.
    pub is_stopping: Arc<AtomicBool>,
    /// Set once the log has failed.
    pub is_failed: Arc<AtomicBool>,
    /// What the node knows about its lease on the log; `None` if no other node can lead it.
    pub lead_watch: Option<LeadWatch>,
}

impl AboutNode {
    fn is_full(&self) -> bool {
        self.sequencer.gauges().is_full.load(Ordering::Relaxed)
    }

    fn free_bytes(&self) -> Option<u64> {
        rustix::fs::statvfs(&self.data).ok().map(|about| about.f_bavail.saturating_mul(about.f_frsize))
    }

    fn outside_head(&self) -> Option<Head> {
        self.outside.last()
    }
}

impl Node for AboutNode {
    fn admission(&self) -> Result<(), PortError> {
        // Requests that arrive while the node stops are accepted: the log stays open until the last connection
        // closes.
        if self.is_failed.load(Ordering::Relaxed) {
            return Err(SubmitError::Stopping.into());
        }
        if self.is_full() {
            return Err(SubmitError::StorageFull.into());
        }
        Ok(self.memory.admission()?)
    }

    fn readiness(&self) -> Readiness {
        let state = |is_down: bool, why: &str| {
            if is_down { DependencyState::Down { why: why.to_owned() } } else { DependencyState::Up }
        };
        let is_failed = self.is_failed.load(Ordering::Relaxed);
        let is_stopping = self.is_stopping.load(Ordering::Relaxed);
        let watch = self.lead_watch.as_ref();
        // Anybody may read it, so it does not name the server.
        let log_trouble = if is_failed {
            Some("the log has failed; restart the node")
        } else if watch.is_some_and(LeadWatch::is_silent) {
            Some("the database that has the log does not answer")
        } else if watch.is_some_and(LeadWatch::is_slow) {
            Some("the database that has the log does not acknowledge what is written: its synchronous standby may be gone")
        } else {
            None
        };
        let log = state(log_trouble.is_some(), log_trouble.unwrap_or_default());
        let is_folding = *self.views_at.borrow() < self.taken_over_at;
        let folding = || is_folding.then(|| "the views do not show yet what was acknowledged before the node started".to_owned());
        let views_trouble = self.views_health.trouble().or_else(folding);
        let dependencies = vec![
            Dependency { name: "log", state: log },
            Dependency { name: "disk", state: state(self.is_full(), "too little disk space is free: the node accepts no input") },
            // If they fail later, writes are still accepted, and a reader that names a position gets an error that the views are
            // behind.
            Dependency { name: "views", state: state(views_trouble.is_some(), views_trouble.as_deref().unwrap_or_default()) },
            Dependency { name: "node", state: state(is_stopping, "the node is stopping") },
        ];
        // Reads continue if the disk is full. But a load balancer asks whether to send requests here, and most
        // requests bring input.
        Readiness { is_ready: log_trouble.is_none() && !is_folding && !is_stopping && !self.is_full(), dependencies }
    }

    fn status(&self) -> Result<NodeStatus, PortError> {
        Ok(NodeStatus {
            release: self.release.to_owned(),
            started_at: self.started_at,
            log: self.log,
            epoch: self.epoch,
            head: self.readers.head()?,
            catalog: self.catalogs.current().revision(),
            workers: self.workers,
            workers_busy: u32::try_from(self.sequencer.gauges().running.load(Ordering::Relaxed)).unwrap_or(u32::MAX),
            disk_free_bytes: self.free_bytes(),
            memory_bytes: held_bytes(),
            memory_max_bytes: self.memory.max_bytes(),
            outputs: to_wire(self.kept.outputs_used()),
            artifacts: to_wire(self.kept.artifacts_used()),
            retention: self.retention_status()?,
        })
    }

    fn settings(&self) -> Vec<EffectiveSetting> {
        self.settings.settings()
    }

    fn register(&self, metrics: &mut Registry) {
        let gauges = self.sequencer.gauges();
        let (parked, position) = (gauges.parked.load(Ordering::Relaxed), gauges.position.load(Ordering::Relaxed));
        let build = LabelledMetrics::new("version", [(self.release, ConstGauge::new(1_i64))]);
        metrics.register("build_info", "The release, as a label; the value is always 1", build);
        gauge(
            metrics,
            "start_time_seconds",
            "The time when the node started, in seconds since 1970",
            self.started_at.unix_millis() / 1_000,
        );
        gauges.turns.register(metrics);
        self.counts.register(metrics, &gauges.turns.committed);
        self.span_counts.register(metrics);
        metrics.register("spawn_seconds", "The time that a program took to start, including its private directory", self.spawned.clone());
        counter(metrics, "key_uses", "The number of times that a key was given to an attempt since the start", self.keys.uses());
        let renewals = self.issuers.renewals().map(|(outcome, count)| (outcome.as_str(), ConstCounter::new(count)));
        let help = "The renewals of logins through issuers since the start";
        metrics.register("issuer_renewals", help, LabelledMetrics::new("outcome", renewals));
        if let Some(held) = held_bytes() {
            gauge(metrics, "memory_bytes", "The memory that the process uses", held);
        }
        gauge(metrics, "memory_max_bytes", "The memory that the process may use", self.memory.max_bytes());
        counter(metrics, "commits", "The commits since the start", gauges.commits.load(Ordering::Relaxed));
        let inquiries = gauges.inquiries.load(Ordering::Relaxed);
        gauge(metrics, "inquiries_open", "The inquiries that wait for an answer", inquiries);
        let help = "The number of times that a lock of an action or a rule is held";
        gauge(metrics, "locks_held", help, gauges.locks_held.load(Ordering::Relaxed));
        let help = "The executions that wait for a lock";
        gauge(metrics, "locks_awaited", help, gauges.locks_awaited.load(Ordering::Relaxed));
        let help = "1 if the clock stepped far forward and due timers wait until the step has lasted, otherwise 0";
        gauge(metrics, "clock_held", help, u64::from(self.hold().is_some()));
        self.register_queues(metrics);
        self.sensors.register(metrics);
        self.connections.register(metrics);
        gauge(metrics, "parked_reactions", "The parked reactions", parked);
        gauge(metrics, "log_position", "The newest position of the log", position);
        counter(metrics, "follower_bugs", "The number of times that an internal error interrupted a follower", self.follower_bugs());
        let passed_over = self.views_passed_over.load(Ordering::Relaxed);
        gauge(metrics, "views_passed_over", "The records that a view skipped because of an internal error", passed_over);
        let removed = self.removed_executions.load(Ordering::Relaxed);
        counter(metrics, "executions_removed", "The executions that the retention removed from the views", removed);
        let reached = self.views_at.borrow().0;
        gauge(metrics, "views_position", "The position that the views have reached", reached);
        gauge(metrics, "views_lag_records", "The number of records that the views have not folded yet", position.saturating_sub(reached));
        if let Some(lag) = self.views_lag_seconds(Position(reached)) {
            let help = "The age of the oldest record that the views have not folded yet";
            metrics.register("views_lag_seconds", help, ConstGauge::new(lag));
        }
    }

    fn doctor(&self) -> Result<Vec<Finding>, PortError> {
        let memory = memory_finding(held_bytes(), self.memory.max_bytes());
        let fullness = if self.is_full() { Fullness::Full } else { Fullness::HasRoom };
        let mut findings = vec![space(self.free_bytes(), self.min_free_bytes, fullness), memory, self.log_finding()];
        if let Some(asked) = self.backend.health() {
            findings.extend(crate::database_health::findings(asked, self.clock.now()));
            findings.extend(self.database.as_ref().and_then(crate::database_health::credentials));
        }
        findings.extend(self.backend.bucket().map(crate::bucket_health::finding));
        findings.push(kept_finding("outputs", "the output of attempts", self.kept.outputs_used()));
        findings.push(kept_finding("artifacts", "the artifacts of attempts", self.kept.artifacts_used()));
        findings.extend([self.views_finding(), self.retention_finding(), self.snapshot_finding()]);
        findings.push(self.clock_finding());
        findings.push(self.queue_finding());
        findings.extend(self.pack_findings());
        findings.push(self.permissions_finding());
        findings.extend(self.hook_findings());
        findings.push(self.sensors.finding());
        findings.push(self.sensors.finding_of_parts());
        let catalog = self.catalogs.current();
        findings.push(self.connections.finding(&catalog));
        findings.push(crate::pack_credentials::finding(&catalog, |key| self.keys.is_set(key)));
        findings.push(self.key_finding());
        findings.push(self.token_finding());
        findings.extend(self.issuers.findings(&self.keys));
        findings.extend(self.vouching.findings());
        findings.extend(crate::machine::findings(&self.actions, &self.users, self.programs_at_end, self.supervisor.as_ref()));
        Ok(findings)
    }

    fn worker_queues(&self) -> Result<Vec<WorkerQueue>, PortError> {
        Ok(self.sequencer.worker_queues()?)
    }

    fn begin_job(&self, kind: JobKind, by: &OnBehalf) -> Result<Job, PortError> {
        let begun = match kind {
            JobKind::LogVerify => self.jobs.verify(self.outside_head()),
            JobKind::ViewsRebuild => self.jobs.rebuild_views(),
            JobKind::MasterKeyRotate => self.jobs.rotate_master_key(self.master_key.clone(), by.clone()),
        };
        begun.map_err(|error| machine("a background job cannot be started", &error).into())
    }

    fn job(&self, kind: JobKind) -> Option<Job> {
        self.jobs.job(kind)
    }
}

impl AboutNode {
    fn log_finding(&self) -> Finding {
        let parked = self.sequencer.gauges().parked.load(Ordering::Relaxed);
        if parked == 0 {
            good("log", "no reaction is parked; `ensue log verify` checks the whole chain")
        } else {
            let message = format!("{parked} reactions are parked: the consequences of their records are missing");
            bad("log", message, "see them with `ensue parked list`, and report them; `ensue parked retry` retries one")
        }
    }

    /// Returns the clock step that currently holds schedules and timers.
    fn hold(&self) -> Option<Hold> {
        self.sequencer.gauges().clock_hold(self.clock.now())
    }

    fn clock_finding(&self) -> Finding {
        let Some(Hold { from, to, until }) = self.hold() else {
            return set_back_finding(self.tokens.directory().over_before_a_step(self.clock.now()));
        };
        let message = format!("the clock stepped from {from} to {to}: schedules and delayed starts that are due wait until {until}");
        note("clock", &message, "if the clock is right now, run `ensue clock accept`; otherwise set it back before then")
    }

    /// Reports executions that wait, or would wait, in a queue that does not exist.
    fn queue_finding(&self) -> Finding {
        let hint = "name it under `queues` in `ensue.yaml`, with its `workers`, and restart the node";
        let queues = match self.sequencer.worker_queues() {
            Ok(queues) => queues,
            Err(error) => return note("queues", &format!("the state of the queues is unknown: {error}"), "try again in a moment"),
        };
        let known = |name: &WorkerQueueName| queues.iter().any(|queue| queue.name == *name && queue.workers.is_some());
        if let Some(queue) = queues.iter().find(|queue| queue.workers.is_none() && queue.waiting > 0) {
            return bad("queues", format!("{} executions wait in the queue `{}`, which has no workers", queue.waiting, queue.name), hint);
        }
        let catalog = self.catalogs.current();
        match catalog.actions().values().find(|action| !known(&action.queue)) {
            Some(action) => {
                let message = format!("`{}` uses the queue `{}`, which has no workers: it would never start", action.name, action.queue);
                note("queues", &message, hint)
            }
            None => good("queues", "each queue that an action names has workers"),
        }
    }

    fn register_queues(&self, metrics: &mut Registry) {
        let gauges = self.sequencer.gauges();
        let queues = gauges.worker_queues.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut of_each = |name: &str, help: &str, figure: fn(&QueueGauge) -> u64| {
            let family = Family::<Vec<(String, String)>, Gauge>::default();
            for queue in &queues {
                let figure = i64::try_from(figure(queue)).unwrap_or(i64::MAX);
                family.get_or_create(&vec![("queue".to_owned(), queue.name.to_string())]).set(figure);
            }
            metrics.register(name, help, family);
        };
        of_each("worker_queue_workers", "The number of attempts of a queue that may run at once", |queue| queue.workers.into());
        of_each("worker_queue_busy", "The number of attempts of a queue that are running", |queue| queue.busy.into());
        of_each("worker_queue_waiting", "The number of executions in a queue that wait for a worker", |queue| queue.waiting as u64);
        let help = "The executions that wait in queues without workers";
        gauge(metrics, "executions_unworked", help, gauges.unworked.load(Ordering::Relaxed));
    }

    fn follower_bugs(&self) -> u64 {
        self.views_health.bugs() + self.telemetry_health.bugs() + self.snapshot_trouble.bugs()
    }

    /// Returns 0 if the views have folded all records, and none if the log cannot be read, because the lag is
    /// then unknown.
    #[expect(clippy::cast_precision_loss, reason = "a metric has 53 bits")]
    fn views_lag_seconds(&self, reached: Position) -> Option<f64> {
        let limit = ReadLimit { records: 1, ..ReadLimit::default() };
        let next = self.readers.read(reached, limit).ok()?;
        Some(next.first().map_or(0.0, |record| self.clock.now().micros_since(record.time).max(0) as f64 / 1e6))
    }

    fn views_finding(&self) -> Finding {
        let bad = |message: String, hint: &str| bad("views", message, hint);
        if let Some(why) = self.views_health.trouble() {
            return bad(
                format!("the read models cannot follow the log, so reads return old data: {why}"),
                "report a bug; nothing that was written is lost",
            );
        }
        match self.views.passed_over() {
            Ok(all) => match all.first().first() {
                None => good("views", "the read models follow the log"),
                Some(PassedOver { view, position, message }) => bad(
                    format!(
                        "{} records were skipped because of an internal error, the first at position {position} in `{view}`: {message}",
                        all.count()
                    ),
                    "report them; the records are still in the log, and `ensue views rebuild` with a fixed release includes them",
                ),
            },
            Err(error) => bad(format!("the read models cannot be read: {error}"), "rebuild them from the log with `ensue views rebuild`"),
        }
    }

    fn retention_status(&self) -> Result<RetentionStatus, ViewError> {
        Ok(RetentionStatus { executions: self.retention.executions, removed: self.views.removal_counts()? })
    }

    fn retention_finding(&self) -> Finding {
        let retained = match self.retention_status() {
            Ok(retained) => retained,
            Err(error) => {
                return note(
                    "retention",
                    &format!("it is unknown how many executions have left the read models: {error}"),
                    "try again in a moment",
                );
            }
        };
        let kept = match retained.age() {
            Some(age) => format!("executions stay in the read models for {age} after their end"),
            None => "executions stay in the read models forever".to_owned(),
        };
        good("retention", &format!("{kept}; {} have left them and are only in the log", retained.removed.executions))
    }

    fn snapshot_finding(&self) -> Finding {
        match self.snapshot_trouble.why() {
            None => good("snapshots", "the state is saved regularly, so a start does not need to fold the whole log"),
            Some(why) => {
                let message = format!("the state could not be saved, so the next start would take longer: {why}");
                let hint = match self.snapshot_trouble.bugs() {
                    0 => "nothing needs to be done: the node tries again after the next 50,000 records and when it stops",
                    _ => "report a bug; the node tries again after the next 50,000 records and when it stops",
                };
                note("snapshots", &message, hint)
            }
        }
    }

    fn pack_findings(&self) -> Vec<Finding> {
        let findings = self.catalogs.findings();
        let errors = |list: &[ensue_packs::Diagnostic]| list.iter().filter(|one| one.severity == Severity::Error).count();
        let broken: Vec<Finding> = findings
            .iter()
            .filter(|(_, list)| errors(list) > 0)
            .map(|(name, list)| {
                let message = format!("{} errors; the version that was installed before, if any, stays active", errors(list));
                bad(&format!("pack {name}"), message, "see them with `ensue check`")
            })
            .collect();
        if broken.is_empty() { vec![good("packs", "all packs of the folder are installed")] } else { broken }
    }

    /// Reports which packs may do everything with other packs.
    fn permissions_finding(&self) -> Finding {
        let unlimited = self.catalogs.without_limits();
        if unlimited.is_empty() {
            return good("permissions", "each pack of the folder is held to its `permissions`");
        }
        let names: Vec<String> = unlimited.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
        let more = unlimited.len().saturating_sub(NAMES_MAX);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        good("permissions", &format!("{}{more} may do everything with other packs: `pack.yaml` has no `permissions`", names.join(", ")))
    }

    fn key_finding(&self) -> Finding {
        expiry_finding(&self.keys.expiries(), self.clock.now())
    }

    /// Reports tokens that never expire and that nobody uses.
    fn token_finding(&self) -> Finding {
        let access = self.tokens.directory();
        let lasting = access.tokens().filter(|(_, token)| token.expires_at.is_none() && token.successor.is_none());
        let last = |id: &TokenId| self.tokens.last_use(*id).unwrap_or_else(|| made_at(id.0));
        let used: Vec<(&str, Timestamp)> = lasting.map(|(id, token)| (token.name.as_str(), last(id))).collect();
        unused_finding(&used, self.clock.now())
    }

    fn hook_findings(&self) -> Vec<Finding> {
        let catalog = self.catalogs.current();
        let mut findings = Vec::new();
        let hooks = catalog.sensors().values().filter_map(|sensor| Some((sensor, sensor.source.webhook()?)));
        for (sensor, verify) in hooks {
            if !self.has_url && verify.scheme().is_some_and(Scheme::signs_the_url) {
                let message = "its senders sign the public URL, and `url` is not set: deliveries through a proxy are rejected";
                findings.push(note(
                    &format!("hook {}", sensor.name),
                    message,
                    "set `url` in `ensue.yaml` to the address that the sender has",
                ));
            }
            let key = verify.key().map(ToString::to_string).unwrap_or_default();
            let (message, hint) = match self.edge.secret(&sensor.name) {
                SecretState::Set => continue,
                SecretState::NotNeeded if *verify == Verify::None => {
                    ("anybody can send deliveries: they are not verified".to_owned(), "name a scheme and a key in its `verify`".to_owned())
                }
                SecretState::NotNeeded => continue,
                SecretState::Missing => (format!("`{key}` is not set: every delivery is rejected"), format!("ensue keys set {key}")),
                SecretState::Unusable => {
                    (format!("`{key}` cannot be used: every delivery is rejected"), format!("ensue keys set {key}   # 16 bytes or more"))
                }
            };
            findings.push(note(&format!("hook {}", sensor.name), &message, &hint));
        }
        if findings.is_empty() {
            findings.push(good("hooks", "each hook can verify its deliveries"));
        }
        findings
    }
}

/// Reports the key that expires first, if it has expired or does so soon.
fn expiry_finding(expiries: &[(KeyRef, Timestamp)], now: Timestamp) -> Finding {
    let soon = expiries.iter().filter(|(_, expires_at)| warned_at(*expires_at) <= now);
    let Some((key, expires_at)) = soon.clone().min_by_key(|(_, expires_at)| *expires_at) else {
        return good("keys", "no key expires within 14 days");
    };
    let others = match soon.count() - 1 {
        0 => String::new(),
        others => format!(", and {others} more expire within 14 days"),
    };
    let verb = if *expires_at <= now { "expired" } else { "expires" };
    let hint = format!("ensue keys rotate {key} --overlap 24h");
    note("keys", &format!("`{key}` {verb} at {expires_at}{others}"), &hint)
}

/// The number of days after which a token that never expires counts as unused.
const UNUSED_DAYS: i64 = 90;

/// Returns when an id was made.
fn made_at(id: Id) -> Timestamp {
    Timestamp::from_micros(i64::try_from(id.unix_millis().saturating_mul(1_000)).unwrap_or(i64::MAX))
}

/// Reports credentials that stay ended although the clock says that their end is still to come.
fn set_back_finding(over: usize) -> Finding {
    if over == 0 {
        return good("clock", "the clock has not stepped, and timers run normally");
    }
    let message = format!("{over} tokens, sessions, grants or absences had ended before the clock was set back, and stay ended");
    note("clock", &message, "if the clock is right now and was wrong before, run `ensue clock accept`; otherwise set it right")
}

/// Reports the tokens without an end that nobody used for a long time. Each is given with its last use, or with when it
/// was added if it was never used.
fn unused_finding(used: &[(&str, Timestamp)], now: Timestamp) -> Finding {
    let is_unused = |(_, at): &&(&str, Timestamp)| now.micros_since(*at) >= UNUSED_DAYS * 86_400_000_000;
    let names: Vec<&str> = used.iter().filter(is_unused).map(|(name, _)| *name).collect();
    let Some(first) = names.first() else {
        return good("tokens", &format!("each token that never expires was used within {UNUSED_DAYS} days"));
    };
    let shown: Vec<String> = names.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let message = format!("tokens that never expire were not used for {UNUSED_DAYS} days: {}{more}", shown.join(", "));
    note("tokens", &message, &format!("revoke what nobody needs: `ensue tokens revoke {first}`"))
}

fn to_wire(used: SpaceUse) -> StorageUsage {
    StorageUsage { bytes: used.bytes, quota_bytes: used.quota_bytes }
}

/// Reports how much of the quota is used. A full quota is fine if the oldest is deleted to make room; it is a
/// problem if nothing more is stored.
fn kept_finding(check: &str, what: &str, used: SpaceUse) -> Finding {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let message = format!("{} MiB of {} MiB are used for {what}", mib(used.bytes), mib(used.quota_bytes));
    if used.bytes < used.quota_bytes {
        return good(check, &message);
    }
    let hint = format!("increase `{check}.quota`, or decrease `{check}.keep_days`");
    note(check, &format!("{message}: nothing more is stored until the oldest are deleted"), &hint)
}

/// Whether the node accepts input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fullness {
    Full,
    HasRoom,
}

/// `fullness` is what the sequencer found at its last check, or what the store reported.
fn space(free: Option<u64>, min: u64, fullness: Fullness) -> Finding {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let hint = "free some space; the node then continues by itself";
    match (free, fullness) {
        (Some(free), _) if free < min => {
            bad("disk", format!("{} MiB are free, but {} MiB are required: the node accepts no input", mib(free), mib(min)), hint)
        }
        (_, Fullness::Full) => {
            bad("disk", "the log could not be written because the disk is full: the node accepts no input".to_owned(), hint)
        }
        (Some(free), Fullness::HasRoom) => good("disk", &format!("{} MiB are free", mib(free))),
        (None, Fullness::HasRoom) => {
            note("disk", "the free disk space cannot be determined", "check the disk of the data directory yourself")
        }
    }
}

/// Reports how close the process is to its memory limit: four fifths counts as close.
fn memory_finding(held: Option<u64>, max: u64) -> Finding {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let told = |held: u64, rest: &str| format!("{} MiB of memory are used of {} MiB{rest}", mib(held), mib(max));
    let hint = "give the node more memory with the setting `memory`; `/metrics` shows which queue is full";
    match held {
        Some(held) if held > max => bad("memory", told(held, ": the node accepts one body at a time"), hint),
        Some(held) if held > max / 5 * 4 => note("memory", &told(held, ""), hint),
        Some(held) => good("memory", &told(held, "")),
        None => note("memory", "the memory use of the node cannot be determined", "check the process yourself"),
    }
}

#[cfg(test)]
mod tests {
    use ensue_api::ports::FindingVerdict;

    use super::*;

    #[test]
    fn doctor_names_the_tokens_that_nobody_used_for_90_days() {
        let now = Timestamp::from_micros(1_774_699_200_000_000);
        let ago = |days: i64| Timestamp::from_micros(now.micros() - days * 86_400_000_000);
        assert_eq!(unused_finding(&[("ci", ago(89))], now).verdict, FindingVerdict::Good);
        let finding = unused_finding(&[("ci", ago(89)), ("old", ago(90)), ("older", ago(400))], now);
        assert_eq!(finding.verdict, FindingVerdict::Warning);
        assert_eq!(finding.message, "tokens that never expire were not used for 90 days: `old`, `older`");
        assert_eq!(finding.hint.as_deref(), Some("revoke what nobody needs: `ensue tokens revoke old`"));
    }

    #[test]
    fn doctor_names_the_key_that_expires_first() {
        let now = Timestamp::from_micros(1_774_699_200_000_000);
        let key = |name: &str, days: i64| (name.parse::<KeyRef>().unwrap(), Timestamp::from_micros(now.micros() + days * 86_400_000_000));
        assert_eq!(expiry_finding(&[key("demo.later", 15)], now).verdict, FindingVerdict::Good);
        let finding = expiry_finding(&[key("demo.soon", 14), key("demo.first", 2), key("demo.later", 15)], now);
        assert_eq!(finding.verdict, FindingVerdict::Warning);
        assert!(finding.message.starts_with("`demo.first` expires at ") && finding.message.contains("and 1 more"), "{}", finding.message);
        assert_eq!(finding.hint.as_deref(), Some("ensue keys rotate demo.first --overlap 24h"));
        let finding = expiry_finding(&[key("demo.over", -1)], now);
        assert!(finding.message.starts_with("`demo.over` expired at "), "{}", finding.message);
    }
}
