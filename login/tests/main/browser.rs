//! Logins in a browser and their renewals, at an issuer in memory.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_login::flow::{IdTokenFault, LoggedIn, LoginRandom, LoginRefusal, LoginRenewal, NotRenewed, Pending, RenewRefusal, challenge_of};
use ensue_login::jose::TokenFault;
use ensue_login::{Groups, Issuers};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{ISSUER, NOW, Signer, Web, at, claims_with, encode, error_answer, issuer_groups, issuers, now, ok};

const CALLBACK: &str = "https://ensue.example.test/api/v1/auth/oidc/callback/corp";
/// The nonce of the login of the tests.
const NONCE: [u8; 16] = [2; 16];

/// Returns an issuer through which people log in as the client `ensue`.
fn corp() -> Issuers {
    corp_with(&json!({}))
}

fn corp_with(changes: &Value) -> Issuers {
    let mut settings = json!({
        "issuer": ISSUER, "use": ["browser"], "client_id": "ensue", "allow": "claims.email_verified",
        "name": "claims.preferred_username", "groups": "claims.?groups.orValue(null)",
    });
    settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    issuers(&[("corp", settings)])
}

/// Returns a web in which people can log in at the issuer.
fn web() -> Web {
    web_with(&json!({}))
}

fn web_with(changes: &Value) -> Web {
    let web = Web::new();
    let mut document = json!({
        "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys"), "authorization_endpoint": format!("{ISSUER}/auth"),
        "token_endpoint": format!("{ISSUER}/token"),
    });
    document.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    web.answer(&format!("{ISSUER}/.well-known/openid-configuration"), ok(document.to_string()));
    web
}

/// Returns an ID token for the client with some claims replaced; `null` removes one.
fn id_token(changes: &Value) -> String {
    Signer::es256().token(&id_claims(changes))
}

fn id_claims(changes: &Value) -> Value {
    let mut all = json!({ "aud": "ensue", "nonce": encode(NONCE) });
    all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims_with(&all)
}

/// The issuer answers the next requests for tokens with these; `null` leaves one out.
fn issues(web: &Web, changes: &Value) {
    let mut tokens = json!({ "token_type": "Bearer", "access_token": "access", "refresh_token": "second" });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => tokens.as_object_mut().unwrap().remove(name),
            value => tokens.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    web.answer(&format!("{ISSUER}/token"), ok(tokens.to_string()));
}

/// Starts a login. Returns what the node keeps, and the query of the callback.
fn start_login(node: &Issuers, web: &Web) -> (Pending, String) {
    let random = LoginRandom { state: [1; 16], nonce: NONCE, verifier: [3; 32] };
    let started = node.start_login(&"corp".parse().unwrap(), &CALLBACK.parse().unwrap(), &random, now(), web).unwrap();
    (started.pending, format!("code=c&state={}", encode([1; 16])))
}

/// Logs in with this ID token.
fn log_in(web: &Web, id_token: &str) -> Result<LoggedIn, LoginRefusal> {
    issues(web, &json!({ "id_token": id_token }));
    let node = corp();
    let (pending, query) = start_login(&node, web);
    node.finish_login(&"corp".parse().unwrap(), pending, &query, None, now(), web)
}

#[track_caller]
fn fault(result: Result<LoggedIn, LoginRefusal>) -> IdTokenFault {
    match result.err().expect("the login is refused") {
        LoginRefusal::IdToken { fault, .. } => fault,
        other => panic!("{other:?}"),
    }
}

/// Renews the login of the person `4711`.
fn renew(node: &Issuers, web: &Web, now: Timestamp) -> Result<LoginRenewal, NotRenewed> {
    node.renew_login(&"corp".parse().unwrap(), "4711", &Secret::new(b"first\n".to_vec()), None, now, web)
}

fn text(secret: Option<&Secret>) -> Option<&str> {
    secret.map(|secret| std::str::from_utf8(secret.reveal()).unwrap())
}

