//! The tables and functions in the database: created by migrations, and compared with those of this release.

use std::time::{Duration, Instant};

use crate::classify::Meaning;
use crate::session::Session;

/// The migrations of what all logs have in common: number n makes version n. A released one is never edited.
const CELL: &[&str] = &[include_str!("../../migrations/postgres/cell_0001.sql")];

/// The migrations of the tables of a log.
const LOG: &[&str] = &[include_str!("../../migrations/postgres/log_0001.sql")];

/// How long the creation of tables may take. They are empty.
const CREATION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a statement that only reads may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the tables cannot be used.
#[derive(Debug)]
pub(crate) enum SchemaFault {
    /// A statement failed.
    Failed(Meaning),
    /// A newer release made them.
    Newer { found: i32, known: i32 },
    /// They are not those of this release.
    Foreign(String),
}

impl From<Meaning> for SchemaFault {
    fn from(meaning: Meaning) -> Self {
        Self::Failed(meaning)
    }
}

/// Returns the name of the schema of a log.
pub(crate) fn schema_of(number: i32) -> String {
    format!("log_{number}")
}

/// Returns a text with the names of a log's schema in it.
pub(crate) fn with_names(text: &str, number: i32) -> String {
    text.replace("{schema}", &schema_of(number)).replace("{number}", &number.to_string())
}

/// Creates what all logs have in common if it is not there, and compares it with this release.
pub(crate) fn prepare_cell(session: &mut Session) -> Result<(), SchemaFault> {
    if !has_schema(session, "ensue")? {
        let deadline = Instant::now() + CREATION_TIMEOUT;
        let created = session.batch(&format!("BEGIN; {} COMMIT", CELL.concat()), deadline);
        if created.is_err() {
            // A transaction that failed is still open.
            let _ = session.batch("ROLLBACK", deadline);
        }
        // Another node may have created it at the same moment.
        if !has_schema(session, "ensue")? {
            created?;
        }
    }
    let rows = session.query("SELECT format FROM ensue.cell", &[], soon())?;
    let found = rows.first().map(|row| row.get::<_, i32>(0));
    demand_version(found, CELL.len())?;
    demand_functions(session, "ensue", &CELL.concat())
}

/// What a new log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewLog {
    /// The only log of its database.
    Only,
    /// One of several.
    Open,
    /// The target of a copy, which is the only log of its database too.
    Copying,
}

impl NewLog {
    fn state(self) -> &'static str {
        match self {
            Self::Only | Self::Open => "open",
            Self::Copying => "copying",
        }
    }
}

/// Creates the tables of a new log, with its row. Returns its number. Of two callers that create the only log of a database,
/// one fails, because both logs would have the same number.
pub(crate) fn create_log(session: &mut Session, id: uuid::Uuid, new: NewLog, part_positions: i64) -> Result<i32, SchemaFault> {
    let number: i32 = match new {
        NewLog::Only | NewLog::Copying => 0,
        NewLog::Open => {
            let next = session.query("SELECT coalesce(max(number) + 1, 0) FROM ensue.logs", &[], soon())?;
            next.first().map_or(0, |row| row.get(0))
        }
    };
    let state = new.state();
    let tables = with_names(&LOG.concat(), number);
    let version = LOG.len();
    let row = format!(
        "INSERT INTO ensue.logs (number, id, format, epoch, leader, state, part_positions, parts) \
         VALUES ({number}, '{id}', {version}, 0, NULL, '{state}', {part_positions}, 0)"
    );
    let schema = schema_of(number);
    let deadline = Instant::now() + CREATION_TIMEOUT;
    let created = session.batch(&format!("BEGIN; {row}; {tables} SELECT {schema}.make_parts(0); COMMIT"), deadline);
    if created.is_err() {
        let _ = session.batch("ROLLBACK", deadline);
    }
    created?;
    Ok(number)
}

/// Compares the tables of a log with this release.
pub(crate) fn demand_log(session: &mut Session, number: i32, format: i32) -> Result<(), SchemaFault> {
    demand_version(Some(format), LOG.len())?;
    demand_functions(session, &schema_of(number), &with_names(&LOG.concat(), number))
}

/// Returns the deadline of a statement that only reads.
fn soon() -> Instant {
    Instant::now() + READ_TIMEOUT
}

fn has_schema(session: &mut Session, name: &str) -> Result<bool, Meaning> {
    let rows = session.query("SELECT to_regnamespace($1) IS NOT NULL", &[&name], soon())?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

fn demand_version(found: Option<i32>, known: usize) -> Result<(), SchemaFault> {
    let known = i32::try_from(known).unwrap_or(i32::MAX);
    match found {
        Some(found) if found == known => Ok(()),
        Some(found) if found > known => Err(SchemaFault::Newer { found, known }),
        Some(found) => Err(SchemaFault::Foreign(format!("its tables have version {found}, and no migration from it is known"))),
        None => Err(SchemaFault::Foreign("the row of its version is missing".to_owned())),
    }
}

/// Compares the code of the functions: they decide what is appended.
fn demand_functions(session: &mut Session, schema: &str, migration: &str) -> Result<(), SchemaFault> {
    const SQL: &str = "SELECT p.proname::text, p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1";
    let rows = session.query(SQL, &[&schema], soon())?;
    let theirs: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let ours = functions(migration);
    for (name, code) in &ours {
        match theirs.iter().find(|(other, _)| other == name) {
            Some((_, other)) if other == code => {}
            Some(_) => return Err(SchemaFault::Foreign(format!("the function {schema}.{name} has other code"))),
            None => return Err(SchemaFault::Foreign(format!("the function {schema}.{name} is missing"))),
        }
    }
    match theirs.iter().find(|(name, _)| !ours.iter().any(|(ours, _)| ours == name)) {
        Some((name, _)) => Err(SchemaFault::Foreign(format!("there is a function {schema}.{name}, which no release creates"))),
        None => Ok(()),
    }
}

/// Returns the names and the code of the functions that a migration creates.
fn functions(migration: &str) -> Vec<(String, String)> {
    let parts = migration.split("CREATE FUNCTION ").skip(1);
    parts
        .filter_map(|part| {
            let name = part.split('(').next()?.rsplit('.').next()?;
            let code = part.split("$fn$").nth(1)?;
            Some((name.to_owned(), code.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_the_migrations_are_found() {
        let names = |text: &str| functions(text).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&CELL.concat()), ["beat", "lead", "release"]);
        assert_eq!(
            names(&with_names(&LOG.concat(), 7)),
            ["make_parts", "append", "settle", "forget", "put_secrets", "remove_secret", "put_pack"]
        );
    }

    #[test]
    fn names_of_a_log_replace_every_placeholder() {
        let text = with_names(&LOG.concat(), 7);
        assert!(text.contains("CREATE TABLE log_7.batches") && text.contains("l.number = 7"));
        assert!(!text.lines().any(|line| !line.starts_with("--") && (line.contains("{schema}") || line.contains("{number}"))));
    }
}
