//! Handshakes: the questions with which a vendor checks an address before it sends anything there, and their answers.
//!
//! They come with a scheme, and are answered only to a proven sender. Handshakes without a proof are written in the
//! `reply` of a sensor.

use bytes::Bytes;
use ensue_engine::catalog::Scheme;
use ensue_engine::ports::{HookReply, Secret};
use ensue_expression::Node;
use ring::hmac;
use serde_json::{Value, json};

use crate::sns::Kind;

/// The longest text of a question that is repeated in the answer, in bytes.
const QUESTION_BYTES_MAX: usize = 1024;

/// Returns the answer to the handshake of a scheme, if the body is one.
pub(crate) fn answer(scheme: &Scheme, body: Node<'_>, key: Option<&Secret>) -> Option<HookReply> {
    let text = |node: Node<'_>, name: &str| {
        let text = node.get(name)?.as_str()?;
        (text.len() <= QUESTION_BYTES_MAX).then(|| text.into_owned())
    };
    let answer = match scheme {
        Scheme::Slack if text(body, "type")? == "url_verification" => json!({ "challenge": text(body, "challenge")? }),
        Scheme::Discord if body.get("type")?.as_i64()? == 1 => json!({ "type": 1 }),
        Scheme::Zoom if text(body, "event")? == "endpoint.url_validation" => {
            let plain = text(body.get("payload")?, "plainToken")?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, key?.reveal());
            let encrypted = hex::encode(hmac::sign(&key, plain.as_bytes()));
            json!({ "plainToken": plain, "encryptedToken": encrypted })
        }
        _ => return None,
    };
    Some(json_reply(&answer))
}

/// Returns the reply to a message of Amazon SNS about the subscription itself, which makes no event. A subscription is confirmed by
/// an operator, with `ensue hooks confirm`.
pub(crate) fn of_sns(kind: Kind) -> Option<HookReply> {
    let reply: &'static [u8] = match kind {
        Kind::Notification => return None,
        Kind::SubscriptionConfirmation => b"An operator must confirm the subscription: `ensue hooks confirm`.\n",
        Kind::UnsubscribeConfirmation => b"",
    };
    let headers = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
    Some(HookReply { status: 200, headers, body: Bytes::from_static(reply) })
}

fn json_reply(answer: &Value) -> HookReply {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    HookReply { status: 200, headers, body: Bytes::from(answer.to_string()) }
}
