//! Mail: what a server receives, what it refuses, and what is known after each way in which a dialog breaks off.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::catalog::{MailMessage, MailRelay, MailServer as ServerTemplates, Run};
use ensue_engine::command::{Ask, Report};
use ensue_engine::executions::facts::{Evidence, Failure, FailureKind};
use ensue_executor::EgressPolicy;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::smtp::{Instead, MailProtection, MailServer, ReceivedMail, Rules, USER};
use crate::world::{Plan, SECRET, World, execution, failure, result, template};

/// Returns the certificate of an authority, as PEM, and a server's that is valid for 127.0.0.1.
fn certificate() -> (String, TlsAcceptor) {
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(issuer, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![signed.der().clone()], key).unwrap();
    (issuer.pem(), TlsAcceptor::from(Arc::new(config)))
}

async fn start(rules: Rules) -> MailServer {
    MailServer::start(rules, certificate()).await
}

/// Returns an action that sends what its parameters say to a server.
fn action(server: &MailServer, security: &str) -> MailMessage {
    let has_login = security != "none";
    let param = |name: &str| template(json!(format!("${{{{ params[?'{name}'].orValue(null) }}}}")));
    MailMessage {
        relay: MailRelay::Server(Box::new(ServerTemplates {
            host: template(json!("127.0.0.1")),
            port: template(json!(server.address.port())),
            security: template(json!(security)),
            user: template(if has_login { json!(USER) } else { json!(null) }),
            password: template(if has_login { json!("${{ keys['test.token'] }}") } else { json!(null) }),
            authority: template(json!(server.authority)),
            hello: template(json!(null)),
        })),
        from: template(json!("Robot <robot@example.org>")),
        to: param("to"),
        cc: param("cc"),
        bcc: param("bcc"),
        reply_to: param("reply_to"),
        subject: param("subject"),
        text: param("text"),
        html: param("html"),
        in_reply_to: param("in_reply_to"),
        headers: param("headers"),
        attachments: param("attachments"),
    }
}

/// Returns the server that an action names.
fn server_of(message: &mut MailMessage) -> &mut ServerTemplates {
    match &mut message.relay {
        MailRelay::Server(server) | MailRelay::Either(_, server) => server,
        MailRelay::Connection(_) => panic!("the action names a connection"),
    }
}

fn world(server: &MailServer, message: MailMessage) -> World {
    Plan::new(Run::Mail(Box::new(message))).allow(server.address).begin()
}

async fn report_of(server: &MailServer, params: Value) -> Report {
    world(server, action(server, "none")).report_of(params).await
}

fn hello(to: Value) -> Value {
    json!({ "to": to, "subject": "Hello", "text": "It is done." })
}

fn only(server: &MailServer) -> ReceivedMail {
    let mails = server.mails();
    assert_eq!(mails.len(), 1, "{mails:#?}");
    mails.into_iter().next().unwrap()
}

fn secure_rules(protected: MailProtection, mechanism: &'static str) -> Rules {
    Rules { protected, password: Some(SECRET), mechanism, ..Rules::plain() }
}

/// Waits for the loss of the attempt, and returns what is known about it.
async fn loss(world: &mut World) -> (Evidence, Failure) {
    match world.asked.recv().await {
        Some(Ask::LoseAttempt { evidence, error, .. }) => (evidence, error.unwrap()),
        other => panic!("not a loss: {other:?}"),
    }
}

#[tokio::test]
async fn mail_arrives_with_its_recipients_headers_and_text() {
    let server = start(Rules::plain()).await;
    let params = json!({
        "to": ["Ada Lovelace <ada@example.org>", "bob@example.org"],
        "cc": "cleo@example.org",
        "bcc": ["dan@example.org", "ADA2@example.org"],
        "reply_to": "desk@example.org",
        "subject": "Grüße: done",
        "text": "first\n.\nthird, größer",
        "in_reply_to": "<1@example.org>",
        "headers": { "X-Priority": 1, "Auto-Submitted": "auto-generated" },
    });
    let report = report_of(&server, params).await;
    let mail = only(&server);
    let id = format!("<{}@example.org>", execution(1));
    let recipients = ["ada@example.org", "bob@example.org", "cleo@example.org", "dan@example.org", "ADA2@example.org"];
    let expected = json!({ "message_id": id, "accepted": recipients, "refused": [], "response": "250 2.0.0 Ok: queued as 1" });
    assert_eq!(result(&report), expected);
    assert_eq!((mail.from.as_str(), mail.to.as_slice()), ("robot@example.org", recipients.map(str::to_owned).as_slice()));
    let header = |name: &str| mail.header(name).unwrap_or_default();
    assert_eq!(header("From"), "Robot <robot@example.org>");
    assert_eq!(header("To"), "\"Ada Lovelace\" <ada@example.org>, bob@example.org");
    assert_eq!((header("Cc"), header("Bcc"), header("Reply-To")), ("cleo@example.org".into(), String::new(), "desk@example.org".into()));
    assert_eq!(
        (header("Message-ID"), header("In-Reply-To"), header("References")),
        (id, "<1@example.org>".into(), "<1@example.org>".into())
    );
    assert_eq!((header("X-Priority"), header("Auto-Submitted")), ("1".into(), "auto-generated".into()));
    assert!(header("Subject").is_ascii() && header("Subject").starts_with("=?utf-8?"), "{}", header("Subject"));
    assert_eq!(header("Date"), "Sat, 28 Mar 2026 12:00:00 +0000");
    assert!(mail.text.ends_with("\r\n\r\nfirst\r\n.\r\nthird, gr=C3=B6=C3=9Fer\r\n"), "{}", mail.text);
}

