//! `ensue audit`: who did what, and what was refused.

use std::io::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use ensue_engine::time::Timestamp;
use serde_json::Value;

use super::{Asking, PageArgs, print_list, wait_for};
use crate::ago::moment_of;
use crate::report::{CommandResult, Exit, Failure};
use crate::table::{Column, cell, text, time};

/// See who did what, and what was refused.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue audit list --since 1d
  ensue audit list --actor ana
  ensue audit list --what access.denied
  ensue audit list --of key/release.deploy_token
  ensue audit export --format csv --since 30d > audit.csv")]
pub(crate) enum Audit {
    /// List what callers did and what was refused to them, newest first.
    #[command(after_help = "\
Examples:
  ensue audit list --actor ana --since 1d
  ensue audit list --what key.revealed
  ensue audit list --of identity/ana")]
    List {
        #[command(flatten)]
        filters: Filters,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Write all rows to standard output. The export itself is in the audit, with the BLAKE3 hash of
    /// what was written.
    #[command(after_help = "\
Examples:
  ensue audit export > audit.ndjson
  ensue audit export --format csv --actor ana > ana.csv")]
    Export {
        /// The form of the rows.
        #[arg(long, value_enum, default_value_t = ExportFormat::Ndjson)]
        format: ExportFormat,
        #[command(flatten)]
        filters: Filters,
    },
}

/// The form of an export.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A table for spreadsheets.
    Csv,
    /// A line of JSON for each row.
    Ndjson,
}

impl ExportFormat {
    fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// Which rows are shown.
#[derive(Debug, Args)]
pub(crate) struct Filters {
    /// Only what this actor did: the name of an identity or a token, or `operator`.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only records of this kind, such as `key.set`. May be given several times.
    #[arg(long, value_name = "KIND")]
    what: Vec<String>,
    /// Only what is about this thing, such as `key/release.deploy_token` or `identity/ana`.
    #[arg(long, value_name = "STREAM")]
    of: Option<String>,
    /// Only from this time on: a time, or a period such as 1d.
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<Timestamp>,
    /// Only before this time.
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<Timestamp>,
}

impl Filters {
    fn query(self) -> Vec<(&'static str, String)> {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let single = [("actor", self.actor), ("of", self.of), ("since", time(self.since)), ("until", time(self.until))];
        let single = single.into_iter().filter_map(|(name, value)| Some((name, value?)));
        single.chain(self.what.into_iter().map(|kind| ("what", kind))).collect()
    }
}

/// The columns of the audit.
const ROWS: &[Column] = &[
    Column::whole("TIME", |row| time(row, "time")),
    Column::whole("ACTOR", |row| name_cell(row, "actor", "actor_name")),
    Column::whole("WITH", |row| name_cell(row, "credential", "credential_name")),
    Column::whole("WHAT", what),
    Column::cut("OF", of),
];

/// Returns the name of something, or the text that the log has for it.
fn name_cell(row: &Value, text: &str, name: &str) -> String {
    if row[name].is_null() { cell(row, text) } else { cell(row, name) }
}

/// Returns the kind, and how often it happened if it is a sum.
fn what(row: &Value) -> String {
    match row["count"].as_u64() {
        Some(count) if count != 1 => format!("{} ×{count}", text(row, "what")),
        Some(_) | None => text(row, "what"),
    }
}

/// Returns the permission that was missing, the way of a login, or the thing.
fn of(row: &Value) -> String {
    let noun = || text(row, "of").split('/').next().unwrap_or_default().to_owned();
    match [&row["permission"], &row["way"], &row["of_name"]].map(Value::as_str) {
        [Some(permission), ..] => permission.to_owned(),
        [_, Some(way), _] => format!("login by {way}"),
        [_, _, Some(name)] => format!("{}/{name}", noun()),
        [None, None, None] => text(row, "of"),
    }
}

impl Audit {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        wait_for(async {
            match self {
                Self::List { filters, page } => {
                    let query: Vec<_> = filters.query().into_iter().chain(page.query()).collect();
                    print_list(asking, &asking.client()?, "/audit", &query, ROWS).await
                }
                Self::Export { format, filters } => export(asking, format, filters).await,
            }
        })
    }
}

async fn export(asking: &Asking, format: ExportFormat, filters: Filters) -> CommandResult {
    if !asking.output.is_for_people() {
        return Err(Failure::with(Exit::Usage, "an export has its own `--format`, so `--output` does not apply").hint("leave out --output"));
    }
    let mut answer = asking.client()?.stream("/audit", &filters.query(), format.media_type()).await?;
    let mut to = std::io::stdout().lock();
    let unwritable = |error: std::io::Error| Failure::new(format!("the export cannot be written: {error}"));
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => to.write_all(&piece).map_err(unwritable)?,
            Ok(None) => break,
            Err(error) => {
                return Err(Failure::with(Exit::Unreachable, format!("the export broke off, so it is not complete: {error}")));
            }
        }
    }
    to.flush().map_err(unwritable)
}
