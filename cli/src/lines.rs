//! What is asked by the line on standard input, and answered by the line on standard output: in order, and as it comes.
//!
//! What a line asks, and what is answered, each command says.

use std::io::{BufRead, BufReader, Read, Write};

use serde_json::Value as Json;

use crate::report::{Failure, Outcome, say_bytes};

/// The most bytes of a line; what is longer is passed over.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// As many bytes of answers are gathered while more lines wait.
const GATHERED_BYTES: usize = 64 * 1024;

/// Answers every line of standard input; one that cannot be read gets the answer for what is wrong with it, and the rest goes on.
pub(crate) fn answer_each(mut answer: impl FnMut(&[u8]) -> Json, unreadable: impl Fn(&str) -> Json) -> Outcome {
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut answers = Vec::new();
    while let Some(line) = next_line(&mut input).map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))? {
        let answer = match line {
            Ok(line) => answer(&line),
            Err(message) => unreadable(&message),
        };
        writeln!(answers, "{answer}").map_err(|error| Failure::new(error.to_string()))?;
        // Whoever waits for an answer before the next line gets it.
        if input.buffer().is_empty() || answers.len() >= GATHERED_BYTES {
            say_bytes(&answers);
            answers.clear();
        }
    }
    say_bytes(&answers);
    Ok(())
}

/// Reads a line, or says why it is none; nothing at the end.
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

/// Reads on to the end of a line, and keeps nothing of it.
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
