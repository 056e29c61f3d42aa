//! A database that exists only for a measurement.

use std::time::{Duration, Instant};

use crate::database::Database;
use crate::error::DatabaseError;
use crate::session::{ConnectionPurpose, STATEMENT_TIMEOUT};

/// How long a server may take to copy its template.
const CREATE_TIMEOUT: Duration = Duration::from_secs(60);

/// A new database on the server of another one. It is dropped with this value, even while it is in use.
pub struct Scratch {
    server: Database,
    name: String,
    address: String,
}

impl Scratch {
    /// Creates it.
    ///
    /// # Errors
    /// If the server cannot be reached, or the role of the address may not create databases.
    pub fn create(address: &str, name: &str) -> Result<Self, DatabaseError> {
        let (server, address) = (Database::at(address)?, with_database(address, name));
        run(&server, "CREATE", name, "TEMPLATE template0")?;
        // Only what was created here is dropped.
        Ok(Self { server, name: name.to_owned(), address })
    }

    /// Returns its address, which contains the password of the other one.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the size of its tables and indexes, in bytes. The write-ahead log belongs to the whole server.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn bytes(&self) -> Result<u64, DatabaseError> {
        let mut session = self.server.connect(ConnectionPurpose::Read, "bench")?;
        let rows = session.query("SELECT pg_database_size($1)", &[&self.name], Instant::now() + STATEMENT_TIMEOUT);
        let rows = rows.map_err(|meaning| self.server.error_from(&meaning))?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be dropped stays on the server under a name that says what it was.
        let _ = run(&self.server, "DROP", &self.name, "WITH (FORCE)");
    }
}

fn run(server: &Database, verb: &str, name: &str, how: &str) -> Result<(), DatabaseError> {
    let session = server.connect(ConnectionPurpose::Write, "bench")?;
    let sql = format!("{verb} DATABASE \"{}\" {how}", name.replace('"', "\"\""));
    session.batch(&sql, Instant::now() + CREATE_TIMEOUT).map_err(|meaning| server.error_from(&meaning))
}

/// Returns the address of another database on the same server. The last setting of an address counts.
fn with_database(address: &str, name: &str) -> String {
    match (address.contains("://"), address.contains('?')) {
        (true, true) => format!("{address}&dbname={name}"),
        (true, false) => format!("{address}?dbname={name}"),
        (false, _) => format!("{address} dbname={name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_another_database_keeps_everything_else() {
        for address in
            ["postgres://ada@db.example/cats", "postgres://ada@db.example/cats?sslmode=disable", "host=db.example user=ada dbname=cats"]
        {
            let other = Database::at(&with_database(address, "ensue_bench")).unwrap();
            assert_eq!(other.display_name(), "the database `ensue_bench` on db.example", "{address}");
        }
    }
}
