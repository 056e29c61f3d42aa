//! One turn of each kind of search.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Find, Kind, Turn};
use crate::jobs::{self, EndedJob, Job};
use crate::programs::{self, TestProgram};
use crate::{Report, Step, cargo, gate, openapi, read_root, root, succeeds};

/// The fuzz targets: the folder of the seeds of each, and its words.
pub(crate) const FUZZING: [[&str; 3]; 5] = [
    ["parse", "fuzz/seeds/expressions", "-dict=fuzz/expressions.dict"],
    ["evaluate", "fuzz/seeds/expressions", "-dict=fuzz/expressions.dict"],
    ["yaml", "fuzz/seeds/yaml", "-dict=fuzz/yaml.dict"],
    ["jwt", "fuzz/seeds/jwt", "-dict=fuzz/json.dict"],
    ["jwks", "fuzz/seeds/jwks", "-dict=fuzz/json.dict"],
];

/// How the search for planted bugs begins the line of a bug that no world showed, and of one for which no world could be judged.
const NOT_FOUND: &str = "NOT FOUND    : ";
const NOT_JUDGED: &str = "NOT JUDGED   : ";

/// How long a turn may take: the last one may end so much after the time.
const TURN_MAX: Duration = Duration::from_secs(600);

/// What is tried once in an exploration.
const ONCE: [Step; 3] = [
    // The profile builds the expressions as for users: another one uses the stack differently.
    Step {
        name: "hostile inputs, in release",
        arguments: &["test", "--profile", "hostile", "--locked", "-p", "ensue-expression", "--test", "hostile"],
        variables: &[],
    },
    // As tests, so that they use the crates that are built already.
    Step { name: "examples", arguments: &["test", "--workspace", "--examples", "--no-run", "--locked"], variables: &[] },
    Step { name: "advisories", arguments: &["deny", "--locked", "check", "advisories"], variables: &[] },
];

/// The state of an exploration: where each kind continues.
pub(super) struct Search {
    pub(super) programs: Vec<TestProgram>,
    seed: u64,
    /// How many turns each kind had.
    properties: usize,
    schedules: usize,
    faults: usize,
    fuzzers: usize,
    /// How many planted bugs were looked for.
    mutants: usize,
}

impl Search {
    /// Builds what is needed.
    pub(super) fn begin(seed: u64, only: Option<Kind>) -> Result<Self> {
        eprintln!("explore: build");
        let programs = programs::build()?;
        if only.is_none_or(|only| only == Kind::Mutants) {
            // Without time to look for bugs, it builds the copy with all of them. If that fails, its first turn says so.
            let mut command = Command::new(programs::binary("mutants")?);
            command.args(["--minutes", "0"]);
            run("mutants", command, Instant::now() + TURN_MAX * 2)?;
        }
        Ok(Self { programs, seed, properties: 0, schedules: 0, faults: 0, fuzzers: 0, mutants: 0 })
    }

    /// Returns the next seed.
    pub(super) fn next_seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    pub(super) fn turn(&mut self, kind: Kind, deadline: Instant) -> Result<Turn> {
        let deadline = deadline.max(Instant::now()) + TURN_MAX;
        match kind {
            Kind::Worlds => self.worlds(&["--minutes", "1"], deadline),
            Kind::Properties => self.properties(deadline),
            Kind::Mutants => self.mutants(&["--minutes", "2"], deadline),
            Kind::Openapi => self.openapi(),
            Kind::Schedules => self.schedules(deadline),
            Kind::Faults => self.faults(deadline, &[]),
            Kind::Fuzzers => self.fuzzers("60"),
            Kind::Once => once(),
        }
    }

    /// Runs fresh worlds.
    pub(super) fn worlds(&mut self, arguments: &[&str], deadline: Instant) -> Result<Turn> {
        // Each turn begins a million seeds later, so that no world runs twice.
        let from = self.next_seed().wrapping_mul(1_000_000) % 1_000_000_000_000;
        let mut command = Command::new(programs::binary("sim")?);
        command.args(["--from", &from.to_string()]).args(arguments);
        let ended = run("worlds", command, deadline)?;
        let text = std::fs::read_to_string(&ended.log)?;
        let tried = text.lines().find_map(|line| line.strip_prefix("sim: ")?.split_once(" seeds in ")?.0.parse().ok());
        let finds = text.lines().filter_map(find_of_a_world).collect();
        Ok(Turn { tried: tried.unwrap_or(0), finds, end: None })
    }

