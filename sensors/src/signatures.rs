//! Signatures of deliveries: creates and checks a MAC over the raw body.
//!
//! The body is treated as bytes only. Anything but exactly one well-formed signature under a real key is
//! rejected.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ensue_engine::catalog::{HmacAlgorithm, HmacVerify, SignatureEncoding, Verify};
use ensue_engine::ports::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};
use thiserror::Error;

pub use ensue_engine::catalog::KEY_BYTES_MIN;

/// The header in which GitHub sends its signature.
const GITHUB_HEADER: &str = "x-hub-signature-256";
/// GitHub's prefix of the digits.
const GITHUB_PREFIX: &str = "sha256=";

/// Why a delivery does not prove its sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureRefusal {
    /// The sensor watches something else.
    #[error("the sensor accepts no deliveries")]
    NoDeliveries,
    /// The key is not set, or cannot be opened.
    #[error("the key that verifies the sender is not set")]
    NoKey,
    /// The key is too short to prove anything.
    #[error("the key that verifies the sender is {bytes} bytes long, but it must have at least {KEY_BYTES_MIN}")]
    ShortKey {
        /// Its length.
        bytes: usize,
    },
    /// The header is missing.
    #[error("the header `{header}` is missing")]
    Missing {
        /// The header, in lower case.
        header: String,
    },
    /// The header is there more than once, so nobody can say which one counts.
    #[error("the header `{header}` must be present once, but it is present {times} times")]
    Repeated {
        /// The header, in lower case.
        header: String,
        /// The number of repetitions.
        times: usize,
    },
    /// The header does not hold a signature.
    #[error("the header `{header}` does not contain a signature of the form {form}")]
    Malformed {
        /// The header, in lower case.
        header: String,
        /// The expected form.
        form: String,
    },
    /// The signature is not that of this body under this key.
    #[error("the signature in `{header}` does not match this body and this key")]
    Wrong {
        /// The header, in lower case.
        header: String,
    },
}

/// Checks that the sender of `body` has `key`. The names of `headers` must be in lower case.
///
/// # Errors
/// Returns what is missing or wrong. Without a usable key every delivery is rejected. The comparison takes
/// the same time whichever byte differs.
pub fn check(verify: &Verify, headers: &[(String, String)], body: &[u8], key: Option<&Secret>) -> Result<(), SignatureRefusal> {
    match Scheme::of(verify) {
        None => Ok(()),
        Some(scheme) => {
            let key = usable(key)?;
            let claimed = scheme.decode(only(headers, scheme.header)?)?;
            if scheme.algorithm.verifies(&claimed, body, key) {
                Ok(())
            } else {
                Err(SignatureRefusal::Wrong { header: scheme.header.to_owned() })
            }
        }
    }
}

/// Returns the header, name and value, with which `body` passes [`check`], or `None` if the sensor does not
/// verify deliveries.
///
/// # Errors
/// If the key is missing or too short.
pub fn sign(verify: &Verify, body: &[u8], key: Option<&Secret>) -> Result<Option<(String, String)>, SignatureRefusal> {
    match Scheme::of(verify) {
        None => Ok(None),
        Some(scheme) => {
            let mac = scheme.algorithm.mac(body, usable(key)?);
            Ok(Some((scheme.header.to_owned(), scheme.encode(&mac))))
        }
    }
}

/// How a signature is computed and written: the common form of all schemes.
struct Scheme<'v> {
    header: &'v str,
    algorithm: HmacAlgorithm,
    encoding: SignatureEncoding,
    prefix: &'v str,
}

impl<'v> Scheme<'v> {
    fn of(verify: &'v Verify) -> Option<Self> {
        match verify {
            Verify::Github { key: _ } => Some(Self {
                header: GITHUB_HEADER,
                algorithm: HmacAlgorithm::Sha256,
                encoding: SignatureEncoding::Hex,
                prefix: GITHUB_PREFIX,
            }),
            Verify::Hmac(HmacVerify { key: _, header, algorithm, encoding, prefix }) => {
                Some(Self { header, algorithm: *algorithm, encoding: *encoding, prefix })
            }
            Verify::None => None,
        }
    }

    fn encode(&self, mac: &[u8]) -> String {
        let text = match self.encoding {
            SignatureEncoding::Hex => hex::encode(mac),
            SignatureEncoding::Base64 => STANDARD.encode(mac),
        };
        format!("{}{text}", self.prefix)
    }

