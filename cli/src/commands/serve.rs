//! `ensue serve`: runs a node until it is asked to stop.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ensue_engine::explain::{Explain, Fault};
use ensue_node::config::{BucketAddress, DatabaseAddress, PasswordFrom, Reread, WrittenValues};
use ensue_node::{CertificateNews, Certificates, Config, LogOver, Node, NodeFailure, PacksNews, PageServing, Standby, StartError};
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Asking;
use crate::open_files::{OpenFiles, raise_open_files};
use crate::report::{CommandResult, Exit, Failure, eprint_line, say};
use crate::slow_log::SlowLog;
use crate::style::Style;

/// Start a node.
#[derive(Debug, Args)]
#[command(after_help = "\
Settings come from ensue.yaml, then from ENSUE_… variables, then from these
flags; later ones override earlier ones. At the very first start an admin token
is printed, unless ENSUE_ADMIN_TOKEN or ENSUE_ADMIN_TOKEN_FILE sets one.

Examples:
  ensue serve
  ensue serve --watch        changes of pack files take effect when you save them
  ensue serve --listen 0.0.0.0:3678 --tls-cert cert.pem --tls-key key.pem
  ENSUE_KEY_GITHUB_WEBHOOK_SECRET_FILE=/run/secrets/github ensue serve")]
pub(crate) struct Serve {
    /// The address to listen on [default: 127.0.0.1:3678]. Port 0 chooses a free port.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The data directory. It is created if it does not exist [default: ./ensue-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The PostgreSQL database that has the log, instead of the data directory: `postgres://USER@HOST/DATABASE`. While
    /// another node leads the log, this one waits.
    #[arg(long, value_name = "URL")]
    database: Option<DatabaseAddress>,
    /// The object store for outputs and artifacts, instead of the database: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`,
    /// `az://CONTAINER/PREFIX`, or `file:///FOLDER` for a folder that all nodes mount.
    #[arg(long, value_name = "URL")]
    objects: Option<BucketAddress>,
    /// The folder of packs [default: ./packs].
    #[arg(long, value_name = "DIR")]
    packs: Option<PathBuf>,
    /// The node's settings file [default: `ensue.yaml`, if it exists].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file of the master key, if it is not in its default place.
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// The file of the certificate to serve TLS with, followed by its intermediate certificates.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The file of that certificate's private key.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Stop accepting input if the disk has less free space than this: bytes, or 500MiB, 2GiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    min_free: Option<u64>,
    /// Do not serve the page to browsers.
    #[arg(long)]
    no_page: bool,
    /// Watch the folder of packs, and install each change as soon as it is saved.
    #[arg(long)]
    watch: bool,
    /// Make each commit take this many milliseconds longer, as on a slow disk. Used by `ensue bench
    /// --slow-disk`.
    #[arg(long, hide = true, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    slow_disk_for_a_measurement: Option<u64>,
    /// The format of the node's own messages.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    log_format: LogFormat,
}

/// How the node's own messages are written, all to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The text before the URL in the line that reports where a node listens.
const LISTENS_ON: &str = "listens on";

