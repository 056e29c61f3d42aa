//! The runner `mail`: sends one mail through an SMTP server.
//!
//! A mail is sent as soon as the server has its end. If the server does not confirm that, nobody knows whether the
//! mail was sent, and the attempt is lost. Whatever fails before has sent nothing.

mod address;
mod dialog;
mod message;
mod server;
mod wire;

use std::sync::LazyLock;

use bytes::Bytes;
use ensue_engine::catalog::MailMessage;
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::names::KeyRef;
use ensue_engine::record::Body;
use ensue_expression::Document;
use serde_json::{Value, json};

use self::dialog::{Dialog, Unsaid};
use self::message::Mail;
use self::server::SmtpServer;
use self::wire::SmtpReply;
use crate::attempt::{AttemptContext, AttemptError, AttemptResult, Cut, Ending, attempt_failure};
use crate::connections::{ConnectionErrorKind, UseOutcome};
use crate::result::fitting;
use crate::runners::{Runner, lending};
use crate::web::{NoWay, Web};

/// The code of a server that cannot serve anybody now.
const SERVICE_CLOSES: i64 = 421;
/// The codes of a refused login (RFC 4954).
const LOGIN_REFUSED: [i64; 4] = [530, 534, 535, 538];

/// The name under which the text of a login is masked, like a key: it contains the password in a form of its own.
static LOGIN: LazyLock<KeyRef> = LazyLock::new(|| "ensue.login".parse().expect("it is a ref"));

impl Runner for MailMessage {
    async fn run(&self, attempt: &AttemptContext<'_>) -> Ending {
        let Some(connection) = lending::of_attempt(attempt)? else {
            let Some(written) = self.relay.server() else {
                return Err(attempt_failure(FailureKind::ParametersInvalid, "the mail has no server, because its connection is not given"));
            };
            let (server, mail) = {
                let opened = attempt.open(self.own_templates().into_iter().chain(written.templates())).await?;
                let mut renderer = attempt.renderer(&opened)?;
                (SmtpServer::render(written, &mut renderer)?, Mail::render(self, attempt, &mut renderer)?)
            };
            return MailSender { attempt, server: &server, web: &*attempt.means.ports.web }.send(&mail).await;
        };
        let mail = {
            let opened = attempt.open(self.own_templates()).await?;
            Mail::render(self, attempt, &mut attempt.renderer(&opened)?)?
        };
        let lent = attempt.within(lending::lend(attempt, &connection)).await?;
        let Some(server) = SmtpServer::of(&lent) else {
            return Err(attempt_failure(FailureKind::EgressDenied, "the connection is not one of the kind `smtp`"));
        };
        let ending = MailSender { attempt, server: &server, web: &lent.pool.web }.send(&mail).await;
        if let Some(used) = outcome_of_mail(&ending) {
            lent.finish(&used);
        }
        ending
    }
}

/// Returns what the end of a mail says about the server of its connection; `None` if nothing.
fn outcome_of_mail(ending: &Ending) -> Option<UseOutcome> {
    match ending {
        Ok(_) => Some(UseOutcome::Well),
        Err(AttemptError::Failed(failed)) if failed.failure.kind == FailureKind::SmtpStatus => Some(match failed.failure.detail {
            Some(SERVICE_CLOSES) => UseOutcome::Fault(ConnectionErrorKind::Server, failed.failure.message.clone()),
            Some(code) if LOGIN_REFUSED.contains(&code) => UseOutcome::Rejected(ConnectionErrorKind::Auth, failed.failure.message.clone()),
            // It works, and does not take this mail.
            _ => UseOutcome::Well,
        }),
        Err(AttemptError::Failed(failed)) => lending::outcome_of_failure(&failed.failure),
        Err(AttemptError::Lost(Some(failure))) => Some(UseOutcome::Fault(ConnectionErrorKind::Timeout, failure.message.clone())),
        Err(AttemptError::Cut(Cut::TimedOut, _)) => {
            Some(UseOutcome::Fault(ConnectionErrorKind::Timeout, "the attempt timed out".to_owned()))
        }
        Err(AttemptError::Lost(None) | AttemptError::Cut(Cut::Cancelled | Cut::Released | Cut::Left, _)) => None,
    }
}

