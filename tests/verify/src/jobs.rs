//! Jobs: processes that run beside each other, each with its output in a file.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::output::Output;
use crate::report::seconds;
use crate::{root, stuck_jobs};

/// How often a running job is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a job may print nothing. No step of the gate is silent for a third of it, also beside load.
const SILENCE_MAX: Duration = Duration::from_secs(15 * 60);

/// A process to run.
pub(crate) struct Job {
    /// Its name, such as `engine main`, which also names its file.
    pub(crate) name: String,
    pub(crate) command: Command,
    /// The command line that repeats it.
    pub(crate) repeat: String,
}

/// How a job ended.
pub(crate) struct EndedJob {
    pub(crate) name: String,
    pub(crate) repeat: String,
    pub(crate) took: Duration,
    /// Why it failed, unless it succeeded.
    pub(crate) failure: Option<String>,
    /// The file with everything that it printed.
    pub(crate) log: PathBuf,
    pub(crate) output: Output,
    /// The last lines that it printed.
    pub(crate) last_lines: Vec<String>,
}

/// How many of the last lines of a failed job are repeated.
const LAST_LINES: usize = 80;

/// Runs jobs in their order, several at once. No job begins after the deadline, and those that run then are killed. So is a job that
/// prints nothing for a long time. Its result says which tests had not ended, and what its processes waited for.
///
/// # Errors
/// If the folder for the output cannot be made. A job that fails or does not start is reported in its result.
pub(crate) fn run(jobs: Vec<Job>, at_once: usize, deadline: Instant, on_end: impl Fn(&EndedJob) + Sync) -> Result<Vec<EndedJob>> {
    let folder = root().join("target/verify");
    std::fs::create_dir_all(&folder).context("the folder for the output of the steps")?;
    let folder = folder.canonicalize()?;
    let waiting = Mutex::new(VecDeque::from(jobs));
    let ended = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let Some(job) = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return };
                    let log = folder.join(format!("{}.log", job.name.replace([' ', '/'], "-")));
                    let one = run_one(job, log, deadline);
                    on_end(&one);
                    ended.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                }
            });
        }
    });
    Ok(ended.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn run_one(mut job: Job, log: PathBuf, deadline: Instant) -> EndedJob {
    let begin = Instant::now();
    let end =
        wait(&mut job.command, &log, deadline, SILENCE_MAX).unwrap_or_else(|error| End::Failed(format!("it does not run: {error:#}")));
    let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let mut output = Output::read(&text);
    let mut last_lines: Vec<String> = lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| (*line).to_owned()).collect();
    let failure = match end {
        End::Succeeded => None,
        End::Failed(why) => Some(why),
        End::Killed { why, processes } => {
            last_lines = ["its processes were:".to_owned()].into_iter().chain(processes).collect();
            output.failed.append(&mut output.running);
            Some(why)
        }
    };
    EndedJob { name: job.name, repeat: job.repeat, took: begin.elapsed(), failure, log, output, last_lines }
}

/// How a command ended.
enum End {
    Succeeded,
    Failed(String),
    /// It did not end by itself.
    Killed {
        why: String,
        /// What its processes waited for.
        processes: Vec<String>,
    },
}

/// Runs a command to its end, or until it has printed nothing for so long.
fn wait(command: &mut Command, log: &PathBuf, deadline: Instant, silence_max: Duration) -> Result<End> {
    if Instant::now() > deadline {
        return Ok(End::Failed("the time was over before it began".to_owned()));
    }
    let file = File::create(log).with_context(|| log.display().to_string())?;
    let mut child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file.try_clone()?).spawn()?;
    let (mut printed, mut spoke) = (0, Instant::now());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(if status.success() { End::Succeeded } else { End::Failed(format!("it ended with {status}")) });
        }
        let length = file.metadata()?.len();
        if length != printed {
            (printed, spoke) = (length, Instant::now());
        }
        let why = if Instant::now() > deadline {
            "it had not ended when the time was over".to_owned()
        } else if spoke.elapsed() > silence_max {
            format!("it printed nothing for {}", seconds(silence_max))
        } else {
            std::thread::sleep(PAUSE);
            continue;
        };
        let processes = stuck_jobs::describe(child.id());
        stuck_jobs::kill(child.id());
        child.wait()?;
        return Ok(End::Killed { why, processes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, script: &str) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job { name: name.to_owned(), command, repeat: script.to_owned() }
    }

    #[test]
    fn each_job_runs_to_its_end_although_another_one_fails() {
        let jobs = vec![job("verify-test one", "echo begun; exit 3"), job("verify-test two", "echo 'test result: ok. 2 passed; 0 failed'")];
        let mut ended = run(jobs, 2, Instant::now() + Duration::from_secs(60), |_| {}).unwrap();
        ended.sort_by(|one, other| one.name.cmp(&other.name));
        assert!(ended[0].failure.as_ref().is_some_and(|why| why.contains('3')) && ended[0].last_lines == ["begun"]);
        assert!(ended[1].failure.is_none() && ended[1].output.passed == 2);
    }

    #[test]
    fn job_that_runs_at_the_deadline_is_killed() {
        let script = "echo 'test a::b has been running for over 60 seconds'; exec sleep 3600";
        let ended = run(vec![job("verify-test late", script)], 1, Instant::now() + Duration::from_secs(1), |_| {}).unwrap();
        assert_eq!(ended[0].failure.as_deref(), Some("it had not ended when the time was over"));
        assert_eq!(ended[0].output.failed, ["a::b"]);
        assert!(ended[0].last_lines.iter().any(|line| line.ends_with(": sleep 3600")), "{:?}", ended[0].last_lines);
    }

    #[test]
    fn job_that_prints_nothing_for_long_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        let end = wait(command.arg("3600"), &folder.path().join("log"), Instant::now() + SILENCE_MAX, Duration::from_millis(50)).unwrap();
        assert!(matches!(end, End::Killed { why, .. } if why == "it printed nothing for 0 min 00 s"));
    }
}
