//! A signed token, read but not yet verified.

use bytes::Bytes;
use ensue_expression::{Document, NodeKind};
use thiserror::Error;

use super::algorithm::Algorithm;
use super::decode_url;
use super::key::Key;

/// The maximum length of a token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// The maximum length of a key's id in a token, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 256;

/// The parameters of a header that would change how a token is read, or from where its key comes.
const REFUSED_PARAMETERS: &[&str] = &["jku", "x5u", "x5c", "jwk", "crit", "zip", "b64", "enc", "epk", "apu", "apv", "p2s", "p2c"];

/// Why a token is not valid. Callers are not informed of it: the node's own log is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// The token is too long.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// The token does not have three parts of base64url.
    #[error("the token does not consist of three parts of base64url")]
    Parts,
    /// A part is not a JSON object, or has a name twice.
    #[error("the {0} is not a JSON object with distinct names")]
    NotAnObject(&'static str),
    /// A parameter of the header or a claim has the wrong type or range.
    #[error("`{0}` is missing or malformed")]
    Malformed(&'static str),
    /// The algorithm is not in the list.
    #[error("the algorithm is not supported")]
    Algorithm,
    /// The header has a parameter that is refused.
    #[error("the header has `{0}`, which is refused")]
    Parameter(&'static str),
    /// The type is neither `JWT` nor `at+jwt`.
    #[error("the type of the token is not accepted here")]
    Type,
    /// The issuer has no such key.
    #[error("the issuer has no key that fits the token")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// It is valid only later.
    #[error("the token is valid only later")]
    TooEarly,
    /// It is valid for too long.
    #[error("the token is valid for longer than `max_lifetime`")]
    Lifetime,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It is the ID token of a login in a browser.
    #[error("the token is the ID token of a login")]
    IdToken,
    /// It reports an event, such as a logout.
    #[error("the token reports an event and admits nobody")]
    Event,
}

/// A token whose header is accepted and whose signature is not yet verified.
#[derive(Debug)]
pub struct Token<'t> {
    algorithm: Algorithm,
    key_id: Option<String>,
    kind: Option<String>,
    claims: Document,
    message: &'t str,
    signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Reads a token in its compact form.
    ///
    /// # Errors
    /// Whatever is wrong with the token before its signature is verified.
    pub fn read(text: &'t str) -> Result<Self, TokenFault> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(TokenFault::Parts)?;
        let (header, claims) = message.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or(TokenFault::Parts)?;
        let header = object(header, "header")?;
        let root = header.root();
        if let Some(refused) = REFUSED_PARAMETERS.iter().find(|name| root.get(name).is_some()) {
            return Err(TokenFault::Parameter(refused));
        }
        let text_of = |name: &'static str| match root.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(|text| Some(text.into_owned())).ok_or(TokenFault::Malformed(name)),
        };
        let algorithm = text_of("alg")?.as_deref().and_then(Algorithm::from_name).ok_or(TokenFault::Algorithm)?;
        let key_id = text_of("kid")?;
        if key_id.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
            return Err(TokenFault::Malformed("kid"));
        }
        // A token inside a token.
        if root.get("cty").is_some() {
            return Err(TokenFault::Parameter("cty"));
        }
        let kind = text_of("typ")?.map(|kind| {
            let kind = kind.to_ascii_lowercase();
            kind.strip_prefix("application/").map_or(kind.clone(), str::to_owned)
        });
        let claims = object(claims, "payload")?;
        let signature = decode_url(signature).filter(|bytes| !bytes.is_empty()).ok_or(TokenFault::Parts)?;
        Ok(Self { algorithm, key_id, kind, claims, message, signature })
    }

    /// Returns the algorithm that the header names.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the id of the key that signed, if the header has it.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Returns the type in lower case and without `application/`, if the header has it.
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Returns the claims, which nobody has verified yet.
    pub fn unverified_claims(&self) -> &Document {
        &self.claims
    }

    /// Returns the claims if `key` signed them.
    ///
    /// # Errors
    /// If the key does not fit the algorithm, or the signature is not of this token.
    pub fn verify(self, key: &Key) -> Result<Document, TokenFault> {
        if key.verifies(self.algorithm, self.message.as_bytes(), &self.signature) { Ok(self.claims) } else { Err(TokenFault::Signature) }
    }
}

fn object(part: &str, what: &'static str) -> Result<Document, TokenFault> {
    let bytes = decode_url(part).ok_or(TokenFault::Parts)?;
    let document = Document::parse(Bytes::from(bytes)).map_err(|_| TokenFault::NotAnObject(what))?;
    if document.root().kind() == NodeKind::Object { Ok(document) } else { Err(TokenFault::NotAnObject(what)) }
}
