//! Creating, replacing and revoking the named tokens of a node.
//!
//! The hash of a secret is in the vault before its token is in the log.

use std::sync::Arc;
use std::time::Duration;

use ensue_api::ports::{Access as _, AskedToken, MadeToken, OnBehalf, PortError, Tokens};
use ensue_engine::access::permission::BuiltInRole;
use ensue_engine::command::{Answer, Ask, Command, NewToken, Refusal, RotatedToken};
use ensue_engine::explain::Explain;
use ensue_engine::ids::{Id, TokenId};
use ensue_engine::ports::{CommitReceipt, Secret, SubmitError};
use thiserror::Error;

use crate::access::TokenTable;
use crate::clock::SteppedClock;
use crate::sequencer::Asking;
use crate::token_form::{GIVEN_SECRET_BYTES_MIN, given_parts, sha256};

/// The random bytes of a token's secret.
const SECRET_BYTES: usize = 32;
/// The longest name of a holder, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The most roles of a token.
const ROLES_MAX: usize = 16;

/// Why a token is not created.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Invalid)]
pub enum TokenRefusal {
    /// The name has an invalid form.
    #[error("`{0}` is not a valid name for a token: use 1 to {NAME_BYTES_MAX} of a-z, 0-9, `_`, `-` and `.`")]
    #[explain(slug = "token-name-invalid", hint = "name the token after its holder, for example `ana` or `ci.release`")]
    Name(String),
    /// There is no role, or too many, or a role has an invalid form.
    #[error("`{0}` are not valid roles for a token: give 1 to {ROLES_MAX}, each a name of a-z, 0-9 and `_`, or an identity, or scopes")]
    #[explain(slug = "token-roles-invalid", hint = "use, for example, one of the built-in roles: admin, operator, author and viewer")]
    Roles(String),
    /// The token of an identity has the identity's roles.
    #[error("a token of an identity has the roles that are granted to the identity, so it cannot have others")]
    #[explain(slug = "token-roles-invalid", hint = "leave out the roles; grant them with `ensue grants add identity:<name> --role <role>`")]
    RolesOfIdentity,
    /// The role can only be granted.
    #[error("the role `{0}` can only be granted to identities and groups")]
    #[explain(
        slug = "token-roles-invalid",
        hint = "give the token the scope `events:write` instead, or add an identity and grant it the role"
    )]
    RoleOfGrants(String),
    /// A token that was created elsewhere has an invalid form.
    #[error(
        "the given token is invalid: expected `ens_`, a UUID, `_` and a secret of at least {GIVEN_SECRET_BYTES_MIN} letters and digits"
    )]
    #[explain(slug = "token-invalid", hint = "create one with `echo ens_$(cat /proc/sys/kernel/random/uuid)_$(openssl rand -hex 32)`")]
    Given,
}

/// Creates and revokes tokens.
pub struct NodeTokens {
    /// The tokens.
    pub table: Arc<TokenTable>,
    /// The access to the sequencer.
    pub sequencer: Arc<dyn Asking>,
    /// The source of ids.
    pub clock: Arc<dyn SteppedClock>,
}

impl NodeTokens {
    /// Adds a token that was created elsewhere, of the form `ens_<id>_<secret>`.
    pub fn add_given(&self, name: &str, roles: &[String], token: &Secret, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        let (id, secret) = given_parts(token).ok_or(TokenRefusal::Given)?;
        let asked = AskedToken { name: name.to_owned(), roles: roles.to_vec(), ..AskedToken::default() };
        check_token(&asked)?;
        self.put(id, sha256(&secret), Ask::AddToken(NewToken::with_roles(id, name, roles.to_vec())), (name, by))
    }

    fn fresh_id(&self) -> TokenId {
        let moment = self.clock.moment();
        TokenId(Id::root(moment.time, moment.entropy))
    }

    /// Stores the hash of a secret, and submits the request that makes it valid.
    fn put(&self, id: TokenId, hash: [u8; 32], ask: Ask, (name, by): (&str, &OnBehalf)) -> Result<CommitReceipt, PortError> {
        self.table.vault.put_token(id, hash)?;
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        let added = self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask });
        let added = match added {
            Ok(CommitReceipt { answer: Answer::Before(_), .. }) => Err(Refusal::TokenNameTaken(name.to_owned()).into()),
            other => other,
        };
        // If it is unknown whether the token was added, the secret must stay in case it was; if it was not, the
        // next start destroys the secret.
        if matches!(&added, Err(error) if !matches!(error, SubmitError::Unknown))
            && let Err(error) = self.table.vault.destroy_token(id)
        {
            tracing::warn!(%error, "the secret of a token that was not added stays in the vault until the next start");
        }
        Ok(added?)
    }
}

