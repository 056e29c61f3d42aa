//! The commands of the command line, one file each.
//!
//! This file holds only their names and what they have in common.

mod anchors;
mod artifacts;
mod at_rest;
mod audit;
mod auth;
mod bench;
mod bulk_change;
mod catalog;
mod check;
mod clock;
mod completions;
mod connections;
mod cron;
mod dead_letters;
mod demo;
mod doctor;
mod enforcements;
mod eval;
mod events;
mod executions;
mod explain;
mod grants;
mod hooks;
mod identities;
mod init;
mod inquiries;
mod keys;
mod lint;
mod locks;
mod log;
mod login;
mod man;
mod one_execution;
mod overview;
mod pack;
mod parked;
mod password;
mod profiles;
mod queues;
mod replay;
mod restore;
mod roles;
mod rules;
mod run;
mod schema;
pub(crate) mod search;
mod sensors;
mod series;
mod serve;
mod sessions;
mod settings;
mod status;
mod step_progress;
mod supervisor;
mod timers;
mod tokens;
mod top;
mod usage;
mod vars;
mod views;
mod watch_execution;
mod whoami;
mod why;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

pub(crate) use self::overview::command_line;
use crate::ago::{earlier_of, moment_of};
use crate::client::{Client, DEFAULT_SERVER, Token, variable};
use crate::output::{GLOBAL_OPTIONS, Output};
use crate::profiles::{ProfileFolder, ProfileName};
use crate::progress::TerminalProgress;
use crate::redraw::{self, RefreshOn};
use crate::report::{CommandResult, Exit, Failure};
use crate::table;
use crate::trust::{CA_VARIABLE, CLIENT_CERT_VARIABLE, Trust};

/// Event-driven automation on an event-sourced engine.
///
/// Rules turn events into actions, and you can always see why.
#[derive(Debug, Parser)]
#[command(name = "ensue", version, max_term_width = 80, arg_required_else_help = true, after_long_help = FIRST_STEPS)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    command: Command,
}

impl CommandLine {
    /// Returns how answers are printed and errors are reported.
    pub(crate) fn output(&self) -> Output {
        self.asking.output
    }
}

const FIRST_STEPS: &str = "\
First steps:
  ensue demo                     see a node work, in seconds, without set-up
  ensue init my-automation       create a pack with one rule and one test
  ensue check packs/             list every error with its file and line
  ensue serve --watch            start a node on ./ensue-data and ./packs

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 no node answers,
4 not allowed, 5 not found, 6 rejected, 7 try again later, 70 internal error.";

