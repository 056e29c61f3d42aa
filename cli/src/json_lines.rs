//! Answers requests line by line, from standard input to standard output, in order and without delay.
//!
//! Each command defines its requests and answers.

use std::io::{BufRead, BufReader, Read, Write};

use serde_json::Value as Json;

use crate::report::{CommandResult, Failure, say_bytes};

/// The most bytes of a line; longer ones are skipped.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many bytes of answers are buffered while more lines wait.
const GATHERED_BYTES: usize = 64 * 1024;

/// Answers every line of standard input. A line that cannot be read gets an error answer, and the rest
/// continues.
pub(crate) fn answer_each(mut answer: impl FnMut(&[u8]) -> Json, unreadable: impl Fn(&str) -> Json) -> CommandResult {
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut answers = Vec::new();
    while let Some(line) = next_line(&mut input).map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))? {
        let answer = match line {
            Ok(line) => answer(&line),
            Err(message) => unreadable(&message),
        };
        writeln!(answers, "{answer}").map_err(|error| Failure::new(error.to_string()))?;
        // A caller that waits for an answer before it sends the next line gets it now.
        if input.buffer().is_empty() || answers.len() >= GATHERED_BYTES {
            say_bytes(&answers);
            answers.clear();
        }
    }
    say_bytes(&answers);
    Ok(())
}

/// Reads a line, or returns why it is invalid; `None` at the end.
fn next_line(input: &mut impl BufRead) -> std::io::Result<Option<Result<Vec<u8>, String>>> {
    let mut line = Vec::new();
    let read = input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > LINE_BYTES_MAX {
        pass_over(input)?;
        return Ok(Some(Err(format!("the line is longer than {LINE_BYTES_MAX} bytes"))));
    }
    Ok(Some(Ok(line)))
}

/// Skips to the end of a line without storing it.
fn pass_over(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let waiting = input.fill_buf()?;
        let end = waiting.iter().position(|byte| *byte == b'\n');
        let (passed, is_over) = (end.map_or(waiting.len(), |at| at + 1), end.is_some() || waiting.is_empty());
        input.consume(passed);
        if is_over {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlong_line_is_skipped() {
        let mut input = vec![b'x'; LINE_BYTES_MAX + 10];
        input.extend(b"\nnext");
        let mut input = &input[..];
        assert!(matches!(next_line(&mut input), Ok(Some(Err(_)))));
        assert_eq!(next_line(&mut input).unwrap(), Some(Ok(b"next".to_vec())));
        assert_eq!(next_line(&mut input).unwrap(), None);
    }
}
