//! Rights: the permissions of a caller, compiled so that one question costs a bit test, or a search of few limits.

use std::collections::BTreeMap;

use super::limit::{Limit, Target};
use super::permission::Permission;
use super::scope::Scope;

/// How far a permission reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// To the execution that its holder is, and to what belongs to it.
    Itself,
    /// To the resources that its holder is asked about.
    WhatIsAsked,
    /// To the resources that a limit covers.
    Limited,
    /// To all resources of the kind.
    All,
}

/// What a caller may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    own: PermissionSet,
    /// What bounds them, such as the scopes of a token: each of these must allow a request as well.
    bounds: Vec<PermissionSet>,
    /// The bits of the permissions that reach to the execution that the caller is, whatever the bounds are.
    itself: u128,
}

impl Rights {
    /// Returns the rights to do everything.
    pub fn everything() -> Self {
        let mut own = PermissionSet::default();
        own.add_all(Permission::ALL.iter().copied(), None);
        Self { own, ..Self::default() }
    }

    /// Adds a permission; without a limit, it reaches to all resources.
    pub fn add(&mut self, permission: Permission, on: Option<&Limit>) {
        self.own.add(permission, on);
    }

    /// Adds permissions with the same limit.
    pub fn add_all(&mut self, permissions: impl IntoIterator<Item = Permission>, on: Option<&Limit>) {
        self.own.add_all(permissions, on);
    }

    /// Adds the permission to see, answer and delegate the inquiries that the caller is asked.
    pub fn add_what_is_asked(&mut self) {
        self.own.asked |= Permission::InquiriesRead.bit() | Permission::InquiriesAnswer.bit() | Permission::InquiriesDelegate.bit();
    }

    /// Adds the permission to see the execution that the caller is.
    pub fn add_itself(&mut self) {
        self.itself |= Permission::ExecutionsRead.bit() | Permission::ArtifactsRead.bit();
    }

    /// Returns these rights as far as the scopes reach.
    #[must_use]
    pub fn within<'a>(mut self, scopes: impl IntoIterator<Item = &'a Scope>) -> Self {
        let mut within = PermissionSet::default();
        scopes.into_iter().for_each(|scope| within.add(scope.permission, scope.on.as_ref()));
        self.bounds.push(within);
        self
    }

    /// Returns these rights as far as the rights of another reach.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.bounds.push(other.own);
        self.bounds.extend(other.bounds);
        self
    }

    /// Returns how far a permission reaches; `None` if the caller does not have it.
    pub fn reach(&self, permission: Permission) -> Option<Reach> {
        let granted = self.all().map(|permitted| permitted.reach(permission)).min().flatten();
        granted.or_else(|| self.reach_itself(permission).then_some(Reach::Itself))
    }

    /// Returns true if the permission reaches to the execution that the caller is.
    pub fn reach_itself(&self, permission: Permission) -> bool {
        self.itself & permission.bit() != 0
    }

    fn all(&self) -> impl Iterator<Item = &PermissionSet> {
        std::iter::once(&self.own).chain(&self.bounds)
    }

    /// Returns true if the permission covers the thing.
    pub fn include(&self, permission: Permission, target: &Target<'_>) -> bool {
        self.all().all(|permitted| permitted.covers(permission, target))
    }

    /// Returns the first of the scopes that is beyond these rights, if there is one.
    pub fn first_beyond<'a>(&self, wanted: impl IntoIterator<Item = &'a Scope>) -> Option<&'a Scope> {
        let holds = |scope: &Scope| self.all().all(|permitted| permitted.contains(scope));
        wanted.into_iter().find(|scope| !holds(scope))
    }

    /// Returns true if the permission reaches to what the caller is asked, in addition to what a limit covers.
    pub fn reach_what_is_asked(&self, permission: Permission) -> bool {
        self.own.asked & permission.bit() != 0 && self.bounds.iter().all(|bound| bound.reach(permission) == Some(Reach::All))
    }

    /// Returns the limits of a permission, if it is limited: one of each inner list must cover a thing.
    pub fn limits(&self, permission: Permission) -> Vec<Vec<Limit>> {
        let of = |permitted: &PermissionSet| {
            (permitted.reach(permission) == Some(Reach::Limited)).then(|| permitted.limits_of(permission).cloned().collect::<Vec<_>>())
        };
        self.all().filter_map(of).collect()
    }
}

