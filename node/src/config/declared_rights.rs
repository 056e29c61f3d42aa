//! The roles and grants of `access.roles` and `access.grants`.

use std::collections::BTreeMap;

use ensue_derive::Settings;
use ensue_engine::access::limit::Limit;
use ensue_engine::access::permission::{BuiltInRole, Permission};
use ensue_engine::names::{GroupName, RoleName};
use ensue_engine::time::Timestamp;
use serde::Deserialize;
use serde_saphyr::Spanned;

/// The maximum number of declared roles.
const ROLES_MAX: usize = 500;
/// The maximum number of declared grants.
const GRANTS_MAX: usize = 1_000;

/// The roles and grants that the settings declare.
#[derive(Clone, Debug, Default)]
pub struct DeclaredRights {
    /// The roles with all their permissions.
    pub roles: BTreeMap<RoleName, Vec<Permission>>,
    /// The grants, each once.
    pub grants: Vec<DeclaredGrant>,
}

/// A grant that the settings declare.
#[derive(Clone, Debug)]
pub struct DeclaredGrant {
    /// The line where it is written.
    pub line: u64,
    /// The subject of the role.
    pub subject: DeclaredSubject,
    /// The role.
    pub role: RoleName,
    /// What the role covers.
    pub on: Option<Limit>,
    /// When it ends.
    pub until: Option<Timestamp>,
}

/// The subject of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeclaredSubject {
    /// The identity of this name, which the node looks up when it starts.
    Identity(String),
    /// Every identity of a group.
    Group(GroupName),
    /// Every identity and every token.
    Everyone,
}

/// The roles as written in the file.
pub(super) type WrittenRoles = BTreeMap<String, Spanned<Vec<Spanned<String>>>>;

/// A grant as written in the file.
#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenGrant {
    /// `identity:<name>`, `group:<name>` or `everyone`.
    subject: Spanned<String>,
    /// The role.
    role: Spanned<String>,
    /// What the role covers, as in `pack=release,action=release.*`. Default: everything.
    on: Option<Spanned<String>>,
    /// When the grant ends, as in `2027-01-01T00:00:00Z`. Default: never.
    until: Option<Spanned<String>>,
}

/// Returns the roles and grants, or what is wrong with them and in which line.
pub(super) fn read(roles: WrittenRoles, grants: Vec<WrittenGrant>) -> Result<DeclaredRights, String> {
    for (what, count, max) in [("roles", roles.len(), ROLES_MAX), ("grants", grants.len(), GRANTS_MAX)] {
        if count > max {
            return Err(format!("`access.{what}` has {count} entries; the limit is {max}"));
        }
    }
    let mut declared = DeclaredRights::default();
    for (name, permissions) in roles {
        let line = permissions.referenced.line();
        if BuiltInRole::from_name(&name).is_some() {
            return Err(format!("line {line}: the role `{name}` is built in, so it cannot be declared; choose another name"));
        }
        let parsed = name.parse().map_err(|error| format!("line {line}: `{name}` cannot be the name of a role: {error}"))?;
        let permissions = permissions.value.iter().map(permission).collect::<Result<_, _>>()?;
        declared.roles.insert(parsed, permissions);
    }
    for written in grants {
        let grant = grant(&written)?;
        let is_same = |other: &DeclaredGrant| {
            (&other.subject, &other.role, &other.on, other.until) == (&grant.subject, &grant.role, &grant.on, grant.until)
        };
        if !declared.grants.iter().any(is_same) {
            declared.grants.push(grant);
        }
    }
    Ok(declared)
}

fn permission(written: &Spanned<String>) -> Result<Permission, String> {
    Permission::from_name(&written.value).ok_or_else(|| {
        format!("line {}: there is no permission `{}`; `ensue roles show admin` lists all", written.referenced.line(), written.value)
    })
}

fn grant(written: &WrittenGrant) -> Result<DeclaredGrant, String> {
    let WrittenGrant { subject, role, on, until } = written;
    let wrong = |part: &Spanned<String>, why: String| format!("line {}: {why}", part.referenced.line());
    let not_a_subject = || {
        let why = format!("`{}` is not a subject; write `identity:<name>`, `group:<name>` or `everyone`", subject.value);
        wrong(subject, why)
    };
    let parsed = match subject.value.split_once(':') {
        None if subject.value == "everyone" => DeclaredSubject::Everyone,
        Some(("identity", name)) if !name.is_empty() => DeclaredSubject::Identity(name.to_owned()),
        Some(("group", name)) => DeclaredSubject::Group(name.parse().map_err(|_| not_a_subject())?),
        None | Some(_) => return Err(not_a_subject()),
    };
    let limit = |on: &Spanned<String>| on.value.parse::<Limit>().map_err(|error| wrong(on, format!("`on` is not a limit: {error}")));
    let time = |until: &Spanned<String>| {
        let why = |_| wrong(until, format!("`until` is `{}`, but must be a time such as `2027-01-01T00:00:00Z`", until.value));
        until.value.parse::<Timestamp>().map_err(why)
    };
    Ok(DeclaredGrant {
        line: subject.referenced.line(),
        subject: parsed,
        role: role.value.parse().map_err(|error| wrong(role, format!("`{}` is not a role: {error}", role.value)))?,
        on: on.as_ref().map(limit).transpose()?,
        until: until.as_ref().map(time).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct WrittenAccess {
        #[serde(default)]
        roles: WrittenRoles,
        #[serde(default)]
        grants: Vec<WrittenGrant>,
    }

    fn parse_rights(text: &str) -> Result<DeclaredRights, String> {
        let written: WrittenAccess = serde_saphyr::from_str(text).unwrap();
        read(written.roles, written.grants)
    }

    #[test]
    fn roles_and_grants_are_read_and_a_grant_counts_once() {
        let text = "roles:\n  restarter: [executions:read, executions:rerun]\ngrants:\n\
             - { subject: group:ops, role: restarter, on: 'pack=release', until: 2027-01-01T00:00:00Z }\n\
             - { subject: identity:ana, role: admin }\n- { subject: everyone, role: viewer }\n- { subject: everyone, role: viewer }\n";
        let declared = parse_rights(text).unwrap();
        let restarter: RoleName = "restarter".parse().unwrap();
        assert_eq!(declared.roles[&restarter], [Permission::ExecutionsRead, Permission::ExecutionsRerun]);
        let subjects: Vec<_> = declared.grants.iter().map(|grant| (grant.line, grant.subject.clone())).collect();
        let group = DeclaredSubject::Group("ops".parse().unwrap());
        assert_eq!(subjects, [(4, group), (5, DeclaredSubject::Identity("ana".into())), (6, DeclaredSubject::Everyone)]);
    }

    #[test]
    fn error_names_its_line() {
        for (text, line, why) in [
            ("roles:\n  a: [executions:read]\n  admin: [executions:read]\n", 3, "built in"),
            ("roles:\n  restarter: [executions:read,\n    executions:fly]\n", 3, "no permission `executions:fly`"),
            ("roles:\n  Restarter: [executions:read]\n", 2, "cannot be the name of a role"),
            ("grants:\n- { subject: ana, role: viewer }\n", 2, "not a subject"),
            ("grants:\n- subject: everyone\n  role: viewer\n  on: site=eu\n", 4, "not a limit"),
            ("grants:\n- subject: everyone\n  role: viewer\n  until: tomorrow\n", 4, "must be a time"),
        ] {
            let error = parse_rights(text).unwrap_err();
            assert!(error.starts_with(&format!("line {line}: ")) && error.contains(why), "{error}");
        }
    }
}
