//! Mail: a message to send, and the server that takes it.
//!
//! How a server is spoken to is in the executor.

use std::iter;

use ensue_expression::Template;

use crate::catalog::UsedConnection;
use crate::names::Names;

/// A mail to send.
#[derive(Clone, Debug)]
pub struct MailMessage {
    /// The server that takes it.
    pub relay: MailRelay,
    /// The sender.
    pub from: Template,
    /// The recipients: an address, or a list of them. Null means none, as for the two next.
    pub to: Template,
    /// Recipients of a copy.
    pub cc: Template,
    /// Recipients of a copy whom the others do not see.
    pub bcc: Template,
    /// Where replies go: an address, or a list of them.
    pub reply_to: Template,
    /// The subject.
    pub subject: Template,
    /// The text; null means none.
    pub text: Template,
    /// The same as HTML; null means none.
    pub html: Template,
    /// The `Message-ID` of the mail that it answers; null means none.
    pub in_reply_to: Template,
    /// Other headers: an object of strings.
    pub headers: Template,
    /// The attached files: a list of objects.
    pub attachments: Template,
}

/// Where the server of a mail is named.
#[derive(Clone, Debug)]
pub enum MailRelay {
    /// By the action.
    Server(Box<MailServer>),
    /// By a connection, which has the credentials.
    Connection(UsedConnection),
    /// By the connection if one is given, or else by the action.
    Either(UsedConnection, Box<MailServer>),
}

/// An SMTP server. Each value may be computed, and null means its default.
#[derive(Clone, Debug)]
pub struct MailServer {
    /// Its name or address.
    pub host: Template,
    /// Its port.
    pub port: Template,
    /// How the connection is encrypted: one of [`MailSecurity`].
    pub security: Template,
    /// The user name to log in with; null or an empty string means no login.
    pub user: Template,
    /// The user's password.
    pub password: Template,
    /// The certificate of the authority to trust, as PEM, instead of those that the machine trusts.
    pub authority: Template,
    /// The name with which the client introduces itself.
    pub hello: Template,
}

/// How the connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Names)]
pub enum MailSecurity {
    /// It begins in plain text, and is encrypted by `STARTTLS` before anything else is said.
    #[default]
    Starttls,
    /// It is encrypted from its beginning.
    Tls,
    /// It is not encrypted. No password is sent over it.
    None,
}

impl MailMessage {
    /// Returns all templates.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.own_templates().into_iter().chain(self.relay.server().into_iter().flat_map(MailServer::templates))
    }

    /// Returns the templates except those of its server.
    pub fn own_templates(&self) -> [&Template; 11] {
        [
            &self.from,
            &self.to,
            &self.cc,
            &self.bcc,
            &self.reply_to,
            &self.subject,
            &self.text,
            &self.html,
            &self.in_reply_to,
            &self.headers,
            &self.attachments,
        ]
    }
}

impl MailRelay {
    /// Returns the connection, if one is or may be given.
    pub fn connection(&self) -> Option<&UsedConnection> {
        match self {
            Self::Server(_) => None,
            Self::Connection(used) | Self::Either(used, _) => Some(used),
        }
    }

    /// Returns the server that the action names.
    pub fn server(&self) -> Option<&MailServer> {
        match self {
            Self::Connection(_) => None,
            Self::Server(server) | Self::Either(_, server) => Some(server),
        }
    }
}

impl MailServer {
    /// Returns all templates.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let Self { host, port, security, user, password, authority, hello } = self;
        iter::once(host).chain([port, security, user, password, authority, hello])
    }
}
