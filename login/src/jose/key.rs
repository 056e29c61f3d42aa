//! One public key of an issuer.

use ensue_expression::{Node, NodeKind};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use thiserror::Error;

use super::algorithm::Algorithm;
use super::decode_url;

/// The minimum length of an RSA modulus, in bits.
pub const RSA_BITS_MIN: usize = 2_048;
/// The maximum length of an RSA modulus, in bits: a longer one would cost too much for each token.
pub const RSA_BITS_MAX: usize = 8_192;

/// The members of a key that must be secret.
const PRIVATE_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key that can verify tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    id: Option<String>,
    /// The only algorithm that the issuer uses it with, if it names one.
    algorithm: Option<Algorithm>,
    public: Public,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Public {
    /// Both numbers are big-endian and without leading zeros.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    /// An uncompressed point.
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why a key is not used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// It is not an object, or a member has the wrong type or encoding.
    #[error("`{0}` is missing or malformed")]
    Malformed(&'static str),
    /// It is not for signatures.
    #[error("it is not for signatures")]
    OtherUse,
    /// It has a type or curve that is not supported.
    #[error("its type or curve is not supported")]
    Unsupported,
    /// Its `alg` is not supported, or does not belong to its type.
    #[error("its `alg` is not supported, or does not belong to its type")]
    WrongAlgorithm,
    /// It is symmetric: anyone who can verify could also sign.
    #[error("it is symmetric")]
    Symmetric,
    /// The private part was published, so anyone could sign.
    #[error("its private part is published")]
    Published,
    /// The RSA modulus is too short or too long.
    #[error("the RSA modulus has {bits} bits, but must have from {RSA_BITS_MIN} to {RSA_BITS_MAX}")]
    Length {
        /// The length of the modulus.
        bits: usize,
    },
    /// The RSA exponent is even, too small or too large.
    #[error("the RSA exponent is not an odd number from 3 to 8589934591")]
    Exponent,
    /// Another key of the set has the same id.
    #[error("another key has the same `kid`")]
    SameId,
}

impl Key {
    /// Reads one element of `keys`.
    pub(super) fn read(node: Node<'_>) -> Result<Self, KeyFault> {
        if node.kind() != NodeKind::Object {
            return Err(KeyFault::Malformed("kty"));
        }
        let kty = text(node, "kty")?.ok_or(KeyFault::Malformed("kty"))?;
        if kty == "oct" {
            return Err(KeyFault::Symmetric);
        }
        if PRIVATE_MEMBERS.iter().any(|member| node.get(member).is_some()) {
            return Err(KeyFault::Published);
        }
        if text(node, "use")?.is_some_and(|purpose| purpose != "sig") || !may_verify(node)? {
            return Err(KeyFault::OtherUse);
        }
        let public = Public::read(node, &kty)?;
        let algorithm = match text(node, "alg")? {
            None => None,
            Some(name) => Some(Algorithm::from_name(&name).filter(|named| public.fits(*named)).ok_or(KeyFault::WrongAlgorithm)?),
        };
        Ok(Self { id: text(node, "kid")?, algorithm, public })
    }

    /// Creates the key of the node itself, from a public key of Ed25519.
    pub(crate) fn ed25519(id: String, public: Vec<u8>) -> Self {
        Self { id: Some(id), algorithm: Some(Algorithm::EdDsa), public: Public::Ed25519(public) }
    }

    /// Returns the key's id, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns true if the key may verify signatures of `algorithm`.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.public.fits(algorithm) && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Returns true if `signature` is that of `message`. A key that does not fit the algorithm verifies nothing.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let by_bytes = |verification: &'static dyn VerificationAlgorithm, bytes: &[u8]| {
            UnparsedPublicKey::new(verification, bytes).verify(message, signature).is_ok()
        };
        match (&self.public, algorithm) {
            (Public::Rsa { modulus, exponent }, Algorithm::Rs256) => RsaPublicKeyComponents { n: modulus, e: exponent }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            (Public::Rsa { modulus, exponent }, Algorithm::Ps256) => {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(&signature::RSA_PSS_2048_8192_SHA256, message, signature).is_ok()
            }
            (Public::P256(point), Algorithm::Es256) => by_bytes(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Public::P384(point), Algorithm::Es384) => by_bytes(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Public::Ed25519(bytes), Algorithm::EdDsa) => by_bytes(&signature::ED25519, bytes),
            _ => false,
        }
    }
}

