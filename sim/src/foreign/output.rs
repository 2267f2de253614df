//! What a program prints: its lines, in the order in which they were written.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// Size of the pipe. A program that fills it waits until the world has read.
const PIPE_BYTES: usize = 1 << 20;
/// Bytes found in the pipe at which the program may have waited for room.
const FULL_BYTES: usize = 32 * 1024;
/// Characters of a line that are kept.
const LINE_CHARS_MAX: usize = 500;
/// Lines that are recorded in one run of the program.
const LINES_MAX: usize = 2000;

/// The lines of a program.
pub(super) struct Output {
    /// `None` when every process has closed the other end.
    pipe: Option<OwnedFd>,
    /// A line without its end.
    partial: Vec<u8>,
    /// Lines that were not taken yet.
    lines: VecDeque<String>,
    /// How many lines there were.
    count: usize,
}

impl Output {
    /// A pipe for standard output and standard error together: two pipes would lose the order. Returns the end for the
    /// program.
    pub(super) fn new() -> std::io::Result<(Self, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&read, OFlags::NONBLOCK)?;
        // With the default size the program waits more often; that changes nothing else.
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        Ok((Self { pipe: Some(read), partial: Vec::new(), lines: VecDeque::new(), count: 0 }, write))
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads what the program has written; returns whether it may have waited for that.
    pub(super) fn read(&mut self) -> bool {
        let mut sum = 0;
        let mut bytes = [0; 65536];
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe, &mut bytes) {
                Ok(0) => self.pipe = None,
                Ok(n) => {
                    sum += n;
                    self.add(&bytes[..n]);
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        sum >= FULL_BYTES
    }

    fn add(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            // A character has at most four bytes.
            let room = (LINE_CHARS_MAX * 4 + 4).saturating_sub(self.partial.len());
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            self.partial.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.partial);
        self.count += 1;
        // Reports of a client program count for its judgement, however much it prints.
        let is_report = line.starts_with(b"{\"event\"");
        if self.count > LINES_MAX && !is_report {
            return;
        }
        if is_report {
            return self.lines.push_back(String::from_utf8_lossy(&line).into_owned());
        }
        let text = plain(&String::from_utf8_lossy(&line));
        self.lines.push_back(match text.char_indices().nth(LINE_CHARS_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        });
        if self.count == LINES_MAX {
            self.lines.push_back(format!("… after {LINES_MAX} lines, the rest of the output is not recorded"));
        }
    }

    /// Takes the lines that are complete.
    pub(super) fn take(&mut self) -> impl Iterator<Item = String> {
        self.lines.drain(..)
    }

    /// Takes the rest of a program that has ended: a last line without an end.
    pub(super) fn finish(&mut self) {
        self.read();
        if !self.partial.is_empty() {
            self.end_line();
        }
    }
}

/// A line without colours and other control characters.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // ESC [ parameters letter
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\t' => text.push(' '),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(writes: &[&str]) -> Vec<String> {
        let (mut output, end) = Output::new().expect("a pipe");
        for text in writes {
            rustix::io::write(&end, text.as_bytes()).expect("room in the pipe");
            output.read();
        }
        drop(end);
        output.finish();
        output.take().collect()
    }

    #[test]
    fn lines_may_arrive_in_pieces() {
        assert_eq!(lines(&["one\nt", "wo\r\n", "\nlast"]), ["one", "two", "", "last"]);
    }

    #[test]
    fn colours_and_control_characters_are_left_out() {
        assert_eq!(lines(&["\u{1b}[1;31mred\u{1b}[0m\tand\u{7} loud\n"]), ["red and loud"]);
    }

    #[test]
    fn what_is_too_much_is_cut() {
        let cut = lines(&[&"ä".repeat(900), "\nshort\n"]);
        assert_eq!(cut, [format!("{}…", "ä".repeat(500)), "short".to_owned()]);
        let many = lines(&vec!["x\n"; LINES_MAX + 50]);
        assert_eq!(many.len(), LINES_MAX + 1);
        assert!(many[LINES_MAX].contains("not recorded"), "{}", many[LINES_MAX]);
    }
}
