//! What the tests of this crate start: a supervisor, and the program of a sensor. It prints the messages of a file, and
//! writes down what it hears.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

fn main() -> io::Result<()> {
    let first = std::env::args_os().nth(1).ok_or(io::ErrorKind::InvalidInput)?;
    if first == "tape" {
        return tape(Path::new(&std::env::args_os().nth(2).ok_or(io::ErrorKind::InvalidInput)?));
    }
    #[cfg(target_os = "linux")]
    return ensue_executor::supervisor::run(Path::new(&first), "test");
    #[cfg(not(target_os = "linux"))]
    Err(io::Error::other("supervisors are for Linux"))
}

/// Prints the messages of the file `tape` after the cursor, for as long as it runs.
fn tape(folder: &Path) -> io::Result<()> {
    if folder.join("away").exists() {
        return Err(io::Error::other("the device is away"));
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let from = serde_json::from_str::<Value>(&line)?["cursor"].as_u64().unwrap_or(0);
    // A test of the sensor reads only what follows its cursor.
    if std::env::var_os("ENSUE_TEST").is_none() {
        append_settled(folder, from)?;
        let folder = folder.to_owned();
        std::thread::spawn(move || hear(&folder, from));
    }
    let (mut place, mut number, mut out) = (0, 0, io::stdout().lock());
    loop {
        for message in messages(&folder.join("tape"), &mut place)? {
            number += 1;
            if number > from {
                print(folder, (&message, number), &mut out)?;
            }
        }
        out.flush()?;
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes down each message that is in the log.
fn hear(folder: &Path, from: u64) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        append_settled(folder, from + serde_json::from_str::<Value>(&line?)?["ack"].as_u64().unwrap_or(0))?;
    }
    Ok(())
}

fn append_settled(folder: &Path, count: u64) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(folder.join("settled"))?.write_all(format!("{count}\n").as_bytes())
}

/// A message, and whether it is a line as it is.
struct Message {
    is_line: bool,
    bytes: Vec<u8>,
}

/// Returns the complete messages behind a place of the file, and moves it.
fn messages(tape: &Path, place: &mut u64) -> io::Result<Vec<Message>> {
    let mut all = Vec::new();
    match fs::File::open(tape) {
        Ok(mut file) => {
            file.seek(SeekFrom::Start(*place))?;
            file.read_to_end(&mut all)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let (mut messages, mut rest) = (Vec::new(), &all[..]);
    while let Some((head, behind)) = rest.split_first_chunk::<9>() {
        let length = u64::from_le_bytes([head[1], head[2], head[3], head[4], head[5], head[6], head[7], head[8]]);
        let Some((bytes, behind)) = usize::try_from(length).ok().and_then(|length| behind.split_at_checked(length)) else { break };
        messages.push(Message { is_line: head[0] == 1, bytes: bytes.to_vec() });
        rest = behind;
    }
    *place += (all.len() - rest.len()) as u64;
    Ok(messages)
}

/// Prints a message, or breaks off within it: the file `cut` says after how many others.
fn print(folder: &Path, (message, number): (&Message, u64), out: &mut impl io::Write) -> io::Result<()> {
    let line = if message.is_line {
        message.bytes.clone()
    } else {
        [b"{\"event\": ", &message.bytes[..], format!(", \"cursor\": {number}}}").as_bytes()].concat()
    };
    let cut = folder.join("cut");
    match fs::read_to_string(&cut).ok().and_then(|left| left.parse::<u64>().ok()) {
        Some(0) => {
            out.write_all(&line[..line.len() / 2])?;
            out.flush()?;
            fs::remove_file(cut)?;
            return Err(io::Error::other("the device broke off"));
        }
        Some(left) => fs::write(cut, (left - 1).to_string())?,
        None => {}
    }
    out.write_all(&line)?;
    out.write_all(b"\n")
}