    /// Runs the property tests of the next program with a fresh seed.
    fn properties(&mut self, deadline: Instant) -> Result<Turn> {
        let with: Vec<(TestProgram, Vec<String>)> = self
            .programs
            .iter()
            .filter_map(|program| Some((program.clone(), property_tests(program).ok().filter(|names| !names.is_empty())?)))
            .collect();
        let Some((program, names)) = with.get(self.properties % with.len().max(1)) else { return Ok(ended_turn("there are none")) };
        self.properties += 1;
        let seed = self.next_seed();
        let mut command = program.command();
        command.arg("--exact").args(names).env("PROPTEST_RNG_SEED", seed.to_string()).env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
        let ended = run("properties", command, deadline)?;
        let finds = ended.output.failed.iter().map(|name| Find {
            what: format!("the property `{name}` of {} does not hold with seed {seed}", program.package),
            repeat: format!("PROPTEST_RNG_SEED={seed} cargo test -p {} {} -- --exact {name}", program.package, program.selection),
            keep: Some(format!("cargo verify keep property {} {name} {seed}", program.package)),
        });
        Ok(Turn { tried: names.len(), finds: finds.collect(), end: None })
    }

    /// Looks for the next planted bugs.
    pub(super) fn mutants(&mut self, arguments: &[&str], deadline: Instant) -> Result<Turn> {
        let mut command = Command::new(programs::binary("mutants")?);
        command.args(["--skip", &self.mutants.to_string()]).args(arguments);
        let ended = run("mutants", command, deadline)?;
        let text = std::fs::read_to_string(&ended.log)?;
        let finds: Vec<Find> = text.lines().filter_map(find_of_a_bug).collect();
        let looked_for = |line: &&str| ["found in ", NOT_FOUND, NOT_JUDGED].iter().any(|word| line.starts_with(word));
        let tried = text.lines().filter(looked_for).count();
        self.mutants += tried;
        match (&ended.failure, tried) {
            (Some(why), 0) => Ok(ended_with(&ended, why)),
            (_, tried) => {
                let is_over = text.contains("\nmutants: ") && !text.contains("the time is over");
                Ok(Turn { tried, finds, end: is_over.then(|| "all were looked for".to_owned()) })
            }
        }
    }

    /// Sends random requests to a node.
    fn openapi(&mut self) -> Result<Turn> {
        let seed = self.next_seed() % u64::from(u32::MAX);
        let mut report = Report::default();
        let outcome = openapi::check(&mut report, openapi::Kind::Seeds(vec![seed]));
        let finds = outcome.err().map(|error| Find {
            what: format!("random requests with seed {seed}: {error:#}"),
            repeat: format!("cargo verify explore --only openapi --minutes 1 --seed {}", seed - 1),
            keep: Some(format!("cargo verify keep openapi {seed}")),
        });
        Ok(Turn { tried: 1, finds: finds.into_iter().collect(), end: None })
    }

    /// Runs random schedules on two PostgreSQL servers, or kills and promotes servers.
    fn schedules(&mut self, deadline: Instant) -> Result<Turn> {
        let seed = self.next_seed();
        let filter = ["schedule", "promoted", "killed"][self.schedules % 3];
        self.schedules += 1;
        let Some(program) = self.program("ensue-postgres", "main") else { return Ok(ended_turn("its tests were not built")) };
        let mut command = program.command();
        command.arg(filter).env("ENSUE_SCHEDULES", "4").env("ENSUE_SCHEDULES_SEED", seed.to_string());
        let ended = run("schedules", command, deadline)?;
        let finds = ended.output.failed.iter().map(|name| Find {
            what: format!("the test `{name}` fails with seed {seed}"),
            repeat: format!("ENSUE_SCHEDULES=4 ENSUE_SCHEDULES_SEED={seed} cargo test -p ensue-postgres --test main -- --exact {name}"),
            keep: (filter == "schedule").then(|| format!("cargo verify keep schedule {seed}")),
        });
        Ok(Turn { tried: if filter == "schedule" { 4 } else { 1 }, finds: finds.collect(), end: None })
    }

    /// Runs the next test of faults of the machine.
    pub(super) fn faults(&mut self, deadline: Instant, variables: &[(&str, &str)]) -> Result<Turn> {
        let Some(program) = self.program("ensue", "main").cloned() else { return Ok(ended_turn("its tests were not built")) };
        let names: Vec<String> = names_of(&program)?.into_iter().filter(|name| name.starts_with("faults::")).collect();
        let Some(name) = names.get(self.faults % names.len().max(1)) else { return Ok(ended_turn("there are none")) };
        self.faults += 1;
        let seed = self.next_seed();
        let mut command = program.command();
        command.args(["--exact", name]).env("ENSUE_FAULTS_SEED", seed.to_string()).envs(variables.iter().copied());
        let ended = run("faults", command, deadline)?;
        let finds = ended.output.failed.iter().map(|name| Find {
            what: format!("the test `{name}` fails with seed {seed}"),
            repeat: format!("ENSUE_FAULTS_SEED={seed} cargo test -p ensue --test main -- --exact {name}"),
            keep: None,
        });
        Ok(Turn { tried: 1, finds: finds.collect(), end: None })
    }

