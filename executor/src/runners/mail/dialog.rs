//! The dialog with an SMTP server, command by command.
//!
//! It has no time limits of its own.

use ensue_engine::catalog::MailSecurity;
use lettre::Address;
use tokio::io::{AsyncWriteExt, BufReader};

use super::message::Mail;
use super::server::{Login, SmtpServer};
use super::wire::SmtpReply;
use crate::web::{BrokenOff, Line, Stream};

/// Why a dialog does not go on.
#[derive(Debug)]
pub(super) enum Unsaid {
    /// The server refused.
    Refused {
        /// What it refused.
        what: &'static str,
        /// What it said.
        reply: SmtpReply,
    },
    /// The server refused the login with this code. What it said may contain the password.
    LoginRefused(u16),
    /// The server cannot do what is needed. The text begins with a verb.
    Impossible(String),
    /// The server does not take such an address, which is shown.
    AddressUnfit(String),
    /// The connection broke off.
    Broken(String),
}

impl From<BrokenOff> for Unsaid {
    fn from(error: BrokenOff) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A dialog that has been opened, and encrypted and logged in if its server requires that.
pub(super) struct Dialog {
    stream: BufReader<Box<dyn Stream>>,
    /// What the server offers, as it said it.
    offers: Vec<String>,
}

impl Dialog {
    /// Connects, encrypts the connection, and logs in.
    pub(super) async fn open(line: &dyn Line, server: &SmtpServer) -> Result<Self, Unsaid> {
        let authority = server.authority.as_deref();
        let mut stream = line.open().await?;
        if server.security == MailSecurity::Tls {
            stream = line.encrypt(stream, authority).await?;
        }
        let mut dialog = Self { stream: BufReader::new(stream), offers: Vec::new() };
        dialog.read_positive("the connection").await?;
        dialog.hello(&server.hello).await?;
        if server.security == MailSecurity::Starttls {
            dialog = dialog.start_tls(line, server).await?;
            dialog.hello(&server.hello).await?;
        }
        if let Some(login) = &server.login {
            dialog.login(login, server).await?;
        }
        Ok(dialog)
    }

    async fn hello(&mut self, name: &str) -> Result<(), Unsaid> {
        let reply = self.run_command(&format!("EHLO {name}"), "`EHLO`").await?;
        self.offers = reply.lines.into_iter().skip(1).collect();
        Ok(())
    }

    async fn start_tls(mut self, line: &dyn Line, server: &SmtpServer) -> Result<Self, Unsaid> {
        if self.offer("STARTTLS").is_none() {
            return Err(Unsaid::Impossible(format!("does not offer STARTTLS; {}", server.without_starttls())));
        }
        self.run_command("STARTTLS", "`STARTTLS`").await?;
        // What somebody put into the plain part must not count as said by the encrypted server.
        if !self.stream.buffer().is_empty() {
            return Err(Unsaid::Broken("it said more before the connection was encrypted".to_owned()));
        }
        let stream = line.encrypt(self.stream.into_inner(), server.authority.as_deref()).await?;
        Ok(Self { stream: BufReader::new(stream), offers: Vec::new() })
    }

    async fn login(&mut self, login: &Login, server: &SmtpServer) -> Result<(), Unsaid> {
        let ways: Vec<String> = self.offer("AUTH").unwrap_or_default().split_whitespace().map(str::to_ascii_uppercase).collect();
        let offers = |way: &str| ways.iter().any(|offered| offered == way);
        let reply = if offers("PLAIN") {
            self.exchange(&format!("AUTH PLAIN {}", login.plain())).await?
        } else if offers("LOGIN") {
            let mut reply = self.exchange("AUTH LOGIN").await?;
            for answer in login.answers() {
                if reply.code != 334 {
                    break;
                }
                reply = self.exchange(&answer).await?;
            }
            reply
        } else {
            let why = format!("offers no login by password (AUTH PLAIN or LOGIN); {}", server.without_login());
            return Err(Unsaid::Impossible(why));
        };
        if reply.code == 235 { Ok(()) } else { Err(Unsaid::LoginRefused(reply.code)) }
    }

