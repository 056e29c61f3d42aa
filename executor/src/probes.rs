//! What this machine has to hold programs with: walls, bounds, and other users. Each is found out by trying it.

#[cfg(not(target_os = "linux"))]
use crate::programs::Wall;
use crate::programs::{ProcessBound, ProgramUsers, Walls};
#[cfg(target_os = "linux")]
use crate::supervisor::{bound, isolation, user};

/// Says which walls this machine has, by trying them on a thread that is then thrown away. Blocks.
pub fn walls_of_this_machine() -> Walls {
    #[cfg(target_os = "linux")]
    return isolation::probe();
    #[cfg(not(target_os = "linux"))]
    {
        let wall = Wall::Missing { why: "programs can be isolated only on Linux".to_owned() };
        Walls { files: wall.clone(), signals: wall.clone(), system_calls: wall }
    }
}

/// Returns why programs cannot run as these users here; none where they can. Blocks shortly.
pub fn why_not_as(users: ProgramUsers) -> Option<String> {
    if users == ProgramUsers::Node {
        return None;
    }
    #[cfg(target_os = "linux")]
    return user::why_not(users);
    #[cfg(not(target_os = "linux"))]
    Some("programs can run as other users only on Linux".to_owned())
}

/// Says what bounds how many processes a program has here. Blocks shortly.
pub fn process_bound_of_this_machine() -> ProcessBound {
    #[cfg(target_os = "linux")]
    return bound::probe();
    #[cfg(not(target_os = "linux"))]
    ProcessBound::Missing { why: "processes can be limited only on Linux".to_owned() }
}
