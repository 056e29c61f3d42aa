//! Permissions, and the roles that everybody has.

macro_rules! permissions {
    ($($variant:ident = $noun:literal : $verb:literal;)*) => {
        /// What a caller may do: an operation on a kind of resource.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Permission {
            $(#[doc = concat!("`", $noun, ":", $verb, "`")] $variant,)*
        }

        impl Permission {
            /// All permissions.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the kind of resource.
            pub const fn noun(self) -> &'static str {
                match self {
                    $(Self::$variant => $noun,)*
                }
            }

            /// Returns the operation.
            pub const fn verb(self) -> &'static str {
                match self {
                    $(Self::$variant => $verb,)*
                }
            }

            /// Returns both: `<noun>:<verb>`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($noun, ":", $verb),)*
                }
            }
        }
    };
}

permissions! {
    PacksRead = "packs":"read";
    ActionsRead = "actions":"read";
    ActionsExecute = "actions":"execute";
    TriggersRead = "triggers":"read";
    SensorsRead = "sensors":"read";
    SensorsWrite = "sensors":"write";
    RulesRead = "rules":"read";
    RulesWrite = "rules":"write";
    HooksRead = "hooks":"read";
    HooksSend = "hooks":"send";
    HooksListen = "hooks":"listen";
    EventsRead = "events":"read";
    EventsWrite = "events":"write";
    EnforcementsRead = "enforcements":"read";
    ExecutionsRead = "executions":"read";
    ArtifactsRead = "artifacts":"read";
    ExecutionsCancel = "executions":"cancel";
    ExecutionsPause = "executions":"pause";
    ExecutionsRerun = "executions":"rerun";
    ExecutionsSettle = "executions":"settle";
    ReplaysRun = "replays":"run";
    BacktestsRun = "backtests":"run";
    InquiriesRead = "inquiries":"read";
    InquiriesAnswer = "inquiries":"answer";
    InquiriesCancel = "inquiries":"cancel";
    InquiriesLink = "inquiries":"link";
    InquiriesDelegate = "inquiries":"delegate";
    TimersRead = "timers":"read";
    ClockAccept = "clock":"accept";
    LocksRead = "locks":"read";
    QueuesRead = "queues":"read";
    TracesRead = "traces":"read";
    LogRead = "log":"read";
    LogVerify = "log":"verify";
    ViewsRead = "views":"read";
    ViewsRebuild = "views":"rebuild";
    KeysRead = "keys":"read";
    KeysWrite = "keys":"write";
    KeysRotate = "keys":"rotate";
    KeysReveal = "keys":"reveal";
    KeysUse = "keys":"use";
    MasterKeyRotate = "master_key":"rotate";
    VarsRead = "vars":"read";
    VarsWrite = "vars":"write";
    TokensRead = "tokens":"read";
    TokensWrite = "tokens":"write";
    IdentitiesRead = "identities":"read";
    IdentitiesWrite = "identities":"write";
    GrantsRead = "grants":"read";
    GrantsWrite = "grants":"write";
    RolesRead = "roles":"read";
    RolesWrite = "roles":"write";
    AuditRead = "audit":"read";
    UsageRead = "usage":"read";
    ParkedReactionsRead = "parked_reactions":"read";
    ParkedReactionsSettle = "parked_reactions":"settle";
    DeadLettersRead = "dead_letters":"read";
    DeadLettersSettle = "dead_letters":"settle";
    ConnectionsRead = "connections":"read";
    ConnectionsTest = "connections":"test";
    MetricsRead = "metrics":"read";
    NodeRead = "node":"read";
    SettingsRead = "settings":"read";
}

impl Permission {
    /// Returns the permission to read resources of the same kind, or `None` if no permission is for that.
    pub fn read(self) -> Option<Self> {
        Self::ALL.iter().copied().find(|other| other.noun() == self.noun() && other.verb() == "read")
    }

