//! The settings `login.issuers`: what is accepted, and what each error says.

use std::collections::BTreeMap;
use std::time::Duration;

use ensue_engine::explain::Explain;
use ensue_login::settings::{GroupPrefix, KeysFrom, Renewal, SecretSource};
use ensue_login::{IssuerSettings, Kind, SettingsError, check_issuers};
use serde_json::{Value, json};

use crate::support::{AUDIENCE, ISSUER, settings};

fn check(name: &str, settings: Value) -> Result<IssuerSettings, SettingsError> {
    let written = serde_json::from_value(settings).unwrap();
    check_issuers(BTreeMap::from([(name.to_owned(), written)])).map(|mut issuers| issuers.remove(0))
}

/// Returns the settings of a bearer issuer with some replaced; `null` removes one.
fn with(changes: &Value) -> Value {
    let mut all = settings();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => all.as_object_mut().unwrap().remove(name),
            value => all.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    all
}

fn browser() -> Value {
    json!({ "issuer": ISSUER, "client_id": "ensue", "use": ["browser"], "name": "claims.preferred_username" })
}

#[test]
fn issuer_for_people_and_for_requests_is_accepted_with_its_defaults() {
    let both = with(&json!({
        "client_id": "ensue",
        "client_secret": { "key": "ensue.corp_secret" },
        "use": ["browser", "bearer"],
        "scopes": ["openid", "email", "groups"],
    }));
    let corp = check("corp", both).unwrap();
    assert_eq!((corp.name.as_str(), corp.issuer.as_str(), corp.kind), ("corp", ISSUER, Kind::Person));
    assert_eq!(corp.audience, [AUDIENCE, "https://ensue.example.test/mcp"]);
    let client = corp.client.as_ref().unwrap();
    assert_eq!((client.id.as_str(), client.scopes.len()), ("ensue", 3));
    assert_eq!(client.secret, Some(SecretSource::Key("ensue.corp_secret".parse().unwrap())));
    assert_eq!((corp.lifetime_max, corp.session_max), (Duration::from_secs(24 * 3600), None));
    assert_eq!((corp.group_prefix, corp.keys_from.clone()), (GroupPrefix::Issuer, KeysFrom::Discovery { hosts: Vec::new() }));

    let plain = check("corp", browser()).unwrap();
    let client = plain.client.unwrap();
    assert_eq!((client.scopes.as_slice(), client.renewal), (&["openid".to_owned()][..], Renewal::Never));
    let mut hourly = browser();
    hourly["refresh"] = json!(true);
    assert_eq!(check("corp", hourly).unwrap().client.unwrap().renewal, Renewal::Hourly);
    assert!(plain.audience.is_empty());
}

#[test]
fn issuer_of_services_is_accepted_with_one_audience_and_keys_from_a_file() {
    let cluster = json!({
        "issuer": "https://kubernetes.default.svc",
        "use": ["bearer"],
        "audience": AUDIENCE,
        "kind": "service",
        "allow": "true",
        "name": "'pod.' + claims.sub",
        "groups": "['ci']",
        "local_groups": true,
        "max_lifetime": "1h",
        "session_max": "12h",
        "ca": "/etc/ensue/cluster.pem",
        "keys_from": { "file": "/etc/ensue/keys.json" },
    });
    let cluster = check("cluster", cluster).unwrap();
    assert_eq!((cluster.kind, cluster.group_prefix), (Kind::Service, GroupPrefix::None));
    assert_eq!(cluster.keys_from, KeysFrom::File("/etc/ensue/keys.json".into()));
    assert_eq!((cluster.lifetime_max, cluster.session_max), (Duration::from_secs(3600), Some(Duration::from_secs(12 * 3600))));
    let hosts = check("google", with(&json!({ "keys_from": { "hosts": "www.Example.test" } }))).unwrap().keys_from;
    assert_eq!(hosts, KeysFrom::Discovery { hosts: vec!["www.example.test".to_owned()] });
}

