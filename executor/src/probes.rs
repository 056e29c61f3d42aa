//! What this machine offers to isolate and limit programs: walls, process limits, and other users. Each is
//! found out by trying it.

#[cfg(not(target_os = "linux"))]
use crate::programs::Wall;
use crate::programs::{ProcessBound, ProgramUsers, SupervisorCommand, Walls};
#[cfg(target_os = "linux")]
use crate::supervisor::{isolation, process_limit, user};

/// Returns the walls that this machine has for programs of these users, by trying them on a thread that is then discarded, and by
/// starting a supervisor with this command. Blocks.
pub fn walls_of_this_machine(users: ProgramUsers, supervisor: Option<&SupervisorCommand>) -> Walls {
    #[cfg(target_os = "linux")]
    return isolation::probe(users, supervisor);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (users, supervisor);
        let wall = Wall::Missing { why: "programs can be isolated only on Linux".to_owned() };
        Walls { files: wall.clone(), signals: wall.clone(), system_calls: wall.clone(), metadata: wall }
    }
}

/// Returns why programs cannot run as these users here, or none if they can. Blocks briefly.
pub fn why_not_as(users: ProgramUsers) -> Option<String> {
    if users == ProgramUsers::Node {
        return None;
    }
    #[cfg(target_os = "linux")]
    return user::why_not(users);
    #[cfg(not(target_os = "linux"))]
    Some("programs can run as other users only on Linux".to_owned())
}

/// Returns what limits the number of a program's processes on this machine. Blocks briefly.
pub fn process_bound_of_this_machine() -> ProcessBound {
    #[cfg(target_os = "linux")]
    return process_limit::probe();
    #[cfg(not(target_os = "linux"))]
    ProcessBound::Missing { why: "processes can be limited only on Linux".to_owned() }
}