    /// Returns the permission with exactly this name; `None` if there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.name() == name)
    }

    /// Returns true if the permission can be limited to packs, actions, hooks or labels.
    pub fn is_limitable(self) -> bool {
        LIMITABLE.contains(&self)
    }

    /// Returns true if a pack can have the permission: its workflows need it, or its programs use it with their tokens.
    pub fn is_for_packs(self) -> bool {
        OF_PACKS.contains(&self)
    }

    /// Returns the permission's own bit.
    pub(crate) const fn bit(self) -> u128 {
        1 << self as u32
    }
}

/// The permissions whose routes all honor limits.
const LIMITABLE: &[Permission] = &[
    Permission::PacksRead,
    Permission::ActionsRead,
    Permission::ActionsExecute,
    Permission::TriggersRead,
    Permission::SensorsRead,
    Permission::SensorsWrite,
    Permission::RulesRead,
    Permission::RulesWrite,
    Permission::HooksRead,
    Permission::HooksSend,
    Permission::HooksListen,
    Permission::EventsRead,
    Permission::EventsWrite,
    Permission::EnforcementsRead,
    Permission::ExecutionsRead,
    Permission::ArtifactsRead,
    Permission::ExecutionsCancel,
    Permission::ExecutionsPause,
    Permission::ExecutionsRerun,
    Permission::ExecutionsSettle,
    Permission::InquiriesRead,
    Permission::InquiriesAnswer,
    Permission::InquiriesCancel,
    Permission::InquiriesDelegate,
    Permission::TracesRead,
    Permission::KeysUse,
    Permission::DeadLettersRead,
    Permission::DeadLettersSettle,
];

/// The permissions that a pack can have. None of them creates a credential, changes access or answers for a person, and
/// only `keys:use` lets its programs have secrets.
const OF_PACKS: &[Permission] = &[
    Permission::PacksRead,
    Permission::ActionsRead,
    Permission::ActionsExecute,
    Permission::TriggersRead,
    Permission::SensorsRead,
    Permission::SensorsWrite,
    Permission::RulesRead,
    Permission::RulesWrite,
    Permission::HooksRead,
    Permission::EventsRead,
    Permission::EventsWrite,
    Permission::EnforcementsRead,
    Permission::ExecutionsRead,
    Permission::ArtifactsRead,
    Permission::ExecutionsCancel,
    Permission::ExecutionsPause,
    Permission::ExecutionsRerun,
    Permission::InquiriesRead,
    Permission::InquiriesCancel,
    Permission::TimersRead,
    Permission::LocksRead,
    Permission::QueuesRead,
    Permission::TracesRead,
    Permission::LogRead,
    Permission::KeysUse,
    Permission::VarsRead,
    Permission::VarsWrite,
    Permission::DeadLettersRead,
    Permission::DeadLettersSettle,
    Permission::MetricsRead,
    Permission::NodeRead,
];

/// A role that exists on every node: a named set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltInRole {
    /// May do everything.
    Admin,
    /// May do everything except change tokens, identities, roles, grants and the master key, see the values of keys, and
    /// create links to inquiries.
    Operator,
    /// May work on packs and rules, send events, and run actions.
    Author,
    /// May see everything except keys, tokens, identities, grants, the audit, settings and what others use.
    Viewer,
    /// May see and answer the inquiries that it is asked.
    Approver,
    /// May send events.
    Ingester,
}

/// The permissions that only administrators have.
const OF_ADMINS: &[Permission] = &[
    Permission::TokensWrite,
    Permission::IdentitiesWrite,
    Permission::GrantsWrite,
    Permission::RolesWrite,
    Permission::KeysReveal,
    Permission::KeysUse,
    Permission::MasterKeyRotate,
    // Whoever has the link answers in the name of another.
    Permission::InquiriesLink,
];
/// The resources that viewers do not see.
const HIDDEN_FROM_VIEWERS: &[&str] = &["keys", "tokens", "identities", "grants", "audit", "usage", "settings"];
/// The resources that authors work on.
const AUTHORED: &[&str] = &["packs", "actions", "triggers", "sensors", "rules", "hooks", "events", "executions", "replays", "backtests"];

