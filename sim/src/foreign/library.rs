//! The preloaded library: `shim/`, built with this crate and embedded in it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim.so"));

/// Length of the library's path. It is in the environment of the program, whose length moves the program's stack, so it
/// must not depend on the numbers in the path.
const PATH_BYTES: usize = 48;

/// The path at which a program finds the library, as long as this process lives.
///
/// The library is a file in memory: nothing has to be removed, however this process ends.
///
/// # Errors
/// The system has no memory or no descriptor left.
pub(super) fn path() -> io::Result<String> {
    static FILE: OnceLock<File> = OnceLock::new();
    let file = match FILE.get() {
        Some(file) => file,
        None => {
            let file = create()?;
            // Another simulation may have been faster: then its file is used.
            FILE.get_or_init(|| file)
        }
    };
    let (process, file) = (std::process::id(), file.as_raw_fd());
    let slashes = PATH_BYTES - format!("/proc/{process}fd/{file}").len();
    Ok(format!("/proc/{process}{}fd/{file}", "/".repeat(slashes)))
}

fn create() -> io::Result<File> {
    let mut file = File::from(memfd_create("glare-shim", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(BYTES)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_leads_to_the_library_and_always_has_the_same_length() {
        let path = path().expect("memory");
        assert_eq!(std::fs::read(&path).expect("a file"), BYTES);
        assert_eq!(path.len(), PATH_BYTES);
    }
}
