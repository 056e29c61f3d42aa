//! The system calls that no program of a pack needs and that would let it out of its walls or reach into
//! other processes: refused with `EPERM`.
//!
//! All other calls are allowed: there are programs of every kind, and a list of allowed calls would break
//! some of them. A program for another kind of processor, such as a 32-bit one, uses other numbers for its
//! calls: it is ended by SIGSYS.
//!
//! A call that changes a process by its number works only for the caller, named as 0: a filter cannot know
//! which numbers belong to the program. Signals are the exception, because shells send them by number:
//! Landlock keeps them inside the program.

use std::collections::BTreeMap;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use seccompiler::sock_filter;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// Calls that are refused whatever their arguments.
const DENIED: &[libc::c_long] = &[
    // Reading, writing and controlling other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Mounts, and other namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_userfaultfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Objects of the kernel that outlive a process, and that no limit counts: shared memory, semaphores and queues of
    // System V, and queues of POSIX.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    // Keys that outlive a process.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // A second way to all other calls.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Calls whose first argument is the number of the process that they change or inspect. They are allowed with
/// 0, which is the caller.
///
/// Calls that only read how another process is scheduled are not listed: `/proc` shows the same.
const ON_A_PROCESS: &[libc::c_long] = &[
    libc::SYS_prlimit64,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_get_robust_list,
];

/// Calls whose first argument says what the second one identifies, with the value of the first that means one
/// process. They are allowed for the caller, which is 0: a process group may hold the supervisor, and a
/// user's processes include the node's.
const ON_A_KIND: &[(libc::c_long, u64)] = &[(libc::SYS_setpriority, PRIO_PROCESS), (libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS)];
const PRIO_PROCESS: u64 = 0;
const IOPRIO_WHO_PROCESS: u64 = 1;
/// The operation of `prctl` that makes a process share a core with another.
const PR_SCHED_CORE: u64 = 62;

/// The flags of `clone` that create namespaces.
const CLONE_NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

/// Refuses these calls to this thread and to everything that comes of it.
pub(crate) fn deny() -> Result<(), String> {
    static FILTERS: OnceLock<Result<Vec<BpfProgram>, String>> = OnceLock::new();
    let filters = FILTERS.get_or_init(|| filters().map_err(|error| error.to_string())).as_ref().map_err(Clone::clone)?;
    filters.iter().try_for_each(|filter| apply_filter(filter).map_err(|error| format!("the kernel accepts no seccomp filter: {error}")))
}

fn filters() -> Result<Vec<BpfProgram>, Box<dyn std::error::Error>> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut denied: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let mut rules = Vec::new();
    // One rule for each flag: any of them is enough.
    for bit in 0..u64::BITS {
        let flag = 1_u64 << bit;
        if CLONE_NAMESPACES & flag != 0 {
            let has = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)?;
            rules.push(SeccompRule::new(vec![has])?);
        }
    }
    denied.insert(libc::SYS_clone, rules);
    // All processes at once.
    let everybody = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(u32::MAX))?;
    denied.insert(libc::SYS_kill, vec![SeccompRule::new(vec![everybody])?]);
    for call in ON_A_PROCESS {
        denied.insert(*call, vec![unless(0, 0)?]);
    }
    for (call, process) in ON_A_KIND {
        denied.insert(*call, vec![unless(0, *process)?, unless(1, 0)?]);
    }
    let share_a_core = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, PR_SCHED_CORE)?;
    denied.insert(libc::SYS_prctl, vec![SeccompRule::new(vec![share_a_core])?]);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let denied = SeccompFilter::new(denied, SeccompAction::Allow, refused, arch)?;
    // The arguments of this call are in memory, which a filter cannot inspect. If it is missing, `clone` is
    // used.
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let absent = SeccompFilter::new(absent, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()), arch)?;
    Ok(vec![
        denied.try_into()?,
        absent.try_into()?,
        #[cfg(target_arch = "x86_64")]
        second_numbers(),
    ])
}

/// Matches a call unless its argument has this value. The kernel reads only the lower half of these
/// arguments.
fn unless(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)?])
}

/// Refuses the second set of numbers that most calls have on x86-64, those of x32, which a list of the first
/// numbers lets through.
#[cfg(target_arch = "x86_64")]
fn second_numbers() -> BpfProgram {
    /// Numbers below this are of the first set.
    const FIRST: u32 = 0x4000_0000;
    /// From here on a number is negative and not that of a call.
    const NEGATIVE: u32 = 0x8000_0000;
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    vec![
        // The filter sees the number first.
        step(LOAD, 0, 0, 0),
        step(AT_LEAST, 0, 2, FIRST),
        step(AT_LEAST, 1, 0, NEGATIVE),
        step(RETURN, 0, 0, refused),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}
