//! Connects to the primary among the servers of an address. A server that does not answer does not hide the others: the
//! driver alone would wait for it until the time for the whole connection is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// After this time without an answer, the next server is asked too.
const NEXT_AFTER: Duration = Duration::from_secs(1);

/// A client, and what moves its bytes.
pub(crate) type ConnectedClient = (Client, Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>);

/// Which server of an address is asked first; a clone is the same. It begins with the first one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers(Arc<AtomicUsize>);

/// The server of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ServerChoice {
    /// Its place in the address.
    server: usize,
    /// How many servers the address has.
    count: usize,
    /// The turn in which it was asked.
    turn: usize,
}

impl ServerChoice {
    /// Returns how many servers the address has.
    pub(crate) fn count(self) -> usize {
        self.count
    }
}

impl Servers {
    /// Begins with the next server from now on, because the one at this place did not answer. All connections of this turn are
    /// then left, so that nothing is read from a server that the writer has left.
    pub(crate) fn leave(&self, place: ServerChoice) {
        let ServerChoice { server, count, turn } = place;
        if count > 1 {
            let next = (turn + 1..).find(|turn| turn % count == (server + 1) % count).unwrap_or(turn);
            // Another connection may have noticed it before.
            let _ = self.0.compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Returns true if connections of this turn are left.
    pub(crate) fn has_left(&self, place: ServerChoice) -> bool {
        self.turn() != place.turn
    }

    fn turn(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Connects to the first server that answers and is what the settings demand. The others are given up.
pub(crate) async fn connect(config: &Config, tls: &MakeRustlsConnect, first: &Servers) -> Result<(ConnectedClient, ServerChoice), Error> {
    let mut asked = JoinSet::new();
    let turn = first.turn();
    let mut servers: Vec<(usize, Config)> = servers(config).into_iter().enumerate().collect();
    let count = servers.len();
    servers.rotate_left(turn % count.max(1));
    let mut servers = servers.into_iter();
    let mut failed = None;
    loop {
        let answer = match servers.next() {
            Some((server, settings)) => {
                let tls = tls.clone();
                asked.spawn(async move { (server, settings.connect(tls).await) });
                let Ok(answer) = timeout(NEXT_AFTER, asked.join_next()).await else { continue };
                answer
            }
            None => asked.join_next().await,
        };
        match answer.map(Result::<_, JoinError>::ok) {
            Some(Some((server, Ok(connected)))) => return Ok((connected, ServerChoice { server, count, turn })),
            Some(Some((_, Err(error)))) => failed = Some(error),
            Some(None) => {}
            // Nobody is left to ask.
            None => match failed {
                Some(error) => return Err(error),
                None => return Ok((config.connect(tls.clone()).await?, ServerChoice { turn, ..ServerChoice::default() })),
            },
        }
    }
}

/// Returns the settings for each server alone. An address that the driver refuses is left to it.
fn servers(config: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    let fits = |of: usize| of == 0 || of == count;
    if count < 2 || !fits(hosts.len()) || !fits(addresses.len()) || !(fits(ports.len()) || ports.len() == 1) {
        return vec![config.clone()];
    }
    let server = |at: usize| {
        let mut server = without_servers(config);
        match hosts.get(at) {
            Some(Host::Tcp(name)) => server.host(name),
            Some(Host::Unix(path)) => server.host_path(path),
            None => &mut server,
        };
        addresses.get(at).map(|address| server.hostaddr(*address));
        ports.get(at).or_else(|| ports.first()).map(|port| server.port(*port));
        server
    };
    (0..count).map(server).collect()
}

/// Returns the settings but for those that say where the servers are.
fn without_servers(config: &Config) -> Config {
    let mut left = Config::new();
    config.get_user().map(|user| left.user(user));
    config.get_password().map(|password| left.password(password));
    config.get_dbname().map(|name| left.dbname(name));
    config.get_options().map(|options| left.options(options));
    config.get_application_name().map(|name| left.application_name(name));
    config.get_connect_timeout().map(|limit| left.connect_timeout(*limit));
    config.get_tcp_user_timeout().map(|limit| left.tcp_user_timeout(*limit));
    config.get_keepalives_interval().map(|interval| left.keepalives_interval(interval));
    config.get_keepalives_retries().map(|retries| left.keepalives_retries(retries));
    left.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = "cats?options=-c%20geqo%3Doff&application_name=ensue&sslmode=require&connect_timeout=7&tcp_user_timeout=8\
         &keepalives=1&keepalives_idle=9&keepalives_interval=10&keepalives_retries=11&target_session_attrs=read-write\
         &channel_binding=require&load_balance_hosts=random";

    fn config(hosts: &str) -> Config {
        format!("postgres://ada:secret@{hosts}/{SETTINGS}").parse().unwrap()
    }

    #[test]
    fn each_server_is_asked_with_all_settings() {
        assert_eq!(servers(&config("a:1,b:2,c:3")), ["a:1", "b:2", "c:3"].map(config));
        assert_eq!(servers(&config("a")), [config("a")]);
        let mut addressed = config("a:1,b:2");
        addressed.hostaddr([10, 0, 0, 1].into()).hostaddr([10, 0, 0, 2].into());
        let [one, other] = servers(&addressed).try_into().unwrap();
        assert_eq!((one.get_hostaddrs(), other.get_hostaddrs()), (&addressed.get_hostaddrs()[..1], &addressed.get_hostaddrs()[1..]));
    }

    #[test]
    fn server_that_is_left_is_asked_last() {
        let servers = Servers::default();
        let place = |server| ServerChoice { server, count: 3, turn: servers.turn() };
        let (one, other) = (place(0), place(0));
        servers.leave(one);
        assert_eq!((servers.turn() % 3, servers.has_left(other)), (1, true));
        servers.leave(other);
        assert_eq!(servers.turn() % 3, 1, "both connections were to the same server");
        // The second one was a standby, so the third one answered.
        let third = place(2);
        assert!(!servers.has_left(third));
        servers.leave(third);
        assert_eq!(servers.turn() % 3, 0);
    }

    #[test]
    fn only_server_of_an_address_is_never_left() {
        let servers = Servers::default();
        let place = ServerChoice { server: 0, count: 1, turn: 0 };
        servers.leave(place);
        assert!(!servers.has_left(place));
    }

    #[test]
    fn address_that_the_driver_refuses_is_left_to_it() {
        let mut refused = config("a:1,b:2");
        refused.hostaddr([10, 0, 0, 1].into());
        assert_eq!(servers(&refused), [refused]);
    }
}