    /// Accepts only the exact spelling that [`Self::encode`] writes, so that a signature has only one form.
    fn decode(&self, text: &str) -> Result<Vec<u8>, SignatureRefusal> {
        let mac = text.strip_prefix(self.prefix).and_then(|text| match self.encoding {
            SignatureEncoding::Hex => hex::decode(text).ok(),
            SignatureEncoding::Base64 => STANDARD.decode(text).ok(),
        });
        mac.filter(|mac| mac.len() == self.algorithm.mac_bytes() && self.encode(mac) == text)
            .ok_or_else(|| SignatureRefusal::Malformed { header: self.header.to_owned(), form: self.form() })
    }

    fn form(&self) -> String {
        let bytes = self.algorithm.mac_bytes();
        match self.encoding {
            SignatureEncoding::Hex => format!("`{}` and {} lower-case hexadecimal digits", self.prefix, bytes * 2),
            SignatureEncoding::Base64 => format!("`{}` and the base64 of {bytes} bytes", self.prefix),
        }
    }
}

trait MacOf {
    fn mac_bytes(self) -> usize;
    fn mac(self, body: &[u8], key: &[u8]) -> Vec<u8>;
    fn verifies(self, claimed: &[u8], body: &[u8], key: &[u8]) -> bool;
}

impl MacOf for HmacAlgorithm {
    fn mac_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn mac(self, body: &[u8], key: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => fed::<Hmac<Sha256>>(body, key).finalize().into_bytes().to_vec(),
            Self::Sha512 => fed::<Hmac<Sha512>>(body, key).finalize().into_bytes().to_vec(),
        }
    }

    fn verifies(self, claimed: &[u8], body: &[u8], key: &[u8]) -> bool {
        match self {
            Self::Sha256 => fed::<Hmac<Sha256>>(body, key).verify_slice(claimed).is_ok(),
            Self::Sha512 => fed::<Hmac<Sha512>>(body, key).verify_slice(claimed).is_ok(),
        }
    }
}

fn fed<M: Mac + KeyInit>(body: &[u8], key: &[u8]) -> M {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.update(body);
    mac
}

fn usable(key: Option<&Secret>) -> Result<&[u8], SignatureRefusal> {
    let key = key.ok_or(SignatureRefusal::NoKey)?.reveal();
    if key.len() < KEY_BYTES_MIN {
        return Err(SignatureRefusal::ShortKey { bytes: key.len() });
    }
    Ok(key)
}

