//! The permissions of callers, each with its own type.
//!
//! Each route's declaration names the permission that it requires. The core defines which roles include it.

use ensue_engine::access::permission::{self, BuiltInRole};

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
    /// See rules.
    RulesRead, "rule";
    /// Enable, disable and shadow rules.
    RulesWrite, "rule";
    /// See webhooks and their last deliveries.
    HooksRead, "hook";
    /// Have the node sign a delivery and send it to itself.
    HooksSend, "hook";
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
    /// See vars and their values.
    VarsRead, "var";
    /// Set and remove vars.
    VarsWrite, "var";
    /// See tokens, never their secrets.
    TokensRead, "token";
    /// Create and revoke tokens.
    TokensWrite, "token";
    /// See parked reactions.
    ParkedReactionsRead, "parked reaction";
    /// Retry and dismiss parked reactions.
    ParkedReactionsSettle, "parked reaction";
    /// See authenticated deliveries that were rejected, and executions that failed permanently.
    DeadLettersRead, "dead letter";
    /// Retry and dismiss dead letters.
    DeadLettersSettle, "dead letter";
    /// Read the node's metrics.
    MetricsRead, "metric";
    /// See the node's status, activity and problems.
    NodeRead, "node";
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