impl Public {
    fn read(node: Node<'_>, kty: &str) -> Result<Self, KeyFault> {
        match (kty, text(node, "crv")?.as_deref()) {
            ("RSA", None) => Self::rsa(number(node, "n")?, number(node, "e")?),
            ("EC", Some("P-256")) => Ok(Self::P256(point(node, 32)?)),
            ("EC", Some("P-384")) => Ok(Self::P384(point(node, 48)?)),
            ("OKP", Some("Ed25519")) => Ok(Self::Ed25519(coordinate(node, "x", 32)?)),
            _ => Err(KeyFault::Unsupported),
        }
    }

    fn rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Result<Self, KeyFault> {
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(KeyFault::Length { bits });
        }
        if modulus.last().is_none_or(|last| last % 2 == 0) {
            return Err(KeyFault::Malformed("n"));
        }
        // `ring` accepts exponents of at most 33 bits.
        let value = exponent.iter().try_fold(0_u64, |value, byte| (value < 1 << 32).then_some(value << 8 | u64::from(*byte)));
        match value {
            Some(value) if value % 2 == 1 && (3..1 << 33).contains(&value) => Ok(Self::Rsa { modulus, exponent }),
            _ => Err(KeyFault::Exponent),
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        matches!(
            (self, algorithm),
            (Self::Rsa { .. }, Algorithm::Rs256 | Algorithm::Ps256)
                | (Self::P256(_), Algorithm::Es256)
                | (Self::P384(_), Algorithm::Es384)
                | (Self::Ed25519(_), Algorithm::EdDsa)
        )
    }
}

/// Returns the text of a member, or `None` if there is no such member.
fn text(node: Node<'_>, member: &'static str) -> Result<Option<String>, KeyFault> {
    let Some(value) = node.get(member) else { return Ok(None) };
    value.as_str().map(|text| Some(text.into_owned())).ok_or(KeyFault::Malformed(member))
}

fn bytes(node: Node<'_>, member: &'static str) -> Result<Vec<u8>, KeyFault> {
    let text = text(node, member)?.ok_or(KeyFault::Malformed(member))?;
    decode_url(&text).ok_or(KeyFault::Malformed(member))
}

/// Returns a number without leading zeros. Some issuers write one, although the standard forbids it.
fn number(node: Node<'_>, member: &'static str) -> Result<Vec<u8>, KeyFault> {
    let bytes = bytes(node, member)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes[zeros..].to_vec())
}

fn coordinate(node: Node<'_>, member: &'static str, length: usize) -> Result<Vec<u8>, KeyFault> {
    bytes(node, member).and_then(|bytes| if bytes.len() == length { Ok(bytes) } else { Err(KeyFault::Malformed(member)) })
}

fn point(node: Node<'_>, length: usize) -> Result<Vec<u8>, KeyFault> {
    let mut point = vec![4];
    point.extend(coordinate(node, "x", length)?);
    point.extend(coordinate(node, "y", length)?);
    Ok(point)
}

fn may_verify(node: Node<'_>) -> Result<bool, KeyFault> {
    let Some(operations) = node.get("key_ops") else { return Ok(true) };
    if operations.kind() != NodeKind::Array {
        return Err(KeyFault::Malformed("key_ops"));
    }
    Ok(operations.items().any(|operation| operation.as_str().is_some_and(|name| name == "verify")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ensue_expression::Document;

    use super::*;

    #[test]
    fn signature_of_rfc_8037_is_verified_with_its_key() {
        let text = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let document = Document::parse(Bytes::from_static(text.as_bytes())).unwrap();
        let key = Key::read(document.root()).unwrap();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let mut signature = decode_url("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg").unwrap();
        assert!(key.verifies(Algorithm::EdDsa, message, &signature));
        assert!(!key.verifies(Algorithm::Es256, message, &signature), "the key does not fit");
        signature[63] ^= 1;
        assert!(!key.verifies(Algorithm::EdDsa, message, &signature));
    }
}
