//! The permissions of callers, each with its own type.
//!
//! Each route's declaration names the permission that it requires. The core defines which roles include it.

use ensue_engine::access::permission::{self, BuiltInRole};

/// The permission that a route requires of its caller: a type, so that the requirement is part of the
/// handler's signature.
pub trait Permission: Send + Sync + 'static {
    /// The permission, as the core knows it.
    const IS: permission::Permission;
    /// The kind of resource.
    const NOUN: &'static str;
    /// The operation on it.
    const VERB: &'static str;
    /// Both: `<noun>:<verb>`.
    const NAME: &'static str;
    /// The name of one such resource, for the error if it is missing.
    const THING: &'static str;
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $type:ident = $noun:literal : $verb:literal, $thing:literal;)*) => {
        $(
            $(#[$doc])*
            pub struct $type;

            impl Permission for $type {
                const IS: permission::Permission = permission::Permission::$type;
                const NOUN: &'static str = $noun;
                const VERB: &'static str = $verb;
                const NAME: &'static str = concat!($noun, ":", $verb);
                const THING: &'static str = $thing;
            }

            const _: () = assert!(is_same($type::NAME, $type::IS.name()), "the core has another name for this permission");
        )*
    };
}

permissions! {
    /// See the contents of installed packs.
    PacksRead = "packs":"read", "pack";
    /// See actions.
    ActionsRead = "actions":"read", "action";
    /// Run an action by hand.
    ActionsExecute = "actions":"execute", "action";
    /// See triggers.
    TriggersRead = "triggers":"read", "trigger";
    /// See sensors.
    SensorsRead = "sensors":"read", "sensor";
    /// See rules.
    RulesRead = "rules":"read", "rule";
    /// Enable, disable and shadow rules.
    RulesWrite = "rules":"write", "rule";
    /// See webhooks and their last deliveries.
    HooksRead = "hooks":"read", "hook";
    /// Have the node sign a delivery and send it to itself.
    HooksSend = "hooks":"send", "hook";
    /// See events.
    EventsRead = "events":"read", "event";
    /// Send events.
    EventsWrite = "events":"write", "event";
    /// See enforcements.
    EnforcementsRead = "enforcements":"read", "enforcement";
    /// See executions and their output.
    ExecutionsRead = "executions":"read", "execution";
    /// See and save the artifacts of executions.
    ArtifactsRead = "artifacts":"read", "artifact";
    /// Cancel executions.
    ExecutionsCancel = "executions":"cancel", "execution";
    /// Pause and resume executions.
    ExecutionsPause = "executions":"pause", "execution";
    /// Rerun executions that have ended.
    ExecutionsRerun = "executions":"rerun", "execution";
    /// Settle indeterminate executions.
    ExecutionsSettle = "executions":"settle", "execution";
    /// Replay recorded executions.
    ReplaysRun = "replays":"run", "execution";
    /// Try rules over recorded events.
    BacktestsRun = "backtests":"run", "rule";
    /// See inquiries.
    InquiriesRead = "inquiries":"read", "inquiry";
    /// Answer inquiries to one's own roles.
    InquiriesAnswer = "inquiries":"answer", "inquiry";
    /// Cancel inquiries.
    InquiriesCancel = "inquiries":"cancel", "inquiry";
    /// See timers of schedules.
    TimersRead = "timers":"read", "timer";
    /// Accept the clock after it stepped far forward.
    ClockAccept = "clock":"accept", "step of the clock";
    /// See who holds locks, and who waits for them.
    LocksRead = "locks":"read", "lock";
    /// See which executions have the workers of each queue, and which wait for one.
    QueuesRead = "queues":"read", "queue";
    /// See the causal tree of an event, enforcement or execution.
    TracesRead = "traces":"read", "event, enforcement or execution";
    /// Read the log's records.
    LogRead = "log":"read", "record";
    /// Check the log's chain.
    LogVerify = "log":"verify", "record";
    /// See the status of the read models.
    ViewsRead = "views":"read", "view";
    /// Rebuild the read models.
    ViewsRebuild = "views":"rebuild", "view";
    /// See which keys are set, never their values.
    KeysRead = "keys":"read", "key";
    /// Set and remove keys.
    KeysWrite = "keys":"write", "key";
    /// See vars and their values.
    VarsRead = "vars":"read", "var";
    /// Set and remove vars.
    VarsWrite = "vars":"write", "var";
    /// See tokens, never their secrets.
    TokensRead = "tokens":"read", "token";
    /// Create and revoke tokens.
    TokensWrite = "tokens":"write", "token";
    /// See parked reactions.
    ParkedReactionsRead = "parked_reactions":"read", "parked reaction";
    /// Retry and dismiss parked reactions.
    ParkedReactionsSettle = "parked_reactions":"settle", "parked reaction";
    /// See authenticated deliveries that were rejected, and executions that failed permanently.
    DeadLettersRead = "dead_letters":"read", "dead letter";
    /// Retry and dismiss dead letters.
    DeadLettersSettle = "dead_letters":"settle", "dead letter";
    /// Read the node's metrics.
    MetricsRead = "metrics":"read", "metric";
    /// See the node's status, activity and problems.
    NodeRead = "node":"read", "node";
}

/// How far a permission reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// To the resources that its holder is asked about.
    WhatIsAsked,
    /// To all resources of the kind.
    All,
}

/// Returns how far these roles together reach with a permission; `None` if no role includes it.
///
/// A role that is not built in lets its holders answer the inquiries that name it, and nothing else.
pub(crate) fn reach(roles: &[String], permission: permission::Permission) -> Option<Reach> {
    let of_role = |role: &String| match BuiltInRole::named(role) {
        Some(role) => role.may(permission).then_some(Reach::All),
        // A role that answers an inquiry must be able to read it.
        None => {
            let is_asked = matches!(permission, permission::Permission::InquiriesAnswer | permission::Permission::InquiriesRead);
            is_asked.then_some(Reach::WhatIsAsked)
        }
    };
    roles.iter().filter_map(of_role).max()
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

#[cfg(test)]
mod tests {
    use ensue_engine::access::permission::Permission;

    use super::*;

    fn roles(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn custom_role_reaches_its_own_inquiries_unless_another_reaches_all() {
        let reach = |names: &[&str], permission| reach(&roles(names), permission);
        assert_eq!(reach(&["release_managers"], Permission::InquiriesRead), Some(Reach::WhatIsAsked));
        assert_eq!(reach(&["release_managers"], Permission::InquiriesAnswer), Some(Reach::WhatIsAsked));
        assert_eq!(reach(&["release_managers"], Permission::InquiriesCancel), None);
        assert_eq!(reach(&["release_managers", "viewer"], Permission::InquiriesRead), Some(Reach::All));
        assert_eq!((reach(&["viewer"], Permission::InquiriesAnswer), reach(&["author"], Permission::InquiriesAnswer)), (None, None));
        assert_eq!(reach(&["operator"], Permission::InquiriesAnswer), Some(Reach::All));
    }

    #[test]
    fn custom_role_reaches_only_inquiries() {
        for permission in Permission::ALL.iter().filter(|permission| permission.noun() != "inquiries") {
            assert_eq!(reach(&roles(&["release_managers", "Admin", ""]), *permission), None, "{permission:?}");
        }
        assert_eq!(reach(&[], Permission::EventsRead), None);
    }
}
