//! Checks of the server: whether it can hold a log without losing or changing a record.

use std::sync::Arc;
use std::time::Instant;

use crate::classify::Meaning;
use crate::connect::Servers;
use crate::io::Io;
use crate::session::{CONNECT_TIMEOUT, ConnectionPurpose, Session};
use crate::tls::Endpoint;

/// The oldest version that is accepted, as the server's number.
const VERSION_MIN: i32 = 150_000;

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) version: i32,
    pub(crate) encoding: String,
    pub(crate) is_synced: bool,
    pub(crate) writes_full_pages: bool,
    pub(crate) is_standby: bool,
    pub(crate) role: String,
    pub(crate) database: String,
    pub(crate) may_create: bool,
    pub(crate) has_schema: bool,
    pub(crate) may_use_schema: bool,
}

/// What is wrong with a server, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsuitable {
    pub(crate) why: String,
    pub(crate) todo: String,
}

impl Server {
    /// Asks the server.
    pub(crate) fn ask(session: &mut Session) -> Result<Self, Meaning> {
        const SQL: &str = "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), \
             current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on', pg_is_in_recovery(), \
             current_user::text, current_database()::text, has_database_privilege(current_database(), 'CREATE'), \
             to_regnamespace('ensue') IS NOT NULL, \
             CASE WHEN to_regnamespace('ensue') IS NULL THEN true ELSE has_schema_privilege('ensue', 'USAGE') END";
        let rows = session.query(SQL, &[], Instant::now() + CONNECT_TIMEOUT)?;
        let row = rows.first().ok_or_else(|| Meaning::Refused("the server says nothing about itself".to_owned()))?;
        Ok(Self {
            version: row.get(0),
            encoding: row.get(1),
            is_synced: row.get(2),
            writes_full_pages: row.get(3),
            is_standby: row.get(4),
            role: row.get(5),
            database: row.get(6),
            may_create: row.get(7),
            has_schema: row.get(8),
            may_use_schema: row.get(9),
        })
    }

    /// Returns what is wrong with the server as a place for the writer of a log, or `None`. A standby may become one.
    pub(crate) fn problem(&self) -> Option<Unsuitable> {
        let problem = |why: String, todo: String| Some(Unsuitable { why, todo });
        let Self { role, database, .. } = self;
        if self.version < VERSION_MIN {
            return problem(
                format!("it is PostgreSQL {}, and the oldest supported version is {}", self.version / 10_000, VERSION_MIN / 10_000),
                "upgrade the server to PostgreSQL 15 or newer".to_owned(),
            );
        }
        if !self.is_synced {
            return problem(
                "`fsync` is off, so a power failure loses or destroys acknowledged records".to_owned(),
                "set `fsync = on` in postgresql.conf, and reload the server".to_owned(),
            );
        }
        if !self.writes_full_pages {
            return problem(
                "`full_page_writes` is off, so a power failure can leave half-written pages".to_owned(),
                "set `full_page_writes = on` in postgresql.conf, and reload the server".to_owned(),
            );
        }
        if self.encoding != "UTF8" {
            return problem(
                format!("the encoding of the database is {}, and must be UTF8", self.encoding),
                "create another database: `CREATE DATABASE ensue ENCODING 'UTF8' TEMPLATE template0`".to_owned(),
            );
        }
        if !self.has_schema && !self.may_create {
            return problem(
                format!("the role `{role}` may not create the schema of the log"),
                format!("run `GRANT CREATE ON DATABASE \"{database}\" TO \"{role}\"` as the owner of the database"),
            );
        }
        if !self.may_use_schema {
            return problem(
                format!("the role `{role}` may not use the schema `ensue`, which another role owns"),
                format!("connect as the role that created it, or run `GRANT` of that role to \"{role}\""),
            );
        }
        None
    }
}

/// Returns the problem with a pooler between this process and the server, if there is one that changes the server's
/// connection between transactions. The settings of a session, and its prepared statements, would be those of another.
pub(crate) fn pooler(io: &Arc<Io>, endpoint: &Endpoint, servers: &Servers) -> Result<Option<Unsuitable>, String> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let connect = || Session::connect(io, endpoint, ConnectionPurpose::Write, servers);
    let (one, other) = (connect()?, connect()?);
    let process = |session: &Session| session.process(deadline).map_err(|meaning| meaning.to_string());
    let before = process(&one)?;
    // A pooler gives the connection that was used last to whoever asks next. The transaction holds it.
    other.batch("BEGIN", deadline).map_err(|meaning| meaning.to_string())?;
    process(&other)?;
    let after = process(&one)?;
    other.batch("ROLLBACK", deadline).map_err(|meaning| meaning.to_string())?;
    Ok((before != after).then(|| Unsuitable {
        why: "a pooler in transaction mode is between the node and the server".to_owned(),
        todo: "name the server itself, or use `pool_mode = session` for this database: a node needs few connections".to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Server {
        Server {
            version: 150_018,
            encoding: "UTF8".to_owned(),
            is_synced: true,
            writes_full_pages: true,
            is_standby: false,
            role: "ada".to_owned(),
            database: "cats".to_owned(),
            may_create: true,
            has_schema: false,
            may_use_schema: true,
        }
    }

    #[test]
    fn suitable_server_has_no_problem() {
        assert_eq!(good().problem(), None);
        assert_eq!(Server { may_create: false, has_schema: true, ..good() }.problem(), None, "everything is created already");
    }

    #[test]
    fn each_problem_is_named_with_what_to_do() {
        let bad = [
            (Server { version: 140_012, ..good() }, "PostgreSQL 14", "upgrade"),
            (Server { is_synced: false, ..good() }, "`fsync` is off", "fsync = on"),
            (Server { writes_full_pages: false, ..good() }, "`full_page_writes` is off", "full_page_writes = on"),
            (Server { encoding: "SQL_ASCII".to_owned(), ..good() }, "SQL_ASCII", "ENCODING 'UTF8'"),
            (Server { may_create: false, ..good() }, "may not create", "GRANT CREATE ON DATABASE \"cats\" TO \"ada\""),
            (Server { has_schema: true, may_use_schema: false, ..good() }, "may not use the schema", "GRANT"),
        ];
        for (server, why, todo) in bad {
            let problem = server.problem().unwrap();
            assert!(problem.why.contains(why) && problem.todo.contains(todo), "{problem:?}");
        }
    }
}