fn only<'h>(headers: &'h [(String, String)], header: &str) -> Result<&'h str, SignatureRefusal> {
    let mut found = headers.iter().filter(|(name, _)| name == header).map(|(_, value)| value.as_str());
    match (found.next(), found.count()) {
        (None, _) => Err(SignatureRefusal::Missing { header: header.to_owned() }),
        (Some(value), 0) => Ok(value),
        (Some(_), more) => Err(SignatureRefusal::Repeated { header: header.to_owned(), times: more + 1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"action":"opened","number":7}"#;

    fn key() -> Secret {
        Secret::new(b"a secret that is long enough".to_vec())
    }

    fn github() -> Verify {
        Verify::Github { key: "github.webhook_secret".parse().unwrap() }
    }

    fn hmac(algorithm: HmacAlgorithm, encoding: SignatureEncoding, prefix: &str) -> Verify {
        Verify::Hmac(HmacVerify {
            key: "shop.secret".parse().unwrap(),
            header: "x-shop-signature".into(),
            algorithm,
            encoding,
            prefix: prefix.into(),
        })
    }

    fn signed(verify: &Verify) -> (String, String) {
        sign(verify, BODY, Some(&key())).unwrap().unwrap()
    }

    /// GitHub's own worked example (docs.github.com, "Validating webhook deliveries").
    #[test]
    fn github_s_published_example_passes() {
        let header =
            ("x-hub-signature-256".to_owned(), "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".to_owned());
        let secret = Secret::new(b"It's a Secret to Everybody".to_vec());
        assert_eq!(check(&github(), &[header], b"Hello, World!", Some(&secret)), Ok(()));
    }

    #[test]
    fn valid_signature_passes_with_every_scheme() {
        for verify in [
            github(),
            hmac(HmacAlgorithm::Sha256, SignatureEncoding::Hex, ""),
            hmac(HmacAlgorithm::Sha256, SignatureEncoding::Base64, "v1,"),
            hmac(HmacAlgorithm::Sha512, SignatureEncoding::Hex, "sha512="),
            hmac(HmacAlgorithm::Sha512, SignatureEncoding::Base64, ""),
        ] {
            assert_eq!(check(&verify, &[signed(&verify)], BODY, Some(&key())), Ok(()), "{verify:?}");
        }
    }

    #[test]
    fn body_changed_by_one_byte_is_rejected() {
        let header = signed(&github());
        for altered in [&br#"{"action":"opened","number":7} "#[..], br#"{"number":7,"action":"opened"}"#, b"", b"{}"] {
            let refusal = check(&github(), std::slice::from_ref(&header), altered, Some(&key())).unwrap_err();
            assert!(matches!(refusal, SignatureRefusal::Wrong { .. }), "{refusal}");
        }
    }

    #[test]
    fn unsigned_and_sha1_signed_deliveries_are_rejected() {
        let sha1 = ("x-hub-signature".to_owned(), "sha1=0123456789012345678901234567890123456789".to_owned());
        for headers in [vec![], vec![sha1]] {
            let refusal = check(&github(), &headers, BODY, Some(&key())).unwrap_err();
            assert_eq!(refusal, SignatureRefusal::Missing { header: "x-hub-signature-256".into() });
        }
    }

    #[test]
    fn two_signatures_are_rejected_even_if_both_are_valid() {
        let header = signed(&github());
        let refusal = check(&github(), &[header.clone(), header], BODY, Some(&key())).unwrap_err();
        assert!(matches!(refusal, SignatureRefusal::Repeated { times: 2, .. }), "{refusal}");
    }

    #[test]
    fn malformed_signature_is_rejected() {
        let (name, right) = signed(&github());
        let digits = right.strip_prefix("sha256=").unwrap();
        for malformed in [
            String::new(),
            "sha256=".into(),
            digits.into(),
            format!("sha256={}", digits.to_uppercase()),
            format!("SHA256={digits}"),
            format!("sha256={}", &digits[1..]),
            format!("sha256={digits}0"),
            format!("sha256={digits}{digits}"),
            format!("sha256= {digits}"),
            format!("{right}, {right}"),
            format!("sha256={}", "z".repeat(64)),
            format!("sha256={}", "0".repeat(1 << 20)),
        ] {
            let refusal = check(&github(), &[(name.clone(), malformed.clone())], BODY, Some(&key())).unwrap_err();
            assert!(matches!(refusal, SignatureRefusal::Malformed { .. }), "{malformed:.80}: {refusal}");
        }
    }

    #[test]
    fn base64_signature_has_one_valid_spelling() {
        let verify = hmac(HmacAlgorithm::Sha256, SignatureEncoding::Base64, "");
        let (name, right) = signed(&verify);
        let unpadded = right.trim_end_matches('=').to_owned();
        let url_safe = STANDARD.encode([0xFB; 32]).replace('+', "-").replace('/', "_");
        for malformed in [unpadded, url_safe, format!("{right}\n"), format!("v1,{right}")] {
            let refusal = check(&verify, &[(name.clone(), malformed.clone())], BODY, Some(&key())).unwrap_err();
            assert!(matches!(refusal, SignatureRefusal::Malformed { .. }), "{malformed}: {refusal}");
        }
    }

    #[test]
    fn missing_or_short_key_passes_nothing_and_signs_nothing() {
        let with_empty_key = {
            let mac = HmacAlgorithm::Sha256.mac(BODY, b"");
            ("x-hub-signature-256".to_owned(), format!("sha256={}", hex::encode(mac)))
        };
        let short = Secret::new(b"only15byteslong".to_vec());
        for (key, refusal) in [
            (None, SignatureRefusal::NoKey),
            (Some(Secret::new(Vec::new())), SignatureRefusal::ShortKey { bytes: 0 }),
            (Some(short), SignatureRefusal::ShortKey { bytes: 15 }),
        ] {
            let headers = [with_empty_key.clone()];
            assert_eq!(check(&github(), &headers, BODY, key.as_ref()), Err(refusal.clone()));
            assert_eq!(sign(&github(), BODY, key.as_ref()), Err(refusal));
        }
    }

    #[test]
    fn hook_without_verification_accepts_everything_and_signs_nothing() {
        assert_eq!(check(&Verify::None, &[], BODY, None), Ok(()));
        assert_eq!(sign(&Verify::None, BODY, None), Ok(None));
    }
}