/// Returns why the login ended.
#[track_caller]
fn end(renewed: Result<LoginRenewal, NotRenewed>) -> String {
    match renewed.err().expect("it is not renewed").why {
        RenewRefusal::Ended { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn login_exchanges_the_code_with_its_own_verifier() {
    let web = web();
    let node = corp();
    let random = LoginRandom { state: [1; 16], nonce: NONCE, verifier: [3; 32] };
    let started = node.start_login(&"corp".parse().unwrap(), &CALLBACK.parse().unwrap(), &random, now(), &web).unwrap();
    let given = |name: &str| started.url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned());
    assert_eq!(given("code_challenge"), Some(challenge_of(encode([3; 32]).as_bytes())));
    assert_eq!(
        (given("state"), given("nonce"), given("redirect_uri")),
        (Some(encode([1; 16])), Some(encode(NONCE)), Some(CALLBACK.into()))
    );
    issues(&web, &json!({ "id_token": id_token(&json!({ "sid": "s1" })) }));
    let query = format!("code=c&state={}", encode([1; 16]));
    let ana = node.finish_login(&"corp".parse().unwrap(), started.pending, &query, None, now(), &web).unwrap();
    assert_eq!((ana.admitted.name.as_str(), ana.admitted.groups), ("ana", issuer_groups(&["corp:ops", "corp:release"])));
    assert_eq!((ana.issuer_session.as_deref(), text(ana.refresh_token.as_ref())), (Some("s1"), Some("second")));
    let [post] = &web.posts()[..] else { panic!("the code is exchanged once") };
    let expected = [("grant_type", "authorization_code"), ("code", "c"), ("redirect_uri", CALLBACK), ("code_verifier", &encode([3; 32]))];
    assert_eq!(post.fields(), [&expected[..], &[("client_id", "ensue")]].concat());
    assert_eq!(post.authorization, None);
}

#[test]
fn id_token_must_be_that_of_this_login_and_for_this_client() {
    for changes in [json!({ "nonce": encode([9; 16]) }), json!({ "nonce": null }), json!({ "nonce": "" })] {
        assert_eq!(fault(log_in(&web(), &id_token(&changes))), IdTokenFault::Nonce, "{changes}");
    }
    let half = encode(&Sha256::digest(b"access")[..16]);
    assert!(log_in(&web(), &id_token(&json!({ "at_hash": half }))).is_ok());
    for hash in [encode(&Sha256::digest(b"another")[..16]), encode(Sha256::digest(b"access")), String::new()] {
        assert_eq!(fault(log_in(&web(), &id_token(&json!({ "at_hash": hash })))), IdTokenFault::AccessTokenHash, "{hash}");
    }
    for audience in [json!({ "aud": ["ensue", "other"], "azp": "ensue" }), json!({ "aud": ["ensue"] }), json!({ "azp": "ensue" })] {
        assert!(log_in(&web(), &id_token(&audience)).is_ok(), "{audience}");
    }
    for audience in [
        json!({ "aud": "other" }),
        json!({ "aud": ["ensue", "other"] }),
        json!({ "aud": ["ensue", "other"], "azp": "other" }),
        json!({ "azp": "other" }),
    ] {
        assert_eq!(fault(log_in(&web(), &id_token(&audience))), IdTokenFault::Token(TokenFault::Audience), "{audience}");
    }
    let issuer = id_token(&json!({ "iss": "https://other.example.test" }));
    assert_eq!(fault(log_in(&web(), &issuer)), IdTokenFault::Token(TokenFault::Malformed("iss")));
    let typed = json!({ "alg": "ES256", "kid": "p256", "typ": "at+jwt" }).to_string();
    let access_token = Signer::es256().sign(&typed, &id_claims(&json!({})).to_string());
    assert_eq!(fault(log_in(&web(), &access_token)), IdTokenFault::Token(TokenFault::Type));
}

#[test]
fn id_token_must_be_there_and_be_signed_by_the_issuer() {
    let forged = Signer::stranger("p256").token(&id_claims(&json!({})));
    assert_eq!(fault(log_in(&web(), &forged)), IdTokenFault::Token(TokenFault::Signature));
    let unknown = Signer::stranger("other").token(&id_claims(&json!({})));
    assert_eq!(fault(log_in(&web(), &unknown)), IdTokenFault::Token(TokenFault::UnknownKey));
    let web = web();
    issues(&web, &json!({}));
    let node = corp();
    let (pending, query) = start_login(&node, &web);
    assert_eq!(fault(node.finish_login(&"corp".parse().unwrap(), pending, &query, None, now(), &web)), IdTokenFault::Missing);
}

#[test]
fn clocks_of_the_node_and_the_issuer_may_differ_by_thirty_seconds() {
    for (changes, fault) in [
        (json!({ "iat": NOW + 30 }), None),
        (json!({ "iat": NOW + 31 }), Some(TokenFault::TooEarly)),
        (json!({ "nbf": NOW + 30 }), None),
        (json!({ "nbf": NOW + 31 }), Some(TokenFault::TooEarly)),
    ] {
        let result = log_in(&web(), &id_token(&changes)).map(drop);
        let expected =
            fault.map_or(Ok(()), |fault| Err(LoginRefusal::IdToken { issuer: "corp".parse().unwrap(), fault: IdTokenFault::Token(fault) }));
        assert_eq!(result, expected, "{changes}");
    }
    assert!(log_in(&web(), &id_token(&json!({ "iat": NOW - 60, "exp": NOW - 29 }))).is_ok());
    let expired = log_in(&web(), &id_token(&json!({ "iat": NOW - 60, "exp": NOW - 30 }))).err().unwrap();
    assert_eq!(expired.slug(), "token-expired");
}

#[test]
fn callback_that_does_not_belong_to_the_login_reaches_nobody() {
    let (node, web) = (corp(), web());
    let corp = "corp".parse().unwrap();
    let state = encode([1; 16]);
    let finish = |query: &str, at: Timestamp| {
        let (pending, _) = start_login(&node, &web);
        let before = web.requests();
        let refused = node.finish_login(&corp, pending, query, None, at, &web).err().expect("it is refused");
        assert_eq!(web.requests(), before, "{query}");
        refused
    };
    for query in [
        "code=c".to_owned(),
        format!("code=c&state={}", encode([9; 16])),
        format!("code=c&state={state}&state={state}"),
        format!("code=c&code=c&state={state}"),
        format!("code=c&state={}", &state[1..]),
    ] {
        assert_eq!(finish(&query, now()), LoginRefusal::StateUnknown, "{query}");
    }
    let good = format!("code=c&state={state}");
    assert_eq!(finish(&good, at(NOW + 600)), LoginRefusal::StateUnknown);
    for (query, why) in [
        (format!("state={state}&error=access_denied&error_description=she+left"), "access_denied: she left"),
        (format!("{good}&error=access_denied"), "access_denied"),
        (format!("{good}&iss=https://other.example.test"), "the response is that of another issuer"),
        (format!("state={state}"), "the response has no code"),
        (format!("state={state}&code="), "the response has no code"),
    ] {
        assert_eq!(finish(&query, now()), LoginRefusal::ByIssuer { issuer: "corp".parse().unwrap(), why: why.to_owned() }, "{query}");
    }
    let (pending, query) = start_login(&node, &web);
    assert!(pending.is_for(&corp, &query, at(NOW + 599)) && !pending.is_for(&corp, &query, at(NOW + 600)));
    assert!(!pending.is_for(&"other".parse().unwrap(), &query, now()));
}

#[test]
fn issuer_that_promises_its_name_must_say_it() {
    let node = corp();
    let web = web_with(&json!({ "authorization_response_iss_parameter_supported": true }));
    issues(&web, &json!({ "id_token": id_token(&json!({})) }));
    let (pending, query) = start_login(&node, &web);
    let refused = node.finish_login(&"corp".parse().unwrap(), pending, &query, None, now(), &web).err().unwrap();
    assert!(refused.to_string().contains("the response does not name its issuer"), "{refused}");
    let (pending, query) = start_login(&node, &web);
    assert!(node.finish_login(&"corp".parse().unwrap(), pending, &format!("{query}&iss={ISSUER}"), None, now(), &web).is_ok());
}

#[test]
fn client_with_a_secret_sends_it_as_the_issuer_takes_it() {
    let settings = json!({ "client_id": "en sue", "client_secret": { "key": "ensue.corp_secret" } });
    let finish = |web: &Web, secret: Option<&Secret>| {
        issues(web, &json!({ "id_token": id_token(&json!({ "aud": "en sue" })) }));
        let node = corp_with(&settings);
        let (pending, query) = start_login(&node, web);
        node.finish_login(&"corp".parse().unwrap(), pending, &query, secret, now(), web)
    };
    let secret = Secret::new(b"s3cr:t&\n".to_vec());
    let basic = web();
    finish(&basic, Some(&secret)).unwrap();
    let [post] = &basic.posts()[..] else { panic!("the code is exchanged once") };
    assert_eq!(post.authorization, Some(format!("Basic {}", STANDARD.encode("en+sue:s3cr%3At%26"))));
    assert!(post.fields().iter().all(|(name, _)| !name.starts_with("client")), "{post:?}");
    for unset in [None, Some(Secret::new(b"\n".to_vec()))] {
        let refused = finish(&basic, unset.as_ref()).err().unwrap();
        assert_eq!((refused.slug(), basic.posts().len()), ("issuer-unavailable", 1), "{refused}");
    }

    let in_the_form = web_with(&json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] }));
    finish(&in_the_form, Some(&secret)).unwrap();
    let [post] = &in_the_form.posts()[..] else { panic!("the code is exchanged once") };
    assert_eq!((&post.authorization, &post.fields()[4..]), (&None, &[("client_id", "en sue"), ("client_secret", "s3cr:t&")][..]));
}