/// What every command takes that asks a node.
#[derive(Debug, Args)]
pub(crate) struct Asking {
    /// The address of the node [env: ENSUE_SERVER].
    ///
    /// The default is the address of the profile, or http://127.0.0.1:3678.
    #[arg(long, global = true, value_name = "URL", help_heading = GLOBAL_OPTIONS)]
    server: Option<String>,
    /// The name of a profile [env: ENSUE_PROFILE].
    #[arg(long, global = true, value_name = "NAME", help_heading = GLOBAL_OPTIONS)]
    profile: Option<ProfileName>,
    /// The file of the authorities that may have issued the node's certificate [env: ENSUE_CA].
    ///
    /// The default is that of the profile, or the authorities that this machine trusts.
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL_OPTIONS)]
    ca: Option<PathBuf>,
    /// The file of your own certificate and its key, if the node requires one [env: ENSUE_CLIENT_CERT].
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL_OPTIONS)]
    client_cert: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Asking {
    /// Creates a client of the node: the one named by address or profile, or the default one.
    fn client(&self) -> Result<Client, Failure> {
        let folder = ProfileFolder::of_environment();
        let profiles = || Ok(folder.as_ref().map(ProfileFolder::read).transpose()?.unwrap_or_default());
        let (name, profiles, by) = match self.node_choice()? {
            Some(NodeChoice::Address(server)) => return Client::new(&server, token_for(&server)?, &self.trust()?),
            Some(NodeChoice::Profile(name, by)) => (name, profiles()?, by),
            None => {
                let profiles = profiles()?;
                let Some(name) = profiles.current.clone() else {
                    return Client::new(DEFAULT_SERVER, token_for(DEFAULT_SERVER)?, &self.trust()?);
                };
                (name, profiles, ProfileOrigin::Setting)
            }
        };
        let profile = profiles.find(&name)?;
        let own = || Ok(folder.as_ref().map(|folder| Token::of_profile(folder, &name)).transpose()?.flatten());
        let token = match by {
            ProfileOrigin::Flag => match own()? {
                Some(token) => Some(token),
                None => Token::of_environment()?,
            },
            // The profile's token, which may be unreadable, does not matter then.
            ProfileOrigin::Setting => match Token::of_environment()? {
                Some(token) => Some(token.instead_of(&name)),
                None => own()?,
            },
        };
        let token = match token {
            Some(token) => Some(token),
            None => Token::of_login(&profile.server)?,
        };
        Client::new(&profile.server, token, &self.trust()?.or(&profile.trust()))
    }

    /// Returns the certificate files that flags and variables name.
    fn trust(&self) -> Result<Trust, Failure> {
        let of_variable = |name: &str| Ok(variable(name)?.map(PathBuf::from));
        let variables = Trust { ca: of_variable(CA_VARIABLE)?, client_cert: of_variable(CLIENT_CERT_VARIABLE)? };
        Ok(Trust { ca: self.ca.clone(), client_cert: self.client_cert.clone() }.or(&variables))
    }

    /// Returns how the node was named, if it was. A flag takes precedence over every variable, so that typed
    /// options win.
    fn node_choice(&self) -> Result<Option<NodeChoice>, Failure> {
        if self.server.is_some() && self.profile.is_some() {
            // Clap does not detect this if one is before the command and the other after it.
            return Err(Failure::with(Exit::Usage, "`--server` and `--profile` cannot be used together: both name the node")
                .hint("leave out one of them"));
        }
        if let Some(server) = &self.server {
            return Ok(Some(NodeChoice::Address(server.clone())));
        }
        if let Some(name) = &self.profile {
            return Ok(Some(NodeChoice::Profile(name.clone(), ProfileOrigin::Flag)));
        }
        if let Some(server) = variable("ENSUE_SERVER")? {
            return Ok(Some(NodeChoice::Address(server)));
        }
        let Some(name) = variable("ENSUE_PROFILE")? else { return Ok(None) };
        let name = name.parse().map_err(|why| Failure::with(Exit::Usage, format!("ENSUE_PROFILE: {why}")))?;
        Ok(Some(NodeChoice::Profile(name, ProfileOrigin::Setting)))
    }
}

/// Returns the token of the environment, or else the session of a login at a node.
fn token_for(server: &str) -> Result<Option<Token>, Failure> {
    match Token::of_environment()? {
        Some(token) => Ok(Some(token)),
        None => Token::of_login(server),
    }
}

/// How a node is named.
enum NodeChoice {
    /// By its address.
    Address(String),
    /// By a profile.
    Profile(ProfileName, ProfileOrigin),
}

