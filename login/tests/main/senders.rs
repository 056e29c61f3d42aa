//! Senders of webhooks that prove themselves with a token of an issuer that a pack names.

use ensue_engine::catalog::JwtVerify;
use ensue_expression::Document;
use ensue_login::Refusal;
use ensue_login::jose::TokenFault;
use ensue_login::senders::Senders;
use serde_json::{Value, json};

use crate::support::{AUDIENCE, ISSUER, NOW, Signer, Web, at, claims_with, encode, now, ok};

fn hook() -> JwtVerify {
    JwtVerify {
        issuer: ISSUER.to_owned(),
        audience: vec![AUDIENCE.to_owned()],
        jwks: None,
        claims: vec![("email".to_owned(), json!("ana@example.test")), ("email_verified".to_owned(), json!(true))],
        leeway_seconds: 60,
    }
}

fn verify(token: &str, web: &Web) -> Result<Document, Refusal> {
    Senders::default().verify(&hook(), token, now(), web)
}

#[test]
fn token_of_each_algorithm_proves_the_sender() {
    for signer in Signer::all() {
        // A sender need not have a subject.
        let document = verify(&signer.token(&claims_with(&json!({ "sub": null }))), &Web::new()).unwrap();
        assert_eq!(document.root().get("email").and_then(|email| email.as_str()).as_deref(), Some("ana@example.test"));
    }
}

#[test]
fn token_that_cannot_count_is_refused_without_a_request() {
    let signer = Signer::es256();
    let signed = |changes: Value| signer.token(&claims_with(&changes));
    let unsigned = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(claims_with(&json!({})).to_string()));
    let symmetric = signer.sign(r#"{"alg":"HS256","kid":"p256"}"#, &claims_with(&json!({})).to_string());
    for (name, token) in [
        ("another issuer", signed(json!({ "iss": "https://id.example.test" }))),
        ("another audience", signed(json!({ "aud": "https://other.example.test" }))),
        ("no audience", signed(json!({ "aud": null }))),
        ("expired", signed(json!({ "exp": NOW - 61 }))),
        ("no end", signed(json!({ "exp": null }))),
        ("too early", signed(json!({ "nbf": NOW + 61 }))),
        ("too long", signed(json!({ "exp": NOW + 25 * 3600 }))),
        ("none", unsigned),
        ("HS256", symmetric),
        ("garbage", "eyJ.x.y".to_owned()),
    ] {
        let web = Web::new();
        assert!(verify(&token, &web).is_err(), "{name}");
        assert_eq!(web.requests(), 0, "{name}");
    }
    assert!(verify(&signed(json!({ "exp": NOW - 59 })), &Web::new()).is_ok(), "within the leeway");
}

#[test]
fn signature_of_a_stranger_and_other_claims_are_refused() {
    let forged = Signer::stranger("p256").token(&claims_with(&json!({})));
    assert_eq!(verify(&forged, &Web::new()).unwrap_err(), Refusal::TokenInvalid(TokenFault::Signature));
    for changes in [json!({ "email": "eve@example.test" }), json!({ "email": null }), json!({ "email_verified": "true" })] {
        let refused = verify(&Signer::es256().token(&claims_with(&changes)), &Web::new()).unwrap_err();
        assert!(matches!(refused, Refusal::ClaimsRefused { setting: "claims", .. }), "{changes}: {refused:?}");
    }
}

#[test]
fn keys_are_fetched_once_and_come_from_where_the_pack_says() {
    let (senders, web) = (Senders::default(), Web::new());
    let token = Signer::es256().token(&claims_with(&json!({})));
    for second in 0..3 {
        senders.verify(&hook(), &token, at(NOW + second), &web).unwrap();
    }
    assert_eq!(web.requests(), 2, "the discovery document and the keys");
    let unknown = Signer::stranger("new").token(&claims_with(&json!({})));
    for second in 31..41 {
        assert!(senders.verify(&hook(), &unknown, at(NOW + second), &web).is_err());
    }
    assert_eq!(web.requests(), 3, "an unknown key is asked for once in 30 seconds");
    let elsewhere = JwtVerify { jwks: Some("https://keys.example.test/jwks".to_owned()), ..hook() };
    let web = Web::default();
    assert!(matches!(senders.verify(&elsewhere, &token, now(), &web), Err(Refusal::IssuerUnavailable { .. })));
    web.answer("https://keys.example.test/jwks", ok(json!({ "keys": [Signer::es256().public_jwk()] }).to_string()));
    assert!(senders.verify(&elsewhere, &token, at(NOW + 31), &web).is_ok());
}