impl Tokens for NodeTokens {
    fn add(&self, asked: &AskedToken, by: &OnBehalf) -> Result<MadeToken, PortError> {
        check_token(asked)?;
        if asked.identity.is_none() && self.table.identity_named(&asked.name).is_some() {
            // Inquiries name people by either.
            return Err(SubmitError::from(Refusal::TokenNameTaken(asked.name.clone())).into());
        }
        let made = new_token(self.fresh_id());
        let token = asked_as(asked, made.id, self.clock.now());
        let expires_at = token.expires_at;
        let committed = self.put(made.id, made.hash, Ask::AddToken(token), (&asked.name, by))?;
        Ok(MadeToken { id: made.id, token: made.token, expires_at, committed })
    }

    fn rotate(&self, name: &str, overlap: Duration, by: &OnBehalf) -> Result<MadeToken, PortError> {
        let made = new_token(self.fresh_id());
        let until = self.clock.now().plus_millis(overlap.as_millis() as u64);
        let rotated = RotatedToken { name: name.to_owned(), successor: made.id, until };
        let committed = self.put(made.id, made.hash, Ask::RotateToken(rotated), (name, by))?;
        let expires_at = self.table.directory().token(&made.id).and_then(|token| token.expires_at);
        Ok(MadeToken { id: made.id, token: made.token, expires_at, committed })
    }

    fn revoke(&self, name: &str, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        let ask = Ask::RevokeToken { name: name.to_owned() };
        Ok(self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask })?)
    }
}

/// Returns the token that the core is asked to add at a time.
pub(crate) fn asked_as(asked: &AskedToken, id: TokenId, now: ensue_engine::time::Timestamp) -> NewToken {
    NewToken {
        id,
        name: asked.name.clone(),
        roles: asked.roles.clone(),
        identity: asked.identity,
        scopes: asked.scopes.clone(),
        expires_at: asked.expires_in.map(|period| now.plus_millis(period.as_millis() as u64)),
    }
}

/// A token that was created and that nobody knows yet.
pub(crate) struct FreshToken {
    /// The token's id.
    pub(crate) id: TokenId,
    /// The whole token, `ens_<id>_<secret>`.
    pub(crate) token: Secret,
    /// The SHA-256 of its secret.
    pub(crate) hash: [u8; 32],
}

/// Creates a token with a random secret.
pub(crate) fn new_token(id: TokenId) -> FreshToken {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    let secret = hex::encode(bytes);
    FreshToken { id, token: Secret::new(format!("ens_{id}_{secret}").into_bytes()), hash: sha256(secret.as_bytes()) }
}

/// Checks that a token has a valid name, and either roles, an identity, or scopes.
pub(crate) fn check_token(asked: &AskedToken) -> Result<(), TokenRefusal> {
    let AskedToken { name, roles, identity, scopes, .. } = asked;
    check_name(name)?;
    let listed = || roles.join(", ").chars().take(200).collect::<String>();
    if roles.len() > ROLES_MAX || !roles.iter().all(|role| ensue_engine::names::is_name(role)) {
        return Err(TokenRefusal::Roles(listed()));
    }
    match (roles.is_empty(), identity) {
        (false, Some(_)) => return Err(TokenRefusal::RolesOfIdentity),
        (true, None) if scopes.is_none() => return Err(TokenRefusal::Roles(listed())),
        (_, _) => {}
    }
    match roles.iter().find(|role| **role == BuiltInRole::Ingester.name()) {
        Some(role) => Err(TokenRefusal::RoleOfGrants(role.clone())),
        None => Ok(()),
    }
}

