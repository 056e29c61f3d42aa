//! `ensue tokens`: permissions by named tokens. A token is shown once, and stored only as a hash.

use std::time::Duration;

use clap::Subcommand;
use ensue_engine::access::scope::Scope;
use ensue_engine::time::parse_period;
use ensue_node::AskedToken;
use serde_json::{Value, json};

use super::at_rest::AtRest;
use super::{Asking, wait_for};
use crate::client::segment;
use crate::report::{CommandResult, Exit, Failure, eprint_line, say};
use crate::table::{Column, cell, text, time};

/// Add, list and revoke tokens.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Built-in roles: admin (everything), operator (everything but access), author
(packs, rules, events, executions), viewer (reading, but no keys). Any other
name is a role that inquiries can be asked of. A token with scopes can do
nothing beyond them.

Examples:
  ensue tokens add ana --role release_managers --role viewer
  ensue tokens add ci --role author --expires 90d > ci.token
  ensue tokens add feed --scope 'events:write on pack=shop'
  ensue tokens add laptop --identity ana --expires 30d
  ensue tokens add rescue --role admin --data ./ensue-data     all tokens lost")]
pub(crate) enum Tokens {
    /// Add a token and print it. It is not shown again.
    #[command(after_help = "\
Examples:
  ensue tokens add ana --role release_managers --role viewer
  ensue tokens add ci --role author --expires 90d > ci.token
  ensue tokens add feed --scope 'events:write on pack=shop'
  ensue tokens add laptop --identity ana --expires 30d
  ensue tokens add rescue --role admin --data ./ensue-data     all tokens lost")]
    Add {
        /// The name of its holder: a-z, 0-9, `_`, `-` and `.`.
        name: String,
        /// The roles of its holder.
        #[arg(long = "role", value_name = "ROLE", required_unless_present_any = ["scopes", "identity"])]
        roles: Vec<String>,
        /// What it may do at most: a permission, perhaps `on` a limit.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<Scope>,
        /// The identity that holds it, instead of roles.
        #[arg(long, value_name = "NAME", conflicts_with = "roles")]
        identity: Option<String>,
        /// How long it is valid, for example `90d`.
        #[arg(long = "expires", value_name = "PERIOD", value_parser = period)]
        expires: Option<ValidityPeriod>,
        #[command(flatten)]
        at_rest: AtRest,
    },
    /// List tokens, without their secrets.
    #[command(after_help = "\
Examples:
  ensue tokens list
  ensue tokens list --data ./ensue-data     without a running node")]
    List {
        #[command(flatten)]
        at_rest: AtRest,
    },
    /// Show a token, never its secret.
    #[command(after_help = "\
Examples:
  ensue tokens show ci
  ensue tokens show ci -o json")]
    Show {
        /// The token's name.
        name: String,
    },
    /// Replace a token, and print its successor. It is not shown again.
    ///
    /// The successor has the same name, roles and scopes. The old token stays valid for the overlap.
    #[command(after_help = "\
Examples:
  ensue tokens rotate ci --overlap 1h > ci.token
  ensue tokens rotate ci --overlap 24h -o json")]
    Rotate {
        /// The token's name.
        name: String,
        /// How long the old token stays valid, at most 30d.
        #[arg(long, value_name = "PERIOD", value_parser = period, default_value = "1h")]
        overlap: ValidityPeriod,
    },
    /// Create a code that opens one session of a token within a day, and print it. It is not shown again.
    ///
    /// Its holder logs in with it, and never sees the token itself.
    #[command(after_help = "\
Examples:
  ensue tokens login-link maria
  ensue tokens login-link maria -o json")]
    LoginLink {
        /// The token's name.
        name: String,
    },
    /// Revoke a token, and those that it replaced.
    #[command(after_help = "\
Examples:
  ensue tokens revoke ana
  ensue tokens revoke ci --data ./ensue-data     without a running node")]
    #[command(visible_alias = "remove", aliases = ["delete", "rm"])]
    Revoke {
        /// The token's name.
        name: String,
        #[command(flatten)]
        at_rest: AtRest,
    },
}

/// A period of validity, as it was written.
#[derive(Clone, Debug)]
pub(crate) struct ValidityPeriod {
    text: String,
    length: Duration,
}

fn period(text: &str) -> Result<ValidityPeriod, String> {
    let length = parse_period(text).ok_or("expected a period of at most ten years, such as `90d`, `24h` or `10m`")?;
    Ok(ValidityPeriod { text: text.to_owned(), length })
}

