//! Access tokens: who has access, with which roles, and whose was revoked. Their secrets, even hashed, are
//! only in the vault.

use ensue_derive::sparse;
use ensue_engine::fact::{AccessFact, ByNoun};
use ensue_engine::ids::{IdentityId, TokenId};
use ensue_engine::names::Names;
use ensue_engine::record::{Position, Record};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounds::cut;
use crate::view::{Column, Term, Touch, View, ViewName};

/// The version of the fold and the document.
pub const VERSION: u32 = 2;

/// The columns by which tokens can be filtered.
pub const COLUMNS: &[Column] = &[Column::Name, Column::Status];

/// The maximum size of a shown actor, in bytes.
const ACTOR_BYTES_MAX: usize = 1024;

/// An access token.
#[sparse(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// The position of the record that added it.
    pub position: Position,
    /// The holder's name.
    pub name: String,
    /// The holder's roles; none if an identity holds it.
    pub roles: Vec<String>,
    /// The identity that holds it.
    pub identity: Option<IdentityId>,
    /// The scopes beyond which it allows nothing.
    pub scopes: Option<Vec<String>>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// Whether it grants access.
    pub status: TokenStatus,
    /// When it was added.
    pub added_at: Timestamp,
    /// The actor that added it, in the log's notation.
    pub added_by: String,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The actor that revoked it.
    pub revoked_by: Option<String>,
}

/// Whether a token grants access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Names)]
#[serde(rename_all = "snake_case")]
pub enum TokenStatus {
    /// It grants access.
    Active,
    /// It has a successor of the same name, and grants access until it expires.
    Replaced,
    /// It no longer grants access.
    Revoked,
}

impl View for Token {
    const NAME: ViewName = ViewName::Tokens;
    type Key = TokenId;

    fn key(record: &Record) -> Option<Touch<TokenId>> {
        let ByNoun::AccessFact(fact) = record.fact.by_noun() else { return None };
        match fact {
            AccessFact::TokenAdded(fact) => Some(Touch::Begins(fact.id)),
            AccessFact::TokenLimited(fact) => Some(Touch::Changes(fact.id)),
            AccessFact::TokenRotated(fact) => Some(Touch::Changes(fact.id)),
            AccessFact::TokenRevoked(fact) => Some(Touch::Changes(fact.id)),
            _ => None,
        }
    }

    fn project(before: Option<Self>, record: &Record) -> Option<Self> {
        let ByNoun::AccessFact(fact) = record.fact.by_noun() else { return before };
        match fact {
            // A fact limits the name and the roles together, so the document is within its bounds.
            AccessFact::TokenAdded(fact) => Some(Self {
                id: fact.id,
                position: record.position,
                name: fact.name.clone(),
                roles: fact.roles.clone(),
                identity: None,
                scopes: None,
                expires_at: None,
                status: TokenStatus::Active,
                added_at: record.time,
                added_by: cut(&record.actor.to_string(), ACTOR_BYTES_MAX),
                revoked_at: None,
                revoked_by: None,
            }),
            AccessFact::TokenRevoked(_) => before.map(|token| Self {
                status: TokenStatus::Revoked,
                revoked_at: Some(record.time),
                revoked_by: Some(cut(&record.actor.to_string(), ACTOR_BYTES_MAX)),
                ..token
            }),
            // The bounds of facts are those of the document.
            AccessFact::TokenLimited(fact) => {
                before.map(|token| Self { identity: fact.identity, scopes: fact.scopes.clone(), expires_at: fact.expires_at, ..token })
            }
            AccessFact::TokenRotated(fact) => before.map(|token| Self {
                status: TokenStatus::Replaced,
                expires_at: Some(token.expires_at.map_or(fact.until, |ends| ends.min(fact.until))),
                ..token
            }),
            _ => before,
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn began_at(&self) -> Timestamp {
        self.added_at
    }

    fn columns(&self) -> Vec<Option<Term>> {
        vec![Some(self.name.as_str().into()), Some(self.status.as_str().into())]
    }
}