/// What named a profile. This decides whether its token or that of the environment takes precedence.
enum ProfileOrigin {
    /// The flag: typing a profile's name selects its token too.
    Flag,
    /// A variable, or what `ensue profiles use` chose.
    Setting,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Init(init::Init),
    Check(check::Check),
    Lint(lint::Lint),
    #[command(subcommand)]
    Pack(pack::PackCommand),
    Schema(schema::Schema),
    Eval(eval::Eval),
    Cron(cron::Cron),
    Explain(explain::Explain),
    Serve(serve::Serve),
    #[command(subcommand)]
    Keys(keys::Keys),
    #[command(subcommand)]
    Vars(vars::Vars),
    #[command(subcommand)]
    Tokens(tokens::Tokens),
    #[command(subcommand)]
    Identities(identities::Identities),
    #[command(subcommand)]
    Roles(roles::Roles),
    #[command(subcommand)]
    Grants(grants::Grants),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    Auth(auth::Auth),
    Whoami(whoami::Whoami),
    Usage(usage::Usage),
    Login(login::LoginArgs),
    Logout(login::Logout),
    #[command(subcommand)]
    Password(password::Password),
    #[command(subcommand)]
    Sessions(sessions::Sessions),
    Hooks(hooks::Hooks),
    #[command(subcommand)]
    Events(events::Events),
    #[command(subcommand)]
    Enforcements(enforcements::Enforcements),
    #[command(subcommand)]
    Executions(executions::Executions),
    #[command(subcommand)]
    Inquiries(inquiries::Inquiries),
    Run(run::RunArgs),
    Why(why::Why),
    Search(search::Search),
    Replay(replay::Replay),
    #[command(subcommand)]
    Packs(catalog::Packs),
    #[command(subcommand)]
    Actions(catalog::Actions),
    #[command(subcommand)]
    Triggers(catalog::Triggers),
    #[command(subcommand)]
    Sensors(sensors::Sensors),
    Connections(connections::Connections),
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    #[command(subcommand)]
    Timers(timers::Timers),
    #[command(subcommand)]
    Locks(locks::Locks),
    #[command(subcommand)]
    Queues(queues::Queues),
    #[command(subcommand)]
    Clock(clock::ClockCommand),
    #[command(subcommand)]
    Parked(parked::ParkedCommand),
    #[command(subcommand)]
    Profiles(profiles::Profiles),
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
    Restore(restore::Restore),
    Log(log::Log),
    #[command(subcommand)]
    Views(views::Views),
    Doctor(doctor::Doctor),
    Settings(settings::Settings),
    Status(status::StatusArgs),
    Top(top::Top),
    Bench(bench::Bench),
    Completions(completions::Completions),
    Man(man::Man),
    #[command(hide = true)]
    Supervisor(supervisor::Supervisor),
    /// Print the release.
    #[command(
        hide = true,
        after_help = "\
Examples:
  ensue version
  ensue version -o json"
    )]
    Version,
}

/// Runs the command.
pub(crate) fn run(line: CommandLine) -> CommandResult {
    let CommandLine { asking, command } = line;
    match command {
        Command::Demo(demo) => demo.run(&asking),
        Command::Init(init) => init.run(),
        Command::Check(check) => check.run(&asking),
        Command::Lint(lint) => lint.run(&asking),
        Command::Pack(pack) => pack.run(&asking),
        Command::Schema(schema) => schema.run(&asking),
        Command::Eval(eval) => wait_for(eval.run(&asking)),
        Command::Cron(cron) => cron.run(&asking),
        Command::Explain(explain) => explain.run(&asking),
        Command::Serve(serve) => serve.run(&asking),
        Command::Keys(keys) => keys.run(&asking),
        Command::Vars(vars) => vars.run(&asking),
        Command::Tokens(tokens) => tokens.run(&asking),
        Command::Identities(identities) => identities.run(&asking),
        Command::Roles(roles) => roles.run(&asking),
        Command::Grants(grants) => grants.run(&asking),
        Command::Audit(audit) => audit.run(&asking),
        Command::Auth(auth) => auth.run(&asking),
        Command::Whoami(whoami) => whoami.run(&asking),
        Command::Usage(usage) => usage.run(&asking),
        Command::Login(login) => login.run(&asking),
        Command::Logout(logout) => logout.run(&asking),
        Command::Password(password) => password.run(&asking),
        Command::Sessions(sessions) => sessions.run(&asking),
        Command::Hooks(hooks) => wait_for(hooks.run(&asking)),
        Command::Events(events) => wait_for(events.run(&asking)),
        Command::Enforcements(enforcements) => wait_for(enforcements.run(&asking)),
        Command::Executions(executions) => wait_for(executions.run(&asking)),
        Command::Inquiries(inquiries) => wait_for(inquiries.run(&asking)),
        Command::Run(run) => wait_for(run.run(&asking)),
        Command::Why(why) => wait_for(why.run(&asking)),
        Command::Search(search) => search.run(&asking),
        Command::Replay(replay) => wait_for(replay.run(&asking)),
        Command::Packs(packs) => wait_for(packs.run(&asking)),
        Command::Actions(actions) => wait_for(actions.run(&asking)),
        Command::Triggers(triggers) => wait_for(triggers.run(&asking)),
        Command::Sensors(sensors) => wait_for(sensors.run(&asking)),
        Command::Connections(connections) => wait_for(connections.run(&asking)),
        Command::Rules(rules) => wait_for(rules.run(&asking)),
        Command::Timers(timers) => wait_for(timers.run(&asking)),
        Command::Locks(locks) => wait_for(locks.run(&asking)),
        Command::Queues(queues) => wait_for(queues.run(&asking)),
        Command::Clock(clock) => wait_for(clock.run(&asking)),
        Command::Parked(parked) => wait_for(parked.run(&asking)),
        Command::DeadLetters(letters) => wait_for(letters.run(&asking)),
        Command::Profiles(profiles) => profiles.run(&asking),
        Command::Restore(restore) => restore.run(&asking),
        Command::Log(log) => log.run(&asking),
        Command::Views(views) => views.run(&asking),
        Command::Doctor(doctor) => doctor.run(&asking),
        Command::Settings(settings) => wait_for(settings.run(&asking)),
        Command::Status(status) => wait_for(status.run(&asking)),
        Command::Top(top) => wait_for(top.run(&asking)),
        Command::Bench(bench) => bench::run(bench, &asking),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
        Command::Supervisor(supervisor) => supervisor.run(),
        Command::Version => {
            let release = env!("CARGO_PKG_VERSION");
            asking.output.print_one(&json!({ "release": release }), |_| format!("ensue {release}"));
            Ok(())
        }
    }
}

