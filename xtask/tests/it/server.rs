//! A `glare serve` that a test starts, reads and ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Longer than anything here takes, on the slowest machine: whoever waits this long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    pub(crate) child: Child,
    out: BufReader<ChildStdout>,
    /// Its log, once a test reads it line by line.
    log: Option<BufReader<ChildStderr>>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub(crate) fn start_with(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glare"));
        command.arg("serve").args(arguments).envs(env.iter().copied());
        Self::spawn(command)
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, out, log: None }
    }

    /// Starts it with a limit for open files that it cannot raise.
    pub(crate) fn start_limited(files: usize, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        let script = "ulimit -n \"$0\" && exec \"$@\"";
        command.args(["-c", script, &files.to_string(), env!("CARGO_BIN_EXE_glare"), "serve"]).args(arguments);
        Self::spawn(command)
    }

    /// The rest of the next line, which starts like this.
    pub(crate) fn line(&mut self, start: &str) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        line.trim_end().strip_prefix(start).unwrap_or_else(|| panic!("`{start}…` in {line:?}")).to_owned()
    }

    pub(crate) fn address(&mut self, start: &str) -> String {
        self.line(start)
    }

    /// Sends SIGINT; true if it then ends with success.
    pub(crate) fn interrupt(&mut self) -> bool {
        self.signal("-INT");
        self.child.wait().expect("it ends").success()
    }

    /// Ends it and returns what it logged, which must fit into a pipe.
    pub(crate) fn interrupt_and_read_log(&mut self) -> String {
        self.signal("-INT");
        let mut log = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut log).expect("UTF-8");
        assert!(self.child.wait().expect("it ends").success());
        log
    }

    /// Sends SIGTERM, and waits for nothing.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
    }

    /// Waits until it has logged a line that contains this.
    pub(crate) fn logs(&mut self, text: &str) {
        let log = self.log.get_or_insert_with(|| BufReader::new(self.child.stderr.take().expect("piped")));
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(log.read_line(&mut line).expect("UTF-8") > 0, "it ended without `{text}`");
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill is there").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