#[tokio::test]
async fn text_html_and_files_are_parts_of_one_mail() {
    let server = start(Rules::plain()).await;
    let attachments = json!([
        { "name": "report.csv", "type": "text/csv", "text": "a,b\n1,2\n" },
        { "name": "größe.bin", "base64": "AAEC" },
    ]);
    let params = json!({ "to": "ada@example.org", "text": "plain", "html": "<b>rich</b>", "attachments": attachments });
    result(&report_of(&server, params).await);
    let text = only(&server).text;
    let found = ["multipart/mixed", "multipart/alternative", "plain", "<b>rich</b>", "filename=\"report.csv\"", "YSxiCjEsMgo=", "AAEC"];
    for part in found {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[tokio::test]
async fn password_is_sent_only_after_encryption_and_is_in_no_record() {
    for (protected, security, mechanism) in [
        (MailProtection::Starttls, "starttls", "PLAIN"),
        (MailProtection::Starttls, "starttls", "LOGIN"),
        (MailProtection::Tls, "tls", "PLAIN"),
    ] {
        let server = start(secure_rules(protected, mechanism)).await;
        let report = world(&server, action(&server, security)).report_of(hello(json!("ada@example.org"))).await;
        assert_eq!(result(&report)["accepted"], json!(["ada@example.org"]), "{security}, {mechanism}");
        only(&server);
        assert!(server.client_lines().iter().any(|line| line.starts_with("AUTH ")), "{:?}", server.client_lines());
        assert!(!format!("{report:?}").contains(SECRET));
    }
}

#[tokio::test]
async fn login_that_is_refused_fails_permanently_without_showing_it() {
    let rules = secure_rules(MailProtection::Starttls, "PLAIN").instead(|line| {
        // A bad server repeats what it was sent.
        line.starts_with("AUTH").then(|| Instead::Say(format!("535 wrong: {line} {SECRET}")))
    });
    let server = start(rules).await;
    let report = world(&server, action(&server, "starttls")).report_of(hello(json!("ada@example.org"))).await;
    let failure = failure(&report, FailureKind::SmtpStatus);
    assert_eq!((failure.detail, failure.may_pass(false)), (Some(535), false));
    assert_eq!(failure.message, format!("`{}` refused the login with 535; check the user and the password", server.address));
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn server_that_repeats_a_login_later_does_not_show_it() {
    let rules = secure_rules(MailProtection::Starttls, "PLAIN");
    let plain = "AHJvYm90AGNhbmFyeS1zM2NyZXQ=";
    let rules = rules.instead(move |line| line.starts_with("MAIL").then(|| Instead::Say(format!("550 you said {plain} and {SECRET}"))));
    let server = start(rules).await;
    let report = world(&server, action(&server, "starttls")).report_of(hello(json!("ada@example.org"))).await;
    let message = &failure(&report, FailureKind::SmtpStatus).message;
    assert!(server.client_lines().iter().any(|line| line.ends_with(plain)), "the test knows what was sent");
    assert!(message.contains("550 you said [redacted ensue.login] and [redacted test.token]"), "{message}");
}

#[tokio::test]
async fn server_without_encryption_gets_no_password() {
    let server = start(Rules { password: Some(SECRET), ..Rules::plain() }).await;
    let report = world(&server, action(&server, "starttls")).report_of(hello(json!("ada@example.org"))).await;
    let message = &failure(&report, FailureKind::Network).message;
    assert!(message.contains("does not offer STARTTLS"), "{message}");
    let mut plain = action(&server, "starttls");
    server_of(&mut plain).security = template(json!("none"));
    let report = world(&server, plain).report_of(hello(json!("ada@example.org"))).await;
    let message = &failure(&report, FailureKind::ParametersInvalid).message;
    assert!(message.contains("a password is never sent without encryption"), "{message}");
    assert!(!server.client_lines().iter().any(|line| line.starts_with("AUTH")), "{:?}", server.client_lines());
}

#[tokio::test]
async fn reply_that_was_put_before_the_encryption_is_not_believed() {
    let rules = secure_rules(MailProtection::Starttls, "PLAIN")
        .instead(|line| (line == "STARTTLS").then(|| Instead::Say("220 go ahead\r\n250 AUTH PLAIN".to_owned())));
    let server = start(rules).await;
    let report = world(&server, action(&server, "starttls")).report_of(hello(json!("ada@example.org"))).await;
    let message = &failure(&report, FailureKind::Network).message;
    assert!(message.contains("it said more before the connection was encrypted"), "{message}");
}

#[tokio::test]
async fn certificate_of_another_authority_is_refused() {
    let (server, other) = (start(secure_rules(MailProtection::Tls, "PLAIN")).await, start(Rules::plain()).await);
    let mut message = action(&server, "tls");
    server_of(&mut message).authority = template(json!(other.authority));
    let report = world(&server, message).report_of(hello(json!("ada@example.org"))).await;
    let shown = &failure(&report, FailureKind::Network).message;
    assert!(shown.contains("TLS cannot be set up") && shown.contains("certificate"), "{shown}");
    let mut message = action(&server, "tls");
    server_of(&mut message).authority = template(json!("no certificate"));
    let report = world(&server, message).report_of(hello(json!("ada@example.org"))).await;
    assert!(failure(&report, FailureKind::Network).message.contains("it is not PEM"));
    assert!(server.client_lines().is_empty());
}

/// Returns an action whose sender is a parameter.
fn action_from(server: &MailServer) -> MailMessage {
    MailMessage { from: template(json!("${{ params.from }}")), ..action(server, "none") }
}

#[tokio::test]
async fn mail_with_an_address_outside_ascii_is_announced_with_smtputf8() {
    for (field, address, envelope) in [
        ("from", "jürgen@example.org", "MAIL FROM:<jürgen@example.org>"),
        ("to", "jürgen@example.org", "RCPT TO:<jürgen@example.org>"),
        ("cc", "Ada <jürgen@bücher.example>", "RCPT TO:<jürgen@xn--bcher-kva.example>"),
        ("bcc", "用户@example.org", "RCPT TO:<用户@example.org>"),
        ("reply_to", "jürgen@example.org", "MAIL FROM:<robot@example.org>"),
    ] {
        let server = start(Rules { offers: &["8BITMIME", "SMTPUTF8"], ..Rules::plain() }).await;
        let mut params = json!({ "from": "robot@example.org", "to": "ada@example.org", "subject": "Hello", "text": "It is done." });
        params[field] = json!(address);
        result(&world(&server, action_from(&server)).report_of(params).await);
        let said = server.client_lines();
        assert!(said.iter().any(|line| line.starts_with(envelope)), "{field}: {said:?}");
        assert!(said.iter().any(|line| line.starts_with("MAIL") && line.contains(" SMTPUTF8")), "{field}: {said:?}");
        only(&server);
    }
}

#[tokio::test]
async fn domain_outside_ascii_needs_no_smtputf8() {
    let server = start(Rules::plain()).await;
    let mut params = hello(json!(["Ada <a@bücher.example>", "a@xn--bcher-kva.example", "gone@bücher.example"]));
    params["from"] = json!("robot@bücher.example");
    let report = world(&server, action_from(&server)).report_of(params).await;
    let result = result(&report);
    assert_eq!(result["accepted"], json!(["a@bücher.example"]));
    assert_eq!(result["refused"][0]["address"], json!("gone@bücher.example"));
    let mail = only(&server);
    assert_eq!((mail.from.as_str(), mail.to), ("robot@xn--bcher-kva.example", vec!["a@xn--bcher-kva.example".to_owned()]));
    assert!(mail.text.split("\r\n\r\n").next().unwrap().is_ascii(), "{}", mail.text);
    assert!(!server.client_lines().iter().any(|line| line.contains("SMTPUTF8")), "{:?}", server.client_lines());
}

#[tokio::test]
async fn server_without_smtputf8_gets_no_mail_and_the_failure_names_the_address() {
    let server = start(Rules { offers: &["8BITMIME"], ..Rules::plain() }).await;
    let report = report_of(&server, hello(json!(["ada@example.org", "Jürgen <jürgen@example.org>"]))).await;
    let failure = failure(&report, FailureKind::ParametersInvalid);
    let expected = format!(
        "`{}` does not offer SMTPUTF8, which the address jürgen@example.org needs: it has characters outside ASCII before the `@`",
        server.address
    );
    assert_eq!((failure.message.as_str(), failure.may_pass(false)), (expected.as_str(), false));
    assert!(server.mails().is_empty());
    assert!(!server.client_lines().iter().any(|line| line.starts_with("MAIL")), "{:?}", server.client_lines());
}

#[tokio::test]
async fn refused_recipients_are_listed_and_the_others_get_the_mail() {
    let server = start(Rules::plain()).await;
    let report = report_of(&server, hello(json!(["gone@example.org", "ada@example.org", "full@example.org"]))).await;
    let refused = json!([
        { "address": "gone@example.org", "code": 550, "message": "5.1.1 No such user" },
        { "address": "full@example.org", "code": 452, "message": "4.2.2 Mailbox full" },
    ]);
    let result = result(&report);
    assert_eq!((&result["accepted"], &result["refused"]), (&json!(["ada@example.org"]), &refused));
    assert_eq!(only(&server).to, ["ada@example.org"]);
}

#[tokio::test]
async fn mail_that_nobody_gets_fails_permanently_only_if_every_refusal_is_permanent() {
    let server = start(Rules::plain()).await;
    for (to, detail, may_pass) in [(json!(["gone@example.org"]), 550, false), (json!(["gone@example.org", "full@example.org"]), 452, true)]
    {
        let report = report_of(&server, hello(to)).await;
        let failure = failure(&report, FailureKind::SmtpStatus);
        assert_eq!((failure.detail, failure.may_pass(false)), (Some(detail), may_pass));
        assert!(failure.message.contains("refused every recipient: gone@example.org (550 5.1.1 No such user)"), "{}", failure.message);
    }
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn refusal_of_a_server_is_permanent_with_5_and_may_pass_with_4() {
    for (line, says, detail, may_pass) in [
        ("", "554 no service for you", 554, false),
        ("", "421 too many connections", 421, true),
        ("MAIL", "451 try later", 451, true),
        ("DATA", "503 no", 503, false),
        (".", "451 greylisted", 451, true),
        (".", "554 5.7.1 spam", 554, false),
    ] {
        let rules = Rules::plain().instead(move |said| {
            let is_it = if line.is_empty() { said.is_empty() } else { said.starts_with(line) };
            is_it.then(|| Instead::Say(says.to_owned()))
        });
        let server = start(rules).await;
        let report = report_of(&server, hello(json!("ada@example.org"))).await;
        let failure = failure(&report, FailureKind::SmtpStatus);
        assert_eq!((failure.detail, failure.may_pass(false)), (Some(detail), may_pass), "{says}");
        assert!(failure.message.ends_with(says), "{}", failure.message);
        assert!(server.mails().is_empty());
    }
}

#[tokio::test]
async fn connection_that_breaks_before_the_end_of_the_mail_has_sent_nothing() {
    for line in ["", "EHLO", "MAIL", "RCPT", "DATA"] {
        let rules = Rules::plain().instead(move |said| {
            let is_it = if line.is_empty() { said.is_empty() } else { said.starts_with(line) };
            is_it.then_some(Instead::Close)
        });
        let server = start(rules).await;
        let report = report_of(&server, hello(json!("ada@example.org"))).await;
        let failure = failure(&report, FailureKind::Network);
        assert!(failure.may_pass(false), "{line}: {}", failure.message);
    }
}

#[tokio::test]
async fn mail_that_is_not_confirmed_is_lost_and_not_failed() {
    let server = start(Rules::plain().instead(|said| (said == ".").then_some(Instead::KeepAndClose))).await;
    let mut world = world(&server, action(&server, "none"));
    world.dispatch(1, hello(json!("ada@example.org")));
    let (evidence, error) = loss(&mut world).await;
    assert_eq!((evidence, error.kind), (Evidence::MayHaveBegun, FailureKind::Lost));
    assert!(error.message.contains("received the whole mail and did not confirm it"), "{}", error.message);
    assert_eq!(server.mails().len(), 1, "it was sent, and only the server knows");
}

#[tokio::test]
async fn every_attempt_sends_the_same_message_id() {
    let server = start(Rules::plain()).await;
    let world = &mut world(&server, action(&server, "none"));
    let mut ids = Vec::new();
    for number in [1, 2] {
        let mut dispatch = world.make_dispatch(1, hello(json!("ada@example.org")));
        dispatch.attempt = crate::world::attempt(number);
        dispatch.number = number;
        world.executor.carry_out(ensue_engine::effect::Effect::Dispatch(Box::new(dispatch)));
        ids.push(result(&world.report().await)["message_id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    let sent: Vec<_> = server.mails().iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!(sent[0], sent[1]);
}

#[tokio::test]
async fn silent_server_fails_in_time_before_the_mail_and_is_unknown_after_it() {
    let server = start(Rules::plain().instead(|said| said.starts_with("RCPT").then_some(Instead::Hang))).await;
    let mut world = Plan::new(Run::Mail(Box::new(action(&server, "none")))).allow(server.address).time_in_hand().begin();
    world.dispatch(1, hello(json!("ada@example.org")));
    server.hears("RCPT").await;
    world.clock.advance(Duration::from_secs(60));
    let report = world.report().await;
    let message = &failure(&report, FailureKind::Timeout).message;
    assert!(message.contains("did not reply to `RCPT TO` within 60 seconds"), "{message}");

    let server = start(Rules::plain().instead(|said| (said == ".").then_some(Instead::Hang))).await;
    let mut world = Plan::new(Run::Mail(Box::new(action(&server, "none")))).allow(server.address).time_in_hand().begin();
    world.dispatch(1, hello(json!("ada@example.org")));
    server.hears(".").await;
    world.clock.advance(crate::world::TIMEOUT);
    let (evidence, error) = loss(&mut world).await;
    assert_eq!(evidence, Evidence::MayHaveBegun);
    assert!(error.message.contains("did not confirm it in time"), "{}", error.message);
}

#[tokio::test]
async fn server_that_may_not_be_reached_is_not_connected_to() {
    let server = start(Rules::plain()).await;
    let denied = Plan::new(Run::Mail(Box::new(action(&server, "none")))).egress(EgressPolicy::default());
    let mut world = denied.begin();
    let report = world.report_of(hello(json!("ada@example.org"))).await;
    let message = &failure(&report, FailureKind::EgressDenied).message;
    assert!(message.contains("can allow it under `egress.allow`"), "{message}");
    assert!(server.client_lines().is_empty());
    assert!(!world.begun_text().contains(&crate::world::attempt(1).to_string()));
}

#[tokio::test]
async fn invalid_parameters_are_refused_before_anything_is_sent() {
    let server = start(Rules::plain()).await;
    let many: Vec<String> = (0..101).map(|number| format!("u{number}@example.org")).collect();
    for (params, expected) in [
        (json!({ "text": "x" }), "the mail has no recipient"),
        (hello(json!("ada")), "`to` has `ada`, which is not an address"),
        (hello(json!("ada@example.org\r\nRCPT TO:<eve@example.org>")), "is not an address"),
        (hello(json!(["ada@example.org", 7])), "`to` contains `7`, which is not an address"),
        (hello(json!(many)), "the mail has 101 recipients; the limit is 100"),
        (json!({ "to": "ada@example.org" }), "the mail is empty"),
        (json!({ "to": "ada@example.org", "text": "a\u{0}" }), "`text` contains a control character"),
        (json!({ "to": "ada@example.org", "text": "x", "subject": "a\r\nBcc: eve@example.org" }), "`subject` contains a line break"),
        (
            json!({ "to": "ada@example.org", "text": "x", "headers": { "X-A": "b\nBcc: eve@example.org" } }),
            "`headers.X-A` contains a line break",
        ),
        (json!({ "to": "ada@example.org", "text": "x", "headers": { "Bcc": "eve@example.org" } }), "the header `Bcc` cannot be set"),
        (json!({ "to": "ada@example.org", "text": "x", "headers": { "X A": "b" } }), "is not a valid name for a header"),
        (json!({ "to": "ada@example.org", "text": "x", "in_reply_to": "1" }), "which is not a Message-ID"),
        (json!({ "to": "ada@example.org", "text": "x", "attachments": [{ "name": "a" }] }), "needs either `text` or `base64`"),
        (json!({ "to": "ada@example.org", "text": "x", "attachments": [{ "name": "a", "base64": "?" }] }), "is not Base64"),
        (
            json!({ "to": "ada@example.org", "text": "x", "attachments": [{ "name": "a", "text": "x", "path": "/" }] }),
            "unknown field `path`",
        ),
    ] {
        let report = report_of(&server, params).await;
        let message = &failure(&report, FailureKind::ParametersInvalid).message;
        assert!(message.contains(expected), "{message}");
    }
    assert!(server.client_lines().is_empty());
}