impl Serve {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let voice = Voice(self.log_format);
        subscribe(self.log_format, asking.output.style_of_errors());
        let open_files = raise_open_files();
        let slow_disk = self.slow_disk_for_a_measurement.map(Duration::from_millis);
        let config = self.settings(open_files, voice).map_err(|failure| voice.log_failure(failure))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| voice.log_failure(Failure::new(format!("the runtime cannot be started: {error}"))))?;
        run_and_leave(runtime, serve(config, slow_disk, voice)).map_err(|failure| voice.log_failure(failure))
    }

    /// Notes the flags that override settings.
    fn note_flags(&self, written: &mut WrittenValues) {
        let text = |path: &PathBuf| Value::from(path.display().to_string());
        for (setting, flag, value) in [
            ("listen", "--listen", self.listen.map(|address| address.to_string().into())),
            ("data", "--data", self.data.as_ref().map(text)),
            ("database", "--database", self.database.as_ref().map(|address| address.masked().into())),
            ("objects", "--objects", self.objects.as_ref().map(|address| address.to_string().into())),
            ("packs_dir", "--packs", self.packs.as_ref().map(text)),
            ("tls.cert", "--tls-cert", self.tls_cert.as_ref().map(text)),
            ("tls.key", "--tls-key", self.tls_key.as_ref().map(text)),
            ("min_free", "--min-free", self.min_free.map(Value::from)),
            ("page", "--no-page", self.no_page.then_some(Value::from(false))),
        ] {
            if let Some(value) = value {
                written.note_flag(setting, flag, value);
            }
        }
    }

    fn settings(self, open_files: OpenFiles, voice: Voice) -> Result<Config, Failure> {
        let mut config = settings(self.config.as_deref())?;
        for variable in &config.unknown_variables {
            voice.warn(variable);
        }
        for warning in &config.otel_warnings {
            voice.warn(warning);
        }
        self.note_flags(&mut config.written);
        config.listen = self.listen.unwrap_or(config.listen);
        config.data = self.data.unwrap_or(config.data);
        if let Some(address) = self.database {
            let address = address.with_place(PasswordFrom::Flag);
            config.set_database(address).map_err(|why| Failure::with(Exit::Usage, format!("the address after --database {why}")))?;
        }
        config.objects = self.objects.or(config.objects);
        config.packs = self.packs.unwrap_or(config.packs);
        let mut hidden = |path: PathBuf| config.named_paths.hide(path);
        let (master_key, cert, key) = (self.master_key.map(&mut hidden), self.tls_cert.map(&mut hidden), self.tls_key.map(&mut hidden));
        config.master_key = master_key.or(config.master_key);
        config.tls.cert = cert.or(config.tls.cert);
        config.tls.key = key.or(config.tls.key);
        config.min_free_bytes = self.min_free.unwrap_or(config.min_free_bytes);
        if self.no_page {
            config.page = PageServing::Off;
        }
        config.supervisor = Some(super::supervisor::command(open_files));
        if let Some(millis) = self.slow_disk_for_a_measurement {
            voice.warn(&format!("each commit takes {millis} ms longer: this node is only for measurements"));
        }
        config.reread = if self.watch { Reread::OnChange } else { config.reread };
        Ok(config)
    }
}

/// How long blocking work may continue after everything else has ended.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(2);

/// Runs a task to its end, without waiting for work on blocking threads that never ends.
pub(super) fn run_and_leave<T>(runtime: tokio::runtime::Runtime, task: impl Future<Output = T>) -> T {
    let done = runtime.block_on(task);
    runtime.shutdown_timeout(LEFTOVER_PATIENCE);
    done
}

/// Reads the settings: from the given file, or `ensue.yaml` if none is named and it exists, and from the
/// environment.
pub(super) fn settings(file: Option<&Path>) -> Result<Config, Failure> {
    const USUAL: &str = "ensue.yaml";
    let file = file.or_else(|| Some(Path::new(USUAL)).filter(|path| path.is_file()));
    // A variable that is not text is not one of ours.
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::read(file, variables).map_err(|error| Failure::from_error(&error))
}

/// How long a node that could not take its log waits before it tries again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The signals that stop a node.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    /// Waits for one of them.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Why a node no longer serves.
enum ServeEnd {
    /// It was asked to stop.
    Asked(CommandResult),
    /// Its log failed, or another node leads it.
    Failed(NodeFailure),
}

async fn serve(mut config: Config, slow_disk: Option<Duration>, voice: Voice) -> CommandResult {
    let unheard = |what: &str, error: std::io::Error| Failure::new(format!("{what} cannot be waited for: {error}"));
    // Registered before the node starts, so that no signal is lost.
    let mut stops = Stops {
        interrupt: signal(SignalKind::interrupt()).map_err(|error| unheard("Ctrl-C", error))?,
        terminate: signal(SignalKind::terminate()).map_err(|error| unheard("SIGTERM", error))?,
    };
    let hangup = config.tls.is_set().then(|| signal(SignalKind::hangup())).transpose();
    let mut hangup = hangup.map_err(|error| unheard("SIGHUP", error))?;
    let standby = Arc::new(Standby::default());
    loop {
        let node = match start_node(&config, slow_disk, (&standby, &mut stops), voice).await {
            Ok(node) => node,
            // A signal ended the wait. That is not a failure.
            Err(_) if standby.has_ended_the_wait() => return Ok(()),
            Err(error) if config.database.is_some() && standby.knows_its_database() && error.fault() == Fault::Unavailable => {
                voice.warn(&format!("{error}; this node tries again"));
                tokio::select! {
                    () = tokio::time::sleep(AGAIN_AFTER) => continue,
                    () = stops.next() => return Ok(()),
                }
            }
            Err(error) => return Err(Failure::from_error(&error)),
        };
        // A node that waits again answers at the same address.
        config.listen = node.address();
        match run_node(node, &config, (&standby, &mut stops, &mut hangup), voice).await {
            ServeEnd::Asked(outcome) => return outcome,
            ServeEnd::Failed(failure) if config.database.is_some() && failure.may_pass() => {
                voice.warn(&format!("{failure}; this node waits until it can lead the log again"));
            }
            ServeEnd::Failed(failure) => {
                return Err(Failure::with(Exit::Internal, failure.to_string()).hint(failure.hint()));
            }
        }
    }
}

