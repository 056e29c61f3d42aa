//! What callers may do: each permission a type of its own, and the roles that carry them.
//!
//! It does not know which route demands what: that stands in each route's declaration.

/// What a route demands of its caller: a type, so that the demand is part of the handler's own signature.
pub trait Permission: Send + Sync + 'static {
    /// What it is about.
    const NOUN: &'static str;
    /// What may be done with it.
    const VERB: &'static str;
    /// Both: `<noun>:<verb>`.
    const NAME: &'static str;
    /// What one of them is called, where it is not there.
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
    /// See what is installed in packs.
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
    /// See executions and what they print.
    ExecutionsRead = "executions":"read", "execution";
    /// See and save the files that executions gave away.
    ArtifactsRead = "artifacts":"read", "artifact";
    /// Cancel executions.
    ExecutionsCancel = "executions":"cancel", "execution";
    /// Pause executions, and have them go on.
    ExecutionsPause = "executions":"pause", "execution";
    /// Run executions again that have ended.
    ExecutionsRerun = "executions":"rerun", "execution";
    /// Say what became of indeterminate executions.
    ExecutionsSettle = "executions":"settle", "execution";
    /// Replay recorded executions.
    ReplaysRun = "replays":"run", "execution";
    /// Try rules over recorded events.
    BacktestsRun = "backtests":"run", "rule";
    /// See inquiries.
    InquiriesRead = "inquiries":"read", "inquiry";
    /// Answer the inquiries that one is asked.
    InquiriesAnswer = "inquiries":"answer", "inquiry";
    /// Cancel inquiries.
    InquiriesCancel = "inquiries":"cancel", "inquiry";
    /// See what schedules wait for.
    TimersRead = "timers":"read", "timer";
    /// Say that the clock is right after it stepped far forward.
    ClockAccept = "clock":"accept", "step of the clock";
    /// See who holds locks, and who waits for them.
    LocksRead = "locks":"read", "lock";
    /// See who has the workers of each queue, and who waits for one.
    QueuesRead = "queues":"read", "queue";
    /// See the causal tree around a thing.
    TracesRead = "traces":"read", "event, enforcement or execution";
    /// Read the log's records.
    LogRead = "log":"read", "record";
    /// Check the log's chain.
    LogVerify = "log":"verify", "record";
    /// See how it stands with the read models.
    ViewsRead = "views":"read", "view";
    /// Build the read models anew.
    ViewsRebuild = "views":"rebuild", "view";
    /// See which keys are set; never their values.
    KeysRead = "keys":"read", "key";
    /// Set and remove keys.
    KeysWrite = "keys":"write", "key";
    /// See vars and their values.
    VarsRead = "vars":"read", "var";
    /// Set and remove vars.
    VarsWrite = "vars":"write", "var";
    /// See which tokens there are; never their secrets.
    TokensRead = "tokens":"read", "token";
    /// Make and revoke tokens.
    TokensWrite = "tokens":"write", "token";
    /// See the reactions that were put aside.
    ParkedReactionsRead = "parked_reactions":"read", "parked reaction";
    /// Retry and dismiss reactions that were put aside.
    ParkedReactionsSettle = "parked_reactions":"settle", "parked reaction";
    /// See the deliveries that were refused although their sender was proven, and the executions that failed for good.
    DeadLettersRead = "dead_letters":"read", "dead letter";
    /// Retry and dismiss dead letters.
    DeadLettersSettle = "dead_letters":"settle", "dead letter";
    /// Read the node's metrics.
    MetricsRead = "metrics":"read", "metric";
    /// See what the node is and does, and what is wrong with it.
    NodeRead = "node":"read", "node";
}

/// A role: a name that carries permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// May do everything.
    Admin,
    /// May do everything but reveal keys and make tokens.
    Operator,
    /// May work on packs and rules, send events, and run what there is.
    Author,
    /// May see everything but keys and tokens.
    Viewer,
    /// Any other name: it carries what it is asked to answer, and nothing else.
    Named,
}

/// How far a permission reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// To the things that its holder is asked about.
    WhatIsAsked,
    /// To all things of the kind.
    All,
}

impl Role {
    /// Every role with the name that stands for it; [`Role::Named`] by an example.
    pub const ALL: [(&'static str, Role); 5] = [
        ("admin", Role::Admin),
        ("operator", Role::Operator),
        ("author", Role::Author),
        ("viewer", Role::Viewer),
        ("release_managers", Role::Named),
    ];

    /// Gives the role of a name.
    pub fn of(name: &str) -> Self {
        match name {
            "admin" => Self::Admin,
            "operator" => Self::Operator,
            "author" => Self::Author,
            "viewer" => Self::Viewer,
            _ => Self::Named,
        }
    }

    /// Says how far the role carries the permission `<noun>:<verb>`; none where it does not.
    pub fn reach(self, noun: &str, verb: &str) -> Option<Reach> {
        let all = |is_granted: bool| is_granted.then_some(Reach::All);
        match self {
            Self::Admin => all(true),
            Self::Operator => all(!matches!((noun, verb), ("keys", "reveal") | ("tokens", "write"))),
            Self::Author => Self::Viewer.reach(noun, verb).or(all(AUTHORED.contains(&noun))),
            Self::Viewer => all(verb == "read" && !matches!(noun, "keys" | "tokens")),
            // Who is to answer has to see what.
            Self::Named => matches!((noun, verb), ("inquiries", "answer" | "read")).then_some(Reach::WhatIsAsked),
        }
    }
}

/// What authors work on.
const AUTHORED: &[&str] = &["packs", "actions", "triggers", "sensors", "rules", "hooks", "events", "executions", "replays", "backtests"];

/// Says how far these roles together carry the permission `<noun>:<verb>`; none where none of them does.
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
