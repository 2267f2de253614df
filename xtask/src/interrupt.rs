//! Ctrl-C: the first one ends a run early, with a summary of what was done; the second one ends the program, as SIGTERM
//! does.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// The exit code after Ctrl-C, as shells count it: 128 + SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code after SIGTERM: 128 + 15.
const TERMINATED: u8 = 143;

/// Whether the run is to end early.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for Ctrl-C from now on.
    #[allow(clippy::disallowed_methods)] // a thread that only waits for signals, outside of every simulation
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let is_set = Arc::clone(&interrupt.0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let guard = runtime.enter();
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        drop(guard);
        std::thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        biased;
                        _ = terminations.recv() => end(TERMINATED),
                        _ = interrupts.recv() => {}
                    }
                    if is_set.swap(true, Ordering::Relaxed) {
                        end(INTERRUPTED);
                    }
                    errln!("\nstopping; press Ctrl-C again to end at once");
                }
            });
        });
        Ok(interrupt)
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag, for code that does not depend on this program.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// The exit code of a run: that of its verdict, unless it was ended early.
    pub(crate) fn or(&self, code: ExitCode) -> ExitCode {
        if self.is_set() { ExitCode::from(INTERRUPTED) } else { code }
    }
}

/// Ends the program, and the server that it has started.
fn end(code: u8) {
    crate::conformance::end_running();
    std::process::exit(i32::from(code));
}
