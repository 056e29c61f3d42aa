//! A server that cannot hold a log safely is refused, with what to do about it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use ensue_engine::explain::Explain;
use ensue_engine::ports::Log;
use ensue_postgres::{Database, DatabaseError, IfLed, Standbys, WaitDecision, WaitsFor};
use ensue_test_support::records::{LOG, Writer, read_all};

use crate::nodes::node;
use crate::server::{Server, as_user, free_port, is_missing, new_folder, spawn, until};
use crate::skipped::not_installed;

fn refusal(address: &str) -> DatabaseError {
    Database::at(address).unwrap().prepare().unwrap_err()
}

fn demand_unsuitable(error: &DatabaseError, why: &str, hint: &str) {
    assert_eq!(error.slug(), "database-unsuitable", "{error}");
    assert!(error.to_string().contains(why) && error.hint().unwrap().contains(hint), "{error}: {:?}", error.hint());
}

#[test]
fn server_without_fsync_is_refused() {
    if is_missing() {
        return;
    }
    let server = Server::start();
    let name = server.new_database();
    server.set("fsync", "off");
    demand_unsuitable(&refusal(&server.address(&name)), "`fsync` is off", "fsync = on");
}

#[test]
fn synchronous_standbys_are_counted_by_a_role_that_may_see_them() {
    if is_missing() {
        return;
    }
    let server = Server::start();
    let (name, database) = server.database();
    server.psql(&name, "CREATE ROLE blind LOGIN; GRANT CREATE ON DATABASE postgres TO blind");
    let blind = Database::at(&server.address("postgres").replace("ensue@", "blind@")).unwrap();
    let standbys = || [&database, &blind].map(|database| database.health().unwrap().standbys);
    assert_eq!(standbys(), [Standbys::None; 2]);
    server.set("synchronous_standby_names", "nobody");
    assert_eq!(standbys(), [Standbys::Connected(0), Standbys::Hidden]);
}

#[test]
fn database_of_another_encoding_is_refused() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    server.psql("postgres", "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
    demand_unsuitable(&refusal(&server.address("ascii")), "SQL_ASCII", "ENCODING 'UTF8'");
}

/// A pooler in front of the shared server.
struct Pooler {
    folder: PathBuf,
    child: Child,
    port: u16,
}

