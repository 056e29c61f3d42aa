//! `ensue login` and `ensue logout`: a session of this machine at a node.

mod browser;
mod device;

use std::io::{IsTerminal as _, Read as _};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Asking, wait_for};
use crate::client::Client;
use crate::credentials::{CredentialFile, Credentials};
use crate::report::{CommandResult, Exit, Failure, eprint_line};
use crate::secret_input::SecretInput;
use crate::table::text;

/// The most bytes of a token that is read.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Log in to a node: commands then need no ENSUE_TOKEN.
///
/// Without an option, you log in through your organization, in the browser of this machine. The session ends 12 hours
/// after its last use, or after 30 days. Its tokens are stored in a file that only you can read.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  ensue login                                opens the browser
  ensue login --device                       shows a code, for machines without a browser
  ensue login approve WDJB-MJHT              lets such a machine act for you
  ensue login --token < laptop.token
  ensue login --code                         asks for the code of a login link
  ensue login --name ana                     asks for the password
  ensue login --issuer corp --server https://ensue.example.test"
)]
pub(crate) struct LoginArgs {
    /// Log in with a token: typed, or from standard input.
    #[arg(long, conflicts_with_all = ["code", "name", "device", "issuer"])]
    token: bool,
    /// Log in with the code of a login link: typed, or from standard input.
    #[arg(long, conflicts_with_all = ["device", "issuer"])]
    code: bool,
    /// Log in on a machine without a browser: you approve it elsewhere.
    #[arg(long, conflicts_with = "issuer")]
    device: bool,
    /// The issuer to log in through, if the node has several.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Log in with your name and password: typed, or from standard input. A second line is a code of the authenticator app.
    #[arg(long, conflicts_with_all = ["code", "device", "issuer"])]
    name: Option<String>,
    #[command(subcommand)]
    decision: Option<Decision>,
}

/// Decide about a login that waits on another machine.
#[derive(Debug, Subcommand)]
enum Decision {
    /// Let a machine that shows this code act for you.
    #[command(after_help = "\
Examples:
  ensue login approve WDJB-MJHT
  ensue login approve WDJB-MJHT --yes        does not ask")]
    Approve {
        /// The code that `ensue login --device` shows there.
        code: String,
        /// Approve without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Deny the login of a machine that shows this code.
    #[command(after_help = "\
Examples:
  ensue login deny WDJB-MJHT")]
    Deny {
        /// The code that `ensue login --device` shows there.
        code: String,
    },
}

/// End the session of `ensue login`, and forget its tokens.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue logout
  ensue logout --server https://ensue.example.test")]
pub(crate) struct Logout {}

impl LoginArgs {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        match self.decision {
            Some(Decision::Approve { code, yes }) => return device::approve(asking, &code, yes),
            Some(Decision::Deny { code }) => return device::deny(asking, &code),
            None => {}
        }
        let client = asking.client()?.without_token();
        let file = file_for(client.server())?;
        if let Some(name) = self.name {
            return wait_for(async { keep(&client, &file, by_password(&client, &name).await?).await });
        }
        let proof = match (self.token, self.code) {
            (true, _) => Some("token"),
            (_, true) => Some("code"),
            _ => None,
        };
        let given = proof.map(|proof| Ok::<_, Failure>((proof, read_proof(proof, client.server())?))).transpose()?;
        wait_for(async {
            let answer = match given {
                Some((proof, given)) => client.post("/auth/login", &json!({ (proof): given })).await?.body,
                None if self.device => device::log_in(&client).await?,
                None => browser::log_in(&client, self.issuer.as_deref()).await?,
            };
            keep(&client, &file, answer).await
        })
    }
}

/// Returns the ways to log in to a node: `token`, `password`, `device` or `oidc/<issuer>`.
async fn ways(client: &Client) -> Result<Vec<String>, Failure> {
    let status = client.get("/public/status", &[]).await?;
    let ways = status["logins"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(ways.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Logs in with a password. Asks for a code of the authenticator app if the node does.
async fn by_password(client: &Client, name: &str) -> Result<Value, Failure> {
    let mut input = SecretInput::open()?;
    let password = input.ask(&format!("password of {name}"))?;
    let mut body = json!({ "name": name, "password": password });
    // From standard input, the code comes with the password.
    if !matches!(input, SecretInput::Terminal)
        && let Some(otp) = input.ask_if_given("code")?
    {
        body["otp"] = otp.into();
    }
    match client.post("/auth/login", &body).await {
        Err(failure) if failure.code() == Some("otp_required") && body["otp"].is_null() && matches!(input, SecretInput::Terminal) => {
            body["otp"] = input.ask("code of the authenticator app")?.into();
            Ok(client.post("/auth/login", &body).await?.body)
        }
        answer => Ok(answer?.body),
    }
}

/// Stores the tokens of a new session.
async fn keep(client: &Client, file: &CredentialFile, answer: Value) -> CommandResult {
    let credentials = Credentials::of_answer(&answer).ok_or_else(|| Failure::new("the answer of the node has no tokens"))?;
    let _lock = file.lock().await?;
    file.write(&credentials)?;
    eprint_line(format!("logged in to {} with session {}", client.server(), text(&answer, "session")));
    Ok(())
}
impl Logout {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let Self {} = self;
        let client = asking.client()?;
        let file = file_for(client.server())?;
        if file.read()?.is_none() {
            let failure = Failure::with(Exit::Missing, format!("you are not logged in to {}", client.server()));
            return Err(failure.hint("`ensue whoami` shows by which token you act"));
        }
        wait_for(async {
            let ended = client.by_login()?.post("/auth/logout", &json!({})).await;
            file.remove()?;
            match ended {
                // The session had ended before.
                Err(failure) if failure.exit() == Exit::NotAllowed => Ok(()),
                ended => ended.map(drop),
            }
        })?;
        eprint_line(format!("logged out of {}", client.server()));
        Ok(())
    }
}

fn file_for(server: &str) -> Result<CredentialFile, Failure> {
    CredentialFile::of(server).ok_or_else(|| {
        Failure::with(Exit::Usage, "there is no folder for credentials: neither XDG_STATE_HOME nor HOME names one")
            .hint("set XDG_STATE_HOME to an absolute path")
    })
}

/// Reads a token or a code from standard input; asks for it on a terminal.
fn read_proof(proof: &str, server: &str) -> Result<String, Failure> {
    let mut given = String::new();
    if std::io::stdin().is_terminal() {
        given = rpassword::prompt_password(format!("{proof} for {server} (not shown): "))
            .map_err(|error| Failure::new(format!("the {proof} cannot be read: {error}")))?;
    } else {
        std::io::stdin()
            .take(TOKEN_BYTES_MAX)
            .read_to_string(&mut given)
            .map_err(|error| Failure::new(format!("the {proof} cannot be read: {error}")))?;
    }
    let token = given.trim();
    if token.is_empty() {
        return Err(Failure::with(Exit::Usage, format!("no {proof} was given"))
            .hint(format!("send it to standard input: `ensue login --{proof} < laptop.{proof}`")));
    }
    Ok(token.to_owned())
}