/// Waits for requests to a node on this thread: it needs only one request at a time.
fn wait_for(asked: impl Future<Output = CommandResult>) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format!("the runtime cannot be started: {error}")))?.block_on(asked)
}

/// How much of a list is asked for.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// How many items to show.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// Where to continue: the `next` of the previous page.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl PageArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.cursor.clone().map(|cursor| ("cursor", cursor)));
        query
    }
}

/// In which order a list of what happened is read.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Sorting {
    /// The order [default: newest first].
    #[arg(long, value_enum, value_name = "ORDER", allow_hyphen_values = true)]
    sort: Option<Sort>,
}

/// An order, named as the API does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// The newest first.
    #[value(name = "-position")]
    NewestFirst,
    /// The oldest first.
    #[value(name = "position")]
    OldestFirst,
}

impl Sorting {
    fn query(self) -> Option<(&'static str, String)> {
        let order = match self.sort? {
            Sort::NewestFirst => "-position",
            Sort::OldestFirst => "position",
        };
        Some(("sort", order.to_owned()))
    }
}

/// How much of a list of what happened is asked for, and in which order.
#[derive(Debug, Args)]
pub(crate) struct SortedPage {
    #[command(flatten)]
    sorting: Sorting,
    #[command(flatten)]
    page: PageArgs,
}

impl SortedPage {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = self.page.query();
        query.extend(self.sorting.query());
        query
    }
}

/// From when on, and until when.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TimeRangeArgs {
    /// Only items since this time, or since so long ago (`30d`, `12h`).
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<Timestamp>,
    /// Only items before this time.
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<Timestamp>,
}

impl TimeRangeArgs {
    fn query(self) -> impl Iterator<Item = (&'static str, String)> {
        [("since", self.since), ("until", self.until)].into_iter().filter_map(|(name, time)| Some((name, time?.to_string())))
    }
}

/// The earlier position that something is shown at.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AsOf {
    /// Show it as it was at this position of the log, at this time, or so long ago (`2h`).
    #[arg(long, value_name = "POSITION|TIME", value_parser = earlier_of)]
    as_of: Option<String>,
}

impl AsOf {
    /// Returns the query of a read; it is empty if the present is shown.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        self.as_of.iter().map(|at| ("as_of", at.clone())).collect()
    }

    fn is_now(&self) -> bool {
        self.as_of.is_none()
    }
}

/// Whether something is shown once.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Watching {
    /// Update the output on every change, until Ctrl-C.
    #[arg(long, short)]
    watch: bool,
}

