//! Facts about keys, tokens, identities, roles, grants and sessions.

use serde::{Deserialize, Serialize};

use super::limit::Limit;
use super::subject::Subject;
use crate::ids::{GrantId, IdentityId, InquiryId, LinkId, SessionId, TokenId};
use crate::names::{GroupName, IssuerName, KeyRef, Names, RoleName};
use crate::time::Timestamp;

/// A key has a new value, which the vault stores under this version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySet {
    /// The key.
    pub key: KeyRef,
    /// The version, from 1.
    pub version: u32,
}

/// A key no longer has a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRemoved {
    /// The key.
    pub key: KeyRef,
}

/// A token grants access to its holder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenAdded {
    /// Its id.
    pub id: TokenId,
    /// The holder's name.
    pub name: String,
    /// The holder's roles.
    pub roles: Vec<String>,
}

/// A token no longer grants access.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRevoked {
    /// Its id.
    pub id: TokenId,
}

/// The token of the same name and batch is limited: it belongs to an identity, has scopes, or expires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLimited {
    /// The token.
    pub id: TokenId,
    /// The identity that holds it; its roles and grants are those of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityId>,
    /// The scopes, `<noun>:<verb>` or `<noun>:<verb> on <limit>`. The token allows nothing beyond them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A token has a successor of the same name, and stays valid for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRotated {
    /// The token.
    pub id: TokenId,
    /// Its successor.
    pub successor: TokenId,
    /// Until when the old token is valid.
    pub until: Timestamp,
}

/// What an identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum IdentityKind {
    /// A human.
    Person,
    /// A program.
    Service,
}

/// A person or a service exists. Its name is only in the vault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityAdded {
    /// Its id.
    pub id: IdentityId,
    /// What it is.
    pub kind: IdentityKind,
    /// The issuer that admitted it, and that is a way in from then on; none if somebody added it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_issuer: Option<IssuerName>,
}

/// An issuer is a way in for an identity. The identity's name at the issuer is only in the vault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityLinked {
    /// The identity.
    pub id: IdentityId,
    /// The issuer.
    pub issuer: IssuerName,
}

/// An issuer was removed as a way in for an identity, together with the groups that it named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityUnlinked {
    /// The identity.
    pub id: IdentityId,
    /// The issuer.
    pub issuer: IssuerName,
}

/// The credentials of an identity are no longer accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityDisabled {
    /// The identity.
    pub id: IdentityId,
}

/// The credentials of an identity are accepted again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityEnabled {
    /// The identity.
    pub id: IdentityId,
}

/// An identity no longer exists, and the vault has destroyed its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityErased {
    /// The identity.
    pub id: IdentityId,
}

/// An identity is a member of these groups, and of no others from this source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityGroupsSet {
    /// The identity.
    pub id: IdentityId,
    /// The issuer that named them; none if somebody set them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IssuerName>,
    /// When the issuer named them; none if somebody set them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_at: Option<Timestamp>,
    /// The groups.
    pub groups: Vec<GroupName>,
}

/// An identity is absent, and its deputy answers inquiries in its place. Without any time and deputy, it is present.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityAbsentSet {
    /// The identity.
    pub id: IdentityId,
    /// When the absence begins; `None` if it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// When it ends; `None` if that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The deputy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deputy: Option<IdentityId>,
}

/// A role has these permissions, and no others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleSet {
    /// The role.
    pub name: RoleName,
    /// The permissions, `<noun>:<verb>`. A permission that a release does not know grants nothing.
    pub permissions: Vec<String>,
    /// Whether the settings of the node declare it. It is then changed only there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub declared: bool,
}

/// A role no longer exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleRemoved {
    /// The role.
    pub name: RoleName,
}

/// A subject has a role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantAdded {
    /// Its id.
    pub id: GrantId,
    /// The subject that has the role.
    pub subject: Subject,
    /// The role.
    pub role: RoleName,
    /// What the role covers; none if it covers everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Limit>,
    /// When the grant ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Whether the settings of the node declare it. It is then removed when it leaves them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub declared: bool,
}

/// A subject no longer has a role by this grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRemoved {
    /// The grant.
    pub id: GrantId,
}

/// Somebody has logged in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionOpened {
    /// Its id.
    pub id: SessionId,
    /// The identity that logged in; none if no identity holds the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityId>,
    /// How: `token`, `password`, `link`, `device`, or `oidc/<issuer>`.
    pub way: String,
    /// The token whose rights it has; those of the identity, if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<TokenId>,
    /// The only inquiry that it can see and answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<InquiryId>,
    /// The login link that opened it. Whoever created the link is the actor of its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkId>,
    /// When it ends at the latest.
    pub until: Timestamp,
}

/// A link was created that opens one session with the rights of a token. Its code is only known to whoever has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginLinkMinted {
    /// Its id.
    pub id: LinkId,
    /// The token.
    pub token: TokenId,
    /// The identity that holds the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityId>,
    /// Until when it is valid.
    pub until: Timestamp,
}

/// A session has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionEnded {
    /// The session.
    pub id: SessionId,
    /// Why it ended.
    pub reason: SessionEnd,
}

/// How an identity proves who it is has changed. The value is only in the vault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialChanged {
    /// The identity.
    pub identity: IdentityId,
    /// What has changed.
    pub what: CredentialKind,
    /// How.
    pub how: CredentialChange,
}

/// What a person proves who it is with, besides tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// Its password.
    Password,
    /// Its authenticator app, with the recovery codes.
    Otp,
}

/// How it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum CredentialChange {
    /// The person has set it.
    Set,
    /// The person has removed it.
    Removed,
    /// An administrator has given the person a code to set a password with, or has removed the authenticator app.
    Reset,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    /// Its holder logged out, here or at the issuer.
    Logout,
    /// Another session, or an administrator, ended it.
    EndedBy,
    /// It was not used for too long.
    Idle,
    /// Its time was over.
    Expired,
    /// A refresh token was used a second time.
    Reuse,
    /// The password was changed.
    PasswordChanged,
    /// The identity was disabled.
    IdentityDisabled,
    /// Its token or its identity does not exist, or its issuer is not configured.
    CredentialGone,
    /// The issuer has ended the login, or its settings no longer admit the person.
    IssuerEnded,
}
