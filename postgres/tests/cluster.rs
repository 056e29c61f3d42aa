//! Three PostgreSQL servers that Patroni manages, and the etcd in which Patroni keeps who leads: on loopback, in one
//! temporary folder, ended together with the test.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{Server, as_user, free_port, new_folder, programs, spawn};

/// How many servers there are: a leader, its synchronous standby, and another one.
pub(crate) const MEMBERS: usize = 3;

/// How long the cluster may take to become what is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a member may take to answer a question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a switchover may take.
const SWITCHOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Kills everything that runs in the folder once this test ends, in whatever way. After a panic, the folder is kept
/// under another name.
const CLEANING: &str = r#"
    trap "" INT TERM HUP
    read -r word || word=remove
    for try in 1 2; do
        for process in /proc/[0-9]*; do
            case "$(readlink "$process/cwd")" in "$FOLDER"/*) kill -s KILL "${process#/proc/}" ;; esac
        done
        sleep 0.2
    done
    if [ "$word" = keep ]; then mv "$FOLDER" "$KEPT"; else rm -rf "$FOLDER"; fi
"#;

/// What a member is, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It holds the lease, and is the primary.
    Leader,
    /// It has each acknowledged commit, and may be promoted.
    Sync,
    /// It may not be promoted.
    Replica,
    /// It starts, or stops, or does not answer.
    Away,
}

/// A cluster.
pub(crate) struct Cluster {
    folder: PathBuf,
    ports: Ports,
    etcd: Child,
    members: Vec<Child>,
    cleaning: Child,
    /// The cleaning begins once this is gone.
    end: Option<ChildStdin>,
}

/// The ports of a cluster.
#[derive(Clone, Copy)]
struct Ports([u16; 2 + 2 * MEMBERS]);

impl Ports {
    fn free() -> Self {
        Self(std::array::from_fn(|_| free_port()))
    }

    fn of_etcd(self) -> u16 {
        self.0[0]
    }

    fn of_its_peers(self) -> u16 {
        self.0[1]
    }

    fn of_patroni(self, member: usize) -> u16 {
        self.0[2 + member]
    }

    fn of_server(self, member: usize) -> u16 {
        self.of_patroni(MEMBERS + member)
    }
}

/// Returns the programs that are not installed, as packages of Debian.
pub(crate) fn missing_packages() -> Vec<&'static str> {
    let is_here = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    [("patroni", "patroni"), ("etcd", "etcd-server")].iter().filter(|(program, _)| !is_here(program)).map(|(_, package)| *package).collect()
}

/// The interface of etcd that Patroni uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Api {
    V2,
    V3,
}

impl Api {
    /// Returns the newest interface with which a leader that was frozen cannot take the lease back from another one.
    /// Patroni 3.0.2 does not compare the owner of the lease on version 3 (patroni/patroni#2689).
    fn that_is_safe() -> Self {
        let told = Command::new("patroni").arg("--version").output().unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let parts = told.trim().trim_start_matches("patroni ").split('.').map_while(|part| part.parse().ok());
        let version: Vec<u32> = parts.collect();
        assert!(version.len() > 1, "{told}");
        if version < vec![3, 1, 0] { Self::V2 } else { Self::V3 }
    }

    fn setting(self) -> &'static str {
        match self {
            Self::V2 => "etcd",
            Self::V3 => "etcd3",
        }
    }
}

impl Cluster {
    /// Starts a cluster, and waits until it is whole.
    pub(crate) fn start() -> Self {
        let (folder, ports) = (new_folder(), Ports::free());
        let mut cleaning = Command::new("sh");
        cleaning.args(["-c", CLEANING]).env("FOLDER", &folder).env("KEPT", failure_folder()).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut cleaning = cleaning.spawn().unwrap();
        let end = cleaning.stdin.take();
        let etcd = start_etcd(&folder, ports);
        let members = (0..MEMBERS).map(|member| start_member(&folder, ports, member)).collect();
        let cluster = Self { folder, ports, etcd, members, cleaning, end };
        cluster.wait_until_whole();
        cluster
    }

    /// Returns the address of a database that is on all members.
    pub(crate) fn address(&self, database: &str) -> String {
        let hosts: Vec<String> = (0..MEMBERS).map(|member| format!("127.0.0.1:{}", self.ports.of_server(member))).collect();
        format!("postgres://ensue@{}/{database}?sslmode=disable", hosts.join(","))
    }

    /// Runs statements on a member, and returns what they print.
    pub(crate) fn psql(&self, member: usize, database: &str, sql: &str) -> String {
        let (is_done, said) = Server::psql_at(self.ports.of_server(member), database, sql);
        assert!(is_done, "{said}");
        said
    }

    /// Returns what each member is.
    pub(crate) fn roles(&self) -> [Role; MEMBERS] {
        std::array::from_fn(|member| self.role(member))
    }

    fn role(&self, member: usize) -> Role {
        let is = |what: &str| ask(self.ports.of_patroni(member), "GET", what, "", ANSWER_TIMEOUT).is_some_and(|(status, _)| status == 200);
        [("/leader", Role::Leader), ("/sync", Role::Sync), ("/replica", Role::Replica)]
            .into_iter()
            .find(|(what, _)| is(what))
            .map_or(Role::Away, |(_, role)| role)
    }

    /// Returns the member that has a role.
    pub(crate) fn member(&self, role: Role) -> Option<usize> {
        (0..MEMBERS).find(|member| self.role(*member) == role)
    }

    /// Waits until each role is taken, and returns the leader and its synchronous standby.
    pub(crate) fn wait_until_whole(&self) -> (usize, usize) {
        self.wait("the cluster is not whole", || {
            let roles = self.roles();
            let has = |role: Role| roles.iter().position(|other| *other == role);
            has(Role::Replica).and(has(Role::Leader).zip(has(Role::Sync)))
        })
    }

    /// Waits until another member than this one leads.
    pub(crate) fn wait_for_another(&self, old: usize) -> usize {
        self.wait("no other member leads", || (0..MEMBERS).find(|member| *member != old && self.role(*member) == Role::Leader))
    }

    /// Waits until something is there.
    pub(crate) fn wait<T>(&self, otherwise: &str, look: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "{otherwise}: {:?}", self.roles());
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Ends all processes of a member at once, as a power failure would but for its disk.
    pub(crate) fn cut_power(&mut self, member: usize) {
        // One that was just being started may escape the first time.
        for _ in 0..2 {
            signal("KILL", &processes_in(&self.home(member)));
        }
        self.members[member].wait().unwrap();
    }

    /// Starts a member again.
    pub(crate) fn start_again(&mut self, member: usize) {
        self.members[member] = start_member(&self.folder, self.ports, member);
    }

    /// Kills the server of a member. Its Patroni is left.
    pub(crate) fn kill_server(&self, member: usize) {
        signal("KILL", &processes_in(&self.home(member).join("data")));
    }

    /// Stops all processes of a member for a while.
    pub(crate) fn freeze(&self, member: usize) {
        signal("STOP", &processes_in(&self.home(member)));
    }

    /// Lets them continue.
    pub(crate) fn thaw(&self, member: usize) {
        signal("CONT", &processes_in(&self.home(member)));
    }

    /// Stops the Patroni of a member for a while. Its server is left.
    pub(crate) fn freeze_patroni(&self, member: usize) {
        signal("STOP", &[self.members[member].id()]);
    }

    /// Stops etcd for a while.
    pub(crate) fn freeze_etcd(&self) {
        signal("STOP", &[self.etcd.id()]);
    }

    /// Lets it continue.
    pub(crate) fn thaw_etcd(&self) {
        signal("CONT", &[self.etcd.id()]);
    }

    /// Makes the synchronous standby the leader in the way of an administrator.
    pub(crate) fn switch_over(&self, from: usize, to: usize) {
        let body = format!("{{\"leader\": \"{}\", \"candidate\": \"{}\"}}", name(from), name(to));
        let told = ask(self.ports.of_patroni(from), "POST", "/switchover", &body, SWITCHOVER_TIMEOUT);
        assert!(told.as_ref().is_some_and(|(status, _)| *status == 200), "{told:?}");
    }

    fn home(&self, member: usize) -> PathBuf {
        self.folder.join(name(member))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.members.iter_mut().chain([&mut self.etcd]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking()
            && let Some(end) = self.end.as_mut()
        {
            let _ = writeln!(end, "keep");
            eprintln!("what the servers wrote until the test failed is in {}", failure_folder().display());
        }
        self.end = None;
        let _ = self.cleaning.wait();
    }
}

/// Returns the folder of a cluster whose test failed.
fn failure_folder() -> PathBuf {
    std::env::temp_dir().join(format!("ensue-patroni-{}", std::process::id()))
}

fn name(member: usize) -> String {
    format!("member{member}")
}

fn start_etcd(folder: &Path, ports: Ports) -> Child {
    let home = folder.join("etcd");
    make_home(&home);
    let [clients, peers] = [ports.of_etcd(), ports.of_its_peers()].map(|port| format!("http://127.0.0.1:{port}"));
    let mut command = as_user("etcd".into());
    command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("default={peers}"), "--data-dir"]).arg(home.join("data"));
    if Api::that_is_safe() == Api::V2 {
        command.arg("--enable-v2");
    }
    start(command, &home)
}

/// Starts the Patroni of a member, which makes and starts its server.
fn start_member(folder: &Path, ports: Ports, member: usize) -> Child {
    let home = folder.join(name(member));
    make_home(&home);
    Server::write(&home.join("patroni.yml"), &settings(&home, ports, member));
    let mut command = as_user("patroni".into());
    command.arg("patroni.yml");
    start(command, &home)
}

/// Returns the settings of a member. A failover takes seconds with them, and the processes of one that was killed are
/// not waited for.
fn settings(home: &Path, ports: Ports, member: usize) -> String {
    let (name, programs, api) = (name(member), programs().unwrap(), Api::that_is_safe().setting());
    let (home, programs) = (home.display(), programs.display());
    let [etcd, patroni, server] =
        [ports.of_etcd(), ports.of_patroni(member), ports.of_server(member)].map(|port| format!("127.0.0.1:{port}"));
    format!(
        r#"
scope: ensue
name: {name}
restapi: {{listen: "{patroni}", connect_address: "{patroni}"}}
{api}: {{host: "{etcd}"}}
bootstrap:
  dcs:
    ttl: 5
    loop_wait: 1
    retry_timeout: 2
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_pg_rewind: true
      parameters:
        max_connections: 100
        shared_buffers: 32MB
        wal_log_hints: "on"
        wal_retrieve_retry_interval: 200ms
  initdb: [{{encoding: UTF8}}, {{locale: C.UTF-8}}, {{auth: trust}}, no-sync]
postgresql:
  listen: "{server}"
  connect_address: "{server}"
  data_dir: "{home}/data"
  bin_dir: "{programs}"
  pgpass: "{home}/pgpass"
  authentication:
    superuser: {{username: ensue}}
    replication: {{username: replicator}}
    rewind: {{username: ensue}}
  parameters: {{unix_socket_directories: "{home}"}}
  pg_hba:
  - local all all trust
  - host all all 127.0.0.1/32 trust
  - host replication all 127.0.0.1/32 trust
"#
    )
}

/// Makes a folder of the servers' user.
fn make_home(home: &Path) {
    let mut make = as_user("mkdir".into());
    assert!(make.arg("-p").arg(home).status().unwrap().success());
}

/// Starts a program whose processes are found by their working directory.
fn start(mut command: Command, home: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(home.join("log")).unwrap();
    command.current_dir(home).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    spawn(command)
}

/// Returns the processes whose working directory is this folder, or in it.
pub(crate) fn processes_in(folder: &Path) -> Vec<u32> {
    let numbered = |entry: fs::DirEntry| entry.file_name().to_string_lossy().parse().ok().map(|pid: u32| (pid, entry.path()));
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(numbered);
    // A process may end while it is looked at.
    let is_in = |process: &Path| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    all.filter(|(_, process)| is_in(process)).map(|(pid, _)| pid).collect()
}

/// Sends a signal to processes. A process that has already ended is ignored.
pub(crate) fn signal(name: &str, pids: &[u32]) {
    let pids = pids.iter().map(u32::to_string);
    let mut kill = Command::new("sh");
    kill.args(["-c", r#"kill -s "$0" "$@""#, name]).args(pids).stderr(Stdio::null());
    kill.status().unwrap();
}

/// Sends a request to Patroni, and returns the status and the text of its answer.
fn ask(port: u16, method: &str, path: &str, body: &str, timeout: Duration) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    let head = format!("{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, text)| text.to_owned())))
}
