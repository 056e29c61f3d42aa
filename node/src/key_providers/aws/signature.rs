//! Signature Version 4 of AWS, for requests without a path and a query.
//!
//! Source: "Create a signed AWS API request" in the AWS Identity and Access Management User Guide.

use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::super::ProviderError;
use super::credentials::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Signs requests to one service in one region.
pub(super) struct Signer<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) credentials: &'a Credentials,
}

impl Signer<'_> {
    /// Adds the headers that sign a `POST` to the root of a server: the time, the session token and the signature.
    ///
    /// Fails if a credential cannot be in a header.
    pub(super) fn sign(&self, url: &Url, headers: &mut HeaderMap, body: &[u8], now: Timestamp) -> Result<(), ProviderError> {
        let time = compact(now);
        headers.insert(HeaderName::from_static("x-amz-date"), header(time.as_bytes())?);
        if let Some(token) = &self.credentials.session_token {
            let mut token = header(token.reveal())?;
            token.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-amz-security-token"), token);
        }
        let mut signed: Vec<(&str, &str)> = vec![("host", url.authority())];
        for (name, value) in headers.iter() {
            signed.push((name.as_str(), value.to_str().map_err(|_| invalid())?.trim()));
        }
        signed.sort_unstable();
        let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", hex::encode(Sha256::digest(body)));

        let date = time.get(..8).unwrap_or_default();
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(&canonical)));
        let first = [b"AWS4", self.credentials.secret_key.reveal()].concat();
        let key = [date, self.region, self.service, "aws4_request"].into_iter().fold(first, |key, part| mac(&key, part));
        let signature = hex::encode(mac(&key, &to_sign));
        let key_id = &self.credentials.key_id;
        let authorization = format!("{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}");
        headers.insert(AUTHORIZATION, header(authorization.as_bytes())?);
        Ok(())
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Returns a time in the form `20150830T123600Z`.
fn compact(time: Timestamp) -> String {
    let whole = time.to_string();
    let seconds = whole.split('.').next().unwrap_or_default();
    let mut compact: String = seconds.chars().filter(|char| !matches!(char, '-' | ':' | 'Z')).collect();
    compact.push('Z');
    compact
}

fn header(bytes: &[u8]) -> Result<HeaderValue, ProviderError> {
    HeaderValue::from_bytes(bytes).map_err(|_| invalid())
}

fn invalid() -> ProviderError {
    ProviderError("a credential has invalid characters".to_owned())
}

/// A secret of the credentials.
pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign_sample(url: &str, token: Option<&str>, headers: &[(&'static str, &'static str)], body: &str) -> String {
        let credentials = Credentials {
            key_id: "AKIDEXAMPLE".to_owned(),
            secret_key: secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(secret),
        };
        let (region, service) = if headers.is_empty() { ("us-east-1", "service") } else { ("eu-central-1", "secretsmanager") };
        let mut map = HeaderMap::new();
        map.extend(headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))));
        let signer = Signer { region, service, credentials: &credentials };
        signer.sign(&url.parse().unwrap(), &mut map, body.as_bytes(), "2015-08-30T12:36:00Z".parse().unwrap()).unwrap();
        map[AUTHORIZATION].to_str().unwrap().to_owned()
    }

    /// The case `post-vanilla` of the test suite that AWS publishes.
    #[test]
    fn signature_is_that_of_the_published_test_suite() {
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
        assert_eq!(sign_sample("https://example.amazonaws.com/", None, &[], ""), expected);
    }

    /// Signed by botocore 1.44.8, the signer of AWS's own Python SDK.
    #[test]
    fn request_for_a_secret_is_signed_as_the_sdk_of_aws_signs_it() {
        let token =
            "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI";
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "secretsmanager.GetSecretValue")];
        let body = r#"{"SecretId":"team/release"}"#;
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-central-1/secretsmanager/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=5e90c34b1f1397a940abf24c88b56ca25399e5256464d483058825d418c2f741";
        assert_eq!(sign_sample("https://secretsmanager.eu-central-1.amazonaws.com/", Some(token), &headers, body), expected);
    }

    #[test]
    fn credential_that_cannot_be_in_a_header_is_an_error() {
        let credentials = Credentials { key_id: "A\nB".to_owned(), secret_key: secret("k"), session_token: None };
        let signer = Signer { region: "eu-central-1", service: "secretsmanager", credentials: &credentials };
        let url = "https://example.amazonaws.com/".parse().unwrap();
        assert!(signer.sign(&url, &mut HeaderMap::new(), b"", "2015-08-30T12:36:00Z".parse().unwrap()).is_err());
    }
}
