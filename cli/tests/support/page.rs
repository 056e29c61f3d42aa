//! A page of the documents, read as a person who follows it would: files, commands, and their output.

/// An indented block of the page, and the paragraph before it.
pub(crate) struct Block {
    before: String,
    /// Its text.
    pub(crate) text: String,
}

/// The kind of a block, by the end of the paragraph before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// The content of a file: "… in `packs/x.yaml`:"
    File(&'a str),
    /// The output of the previous command: "… it says:"
    Printed,
    /// Commands.
    Commands,
    /// An example to look at.
    Example,
}

impl Block {
    /// Returns its kind.
    pub(crate) fn step(&self) -> Step<'_> {
        let last_words = self.before.trim_end();
        if let Some(path) = last_words.strip_suffix("`:").and_then(|words| words.rsplit('`').next()) {
            return Step::File(path);
        }
        if last_words.ends_with("it says:") {
            return Step::Printed;
        }
        if is_command(&self.text) { Step::Commands } else { Step::Example }
    }

    /// Returns its commands: each is a line, with its continuation after a `\` at the line's end or within
    /// quotes.
    pub(crate) fn commands(&self) -> Vec<String> {
        let mut commands = Vec::new();
        let mut command = String::new();
        for line in self.text.lines() {
            command.push_str(line);
            let is_whole = !command.ends_with('\\') && command.matches('\'').count().is_multiple_of(2);
            if is_whole {
                commands.push(std::mem::take(&mut command));
            } else {
                command.push('\n');
            }
        }
        assert!(command.is_empty(), "a command does not end: {command}");
        commands
    }
}

fn is_command(text: &str) -> bool {
    const PROGRAMS: [&str; 16] = [
        "chmod ",
        "cp ",
        "sh ",
        "psql ",
        "pg_dump ",
        "createdb ",
        "ensue ",
        "systemctl ",
        "ENSUE_TOKEN=$",
        "openssl ",
        "export ",
        "curl ",
        "echo ",
        "python3 ",
        "sed ",
        "sdk/bin/",
    ];
    // A variable that stores a command's output: `EVENT=$(…)`.
    let is_kept = text.split_once("=$(").is_some_and(|(name, _)| name.chars().all(|character| character.is_ascii_uppercase()));
    is_kept || PROGRAMS.iter().any(|program| text.starts_with(program))
}

/// Returns the indented blocks of a page in order.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut before, mut text) = (Vec::new(), String::new(), String::new());
    for line in page.lines().chain(["end"]) {
        match line.strip_prefix("    ") {
            Some(inside) => text.push_str(&format!("{inside}\n")),
            None if line.is_empty() && !text.is_empty() => text.push('\n'),
            None => {
                if !text.is_empty() {
                    let text = format!("{}\n", text.trim_end());
                    blocks.push(Block { before: std::mem::take(&mut before), text });
                }
                text = String::new();
                // A paragraph ends with an empty line; the one before a block is what counts.
                before = if line.is_empty() { before } else { format!("{line}\n") };
            }
        }
    }
    blocks
}
