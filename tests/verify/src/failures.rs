//! What test programs print about the tests that failed, collected so that it can be repeated at the end of a long output.

/// The sections about failures in the output of test programs, without their backtraces.
#[derive(Default)]
pub(crate) struct Failures {
    lines: Vec<String>,
    is_inside: bool,
}

impl Failures {
    /// Takes the next line of the output.
    pub(crate) fn take(&mut self, line: &str) {
        self.is_inside |= line == "failures:";
        if self.is_inside && !is_of_a_backtrace(line) {
            self.lines.push(line.to_owned());
        }
        self.is_inside &= !line.starts_with("test result: ");
    }

    /// Returns what was collected.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// Whether this is a frame of a backtrace, such as `  12: tokio::runtime::block_on`, or the place of one.
fn is_of_a_backtrace(line: &str) -> bool {
    let words = line.trim_start();
    let is_frame = words.split_once(": ").is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    words.len() < line.len() && (is_frame || words.starts_with("at "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_collected_without_backtraces() {
        let output = "\
running 2 tests
test one ... ok
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

test result: FAILED. 1 passed; 1 failed
running 1 test
test three ... ok
test result: ok. 1 passed; 0 failed";
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.take(line));
        let collected = failures.lines().join("\n");
        assert!(collected.starts_with("failures:\n\n---- two stdout ----\nthread 'two'"), "{collected}");
        assert!(collected.ends_with("failures:\n    two\n\ntest result: FAILED. 1 passed; 1 failed"), "{collected}");
        assert!(!collected.contains("rustc") && collected.contains("stack backtrace"), "{collected}");
    }
}
