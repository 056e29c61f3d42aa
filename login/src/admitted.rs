//! Whom an issuer's claims admit.

use ensue_engine::time::Timestamp;
use ensue_expression::Document;

use crate::claims::Claims;
use crate::refusal::{Refusal, shown};
use crate::rules::{Groups, NotAdmitted};
use crate::settings::{GroupPrefix, IssuerName, IssuerSettings, Kind};

/// Whom a token admits, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The issuer.
    pub issuer: IssuerName,
    /// What identifies the identity at the issuer: `sub` of a person, the rendered name of a service.
    pub subject: String,
    /// What the identity is.
    pub kind: Kind,
    /// The name that the settings render.
    pub name: String,
    /// The groups, with the issuer's name before each unless `local_groups` is set.
    pub groups: Groups,
    /// When the issuer signed it, if the token says so.
    pub issued: Option<Timestamp>,
    /// When the token expires.
    pub until: Timestamp,
}

/// Applies the settings of an issuer to verified claims.
pub(crate) fn admitted(settings: &IssuerSettings, claims: &Claims, document: &Document) -> Result<Admitted, Refusal> {
    let refused = |why: NotAdmitted| match why {
        NotAdmitted::Refused { setting, why } => Refusal::ClaimsRefused { issuer: settings.name.clone(), setting, why: shown(&why) },
        NotAdmitted::Overage => Refusal::GroupsOverage { issuer: settings.name.clone() },
    };
    settings.rules.admit(document).map_err(refused)?;
    let name = settings.rules.name(document).map_err(refused)?;
    let prefix = match settings.group_prefix {
        GroupPrefix::Issuer => Some(settings.name.as_str()),
        GroupPrefix::None => None,
    };
    let groups = settings.rules.groups(document, prefix).map_err(refused)?;
    let subject = match settings.kind {
        Kind::Person => claims.subject.clone(),
        Kind::Service => name.clone(),
    };
    Ok(Admitted { issuer: settings.name.clone(), subject, kind: settings.kind, name, groups, issued: claims.issued, until: claims.expires })
}
