//! Finds the file of a program, and recognises files into which no library can be preloaded.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::trouble::Trouble;

/// How many interpreters of interpreters are followed, as Linux does.
const DEPTH_MAX: usize = 5;
const SET_ID_BITS: u32 = 0o6000;
const EXECUTE_BITS: u32 = 0o111;

/// Where programs are looked for.
pub(super) struct Search {
    /// Folders, as in the variable `PATH`.
    pub(super) path: OsString,
    /// The folder that relative names start from; `None` is that of this process.
    pub(super) directory: Option<PathBuf>,
}

impl Search {
    fn in_directory(&self, path: &Path) -> PathBuf {
        match &self.directory {
            // A relative folder is relative to this process, which changes nothing: its own names are too.
            Some(directory) => directory.join(path),
            None => path.to_owned(),
        }
    }

    /// The file of a command's first word, as an absolute path.
    pub(super) fn find(&self, word: &str) -> Result<PathBuf, Trouble> {
        let absolute = |path: PathBuf| std::path::absolute(path).map_err(Trouble::System);
        if word.contains('/') {
            let path = absolute(self.in_directory(Path::new(word)))?;
            if path.exists() {
                return Ok(path);
            }
            return Err(Trouble::NotFound {
                word: word.to_owned(),
                looked: format!(": {} does not exist", path.display()),
            });
        }
        let folders = std::env::split_paths(&self.path).map(|folder| self.in_directory(&folder).join(word));
        match folders.into_iter().find(|path| is_executable(path)) {
            Some(path) => absolute(path),
            None => {
                let looked = " on the search path (PATH)".to_owned();
                let here = self.in_directory(Path::new(word));
                let hint = if here.exists() { format!("{looked}; did you mean `./{word}`?") } else { looked };
                Err(Trouble::NotFound { word: word.to_owned(), looked: hint })
            }
        }
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.mode() & EXECUTE_BITS != 0)
}

/// Checks that the program in a file, or its interpreter, loads a preloaded library.
pub(super) fn check(path: &Path, search: &Search) -> Result<(), Trouble> {
    let mut path = path.to_owned();
    for _ in 0..DEPTH_MAX {
        match check_one(&path, search)? {
            Some(interpreter) => path = interpreter,
            None => return Ok(()),
        }
    }
    Err(Trouble::NotRunnable { path, why: "too many interpreters of interpreters".to_owned() })
}

/// Checks a file; returns the program that interprets it, if it is a script.
fn check_one(path: &Path, search: &Search) -> Result<Option<PathBuf>, Trouble> {
    let wrong = |why: String| Trouble::NotRunnable { path: path.to_owned(), why };
    let meta = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if meta.is_dir() {
        return Err(wrong("it is a folder".to_owned()));
    }
    if meta.mode() & EXECUTE_BITS == 0 {
        return Err(wrong("it is not executable: use `chmod +x`, or put its interpreter in front".to_owned()));
    }
    let mut file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut start = Vec::new();
    file.by_ref().take(4096).read_to_end(&mut start).map_err(|error| wrong(error.to_string()))?;
    if let Some(script) = start.strip_prefix(b"#!") {
        let line = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        let mut words = line.split_whitespace();
        let interpreter = words.next().ok_or_else(|| wrong("its first line names no interpreter".to_owned()))?;
        // `env` looks the real interpreter up.
        if interpreter.ends_with("/env")
            && let Some(name) = words.find(|word| !word.starts_with('-') && !word.contains('='))
        {
            return search.find(name).map(Some);
        }
        return Ok(Some(PathBuf::from(interpreter)));
    }
    if !start.starts_with(b"\x7fELF") {
        return Err(wrong("it is neither a program of this system nor a script with `#!`".to_owned()));
    }
    if meta.mode() & SET_ID_BITS != 0 {
        return Err(Trouble::Privileged { path: path.to_owned(), by: "has the setuid or setgid bit" });
    }
    let mut capabilities = [0; 64];
    if rustix::fs::getxattr(path, "security.capability", &mut capabilities[..]).is_ok_and(|bytes| bytes > 0) {
        return Err(Trouble::Privileged { path: path.to_owned(), by: "has file capabilities" });
    }
    match loader(&file, &start) {
        None => Err(wrong("it is not a 64-bit program of this machine".to_owned())),
        Some(None) => Err(Trouble::Static(path.to_owned())),
        Some(Some(loader)) if loader.contains("musl") => Err(Trouble::OtherLibrary { path: path.to_owned(), loader }),
        Some(Some(_)) => Ok(None),
    }
}