impl Pooler {
    /// Starts a pooler that gives a connection of the server to its clients for the time that `mode` names. Returns `None` if the
    /// program is missing, and names the test that is skipped.
    fn start(test: &str, mode: &str) -> Option<Self> {
        // Debian has it where only root looks.
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|program| Path::new(program).exists());
        let Some(program) = program else {
            not_installed(test, "pgbouncer");
            return None;
        };
        let folder = new_folder();
        let port = free_port();
        let users = folder.join("users");
        Server::write(&users, "\"ensue\" \"\"\n");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = {mode}\n",
            Server::instance().port(),
            users.display(),
        );
        let file = folder.join("pgbouncer.ini");
        Server::write(&file, &settings);
        let mut command = as_user(program.into());
        let child = spawn({
            command.arg(file).stdout(Stdio::null()).stderr(fs::File::create(folder.join("log")).unwrap());
            command
        });
        until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { folder, child, port })
    }

    fn address(&self, database: &str) -> String {
        format!("postgres://ensue@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn pooler_in_transaction_mode_is_refused_at_each_start() {
    if is_missing() {
        return;
    }
    let Some(pooler) = Pooler::start("pooler_in_transaction_mode_is_refused_at_each_start", "transaction") else { return };
    let name = Server::instance().new_database();
    // The pooler keeps its connections, and what the first start left in them.
    for _ in 0..3 {
        demand_unsuitable(&refusal(&pooler.address(&name)), "a pooler in transaction mode", "pool_mode = session");
    }
    assert_eq!(Server::instance().psql(&name, "SELECT to_regnamespace('ensue') IS NULL"), "t", "nothing was created");
}

#[test]
fn log_is_written_and_taken_over_through_a_pooler_in_session_mode() {
    if is_missing() {
        return;
    }
    let Some(pooler) = Pooler::start("log_is_written_and_taken_over_through_a_pooler_in_session_mode", "session") else { return };
    let name = Server::instance().new_database();
    for number in 1..=3 {
        let database = Database::at(&pooler.address(&name)).unwrap();
        database.prepare().unwrap();
        let mut log = database.lead(LOG, &node(number), IfLed::Fail).unwrap();
        let mut writer = Writer::behind(&log, &read_all(&*log.reader().unwrap()));
        writer.append(&mut log, 1).unwrap();
        assert_eq!((log.head().unwrap(), u128::from(writer.head().position.0)), (writer.head(), number));
    }
}

/// Starts a server with a database, and its standby.
fn primary_and_standby() -> (Server, Server, String) {
    let primary = Server::start();
    let (name, _) = primary.database();
    primary.stop();
    let standby = Server::start_copy(&primary, |data| fs::write(data.join("standby.signal"), "").unwrap());
    primary.start_again();
    (primary, standby, name)
}

#[test]
fn standby_is_refused_and_the_primary_is_found_among_several_servers() {
    if is_missing() {
        return;
    }
    let (primary, standby, name) = primary_and_standby();
    let error = refusal(&standby.address(&name));
    assert_eq!(error.slug(), "database-unavailable", "{error}");
    assert!(error.to_string().contains("is a standby") && error.hint().unwrap().contains("name the primary"), "{error}");
    let both = format!("postgres://ensue@127.0.0.1:{},127.0.0.1:{}/{name}", standby.port(), primary.port());
    let mut log = Database::at(&both).unwrap().lead(LOG, &node(1), IfLed::Fail).unwrap();
    Writer::of(&log).append(&mut log, 1).unwrap();
}

#[test]
fn node_that_knows_only_a_standby_leads_once_it_is_promoted() {
    if is_missing() {
        return;
    }
    let (_, standby, name) = primary_and_standby();
    let mut waited = 0;
    let led = Database::at(&standby.address(&name)).unwrap().lead_after(LOG, &node(1), &mut |waits_for| {
        assert!(matches!(waits_for, WaitsFor::Database(DatabaseError::NotPrimary { .. })), "{waits_for:?}");
        waited += 1;
        if waited == 2 {
            standby.promote();
        }
        if waited < 60 { WaitDecision::GoOn } else { WaitDecision::GiveUp }
    });
    let mut log = led.unwrap();
    Writer::of(&log).append(&mut log, 1).unwrap();
}

#[test]
fn role_without_rights_is_refused() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let name = server.new_database();
    server.psql("postgres", "CREATE ROLE nobody_special LOGIN");
    let address = server.address(&name).replace("ensue@", "nobody_special@");
    demand_unsuitable(&refusal(&address), "`nobody_special` may not create", "GRANT CREATE ON DATABASE");
    Database::at(&server.address(&name)).unwrap().prepare().unwrap();
    demand_unsuitable(&refusal(&address), "may not use the schema", "GRANT");
}

#[test]
fn server_that_does_not_answer_is_an_error_that_names_it() {
    let error = refusal(&format!("postgres://ensue@127.0.0.1:{}/cats", free_port()));
    assert_eq!(error.slug(), "database-unavailable");
    assert!(error.to_string().contains("`cats` on 127.0.0.1"), "{error}");
}

#[test]
fn tables_of_a_newer_release_are_refused() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, _) = server.database();
    server.psql(&name, "UPDATE ensue.cell SET format = 99");
    assert!(matches!(refusal(&server.address(&name)), DatabaseError::Newer { found: 99, .. }));
}

#[test]
fn changed_function_is_refused() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, database) = server.database();
    drop(database.lead(LOG, &node(1), IfLed::Fail).unwrap());
    let change = "CREATE OR REPLACE FUNCTION log_0.settle(before bigint, OUT now_epoch bigint, \
                  OUT now_head bigint, OUT now_chain bytea, OUT found_batch uuid) LANGUAGE plpgsql AS 'BEGIN END'";
    server.psql(&name, change);
    let Err(error) = database.lead(LOG, &node(1), IfLed::Fail) else { panic!("it was opened") };
    assert!(matches!(&error, DatabaseError::Foreign { why, .. } if why.contains("log_0.settle")), "{error}");
}

#[test]
fn no_index_depends_on_a_collation() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, database) = server.database();
    drop(database.lead(LOG, &node(1), IfLed::Fail).unwrap());
    let collated = server.psql(
        &name,
        "SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
         WHERE c.relnamespace IN ('ensue'::regnamespace, 'log_0'::regnamespace) AND EXISTS (SELECT 1 FROM unnest(i.indcollation) x WHERE x <> 0)",
    );
    assert_eq!(collated, "");
}
