//! CPU time and memory of processes, from Linux's `/proc`.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Clock ticks per second in `/proc`: 100 on every architecture that Glare supports.
const TICKS_PER_S: u64 = 100;

/// The processes of a server.
#[derive(Clone, Debug)]
pub(super) struct Processes(Vec<u32>);

impl Processes {
    /// # Errors
    /// A process does not exist, or this system has no `/proc`.
    pub(super) fn new(ids: &[u32]) -> anyhow::Result<Self> {
        for id in ids {
            if cpu(&id.to_string()).is_none() {
                anyhow::bail!("--pid {id}: there is no such process, or it is not visible in /proc");
            }
        }
        Ok(Self(ids.to_vec()))
    }

    /// CPU time that they have used. A process that has ended counts as zero.
    pub(super) fn cpu(&self) -> Duration {
        self.0.iter().filter_map(|id| cpu(&id.to_string())).sum()
    }

    /// Memory in RAM (RSS), in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.0.iter().filter_map(|id| memory_bytes(*id)).sum()
    }
}

/// CPU time and memory used during a measurement.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) time: Duration,
    /// CPU time of this program.
    pub(super) own_cpu: Duration,
    pub(super) server: Option<ServerUse>,
}

/// The server's part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerUse {
    pub(super) cpu: Duration,
    pub(super) memory_before_bytes: u64,
    pub(super) memory_after_bytes: u64,
    pub(super) memory_max_bytes: u64,
}

/// Measures usage from its start on.
pub(super) struct Watch {
    start: Instant,
    own_cpu: Duration,
    server: Option<ServerWatch>,
}

struct ServerWatch {
    processes: Processes,
    cpu: Duration,
    memory_bytes: u64,
    memory_max_bytes: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(processes: Option<Processes>) -> Self {
        let server = processes.map(|processes| {
            let memory_bytes = processes.memory_bytes();
            let memory_max_bytes = Arc::new(AtomicU64::new(memory_bytes));
            let (watched, max_bytes) = (processes.clone(), Arc::clone(&memory_max_bytes));
            let task = tokio::spawn(async move {
                loop {
                    sleep(Duration::from_millis(50)).await;
                    max_bytes.fetch_max(watched.memory_bytes(), Relaxed);
                }
            });
            ServerWatch { cpu: processes.cpu(), processes, memory_bytes, memory_max_bytes, task }
        });
        Self { start: Instant::now(), own_cpu: own_cpu(), server }
    }

    pub(super) fn finish(self) -> Use {
        let server = self.server.map(|server| {
            server.task.abort();
            let memory_after_bytes = server.processes.memory_bytes();
            ServerUse {
                cpu: server.processes.cpu().saturating_sub(server.cpu),
                memory_before_bytes: server.memory_bytes,
                memory_after_bytes,
                memory_max_bytes: server.memory_max_bytes.load(Relaxed).max(memory_after_bytes),
            }
        });
        Use { time: self.start.elapsed(), own_cpu: own_cpu().saturating_sub(self.own_cpu), server }
    }
}

/// CPU time of this program.
fn own_cpu() -> Duration {
    cpu("self").unwrap_or_default()
}

fn cpu(id: &str) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is a name in parentheses, which may contain any character.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 1000 / TICKS_PER_S))
}

fn memory_bytes(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(resident.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