/// Checks that a name has a valid form. It is not an id: records name identities by their ids, and tokens by their names.
pub(crate) fn check_name(name: &str) -> Result<(), TokenRefusal> {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_fine) || name.parse::<Id>().is_ok() {
        return Err(TokenRefusal::Name(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ensue_engine::batch::{BatchInputs, OfferOutcome, Sequencing};
    use ensue_engine::command::{Moment, Nothing, Settings};
    use ensue_engine::engine::Engine;
    use ensue_engine::ids::{IdentityId, LogId};
    use ensue_engine::ports::{Reply, Vault};
    use ensue_engine::record::{Actor, Epoch, Head};
    use ensue_engine::time::Timestamp;
    use ensue_store::master_key::MasterKey;
    use ensue_store::memory::MemoryVault;

    use super::*;
    use crate::clock::SystemClock;

    /// A log that fails with this error.
    struct FailingLog(SubmitError);

    impl ensue_engine::ports::Submit for FailingLog {
        fn submit(&self, _: Command, reply: Reply) {
            reply(Err(self.0.clone()));
        }
    }

    impl Asking for FailingLog {
        fn ask(&self, _: Command) -> Result<CommitReceipt, SubmitError> {
            Err(self.0.clone())
        }
    }

    /// Returns how many secrets the vault holds after a token was added to a log that fails with this error.
    fn kept_after(error: SubmitError) -> usize {
        let vault: Arc<dyn Vault> = Arc::new(MemoryVault::new(LogId(Id::root(Timestamp::default(), 1)), MasterKey::from_bytes([7; 32])));
        let table = Arc::new(
            TokenTable::open_vault(vault.clone(), &Engine::new(LogId(Id::root(Timestamp::default(), 1))), Arc::new(SystemClock::default()))
                .unwrap(),
        );
        let tokens = NodeTokens { table, sequencer: Arc::new(FailingLog(error)), clock: Arc::new(SystemClock::default()) };
        let by = OnBehalf { actor: Actor::Operator, trace: None, request: None };
        assert!(tokens.add(&sample_token("ana"), &by).is_err());
        vault.tokens().unwrap().len()
    }

    fn sample_token(name: &str) -> AskedToken {
        AskedToken { name: name.to_owned(), roles: vec!["viewer".to_owned()], ..AskedToken::default() }
    }

    #[test]
    fn token_has_roles_or_an_identity_or_scopes() {
        let identity = Some(IdentityId(Id::root(Timestamp::default(), 3)));
        let scopes = Some(vec!["events:write".parse().unwrap()]);
        let none = AskedToken { roles: Vec::new(), ..sample_token("ana") };
        assert!(matches!(check_token(&none), Err(TokenRefusal::Roles(_))));
        assert!(check_token(&AskedToken { identity, ..none.clone() }).is_ok());
        assert!(check_token(&AskedToken { scopes, ..none }).is_ok());
        assert!(matches!(check_token(&AskedToken { identity, ..sample_token("ana") }), Err(TokenRefusal::RolesOfIdentity)));
        let ingester = AskedToken { roles: vec!["approver".to_owned(), "ingester".to_owned()], ..sample_token("ana") };
        assert!(matches!(check_token(&ingester), Err(TokenRefusal::RoleOfGrants(_))));
    }

    #[test]
    fn token_name_is_plain_text() {
        for bad in ["01980000-0000-7000-8000-00000000000a", "", "a b", "é", "Ana", "ana@example", "a/b", "a\n", &"a".repeat(65)] {
            assert!(matches!(check_token(&sample_token(bad)), Err(TokenRefusal::Name(_))), "{bad:?}");
        }
        assert!(check_token(&sample_token("ci.release_1-b")).is_ok());
    }

    #[test]
    fn token_secret_is_removed_only_if_the_log_certainly_lacks_the_token() {
        assert_eq!(kept_after(SubmitError::StorageFull), 0);
        assert_eq!(kept_after(SubmitError::Unknown), 1, "the log may have the token; without its secret, nobody could ever use it");
    }

    #[test]
    fn token_whose_secret_is_missing_in_the_vault_is_named() {
        let log = LogId(Id::root(Timestamp::default(), 1));
        let mut sequencing = Sequencing::new(Engine::new(log), Head::default(), Epoch(1));
        let (at, id) = (Moment { time: Timestamp::default(), entropy: 1 }, TokenId(Id::root(Timestamp::default(), 2)));
        let ask = Ask::AddToken(NewToken::with_roles(id, "ana", vec!["viewer".to_owned()]));
        let beside = BatchInputs { catalogs: &Nothing, bodies: &Nothing, seen: &Nothing, settings: &Settings::default() };
        let added = sequencing.offer(&Command { actor: Actor::Operator, trace: None, ask }, &at, &beside);
        assert!(matches!(added, OfferOutcome::Taken { .. }));
        let vault = MemoryVault::new(log, MasterKey::from_bytes([7; 32]));
        let table = TokenTable::open_vault(Arc::new(vault), sequencing.engine(), Arc::new(SystemClock::default())).unwrap();
        assert_eq!((table.is_empty(), table.lost_tokens()), (true, &["ana".to_owned()][..]));
    }

    #[test]
    fn secret_without_a_token_in_the_log_is_destroyed_at_a_start() {
        let log = LogId(Id::root(Timestamp::default(), 1));
        let vault = Arc::new(MemoryVault::new(log, MasterKey::from_bytes([7; 32])));
        vault.put_token(TokenId(Id::root(Timestamp::default(), 2)), [1; 32]).unwrap();
        TokenTable::open_vault(vault.clone(), &Engine::new(log), Arc::new(SystemClock::default())).unwrap();
        assert_eq!(vault.tokens().unwrap(), []);
    }
}
