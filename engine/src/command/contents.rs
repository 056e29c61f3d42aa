//! The contents of commands.

use crate::access::audit::facts::{AccessDenied, KeyUsed, LoginRefused};
use crate::access::facts::{CredentialChange, CredentialKind, IdentityKind};
use crate::access::limit::Limit;
use crate::access::permission::Permission;
use crate::access::principal::Principal;
use crate::access::scope::Scope;
use crate::access::subject::Subject;
use crate::catalog::Action;
use crate::command::Dedupe;
use crate::command::SignedBody;
use crate::events::facts::DeliveredWith;
use crate::events::internal::InternalTriggers;
use crate::events::version::TriggerVersion;
use crate::executions::facts::{Failure, GivenEvent};
use crate::executions::labels::Labels;
use crate::executions::scope::ExecutionScope;
use crate::fact::Fact;
use crate::ids::{
    AttemptId, EnforcementId, EventId, ExecutionId, GrantId, Id, IdentityId, InquiryId, LinkId, SensorId, SessionId, TokenId,
};
use crate::locks::facts::Claim;
use crate::names::{ActionRef, GroupName, IssuerName, KeyRef, PackName, RoleName, RuleRef, SensorRef, TriggerRef, VarName};
use crate::record::{Actor, AttemptOf, Body, CatalogRevision, Cause, Digest, Position, Record};
use crate::rules::judge::{EventView, Judgement};
use crate::sensors::cursor::NewCursor;
use crate::time::Timestamp;
use crate::workflows::facts::RerunFrom;
use ensue_expression::Document;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An event that an edge observed, checked and judged.
#[derive(Clone, Debug)]
pub struct ObservedEvent {
    /// Its id: a root's, or derived from the execution that emits it.
    pub id: EventId,
    /// Its trigger.
    pub trigger: TriggerRef,
    /// The version of the trigger that its payload has.
    pub version: TriggerVersion,
    /// The source that observed it.
    pub source: String,
    /// The sensor it came through.
    pub sensor: Option<SensorRef>,
    /// The rule whose schedule created it: no other rule judges it.
    pub rule: Option<RuleRef>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Its own W3C trace; without one it belongs to the trace of its command.
    pub trace: Option<String>,
    /// The payload as it came, for storage.
    pub body: Body,
    /// The same payload, for reading.
    pub payload: Document,
    /// The key under which it is accepted once.
    pub dedupe: Option<Dedupe>,
    /// The signed body that it came in, which is accepted once.
    pub signed: Option<SignedBody>,
    /// The stored event that it repeats; `None` if it is observed for the first time.
    pub repeats: Option<EmittedBefore>,
    /// The rules' judgement of it.
    pub judgement: Arc<Judgement>,
}

/// A stored event that is emitted again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmittedBefore {
    /// Its chain, one deeper: the new event is a consequence of its record.
    pub cause: Cause,
    /// The engine's own triggers that have an event in the chain.
    pub internal_above: InternalTriggers,
}

impl EmittedBefore {
    /// Returns the event of a record; `None` if the record is of something else.
    pub fn of(record: &Record) -> Option<Self> {
        let Fact::EventReceived(fact) = &record.fact else { return None };
        let cause = Cause { depth: record.cause.depth.saturating_add(1), ..record.cause.from_parent(record.id) };
        Some(Self { cause, internal_above: fact.internal_above_what_follows() })
    }
}

impl ObservedEvent {
    /// Creates one that rules have already judged, whose payload came in the first version. It has no sensor and no key.
    pub fn from_view(view: &EventView<'_>, judgement: Judgement) -> Self {
        Self {
            id: view.id,
            trigger: view.trigger.clone(),
            version: TriggerVersion::FIRST,
            source: view.source.to_owned(),
            sensor: None,
            rule: view.only.cloned(),
            occurred_at: view.time,
            trace: None,
            body: Body::json(view.payload.bytes().clone()),
            payload: view.payload.clone(),
            dedupe: None,
            signed: None,
            repeats: None,
            judgement: Arc::new(judgement),
        }
    }

    /// Returns the event with the payload as it came, of this version. The rules judged it in the newest one.
    #[must_use]
    pub fn came_as(self, version: TriggerVersion, payload: &Document) -> Self {
        if self.payload.bytes() == payload.bytes() {
            // The newest version is the same text, which was hashed for it.
            return Self { version, ..self };
        }
        Self { version, body: Body::json(payload.bytes().clone()), payload: payload.clone(), ..self }
    }
}

