//! Messages of Amazon SNS: whose signature counts, and which certificate may be fetched for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ensue_engine::catalog::{SnsVerify, SnsVersion1};
use ensue_engine::time::Timestamp;
use ensue_sensors::SignatureRefusal;
use ensue_sensors::sns::{Certificate, Kind, SnsMessage};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value, json};

#[path = "../../tests/support/sns.rs"]
mod signer;

use signer::{Signer, TOPIC};

const AMAZON: &str = "https://sns.eu-west-1.amazonaws.com";
const AT: &str = "2026-11-26T09:00:00.123Z";

fn hook() -> SnsVerify {
    SnsVerify { topics: vec![TOPIC.to_owned()], hosts: Vec::new(), version_1: SnsVersion1::Refused }
}

fn read(hook: &SnsVerify, message: &Value) -> Result<SnsMessage, SignatureRefusal> {
    SnsMessage::read(hook, &Bytes::from(message.to_string()))
}

fn now() -> Timestamp {
    AT.parse().unwrap()
}

#[test]
fn message_counts_if_its_topic_s_certificate_signed_it() {
    let signer = Signer::new();
    let certificate = Certificate::read(signer.certificate.as_bytes()).unwrap();
    for parts in [json!({}), json!({ "Subject": "An alarm" }), json!({ "Subject": null })] {
        let message = read(&hook(), &signer.message(AMAZON, AT, &parts)).unwrap();
        assert_eq!((message.kind(), message.id()), (Kind::Notification, "m-1"));
        assert_eq!(message.check(&certificate, now()), Ok(()), "{parts}");
    }
    let asks = json!({ "Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": format!("{AMAZON}/?Action=ConfirmSubscription") });
    let message = read(&hook(), &signer.message(AMAZON, AT, &asks)).unwrap();
    assert_eq!(message.check(&certificate, now()), Ok(()));
    assert_eq!(message.subscribe().unwrap().as_str(), format!("{AMAZON}/?Action=ConfirmSubscription"));
}

#[test]
fn altered_old_or_foreign_message_does_not_count() {
    let signer = Signer::new();
    let certificate = Certificate::read(signer.certificate.as_bytes()).unwrap();
    let genuine = signer.message(AMAZON, AT, &json!({ "Subject": "An alarm" }));
    for (name, value) in [("Message", "{}"), ("MessageId", "m-2"), ("Subject", "No alarm"), ("Timestamp", "2026-11-26T09:00:01.000Z")] {
        let mut altered = genuine.clone();
        altered[name] = json!(value);
        let checked = read(&hook(), &altered).unwrap().check(&certificate, now());
        assert!(matches!(checked, Err(SignatureRefusal::Wrong { .. })), "{name}: {checked:?}");
    }
    let message = read(&hook(), &genuine).unwrap();
    let day = 24 * 3600 * 1000;
    assert_eq!(message.check(&certificate, now().plus_millis(day - 1000)), Ok(()), "Amazon SNS repeats for hours");
    for time in [now().plus_millis(day + 2000), now().minus_millis(302_000)] {
        assert!(matches!(message.check(&certificate, time), Err(SignatureRefusal::OutOfTime { .. })), "{time}");
    }
    let other = json!({ "TopicArn": "arn:aws:sns:eu-west-1:999999999999:theirs" });
    assert!(matches!(read(&hook(), &signer.message(AMAZON, AT, &other)), Err(SignatureRefusal::NotVouched { .. })));
}

#[test]
fn certificate_counts_from_its_first_second_to_its_last() {
    let signer = Signer::new();
    let key = STANDARD.decode(include_str!("../../login/tests/keys/rsa.txt").replace('\n', "")).unwrap();
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&key.as_slice().into(), &PKCS_RSA_SHA256).unwrap();
    let mut params = CertificateParams::new(["sns.amazonaws.com".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 11, 26);
    params.not_after = rcgen::date_time_ymd(2026, 11, 27);
    let certificate = Certificate::read(params.self_signed(&pair).unwrap().pem().as_bytes()).unwrap();
    for (at, counts) in [
        ("2026-11-25T23:59:59.999Z", false),
        ("2026-11-26T00:00:00.000Z", true),
        ("2026-11-27T00:00:00.999Z", true),
        ("2026-11-27T00:00:01.000Z", false),
    ] {
        let checked = read(&hook(), &signer.message(AMAZON, at, &json!({}))).unwrap().check(&certificate, at.parse().unwrap());
        assert_eq!(checked.is_ok(), counts, "{at}: {checked:?}");
        assert!(counts || matches!(checked, Err(SignatureRefusal::NotVouched { .. })), "{at}: {checked:?}");
    }
}