#[test]
fn renewal_says_who_the_person_is_now() {
    let (node, web) = (corp(), web());
    issues(&web, &json!({ "id_token": id_token(&json!({ "nonce": null, "groups": ["guests"] })) }));
    let renewed = renew(&node, &web, now()).ok().unwrap();
    let ana = renewed.admitted.unwrap();
    assert_eq!((ana.subject.as_str(), ana.name.as_str(), ana.groups), ("4711", "ana", issuer_groups(&["corp:guests"])));
    assert_eq!(text(renewed.refresh_token.as_ref()), Some("second"));
    let [post] = &web.posts()[..] else { panic!("the issuer is asked once") };
    assert_eq!(post.fields(), [("grant_type", "refresh_token"), ("refresh_token", "first"), ("client_id", "ensue")]);

    issues(&web, &json!({ "id_token": id_token(&json!({ "groups": null })), "refresh_token": null }));
    let renewed = renew(&node, &web, now()).ok().unwrap();
    assert_eq!((renewed.admitted.unwrap().groups, text(renewed.refresh_token.as_ref())), (Groups::NotSaid, None));
}

#[test]
fn renewal_without_an_id_token_changes_nothing() {
    let (node, web) = (corp(), web());
    for token in [Some("second"), None] {
        issues(&web, &json!({ "refresh_token": token }));
        let renewed = renew(&node, &web, now()).ok().unwrap();
        assert_eq!((renewed.admitted, text(renewed.refresh_token.as_ref())), (None, token));
    }
}

