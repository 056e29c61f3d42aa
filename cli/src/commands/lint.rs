//! `ensue lint`: finds code that is valid but probably not meant.

use clap::Args;

use super::Asking;
use super::check::{PacksAtHand, count_noun};
use crate::report::{CommandResult, Failure};

/// Find probable mistakes in packs. Examples are rules that never match or that trigger themselves,
/// and names that nothing reads.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue lint packs/                  the findings of `ensue check`, and more
  ensue lint packs/ --strict         exit code 1 even if there are only warnings
  ensue lint packs/ -o json          for editors

A line `# lint: allow CODE` in a file silences a code in that file.")]
pub(crate) struct Lint {
    #[command(flatten)]
    packs: PacksAtHand,
    /// Treat warnings as failures.
    #[arg(long)]
    strict: bool,
}

impl Lint {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let found = self.packs.look(ensue_packs::lint)?;
        found.show(asking);
        found.outcome()?;
        match (self.strict, found.warnings()) {
            (true, warnings @ 1..) => Err(Failure::new(format!("{}, and `--strict` allows none", count_noun(warnings, "warning")))),
            (true | false, _) => Ok(()),
        }
    }
}