/// A dialog in which the server has everything but the end of the mail.
struct PreparedMail {
    dialog: Dialog,
    accepted: Vec<String>,
    refused: Vec<(String, SmtpReply)>,
}

struct MailSender<'s, 'w> {
    attempt: &'s AttemptContext<'w>,
    server: &'s SmtpServer,
    web: &'s dyn Web,
}

impl MailSender<'_, '_> {
    /// Sends a mail.
    async fn send(&self, mail: &Mail) -> Ending {
        if let Some(login) = &self.server.login {
            self.attempt.keys.note(login.secrets().iter().map(|secret| (&*LOGIN, secret)));
        }
        let mut prepared = self.attempt.within(self.prepare(mail)).await?;
        let confirmed = self.await_confirmation(&mut prepared.dialog).await?;
        prepared.dialog.quit().await;
        self.result(mail, prepared, &confirmed)
    }

    /// Brings a dialog to the end of the mail, which is not sent yet.
    async fn prepare(&self, mail: &Mail) -> Result<PreparedMail, AttemptError> {
        let Self { attempt, server, web } = *self;
        let line = web.line(&server.host, server.port).await.map_err(|error| self.unreachable(&error))?;
        attempt.begin().await?;
        let opened = self.timely("connecting", Dialog::open(&*line, server));
        let mut dialog = opened.await?;
        self.timely("`MAIL FROM`", dialog.mail_from(mail)).await?;
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for recipient in &mail.recipients {
            match self.in_time("`RCPT TO`", dialog.recipient(&recipient.mailbox.email)).await? {
                Ok(()) => accepted.push(recipient.written.clone()),
                Err(Unsaid::Refused { reply, .. }) => refused.push((recipient.written.clone(), reply)),
                Err(other) => return Err(self.dialog_failure(other)),
            }
        }
        if accepted.is_empty() {
            dialog.quit().await;
            return Err(self.all_refused(&refused));
        }
        self.timely("`DATA`", dialog.data(&mail.bytes)).await?;
        Ok(PreparedMail { dialog, accepted, refused })
    }

    /// Ends the mail, and waits for the server to confirm it. If that takes too long, or the attempt is to stop, it is
    /// unknown whether the mail was sent.
    async fn await_confirmation(&self, dialog: &mut Dialog) -> Result<SmtpReply, AttemptError> {
        let ended = tokio::select! {
            biased;
            ended = dialog.end() => ended,
            why = self.given_up() => return Err(why),
        };
        match ended {
            Ok(reply) => Ok(reply),
            Err(Unsaid::Broken(why)) => {
                let message = format!("{} received the whole mail and did not confirm it: {why}", self.server.shown);
                Err(AttemptError::Lost(Some(Failure::new(FailureKind::Lost, self.mask(&message)))))
            }
            Err(refused) => Err(self.dialog_failure(refused)),
        }
    }

    /// Completes when the server's confirmation is no longer waited for. An attempt that is asked to stop waits for its grace.
    async fn given_up(&self) -> AttemptError {
        let clock = &self.attempt.means.ports.clock;
        let cut = self.attempt.cut().await;
        let why = match cut {
            Cut::Released => return cut.into(),
            Cut::TimedOut => "in time",
            Cut::Cancelled | Cut::Left => {
                clock.until(clock.now().saturating_add(self.attempt.action.grace)).await;
                "before the attempt had to stop"
            }
        };
        let message = format!("{} received the whole mail and did not confirm it {why}", self.server.shown);
        AttemptError::Lost(Some(Failure::new(FailureKind::Lost, message)))
    }

