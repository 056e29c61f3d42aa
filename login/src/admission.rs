//! Whom an issuer's claims admit.

use ensue_engine::time::Timestamp;
use ensue_expression::Document;

use crate::claim_rules::{Groups, NotAdmitted};
use crate::claims::Claims;
use crate::refusal::{Refusal, to_short_line};
use crate::settings::{GroupPrefix, IssuerName, IssuerSettings, Kind};

/// Whom a token admits, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerIdentity {
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
pub(crate) fn admit_claims(settings: &IssuerSettings, claims: &Claims, document: &Document) -> Result<IssuerIdentity, Refusal> {
    let refused = |why: NotAdmitted| match why {
        NotAdmitted::Refused { setting, why } => {
            Refusal::ClaimsRefused { issuer: settings.name.clone(), setting, why: to_short_line(&why) }
        }
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
    Ok(IssuerIdentity {
        issuer: settings.name.clone(),
        subject,
        kind: settings.kind,
        name,
        groups,
        issued: claims.issued,
        until: claims.expires,
    })
}
