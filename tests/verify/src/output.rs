//! What the programs of a step print: how many tests passed, which failed and how, and which were skipped.

/// What the output of test programs says.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) passed: u64,
    pub(crate) ignored: u64,
    /// The names of the tests that failed.
    pub(crate) failed: Vec<String>,
    /// The names of the tests that took over a minute and have not ended.
    pub(crate) running: Vec<String>,
    /// The tests that skipped themselves, as `name: reason`.
    pub(crate) skipped: Vec<String>,
    /// The sections about failures, without their backtraces.
    pub(crate) failures: Vec<String>,
    is_inside: bool,
}

impl Output {
    /// Reads a whole output.
    pub(crate) fn read(text: &str) -> Self {
        let mut output = Self::default();
        text.lines().for_each(|line| output.take(line));
        output
    }

    /// Takes the next line of the output.
    pub(crate) fn take(&mut self, line: &str) {
        self.is_inside |= line == "failures:";
        if self.is_inside && !is_of_a_backtrace(line) {
            self.failures.push(line.to_owned());
        }
        self.is_inside &= !line.starts_with("test result: ");
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let before = counts.split([';', '.']).find_map(|part| part.trim().strip_suffix(what));
                before.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0)
            };
            self.passed += count("passed");
            self.ignored += count("ignored");
        }
        // What a test writes to standard error can come between the name of another test and its result.
        if let Some((_, skipped)) = line.split_once("skipped: ") {
            self.skipped.push(skipped.to_owned());
        }
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
            && !self.failed.iter().any(|known| known == name)
        {
            self.failed.push(name.to_owned());
        }
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" has been running for over 60 seconds")) {
            self.running.push(name.to_owned());
        }
        if line.contains(" ... ") {
            self.running.retain(|name| !line.contains(&format!("test {name} ... ")));
        }
        // The header of a failed test is never torn by the output of another one.
        let header = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(name) = header
            && !self.failed.iter().any(|known| known == name)
        {
            self.failed.push(name.to_owned());
        }
    }
}

/// Returns true if this is a frame of a backtrace, such as `  12: tokio::runtime::block_on`, or the place of one.
fn is_of_a_backtrace(line: &str) -> bool {
    let words = line.trim_start();
    let is_frame = words.split_once(": ").is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    words.len() < line.len() && (is_frame || words.starts_with("at "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
running 3 tests
test one ... ok
test three ... skipped: three: PostgreSQL is not installed
ok
test two ... FAILED

failures:

---- two stdout ----
thread 'two' panicked at tests/two.rs:98:69:
called `Option::unwrap()` on a `None` value
stack backtrace:
   0: __rustc::rust_begin_unwind
             at /rustc/panicking.rs:689:5

failures:
    two

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out
running 1 test
test four ... ok
test result: ok. 1 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.10s";

    #[test]
    fn failures_are_collected_without_backtraces() {
        let collected = Output::read(PRINTED).failures.join("\n");
        assert!(collected.starts_with("failures:\n\n---- two stdout ----\nthread 'two'"), "{collected}");
        assert!(
            collected.ends_with("failures:\n    two\n\ntest result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out")
        );
        assert!(!collected.contains("rustc") && collected.contains("stack backtrace"), "{collected}");
    }

    #[test]
    fn tests_of_several_programs_are_counted_together() {
        let output = Output::read(PRINTED);
        assert_eq!((output.passed, output.ignored), (3, 3));
        assert_eq!(output.failed, ["two"]);
        assert_eq!(output.skipped, ["three: PostgreSQL is not installed"]);
    }

    #[test]
    fn tests_that_take_long_run_until_their_result_comes() {
        let long = |name: &str| format!("test {name} has been running for over 60 seconds\n");
        let text = format!("{}{}a line of another testtest one ... ok\n", long("one"), long("two"));
        assert_eq!(Output::read(&text).running, ["two"]);
    }

    #[test]
    fn failed_test_is_named_once_although_its_line_was_torn() {
        let torn = "test two ... some other output\nFAILED\n\nfailures:\n\n---- two stdout ----\nfailures:\n    two\n";
        assert_eq!(Output::read(torn).failed, ["two"]);
    }
}
