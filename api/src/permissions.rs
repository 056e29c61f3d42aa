//! The permissions of callers, each with its own type.
//!
//! Each route's declaration names the permission that it requires. The core defines which roles include it.

use ensue_engine::access::permission;

/// The permission that a route requires of its caller: a type, so that the requirement is part of the
/// handler's signature.
pub trait Permission: Send + Sync + 'static {
    /// The permission, as the core knows it.
    const IS: permission::Permission;
    /// The name of one such resource, for the error if it is missing.
    const THING: &'static str;
    /// The kind of resource.
    const NOUN: &'static str = Self::IS.noun();
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $type:ident, $thing:literal;)*) => {
        $(
            $(#[$doc])*
            pub struct $type;

            impl Permission for $type {
                const IS: permission::Permission = permission::Permission::$type;
                const THING: &'static str = $thing;
            }
        )*
    };
}

permissions! {
    /// See the contents of installed packs.
    PacksRead, "pack";
    /// See actions.
    ActionsRead, "action";
    /// Run an action by hand.
    ActionsExecute, "action";
    /// See triggers.
    TriggersRead, "trigger";
    /// See sensors.
    SensorsRead, "sensor";
    /// Enable, disable, restart and rewind pulling sensors.
    SensorsWrite, "sensor";
    /// See rules.
    RulesRead, "rule";
    /// Enable, disable and shadow rules.
    RulesWrite, "rule";
    /// See webhooks and their last deliveries.
    HooksRead, "hook";
    /// Have the node sign a delivery and send it to itself, and confirm subscriptions.
    HooksSend, "hook";
    /// See the bodies of deliveries as they arrive.
    HooksListen, "hook";
    /// See events.
    EventsRead, "event";
    /// Send events.
    EventsWrite, "event";
    /// See enforcements.
    EnforcementsRead, "enforcement";
    /// See executions and their output.
    ExecutionsRead, "execution";
    /// See and save the artifacts of executions.
    ArtifactsRead, "artifact";
    /// Cancel executions.
    ExecutionsCancel, "execution";
    /// Pause and resume executions.
    ExecutionsPause, "execution";
    /// Rerun executions that have ended.
    ExecutionsRerun, "execution";
    /// Settle indeterminate executions.
    ExecutionsSettle, "execution";
    /// Replay recorded executions.
    ReplaysRun, "execution";
    /// Try rules over recorded events.
    BacktestsRun, "rule";
    /// See inquiries.
    InquiriesRead, "inquiry";
    /// Answer inquiries to one's own roles.
    InquiriesAnswer, "inquiry";
    /// Cancel inquiries.
    InquiriesCancel, "inquiry";
    /// Let others answer inquiries that one is asked.
    InquiriesDelegate, "inquiry";
    /// Create links with which others answer.
    InquiriesLink, "inquiry";
    /// See timers of schedules.
    TimersRead, "timer";
    /// Accept the clock after it stepped far forward.
    ClockAccept, "step of the clock";
    /// See who holds locks, and who waits for them.
    LocksRead, "lock";
    /// See which executions have the workers of each queue, and which wait for one.
    QueuesRead, "queue";
    /// See the causal tree of an event, enforcement or execution.
    TracesRead, "event, enforcement or execution";
    /// Read the log's records.
    LogRead, "record";
    /// Check the log's chain.
    LogVerify, "record";
    /// See the status of the read models.
    ViewsRead, "view";
    /// Rebuild the read models.
    ViewsRebuild, "view";
    /// See which keys are set, never their values.
    KeysRead, "key";
    /// Set and remove keys.
    KeysWrite, "key";
    /// Replace the values of keys.
    KeysRotate, "key";
    /// See the values of keys.
    KeysReveal, "key";
    /// Replace the master key of the vault.
    MasterKeyRotate, "master key";
    /// See vars and their values.
    VarsRead, "var";
    /// Set and remove vars.
    VarsWrite, "var";
    /// See tokens, never their secrets.
    TokensRead, "token";
    /// Create and revoke tokens.
    TokensWrite, "token";
    /// See identities and their groups.
    IdentitiesRead, "identity";
    /// Create, change and erase identities.
    IdentitiesWrite, "identity";
    /// See the roles.
    GrantsRead, "grant";
    /// Grant roles.
    GrantsWrite, "grant";
    /// See roles and their permissions.
    RolesRead, "role";
    /// Set and remove roles.
    RolesWrite, "role";
    /// See who did what.
    AuditRead, "record";
    /// See what identities use.
    UsageRead, "identity";
    /// See parked reactions.
    ParkedReactionsRead, "parked reaction";
    /// Retry and dismiss parked reactions.
    ParkedReactionsSettle, "parked reaction";
    /// See authenticated deliveries that were rejected, and executions that failed permanently.
    DeadLettersRead, "dead letter";
    /// Retry and dismiss dead letters.
    DeadLettersSettle, "dead letter";
    /// See connections and their states.
    ConnectionsRead, "connection";
    /// Test connections.
    ConnectionsTest, "connection";
    /// Read the node's metrics.
    MetricsRead, "metric";
    /// See the node's status, activity and problems.
    NodeRead, "node";
    /// See the settings of the node, without their secrets.
    SettingsRead, "setting";
}
