//! Which users programs run as on this machine.
//!
//! If the node is root and no user is set, each program has its own user. If that is not possible, programs run as
//! root without any privileges, and the reason is kept for `ensue doctor`.

use std::fs;
use std::io;
use std::path::Path;

use ensue_executor::probes::why_not_as;
use ensue_executor::programs::{IsolationMode, ProgramUsers, let_pass, may_pass};

use crate::config::{ActionSettings, UserSetting};
use crate::start_error::StartError;

/// The default users of programs. No distribution assigns these numbers, and there is one for each possible process
/// ID.
const RANGE: ProgramUsers = ProgramUsers::Range { first: 1_900_000_000, last: 1_900_000_000 + (1 << 22) };
/// The file that lists the numbers of users.
const ACCOUNTS: &str = "/etc/passwd";

/// The users that programs run as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Users {
    /// The users.
    pub(crate) users: ProgramUsers,
    /// Why programs run as root although the settings do not ask for it.
    pub(crate) why_root: Option<String>,
}

impl Users {
    /// Determines which users programs run as, with a data directory. Blocks.
    pub(crate) fn detect(settings: &ActionSettings, data: &Path) -> Result<Self, StartError> {
        let is_root = rustix::process::geteuid().is_root();
        let accounts = || fs::read_to_string(ACCOUNTS).unwrap_or_default();
        Self::of(settings, is_root, accounts, |users| why_not_in(users, data)).map_err(|why| StartError::NoUsers { why })
    }

    fn of(
        settings: &ActionSettings,
        is_root: bool,
        accounts: impl Fn() -> String,
        why_not: impl Fn(ProgramUsers) -> Option<String>,
    ) -> Result<Self, String> {
        let users = match &settings.user {
            UserSetting::Unsaid if !is_root => return Ok(Self::default()),
            _ if !is_root => {
                return Err(
                    "only a node that runs as root can run programs as another user; this node runs them as its own user".to_owned()
                );
            }
            UserSetting::Root => return Ok(Self::default()),
            UserSetting::Unsaid => {
                let why_root = match settings.isolation {
                    IsolationMode::None => Some("`actions.isolation` is `none`".to_owned()),
                    IsolationMode::Auto | IsolationMode::Required => why_not(RANGE),
                };
                let users = if why_root.is_none() { RANGE } else { ProgramUsers::Node };
                return Ok(Self { users, why_root });
            }
            UserSetting::Range(first, last) => ProgramUsers::Range { first: *first, last: *last },
            // A user that is not in the list has a group with the same number.
            UserSetting::Number(user) => {
                let group = account(&accounts(), |_, number| number == *user).map_or(*user, |(_, group)| group);
                ProgramUsers::One { user: *user, group }
            }
            UserSetting::Name(name) => {
                let found = account(&accounts(), |of, _| of == name).ok_or_else(|| format!("{ACCOUNTS} has no user `{name}`"))?;
                ProgramUsers::One { user: found.0, group: found.1 }
            }
        };
        match why_not(users) {
            None => Ok(Self { users, why_root: None }),
            Some(why) => Err(why),
        }
    }

    /// Lets the users traverse the data directory to their private directories and their packs. They cannot list
    /// anything in it.
    pub(crate) fn let_pass(&self, data: &Path) -> io::Result<()> {
        let Some(group) = self.users.group() else { return Ok(()) };
        let packs = data.join("packs");
        fs::create_dir_all(&packs)?;
        let_pass(&packs, group)?;
        let_pass(data, group)
    }
}

/// Returns why programs cannot run as these users with a data directory, or `None` if they can.
fn why_not_in(users: ProgramUsers, data: &Path) -> Option<String> {
    if let Some(why) = why_not_as(users) {
        return Some(why);
    }
    let above = data.canonicalize().ok()?.parent()?.to_owned();
    let closed = above.ancestors().filter(|folder| !may_pass(folder, users)).last();
    closed.map(|folder| format!("other users may not enter `{}`, where the data directory is", folder.display()))
}

/// Returns the number and the group of a user in a list of accounts.
fn account(accounts: &str, is_meant: impl Fn(&str, u32) -> bool) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, user, group) = (fields.next()?, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        is_meant(name, user).then_some((user, group))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:34:www-data:/var/www:/usr/sbin/nologin\n";

    fn of(user: UserSetting, is_root: bool, why_not: Option<&str>) -> Result<Users, String> {
        let settings = ActionSettings { user, ..ActionSettings::default() };
        Users::of(&settings, is_root, || LIST.to_owned(), |_| why_not.map(str::to_owned))
    }

    #[test]
    fn root_node_runs_programs_as_separate_users() {
        assert_eq!(of(UserSetting::Unsaid, true, None), Ok(Users { users: RANGE, why_root: None }));
        let why_root = Some("closed".to_owned());
        assert_eq!(of(UserSetting::Unsaid, true, Some("closed")), Ok(Users { users: ProgramUsers::Node, why_root }));
        assert_eq!(of(UserSetting::Root, true, None), Ok(Users::default()));
        assert_eq!(of(UserSetting::Unsaid, false, None), Ok(Users::default()));
    }

    #[test]
    fn configured_user_is_used_or_the_node_does_not_start() {
        let one = |user, group| Ok(Users { users: ProgramUsers::One { user, group }, why_root: None });
        assert_eq!(of(UserSetting::Name("www-data".into()), true, None), one(33, 34));
        assert_eq!(of(UserSetting::Number(33), true, None), one(33, 34));
        assert_eq!(of(UserSetting::Number(77), true, None), one(77, 77));
        for user in [UserSetting::Number(33), UserSetting::Range(5, 9)] {
            assert_eq!(of(user.clone(), true, Some("closed")), Err("closed".to_owned()));
            assert!(of(user, false, None).unwrap_err().contains("runs as root"));
        }
        assert!(of(UserSetting::Name("nobody-here".into()), true, None).unwrap_err().contains("has no user `nobody-here`"));
    }
}
