//! A PostgreSQL server for tests: in a temporary folder, on a port of loopback, ended together with the test.

use std::fs;
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

#[path = "../../tests/support/bounded.rs"]
pub(crate) mod bounded;

/// The name by which a primary knows its standby.
pub(crate) const STANDBY: &str = "standby";

/// How long a server may take to start, or to become what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ports of servers, below those that the kernel gives to outgoing connections. One of these could take the port of a server
/// while it is down.
const PORTS: Range<u16> = 20_000..32_000;

/// How many ports a process takes at once.
const PORTS_TAKEN: u16 = 100;

/// A server with a folder of its own.
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
    child: Mutex<Child>,
}

/// A user that a server can run as: it refuses to run as root.
struct User {
    uid: u32,
    gid: u32,
}

/// Returns the folder of the server's programs.
pub(crate) fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> =
        versions.flatten().map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).collect();
    found.sort();
    found.pop()
}

/// Returns true if there are no programs of a server, and names the test that is skipped.
pub(crate) fn is_missing() -> bool {
    if programs().is_some() {
        return false;
    }
    let name = thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{name}: PostgreSQL is not installed (apt-get install postgresql)");
    eprintln!("skipped: {name}: PostgreSQL is not installed (apt-get install postgresql)");
    true
}

/// Returns the user `postgres` if this process is root.
fn user() -> Option<User> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("the package has the user `postgres`");
    let mut parts = line.split(':').skip(2).map(|part| part.parse().unwrap());
    Some(User { uid: parts.next().unwrap(), gid: parts.next().unwrap() })
}

/// Returns a command that runs a program of the server as its user, and ends with the thread that starts it.
fn command(program: &str) -> Command {
    as_user(programs().unwrap().join(program))
}

/// Returns a command that runs a script of `sh` as the server's user, with the programs of the server in its path.
fn script(text: &str, folder: &Path, port: u16, variables: &[(&str, &str)]) -> Command {
    let mut command = as_user("sh".into());
    let path = format!("{}:{}", programs().unwrap().display(), std::env::var("PATH").unwrap());
    command.args(["-ec", text]).env("PATH", path).env("PGDATA", folder.join("data")).env("PGPORT", port.to_string());
    command.envs(variables.iter().copied()).current_dir(folder).stdout(Stdio::null());
    command
}

pub(crate) fn as_user(program: PathBuf) -> Command {
    match user() {
        Some(User { uid, gid }) => {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups", "--pdeathsig=KILL"]).arg(program);
            command
        }
        None => {
            let mut command = Command::new("setpriv");
            command.arg("--pdeathsig=KILL").arg(program);
            command
        }
    }
}

fn run(command: &mut Command) {
    let done = bounded::output(command);
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
}

/// Starts a child on a thread that never ends, because the child ends with it.
pub(crate) fn spawn(mut command: Command) -> Child {
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        tell.send(command.spawn().unwrap()).unwrap();
        loop {
            thread::park();
        }
    });
    told.recv().unwrap()
}

/// Returns a port of loopback for a server that cannot choose one: because it has the same one after a restart, or because its
/// address is needed before its start. Nobody listens on it, and no other process of tests chooses it: this process listens on the
/// first port of each range that it takes.
pub(crate) fn free_port() -> u16 {
    static TAKEN: Mutex<Vec<(TcpListener, Range<u16>)>> = Mutex::new(Vec::new());
    let listen = |port: u16| TcpListener::bind(("127.0.0.1", port)).ok();
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some((_, ports)) = taken.last_mut()
            && let Some(port) = ports.find(|port| listen(*port).is_some())
        {
            return port;
        }
        let mut ranges = PORTS.step_by(PORTS_TAKEN.into());
        taken.push(ranges.find_map(|first| Some((listen(first)?, first + 1..first + PORTS_TAKEN))).expect("there are free ports"));
    }
}

/// Waits until something is true.
#[track_caller]
pub(crate) fn until(is_true: impl FnMut() -> bool) {
    until_or(is_true, || "it does not come true".to_owned());
}

/// Waits until something is true, or fails with a description of the state.
#[track_caller]
pub(crate) fn until_or(mut is_true: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "{}", otherwise());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns what a server in a folder wrote.
fn log_in(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap()
}

/// Removes the folders of test processes that were killed.
fn clean_up() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("ensue-pg-").and_then(|rest| rest.split('-').next()).map(str::to_owned);
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Returns a folder that the server's user may write to.
pub(crate) fn new_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    static CLEANED: OnceLock<()> = OnceLock::new();
    CLEANED.get_or_init(clean_up);
    let name = format!("ensue-pg-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    fs::create_dir(&folder).unwrap();
    if let Some(User { uid, gid }) = user() {
        chown(&folder, Some(uid), Some(gid)).unwrap();
    }
    folder
}

impl Server {
    /// Starts a server of its own for a test that stops it or changes its settings.
    pub(crate) fn start() -> Self {
        Self::start_after(|_| ())
    }

    /// Starts a server of its own, after `change` was made to the folder of its data.
    pub(crate) fn start_after(change: impl FnOnce(&Path)) -> Self {
        let folder = new_folder();
        run(command("initdb")
            .args(["--no-sync", "--auth=trust", "--username=ensue", "--encoding=UTF8", "--locale=C.UTF-8", "-D"])
            .arg(folder.join("data")));
        change(&folder.join("data"));
        Self::on(folder, free_port())
    }

    /// Writes a file that only the server's user may read.
    pub(crate) fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some(User { uid, gid }) = user() {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }

    /// Starts a standby of this server, on the port of a server that is gone, or on a free one.
    pub(crate) fn start_standby(&self, port: Option<u16>) -> Self {
        let folder = new_folder();
        let from = format!("host=127.0.0.1 port={} user=ensue application_name={STANDBY}", self.port);
        let mut copy = command("pg_basebackup");
        run(copy.args(["-d", &from, "--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-D"]).arg(folder.join("data")));
        Self::on(folder, port.unwrap_or_else(free_port))
    }

    /// Runs a script as the server's user, which finds the server.
    pub(crate) fn run_script(&self, text: &str) {
        run(&mut script(text, &self.folder, self.port, &[("PGHOST", "127.0.0.1")]));
    }

    /// Starts a server by a script, which ends as the server's process.
    pub(crate) fn start_by(text: &str, variables: &[(&str, &str)]) -> Self {
        let (folder, port) = (new_folder(), free_port());
        let mut command = script(text, &folder, port, variables);
        command.stderr(fs::File::create(folder.join("log")).unwrap());
        let server = Self { child: Mutex::new(spawn(command)), folder, port };
        server.wait();
        server
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        self.psql("postgres", "SELECT pg_promote()");
    }

    /// Returns the server that tests share which only need a database.
    pub(crate) fn instance() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn on(folder: PathBuf, port: u16) -> Self {
        Self { child: Mutex::new(Self::spawn_and_wait(&folder, port)), folder, port }
    }

    fn spawn(folder: &Path, port: u16) -> Child {
        let mut command = command("postgres");
        command.arg("-D").arg(folder.join("data")).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"]).arg(folder);
        command.args(["-c", "max_connections=200", "-c", "shared_buffers=32MB", "-c", "log_min_messages=log"]);
        // Recovery after a crash syncs the whole file system in one call, instead of some thousand files one after the other.
        if cfg!(target_os = "linux") {
            command.args(["-c", "recovery_init_sync_method=syncfs"]);
        }
        // A standby looks for its primary again soon after that was started.
        command.args(["-c", "wal_retrieve_retry_interval=200ms"]);
        command.stdout(Stdio::null()).stderr(fs::File::create(folder.join("log")).unwrap());
        spawn(command)
    }

    fn wait(&self) {
        until_or(|| self.psql_may_fail("postgres", "SELECT 1").0, || log_in(&self.folder));
    }

    /// Kills all processes of the server, as a power failure would but for its disk.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let main = child.id();
        let parts = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
        child.kill().unwrap();
        // Those that ended with the main process do not count.
        let _ = Command::new("kill").arg("-KILL").args(parts.split_whitespace()).stderr(Stdio::null()).status();
        child.wait().unwrap();
    }

    /// Starts the server again.
    pub(crate) fn start_again(&self) {
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Self::spawn_and_wait(&self.folder, self.port);
    }

    /// Starts a server on a port where another one may have been killed, and waits until it answers.
    fn spawn_and_wait(folder: &Path, port: u16) -> Child {
        let mut child = Self::spawn(folder, port);
        let answers = || {
            // While processes of the killed one are there, the new one ends at once.
            if child.try_wait().unwrap().is_some() {
                child = Self::spawn(folder, port);
            }
            Self::psql_at(port, "postgres", "SELECT 1").0
        };
        until_or(answers, || log_in(folder));
        child
    }

    /// Changes a setting, and waits until new connections and the server's own processes have it.
    pub(crate) fn set(&self, setting: &str, value: &str) {
        self.psql("postgres", &format!("ALTER SYSTEM SET {setting} = '{value}'"));
        self.psql("postgres", "SELECT pg_reload_conf()");
        until(|| self.psql("postgres", &format!("SHOW {setting}")) == value);
        // Commits wait for a standby only once the checkpointer has read the setting. It reads its settings before each
        // checkpoint, and the first of the two may have begun before the setting changed.
        self.psql("postgres", "CHECKPOINT");
        self.psql("postgres", "CHECKPOINT");
    }

    /// Stops the server in the way an administrator does who does not wait for clients.
    pub(crate) fn stop(&self) {
        let mut stop = command("pg_ctl");
        run(stop.args(["stop", "-m", "fast", "-w", "-D"]).arg(self.folder.join("data")));
        self.child.lock().unwrap_or_else(PoisonError::into_inner).wait().unwrap();
    }

    /// Returns the folder of the server's data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Returns the port on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements, and returns what they print.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> String {
        let (is_done, said) = self.psql_may_fail(database, sql);
        assert!(is_done, "{said}");
        said
    }

    /// Runs statements. Returns whether they succeed, and what they print.
    pub(crate) fn psql_may_fail(&self, database: &str, sql: &str) -> (bool, String) {
        Self::psql_at(self.port, database, sql)
    }

    pub(crate) fn psql_at(port: u16, database: &str, sql: &str) -> (bool, String) {
        let mut command = Command::new(programs().unwrap().join("psql"));
        // Something else than a server of PostgreSQL may listen there, and say nothing.
        command.env("PGCONNECT_TIMEOUT", PATIENCE.as_secs().to_string());
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "ensue"]);
        let done = bounded::output(command.args(["-p", &port.to_string(), "-d", database, "-c", sql]));
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        (done.status.success(), said.trim().to_owned())
    }

    /// Creates an empty database, and returns its name.
    pub(crate) fn new_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        name
    }

    /// Returns the address of a database.
    pub(crate) fn address(&self, database: &str) -> String {
        format!("postgres://ensue@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts a server on a copy of another one's data, after `change` was made to the copy.
    pub(crate) fn start_copy(of: &Self, change: impl FnOnce(&Path)) -> Self {
        let folder = new_folder();
        run(Command::new("cp").arg("-a").arg(of.data()).arg(folder.join("data")));
        let _ = fs::remove_file(folder.join("data/postmaster.pid"));
        change(&folder.join("data"));
        Self::on(folder, free_port())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
