//! The catalog: the definitions of packs, actions, triggers, sensors and rules, built once for each revision
//! and never changed.
//!
//! `ensue-packs` reads the YAML and compiles it into the types of this module. The state holds only names and
//! digests of them.

mod action;
mod built_catalog;
mod concurrency;
mod connection;
pub mod decide;
mod definitions;
pub mod facts;
mod flow;
mod http;
mod labels;
mod mail;
mod policies;
mod retry;
mod rule;
mod schema;
mod sensor;
pub mod state;
mod verify;
mod versions;
mod webhook;
mod workflow;

pub use built_catalog::{Catalog, Catalogs};
pub use definitions::{DefinitionRef, Definitions, FileLocation, Pack, Trigger, allow_key};

pub use action::{Action, Builtin, ProcessCommand, RAW_FIELDS, Run, RunAs, ShellScript};
pub use concurrency::{CONCURRENCY_LIMIT_MAX, Concurrency};
pub use connection::{ConnectionKind, UsedConnection};
pub use flow::{Acts, Does, Excess, Flow, Stage, THROTTLE_LIMIT_MAX, WINDOW_COUNT_MAX};
pub use http::{AnswerForm, HttpBody, HttpRequest, RequestSigning, Route, SigningScheme, WithoutConnection};
pub use labels::label_value;
pub use mail::{MailMessage, MailRelay, MailSecurity, MailServer};
pub use policies::{Control, ItemFailure, LockConflict, Misfire, Mode, OnFailure, OnLost};
pub use retry::{Backoff, DELAY_DEFAULT, DELAY_MAX_DEFAULT, FAILURES_MAX, Jitter, RETRY_AFTER_MAX, Retry, RetryAfter};
pub use rule::Rule;
pub use schema::{CONNECTION, Extra, Field, Fields, JsonSchema, MISFITS_MAX, Misfit, ORDER, Presence, Schema, Type};
pub use sensor::{
    AfterFile, Decode, Emit, EmitKey, FILES_MAX, FileChange, FileContent, FileSource, FileStart, FirstPoll, OnPoison, PAGES_MAX,
    POISON_MAX, POLL_ITEMS_MAX, PoisonLimit, PollCursor, PollMemory, PollSource, PollTarget, PollTimes, PolledAction, ProcessSource,
    REMEMBER_MAX, REMEMBER_MIN, Reading, Repeats, Restart, Sensor, Source,
};
pub use verify::{
    CREDENTIAL_HEADERS, HmacAlgorithm, HmacVerify, JwtVerify, KEY_BYTES_MIN, MtlsVerify, Scheme, SenderAuthority, SignatureEncoding,
    SignatureList, SignatureTime, SignedPart, SnsVerify, SnsVersion1, TOLERANCE_SECONDS, TimePlace, TimeUnit, VOUCHED_MAX, Verify,
};
pub use versions::{AcceptedPayload, NoNewest, NotAccepted, UPCAST_STEPS_MAX};
pub use webhook::{
    BodyForm, CONTENT_TYPES_MAX, DELIVERY_BYTES_DEFAULT, DELIVERY_BYTES_MAX, EarlyReply, HookMethod, HookRate, Invalid, KEPT_HEADERS_MAX,
    NETWORKS_MAX, PATH_PARTS_MAX, PathPart, REPLIES_MAX, REPLY_BYTES_MAX, REPLY_WAIT_MILLIS_MAX, Reply, ReplyProof, TextDecoding,
    UNPROVEN_REPLY_BYTES_MAX, WaitingReply, Webhook,
};
pub use workflow::{
    ALWAYS, CancelWhen, ENOUGH_OF_MAX, Enough, FAILED, FailAt, ForEach, INQUIRY, ITEMS_MAX, ITEMS_OPEN_MAX, Notify, OnExpire,
    PARALLEL_DEFAULT, Period, Repeat, Rest, STEPS_MAX, SUCCEEDED, Since, StartsIf, Step, TURNS_MAX, Task, Undo, WAIT, Wait, WhenCancelled,
    WhenFailing, Workflow, WorkflowError, WorkflowInput,
};
pub(crate) use workflow::{TemplateSet, Watch};