    /// Returns how many tests of faults there are.
    pub(super) fn fault_tests(&self) -> Result<usize> {
        let Some(program) = self.program("ensue", "main") else { return Ok(0) };
        Ok(names_of(program)?.iter().filter(|name| name.starts_with("faults::")).count())
    }

    /// Runs the next fuzzer, which adds the inputs that it finds interesting to its corpus.
    pub(super) fn fuzzers(&mut self, seconds: &str) -> Result<Turn> {
        if !succeeds(&["fuzz", "--version"]) {
            return Ok(ended_turn("cargo-fuzz is not installed: `.ci/run explore` installs it"));
        }
        let [target, seeds, words] = FUZZING[self.fuzzers % FUZZING.len()];
        self.fuzzers += 1;
        let seed = self.next_seed() % u64::from(u32::MAX) + 1;
        let corpus = format!("fuzz/corpus/{target}");
        std::fs::create_dir_all(root().join(&corpus)).context("the folder for what the fuzzer finds interesting")?;
        // Without a sanitizer, which stable Rust does not have: our code has no `unsafe`, and panics are found all the same.
        let mut command = cargo(&["fuzz", "run", "-s", "none", target, &corpus, seeds, "--", words]);
        command.current_dir(root()).args(["-timeout=10", "-rss_limit_mb=1024", "-verbosity=0"]);
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-seed={seed}"));
        let ended = run("fuzzers", command, Instant::now() + TURN_MAX * 2)?;
        let text = String::from_utf8_lossy(&std::fs::read(&ended.log)?).into_owned();
        let written = text.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path.trim().to_owned());
        match (written, &ended.failure) {
            (Some(path), _) => {
                let what = format!("the fuzzer `{target}` found an input that fails");
                let repeat = format!("cargo fuzz run -s none {target} {path}");
                let keep = Some(format!("cargo verify keep fuzz {target} {path}"));
                Ok(Turn { tried: 1, finds: vec![Find { what, repeat, keep }], end: None })
            }
            (None, Some(why)) => Ok(ended_with(&ended, why)),
            (None, None) => Ok(Turn { tried: 1, ..Turn::default() }),
        }
    }

    fn program(&self, package: &str, target: &str) -> Option<&TestProgram> {
        self.programs
            .iter()
            .find(|program| program.package == package && program.target == target && program.selection.starts_with("--test"))
    }
}

/// Runs what is tried once.
fn once() -> Result<Turn> {
    let mut turn = Turn { end: Some("each runs once".to_owned()), ..Turn::default() };
    for step in ONCE {
        if step.name == "advisories" && !succeeds(&["deny", "--locked", "fetch", "db"]) {
            eprintln!("explore: skipped: advisories: their database cannot be fetched here");
            continue;
        }
        let ended = run(step.name, gate::command_of(&step), Instant::now() + TURN_MAX * 2)?;
        turn.tried += 1;
        turn.finds.extend(ended.failure.map(|why| Find {
            what: format!("{}: {why}", step.name),
            repeat: format!("cargo {}", step.arguments.join(" ")),
            keep: None,
        }));
    }
    Ok(turn)
}

/// Runs a command with its output in a file of its own.
fn run(name: &str, command: Command, deadline: Instant) -> Result<EndedJob> {
    let job = Job { name: format!("explore {name}"), command, repeat: String::new() };
    jobs::run(vec![job], 1, deadline, |_| {})?.pop().context("the job has ended")
}

fn ended_turn(why: &str) -> Turn {
    Turn { end: Some(why.to_owned()), ..Turn::default() }
}

fn ended_with(job: &EndedJob, why: &str) -> Turn {
    ended_turn(&format!("{why}: {}\n{}", job.log.display(), job.last_lines.join("\n")))
}

/// Returns the find that a line of the simulator names: `FAILED cargo sim --seed 4711   # I1: …`.
fn find_of_a_world(line: &str) -> Option<Find> {
    let (command, violation) = line.strip_prefix("FAILED ")?.split_once("   # ")?;
    let seed = command.rsplit(' ').next()?;
    Some(Find {
        what: format!("world {seed} breaks {violation}"),
        repeat: command.to_owned(),
        keep: Some(format!("cargo verify keep simulation {seed}")),
    })
}

