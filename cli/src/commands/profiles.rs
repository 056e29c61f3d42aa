//! `ensue profiles`: nodes by name. A token comes from a prompt, standard input or a file; never from the command line.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Asking, read_input};
use crate::client::{Client, TOKEN_VARIABLE, Token};
use crate::output::Output;
use crate::profiles::{Profile, ProfileFolder, ProfileName};
use crate::report::{CommandResult, Exit, Failure, eprint_line, is_interactive};
use crate::table::{Column, cell};
use crate::trust::Trust;

/// The most bytes of a token.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Add, list, use and remove profiles (names for nodes).
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue profiles add production --url https://ensue.example    asks for the token
  ensue profiles add here --url http://127.0.0.1:3678 --token-file ana.token
  ensue profiles add inside --url https://10.0.0.7:3678 --ca ca.pem
  ensue profiles use production
  ensue status --profile here")]
pub(crate) enum Profiles {
    /// Add or replace a profile.
    #[command(after_help = "\
Examples:
  ensue profiles add production --url https://ensue.example    asks for the token
  ensue profiles add here --url http://127.0.0.1:3678 --token-file ana.token")]
    Add(Add),
    /// List profiles, without their tokens.
    #[command(after_help = "\
Examples:
  ensue profiles list")]
    List,
    /// Set the default profile.
    #[command(after_help = "\
Examples:
  ensue profiles use production")]
    Use {
        /// The profile.
        name: ProfileName,
    },
    /// Remove a profile and its token.
    #[command(after_help = "\
Examples:
  ensue profiles remove production")]
    #[command(aliases = ["delete", "rm"])]
    Remove {
        /// The profile.
        name: ProfileName,
    },
}

/// What a profile is to be.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The profile.
    name: ProfileName,
    /// The node's address.
    #[arg(long, value_name = "URL")]
    url: String,
    /// The file with the token. `-` reads standard input. Without it, a prompt asks for the token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

const COLUMNS: &[Column] = &[
    Column::whole("PROFILE", |profile| cell(profile, "name")),
    Column::whole("USED", |profile| if profile["current"] == true { "yes".to_owned() } else { "-".to_owned() }),
    Column::cut("SERVER", |profile| cell(profile, "server")),
    Column::whole("TOKEN", |profile| cell(profile, "token")),
];

impl Profiles {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let folder = ProfileFolder::of_environment().ok_or_else(|| {
            Failure::with(Exit::Failed, "there is no place for profiles: neither XDG_CONFIG_HOME nor HOME names a folder")
                .hint("export HOME")
        })?;
        match self {
            Self::Add(add) => add.run(&folder, asking),
            Self::List => list(&folder, asking.output),
            Self::Use { name } => {
                let mut profiles = folder.read()?;
                profiles.find(&name)?;
                profiles.current = Some(name.clone());
                folder.write(&profiles)?;
                eprint_line(format!("`{name}` is now the default profile"));
                if std::env::var_os(TOKEN_VARIABLE).is_some_and(|token| !token.is_empty()) {
                    eprint_line(format!("but {TOKEN_VARIABLE} is set and overrides its token: unset it"));
                }
                Ok(())
            }
            Self::Remove { name } => {
                let mut profiles = folder.read()?;
                profiles.find(&name)?;
                profiles.profiles.remove(&name);
                profiles.current = profiles.current.filter(|current| *current != name);
                folder.remove_token(&name)?;
                folder.write(&profiles)?;
                eprint_line(format!("`{name}` and its token were removed; the token stays valid until it is revoked"));
                Ok(())
            }
        }
    }
}

impl Add {
    fn run(self, folder: &ProfileFolder, asking: &Asking) -> CommandResult {
        let trust = Trust { ca: absolute(asking.ca.as_deref())?, client_cert: absolute(asking.client_cert.as_deref())? };
        // An invalid address or certificate is reported before a token is asked for.
        Client::new(&self.url, None, &trust)?;
        let mut profiles = folder.read()?;
        let name = self.name.clone();
        let token = self.token()?;
        profiles.profiles.insert(name.clone(), Profile { server: self.url, ca: trust.ca, client_cert: trust.client_cert });
        // At every moment, a stored token belongs to its own address, or there is none. If this is
        // interrupted, the token goes nowhere else.
        folder.remove_token(&name)?;
        folder.write(&profiles)?;
        if let Some(token) = token {
            folder.write_token(&name, &token)?;
        }
        match &profiles.current {
            Some(current) if *current == name => eprint_line(format!("`{name}` is saved; it is the default profile")),
            Some(_) | None => eprint_line(format!("`{name}` is saved; use it with: ensue profiles use {name}")),
        }
        Ok(())
    }

    /// Reads the token from a source that nobody else sees; `None` if there is none.
    fn token(&self) -> Result<Option<String>, Failure> {
        let bytes = match &self.token_file {
            Some(path) => read_input(path, TOKEN_BYTES_MAX)?,
            None if is_interactive() => {
                let asked = rpassword::prompt_password(format!("token for {} (not shown; empty for none): ", self.url));
                asked.map_err(|error| Failure::new(format!("the token cannot be read: {error}")))?.into_bytes()
            }
            None => Vec::new(),
        };
        let text = String::from_utf8(bytes).unwrap_or_default();
        match text.trim() {
            "" if self.token_file.is_some() => {
                Err(Failure::with(Exit::Refused, "the file contains no token; nothing was changed")
                    .hint("create one with `ensue tokens add`"))
            }
            "" => Ok(None),
            token => match Token::check(token) {
                Ok(()) => Ok(Some(token.to_owned())),
                Err(why) => Err(Failure::with(Exit::Refused, format!("{why}; nothing was changed"))),
            },
        }
    }
}

/// Returns a path that stays valid in other folders.
fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| Failure::new(format!("the current folder is unknown: {error}")));
    path.map(absolute).transpose()
}

fn list(folder: &ProfileFolder, output: Output) -> CommandResult {
    let profiles = folder.read()?;
    let mut items = Vec::new();
    for (name, profile) in &profiles.profiles {
        let token = match folder.token(name) {
            Ok(Some(_)) => "set",
            Ok(None) => "none",
            // For example one that others can read: using it reports why.
            Err(_) => "unusable",
        };
        let is_current = profiles.current.as_ref() == Some(name);
        items.push(json!({ "name": name.to_string(), "server": profile.server, "token": token, "current": is_current }));
    }
    output.print_list(&json!({ "items": items, "next": Value::Null }), COLUMNS);
    Ok(())
}