/// A token to add.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// The holder's name.
    pub name: String,
    /// The holder's roles; none if an identity holds it.
    pub roles: Vec<String>,
    /// The identity that holds it.
    pub identity: Option<IdentityId>,
    /// The scopes beyond which it allows nothing.
    pub scopes: Option<Vec<Scope>>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

impl NewToken {
    /// Creates a token with roles, which does not expire.
    pub fn with_roles(id: TokenId, name: impl Into<String>, roles: Vec<String>) -> Self {
        Self { id, name: name.into(), roles, identity: None, scopes: None, expires_at: None }
    }
}

/// A token to replace.
#[derive(Clone, Debug)]
pub struct RotatedToken {
    /// Its name.
    pub name: String,
    /// The id of its successor.
    pub successor: TokenId,
    /// Until when the old token stays valid.
    pub until: Timestamp,
}

/// A session to open.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// The identity that logged in; ignored if there is a token.
    pub identity: Option<IdentityId>,
    /// How it logged in.
    pub way: String,
    /// The token whose rights it has.
    pub credential: Option<TokenId>,
    /// The only inquiry that it can see and answer.
    pub only: Option<InquiryId>,
    /// The link that opens it.
    pub link: Option<OpenedLink>,
    /// When it ends at the latest.
    pub until: Timestamp,
    /// The session that ends if the identity has too many: the one that was not used for the longest time.
    pub in_place_of: Option<SessionId>,
}

/// A link that is opened.
#[derive(Clone, Copy, Debug)]
pub enum OpenedLink {
    /// A login link.
    OfLogin(LinkId),
    /// A link to an inquiry, which must still wait for answers.
    OfInquiry {
        /// Its id.
        id: LinkId,
        /// The digest of what the inquiry asked when the link was created.
        digest: Digest,
    },
}

impl OpenedLink {
    /// Returns the id of a login link.
    pub(crate) fn of_a_login(self) -> Option<LinkId> {
        match self {
            Self::OfLogin(id) => Some(id),
            Self::OfInquiry { .. } => None,
        }
    }
}

/// A login link that is asked for. The hash of its code is already in the vault.
#[derive(Clone, Debug)]
pub struct NewLoginLink {
    /// Its id.
    pub id: LinkId,
    /// The token.
    pub token: TokenId,
    /// Its name.
    pub name: String,
    /// Until when it is valid.
    pub until: Timestamp,
}

/// A link to an inquiry that is asked for. The hash of its secret is already in the vault.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// Its id.
    pub id: LinkId,
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The person.
    pub identity: IdentityId,
    /// The name of the person, by which the inquiry can ask it.
    pub name: String,
    /// Until when it is valid.
    pub until: Timestamp,
}

/// A change of how an identity proves who it is. The new value is already in the vault.
#[derive(Clone, Copy, Debug)]
pub struct ChangedCredential {
    /// The identity.
    pub identity: IdentityId,
    /// What changes.
    pub what: CredentialKind,
    /// How.
    pub how: CredentialChange,
    /// The session that does not end with the old password: that of the change itself.
    pub kept: Option<SessionId>,
}

/// A grant to add.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// Its id.
    pub id: GrantId,
    /// The subject that gets the role.
    pub subject: Subject,
    /// The role.
    pub role: RoleName,
    /// What the role covers; `None` if it covers everything.
    pub on: Option<Limit>,
    /// When the grant ends.
    pub until: Option<Timestamp>,
}

/// The roles and grants that the settings of a node declare.
#[derive(Clone, Debug, Default)]
pub struct DeclaredAccess {
    /// The roles with all their permissions.
    pub roles: BTreeMap<RoleName, Vec<Permission>>,
    /// The grants, each with the id that it gets if it is new.
    pub grants: Vec<NewGrant>,
}

/// An identity that an issuer admits.
#[derive(Clone, Debug)]
pub struct AdmittedIdentity {
    /// Its id.
    pub id: IdentityId,
    /// The issuer.
    pub issuer: IssuerName,
    /// Whether it was seen before.
    pub admission: Admission,
    /// What the issuer says about its groups; `None` if it says nothing, so that they stay as they are.
    pub groups: Option<IssuerGroups>,
}

/// Whether an identity was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is new, and is added. Its name is already in the vault.
    New(IdentityKind),
    /// It was added or linked before.
    Known,
}

/// The groups that an issuer names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerGroups {
    /// The groups.
    pub groups: Vec<GroupName>,
    /// When the issuer named them.
    pub said_at: Timestamp,
}