    /// Names the sender of a mail.
    pub(super) async fn mail_from(&mut self, mail: &Mail) -> Result<(), Unsaid> {
        let mut command = format!("MAIL FROM:<{}>", mail.from.mailbox.email);
        if self.offer("SIZE").is_some() {
            command.push_str(&format!(" SIZE={}", mail.bytes.len()));
        }
        // The server must know before the recipients are named, and also if only a header has such an address.
        if let Some(address) = &mail.utf8 {
            self.offer("SMTPUTF8").ok_or_else(|| Unsaid::AddressUnfit(address.clone()))?;
            command.push_str(" SMTPUTF8");
        }
        if !mail.bytes.is_ascii() {
            self.needs("8BITMIME")?;
            command.push_str(" BODY=8BITMIME");
        }
        self.run_command(&command, "the sender").await.map(|_| ())
    }

    /// Names a recipient.
    pub(super) async fn recipient(&mut self, recipient: &Address) -> Result<(), Unsaid> {
        self.run_command(&format!("RCPT TO:<{recipient}>"), "a recipient").await.map(|_| ())
    }

    /// Sends the mail without its end, so that the server cannot have accepted it.
    pub(super) async fn data(&mut self, mail: &[u8]) -> Result<(), Unsaid> {
        let reply = self.run_command("DATA", "`DATA`").await?;
        if reply.code != 354 {
            return Err(Unsaid::Refused { what: "`DATA`", reply });
        }
        self.write(mail).await
    }

    /// Sends the end of the mail. From here on, the server may have accepted it.
    pub(super) async fn end(&mut self) -> Result<SmtpReply, Unsaid> {
        self.run_command(".", "the mail").await
    }

    /// Ends the dialog. Nothing depends on it, so the server's answer is not waited for.
    pub(super) async fn quit(&mut self) {
        if let Err(error) = self.write(b"QUIT\r\n").await {
            tracing::debug!(?error, "the mail server did not wait for the end of the dialog");
        }
    }

    /// Returns what the server offers under a name.
    fn offer(&self, name: &str) -> Option<&str> {
        self.offers.iter().find_map(|offer| {
            let (word, rest) = offer.split_once([' ', '=']).unwrap_or((offer, ""));
            word.eq_ignore_ascii_case(name).then_some(rest)
        })
    }

    fn needs(&self, name: &str) -> Result<(), Unsaid> {
        let why = || Unsaid::Impossible(format!("does not offer {name}, which this mail needs: it has characters outside ASCII"));
        self.offer(name).map(|_| ()).ok_or_else(why)
    }

    /// Says a command, and returns the reply if it is positive.
    async fn run_command(&mut self, command: &str, what: &'static str) -> Result<SmtpReply, Unsaid> {
        self.write(format!("{command}\r\n").as_bytes()).await?;
        self.read_positive(what).await
    }

    async fn exchange(&mut self, command: &str) -> Result<SmtpReply, Unsaid> {
        self.write(format!("{command}\r\n").as_bytes()).await?;
        SmtpReply::read(&mut self.stream).await.map_err(Unsaid::Broken)
    }

    async fn read_positive(&mut self, what: &'static str) -> Result<SmtpReply, Unsaid> {
        let reply = SmtpReply::read(&mut self.stream).await.map_err(Unsaid::Broken)?;
        if reply.is_positive() { Ok(reply) } else { Err(Unsaid::Refused { what, reply }) }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Unsaid> {
        let broken = |error: std::io::Error| Unsaid::Broken(error.to_string());
        self.stream.get_mut().write_all(bytes).await.map_err(broken)?;
        self.stream.get_mut().flush().await.map_err(broken)
    }
}