/// Starts a node. Reports what it waits for meanwhile. A signal ends a wait; one that comes later is noted in `standby`.
async fn start_node(
    config: &Config,
    slow_disk: Option<Duration>,
    (standby, stops): (&Arc<Standby>, &mut Stops),
    voice: Voice,
) -> Result<Node, StartError> {
    let mut waits_for = standby.waits_for();
    let mut starting = pin!(Node::start_after(config.clone(), over(slow_disk), standby.clone()));
    loop {
        tokio::select! {
            started = &mut starting => return started,
            () = stops.next() => standby.give_up(),
            Ok(()) = waits_for.changed() => match &*waits_for.borrow_and_update() {
                Some(what) => voice.inform(&format!("waiting: {what}; this node takes over when that ends")),
                None => voice.inform(&"the log is free, and this node takes it over"),
            },
        }
    }
}

/// Reports a node that serves, and waits until it is asked to stop, or fails.
async fn run_node(
    mut node: Node,
    config: &Config,
    (standby, stops, hangup): (&Arc<Standby>, &mut Stops, &mut Option<Signal>),
    voice: Voice,
) -> ServeEnd {
    for warning in node.warnings() {
        voice.warn(&warning);
    }
    let scheme = if config.tls.is_set() { "https" } else { "http" };
    voice.inform(&format!(
        "ensue {} {LISTENS_ON} {scheme}://{}, data in {}, packs in {}",
        env!("CARGO_PKG_VERSION"),
        node.address(),
        config.data.display(),
        config.packs.display()
    ));
    if config.page == PageServing::On {
        voice.inform(&format!("for a browser: {scheme}://{}/ui/", node.address()));
    }
    if let Some(token) = node.first_admin_token() {
        voice.inform(&"this is the first start: the token on standard output is an admin token, and is not shown again");
        voice.show_token(&String::from_utf8_lossy(token.reveal()));
    }
    // A signal that came while the node started ends it now.
    let is_to_stop = async {
        if !standby.has_given_up() {
            std::future::pending::<()>().await;
        }
    };
    let packs_news = node.packs_news();
    let certificates = node.certificates().zip(hangup.as_mut());
    tokio::select! {
        () = is_to_stop => {}
        () = stops.next() => {}
        () = report_news(packs_news, voice) => {}
        () = report_certificates(certificates, voice) => {}
        failure = node.wait_for_failure() => {
            node.leave().await;
            return ServeEnd::Failed(failure);
        }
    }
    voice.inform(&"stopping; a second signal ends the node immediately, and the next start recovers the running work");
    ServeEnd::Asked(tokio::select! {
        stopped = node.stop() => stopped.map_err(|failure| Failure::with(Exit::Internal, failure.to_string())),
        () = stops.next() => Exit::Interrupted.now(),
    })
}

/// Wraps the log for a measurement on a slower disk; otherwise returns it unchanged.
fn over(slow_disk: Option<Duration>) -> LogOver {
    match slow_disk {
        Some(delay) => Box::new(move |log| SlowLog::over(log, delay)),
        None => Box::new(|log| log),
    }
}

/// Reports the results of changes in the packs folder until the watch ends.
async fn report_news(news: Option<tokio::sync::mpsc::Receiver<PacksNews>>, voice: Voice) {
    if let Some(mut news) = news {
        while let Some(one) = news.recv().await {
            report_packs(&one, voice);
        }
    }
    std::future::pending().await
}

/// Lets a node that serves TLS use changed certificate files, and reports it, until the node ends. SIGHUP asks for it.
async fn report_certificates(certificates: Option<(Certificates, &mut Signal)>, voice: Voice) {
    let Some((mut certificates, hangup)) = certificates else { return std::future::pending().await };
    loop {
        match certificates
            .next(async {
                let _: Option<()> = hangup.recv().await;
            })
            .await
        {
            CertificateNews::Replaced => voice.inform(&"the TLS certificate was replaced; new connections use the new one"),
            CertificateNews::Unchanged => voice.inform(&"the TLS certificate is unchanged"),
            CertificateNews::Refused(why) => {
                let hint = why.hint().unwrap_or_default();
                voice.warn(&format!("the new TLS certificate is rejected, and the old one stays in use: {why}; {hint}"));
            }
            // A later node may report more.
            _ => {}
        }
    }
}

