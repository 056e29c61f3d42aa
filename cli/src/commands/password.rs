//! `ensue password`: how a person proves who it is.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Asking, wait_for};
use crate::report::{CommandResult, eprint_line, say};
use crate::secret_input::SecretInput;
use crate::table::text;

/// Set your password, and add an authenticator app.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue password set
  ensue password set --code
  ensue password otp add")]
pub(crate) enum Password {
    /// Set your password, and end your other sessions. It is not shown.
    #[command(after_help = "\
Examples:
  ensue password set            asks for the password until now, and for the new one
  ensue password set --code     asks for the code of an administrator, and for the new one")]
    Set {
        /// Prove who you are with the code that `ensue identities reset` printed. You need no login for that.
        #[arg(long)]
        code: bool,
    },
    /// Add and remove an authenticator app: logins with your password then need its code.
    #[command(subcommand)]
    Otp(Otp),
}

/// What happens to the authenticator app of a person.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue password otp add
  ensue password otp remove")]
pub(crate) enum Otp {
    /// Add an authenticator app: its secret and the recovery codes are shown once.
    #[command(after_help = "\
Examples:
  ensue password otp add     asks for your password, and then for a code of the app")]
    Add,
    /// Remove the authenticator app.
    #[command(after_help = "\
Examples:
  ensue password otp remove     asks for your password, and for a code of the app or a recovery code")]
    Remove,
}

impl Password {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let code = match self {
            Self::Set { code } => code,
            Self::Otp(otp) => return otp.run(asking),
        };
        let mut input = SecretInput::open()?;
        let client = asking.client()?;
        let (client, path, body) = if code {
            let code = input.ask("code")?;
            (client.without_token(), "/auth/reset", json!({ "code": code, "new": input.ask_new("new password")? }))
        } else {
            let old = input.ask("password until now")?;
            (client, "/auth/password", json!({ "old": old, "new": input.ask_new("new password")? }))
        };
        wait_for(async {
            client.post(path, &body).await?;
            eprint_line("your password is set; your other sessions have ended");
            Ok(())
        })
    }
}

impl Otp {
    fn run(self, asking: &Asking) -> CommandResult {
        let mut input = SecretInput::open()?;
        let client = asking.client()?;
        let password = input.ask("password")?;
        match self {
            Self::Add => wait_for(async {
                let new = client.post("/auth/otp", &json!({ "password": password })).await?.body;
                asking.output.print(&new, || {
                    say(text(&new, "url"));
                    eprint_line(format!(
                        "add this to your app as a QR code, or type the secret {}; it is shown only this once",
                        text(&new, "secret")
                    ));
                });
                let code = input.ask("code that the app shows")?;
                let confirmed = client.post("/auth/otp/confirm", &json!({ "code": code })).await?.body;
                asking.output.print(&confirmed, || {
                    let codes = confirmed["recovery_codes"].as_array().map(Vec::as_slice).unwrap_or_default();
                    codes.iter().filter_map(Value::as_str).for_each(say);
                    eprint_line("each of these recovery codes replaces a code of the app once; they are shown only this once");
                });
                Ok(())
            }),
            Self::Remove => {
                let otp = input.ask("code")?;
                wait_for(async {
                    client.post("/auth/otp/remove", &json!({ "password": password, "otp": otp })).await?;
                    eprint_line("the authenticator app is removed");
                    Ok(())
                })
            }
        }
    }
}
