//! What an issuer's claims say about an identity: the expressions `allow`, `name` and `groups`.

use std::collections::BTreeSet;

use ensue_engine::names::{GroupName, ISSUER_GROUP_BYTES_MAX, NAME_BYTES_MAX, is_name};
use ensue_expression::{Budget, Document, Expression, Roots, Scope, Value};

/// The number of steps that each expression may take.
pub const RULE_STEPS_MAX: u64 = 10_000;
/// The maximum number of groups of an identity from one issuer.
pub const GROUPS_MAX: usize = 200;
/// The maximum length of the names of these groups together, in bytes: a record has to hold them.
const GROUPS_BYTES_MAX: usize = 12 * 1024;
/// The maximum length of an identity's name, in bytes.
pub const IDENTITY_NAME_BYTES_MAX: usize = 64;
/// The maximum length of a group's name without the prefix of its issuer, in bytes.
pub const GROUP_NAME_BYTES_MAX: usize = ISSUER_GROUP_BYTES_MAX;

/// The groups that an issuer says an identity has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Exactly these, sorted; they replace those that the issuer said before.
    Said(Vec<GroupName>),
    /// The issuer says nothing, so the groups stay as they are.
    NotSaid,
}

/// The compiled expressions of an issuer.
#[derive(Clone, Debug)]
pub(crate) struct ClaimRules {
    pub(crate) allow: Option<Expression>,
    pub(crate) name: Expression,
    pub(crate) groups: Option<Expression>,
}

/// Which expression did not admit the claims, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    Refused { setting: &'static str, why: String },
    Overage,
}

impl ClaimRules {
    /// Returns the names that the expressions may use.
    pub(crate) fn roots() -> Roots {
        Roots::new(["claims"])
    }

    /// Checks `allow`. Without it, every token with a valid signature and audience is admitted.
    pub(crate) fn admit(&self, claims: &Document) -> Result<(), NotAdmitted> {
        let Some(allow) = &self.allow else { return Ok(()) };
        match allow.holds(&scope(claims), &mut budget()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(refusal("allow", "it is false")),
            Err(error) => Err(refusal("allow", error.to_string())),
        }
    }

    /// Returns the identity's name.
    pub(crate) fn name(&self, claims: &Document) -> Result<String, NotAdmitted> {
        let scope = scope(claims);
        let value = self.name.evaluate(&scope, &mut budget()).map_err(|error| refusal("name", error.to_string()))?;
        let name = value.as_str().ok_or_else(|| refusal("name", format!("it is not a text but {}", value.brief())))?;
        check_name(&name).map_err(|why| refusal("name", why))?;
        Ok(name.into_owned())
    }

    /// Returns the groups, each with the prefix before it. Without a prefix they are local groups, and none of them may
    /// have the prefix of another source.
    pub(crate) fn groups(&self, claims: &Document, prefix: Option<&str>) -> Result<Groups, NotAdmitted> {
        let Some(groups) = &self.groups else { return Ok(Groups::NotSaid) };
        // Entra leaves out the groups above 200, and names a place to ask for them.
        if claims.root().get("_claim_names").is_some_and(|names| names.get("groups").is_some()) {
            return Err(NotAdmitted::Overage);
        }
        let scope = scope(claims);
        let value = groups.evaluate(&scope, &mut budget()).map_err(|error| refusal("groups", error.to_string()))?;
        if matches!(value, Value::Null) {
            return Ok(Groups::NotSaid);
        }
        let elements = value.elements().ok_or_else(|| refusal("groups", format!("it is not a list but {}", value.brief())))?;
        let mut said = BTreeSet::new();
        for element in elements {
            let name = element.as_str().ok_or_else(|| refusal("groups", format!("{} is not a text", element.brief())))?;
            said.insert(group(prefix, &name).map_err(|why| refusal("groups", why))?);
        }
        groups_of(said).ok_or(NotAdmitted::Overage)
    }
}

/// Returns what is wrong with the name of an identity.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    if !name.is_empty() && name.len() <= IDENTITY_NAME_BYTES_MAX && name.bytes().all(fits) {
        return Ok(());
    }
    Err(format!(
        "a name has from 1 to {IDENTITY_NAME_BYTES_MAX} of a-z, 0-9, `_`, `-` and `.`; convert others, for example with `lowerAscii()`"
    ))
}

/// Returns the group of a name that somebody else chose, or what is wrong with the name.
pub(crate) fn group(prefix: Option<&str>, name: &str) -> Result<GroupName, String> {
    match prefix {
        Some(prefix) => format!("{prefix}:{name}").parse().map_err(|_| {
            format!("the name of a group has from 1 to {GROUP_NAME_BYTES_MAX} bytes, without control characters or spaces at its ends")
        }),
        None => name.parse().ok().filter(|_| is_name(name)).ok_or_else(|| {
            format!(
                "with `local_groups`, the name of a group starts with a-z, continues with a-z, 0-9 and `_`, and has at most \
                 {NAME_BYTES_MAX} characters; filter the others"
            )
        }),
    }
}

/// Returns the groups, or `None` if they are too many.
pub(crate) fn groups_of(said: BTreeSet<GroupName>) -> Option<Groups> {
    let bytes: usize = said.iter().map(|group| group.as_str().len()).sum();
    (said.len() <= GROUPS_MAX && bytes <= GROUPS_BYTES_MAX).then(|| Groups::Said(said.into_iter().collect()))
}

fn scope(claims: &Document) -> Scope<'_> {
    Scope::new().with("claims", Value::from(claims.root()))
}

fn budget() -> Budget {
    Budget::steps(RULE_STEPS_MAX)
}

fn refusal(setting: &'static str, why: impl Into<String>) -> NotAdmitted {
    NotAdmitted::Refused { setting, why: why.into() }
}