impl BuiltInRole {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Admin, Self::Operator, Self::Author, Self::Viewer, Self::Approver, Self::Ingester];
    /// Those that a token can have without an identity. An older release read the names of the others as roles that
    /// inquiries can ask.
    pub const OF_TOKENS: [Self; 4] = [Self::Admin, Self::Operator, Self::Author, Self::Viewer];

    /// Returns the name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Author => "author",
            Self::Viewer => "viewer",
            Self::Approver => "approver",
            Self::Ingester => "ingester",
        }
    }

    /// Returns the role with exactly this name; `None` if it is the name of no built-in role.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Returns true if the role includes the permission for all resources.
    pub fn may(self, permission: Permission) -> bool {
        match self {
            Self::Admin => true,
            Self::Operator => !OF_ADMINS.contains(&permission),
            Self::Author => Self::Viewer.may(permission) || AUTHORED.contains(&permission.noun()),
            Self::Viewer => permission.verb() == "read" && !HIDDEN_FROM_VIEWERS.contains(&permission.noun()),
            // Its permissions reach to what it is asked.
            Self::Approver => false,
            Self::Ingester => permission == Permission::EventsWrite,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_permissions_are_unique() {
        let mut names: Vec<&str> = Permission::ALL.iter().map(|permission| permission.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Permission::ALL.len());
        assert!(names.len() <= 128, "each permission has a bit of its own");
        assert!(names.iter().all(|name| Permission::from_name(name).is_some_and(|permission| permission.name() == *name)));
        assert_eq!(Permission::from_name("Events:Write"), None);
    }

    #[test]
    fn permission_to_read_is_of_the_same_kind() {
        assert_eq!(Permission::KeysWrite.read(), Some(Permission::KeysRead));
        assert_eq!(Permission::KeysRead.read(), Some(Permission::KeysRead));
        assert_eq!((Permission::ClockAccept.read(), Permission::ReplaysRun.read()), (None, None));
    }

    #[test]
    fn only_the_exact_name_of_a_role_carries_its_permissions() {
        for trick in ["Admin", "admin ", "ADMIN", "аdmin", "admin\u{200b}", "", "release_managers"] {
            assert_eq!(BuiltInRole::from_name(trick), None, "{trick:?}");
        }
    }

    #[test]
    fn only_admins_change_access_and_viewers_do_not_see_it() {
        let [admin, operator, author, viewer] = BuiltInRole::OF_TOKENS;
        let of_admins = [
            "tokens:write",
            "identities:write",
            "grants:write",
            "roles:write",
            "keys:reveal",
            "keys:use",
            "master_key:rotate",
            "inquiries:link",
        ];
        for permission in Permission::ALL.iter().copied() {
            assert!(admin.may(permission), "{permission:?}");
            assert_eq!(operator.may(permission), !of_admins.contains(&permission.name()), "{permission:?}");
            assert!(!viewer.may(permission) || permission.verb() == "read", "{permission:?}");
            assert!(!BuiltInRole::Approver.may(permission), "{permission:?}");
            assert_eq!(BuiltInRole::Ingester.may(permission), permission.name() == "events:write", "{permission:?}");
        }
        for hidden in [
            Permission::KeysRead,
            Permission::TokensRead,
            Permission::IdentitiesRead,
            Permission::GrantsRead,
            Permission::AuditRead,
            Permission::UsageRead,
            Permission::SettingsRead,
        ] {
            assert!(!author.may(hidden) && !viewer.may(hidden), "{hidden:?}");
        }
        for rehearsal in [Permission::ReplaysRun, Permission::BacktestsRun] {
            assert!(author.may(rehearsal) && !viewer.may(rehearsal), "{rehearsal:?}");
        }
        assert!(!author.may(Permission::InquiriesAnswer));
    }
}