#[test]
fn each_mistake_is_an_error_that_names_the_setting_and_what_to_write() {
    let cases = [
        (json!({ "audience": null }), "`login.issuers.corp.audience` is missing"),
        (json!({ "allow": null }), "`login.issuers.corp.allow` is missing"),
        (json!({ "use": [] }), "`login.issuers.corp.use` is missing"),
        (json!({ "use": ["browser"] }), "`login.issuers.corp.audience` is not valid: it is for `bearer`"),
        (json!({ "use": ["browser", "bearer"] }), "`login.issuers.corp.client_id` is missing"),
        (json!({ "client_id": "ensue" }), "`login.issuers.corp.client_id` is not valid: it is for `browser`"),
        (json!({ "client_secret": { "file": "/s" } }), "`login.issuers.corp.client_secret` is not valid: it is for `browser`"),
        (json!({ "refresh": true }), "`login.issuers.corp.refresh` is not valid: it is for `browser`"),
        (json!({ "audience": [] }), "`login.issuers.corp.audience` is not valid: write an audience"),
        (json!({ "audience": [""] }), "`login.issuers.corp.audience` is not valid: write an audience"),
        (json!({ "issuer": "id.example.test" }), "`login.issuers.corp.issuer` is not valid: relative URL without a base"),
        (json!({ "issuer": "http://id.example.test" }), "must start with `https://`"),
        (json!({ "issuer": "https://id.example.test/?a=b" }), "has no query and no fragment"),
        (json!({ "issuer": "https://ana:pw@id.example.test" }), "has no user and no password"),
        (json!({ "max_lifetime": "1 day" }), "`1 day` is not a duration"),
        (json!({ "session_max": "1s" }), "`1s` is not a duration of at least a minute"),
        (json!({ "keys_from": { "hosts": "https://keys.example.test" } }), "write a host name without a scheme, port or path"),
        (json!({ "keys_from": { "hosts": [] } }), "`login.issuers.corp.keys_from.hosts` is not valid"),
        (json!({ "keys_from": {} }), "`login.issuers.corp.keys_from` is not valid: write either"),
        (json!({ "keys_from": { "hosts": "a.test", "file": "/k" } }), "`login.issuers.corp.keys_from` is not valid: write either"),
    ];
    for (change, expected) in cases {
        let error = check("corp", with(&change)).unwrap_err();
        assert!(error.to_string().contains(expected), "{change}: {error}");
        assert_eq!(error.slug(), "config-invalid");
    }
    let secret = json!({ "issuer": ISSUER, "client_id": "ensue", "use": ["browser"], "name": "claims.sub" });
    for (source, expected) in [
        (json!({}), "write either `{ key: <pack>.<name> }` or `{ file: <path> }`"),
        (json!({ "key": "a.b", "file": "/c" }), "write either"),
        (json!({ "key": "corp_secret" }), "`key`: "),
    ] {
        let mut settings = secret.clone();
        settings["client_secret"] = source;
        let error = check("corp", settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for (scopes, expected) in [(json!(["email"]), "add it"), (json!(["openid email"]), "write a list"), (json!([]), "write a scope")] {
        let mut settings = browser();
        settings["scopes"] = scopes;
        let error = check("corp", settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut service = browser();
    service["kind"] = json!("service");
    assert!(check("corp", service).unwrap_err().to_string().contains("a service cannot log in with a browser"));
}

#[test]
fn issuer_on_this_machine_needs_no_tls() {
    for url in ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080/realms/corp"] {
        check("corp", with(&json!({ "issuer": url }))).unwrap();
    }
    for url in ["http://10.0.0.1", "http://localhost.example.test", "ftp://127.0.0.1", "file:///etc/keys"] {
        assert!(check("corp", with(&json!({ "issuer": url }))).is_err(), "{url}");
    }
}

#[test]
fn expression_that_does_not_compile_is_an_error_with_line_and_column() {
    let error = check("corp", with(&json!({ "allow": "claims.email_verified &&\n  event.email == 'a'" }))).unwrap_err();
    assert!(matches!(&error, SettingsError::Expression { line: 2, column: 3, .. }), "{error:?}");
    assert!(error.to_string().starts_with("`login.issuers.corp.allow`, line 2, column 3: "), "{error}");
    for setting in ["name", "groups"] {
        assert!(matches!(check("corp", with(&json!({ setting: "claims." }))).unwrap_err(), SettingsError::Expression { .. }));
    }
}

#[test]
fn names_of_issuers_and_doubled_issuers_are_checked() {
    for name in ["", "Corp", "1corp", "local", "proxy", "corp:x", "a b", &"a".repeat(33)] {
        assert!(matches!(check(name, settings()), Err(SettingsError::Name { .. })), "{name}");
    }
    let written = |settings| serde_json::from_value(settings).unwrap();
    let two = BTreeMap::from([("a".to_owned(), written(settings())), ("b".to_owned(), written(settings()))]);
    let error = check_issuers(two).unwrap_err().to_string();
    assert_eq!(error, "`login.issuers.a` and `login.issuers.b` have the same `issuer`");
}

#[test]
fn unknown_setting_is_refused() {
    let mut settings = settings();
    settings["audiance"] = json!("x");
    assert!(serde_json::from_value::<ensue_login::WrittenIssuer>(settings).unwrap_err().to_string().contains("unknown field `audiance`"));
}
