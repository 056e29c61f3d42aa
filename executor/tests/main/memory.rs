//! A program that the kernel kills because memory ran out: said where it is known, and only supposed where it is not.

use std::fs;
use std::io;
use std::path::PathBuf;

use ensue_engine::executions::facts::FailureKind;
use serde_json::json;

use crate::node::supervised;
use crate::world::{World, failure};

/// A control group that has little memory, for as long as a test needs it.
struct Small(PathBuf);

impl Small {
    fn make() -> io::Result<Self> {
        let small = Self(format!("/sys/fs/cgroup/memory/ensue-test-{}", std::process::id()).into());
        fs::create_dir(&small.0)?;
        fs::write(small.0.join("memory.limit_in_bytes"), "67108864")?;
        Ok(small)
    }

    /// Takes the supervisors of a world in: what they start is in it too.
    fn take_in(&self, world: &World) -> io::Result<()> {
        let of_world = world.folder.path().display().to_string();
        for process in fs::read_dir("/proc")?.flatten() {
            let started_as = fs::read(process.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&started_as).contains(&of_world) {
                fs::write(self.0.join("cgroup.procs"), process.file_name().to_str().unwrap())?;
            }
        }
        Ok(())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        for process in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write("/sys/fs/cgroup/memory/cgroup.procs", process);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn memory_that_ran_out_in_a_program_s_own_group_is_said_and_a_kill_without_that_is_a_kill() {
    // The first program has its supervisor come up, and is killed by itself.
    let mut world = supervised("[ -e ../../go ] && exec tail /dev/zero; kill -9 $$").begin();
    assert_eq!(failure(&world.report_of(json!({})).await, FailureKind::Signal).detail, Some(9));
    let small = match Small::make() {
        Ok(small) => small,
        Err(error) => return eprintln!("skipped: this machine has no control group for memory to be had: {error}"),
    };
    small.take_in(&world).unwrap();
    fs::write(world.folder.path().join("go"), "").unwrap();
    world.dispatch(2, json!({}));
    failure(&world.report().await, FailureKind::Memory);
}
