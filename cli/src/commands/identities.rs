//! `ensue identities`: the people and services that hold tokens.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::at_rest::AtRest;
use super::grants::GRANTS;
use super::tokens::print_secret;
use super::{Asking, PageArgs, print_list, wait_for};
use crate::client::segment;
use crate::report::{CommandResult, Exit, Failure, eprint_line, say};
use crate::table::{Column, cell, page as table, text, time};

/// Add, change and erase the people and services that hold tokens.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue identities add ana --group release
  ensue tokens add laptop --identity ana --expires 30d
  ensue identities groups ana release oncall
  ensue identities link ana --issuer corp --sub 4711
  ensue identities absent ana --until 2026-04-04T08:00:00Z --deputy bo
  ensue identities disable ana
  ensue identities recover ana --data ./ensue-data     nobody can log in")]
pub(crate) enum Identities {
    /// Add an identity.
    #[command(after_help = "\
Examples:
  ensue identities add ana --group release
  ensue identities add ci.release --kind service")]
    Add {
        /// Its name: a-z, 0-9, `_`, `-` and `.`.
        name: String,
        /// What it is.
        #[arg(long, value_enum, default_value_t = Kind::Person)]
        kind: Kind,
        /// A group of it.
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// List identities.
    #[command(after_help = "\
Examples:
  ensue identities list
  ensue identities list --group release")]
    List {
        /// Only those of this group.
        #[arg(long)]
        group: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show an identity with the grants to it.
    #[command(after_help = "\
Examples:
  ensue identities show ana")]
    Show {
        /// Its name.
        name: String,
    },
    /// Set all groups of an identity.
    #[command(after_help = "\
Examples:
  ensue identities groups ana release oncall
  ensue identities groups ana     no group")]
    Groups {
        /// Its name.
        name: String,
        /// All of its groups.
        groups: Vec<String>,
    },
    /// Set when an identity is absent, and who answers inquiries in its place. Without options, it is present again.
    #[command(after_help = "\
Examples:
  ensue identities absent ana --until 2026-04-04T08:00:00Z --deputy bo
  ensue identities absent --deputy bo     you yourself, from now on
  ensue identities absent                 you are present again")]
    Absent {
        /// Its name; you yourself if it is left out.
        name: Option<String>,
        /// When the absence begins; at once if it is left out.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// When it ends.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// The identity that answers inquiries meanwhile.
        #[arg(long, value_name = "NAME")]
        deputy: Option<String>,
    },
    /// Let an issuer of `login.issuers` be a way in for an identity.
    #[command(after_help = "\
Examples:
  ensue identities link ana --issuer corp --sub 4711")]
    Link {
        /// Its name.
        name: String,
        /// The name of the issuer in `ensue.yaml`.
        #[arg(long)]
        issuer: String,
        /// `sub` of the person at the issuer; of a service, the name that the settings render.
        #[arg(long)]
        sub: String,
    },
    /// End that an issuer is a way in for an identity.
    #[command(after_help = "\
Examples:
  ensue identities unlink ana --issuer corp")]
    Unlink {
        /// Its name.
        name: String,
        /// The name of the issuer in `ensue.yaml`.
        #[arg(long)]
        issuer: String,
    },
    /// Disable an identity: its tokens are not accepted.
    #[command(after_help = "\
Examples:
  ensue identities disable ana")]
    Disable {
        /// Its name.
        name: String,
    },
    /// Enable a disabled identity.
    #[command(after_help = "\
Examples:
  ensue identities enable ana")]
    Enable {
        /// Its name.
        name: String,
    },
    /// Give a person a code to set a new password with, within a day.
    #[command(after_help = "\
Examples:
  ensue identities reset ana
  ensue identities reset ana --otp     removes the authenticator app as well")]
    Reset {
        /// Its name.
        name: String,
        /// Remove the authenticator app as well: the person has lost it.
        #[arg(long)]
        otp: bool,
    },
    /// Erase an identity: its name, its tokens and the grants to it.
    #[command(after_help = "\
Examples:
  ensue identities erase ana")]
    Erase {
        /// Its name.
        name: String,
    },
    /// Make an identity an administrator again on a stopped node, and print a token of it.
    #[command(after_help = "\
Examples:
  ensue identities recover ana --data ./ensue-data")]
    Recover {
        /// Its name; it is created if it does not exist.
        name: String,
        #[command(flatten)]
        at_rest: AtRest,
    },
}

/// What an identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A human.
    Person,
    /// A program.
    Service,
}

const IDENTITIES: &[Column] = &[
    Column::whole("NAME", |identity| cell(identity, "name")),
    Column::whole("KIND", |identity| cell(identity, "kind")),
    Column::whole("STATUS", |identity| cell(identity, "status")),
    Column::cut("GROUPS", |identity| words(&identity["groups"])),
    Column::whole("ADDED", |identity| time(identity, "added_at")),
];

/// Returns the texts of a list, separated by commas.
pub(super) fn words(list: &Value) -> String {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// Describes when an identity is absent; `None` if it is present.
fn absence(identity: &Value) -> Option<String> {
    let absence = identity.get("absence").filter(|absence| absence.is_object())?;
    let mut told = "absent".to_owned();
    for (word, field) in [(" from ", "from"), (" until ", "until"), ("; its deputy is ", "deputy_name")] {
        if let Some(value) = absence[field].as_str() {
            told.push_str(word);
            told.push_str(value);
        }
    }
    Some(told)
}

impl Identities {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let at = |name: &str| format!("/identities/{}", segment(name));
        match self {
            Self::Add { name, kind, groups } => wait_for(async {
                let kind = if kind == Kind::Person { "person" } else { "service" };
                let added = asking.client()?.post("/identities", &json!({ "name": name, "kind": kind, "groups": groups })).await?.body;
                asking.output.print(&added, || {
                    eprint_line(format!("added `{name}`; give it a token with `ensue tokens add <name> --identity {name}`"))
                });
                Ok(())
            }),
            Self::List { group, page } => wait_for(async {
                let group = group.map(|group| ("group", group));
                let query: Vec<_> = group.into_iter().chain(page.query()).collect();
                print_list(asking, &asking.client()?, "/identities", &query, IDENTITIES).await
            }),
            Self::Show { name } => wait_for(async {
                let client = asking.client()?;
                let mut identity = client.get(&at(&name), &[]).await?;
                let grants = client.get("/grants", &[("subject", format!("identity:{name}")), ("limit", "200".to_owned())]).await?;
                identity["grants"] = grants["items"].clone();
                asking.output.print(&identity, || {
                    say(format!("{} ({}, {})", text(&identity, "name"), text(&identity, "kind"), text(&identity, "status")));
                    say(format!("groups: {}", words(&identity["groups"])));
                    if let Some(absence) = absence(&identity) {
                        say(absence);
                    }
                    for link in identity["issuers"].as_array().into_iter().flatten() {
                        say(format!("issuer {}, which names the groups: {}", text(link, "issuer"), words(&link["groups"])));
                    }
                    say(table(&json!({ "items": identity["grants"] }), GRANTS));
                });
                Ok(())
            }),
            Self::Groups { name, groups } => wait_for(async {
                let set = asking.client()?.put(&format!("{}/groups", at(&name)), &json!({ "groups": groups })).await?.body;
                asking.output.print(&set, || eprint_line(format!("`{name}` is in these groups: {}", words(&set["groups"]))));
                Ok(())
            }),
            Self::Absent { name, from, until, deputy } => wait_for(async {
                let path = name.as_deref().map_or_else(|| "/me/absence".to_owned(), |name| format!("{}/absence", at(name)));
                let asked = json!({ "from": from, "until": until, "deputy": deputy });
                let set = asking.client()?.put(&path, &asked).await?.body;
                asking.output.print(&set, || match absence(&set) {
                    Some(absence) => eprint_line(format!("`{}` is {absence}", text(&set, "name"))),
                    None => eprint_line(format!("`{}` is present", text(&set, "name"))),
                });
                Ok(())
            }),
            Self::Link { name, issuer, sub } => wait_for(async {
                let linked =
                    asking.client()?.post(&format!("{}/issuers", at(&name)), &json!({ "issuer": issuer, "subject": sub })).await?.body;
                asking.output.print(&linked, || eprint_line(format!("`{name}` can log in through `{issuer}`")));
                Ok(())
            }),
            Self::Unlink { name, issuer } => wait_for(async {
                asking.client()?.delete(&format!("{}/issuers/{}", at(&name), segment(&issuer))).await?;
                eprint_line(format!("`{name}` can no longer log in through `{issuer}`"));
                Ok(())
            }),
            Self::Disable { name } => wait_for(async {
                let set = asking.client()?.post(&format!("{}/disable", at(&name)), &json!({})).await?.body;
                asking.output.print(&set, || eprint_line(format!("`{name}` is disabled: its tokens are not accepted")));
                Ok(())
            }),
            Self::Enable { name } => wait_for(async {
                let set = asking.client()?.post(&format!("{}/enable", at(&name)), &json!({})).await?.body;
                asking.output.print(&set, || eprint_line(format!("`{name}` is enabled")));
                Ok(())
            }),
            Self::Reset { name, otp } => wait_for(async {
                let made = asking.client()?.post(&format!("{}/reset", at(&name)), &json!({ "otp": otp })).await?.body;
                asking.output.print(&made, || {
                    say(text(&made, "code"));
                    eprint_line(format!("the code is shown only this once; `{name}` runs `ensue password set --code` within a day"));
                });
                Ok(())
            }),
            Self::Erase { name } => wait_for(async {
                asking.client()?.delete(&at(&name)).await?;
                eprint_line(format!("`{name}` is erased, with its tokens and grants"));
                Ok(())
            }),
            Self::Recover { name, at_rest } => {
                let Some(mut data) = at_rest.open()? else {
                    return Err(Failure::with(Exit::Usage, "recovery needs a stopped node: name its data directory with `--data DIR`")
                        .hint("stop the node first; its files and its master key are all that is needed"));
                };
                let made = json!({ "name": name, "token": data.recover(&name)? });
                print_secret(asking, &made, &format!("a new token of the administrator `{name}`"));
                Ok(())
            }
        }
    }
}