#[test]
fn login_ends_if_its_renewal_is_for_another_person_or_is_not_admitted() {
    let (node, web) = (corp(), web());
    let forged = Signer::stranger("p256").token(&id_claims(&json!({})));
    for (token, why) in [
        (id_token(&json!({ "sub": "4712" })), "another person"),
        (id_token(&json!({ "sub": "47110" })), "another person"),
        (id_token(&json!({ "sub": "471" })), "another person"),
        (id_token(&json!({ "email_verified": false })), "`allow`"),
        (id_token(&json!({ "preferred_username": null })), "`name`"),
        (id_token(&json!({ "aud": "other" })), "not valid"),
        (id_token(&json!({ "iss": "https://other.example.test" })), "not valid"),
        (id_token(&json!({ "iat": NOW - 60, "exp": NOW - 30 })), "expired"),
        (forged, "not valid"),
        ("x".to_owned(), "not valid"),
    ] {
        issues(&web, &json!({ "id_token": token }));
        let ended = end(renew(&node, &web, now()));
        assert!(ended.contains(why), "{why}: {ended}");
    }
    web.answer(&format!("{ISSUER}/token"), error_answer(400, &json!({ "error": "invalid_grant", "error_description": "it was revoked" })));
    assert_eq!(end(renew(&node, &web, now())), "invalid_grant: it was revoked");
}

#[test]
fn login_continues_while_the_issuer_cannot_say_whether_it_does() {
    let (node, web) = (corp(), web());
    for answer in [
        error_answer(400, &json!({ "error": "invalid_client" })),
        error_answer(400, &json!({ "error": "invalid_request" })),
        error_answer(401, &json!({})),
        error_answer(429, &json!({ "error": "slow_down" })),
        error_answer(500, &json!({ "error": "invalid_grant" })),
        error_answer(302, &json!({})),
        ok("<html>"),
        ok(json!({ "token_type": "Bearer", "id_token": id_token(&json!({})) }).to_string()),
        ok(json!({ "token_type": "mac", "access_token": "access", "id_token": id_token(&json!({})) }).to_string()),
        Err(ensue_login::fetch::FetchError::Timeout),
    ] {
        web.answer(&format!("{ISSUER}/token"), answer.clone());
        let refused = renew(&node, &web, now()).err().expect("it is not renewed");
        assert!(matches!(refused.why, RenewRefusal::NotNow(_)) && refused.refresh_token.is_none(), "{answer:?}: {:?}", refused.why);
    }
    let down = Web::default();
    let refused = renew(&corp(), &down, now()).err().expect("it is not renewed");
    assert!(matches!(&refused.why, RenewRefusal::NotNow(why) if why.slug() == "issuer-unavailable"), "{:?}", refused.why);
}

#[test]
fn new_refresh_token_is_returned_even_if_the_keys_of_the_id_token_are_not_known_yet() {
    let (node, web) = (corp(), web());
    issues(&web, &json!({ "id_token": id_token(&json!({})) }));
    assert!(renew(&node, &web, now()).is_ok());
    let rotated = Signer::stranger("rotated");
    issues(&web, &json!({ "id_token": rotated.token(&id_claims(&json!({}))), "refresh_token": "third" }));
    web.publish(&[rotated.public_jwk()]);
    // The issuer was asked for its keys less than 30 seconds ago.
    let unverified = renew(&node, &web, at(NOW + 29)).err().expect("it is not renewed");
    assert!(matches!(unverified.why, RenewRefusal::NotNow(_)), "{:?}", unverified.why);
    assert_eq!(text(unverified.refresh_token.as_ref()), Some("third"), "the one before no longer works");
    let renewed = renew(&node, &web, at(NOW + 30)).ok().unwrap();
    assert_eq!(renewed.admitted.unwrap().name, "ana");
}
