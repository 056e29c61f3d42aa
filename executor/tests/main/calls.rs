//! System calls with numbers of another architecture: they bypass no filter, and the error says why.

use ensue_engine::command::ReportOutcome;
use ensue_engine::executions::facts::FailureKind;
use serde_json::json;

use crate::kernel::WallKind;
use crate::node::supervised_plan;
use crate::skipped::{has_program, skipped};
use crate::walls::output_of;
use crate::world::{Plan, sh};

/// A 32-bit program that exits with 0 at once: its header, its load address, and four instructions.
const OF_32_BITS: [u8; 93] = [
    0x7f, 0x45, 0x4c, 0x46, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x03, 0x00, 0x01, 0x00,
    0x00, 0x00, 0x54, 0x80, 0x04, 0x08, 0x34, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x34, 0x00, 0x20, 0x00,
    0x01, 0x00, 0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x04, 0x08, 0x00, 0x80,
    0x04, 0x08, 0x5d, 0x00, 0x00, 0x00, 0x5d, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0xb8, 0x01, 0x00, 0x00,
    0x00, 0x31, 0xdb, 0xcd, 0x80,
];

#[tokio::test]
async fn system_call_with_its_second_number_is_blocked_as_well() {
    let test = "system_call_with_its_second_number_is_blocked_as_well";
    if !WallKind::SystemCalls.stands_for(test) || !has_program(test, "python3") {
        return;
    }
    // `getpid`, which is allowed with its native number; a kernel without the other numbers returns 38.
    let script = "python3 -c 'import ctypes; c = ctypes.CDLL(None, use_errno=True); \
                  print(c.syscall(0x40000000 + 39), ctypes.get_errno(), c.syscall(39) > 0)'";
    assert_eq!(output_of(Plan::new(sh(script)).with_supervisors()).await, "-1 1 True");
}

#[tokio::test]
async fn object_of_the_kernel_that_outlives_its_process_is_refused() {
    let test = "object_of_the_kernel_that_outlives_its_process_is_refused";
    if !WallKind::SystemCalls.stands_for(test) || !has_program(test, "python3") {
        return;
    }
    // Each is created for this user alone, and would stay after the program. POSIX has its shared memory in files, which Landlock governs.
    let script = r#"python3 -c 'import ctypes, mmap
c = ctypes.CDLL(None, use_errno=True)
def call(f, *a):
    ctypes.set_errno(0)
    return "made" if f(*a) >= 0 else ctypes.get_errno()
print(call(c.shmget, 0, 4096, 0o1600), call(c.semget, 0, 1, 0o1600), call(c.msgget, 0, 0o1600), call(c.mq_open, b"/ensue-test", 0o102, 0o600, None))
print(len(mmap.mmap(-1, 4096)))'"#;
    assert_eq!(output_of(Plan::new(sh(script)).with_supervisors()).await, "1 1 1 1\n4096");
}

#[tokio::test]
async fn isolated_32_bit_program_is_ended_with_an_explanation() {
    let test = "isolated_32_bit_program_is_ended_with_an_explanation";
    if !WallKind::SystemCalls.stands_for(test) {
        return;
    }
    let bytes: String = OF_32_BITS.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let mut world = supervised_plan(&format!("printf '{bytes}' > program; chmod +x program; exec ./program")).begin();
    let report = world.report_of(json!({})).await;
    match report.outcome {
        ReportOutcome::Failed(failure) if failure.kind == FailureKind::Signal => {
            assert_eq!(failure.detail, Some(31));
            assert!(failure.message.contains("such as 32-bit"), "{}", failure.message);
        }
        ReportOutcome::Failed(failure) if failure.kind == FailureKind::ExitCode => skipped(test, "this kernel has no 32-bit programs"),
        other => panic!("{other:?}"),
    }
}
