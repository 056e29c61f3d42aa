//! Refusals: the reasons why commands are rejected.

use thiserror::Error;

use crate::access::quota::QuotaExceeded;
use crate::catalog::NoNewest;
use crate::dead_letters::state::{OPEN_DEAD_LETTERS_MAX, SENSOR_DEAD_LETTERS_MAX};
use crate::explain::Explain;
use crate::ids::{AttemptId, ExecutionId, GrantId, Id, IdentityId, InquiryId, SensorId};
use crate::names::{ActionRef, IssuerName, KeyRef, PackName, RoleName, RuleRef, SensorRef, TriggerRef, VarName};
use crate::record::{CatalogRevision, Digest, Position};
use crate::time::Timestamp;

/// The reason why a command is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Conflict)]
pub enum Refusal {
    /// The trigger is no longer in the catalog.
    #[error("there is no trigger `{0}`")]
    #[explain(slug = "trigger-not-found", fault = Invalid,
        hint = "list the triggers with `ensue triggers list`; a trigger's ref is `<pack>.<name>`")]
    NoTrigger(TriggerRef),
    /// The payload does not fit the trigger's schema.
    #[error("the payload does not fit the trigger `{trigger}`: {misfits}")]
    #[explain(slug = "payload-invalid", fault = Invalid, hint = "compare it with the payload that `{trigger}` declares")]
    PayloadMisfit {
        /// The trigger.
        trigger: TriggerRef,
        /// The errors.
        misfits: String,
    },
    /// The payload has no newest form.
    #[error(transparent)]
    #[explain(transparent)]
    NoNewest(#[from] NoNewest),
    /// Another event was accepted under the same key.
    #[error("the dedupe key was already used {} for another event; a key identifies a single event", place(*position))]
    #[explain(slug = "dedupe-key-reused", hint = "give this event its own key, or send the first event again unchanged")]
    KeyReused {
        /// The position of that event; 0 if it is an event of the same command.
        position: Position,
    },
    /// Another request was carried out under the same key.
    #[error(
        "this `Idempotency-Key` was already used for another request, which was answered at position {position}; a key identifies a single request"
    )]
    #[explain(slug = "idempotency-key-reused", fault = Invalid,
        hint = "create a new key for each operation, and reuse it only to send the same request again")]
    RequestDiffers {
        /// The position of that request.
        position: Position,
    },
    /// The action is no longer in the catalog.
    #[error("there is no action `{0}`")]
    #[explain(slug = "not-found", fault = Missing, hint = "list the actions with `ensue actions list`; an action's ref is `<pack>.<name>`")]
    NoAction(ActionRef),
    /// The parameters do not fit the action's schema.
    #[error("the parameters do not fit the action `{action}`: {misfits}")]
    #[explain(slug = "parameters-invalid", fault = Invalid, hint = "compare them with the parameters that `{action}` declares")]
    ParametersMisfit {
        /// The action.
        action: ActionRef,
        /// The errors.
        misfits: String,
    },
    /// The given labels conflict with those of the action.
    #[error("{why}")]
    #[explain(slug = "labels-invalid", fault = Invalid,
        hint = "leave it out; `ensue actions show {action}` shows the labels of the action")]
    LabelsMisfit {
        /// The action.
        action: ActionRef,
        /// The reason.
        why: String,
    },
    /// The execution does not exist, or ended long ago.
    #[error("the execution {0} is not open")]
    #[explain(slug = "execution-not-open", hint = "see how it ended with `ensue executions show {0}`")]
    NotOpen(ExecutionId),
    /// The execution was asked to end, or is undoing its steps.
    #[error("the execution {0} is already ending, so it cannot be paused")]
    #[explain(slug = "execution-ending", hint = "see its state with `ensue executions show {0}`; a second cancel stops its cleanup")]
    IsEnding(ExecutionId),
    /// The execution itself is not paused.
    #[error("the execution {execution} is not paused{}", .by.map_or(String::new(), |by| format!(": it is part of {by}, which is")))]
    #[explain(slug = "execution-not-paused",
        hint = by.map_or_else(|| format!("see its state with `ensue executions show {execution}`"), |by| format!("run `ensue executions resume {by}`")))]
    NotPaused {
        /// The execution.
        execution: ExecutionId,
        /// The paused execution around it, if there is one.
        by: Option<ExecutionId>,
    },
    /// The execution has not ended, so it cannot be rerun yet.
    #[error("the execution {0} has not ended")]
    #[explain(slug = "rerun-refused", hint = "wait until it has ended, or end it first with `ensue executions cancel {0}`")]
    NotEnded(ExecutionId),
    /// The attempt is not running.
    #[error("the attempt {0} is no longer running, so nothing more is accepted from it")]
    #[explain(slug = "attempt-not-running", hint = "have its worker stop it; the execution's timeline shows how it ended")]
    NotRunning(AttemptId),
    /// A chain of programs that request each other is too deep.
    #[error("more than {max} events and requests of programs led to this one, so it may be a loop")]
    #[explain(slug = "chain-too-deep", hint = "see what led to it with `ensue why`; have a person or a schedule begin a new chain")]
    TooDeep {
        /// The limit.
        max: u32,
    },
    /// The attempt has sent too many messages.
    #[error("the attempt {attempt} has already made {max} {what}, which is the limit")]
    #[explain(slug = "too-many-messages", hint = "have the program send fewer messages: bulk data belongs in its output or in a file")]
    TooManyMessages {
        /// The attempt.
        attempt: AttemptId,
        /// The kind of message.
        what: &'static str,
        /// The limit.
        max: u32,
    },
    /// The execution may not emit events of the trigger.
    #[error("{0}")]
    #[explain(slug = "forbidden", fault = Forbidden,
        hint = "add the permission to `permissions` of the pack, or have a caller that has it run the action")]
    EmitNotPermitted(String),
    /// The token of the report is not the token of the attempt.
    #[error("the token {given} is not the current token of attempt {attempt}")]
    #[explain(slug = "fencing-token-old", hint = "have the worker of this attempt stop and send no more reports: the attempt was given up")]
    WrongToken {
        /// The attempt.
        attempt: AttemptId,
        /// The token in the report.
        given: u64,
    },
    /// The execution is not indeterminate.
    #[error("the execution {0} is not indeterminate; only an indeterminate execution can be settled")]
    #[explain(slug = "execution-not-indeterminate", hint = "see its state with `ensue executions show {0}`")]
    NotIndeterminate(ExecutionId),
    /// The inquiry no longer accepts answers.
    #[error("the inquiry {0} is closed: it was answered or cancelled, or it expired")]
    #[explain(slug = "inquiry-closed", hint = "see how it was closed with `ensue inquiries show {0}`")]
    InquiryClosed(InquiryId),
    /// The inquiry asks somebody else.
    #[error("`{name}` is not an assignee of the inquiry {inquiry}")]
    #[explain(slug = "inquiry-not-asked", fault = Forbidden, hint = "see its assignees with `ensue inquiries show {inquiry}`")]
    NotAsked {
        /// The inquiry.
        inquiry: InquiryId,
        /// The name of the person who answered.
        name: String,
    },
    /// The person who answered is excluded.
    #[error("`{name}` may not answer the inquiry {inquiry}: the inquiry excludes this name or the requester of the work")]
    #[explain(slug = "inquiry-not-asked", fault = Forbidden, hint = "have another assignee answer")]
    MayNotAnswer {
        /// The inquiry.
        inquiry: InquiryId,
        /// The name of that person.
        name: String,
    },
    /// The same person has answered already.
    #[error("you already answered the inquiry {inquiry} at {at}; each person can answer once")]
    #[explain(slug = "inquiry-answered-before", hint = "see the answers with `ensue inquiries show {inquiry}`")]
    AnsweredBefore {
        /// The inquiry.
        inquiry: InquiryId,
        /// The time of that answer.
        at: Timestamp,
    },
    /// The answer does not name the digest of the question, which the inquiry requires.
    #[error("the inquiry {inquiry} requires the digest of the question with each answer; its digest is {digest}")]
    #[explain(
        slug = "digest-required",
        hint = "read the question with `GET /api/v1/inquiries/{inquiry}`, and send its `digest` with `answer`; `ensue inquiries respond` does this for you"
    )]
    DigestMissing {
        /// The inquiry.
        inquiry: InquiryId,
        /// The digest of the question.
        digest: Digest,
    },
    /// The digest in the answer is not that of the question.
    #[error("the answer is for another question than the one that the inquiry {inquiry} asks; its digest is {digest}")]
    #[explain(slug = "approval-stale", hint = "read the current question with `ensue inquiries show {inquiry}`, and answer that")]
    ApprovalStale {
        /// The inquiry.
        inquiry: InquiryId,
        /// The digest of the question.
        digest: Digest,
    },
    /// The answer is not valid for a question of the engine itself.
    #[error("the answer does not fit the question of the inquiry {inquiry}: {misfit}")]
    #[explain(slug = "answer-invalid", fault = Invalid, hint = "see the fields with `ensue inquiries show {inquiry}`")]
    AnswerMisfit {
        /// The inquiry.
        inquiry: InquiryId,
        /// Where, and why.
        misfit: String,
    },
    /// The inquiry's `veto` condition failed for this answer.
    #[error("the `veto` of the inquiry {inquiry} fails on this answer: {why}")]
    #[explain(slug = "answer-invalid", fault = Invalid, hint = "have the author of the workflow fix the expression in `veto`")]
    VetoErred {
        /// The inquiry.
        inquiry: InquiryId,
        /// The error.
        why: String,
    },
    /// The catalog has changed since.
    #[error("the catalog is at revision {now}, but the change was made for revision {base}")]
    #[explain(slug = "catalog-moved", hint = "check what is installed now, and try again")]
    CatalogMoved {
        /// The current revision.
        now: CatalogRevision,
        /// The revision that the change is based on.
        base: CatalogRevision,
    },
    /// The catalog of a revision is not built.
    #[error("the catalog of revision {0} is not built")]
    #[explain(slug = "catalog-moved", hint = "check what is installed now, and try again")]
    NoCatalog(CatalogRevision),
    /// A pack is not installed.
    #[error("there is no pack `{0}`")]
    #[explain(slug = "not-found", fault = Missing,
        hint = "run `ensue packs list` to see which packs are installed and which were rejected")]
    NoPack(PackName),
    /// A rule is not in the catalog.
    #[error("there is no rule `{0}`")]
    #[explain(slug = "not-found", fault = Missing, hint = "list the rules with `ensue rules list`; a rule's ref is `<pack>.<name>`")]
    NoRule(RuleRef),
    /// The key already has a newer version.
    #[error("key `{key}` is already at version {now}, but version {given} was given; set it again")]
    #[explain(slug = "key-version-old", hint = "set it again with `ensue keys set {key}`")]
    KeyVersion {
        /// The key.
        key: KeyRef,
        /// The current version.
        now: u32,
        /// The version in the command.
        given: u32,
    },
    /// The key is not set.
    #[error("key `{0}` is not set")]
    #[explain(slug = "not-found", fault = Missing, hint = "list the keys that are set with `ensue keys list`")]
    NoKey(KeyRef),
    /// The value of a version of the key is not stored.
    #[error("version {version} of key `{key}` is not stored; only the current version is, and the one before it during an overlap")]
    #[explain(slug = "not-found", fault = Missing, hint = "list the versions with `ensue keys versions {key}`")]
    NoKeyVersion {
        /// The key.
        key: KeyRef,
        /// The version in the command.
        version: u32,
    },
    /// The value before a rotation would be accepted for too long.
    #[error("the overlap of a rotation is at most 30 days; nothing was changed in `{key}`")]
    #[explain(slug = "key-lifetime-invalid", fault = Invalid, hint = "use a shorter overlap, for example 24h")]
    OverlapTooLong {
        /// The key.
        key: KeyRef,
    },
    /// The value would have expired already.
    #[error("the expiry {expires_at} is in the past; nothing was changed in `{key}`")]
    #[explain(slug = "key-lifetime-invalid", fault = Invalid, hint = "use a time in the future, or leave it out")]
    KeyExpired {
        /// The key.
        key: KeyRef,
        /// The expiry in the command.
        expires_at: Timestamp,
    },
    /// The var has no value.
    #[error("there is no var `{0}`")]
    #[explain(slug = "not-found", fault = Missing, hint = "list the vars with `ensue vars list`")]
    NoVar(VarName),
    /// The var was changed meanwhile.
    #[error("var `{0}` has changed since this update was prepared")]
    #[explain(slug = "precondition-failed", hint = "check its value with `ensue vars show {0}`, and set it again")]
    VarChanged(VarName),
    /// The maximum number of vars is reached.
    #[error("var `{name}` cannot be created: {max} vars have a value, which is the limit")]
    #[explain(
        slug = "too-many-vars",
        hint = "remove vars that are no longer read with `ensue vars unset`; large numbers of values belong in a store that actions read"
    )]
    TooManyVars {
        /// The var.
        name: VarName,
        /// The limit.
        max: usize,
    },
    /// The token name is taken.
    #[error("a token named `{0}` already exists; revoke it first or choose another name")]
    #[explain(slug = "token-name-taken", hint = "revoke the old one with `ensue tokens revoke {0}`")]
    TokenNameTaken(String),
    /// The token does not exist.
    #[error("there is no token named `{0}`")]
    #[explain(slug = "not-found", fault = Missing, hint = "list the tokens with `ensue tokens list`")]
    NoToken(String),
    /// This would remove the last token that can create others.
    #[error("`{0}` is the last administrator whose token never expires")]
    #[explain(slug = "last-admin", hint = "add another one first: run `ensue tokens add <name> --role admin`")]
    LastAdmin(String),
    /// The identity does not exist.
    #[error("the identity `{0}` does not exist")]
    #[explain(slug = "not-found", fault = Missing, hint = "list the identities with `ensue identities list`")]
    NoIdentity(String),
    /// The issuer is linked to the identity already.
    #[error("the issuer `{issuer}` is already linked to this identity")]
    #[explain(slug = "name-taken", hint = "unlink it first: `ensue identities unlink <name> --issuer {issuer}`")]
    LinkedBefore {
        /// The issuer.
        issuer: IssuerName,
    },
    /// The issuer is not linked to the identity.
    #[error("the issuer `{issuer}` is not linked to this identity")]
    #[explain(slug = "not-found", fault = Missing, hint = "`ensue identities show <name>` lists its issuers")]
    NotLinked {
        /// The issuer.
        issuer: IssuerName,
    },
    /// The role does not exist.
    #[error("there is no role `{0}`")]
    #[explain(slug = "not-found", fault = Missing, hint = "list the roles with `ensue roles list`")]
    NoRole(RoleName),
    /// The grant does not exist.
    #[error("there is no grant `{0}`")]
    #[explain(slug = "not-found", fault = Missing, hint = "list the grants with `ensue grants list`")]
    NoGrant(GrantId),
    /// The role is built in.
    #[error("the role `{0}` is built in, so it cannot be changed or removed")]
    #[explain(slug = "role-in-use", hint = "choose another name; `ensue roles list` shows the built-in roles")]
    RoleBuiltIn(RoleName),
    /// The settings of the node declare the role.
    #[error("the role `{0}` is declared in `access.roles` of `ensue.yaml`, so it is changed and removed only there")]
    #[explain(slug = "role-in-use", hint = "change the file, and restart the node")]
    RoleDeclared(RoleName),
    /// Somebody has the role.
    #[error("the role `{role}` is in use by {grants} grants and {tokens} tokens")]
    #[explain(slug = "role-in-use", hint = "remove the grants that `ensue grants list --role {role}` shows, and revoke the tokens, first")]
    RoleInUse {
        /// The role.
        role: RoleName,
        /// The number of grants of it.
        grants: usize,
        /// The number of tokens with it.
        tokens: usize,
    },
    /// No permission of the role can be limited.
    #[error("the role `{0}` has no permission that can be limited, so a limited grant of it would allow nothing")]
    #[explain(slug = "limit-invalid", fault = Invalid, hint = "grant it without a limit, or grant a role with a limitable permission, such as `author`")]
    RoleNotLimitable(RoleName),
    /// The caller would pass on more than it may do itself.
    #[error("this would pass on `{0}`, which you may not do yourself")]
    #[explain(slug = "beyond-own-rights", fault = Forbidden, hint = "ask somebody who may do it, or leave it out; `ensue whoami` shows what you may do")]
    BeyondOwnRights(String),
    /// The identity is a service.
    #[error("the identity is a service, and only persons have passwords and authenticator apps")]
    #[explain(slug = "person-required", hint = "give a service a token: `ensue tokens add <name> --identity <service>`")]
    NotAPerson(IdentityId),
    /// The inquiry cannot be delegated so.
    #[error("the inquiry {inquiry} cannot be delegated: {why}")]
    #[explain(slug = "delegation-refused", hint = "name another deputy; `ensue inquiries show {inquiry}` shows who may not answer")]
    DelegationRefused {
        /// The inquiry.
        inquiry: InquiryId,
        /// The reason.
        why: &'static str,
    },
    /// The absence makes no sense.
    #[error("this absence is not possible: {0}")]
    #[explain(slug = "absence-invalid", fault = Invalid, hint = "name another identity as the deputy, and an end that is after the begin and not in the past")]
    AbsenceInvalid(&'static str),
    /// The credential was revoked or has expired.
    #[error("the credential was revoked or has expired")]
    #[explain(slug = "token-invalid", fault = Unauthenticated, hint = "log in again, or ask an administrator for a new token")]
    CredentialGone,
    /// A table is full.
    #[error("there are already {max} {what}, which is the limit")]
    #[explain(slug = "limit-reached", hint = "remove those that nobody needs")]
    LimitReached {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The run of a sensor is over: there is a newer one, or the sensor was disabled or removed.
    #[error("run {run} of the sensor {sensor} is over")]
    #[explain(slug = "sensor-run-over", hint = "read again with a new run, from the cursor in the log")]
    StaleRun {
        /// The sensor.
        sensor: SensorId,
        /// The run.
        run: u64,
    },
    /// The sensor was read to another cursor than the batch continues from.
    #[error("the cursor of the sensor `{sensor}` has moved since the batch was read")]
    #[explain(slug = "sensor-cursor-moved", hint = "read again from the cursor in the log")]
    CursorMoved {
        /// The sensor.
        sensor: SensorRef,
    },
    /// The sensor does not read a source of its own accord, so it has no runs and no cursor.
    #[error("the sensor `{0}` does not pull: it has no runs, no mode and no cursor")]
    #[explain(slug = "sensor-does-not-pull", fault = Invalid,
        hint = "only sensors with a source such as `process`, `poll` or `file` pull; see its source with `ensue sensors show {0}`")]
    SensorDoesNotPull(SensorRef),
    /// The dead letter is not open: it was handled, or there are too many newer ones.
    #[error("the dead letter {0} is not open")]
    #[explain(
        slug = "dead-letter-not-open",
        hint = "it was already retried or dismissed (`ensue dead-letters show {0}`), or it is older than the newest {OPEN_DEAD_LETTERS_MAX} open dead letters"
    )]
    DeadLetterNotOpen(Id),
    /// A pulling sensor has too many open dead letters.
    #[error(
        "the sensor `{sensor}` has {open} open dead letters; the limit is {SENSOR_DEAD_LETTERS_MAX}, so further refused messages are only counted"
    )]
    #[explain(
        slug = "too-many-dead-letters",
        hint = "correct what makes them, then retry or dismiss them: `ensue dead-letters list --sensor {sensor}`"
    )]
    TooManyDeadLetters {
        /// The sensor.
        sensor: SensorRef,
        /// The number of its open dead letters.
        open: u64,
    },
    /// No reaction of that record is parked.
    #[error("no reaction of the record at position {0} is parked")]
    #[explain(slug = "not-found", fault = Missing, hint = "it was already retried or dismissed, or it was never parked")]
    NotParked(Position),
    /// The request would exceed a limit of the tier of its caller.
    #[error("{0}")]
    #[explain(transparent)]
    QuotaExceeded(#[source] QuotaExceeded),
    /// Too much work is open.
    #[error("{open} executions are open, and the limit is {max}: try again later")]
    #[explain(slug = "too-much-open", fault = Busy,
        hint = "wait until work has ended, or find out what is blocking it with `ensue executions list --status running`")]
    TooMuchOpen {
        /// The number of open items of work.
        open: u64,
        /// The limit.
        max: u64,
    },
    /// The data to record is too large.
    #[error("{0}")]
    #[explain(slug = "too-large-to-record", fault = TooLarge,
        hint = "send less; large data belongs in a file or a store that the action reads")]
    TooLarge(String),
    /// An internal error stopped the command; nothing was changed.
    #[error("an internal error stopped the command; nothing was changed")]
    #[explain(slug = "internal-error", fault = Bug)]
    Bug(String),
    /// The store rejected the records of the command; nothing was changed.
    #[error("the store refused the command's records: {0}")]
    #[explain(slug = "internal-error", fault = Bug)]
    Unstorable(String),
}

fn place(position: Position) -> String {
    if position == Position::default() { "in the same request".to_owned() } else { format!("at position {position}") }
}