/// The dynamic loader that an ELF file names: `Some(None)` if it names none, `None` if it is not a 64-bit little-endian
/// program.
fn loader(file: &File, header: &[u8]) -> Option<Option<String>> {
    const PT_INTERP: u32 = 3;
    let number = |bytes: &[u8], at: usize, size: usize| -> Option<u64> {
        let mut word = [0; 8];
        word[..size].copy_from_slice(bytes.get(at..at + size)?);
        Some(u64::from_le_bytes(word))
    };
    // Class 2 is 64 bits, data 1 is little-endian.
    if header.get(4..6) != Some(&[2, 1]) {
        return None;
    }
    let (table, size, count) = (number(header, 32, 8)?, number(header, 54, 2)?, number(header, 56, 2)?);
    for index in 0..count {
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, table + index * size).ok()?;
        if number(&entry, 0, 4)? == u64::from(PT_INTERP) {
            let (at, length) = (number(&entry, 8, 8)?, number(&entry, 32, 8)?);
            let mut name = vec![0; usize::try_from(length.min(4096)).ok()?];
            file.read_exact_at(&mut name, at).ok()?;
            return Some(Some(String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned()));
        }
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A folder that is removed in the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("glare-file-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }

        fn file(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, bytes).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            path
        }

        fn search(&self) -> Search {
            let mut path = OsString::from(&self.0);
            path.push(":/usr/local/bin:/usr/bin:/bin");
            Search { path, directory: Some(self.0.clone()) }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A minimal ELF file; with `loader`, its only segment names that loader.
    fn elf(loader: Option<&str>) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        if let Some(loader) = loader {
            bytes[56] = 1;
            let mut entry = vec![0; 56];
            entry[0] = 3;
            entry[8] = 120;
            entry[32] = u8::try_from(loader.len() + 1).expect("short");
            bytes.extend(entry);
            bytes.extend(loader.bytes());
            bytes.push(0);
        }
        bytes
    }

    #[test]
    fn programs_and_scripts_that_can_be_simulated() {
        let folder = Folder::new("good");
        let search = folder.search();
        for script in ["#!/bin/sh\n", "#! /usr/bin/env -S sh -e\n", "#!/usr/bin/env sh"] {
            let path = folder.file("script", script.as_bytes(), 0o755);
            check(&path, &search).unwrap_or_else(|trouble| panic!("{script}: {trouble}"));
        }
        assert_eq!(search.find("script").ok(), Some(folder.0.join("script")), "on the path");
        assert_eq!(search.find("./script").ok(), Some(folder.0.join("./script")), "in the folder");
        check(&search.find("sh").expect("a shell"), &search).expect("dynamic");
    }

    #[test]
    fn others_are_refused_with_what_to_do_instead() {
        let folder = Folder::new("bad");
        let search = folder.search();
        let wrong = |bytes: &[u8], mode| {
            let path = folder.file("program", bytes, mode);
            check(&path, &search).expect_err("refused").to_string()
        };
        assert!(wrong(&elf(None), 0o755).contains("linked statically"), "{}", wrong(&elf(None), 0o755));
        assert!(wrong(&elf(Some("/lib/ld-musl-x86_64.so.1")), 0o755).contains("only programs for glibc"));
        assert!(wrong(&elf(Some("/lib64/ld-linux-x86-64.so.2")), 0o4755).contains("setuid"));
        assert!(wrong(b"\x7fELF\x01\x01", 0o755).contains("64-bit"));
        assert!(wrong(b"echo hello", 0o755).contains("script with `#!`"));
        assert!(wrong(b"#!/bin/sh", 0o644).contains("chmod +x"));
        assert!(wrong(b"#!/no/such/interpreter\n", 0o755).contains("/no/such/interpreter cannot be run"));
        assert!(wrong(b"#!/usr/bin/env glare-no-such-program\n", 0o755).contains("no program `glare-no-such-program`"));
        folder.file("server.js", b"", 0o644);
        let find = |word| search.find(word).expect_err("not there").to_string();
        assert!(find("./none").contains("none does not exist"), "{}", find("./none"));
        assert!(find("server.js").contains("did you mean `./server.js`?"), "{}", find("server.js"));
    }
}
