//! `ensue sessions`: logins that are in force.

use clap::Subcommand;
use serde_json::Value;

use super::{Asking, wait_for};
use crate::client::segment;
use crate::report::{CommandResult, eprint_line, say};
use crate::table::{Column, cell, page, text, time};

/// List and end sessions: logins of browsers and of `ensue login`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue sessions list
  ensue sessions end 01980000-0000-7000-8000-00000000000a
  ensue sessions end-all")]
pub(crate) enum Sessions {
    /// List your open sessions, oldest first.
    #[command(after_help = "\
Examples:
  ensue sessions list
  ensue sessions list --all     those of everybody, with `tokens:read`")]
    List {
        /// List the sessions of everybody.
        #[arg(long)]
        all: bool,
    },
    /// End a session.
    #[command(after_help = "\
Examples:
  ensue sessions end 01980000-0000-7000-8000-00000000000a
  ensue sessions end current")]
    End {
        /// The session's id, or `current`.
        id: String,
    },
    /// End all of your sessions, the current one last.
    #[command(after_help = "\
Examples:
  ensue sessions end-all")]
    EndAll,
}

const COLUMNS: &[Column] = &[
    Column::whole("ID", |session| cell(session, "id")),
    Column::whole("OF", |session| cell(session, "of")),
    Column::whole("WAY", |session| cell(session, "way")),
    Column::whole("OPENED", |session| time(session, "opened_at")),
    Column::whole("USED", |session| time(session, "used_at")),
    Column::cut("FROM", |session| format!("{} {}", text(session, "address"), text(session, "agent"))),
];

impl Sessions {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        match self {
            Self::List { all } => list(asking, all),
            Self::End { id } => wait_for(async {
                asking.client()?.delete(&format!("/sessions/{}", segment(&id))).await?;
                eprint_line(format!("ended session {id}"));
                Ok(())
            }),
            Self::EndAll => end_all(asking),
        }
    }
}

fn list(asking: &Asking, is_all: bool) -> CommandResult {
    wait_for(async {
        let query = [("limit", "200".to_owned()), ("all", is_all.to_string())];
        let listed = asking.client()?.get("/sessions", &query).await?;
        asking.output.print(&listed, || say(page(&listed, COLUMNS)));
        Ok(())
    })
}

fn end_all(asking: &Asking) -> CommandResult {
    wait_for(async {
        let client = asking.client()?;
        let listed = client.get("/sessions", &[("limit", "200".to_owned())]).await?;
        let mut sessions: Vec<&Value> = listed["items"].as_array().map(Vec::as_slice).unwrap_or_default().iter().collect();
        // The session of this command must last until the others have ended.
        sessions.sort_by_key(|session| session["current"].as_bool());
        for session in &sessions {
            client.delete(&format!("/sessions/{}", segment(&text(session, "id")))).await?;
        }
        eprint_line(format!("ended {} sessions", sessions.len()));
        Ok(())
    })
}