fn report_packs(news: &PacksNews, voice: Voice) {
    match news {
        PacksNews::Read(read) => {
            for finding in &read.findings {
                voice.inform(finding);
            }
            for (pack, version) in &read.live {
                match version {
                    Some(version) => voice.inform(&format!("pack {pack} {version} is live, in revision {} of the catalog", read.revision)),
                    None => voice.inform(&format!("pack {pack} is removed, in revision {} of the catalog", read.revision)),
                }
            }
            for pack in &read.mended {
                voice.inform(&format!("pack {pack} no longer has errors, and is installed"));
            }
            for pack in &read.refused {
                voice.inform(&format!("pack {pack} has errors and is rejected; its installed version stays active"));
            }
        }
        PacksNews::Failed(why) => voice.warn(why),
        // A later node may report more.
        _ => {}
    }
}

/// The target of a node's reports about itself. The JSON format has these lines regardless of `ENSUE_LOG`.
const OWN_LINES: &str = "ensue_serve";

/// Reports what the node does to the operator: lines for people, or JSON objects like those of the log.
#[derive(Clone, Copy)]
struct Voice(LogFormat);

impl Voice {
    fn inform(self, message: &dyn Display) {
        match self.0 {
            LogFormat::Text => eprint_line(message.to_string()),
            LogFormat::Json => tracing::info!(target: OWN_LINES, "{message}"),
        }
    }

    fn warn(self, message: &dyn Display) {
        match self.0 {
            LogFormat::Text => eprint_line(format!("warning: {message}")),
            LogFormat::Json => tracing::warn!(target: OWN_LINES, "{message}"),
        }
    }

    /// Writes the first admin's token to standard output, and to no log.
    fn show_token(self, token: &str) {
        match self.0 {
            LogFormat::Text => say(format!("export ENSUE_TOKEN={token}")),
            LogFormat::Json => say(serde_json::json!({ "admin_token": token }).to_string()),
        }
    }

    /// If the format is JSON, writes why the node ended as JSON; the failure is then not printed again.
    fn log_failure(self, failure: Failure) -> Failure {
        match self.0 {
            LogFormat::Text => failure,
            LogFormat::Json => {
                tracing::error!(target: OWN_LINES, hint = failure.hint_text(), "{failure}");
                failure.suppress_report()
            }
        }
    }
}

/// Writes the node's own messages to standard error. `ENSUE_LOG` sets the level, for example `debug` or
/// `ensue_node=trace`.
fn subscribe(format: LogFormat, style: Style) {
    use tracing_subscriber::EnvFilter;
    let filter = std::env::var("ENSUE_LOG").ok().and_then(|text| text.parse::<EnvFilter>().ok()).unwrap_or_else(|| EnvFilter::new("warn"));
    let filter = match format {
        LogFormat::Text => filter,
        LogFormat::Json => filter.add_directive(format!("{OWN_LINES}=info").parse().expect("a target and a level are a directive")),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An existing subscriber is a test's, and just as good.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(style != Style::PLAIN).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Parses a number of bytes: `1048576`, `500MiB`, `2GiB`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err("write a number of bytes, or a number with KiB, MiB, GiB or TiB".into()),
    };
    let count = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    count.ok_or_else(|| "write a number of bytes, or a number with KiB, MiB, GiB or TiB".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn runtime_ends_even_if_blocking_work_never_does() {
        let (ended, end) = std::sync::mpsc::sync_channel(1);
        let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            let begun = Arc::new(tokio::sync::Notify::new());
            let task = async {
                let begins = begun.clone();
                tokio::task::spawn_blocking(move || {
                    begins.notify_one();
                    held.recv()
                });
                begun.notified().await;
            };
            run_and_leave(runtime, task);
            ended.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(60)).expect("the runtime waits for work that never ends");
        drop(release);
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        assert_eq!([size("0"), size("512MiB"), size("2GiB")], [Ok(0), Ok(512 << 20), Ok(2 << 30)]);
        for bad in ["", "MiB", "1.5GiB", "2GB", "-1", "99999999999TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