/// Prints a page of the list at the path, or prints it again each time it changes.
async fn print_page(asking: &Asking, client: &Client, list: &List, watching: Watching) -> CommandResult {
    if watching.watch {
        let look = async || client.get(list.path, &list.query).await;
        return redraw::as_it_changes(client, asking.output, list.refresh_on, look, |answer| table::page(answer, list.columns)).await;
    }
    print_list(asking, client, list.path, &list.query, list.columns).await
}

/// Returns the values of a filter as the API takes them.
pub(crate) fn several(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| values.join(","))
}

/// Prints a page of the list at the path.
async fn print_list(asking: &Asking, client: &Client, path: &str, query: &[(&str, String)], columns: &[table::Column]) -> CommandResult {
    let answer = client.get(path, query).await?;
    asking.output.print_list(&answer, columns);
    print_next_cursor(&answer);
    Ok(())
}

/// A page of a list that can be watched.
struct List {
    path: &'static str,
    query: Vec<(&'static str, String)>,
    columns: &'static [table::Column],
    refresh_on: RefreshOn,
}

/// Prints on standard error how to continue if a list is longer than what was shown.
fn print_next_cursor(answer: &Value) {
    if let Some(next) = answer["next"].as_str() {
        crate::report::eprint_line(format!("there are more items: --cursor {next}"));
    }
}

/// Starts a job of the node that goes through the log, and waits for its end. Returns the job.
async fn job(client: &Client, path: &str, what: &'static str) -> Result<Value, Failure> {
    const PAUSE: Duration = Duration::from_millis(200);
    client.post(path, &json!({})).await?;
    let head = client.get("/log/head", &[]).await?;
    let progress = TerminalProgress::through_records(what, head["position"].as_u64().unwrap_or_default());
    loop {
        let job = client.get(path, &[]).await?;
        progress.at(job["position"].as_u64().unwrap_or_default());
        if job["status"] != "running" {
            return Ok(job);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns a failure for a job that did not succeed.
fn ended_well(job: &Value) -> CommandResult {
    match job["status"].as_str() {
        Some("succeeded") => Ok(()),
        Some(_) | None => Err(Failure::new(table::text(job, "why"))),
    }
}

/// Reads a file, or standard input if the name is `-`, up to a limit.
fn read_input(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let unreadable = |error: std::io::Error| Failure::with(Exit::Refused, format!("`{}` cannot be read: {error}", path.display()));
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        std::fs::File::open(path).map_err(unreadable)?.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > bytes_max {
        return Err(Failure::with(Exit::Refused, format!("`{}` is larger than {bytes_max} bytes", path.display())));
    }
    Ok(bytes)
}

/// Reads a JSON document from a file, or from standard input if the name is `-`.
fn read_json(path: &Path) -> Result<Value, Failure> {
    /// The most that a node accepts.
    const BYTES_MAX: u64 = 4 * 1024 * 1024;
    let bytes = read_input(path, BYTES_MAX)?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::with(Exit::Refused, format!("`{}` is not JSON: {error}", path.display())))
}

/// Parses a JSON document that was typed on the command line, if it begins like an object or a list;
/// otherwise reads it from a file or standard input.
fn json_or_file(given: &str) -> Result<Value, Failure> {
    if !given.trim_start().starts_with(['{', '[']) {
        let hint = r#"give a file, `-` for standard input, or the JSON itself: '{"name": "Ana"}'"#;
        return read_json(Path::new(given)).map_err(|failure| failure.hint(hint));
    }
    serde_json::from_str(given).map_err(|error| Failure::with(Exit::Refused, format!("the given text is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn help_fits_into_80_columns() {
        fn too_wide(command: &mut clap::Command) -> Vec<String> {
            let help = command.render_long_help().to_string();
            let mut wide: Vec<String> = help.lines().filter(|line| line.chars().count() > 80).map(str::to_owned).collect();
            wide.extend(command.get_subcommands_mut().flat_map(too_wide));
            wide
        }
        let mut line = command_line();
        line.build();
        assert_eq!(too_wide(&mut line), Vec::<String>::new());
    }

    /// Filters of a command, each with a value.
    type Filters = &'static [(&'static str, &'static str)];

    /// The commands with filters. Each filter can be combined with every other.
    const FILTERS: [(&[&str], Filters); 8] = {
        const LETTERS: &[(&str, &str)] =
            &[("--sensor", "a.b"), ("--action", "a.b"), ("--rule", "a.b"), ("--since", "2h"), ("--until", "1h")];
        const EXECUTIONS: &[(&str, &str)] = &[
            ("--status", "failed"),
            ("--action", "a.b"),
            ("--rule", "a.b"),
            ("--label", "site=eu"),
            ("--error-kind", "network"),
            ("--correlation", "1"),
            ("--parent", "1"),
            ("--since", "2h"),
            ("--until", "1h"),
        ];
        [
            (&["dead-letters", "list"], LETTERS),
            (&["dead-letters", "retry"], LETTERS),
            (&["dead-letters", "dismiss"], LETTERS),
            (&["executions", "list"], EXECUTIONS),
            (&["executions", "cancel"], EXECUTIONS),
            (&["executions", "pause"], EXECUTIONS),
            (&["executions", "resume"], EXECUTIONS),
            (&["executions", "rerun"], EXECUTIONS),
        ]
    };

    #[test]
    fn filters_combine_in_all_pairs() {
        for (command, filters) in FILTERS {
            for (index, one) in filters.iter().enumerate() {
                for other in &filters[index + 1..] {
                    let line = [&["ensue"], command, &[one.0, one.1, other.0, other.1]].concat();
                    let parsed = CommandLine::try_parse_from(&line);
                    // A delivery at a sensor has neither an action nor a rule: nothing would match both.
                    let fits = !(one.0 == "--sensor" && matches!(other.0, "--action" | "--rule"));
                    assert_eq!(parsed.is_ok(), fits, "{line:?}: {:?}", parsed.err().map(|error| error.to_string()));
                }
            }
            if !command.ends_with(&["list"]) {
                let with_id = [&["ensue"], command, &["019c", filters[3].0, filters[3].1]].concat();
                assert!(CommandLine::try_parse_from(&with_id).is_err(), "{with_id:?}: an id or filters");
                let with_nothing = [&["ensue"], command].concat();
                assert!(CommandLine::try_parse_from(&with_nothing).is_err(), "{with_nothing:?}");
            }
        }
    }

    #[test]
    fn every_history_list_accepts_since_and_until() {
        for list in ["events", "enforcements", "executions", "inquiries", "dead-letters", "timers"] {
            let line = ["ensue", list, "list", "--since", "1h", "--until", "2026-03-28T09:00:00Z"];
            assert!(CommandLine::try_parse_from(line).is_ok(), "{list}");
        }
    }

    #[test]
    fn cron_takes_an_expression_with_and_without_next() {
        for line in [
            &["ensue", "cron", "0 2 * * *"][..],
            &["ensue", "cron", "next", "0 2 * * *", "--zone", "UTC"],
            &["ensue", "cron", "@daily", "-o", "json"],
        ] {
            assert!(CommandLine::try_parse_from(line).is_ok(), "{line:?}");
        }
        assert!(CommandLine::try_parse_from(["ensue", "cron"]).is_err());
    }

    #[test]
    fn json_is_typed_or_read_from_a_file() {
        assert_eq!(json_or_file(" {\"n\": 1}").unwrap(), json!({ "n": 1 }));
        assert_eq!(json_or_file("{\"n\": }").unwrap_err().exit(), Exit::Refused);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[1]").unwrap();
        assert_eq!(json_or_file(&file.path().display().to_string()).unwrap(), json!([1]));
        let failure = json_or_file("no such file").unwrap_err();
        assert!(failure.hint_text().is_some_and(|hint| hint.contains("{\"")), "{failure}");
    }

    #[test]
    fn misspelled_command_gets_the_nearest_one_suggested() {
        let error = CommandLine::try_parse_from(["ensue", "exections", "list"]).unwrap_err().to_string();
        assert!(error.contains("executions"), "{error}");
    }
}
