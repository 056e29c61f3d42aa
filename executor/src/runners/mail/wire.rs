//! The bytes of SMTP: replies, which are read up to a limit, and the mail between `DATA` and its end.

use std::fmt;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The maximum length of a line of a reply, and of a whole reply, in bytes.
const LINE_BYTES_MAX: usize = 4 << 10;
const REPLY_BYTES_MAX: usize = 64 << 10;
/// The maximum length of a reply's text in a result or an error, in bytes.
const SHOWN_BYTES_MAX: usize = 500;

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SmtpReply {
    /// Its code.
    pub(super) code: u16,
    /// Its text, in one line and not longer than is shown.
    pub(super) text: String,
    /// Its lines without their codes.
    pub(super) lines: Vec<String>,
}

impl SmtpReply {
    /// Reads a reply. The error says what is wrong with it.
    pub(super) async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Self, String> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        loop {
            let line = line(from).await?;
            bytes += line.len();
            if bytes > REPLY_BYTES_MAX {
                return Err(format!("its reply has more than {REPLY_BYTES_MAX} bytes"));
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            let code = line.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit())).and_then(|code| code.parse().ok());
            let code: u16 = code.filter(|code| (200..600).contains(code)).ok_or("it does not speak SMTP")?;
            let (is_last, text) = match line.get(3..4) {
                None | Some(" ") => (true, line.get(4..).unwrap_or_default()),
                Some("-") => (false, line.get(4..).unwrap_or_default()),
                Some(_) => return Err("it does not speak SMTP".to_owned()),
            };
            lines.push(text.to_owned());
            if is_last {
                let text = to_one_line(&lines.join(" "));
                return Ok(Self { code, text, lines });
            }
        }
    }

    /// Returns true if the server did what it was asked to do, or waits for the rest of it.
    pub(super) fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Returns true if the same may be accepted later.
    pub(super) fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }
}

impl fmt::Display for SmtpReply {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", self.code, self.text)
    }
}

/// Returns a text in one line, and no longer than is shown.
fn to_one_line(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    match text.char_indices().map(|(at, _)| at).take_while(|at| *at <= SHOWN_BYTES_MAX).last() {
        Some(end) if text.len() > SHOWN_BYTES_MAX => format!("{} …", &text[..end]),
        _ => text,
    }
}

/// Reads a line without its end.
async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    loop {
        let piece = from.fill_buf().await.map_err(|error| error.to_string())?;
        if piece.is_empty() {
            return Err("it closed the connection".to_owned());
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(piece.len(), |end| end + 1);
        line.extend_from_slice(&piece[..used]);
        from.consume(used);
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("a line of its reply has more than {LINE_BYTES_MAX} bytes"));
        }
        if end.is_some() {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(line);
        }
    }
}

/// Returns a mail as it is sent after `DATA`: every line ends with CR LF, and a dot at the beginning of a line is
/// doubled, so that nothing in it can look like its end.
pub(super) fn dot_stuff(mail: &[u8]) -> Vec<u8> {
    let mut sent = Vec::with_capacity(mail.len() + mail.len() / 64);
    let mut is_start = true;
    let mut bytes = mail.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' | b'\n' => {
                if byte == b'\r' {
                    bytes.next_if_eq(&b'\n');
                }
                sent.extend_from_slice(b"\r\n");
                is_start = true;
                continue;
            }
            b'.' if is_start => sent.extend_from_slice(b".."),
            _ => sent.push(byte),
        }
        is_start = false;
    }
    if !is_start {
        sent.extend_from_slice(b"\r\n");
    }
    sent
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    async fn read(bytes: &[u8]) -> Result<SmtpReply, String> {
        SmtpReply::read(&mut BufReader::with_capacity(7, bytes)).await
    }

    #[tokio::test]
    async fn reply_of_several_lines_is_read_to_its_last() {
        let reply = read(b"250-mail.example.org\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n220 next\r\n").await.unwrap();
        assert_eq!((reply.code, reply.text.as_str()), (250, "mail.example.org SIZE 1000 AUTH PLAIN"));
        assert_eq!(reply.lines, ["mail.example.org", "SIZE 1000", "AUTH PLAIN"]);
    }

    #[tokio::test]
    async fn what_is_not_a_reply_is_an_error() {
        for bytes in [b"SSH-2.0-OpenSSH\r\n".as_slice(), b"25\r\n", b"250_x\r\n", b"999 x\r\n", b"250 cut off", b""] {
            assert!(read(bytes).await.is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[tokio::test]
    async fn reply_without_an_end_is_not_read_to_the_last() {
        let long = [b"250 ".as_slice(), &b"x".repeat(1 << 20)].concat();
        assert!(read(&long).await.unwrap_err().contains("more than 4096 bytes"));
        let many = b"250-x\r\n".repeat(20_000);
        assert!(read(&many).await.unwrap_err().contains("more than 65536 bytes"));
    }

    #[test]
    fn mail_cannot_contain_its_own_end() {
        assert_eq!(dot_stuff(b"a\n.\nb\r\n.\r\n..c"), b"a\r\n..\r\nb\r\n..\r\n...c\r\n");
        assert_eq!(dot_stuff(b"a\r.\rb\r\n"), b"a\r\n..\r\nb\r\n");
        assert_eq!(dot_stuff(b".a.b"), b"..a.b\r\n");
    }
}