    async fn timely<T>(&self, what: &str, said: impl Future<Output = Result<T, Unsaid>>) -> Result<T, AttemptError> {
        self.in_time(what, said).await?.map_err(|unsaid| self.dialog_failure(unsaid))
    }

    async fn in_time<T>(&self, what: &str, said: impl Future<Output = T>) -> Result<T, AttemptError> {
        let clock = &self.attempt.means.ports.clock;
        tokio::select! {
            biased;
            said = said => Ok(said),
            () = clock.until(clock.now().saturating_add(self.server.patience)) => {
                let message = format!("{} did not reply to {what} within {} seconds", self.server.shown, self.server.patience.as_secs_f64());
                Err(attempt_failure(FailureKind::Timeout, message))
            }
        }
    }

    fn unreachable(&self, error: &NoWay) -> AttemptError {
        let kind = match error {
            NoWay::Denied => FailureKind::EgressDenied,
            NoWay::Unreachable(_) => FailureKind::Network,
        };
        attempt_failure(kind, format!("{} {error}", self.server.shown))
    }

    fn dialog_failure(&self, unsaid: Unsaid) -> AttemptError {
        let server = &self.server.shown;
        let failure = match unsaid {
            Unsaid::Refused { what, reply } => {
                Failure::new(FailureKind::SmtpStatus, self.mask(&format!("{server} refused {what}: {reply}")))
                    .with_detail(reply.code.into())
            }
            Unsaid::LoginRefused(code) => {
                let message = format!("{server} refused the login with {code}; check the user and the password");
                Failure::new(FailureKind::SmtpStatus, message).with_detail(code.into())
            }
            Unsaid::AddressUnfit(address) => Failure::new(
                FailureKind::ParametersInvalid,
                format!(
                    "{server} does not offer SMTPUTF8, which the address {address} needs: it has characters outside ASCII before the `@`"
                ),
            ),
            Unsaid::Impossible(why) => Failure::new(FailureKind::Network, format!("{server} {why}")),
            Unsaid::Broken(why) => Failure::new(FailureKind::Network, self.mask(&format!("{server}: {why}"))),
        };
        failure.into()
    }

    /// Returns the failure if no recipient was accepted. It is permanent only if every refusal is.
    fn all_refused(&self, refused: &[(String, SmtpReply)]) -> AttemptError {
        let lasting = refused.iter().find(|(_, reply)| reply.is_transient()).or(refused.first());
        let listed: Vec<String> = refused.iter().map(|(recipient, reply)| format!("{recipient} ({reply})")).collect();
        let message = format!("{} refused every recipient: {}", self.server.shown, listed.join(", "));
        let detail = lasting.map_or(550, |(_, reply)| reply.code);
        Failure::new(FailureKind::SmtpStatus, self.mask(&message)).with_detail(detail.into()).into()
    }

    fn result(&self, mail: &Mail, prepared: PreparedMail, confirmed: &SmtpReply) -> Ending {
        let refused: Vec<Value> = prepared
            .refused
            .into_iter()
            .map(|(address, reply)| json!({ "address": address, "code": reply.code, "message": self.mask(&reply.text) }))
            .collect();
        let result = json!({
            "message_id": mail.id,
            "accepted": prepared.accepted,
            "refused": refused,
            "response": self.mask(&confirmed.to_string()),
        });
        let document = Document::parse(Bytes::from(result.to_string()));
        match document {
            Ok(document) if self.attempt.action.result.is_some() => fitting(&self.attempt.action, &document).map(AttemptResult::result),
            Ok(document) => Ok(AttemptResult::result(Body::json(document.bytes().clone()))),
            Err(error) => Err(attempt_failure(FailureKind::ResultInvalid, format!("the server's reply is not a valid result: {error}"))),
        }
    }

    /// Masks what a server said, because it may say what it was sent.
    fn mask(&self, text: &str) -> String {
        self.attempt.keys.masks().map_or_else(|| text.to_owned(), |masks| masks.text(text))
    }
}
