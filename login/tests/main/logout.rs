//! Logouts that start at an issuer: which tokens count, and that nothing else does.

use ensue_engine::explain::Explain;
use ensue_login::jose::TokenFault;
use ensue_login::logout::{Logout, LogoutFault, LogoutRefusal};
use ensue_login::{Issuers, Refusal};
use serde_json::{Value, json};

use crate::support::{AUDIENCE, ISSUER, NOW, Signer, Web, at, claims, claims_with, issuers, now, ok};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Returns an issuer through which people log in as the client `ensue`.
fn corp() -> Issuers {
    let settings = json!({
        "issuer": ISSUER, "use": ["browser", "bearer"], "client_id": "ensue", "audience": [AUDIENCE, "ensue"],
        "allow": "true", "name": "'ana'",
    });
    let other = json!({ "issuer": "https://other.example.test", "use": ["bearer"], "audience": "x", "allow": "true", "name": "'x'" });
    issuers(&[("corp", settings), ("other", other)])
}

/// Returns the claims of a logout token with some replaced; `null` removes one.
fn logout_with(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "ensue", "iat": NOW, "exp": NOW + 120, "jti": "j1", "sub": "4711", "sid": "s1", "events": { EVENT: {} },
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn send_logout(node: &Issuers, token: &str) -> Result<Logout, LogoutRefusal> {
    sent_at(node, token, NOW)
}

fn sent_at(node: &Issuers, token: &str, seconds: i64) -> Result<Logout, LogoutRefusal> {
    node.log_out(&"corp".parse().unwrap(), token, at(seconds), &Web::new())
}

fn fault(token: &str) -> LogoutFault {
    match send_logout(&corp(), token) {
        Err(refusal @ LogoutRefusal::Invalid(_)) => {
            assert_eq!((refusal.slug(), refusal.to_string().as_str()), ("logout-token-invalid", "the logout token is not valid"));
            let LogoutRefusal::Invalid(fault) = refusal else { unreachable!() };
            fault
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn logout_token_names_a_session_a_person_or_both() {
    for (changes, subject, session) in [
        (json!({}), Some("4711"), Some("s1")),
        (json!({ "sid": null }), Some("4711"), None),
        (json!({ "sub": null, "aud": ["ensue", "others"] }), None, Some("s1")),
    ] {
        let signer = Signer::es256();
        let header = json!({ "alg": "ES256", "kid": signer.id, "typ": "logout+jwt" }).to_string();
        for token in [signer.token(&logout_with(&changes)), signer.sign(&header, &logout_with(&changes).to_string())] {
            let logout = send_logout(&corp(), &token).unwrap();
            assert_eq!((logout.issuer.as_str(), logout.subject.as_deref(), logout.session.as_deref()), ("corp", subject, session));
        }
    }
}

#[test]
fn token_that_is_not_a_logout_of_this_client_is_refused() {
    let cases = [
        (json!({ "events": null }), LogoutFault::Event),
        (json!({ "events": { "http://other": {} } }), LogoutFault::Event),
        (json!({ "events": { EVENT: true } }), LogoutFault::Event),
        (json!({ "events": [EVENT] }), LogoutFault::Event),
        (json!({ "nonce": "n" }), LogoutFault::Nonce),
        (json!({ "sub": null, "sid": null }), LogoutFault::Nobody),
        (json!({ "sid": "" }), TokenFault::Malformed("sid").into()),
        (json!({ "sid": 7 }), TokenFault::Malformed("sid").into()),
        (json!({ "sub": "x".repeat(256) }), TokenFault::Malformed("sub").into()),
        (json!({ "jti": null }), TokenFault::Malformed("jti").into()),
        (json!({ "jti": "" }), TokenFault::Malformed("jti").into()),
        (json!({ "iat": null }), TokenFault::Malformed("iat").into()),
        (json!({ "exp": null }), TokenFault::Malformed("exp").into()),
        (json!({ "iat": NOW - 100, "exp": NOW - 31 }), LogoutFault::Expired(at(NOW - 31))),
        (json!({ "iat": NOW + 31, "exp": NOW + 60 }), TokenFault::TooEarly.into()),
        (json!({ "exp": NOW + 100_000 }), TokenFault::Lifetime.into()),
        (json!({ "aud": "another" }), TokenFault::Audience.into()),
        (json!({ "aud": null }), TokenFault::Audience.into()),
        (json!({ "iss": "https://other.example.test" }), TokenFault::Malformed("iss").into()),
    ];
    for (changes, expected) in cases {
        assert_eq!(fault(&Signer::es256().token(&logout_with(&changes))), expected, "{changes}");
    }
    let good = Signer::es256().token(&logout_with(&json!({})));
    let (message, _) = good.rsplit_once('.').unwrap();
    let unsigned = json!({ "alg": "none" }).to_string();
    assert_eq!(fault(&Signer::es256().sign(&unsigned, &logout_with(&json!({})).to_string())), TokenFault::Algorithm.into());
    assert_eq!(fault(&format!("{message}.AAAA")), TokenFault::Signature.into());
    assert_eq!(fault(&Signer::stranger("p256").token(&logout_with(&json!({})))), TokenFault::Signature.into());
    let typed = json!({ "alg": "ES256", "kid": "p256", "typ": "at+jwt" }).to_string();
    assert_eq!(fault(&Signer::es256().sign(&typed, &logout_with(&json!({})).to_string())), TokenFault::Type.into());
    for text in ["", "x", "a.b.c"] {
        assert!(matches!(fault(text), LogoutFault::Token(_)), "{text}");
    }
}

#[test]
fn logout_token_counts_once_unless_the_logout_could_not_be_done() {
    let node = corp();
    let token = Signer::es256().token(&logout_with(&json!({})));
    let logout = send_logout(&node, &token).unwrap();
    assert_eq!(send_logout(&node, &token), Err(LogoutRefusal::Invalid(LogoutFault::Repeated)));
    assert!(send_logout(&node, &Signer::es256().token(&logout_with(&json!({ "jti": "j2" })))).is_ok());
    node.not_logged_out(&logout);
    assert!(send_logout(&node, &token).is_ok());
}

#[test]
fn used_logout_token_is_remembered_as_long_as_it_would_count() {
    let token = |id: &str| Signer::es256().token(&logout_with(&json!({ "jti": id })));
    let (repeated, end) = (LogoutRefusal::Invalid(LogoutFault::Repeated), NOW + 120);
    let expired = LogoutRefusal::Invalid(LogoutFault::Expired(at(end)));
    let node = corp();
    sent_at(&node, &token("j1"), NOW).unwrap();
    for seconds in [end - 1, end, end + 10, end + 29] {
        assert_eq!(sent_at(&node, &token("j1"), seconds), Err(repeated.clone()), "{seconds}");
    }
    // Another one still counts, and only once.
    sent_at(&node, &token("j2"), end + 10).unwrap();
    assert_eq!(sent_at(&node, &token("j2"), end + 29), Err(repeated));
    for id in ["j1", "j2", "j3"] {
        assert_eq!(sent_at(&node, &token(id), end + 30), Err(expired.clone()), "{id}");
    }
}

#[test]
fn logout_needs_an_issuer_through_which_people_log_in_and_that_can_be_asked() {
    let token = Signer::es256().token(&logout_with(&json!({})));
    for name in ["other", "nobody"] {
        let refusal = corp().log_out(&name.parse().unwrap(), &token, now(), &Web::new()).unwrap_err();
        assert_eq!(refusal, LogoutRefusal::Refused(Refusal::IssuerUnknown));
    }
    let down = Web::default();
    down.answer("https://nowhere.example.test", ok("{}"));
    let refusal = corp().log_out(&"corp".parse().unwrap(), &token, now(), &down).unwrap_err();
    assert_eq!(refusal.slug(), "issuer-unavailable");
    assert_eq!(fault(&Signer::es256().token(&logout_with(&json!({ "aud": "x" })))), TokenFault::Audience.into());
    assert_eq!(down.requests(), 1, "a token for others is refused without a request");
}

#[test]
fn logout_token_admits_nobody() {
    let node = corp();
    let token = Signer::es256().token(&claims_with(&json!({ "aud": "ensue", "jti": "j1", "events": { EVENT: {} } })));
    assert_eq!(node.admit(&token, now(), &Web::new()), Err(Refusal::TokenInvalid(TokenFault::Event)));
    let token = Signer::es256().token(&claims_with(&json!({ "aud": "ensue" })));
    assert!(node.admit(&token, now(), &Web::new()).is_ok(), "{}", claims());
}
