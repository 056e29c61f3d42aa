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
use std::time::Duration;

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
use self::wire::Reply;
use crate::attempt::{Attempt, Broken, Cut, Ending, Given, failed};
use crate::result::fitting;
use crate::runners::Runner;
use crate::web::NoWay;

/// How long the server may take for each reply before it has the mail.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// The name under which the text of a login is masked, like a key: it contains the password in a form of its own.
static LOGIN: LazyLock<KeyRef> = LazyLock::new(|| "ensue.login".parse().expect("it is a ref"));

impl Runner for MailMessage {
    async fn run(&self, attempt: &Attempt<'_>) -> Ending {
        let (server, mail) = {
            let opened = attempt.open(self.templates()).await?;
            let mut renderer = attempt.renderer(&opened)?;
            (SmtpServer::rendered(&self.server, &mut renderer)?, Mail::rendered(self, attempt, &mut renderer)?)
        };
        if let Some(login) = &server.login {
            attempt.keys.note(login.secrets().iter().map(|secret| (&*LOGIN, secret)));
        }
        let sender = Sender { attempt, server: &server };
        let mut dialog = attempt.within(sender.prepared(&mail)).await?;
        let sent = sender.ended(&mut dialog.dialog).await?;
        dialog.dialog.quit().await;
        sender.result(&mail, dialog, &sent)
    }
}

/// A dialog in which the server has everything but the end of the mail.
struct Prepared {
    dialog: Dialog,
    accepted: Vec<String>,
    refused: Vec<(String, Reply)>,
}

struct Sender<'s, 'w> {
    attempt: &'s Attempt<'w>,
    server: &'s SmtpServer,
}

impl Sender<'_, '_> {
    /// Brings a dialog to the end of the mail, which is not sent yet.
    async fn prepared(&self, mail: &Mail) -> Result<Prepared, Broken> {
        let Self { attempt, server } = *self;
        let line = attempt.means.ports.web.line(&server.host, server.port).await.map_err(|error| self.unreachable(&error))?;
        attempt.begin().await?;
        let opened = self.timely("connecting", Dialog::open(&*line, server));
        let mut dialog = opened.await?;
        self.timely("`MAIL FROM`", dialog.mail_from(&mail.from, &mail.bytes)).await?;
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for recipient in &mail.recipients {
            match self.in_time("`RCPT TO`", dialog.recipient(recipient)).await? {
                Ok(()) => accepted.push(recipient.to_string()),
                Err(Unsaid::Refused { reply, .. }) => refused.push((recipient.to_string(), reply)),
                Err(other) => return Err(self.broken(other)),
            }
        }
        if accepted.is_empty() {
            dialog.quit().await;
            return Err(self.all_refused(&refused));
        }
        self.timely("`DATA`", dialog.data(&mail.bytes)).await?;
        Ok(Prepared { dialog, accepted, refused })
    }

    /// Ends the mail, and waits for the server to confirm it. If that takes too long, or the attempt is to stop, it is
    /// unknown whether the mail was sent.
    async fn ended(&self, dialog: &mut Dialog) -> Result<Reply, Broken> {
        let ended = tokio::select! {
            biased;
            ended = dialog.end() => ended,
            why = self.given_up() => return Err(why),
        };
        match ended {
            Ok(reply) => Ok(reply),
            Err(Unsaid::Broken(why)) => {
                let message = format!("{} received the whole mail and did not confirm it: {why}", self.server.shown());
                Err(Broken::Lost(Some(Failure::new(FailureKind::Lost, self.masked(&message)))))
            }
            Err(refused) => Err(self.broken(refused)),
        }
    }

    /// Completes when the server's confirmation is no longer waited for. An attempt that is asked to stop waits for its grace.
    async fn given_up(&self) -> Broken {
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
        let message = format!("{} received the whole mail and did not confirm it {why}", self.server.shown());
        Broken::Lost(Some(Failure::new(FailureKind::Lost, message)))
    }

    async fn timely<T>(&self, what: &str, said: impl Future<Output = Result<T, Unsaid>>) -> Result<T, Broken> {
        self.in_time(what, said).await?.map_err(|unsaid| self.broken(unsaid))
    }

    async fn in_time<T>(&self, what: &str, said: impl Future<Output = T>) -> Result<T, Broken> {
        let clock = &self.attempt.means.ports.clock;
        tokio::select! {
            biased;
            said = said => Ok(said),
            () = clock.until(clock.now().saturating_add(REPLY_TIMEOUT)) => {
                let message = format!("{} did not reply to {what} within {} seconds", self.server.shown(), REPLY_TIMEOUT.as_secs());
                Err(failed(FailureKind::Timeout, message))
            }
        }
    }

    fn unreachable(&self, error: &NoWay) -> Broken {
        let kind = match error {
            NoWay::Denied => FailureKind::EgressDenied,
            NoWay::Unreachable(_) => FailureKind::Network,
        };
        failed(kind, format!("{} {error}", self.server.shown()))
    }

    fn broken(&self, unsaid: Unsaid) -> Broken {
        let server = self.server.shown();
        let failure = match unsaid {
            Unsaid::Refused { what, reply } => {
                Failure::new(FailureKind::SmtpStatus, self.masked(&format!("{server} refused {what}: {reply}")))
                    .with_detail(reply.code.into())
            }
            Unsaid::LoginRefused(code) => {
                let message = format!("{server} refused the login with {code}; check the user and the password");
                Failure::new(FailureKind::SmtpStatus, message).with_detail(code.into())
            }
            Unsaid::Impossible(why) => Failure::new(FailureKind::Network, format!("{server} {why}")),
            Unsaid::Broken(why) => Failure::new(FailureKind::Network, self.masked(&format!("{server}: {why}"))),
        };
        failure.into()
    }

    /// Returns the failure if no recipient was accepted. It is permanent only if every refusal is.
    fn all_refused(&self, refused: &[(String, Reply)]) -> Broken {
        let lasting = refused.iter().find(|(_, reply)| reply.is_transient()).or(refused.first());
        let listed: Vec<String> = refused.iter().map(|(recipient, reply)| format!("{recipient} ({reply})")).collect();
        let message = format!("{} refused every recipient: {}", self.server.shown(), listed.join(", "));
        let detail = lasting.map_or(550, |(_, reply)| reply.code);
        Failure::new(FailureKind::SmtpStatus, self.masked(&message)).with_detail(detail.into()).into()
    }

    fn result(&self, mail: &Mail, prepared: Prepared, confirmed: &Reply) -> Ending {
        let refused: Vec<Value> = prepared
            .refused
            .into_iter()
            .map(|(address, reply)| json!({ "address": address, "code": reply.code, "message": self.masked(&reply.text) }))
            .collect();
        let result = json!({
            "message_id": mail.id,
            "accepted": prepared.accepted,
            "refused": refused,
            "response": self.masked(&confirmed.to_string()),
        });
        let document = Document::parse(Bytes::from(result.to_string()));
        match document {
            Ok(document) if self.attempt.action.result.is_some() => fitting(&self.attempt.action, &document).map(Given::result),
            Ok(document) => Ok(Given::result(Body::json(document.bytes().clone()))),
            Err(error) => Err(failed(FailureKind::ResultInvalid, format!("the server's reply is not a valid result: {error}"))),
        }
    }

    /// Masks what a server said, because it may say what it was sent.
    fn masked(&self, text: &str) -> String {
        self.attempt.keys.masks().map_or_else(|| text.to_owned(), |masks| masks.text(text))
    }
}