/// Permissions, each with its scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PermissionSet {
    /// The bits of the permissions that reach to all resources.
    whole: u128,
    /// The bits of the permissions that reach to what the holder is asked.
    asked: u128,
    /// The bits of the permissions that some limit covers.
    limited: u128,
    /// The limits, each with the bits of its permissions. One role has many permissions, so each limit is kept once.
    limits: BTreeMap<Limit, u128>,
}

impl PermissionSet {
    fn add(&mut self, permission: Permission, on: Option<&Limit>) {
        self.add_all([permission], on);
    }

    fn add_all(&mut self, permissions: impl IntoIterator<Item = Permission>, on: Option<&Limit>) {
        // A limit on a permission that cannot be limited grants nothing: a release that can limit it wrote it.
        let granted = permissions.into_iter().filter(|permission| on.is_none() || permission.is_limitable());
        let bits = granted.fold(0, |bits, permission| bits | permission.bit());
        match on {
            None => self.whole |= bits,
            Some(_) if bits == 0 => {}
            Some(limit) => {
                self.limited |= bits;
                match self.limits.get_mut(limit) {
                    Some(known) => *known |= bits,
                    None => drop(self.limits.insert(limit.clone(), bits)),
                }
            }
        }
    }

    fn reach(&self, permission: Permission) -> Option<Reach> {
        if self.whole & permission.bit() != 0 {
            Some(Reach::All)
        } else if self.limited & permission.bit() != 0 {
            Some(Reach::Limited)
        } else {
            (self.asked & permission.bit() != 0).then_some(Reach::WhatIsAsked)
        }
    }

    fn covers(&self, permission: Permission, target: &Target<'_>) -> bool {
        self.whole & permission.bit() != 0 || self.limits_of(permission).any(|limit| limit.covers(target))
    }

    fn contains(&self, scope: &Scope) -> bool {
        let within = |limit: &Limit| scope.on.as_ref().is_some_and(|wanted| limit.contains(wanted));
        self.whole & scope.permission.bit() != 0 || self.limits_of(scope.permission).any(within)
    }