/// A delivery that created no event.
#[derive(Clone, Debug)]
pub struct RefusedDelivery {
    /// The sensor it came to.
    pub sensor: SensorRef,
    /// The trigger that refused it, if one did.
    pub trigger: Option<TriggerRef>,
    /// The reason.
    pub reason: String,
    /// The body of the delivery.
    pub body: Body,
    /// Its headers and query, if it can be delivered again.
    pub with: Option<DeliveredWith>,
}

/// A delivery that was refused, and the events that it creates now.
#[derive(Clone, Debug)]
pub struct RetriedDelivery {
    /// The record of the refusal.
    pub of: Id,
    /// Its chain.
    pub cause: Cause,
    /// The events; empty if nothing of the sensor matches.
    pub events: Vec<ObservedEvent>,
}

/// A request to run an action, with valid parameters.
#[derive(Clone, Debug)]
pub struct RequestExecution {
    /// The action's ref.
    pub action: ActionRef,
    /// The action in the catalog of `catalog`.
    pub definition: Arc<Action>,
    /// The catalog in which the parameters were checked.
    pub catalog: CatalogRevision,
    /// The complete parameters, for storage.
    pub body: Body,
    /// The same, for reading.
    pub params: Document,
    /// The earliest start; a time in the past means now.
    pub start_at: Option<Timestamp>,
    /// Its labels in addition to those of its action. The request is refused if the action has a label of the
    /// same name. For a rerun these are the labels that the caller gave for the first execution, and the
    /// action's labels override them.
    pub labels: Labels,
    /// The execution that it reruns.
    pub rerun: Option<Box<Rerun>>,
}

/// An execution that has ended and is run again.
#[derive(Clone, Debug)]
pub struct Rerun {
    /// The execution.
    pub of: ExecutionId,
    /// Its chain.
    pub cause: Cause,
    /// The rule that requested it, if one did.
    pub rule: Option<OfRule>,
    /// The scope by which rights are limited to it.
    pub scope: ExecutionScope,
    /// On whose rights the rerun runs, if not on those of the actor that asks for it.
    pub principal: Option<Principal>,
    /// The lock of that rule that it had to hold, if any.
    pub rule_claim: Option<Claim>,
    /// The priority from its rule.
    pub priority: Option<i8>,
    /// The part of it that is run again.
    pub from: RerunFrom,
    /// The steps and items that had succeeded and are taken over: their number, and the list to store. `None`
    /// if there are none.
    pub kept: Option<(u32, Body)>,
}

/// The rule that requested an execution.
#[derive(Clone, Debug)]
pub struct OfRule {
    /// The rule.
    pub rule: RuleRef,
    /// The event that it decided on.
    pub event: Option<EventId>,
    /// The decision.
    pub enforcement: Option<EnforcementId>,
    /// The event as the rule's own steps see it, if it has any.
    pub given: Option<GivenEvent>,
}

/// An answer that fits the schema of its inquiry.
#[derive(Clone, Debug)]
pub struct InquiryAnswer {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The id of the identity that answers, or the name of a token that no identity holds.
    pub by: String,
    /// The name of the identity, by which the inquiry can name it.
    pub name: Option<String>,
    /// Its roles and groups.
    pub roles: Vec<String>,
    /// The assignee in whose place it answers, if it is a deputy.
    pub behalf: Option<Behalf>,
    /// The digest of the question that the holder was shown; `None` if not given.
    pub digest: Option<Digest>,
    /// The answer, for storage.
    pub body: Body,
    /// The same, for reading.
    pub answer: Document,
}

/// An assignee in whose place a deputy answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behalf {
    /// The assignee.
    pub of: IdentityId,
    /// Its name, by which the inquiry can name it.
    pub name: Option<String>,
}

/// The delegation of an inquiry.
#[derive(Clone, Debug)]
pub struct NewDelegation {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The id of the identity that delegates it, or the name of a token that no identity holds.
    pub by: String,
    /// The name of the identity.
    pub name: Option<String>,
    /// Its roles and groups.
    pub roles: Vec<String>,
    /// The deputy.
    pub to: IdentityId,
    /// The name of the deputy, by which the inquiry can exclude it.
    pub to_name: String,
}

/// When an identity is absent, and who answers inquiries in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAbsence {
    /// The identity.
    pub id: IdentityId,
    /// When it begins; `None` if at once.
    pub from: Option<Timestamp>,
    /// When it ends; `None` if that is open.
    pub until: Option<Timestamp>,
    /// The deputy. Without a deputy and without times, the identity is present.
    pub deputy: Option<IdentityId>,
}

