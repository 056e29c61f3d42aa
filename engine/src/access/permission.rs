//! Permissions, sets of them, and the roles that everybody has.

use std::str::FromStr;

macro_rules! permissions {
    ($($variant:ident = $name:literal;)*) => {
        /// What a caller may do: an operation on a kind of resource.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Permission {
            /// All permissions.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name, `<noun>:<verb>`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

permissions! {
    PacksRead = "packs:read";
    ActionsRead = "actions:read";
    ActionsExecute = "actions:execute";
    TriggersRead = "triggers:read";
    SensorsRead = "sensors:read";
    RulesRead = "rules:read";
    RulesWrite = "rules:write";
    HooksRead = "hooks:read";
    HooksSend = "hooks:send";
    EventsRead = "events:read";
    EventsWrite = "events:write";
    EnforcementsRead = "enforcements:read";
    ExecutionsRead = "executions:read";
    ArtifactsRead = "artifacts:read";
    ExecutionsCancel = "executions:cancel";
    ExecutionsPause = "executions:pause";
    ExecutionsRerun = "executions:rerun";
    ExecutionsSettle = "executions:settle";
    ReplaysRun = "replays:run";
    BacktestsRun = "backtests:run";
    InquiriesRead = "inquiries:read";
    InquiriesAnswer = "inquiries:answer";
    InquiriesCancel = "inquiries:cancel";
    TimersRead = "timers:read";
    ClockAccept = "clock:accept";
    LocksRead = "locks:read";
    QueuesRead = "queues:read";
    TracesRead = "traces:read";
    LogRead = "log:read";
    LogVerify = "log:verify";
    ViewsRead = "views:read";
    ViewsRebuild = "views:rebuild";
    KeysRead = "keys:read";
    KeysWrite = "keys:write";
    VarsRead = "vars:read";
    VarsWrite = "vars:write";
    TokensRead = "tokens:read";
    TokensWrite = "tokens:write";
    ParkedReactionsRead = "parked_reactions:read";
    ParkedReactionsSettle = "parked_reactions:settle";
    DeadLettersRead = "dead_letters:read";
    DeadLettersSettle = "dead_letters:settle";
    MetricsRead = "metrics:read";
    NodeRead = "node:read";
}

/// A name that is not one of a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPermission;

impl FromStr for Permission {
    type Err = NotAPermission;

    fn from_str(name: &str) -> Result<Self, NotAPermission> {
        Self::ALL.iter().copied().find(|permission| permission.name() == name).ok_or(NotAPermission)
    }
}

impl Permission {
    /// Returns the kind of resource.
    pub fn noun(self) -> &'static str {
        self.parts().0
    }

    /// Returns the operation.
    pub fn verb(self) -> &'static str {
        self.parts().1
    }

    fn parts(self) -> (&'static str, &'static str) {
        self.name().split_once(':').expect("each name in the table has a colon")
    }

    /// Returns the permission to read resources of the same kind; `None` if there is none.
    pub fn read(self) -> Option<Self> {
        Self::ALL.iter().copied().find(|other| other.noun() == self.noun() && other.verb() == "read")
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PermissionSet(u128);

const _: () = assert!(Permission::ALL.len() <= 128, "a set has a bit for each permission");

impl PermissionSet {
    /// Returns true if the permission is in the set.
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & Self::bit(permission) != 0
    }

    /// Returns the permissions of the set, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.has(*permission))
    }

    /// Returns the permissions of either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the permissions of this set that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    const fn bit(permission: Permission) -> u128 {
        1 << permission as u32
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<T: IntoIterator<Item = Permission>>(permissions: T) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | Self::bit(permission)))
    }
}

/// A role that exists on every node: a named set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltInRole {
    /// May do everything.
    Admin,
    /// May do everything except create tokens.
    Operator,
    /// May work on packs and rules, send events, and run actions.
    Author,
    /// May see everything except keys and tokens.
    Viewer,
}

/// The resources that authors work on.
const AUTHORED: &[&str] = &["packs", "actions", "triggers", "sensors", "rules", "hooks", "events", "executions", "replays", "backtests"];

impl BuiltInRole {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Author, Self::Viewer];

    /// Returns the name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Author => "author",
            Self::Viewer => "viewer",
        }
    }

    /// Returns the role with exactly this name; `None` if it is the name of no built-in role.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Returns what the role may do.
    pub fn permissions(self) -> PermissionSet {
        Permission::ALL.iter().copied().filter(|permission| self.may(*permission)).collect()
    }

    /// Returns true if the role includes the permission.
    pub fn may(self, permission: Permission) -> bool {
        match self {
            Self::Admin => true,
            Self::Operator => permission != Permission::TokensWrite,
            Self::Author => Self::Viewer.may(permission) || AUTHORED.contains(&permission.noun()),
            Self::Viewer => permission.verb() == "read" && !matches!(permission, Permission::KeysRead | Permission::TokensRead),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_is_found_by_its_exact_name() {
        for permission in Permission::ALL {
            assert_eq!(permission.name().parse(), Ok(*permission));
            assert!(!permission.noun().is_empty() && !permission.verb().is_empty(), "{permission:?}");
        }
        for trick in ["", "events", "events:", "Events:read", "events:read ", "events:reаd"] {
            assert_eq!(trick.parse::<Permission>(), Err(NotAPermission), "{trick:?}");
        }
    }

    #[test]
    fn set_has_exactly_what_was_collected() {
        for permission in Permission::ALL {
            let set: PermissionSet = [*permission].into_iter().collect();
            assert_eq!(set.iter().collect::<Vec<_>>(), [*permission]);
        }
        let read: PermissionSet = Permission::ALL.iter().copied().filter(|permission| permission.verb() == "read").collect();
        let rest = BuiltInRole::Admin.permissions().without(read);
        assert_eq!(rest.or(read), BuiltInRole::Admin.permissions());
        assert!(rest.iter().all(|permission| permission.verb() != "read"));
    }

    #[test]
    fn only_the_exact_name_of_a_role_carries_its_permissions() {
        for trick in ["Admin", "admin ", "ADMIN", "аdmin", "admin\u{200b}", "", "release_managers"] {
            assert_eq!(BuiltInRole::named(trick), None, "{trick:?}");
        }
    }

    #[test]
    fn operator_cannot_create_tokens_and_viewer_sees_no_keys_or_tokens() {
        let [admin, operator, author, viewer] = BuiltInRole::ALL.map(BuiltInRole::permissions);
        assert_eq!(admin.without(operator).iter().collect::<Vec<_>>(), [Permission::TokensWrite]);
        for hidden in [Permission::KeysRead, Permission::TokensRead] {
            assert!(operator.has(hidden) && !author.has(hidden) && !viewer.has(hidden), "{hidden:?}");
        }
        for rehearsal in [Permission::ReplaysRun, Permission::BacktestsRun] {
            assert!(operator.has(rehearsal) && author.has(rehearsal) && !viewer.has(rehearsal), "{rehearsal:?}");
        }
        assert!(viewer.iter().all(|permission| permission.verb() == "read"));
        assert!(!author.has(Permission::InquiriesAnswer) && operator.has(Permission::InquiriesAnswer));
    }
}
