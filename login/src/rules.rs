//! What an issuer's claims say about an identity: the expressions `allow`, `name` and `groups`.

use std::collections::BTreeSet;

use ensue_expression::{Budget, Document, Expression, Roots, Scope, Value};

/// The number of steps that each expression may take.
pub const RULE_STEPS_MAX: u64 = 10_000;
/// The maximum number of groups of an identity from one issuer.
pub const GROUPS_MAX: usize = 200;
/// The maximum length of an identity's name, in bytes.
pub const IDENTITY_NAME_BYTES_MAX: usize = 64;
/// The maximum length of a group's name without the prefix of its issuer, in bytes.
pub const GROUP_NAME_BYTES_MAX: usize = 200;

/// The groups that an issuer says an identity has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Exactly these, sorted; they replace those that the issuer said before.
    Said(Vec<String>),
    /// The issuer says nothing, so the groups stay as they are.
    NotSaid,
}

/// The compiled expressions of an issuer.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
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

impl Rules {
    /// Returns the names that the expressions may use.
    pub(crate) fn roots() -> Roots {
        Roots::new(["claims"])
    }

    /// Checks `allow`. Without it, every token with a valid signature and audience is admitted.
    pub(crate) fn admit(&self, claims: &Document) -> Result<(), NotAdmitted> {
        let Some(allow) = &self.allow else { return Ok(()) };
        match allow.holds(&scope(claims), &mut budget()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(refused("allow", "it is false")),
            Err(error) => Err(refused("allow", error.to_string())),
        }
    }

    /// Returns the identity's name.
    pub(crate) fn name(&self, claims: &Document) -> Result<String, NotAdmitted> {
        let scope = scope(claims);
        let value = self.name.evaluate(&scope, &mut budget()).map_err(|error| refused("name", error.to_string()))?;
        let name = value.as_str().ok_or_else(|| refused("name", format!("it is not a text but {}", value.brief())))?;
        check_name(&name).map_err(|why| refused("name", why))?;
        Ok(name.into_owned())
    }

    /// Returns the groups, each with `prefix` before it.
    pub(crate) fn groups(&self, claims: &Document, prefix: &str) -> Result<Groups, NotAdmitted> {
        let Some(groups) = &self.groups else { return Ok(Groups::NotSaid) };
        // Entra leaves out the groups above 200, and names a place to ask for them.
        if claims.root().get("_claim_names").is_some_and(|names| names.get("groups").is_some()) {
            return Err(NotAdmitted::Overage);
        }
        let scope = scope(claims);
        let value = groups.evaluate(&scope, &mut budget()).map_err(|error| refused("groups", error.to_string()))?;
        if matches!(value, Value::Null) {
            return Ok(Groups::NotSaid);
        }
        let elements = value.elements().ok_or_else(|| refused("groups", format!("it is not a list but {}", value.brief())))?;
        let mut said = BTreeSet::new();
        for element in elements {
            let name = element.as_str().ok_or_else(|| refused("groups", format!("{} is not a text", element.brief())))?;
            check_group(&name).map_err(|why| refused("groups", why))?;
            said.insert(format!("{prefix}{name}"));
        }
        if said.len() > GROUPS_MAX { Err(NotAdmitted::Overage) } else { Ok(Groups::Said(said.into_iter().collect())) }
    }
}

/// Returns what is wrong with the name of an identity.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if !name.is_empty() && name.len() <= IDENTITY_NAME_BYTES_MAX && is_clean(name) {
        return Ok(());
    }
    Err(format!("a name has from 1 to {IDENTITY_NAME_BYTES_MAX} bytes, without control characters or spaces at its ends"))
}

/// Returns what is wrong with the name of a group.
pub(crate) fn check_group(name: &str) -> Result<(), String> {
    if !name.is_empty() && name.len() <= GROUP_NAME_BYTES_MAX && is_clean(name) {
        return Ok(());
    }
    Err(format!("the name of a group has from 1 to {GROUP_NAME_BYTES_MAX} bytes, without control characters or spaces at its ends"))
}

fn scope(claims: &Document) -> Scope<'_> {
    Scope::new().with("claims", Value::from(claims.root()))
}

fn budget() -> Budget {
    Budget::steps(RULE_STEPS_MAX)
}

fn refused(setting: &'static str, why: impl Into<String>) -> NotAdmitted {
    NotAdmitted::Refused { setting, why: why.into() }
}

fn is_clean(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.trim() == text
}