/// A worker's report on the end of an attempt.
#[derive(Clone, Debug)]
pub struct Report {
    /// The execution.
    pub execution: ExecutionId,
    /// The attempt.
    pub attempt: AttemptId,
    /// Its fencing token.
    pub token: u64,
    /// How it ended.
    pub outcome: ReportOutcome,
    /// How long the other side asks to wait before the next attempt, in milliseconds; only for an attempt
    /// that failed.
    pub retry_after_millis: Option<u64>,
    /// The last lines that it printed to standard error; only for an attempt that failed.
    pub output_tail: Option<String>,
    /// The result, or the output of a failed attempt.
    pub body: Option<Body>,
    /// The event that the runner `emit` creates; the result names it.
    pub emitted: Option<Box<ObservedEvent>>,
    /// The vars that it changes.
    pub vars: Vec<VarChange>,
    /// How long before this report it ended, in milliseconds, if that is noticeable.
    pub ended_before: Option<u64>,
}

impl Report {
    /// Returns the event that it emits, if any.
    pub(crate) fn events(&self) -> &[ObservedEvent] {
        self.emitted.as_deref().map_or(&[], std::slice::from_ref)
    }
}

/// What a run of a pulling sensor has read, in the order of the source.
#[derive(Clone, Debug)]
pub struct SensorBatch {
    /// The sensor.
    pub sensor: SensorId,
    /// The run that read it.
    pub run: u64,
    /// How many messages it holds.
    pub read: u32,
    /// The events of its messages.
    pub events: Vec<ObservedEvent>,
    /// The messages that cannot become events.
    pub refused: Vec<RefusedDelivery>,
    /// How many more were refused and are not kept: the sensor has too many open dead letters.
    pub unkept: u32,
    /// How many messages no `emits` matches.
    pub passed: u32,
    /// The digest of the cursor that it was read after; `None` if there was none.
    pub after: Option<Digest>,
    /// The cursor after it; `None` if the source has none.
    pub cursor: Option<NewCursor>,
}

/// What a run reports about parts of what it reads.
#[derive(Clone, Debug)]
pub struct SensorParts {
    /// The sensor.
    pub sensor: SensorId,
    /// The run.
    pub run: u64,
    /// The parts by name.
    pub parts: BTreeMap<String, PartState>,
}

/// Whether a part of what a sensor reads works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    /// It cannot be read.
    Failing {
        /// Why, for people.
        error: String,
    },
    /// It is read.
    Running,
}

/// A var as its caller last saw it, checked before the change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeenVar {
    /// Any state: the change is unconditional.
    #[default]
    Anyhow,
    /// The var had a value, no matter which.
    There,
    /// The var had no value.
    NotThere,
    /// The var had the value from this position.
    At(Position),
}

/// A change of a var.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarChange {
    /// The var.
    pub name: VarName,
    /// Its new value, as JSON; `None` removes the var.
    pub value: Option<Body>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// With a result.
    Succeeded,
    /// Without one.
    Failed(Failure),
}

/// A change of the catalog.
#[derive(Clone, Debug)]
pub enum PackChange {
    /// Install a pack, or replace its older version.
    Install {
        /// Its name.
        name: PackName,
        /// Its version.
        version: String,
        /// The digest of its files.
        digest: Digest,
        /// Its manifest: the ids of its rules and its configuration.
        manifest: Body,
    },
    /// Remove a pack.
    Remove {
        /// Its name.
        name: PackName,
    },
    /// Set what a pack may do with other packs. The catalog stays at its revision.
    Permit {
        /// Its name.
        name: PackName,
        /// The permissions; `None` if it may do everything.
        permissions: Option<Vec<Scope>>,
    },
}

/// A new version of a key that replaces the current one. Its value is already in the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRotation {
    /// The key.
    pub key: KeyRef,
    /// The version in the vault.
    pub version: u32,
    /// How long the version before it is accepted, in milliseconds; 0 if it is not.
    pub overlap_millis: u64,
    /// When the new version expires.
    pub expires_at: Option<Timestamp>,
}

/// Requests of a caller that were rejected for a missing permission.
#[derive(Clone, Debug, PartialEq)]
pub struct DeniedRequests {
    /// The caller; the engine for the sum of several callers.
    pub caller: Actor,
    /// How many, and which permission.
    pub fact: AccessDenied,
}

/// A version of a key that attempts of an action were given.
#[derive(Clone, Debug, PartialEq)]
pub struct UsedKey {
    /// The last of them.
    pub by: AttemptOf,
    /// How many, and when.
    pub fact: KeyUsed,
}

/// Logins that were rejected.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedLogin {
    /// How many, and of which identity.
    pub fact: LoginRefused,
    /// Where they came from, if that is recorded: JSON.
    pub origin: Option<Body>,
}
