//! `ensue packs`, `ensue actions`, `ensue triggers`: what is installed, of each kind.

use clap::Subcommand;

use super::{Asking, Page, tell_next};
use crate::nearest;
use crate::report::{Outcome, printable};
use crate::table::{Column, cell};

/// What can be asked of a kind of thing that is installed.
#[derive(Debug, Subcommand)]
pub(crate) enum Installed {
    /// List all of them.
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Show one.
    Show {
        /// Its ref; of a pack, its name.
        name: String,
    },
}

/// A kind of thing that is installed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Packs,
    Actions,
    Triggers,
}

const PACKS: &[Column] = &[
    Column::whole("PACK", |pack| cell(pack, "name")),
    Column::whole("VERSION", |pack| cell(pack, "version")),
    Column::whole("STATUS", |pack| cell(pack, "status")),
    Column::cut("DESCRIPTION", |pack| cell(pack, "description")),
];
const ACTIONS: &[Column] = &[
    Column::whole("ACTION", |action| cell(action, "ref")),
    Column::whole("RUNNER", |action| cell(action, "runner")),
    Column::cut("DESCRIPTION", |action| cell(action, "description")),
];
const TRIGGERS: &[Column] =
    &[Column::whole("TRIGGER", |trigger| cell(trigger, "ref")), Column::cut("DESCRIPTION", |trigger| cell(trigger, "description"))];

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::Packs => "/packs",
            Self::Actions => "/actions",
            Self::Triggers => "/triggers",
        }
    }

    fn columns(self) -> &'static [Column] {
        match self {
            Self::Packs => PACKS,
            Self::Actions => ACTIONS,
            Self::Triggers => TRIGGERS,
        }
    }
}

impl Installed {
    pub(super) async fn run(self, kind: Kind, asking: &Asking) -> Outcome {
        let client = asking.client()?;
        match self {
            Self::List { page } => {
                let answer = client.get(kind.path(), &page.query()).await?;
                asking.output.print_list(&answer, kind.columns());
                tell_next(&answer);
            }
            Self::Show { name } => {
                let thing = nearest::get_by_name(&client, kind.path(), &name).await?;
                asking.output.print_one(&thing, |thing| printable(&format!("{thing:#}")));
            }
        }
        Ok(())
    }
}
