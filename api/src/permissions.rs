//! The permissions of callers, each with its own type, and the roles that include them.
//!
//! Each route's declaration names the permission that it requires.

/// The permission that a route requires of its caller: a type, so that the requirement is part of the
/// handler's signature.
pub trait Permission: Send + Sync + 'static {
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
                const NOUN: &'static str = $noun;
                const VERB: &'static str = $verb;
                const NAME: &'static str = concat!($noun, ":", $verb);
                const THING: &'static str = $thing;
            }
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

/// A role: a named set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// May do everything.
    Admin,
    /// May do everything except reveal keys and create tokens.
    Operator,
    /// May work on packs and rules, send events, and run actions.
    Author,
    /// May see everything except keys and tokens.
    Viewer,
    /// Any other name: its holders may answer the inquiries that name the role, and nothing else.
    Named,
}

/// How far a permission reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// To the resources that its holder is asked about.
    WhatIsAsked,
    /// To all resources of the kind.
    All,
}

impl Role {
    /// Every role with its name; [`Role::Named`] with an example.
    pub const ALL: [(&'static str, Role); 5] = [
        ("admin", Role::Admin),
        ("operator", Role::Operator),
        ("author", Role::Author),
        ("viewer", Role::Viewer),
        ("release_managers", Role::Named),
    ];

    /// Returns the role of a name.
    pub fn of(name: &str) -> Self {
        match name {
            "admin" => Self::Admin,
            "operator" => Self::Operator,
            "author" => Self::Author,
            "viewer" => Self::Viewer,
            _ => Self::Named,
        }
    }

    /// Returns how far the role reaches with the permission `<noun>:<verb>`; `None` if it does not include
    /// it.
    pub fn reach(self, noun: &str, verb: &str) -> Option<Reach> {
        let all = |is_granted: bool| is_granted.then_some(Reach::All);
        match self {
            Self::Admin => all(true),
            Self::Operator => all(!matches!((noun, verb), ("keys", "reveal") | ("tokens", "write"))),
            Self::Author => Self::Viewer.reach(noun, verb).or(all(AUTHORED.contains(&noun))),
            Self::Viewer => all(verb == "read" && !matches!(noun, "keys" | "tokens")),
            // A role that answers an inquiry must be able to read it.
            Self::Named => matches!((noun, verb), ("inquiries", "answer" | "read")).then_some(Reach::WhatIsAsked),
        }
    }
}

/// The resources that authors work on.
const AUTHORED: &[&str] = &["packs", "actions", "triggers", "sensors", "rules", "hooks", "events", "executions", "replays", "backtests"];

/// Returns how far these roles together reach with the permission `<noun>:<verb>`; `None` if no role includes
/// it.
pub(crate) fn reach(roles: &[String], noun: &str, verb: &str) -> Option<Reach> {
    roles.iter().filter_map(|role| Role::of(role).reach(noun, verb)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_of_a_role_carries_its_permissions() {
        for trick in ["Admin", "admin ", "ADMIN", "аdmin", "admin\u{200b}", ""] {
            assert_eq!(Role::of(trick), Role::Named, "{trick:?}");
        }
    }

    #[test]
    fn operator_cannot_create_tokens_and_viewer_sees_no_keys_or_tokens() {
        assert_eq!(Role::Operator.reach("tokens", "write"), None);
        assert_eq!(Role::Operator.reach("keys", "write"), Some(Reach::All));
        assert_eq!(Role::Viewer.reach("keys", "read"), None);
        assert_eq!((Role::Viewer.reach("tokens", "read"), Role::Author.reach("tokens", "read")), (None, None));
        assert_eq!(Role::Operator.reach("tokens", "read"), Some(Reach::All));
        assert_eq!(Role::Author.reach("keys", "read"), None);
        assert_eq!(Role::Named.reach("events", "read"), None);
        for noun in ["replays", "backtests"] {
            assert_eq!(Role::Viewer.reach(noun, "run"), None);
            assert_eq!(Role::Named.reach(noun, "run"), None);
            assert!([Role::Author, Role::Operator, Role::Admin].into_iter().all(|role| role.reach(noun, "run") == Some(Reach::All)));
        }
    }

    #[test]
    fn custom_role_reaches_its_own_inquiries_unless_another_reaches_all() {
        let reach = |roles: &[&str], verb| reach(&roles.iter().map(ToString::to_string).collect::<Vec<_>>(), "inquiries", verb);
        assert_eq!(reach(&["release_managers"], "read"), Some(Reach::WhatIsAsked));
        assert_eq!(reach(&["release_managers"], "answer"), Some(Reach::WhatIsAsked));
        assert_eq!(reach(&["release_managers"], "cancel"), None);
        assert_eq!(reach(&["release_managers", "viewer"], "read"), Some(Reach::All));
        assert_eq!((reach(&["viewer"], "answer"), reach(&["author"], "answer")), (None, None));
        assert_eq!((reach(&["operator"], "answer"), reach(&["operator"], "cancel")), (Some(Reach::All), Some(Reach::All)));
    }
}