    fn limits_of(&self, permission: Permission) -> impl Iterator<Item = &Limit> {
        self.limits.iter().filter(move |(_, bits)| *bits & permission.bit() != 0).map(|(limit, _)| limit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scopes(texts: &[&str]) -> Vec<Scope> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn rights(texts: &[&str]) -> Rights {
        let mut rights = Rights::default();
        scopes(texts).iter().for_each(|scope| rights.add(scope.permission, scope.on.as_ref()));
        rights
    }

    #[test]
    fn permission_reaches_as_far_as_both_the_holder_and_the_scopes_reach() {
        let holder = rights(&["events:write", "actions:execute on pack=release"]);
        assert_eq!(holder.reach(Permission::EventsWrite), Some(Reach::All));
        assert_eq!(holder.reach(Permission::ActionsExecute), Some(Reach::Limited));
        assert_eq!(holder.reach(Permission::LogRead), None);
        let token = holder.within(&scopes(&["events:write on pack=shop", "actions:execute", "log:read"]));
        assert_eq!(token.reach(Permission::EventsWrite), Some(Reach::Limited));
        assert_eq!(token.reach(Permission::ActionsExecute), Some(Reach::Limited));
        assert_eq!(token.reach(Permission::LogRead), None, "a scope adds nothing to the rights of the holder");
        assert!(token.include(Permission::ActionsExecute, &Target::of_action("release.ship")));
        assert!(!token.include(Permission::ActionsExecute, &Target::of_action("core.shell")));
        assert!(!token.include(Permission::EventsWrite, &Target::in_pack_of("release.pushed")));
    }

    #[test]
    fn caller_with_nothing_but_inquiries_reaches_what_it_is_asked() {
        let mut rights = Rights::default();
        rights.add_what_is_asked();
        assert_eq!(rights.reach(Permission::InquiriesRead), Some(Reach::WhatIsAsked));
        assert_eq!(rights.reach(Permission::InquiriesCancel), None);
        assert_eq!(rights.clone().within(&scopes(&["inquiries:read"])).reach(Permission::InquiriesRead), Some(Reach::WhatIsAsked));
        assert_eq!(rights.within(&[]).reach(Permission::InquiriesRead), None);
        assert_eq!(Rights::default().reach(Permission::InquiriesRead), None);
    }

    #[test]
    fn rights_of_two_reach_as_far_as_both_do() {
        let mut pack = rights(&["events:write", "actions:execute on pack=release"]);
        pack.add_itself();
        let caller = rights(&["actions:execute", "log:read"]).within(&scopes(&["actions:execute on action=release.ship"]));
        let both = pack.and(caller);
        assert_eq!(both.reach(Permission::EventsWrite), None, "the caller may not");
        assert_eq!(both.reach(Permission::LogRead), None, "the pack may not");
        assert!(both.include(Permission::ActionsExecute, &Target::of_action("release.ship")));
        assert!(!both.include(Permission::ActionsExecute, &Target::of_action("release.test")), "the scopes of the caller do not allow it");
        assert_eq!(both.reach(Permission::ExecutionsRead), Some(Reach::Itself));
        assert!(!both.include(Permission::ExecutionsRead, &Target::of_action("release.ship")));
    }

    #[test]
    fn first_scope_beyond_the_rights_is_named() {
        let holder = rights(&["actions:execute on pack=release", "events:write"]);
        let beyond = |texts: &[&str]| holder.first_beyond(&scopes(texts)).map(ToString::to_string);
        assert_eq!(beyond(&["events:write on pack=a", "actions:execute on pack=release,action=release.ship"]), None);
        assert_eq!(beyond(&["events:write", "actions:execute"]), Some("actions:execute".into()));
        assert_eq!(beyond(&["actions:execute on pack=rel*"]), Some("actions:execute on pack=rel*".into()));
        assert_eq!(Rights::everything().first_beyond(&scopes(&["log:read", "tokens:write"])), None);
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        let permission = prop::sample::select(vec!["events:write", "actions:execute", "rules:read"]);
        let limit = prop::sample::select(vec!["", "pack=a", "pack=a*", "pack=b", "action=a.x", "action=a.*", "pack=a,action=a.x"]);
        (permission, limit).prop_map(|(permission, limit)| {
            let text = if limit.is_empty() { permission.to_owned() } else { format!("{permission} on {limit}") };
            text.parse().unwrap()
        })
    }

    proptest! {
        #[test]
        fn rights_agree_with_a_loop_over_all_grants(
            granted in prop::collection::vec(any_scope(), 0..6),
            scoped in prop::option::of(prop::collection::vec(any_scope(), 0..6)),
            permission in prop::sample::select(vec![Permission::EventsWrite, Permission::ActionsExecute, Permission::RulesRead]),
            name in prop::sample::select(vec!["a.x", "a.y", "ab.x", "b.x"]),
        ) {
            let mut rights = Rights::default();
            granted.iter().for_each(|scope| rights.add(scope.permission, scope.on.as_ref()));
            let rights = match &scoped { Some(scopes) => rights.within(scopes), None => rights };
            let target = Target::of_action(name);
            let allows = |scopes: &[Scope]| scopes.iter().any(|scope| {
                scope.permission == permission && scope.on.as_ref().is_none_or(|limit| limit.covers(&target))
            });
            let expected = allows(&granted) && scoped.as_deref().is_none_or(allows);
            prop_assert_eq!(rights.include(permission, &target), expected);
            prop_assert!(!expected || rights.reach(permission).is_some());
        }

        #[test]
        fn rights_that_may_be_passed_on_include_no_more_than_those_that_pass_them_on(
            own in prop::collection::vec(any_scope(), 0..6),
            wanted in prop::collection::vec(any_scope(), 0..4),
            name in prop::sample::select(vec!["a.x", "a.y", "ab.x", "b.x"]),
        ) {
            let compiled = |scopes: &[Scope]| {
                let mut rights = Rights::default();
                scopes.iter().for_each(|scope| rights.add(scope.permission, scope.on.as_ref()));
                rights
            };
            let (holder, target) = (compiled(&own), Target::of_action(name));
            if holder.first_beyond(&wanted).is_none() {
                let passed_on = compiled(&wanted);
                for permission in [Permission::EventsWrite, Permission::ActionsExecute, Permission::RulesRead] {
                    prop_assert!(!passed_on.include(permission, &target) || holder.include(permission, &target));
                }
            }
        }
    }
}
