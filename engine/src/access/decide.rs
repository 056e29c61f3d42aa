//! Decisions on commands about keys and tokens.

use crate::access::facts::{KeyRemoved, TokenAdded, TokenRevoked};
use crate::access::state::{ADMIN, Token};
use crate::command::{Answer, Decision, Refusal};
use crate::fact::Fact;
use crate::ids::TokenId;
use crate::names::KeyRef;
use crate::record::{Actor, Draft, StreamId};
use crate::state::State;

pub(crate) fn remove_key(state: &State, actor: &Actor, key: &KeyRef) -> Decision {
    if state.access().key(key).and_then(|versions| versions.current).is_none() {
        return Decision::Refused(Refusal::NoKey(key.clone()));
    }
    done(StreamId::Key(key.clone()), actor, KeyRemoved { key: key.clone() }.into())
}

pub(crate) fn add_token(state: &State, actor: &Actor, id: TokenId, name: &str, roles: &[String]) -> Decision {
    if state.access().tokens().any(|(_, token)| token.name == name) {
        return Decision::Refused(Refusal::TokenNameTaken(name.to_owned()));
    }
    done(StreamId::Token(id), actor, TokenAdded { id, name: name.to_owned(), roles: roles.to_vec() }.into())
}

pub(crate) fn revoke_token(state: &State, actor: &Actor, name: &str) -> Decision {
    let Some((id, token)) = state.access().tokens().find(|(_, token)| token.name == name) else {
        return Decision::Refused(Refusal::NoToken(name.to_owned()));
    };
    let is_admin = |token: &Token| token.roles.iter().any(|role| role == ADMIN);
    if is_admin(token) && state.access().tokens().filter(|(_, token)| is_admin(token)).count() == 1 {
        return Decision::Refused(Refusal::LastAdmin(name.to_owned()));
    }
    done(StreamId::Token(*id), actor, TokenRevoked { id: *id }.into())
}

fn done(stream: StreamId, actor: &Actor, fact: Fact) -> Decision {
    let draft = Draft { stream, begins: None, actor: actor.clone(), cause: None, trace: None, fact, body: None };
    Decision::Done { drafts: vec![draft], answer: Answer::Done }
}