/// Returns the find that a line of the search for planted bugs names: a bug that no world showed, one that could not be looked for,
/// or a world that fails without any.
fn find_of_a_bug(line: &str) -> Option<Find> {
    if let Some((_, failing)) = line.split_once("a world fails without any bug, mend it first: ") {
        return find_of_a_world(&format!("FAILED {failing}"));
    }
    let (fault, rest) = match (line.strip_prefix(NOT_FOUND), line.strip_prefix(NOT_JUDGED)) {
        (Some(rest), _) => ("is not noticed", rest),
        (None, Some(rest)) => ("could not be looked for", rest),
        (None, None) => return None,
    };
    let (name, why) = rest.split_once(": ")?;
    let repeat = format!("cargo sim --mutants --only '{name}'");
    Some(Find { what: format!("the planted bug `{name}` {fault}: {why}"), repeat, keep: None })
}

/// Returns the names of all tests of a program.
fn names_of(program: &TestProgram) -> Result<Vec<String>> {
    let output = program.command().arg("--list").output().context("a program of tests does not start")?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Returns the names of the property tests of a program: those that a block of `proptest!` of its package declares.
fn property_tests(program: &TestProgram) -> Result<Vec<String>> {
    let mut declared = BTreeSet::new();
    let listed = Command::new("git").args(["ls-files", "*.rs"]).current_dir(program.folder()).output().context("git does not start")?;
    let folder = program.folder().strip_prefix(root().canonicalize()?)?.display().to_string();
    for path in String::from_utf8_lossy(&listed.stdout).lines() {
        declared.extend(declared_properties(&read_root(&format!("{folder}/{path}")).unwrap_or_default()));
    }
    if declared.is_empty() {
        return Ok(Vec::new());
    }
    let names = names_of(program)?.into_iter();
    Ok(names.filter(|name| declared.contains(name.rsplit("::").next().unwrap_or_default())).collect())
}

/// Returns the names of the functions in the blocks of `proptest!` of a source, and of those that run cases themselves.
fn declared_properties(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut is_inside, mut last) = (false, None);
    for line in source.lines() {
        let words = line.trim_start();
        let name = words.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        if words == "proptest! {" {
            is_inside = true;
        } else if is_inside && (line == "}" || line == "    }" && !source.contains("\nproptest! {")) {
            is_inside = false;
        }
        if let Some(name) = name {
            last = Some(name.to_owned());
            if is_inside {
                names.push(name.to_owned());
            }
        }
        if line.contains("TestRunner::new(") {
            names.extend(last.clone());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_of_a_world_names_its_seed() {
        let find = find_of_a_world("FAILED cargo sim --seed 4711   # I1: key client1-k4 was accepted twice").unwrap();
        assert_eq!(find.repeat, "cargo sim --seed 4711");
        assert_eq!(find.keep.as_deref(), Some("cargo verify keep simulation 4711"));
        assert!(find.what.starts_with("world 4711 breaks I1: key"));
        assert!(find_of_a_world("sim: 3 seeds in 4 s").is_none());
    }

    #[test]
    fn bug_that_is_missed_or_not_judged_and_a_world_that_fails_without_one_are_finds() {
        let missed = find_of_a_bug("NOT FOUND    : lost ack: not found in 100 worlds").unwrap();
        assert_eq!(missed.what, "the planted bug `lost ack` is not noticed: not found in 100 worlds");
        let unjudged = find_of_a_bug("NOT JUDGED   : lost ack: the world is stuck").unwrap();
        assert_eq!(unjudged.repeat, "cargo sim --mutants --only 'lost ack'");
        let failing =
            find_of_a_bug("Error: a world fails without any bug, mend it first: cargo sim --seed 7   # I1: key k4 was accepted twice");
        assert_eq!(failing.unwrap().repeat, "cargo sim --seed 7");
        assert!(find_of_a_bug("found in    1: lost ack: I3 (world 9)").is_none());
    }

    #[test]
    fn properties_are_the_functions_of_their_block_and_those_that_run_cases() {
        let source = "\
fn helper() {}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn one_holds(x in 0..3) {
        prop_assert!(x < 3);
    }
}

#[test]
fn two_holds() {
    let mut runner = TestRunner::new(Config::default());
}

#[test]
fn no_property() {}
";
        assert_eq!(declared_properties(source), ["one_holds", "two_holds"]);
    }
}