#[test]
fn certificate_is_only_taken_from_amazon_in_the_topic_s_region() {
    let signer = Signer::new();
    let with = |url: &str| read(&hook(), &signer.message(AMAZON, AT, &json!({ "SigningCertURL": url }))).is_ok();
    assert!(with("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem"));
    for url in [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com.example.test/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com@example.test/SimpleNotificationService-a.pem",
        "https://user@sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://example.test/sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.txt",
        "https://169.254.169.254/SimpleNotificationService-a.pem",
        "SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-xyz.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem?y",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem#y",
        "https://sns.eu-west-1.amazonaws.com/b/SimpleNotificationService-a.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem/SimpleNotificationService-a.pem",
    ] {
        assert!(!with(url), "{url}");
    }
    let asks = json!({ "Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": "https://example.test/" });
    assert!(read(&hook(), &signer.message(AMAZON, AT, &asks)).is_err(), "nothing else is asked either");
    let own = SnsVerify { hosts: vec!["localhost:8443".to_owned()], ..hook() };
    assert!(read(&own, &signer.message("https://localhost:8443", AT, &json!({}))).is_ok());
    let in_a_folder = json!({ "SigningCertURL": "https://localhost:8443/_aws/sns/SimpleNotificationService-6c.pem" });
    assert!(read(&own, &signer.message("https://localhost:8443", AT, &in_a_folder)).is_ok());
    assert!(read(&own, &signer.message(AMAZON, AT, &json!({}))).is_err());
}

#[test]
fn version_1_and_anything_malformed_is_refused() {
    let signer = Signer::new();
    let first = signer.message(AMAZON, AT, &json!({ "SignatureVersion": "1" }));
    assert!(read(&hook(), &first).is_err());
    assert!(read(&SnsVerify { version_1: SnsVersion1::Accepted, ..hook() }, &first).is_ok());
    let genuine = signer.message(AMAZON, AT, &json!({}));
    for name in ["Type", "MessageId", "TopicArn", "Message", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL"] {
        for bad in [Value::Null, json!(7), json!("\u{0}")] {
            let mut message = genuine.clone();
            message[name] = bad.clone();
            // Any text can be a message or an id.
            let is_refused = read(&hook(), &message).is_err() || (bad.is_string() && ["Message", "MessageId"].contains(&name));
            assert!(is_refused, "{name}: {bad}");
        }
    }
    for text in ["", "[]", "{", "null", r#"{"Type": "Notification", "Type": "Notification"}"#] {
        assert!(SnsMessage::read(&hook(), &Bytes::copy_from_slice(text.as_bytes())).is_err(), "{text}");
    }
    for pem in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Certificate::read(pem.as_bytes()).is_err(), "{pem}");
    }
}

#[test]
fn signature_of_sha_1_counts_where_the_hook_accepts_it() {
    let certificate = Certificate::read(include_bytes!("sns_sha1.pem")).unwrap();
    let message: Value = serde_json::from_str(include_str!("sns_sha1.json")).unwrap();
    let hook = SnsVerify { version_1: SnsVersion1::Accepted, ..hook() };
    let checked = |message: &Value| read(&hook, message).unwrap().check(&certificate, "2027-01-01T09:00:01Z".parse().unwrap());
    assert_eq!(checked(&message), Ok(()));
    let mut altered = message;
    altered["Message"] = json!("other");
    assert!(matches!(checked(&altered), Err(SignatureRefusal::Wrong { .. })));
}
