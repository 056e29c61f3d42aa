//! The SMTP server of a mail, with its values rendered and checked.
//!
//! It holds a password, so it has no `Debug`.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ensue_engine::catalog::{MailSecurity, MailServer};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::ports::Secret;
use ensue_expression::Template;

use crate::attempt::{AttemptError, attempt_failure};
use crate::connections::{LentConnection, SmtpTls};
use crate::render::{Renderer, quote, reads_keys};

/// The maximum length of a server's name, of a user name and of a password, in bytes.
const NAME_BYTES_MAX: usize = 255;
const LOGIN_BYTES_MAX: usize = 8 << 10;
/// How long a server may take for each reply before it has the mail, if no connection says.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// The name with which the client introduces itself: an address, because a node has no name that others know.
const HELLO: &str = "[127.0.0.1]";

/// An SMTP server.
pub(super) struct SmtpServer {
    /// Its name or address.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// How the connection is encrypted.
    pub(super) security: MailSecurity,
    /// The login, or none if the server asks for none.
    pub(super) login: Option<Login>,
    /// The certificate of the authority to trust, as PEM; none means those that the machine trusts.
    pub(super) authority: Option<String>,
    /// The name with which the client introduces itself.
    pub(super) hello: String,
    /// How long it may take for each reply before it has the mail.
    pub(super) patience: Duration,
    /// Its name for a message.
    pub(super) shown: String,
    /// The person who sets it up, for the hints of messages.
    source: ServerOrigin,
}

/// The person who sets up a server.
#[derive(Clone, Copy)]
enum ServerOrigin {
    /// The author or the settings of a pack, in `server`.
    Action,
    /// The operator, in a connection.
    Connection,
}

/// A user name and a password.
pub(super) struct Login {
    user: String,
    password: Vec<u8>,
}

impl Login {
    /// Returns the text of `AUTH PLAIN`.
    pub(super) fn plain(&self) -> String {
        BASE64_STANDARD.encode([b"\0", self.user.as_bytes(), b"\0", &self.password].concat())
    }

    /// Returns the two answers of `AUTH LOGIN`.
    pub(super) fn answers(&self) -> [String; 2] {
        [BASE64_STANDARD.encode(&self.user), BASE64_STANDARD.encode(&self.password)]
    }

    /// Returns the texts that contain the password.
    pub(super) fn secrets(&self) -> [Secret; 2] {
        [Secret::new(self.plain().into_bytes()), Secret::new(self.answers()[1].clone().into_bytes())]
    }
}

impl SmtpServer {
    /// Renders and checks a server.
    pub(super) fn render<'r>(written: &'r MailServer, renderer: &mut Renderer<'r>) -> Result<Self, AttemptError> {
        let mut text = |name: &str, template: &'r Template| renderer.scalar(name, template);
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        let host = given(text("server.host", &written.host)?).ok_or_else(|| invalid("`server.host` is empty; name the mail server"))?;
        let security = given(text("server.security", &written.security)?).map_or(Ok(MailSecurity::default()), |word| {
            let named = MailSecurity::ALL.into_iter().find(|named| named.as_str() == word);
            named.ok_or_else(|| invalid(&format!("`server.security` is {}; use `starttls`, `tls` or `none`", quote(&word, 40))))
        })?;
        let port = given(text("server.port", &written.port)?).map_or(Ok(default_port(security)), |port| {
            let number = port.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| invalid(&format!("`server.port` is {}; use a number from 1 to 65535", quote(&port, 40))))
        })?;
        let user = given(text("server.user", &written.user)?);
        let password = given(text("server.password", &written.password)?);
        let authority = given(text("server.ca", &written.authority)?);
        let hello = given(text("server.hello", &written.hello)?).unwrap_or_else(|| HELLO.to_owned());
        check_name("server.host", &host)?;
        check_name("server.hello", &hello)?;
        let login = login(user, password, security)?;
        let shown = if reads_keys(&written.host) { "the mail server".to_owned() } else { format!("`{host}:{port}`") };
        Ok(Self { host, port, security, login, authority, hello, patience: REPLY_TIMEOUT, shown, source: ServerOrigin::Action })
    }

    /// Returns the server of a connection; `None` if that is of another kind.
    pub(super) fn of(lent: &LentConnection) -> Option<Self> {
        let smtp = lent.smtp()?;
        let security = match smtp.tls {
            SmtpTls::Implicit => MailSecurity::Tls,
            SmtpTls::StartTls => MailSecurity::Starttls,
            SmtpTls::Off => MailSecurity::None,
        };
        let login = smtp.login(&lent.pool).map(|(user, password)| Login { user: user.to_owned(), password: password.to_owned() });
        Some(Self {
            host: smtp.host.clone(),
            port: smtp.port,
            security,
            login,
            // The pool of the connection trusts its authorities.
            authority: None,
            hello: HELLO.to_owned(),
            patience: smtp.timeout,
            shown: format!("the server of the connection `{}`", lent.connection.name()),
            source: ServerOrigin::Connection,
        })
    }

    /// Returns what to do if it does not offer STARTTLS.
    pub(super) fn without_starttls(&self) -> &'static str {
        match self.source {
            ServerOrigin::Action => "set `server.security` to `tls`, or to `none` for a server without encryption",
            ServerOrigin::Connection => "set `tls` of the connection to `implicit`, or to `none` for a server without encryption",
        }
    }

    /// Returns what to do if it offers no login.
    pub(super) fn without_login(&self) -> &'static str {
        match self.source {
            ServerOrigin::Action => "leave out `server.user`, or use another port",
            ServerOrigin::Connection => "leave out `user` of the connection, or use another port",
        }
    }
}

fn default_port(security: MailSecurity) -> u16 {
    match security {
        MailSecurity::Starttls => 587,
        MailSecurity::Tls => 465,
        MailSecurity::None => 25,
    }
}

fn login(user: Option<String>, password: Option<String>, security: MailSecurity) -> Result<Option<Login>, AttemptError> {
    let (user, password) = match (user, password) {
        (None, None) => return Ok(None),
        (Some(user), Some(password)) => (user, password),
        (Some(_), None) => return Err(invalid("`server.user` is given without `server.password`; set the key that the password reads")),
        (None, Some(_)) => return Err(invalid("`server.password` is given without `server.user`")),
    };
    if security == MailSecurity::None {
        return Err(invalid("a password is never sent without encryption; set `server.security` to `starttls` or `tls`"));
    }
    if user.len() + password.len() > LOGIN_BYTES_MAX || user.contains('\0') || password.contains('\0') {
        return Err(invalid("`server.user` or `server.password` is too long, or contains a zero byte"));
    }
    Ok(Some(Login { user, password: password.into_bytes() }))
}

/// Refuses what would be more than one word of a command.
fn check_name(place: &str, name: &str) -> Result<(), AttemptError> {
    let is_word = name.bytes().all(|byte| byte.is_ascii_graphic()) && name.len() <= NAME_BYTES_MAX;
    if is_word { Ok(()) } else { Err(invalid(&format!("`{place}` is not a name or an address of a machine"))) }
}

fn invalid(message: &str) -> AttemptError {
    attempt_failure(FailureKind::ParametersInvalid, message)
}
