//! The memory of a server: how much the settings can take, and giving back what a storm has left.

use std::time::Duration;

use server::{Config, Handle};

const GIB: f64 = (1_u64 << 30) as f64;

/// What a connection takes besides what is buffered for it: the state of TLS, HTTP or WebSocket, and its buffers.
const CONNECTION_BYTES: usize = 32 * 1024;
/// What a TURN allocation takes: its task, and its tables of permissions and channels.
const ALLOCATION_BYTES: usize = 32 * 1024;

/// How often to look whether memory can be given back.
const INTERVAL: Duration = Duration::from_secs(5);
/// How much must be unused before it is worth it.
const UNUSED_BYTES_MIN: usize = 32 * 1024 * 1024;

/// Logs how much memory the settings can take, as a warning if this machine has less.
pub(super) fn tell(config: &Config) {
    let limits = &config.limits;
    let allocations = config.turn.as_ref().map_or(0, |turn| turn.allocations_max);
    let bytes = limits
        .connections_max
        .saturating_mul(CONNECTION_BYTES)
        .saturating_add(allocations.saturating_mul(ALLOCATION_BYTES))
        .saturating_add(limits.buffered_bytes_max);
    let settings = bytes as f64 / GIB;
    match machine_bytes() {
        Some(machine) if bytes > machine => tracing::warn!(
            target: "server",
            "these settings can take up to {settings:.1} GiB, but this machine has {:.1} GiB: lower buffered-bytes-max or connections-max",
            machine as f64 / GIB
        ),
        _ => tracing::info!(target: "server", "these settings can take up to {settings:.1} GiB"),
    }
}

/// The memory of this machine, in bytes; `None` if it is unknown.
fn machine_bytes() -> Option<usize> {
    bytes_of("/proc/meminfo", "MemTotal:")
}

/// The memory that this process has, in bytes; `None` if it is unknown.
fn resident_bytes() -> Option<usize> {
    bytes_of("/proc/self/status", "VmRSS:")
}

fn bytes_of(file: &str, name: &str) -> Option<usize> {
    let text = std::fs::read_to_string(file).ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?;
    kib.parse::<usize>().ok()?.checked_mul(1024)
}

/// Gives memory back to the system whenever the process has grown by more than what is buffered for clients. What it
/// has afterwards is in use, and the next time it must have grown beyond that.
pub(super) async fn give_back(server: Handle) {
    let mut in_use = resident_bytes();
    while let (Some(level), Some(resident)) = (in_use, resident_bytes()) {
        if resident.saturating_sub(level + server.census().buffered_bytes) >= UNUSED_BYTES_MIN {
            trim();
            in_use = resident_bytes();
        } else {
            in_use = Some(level.min(resident));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Lets the allocator give unused memory back. The GNU allocator otherwise keeps all of it that lies below the highest
/// address in use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn trim() {
    // SAFETY: it may be called at any time from any thread, and takes the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
