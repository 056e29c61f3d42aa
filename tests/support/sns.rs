//! A signer of messages of Amazon SNS, with a certificate of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

/// The topic of the messages.
pub(crate) const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:alarms";
/// The parts of a message that are signed, if it has them.
const SIGNED: [&str; 8] = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];

/// A signer.
pub(crate) struct Signer {
    pair: RsaKeyPair,
    /// Its certificate, in the PEM format.
    pub(crate) certificate: String,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let key = STANDARD.decode(include_str!("../../login/tests/keys/rsa.txt").replace('\n', "")).unwrap();
        let own = KeyPair::from_pkcs8_der_and_sign_algo(&key.as_slice().into(), &PKCS_RSA_SHA256).unwrap();
        let params = CertificateParams::new(["sns.amazonaws.com".to_owned()]).unwrap();
        Self { pair: RsaKeyPair::from_pkcs8(&key).unwrap(), certificate: params.self_signed(&own).unwrap().pem() }
    }

    /// Returns a message with these parts besides the usual ones, signed. `at` is the URL of the server of certificates.
    pub(crate) fn message(&self, at: &str, time: &str, parts: &Value) -> Value {
        let mut message = json!({
            "Type": "Notification", "MessageId": "m-1", "TopicArn": TOPIC, "Message": "{\"alarm\": \"disk\"}", "Timestamp": time,
            "SignatureVersion": "2", "SigningCertURL": format!("{at}/SimpleNotificationService-1.pem"),
            "UnsubscribeURL": format!("{at}/?Action=Unsubscribe"),
        });
        for (name, value) in parts.as_object().unwrap() {
            message[name] = value.clone();
        }
        self.sign(message)
    }

    pub(crate) fn sign(&self, mut message: Value) -> Value {
        let signed: String = SIGNED.iter().filter_map(|name| Some(format!("{name}\n{}\n", message[*name].as_str()?))).collect();
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        message["Signature"] = json!(STANDARD.encode(signature));
        message
    }
}
