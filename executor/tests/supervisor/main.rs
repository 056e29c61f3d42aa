//! A supervisor for the tests of this crate, which have no product binary: only the call of its main
//! function.

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).ok_or(std::io::ErrorKind::InvalidInput)?;
    #[cfg(target_os = "linux")]
    return ensue_executor::supervisor::run(std::path::Path::new(&folder), "test");
    #[cfg(not(target_os = "linux"))]
    Err(std::io::Error::other(format!("supervisors are for Linux; {} is left alone", folder.display())))
}
