//! Values in AWS Secrets Manager.

mod credentials;
mod signature;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_executor::web::Letter;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::exchange::{Exchange, ServerAnswer};
use super::{KeyProvider, ProviderError, field_of};
use crate::config::AwsSecrets;
use credentials::CredentialSource;
use signature::Signer;

/// AWS Secrets Manager in one region.
pub(super) struct AwsProvider {
    secrets: AwsSecrets,
    exchange: Exchange,
    credentials: CredentialSource,
}

/// The error codes of AWS that say that the credentials do not count.
const NOT_ACCEPTED: [&str; 6] = [
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
];

impl AwsProvider {
    pub(super) fn new(secrets: AwsSecrets, exchange: Exchange) -> Self {
        let credentials = CredentialSource::new(secrets.credentials.clone(), exchange.clone(), Arc::new(|name| std::env::var(name).ok()));
        Self { secrets, exchange, credentials }
    }

    fn ask(&self, path: &str, now: Timestamp) -> Result<ServerAnswer, ProviderError> {
        let body = Bytes::from(json!({ "SecretId": path }).to_string());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert(HeaderName::from_static("x-amz-target"), HeaderValue::from_static("secretsmanager.GetSecretValue"));
        let credentials = self.credentials.current(now)?;
        let signer = Signer { region: &self.secrets.region, service: "secretsmanager", credentials: &credentials };
        signer.sign(&self.secrets.url, &mut headers, &body, now)?;
        self.exchange.send(Letter { method: Method::POST, url: self.secrets.url.clone(), headers, body: Some(body) })
    }
}

impl KeyProvider for AwsProvider {
    fn read(&self, path: &str, field: Option<&str>) -> Result<Secret, ProviderError> {
        let now = wall_time();
        let mut told = self.ask(path, now)?;
        if code(&told.body).is_some_and(|code| NOT_ACCEPTED.contains(&code)) {
            // Temporary credentials may have been replaced.
            self.credentials.forget();
            told = self.ask(path, now)?;
        }
        let said = code(&told.body).unwrap_or_default();
        match told.status {
            StatusCode::OK => value(&told.body, field),
            _ if said == "ResourceNotFoundException" => Err(ProviderError(format!("there is no secret `{path}`"))),
            _ if said == "AccessDeniedException" => Err(ProviderError(format!("the node may not read `{path}`"))),
            _ if NOT_ACCEPTED.contains(&said) => Err(ProviderError(format!("the credentials were not accepted ({said})"))),
            status => {
                Err(ProviderError(format!("the secret was not returned ({})", format!("status {} {said}", status.as_u16()).trim_end())))
            }
        }
    }
}