fn post(asking: &Asking, path: &str, body: &Value) -> Result<Value, Failure> {
    let mut answer = Value::Null;
    wait_for(async {
        answer = asking.client()?.post(path, body).await?.body;
        Ok(())
    })?;
    Ok(answer)
}

/// Prints a token that is not shown again.
pub(super) fn print_secret(asking: &Asking, made: &Value, which: &str) {
    asking.output.print(made, || {
        say(text(made, "token"));
        eprint_line(format!("{which} is shown only this once; its holder sets ENSUE_TOKEN to it"));
    });
}

const COLUMNS: &[Column] = &[
    Column::whole("NAME", |token| cell(token, "name")),
    Column::cut("ROLES", |token| {
        let roles = token["roles"].as_array().map(Vec::as_slice).unwrap_or_default();
        roles.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    }),
    Column::cut("IDENTITY", |token| cell(token, "identity")),
    Column::cut("SCOPES", |token| {
        let scopes = token["scopes"].as_array().map(Vec::as_slice).unwrap_or_default();
        scopes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
    }),
    Column::whole("EXPIRES", |token| time(token, "expires_at")),
    Column::whole("USED", |token| time(token, "used_at")),
    Column::whole("ADDED", |token| time(token, "added_at")),
    Column::cut("BY", |token| cell(token, "added_by")),
];

impl Tokens {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        match self {
            Self::Add { name, roles, scopes, identity, expires, at_rest } => {
                let texts: Vec<String> = scopes.iter().map(ToString::to_string).collect();
                let added = match at_rest.open()? {
                    Some(mut data) => {
                        if let Some(identity) = identity {
                            return Err(Failure::with(
                                Exit::Usage,
                                format!("without a node, a token of the identity `{identity}` cannot be added"),
                            )
                            .hint("start the node, or make it an administrator with `ensue identities recover`"));
                        }
                        let scopes = (!scopes.is_empty()).then_some(scopes);
                        let expires_in = expires.as_ref().map(|period| period.length);
                        let asked = AskedToken { name: name.clone(), roles: roles.clone(), identity: None, scopes, expires_in };
                        json!({ "name": name, "roles": roles, "token": data.add_token(&asked)? })
                    }
                    None => {
                        let mut body = json!({ "name": name, "roles": roles });
                        let scopes = (!texts.is_empty()).then(|| json!(texts));
                        let fields = [
                            ("scopes", scopes),
                            ("identity", identity.map(Value::String)),
                            ("expires_in", expires.map(|period| json!(period.text))),
                        ];
                        for (field, value) in fields {
                            if let Some(value) = value {
                                body[field] = value;
                            }
                        }
                        post(asking, "/tokens", &body)?
                    }
                };
                print_secret(asking, &added, &format!("the token of `{name}`"));
                Ok(())
            }
            Self::Rotate { name, overlap } => {
                let made = post(asking, &format!("/tokens/{}/rotate", segment(&name)), &json!({ "overlap": overlap.text }))?;
                print_secret(asking, &made, &format!("the new token of `{name}`"));
                eprint_line(format!("the old one stays valid for {}", overlap.text));
                Ok(())
            }
            Self::LoginLink { name } => {
                let made = post(asking, &format!("/tokens/{}/login_links", segment(&name)), &json!({}))?;
                asking.output.print(&made, || {
                    say(text(&made, "code"));
                    eprint_line(format!(
                        "the code is shown only this once; its holder runs `ensue login --code` within a day to act as `{name}`"
                    ));
                });
                Ok(())
            }
            Self::List { at_rest } => match at_rest.open()? {
                Some(data) => {
                    asking.output.print_list(&json!({ "items": data.tokens(), "next": null }), COLUMNS);
                    Ok(())
                }
                None => wait_for(async {
                    let answer = asking.client()?.get("/tokens", &[]).await?;
                    asking.output.print_list(&answer, COLUMNS);
                    Ok(())
                }),
            },
            Self::Show { name } => wait_for(async {
                let token = asking.client()?.get(&format!("/tokens/{}", segment(&name)), &[]).await?;
                asking.output.print(&token, || {
                    for (title, value) in COLUMNS.iter().map(|column| column.of(&token)).filter(|(_, value)| !value.is_empty()) {
                        say(format!("{}: {value}", title.to_lowercase()));
                    }
                });
                Ok(())
            }),
            Self::Revoke { name, at_rest } => {
                match at_rest.open()? {
                    Some(mut data) => data.revoke_token(&name)?,
                    None => wait_for(async {
                        asking.client()?.delete(&format!("/tokens/{}", segment(&name))).await?;
                        Ok(())
                    })?,
                }
                eprint_line(format!("the token `{name}` is revoked"));
                Ok(())
            }
        }
    }
}
