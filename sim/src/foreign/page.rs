//! The page that tells the program's processes the time.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::entropy::EPOCH;

const MAGIC: &[u8; 8] = b"glrtime1";
const BYTES: u64 = 4096;
/// Offsets of the two clocks behind the magic number.
const CLOCKS: u64 = 8;
/// How long the machine has been running when the simulation starts: its monotonic clock never shows zero, which some
/// programs take for "never".
const UPTIME: Duration = Duration::from_secs(1);

/// Shared memory that the world writes and all processes of a machine read.
pub(super) struct Page {
    file: File,
    /// What is added to the world's time for the wall clock.
    wall_ns: i64,
}

impl Page {
    pub(super) fn new() -> io::Result<Self> {
        let file = File::from(memfd_create("glare-page", MemfdFlags::CLOEXEC)?);
        file.set_len(BYTES)?;
        file.write_all_at(MAGIC, 0)?;
        let page = Self { file, wall_ns: nanoseconds(EPOCH) - nanoseconds(UPTIME) };
        page.show(Duration::ZERO);
        Ok(page)
    }

    /// Shows the time `now` since the start of the simulation. No thread of the program runs meanwhile.
    pub(super) fn show(&self, now: Duration) {
        let clocks = [machine_time(now).to_le_bytes(), self.wall_ns.to_le_bytes()].concat();
        self.file.write_all_at(&clocks, CLOCKS).expect("the page is memory of this process");
    }

    /// Moves the wall clock, which shows it with the next [`Page::show`].
    pub(super) fn jump(&mut self, ns: i64) {
        self.wall_ns = self.wall_ns.saturating_add(ns);
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The machine's monotonic clock at the time `now`.
fn machine_time(now: Duration) -> i64 {
    nanoseconds(now + UPTIME)
}

/// The time, in whole milliseconds, at which the machine's monotonic clock has reached `ns`.
pub(super) fn time_of(ns: i64) -> Duration {
    let ms = u64::try_from(ns).unwrap_or_default().div_ceil(1_000_000);
    Duration::from_millis(ms).saturating_sub(UPTIME)
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_whole_milliseconds_and_never_early() {
        assert_eq!(time_of(machine_time(Duration::from_millis(1500))), Duration::from_millis(1500));
        assert_eq!(time_of(machine_time(Duration::from_millis(1500)) + 1), Duration::from_millis(1501));
        assert_eq!(time_of(0), Duration::ZERO);
    }

    #[test]
    fn the_wall_clock_is_that_of_the_simulation_and_jumps() {
        let mut page = Page::new().expect("memory");
        page.show(Duration::from_secs(5));
        page.jump(-7);
        page.show(Duration::from_secs(5));
        let mut clocks = [0; 16];
        page.file.read_exact_at(&mut clocks, CLOCKS).expect("16 bytes");
        let read = |at: usize| i64::from_le_bytes(clocks[at..at + 8].try_into().expect("8 bytes"));
        assert_eq!((read(0), read(0) + read(8)), (6_000_000_000, nanoseconds(EPOCH) + 5_000_000_000 - 7));
    }
}