/// Returns the time of the machine: AWS accepts signatures of the last minutes only.
fn wall_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Returns the error code in an answer.
fn code(body: &Value) -> Option<&str> {
    let code = body["__type"].as_str()?;
    let code = code.rsplit('#').next().unwrap_or(code);
    Some(code).filter(|code| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Returns the value of a secret, or a field of it.
fn value(body: &Value, field: Option<&str>) -> Result<Secret, ProviderError> {
    let whole = match (body["SecretString"].as_str(), body["SecretBinary"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(encoded)) => STANDARD.decode(encoded).map_err(|_| ProviderError("the secret is not valid base64".to_owned()))?,
        (None, None) => return Err(ProviderError("the answer has no secret".to_owned())),
    };
    let Some(field) = field else { return Ok(Secret::new(whole)) };
    let object = serde_json::from_slice(&whole).map_err(|_| ProviderError("the secret is not a JSON object".to_owned()))?;
    field_of(&object, Some(field))
}

#[cfg(test)]
mod tests {
    use super::super::exchange::fake::{FakeServer, SeenRequest};
    use super::*;
    use crate::config::AwsCredentials;

    fn provider(server: &FakeServer, credentials: AwsCredentials) -> AwsProvider {
        let secrets = AwsSecrets {
            region: "eu-central-1".to_owned(),
            url: "https://secretsmanager.eu-central-1.amazonaws.com".parse().unwrap(),
            credentials: credentials.clone(),
        };
        let exchange = server.exchange();
        let environment = Arc::new(|name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("AKIDEXAMPLE".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            "AWS_CONTAINER_CREDENTIALS_FULL_URI" => Some("http://169.254.170.23/v1/credentials".to_owned()),
            "AWS_CONTAINER_AUTHORIZATION_TOKEN" => Some("p0d".to_owned()),
            _ => None,
        });
        AwsProvider { secrets, credentials: CredentialSource::new(credentials, exchange.clone(), environment), exchange }
    }

    fn asks_for_the_secret(seen: &SeenRequest, key_id: &str) {
        assert_eq!((seen.method.as_str(), seen.url.as_str()), ("POST", "https://secretsmanager.eu-central-1.amazonaws.com/"));
        assert_eq!(seen.header("x-amz-target"), Some("secretsmanager.GetSecretValue"));
        assert_eq!(seen.body, json!({ "SecretId": "team/release" }));
        let authorization = seen.header("authorization").unwrap();
        assert!(authorization.starts_with(&format!("AWS4-HMAC-SHA256 Credential={key_id}/")), "{authorization}");
    }

    #[test]
    fn secret_is_read_whole_or_by_field() {
        let server = FakeServer::start();
        let provider = provider(&server, AwsCredentials::Environment {});
        let text = json!({ "Name": "team/release", "SecretString": r#"{"token":"s3cret","other":"x"}"# });
        for (answer, field, expected) in [
            (text.clone(), Some("token"), r"s3cret"),
            (text, None, r#"{"token":"s3cret","other":"x"}"#),
            (json!({ "SecretBinary": "czNjcmV0" }), None, "s3cret"),
        ] {
            server.expect(move |seen| {
                asks_for_the_secret(seen, "AKIDEXAMPLE");
                (200, answer)
            });
            assert_eq!(provider.read("team/release", field).unwrap().reveal(), expected.as_bytes());
        }
        server.is_done();
    }

    #[test]
    fn refusals_are_reported_without_what_the_service_said() {
        let server = FakeServer::start();
        let provider = provider(&server, AwsCredentials::Environment {});
        let refusal = |code: &str| json!({ "__type": code, "Message": "s3cret" });
        for (status, code, times, why) in [
            (400, "ResourceNotFoundException", 1, "there is no secret"),
            (400, "com.amazonaws.secretsmanager#ResourceNotFoundException", 1, "there is no secret"),
            (400, "AccessDeniedException", 1, "may not read"),
            (400, "InvalidSignatureException", 2, "not accepted (InvalidSignatureException)"),
            (500, "InternalServiceError", 1, "status 500 InternalServiceError"),
            (503, "a page of s3cret", 1, "status 503"),
        ] {
            for _ in 0..times {
                let refusal = refusal(code);
                server.expect(move |_| (status, refusal));
            }
            let said = provider.read("team/release", Some("token")).err().unwrap().to_string();
            assert!(said.contains(why) && !said.contains("s3cret"), "{said}");
        }
        for answer in [json!({}), json!({ "SecretString": "s3cret" }), json!({ "SecretBinary": "s3cret!" })] {
            server.expect(move |_| (200, answer));
            let said = provider.read("team/release", Some("token")).err().unwrap().to_string();
            assert!(!said.contains("s3cret"), "{said}");
        }
        server.is_done();
    }

    #[test]
    fn temporary_credentials_are_kept_until_they_expire_or_are_refused() {
        let server = FakeServer::start();
        let provider = provider(&server, AwsCredentials::Container {});
        let granted = |key_id: &'static str, until: &'static str| {
            server.expect(move |seen| {
                assert_eq!((seen.method.as_str(), seen.url.as_str()), ("GET", "http://169.254.170.23/v1/credentials"));
                assert_eq!(seen.header("authorization"), Some("p0d"));
                (200, json!({ "AccessKeyId": key_id, "SecretAccessKey": "k3y", "Token": "t0ken", "Expiration": until }))
            });
        };
        let secret = |key_id: &'static str, answer: (u16, Value)| {
            server.expect(move |seen| {
                asks_for_the_secret(seen, key_id);
                assert_eq!(seen.header("x-amz-security-token"), Some("t0ken"));
                answer
            });
        };
        let found = || (200, json!({ "SecretString": "s3cret" }));
        granted("AKID1", "2099-01-01T00:00:00Z");
        secret("AKID1", found());
        secret("AKID1", found());
        secret("AKID1", (400, json!({ "__type": "ExpiredTokenException" })));
        granted("AKID2", "2001-01-01T00:00:00Z");
        secret("AKID2", found());
        granted("AKID3", "2099-01-01T00:00:00Z");
        secret("AKID3", found());
        for _ in 0..4 {
            assert_eq!(provider.read("team/release", None).unwrap().reveal(), b"s3cret");
        }
        server.is_done();
    }

    #[test]
    fn machine_provides_the_credentials_of_its_role() {
        let server = FakeServer::start();
        let provider = provider(&server, AwsCredentials::Instance {});
        server.expect(|seen| {
            assert_eq!((seen.method.as_str(), seen.url.as_str()), ("PUT", "http://169.254.169.254/latest/api/token"));
            assert_eq!(seen.header("x-aws-ec2-metadata-token-ttl-seconds"), Some("60"));
            (200, Value::from("m3tadata"))
        });
        for (path, answer) in [
            ("", Value::from("ensue-role")),
            (
                "ensue-role",
                json!({ "AccessKeyId": "AKID9", "SecretAccessKey": "k3y", "Token": "t0ken", "Expiration": "2099-01-01T00:00:00Z" }),
            ),
        ] {
            server.expect(move |seen| {
                let expected = format!("http://169.254.169.254/latest/meta-data/iam/security-credentials/{path}");
                assert_eq!((seen.method.as_str(), seen.url.as_str()), ("GET", expected.as_str()));
                assert_eq!(seen.header("x-aws-ec2-metadata-token"), Some("m3tadata"));
                (200, answer)
            });
        }
        server.expect(|seen| {
            asks_for_the_secret(seen, "AKID9");
            (200, json!({ "SecretString": "s3cret" }))
        });
        assert_eq!(provider.read("team/release", None).unwrap().reveal(), b"s3cret");
        server.is_done();
    }
}
