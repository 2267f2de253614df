//! The randomness and wall clock of a simulation: seeded, per thread. This file has the only `unsafe` code of a
//! simulation.
//!
//! Libraries get entropy from the operating system in ways that no API lets us replace: `std` and `getrandom` 0.3 call
//! the symbol `getrandom`, `ring` (through `getrandom` 0.2) calls `syscall(SYS_getrandom, …)`. So this file defines
//! these symbols itself, and the linker prefers them to libc's. On a [`sealed`] thread they return values derived from
//! the seed. On any other thread they call the real function.
//!
//! `HashMap` keys and thread-local generators are drawn once per thread, so each simulation runs on its own thread. Maps
//! that libraries make once per process are [filled](crate::statics) before.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::time::Duration;

use libc::{c_int, c_long, c_void, clockid_t, size_t, ssize_t, timespec};

/// Unix time at which every simulation starts: 2027-01-15T08:00:00Z.
pub const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// What the monotonic clock of [`within`] shows at the start of every simulation. It leaves room for libraries that subtract.
#[cfg(feature = "str0m")]
const MONOTONIC_EPOCH: Duration = Duration::from_secs(1_000_000);

thread_local! {
    // Constant initialisers, because these functions replace libc calls, which must neither allocate nor register a
    // destructor.
    static SEALED: Cell<bool> = const { Cell::new(false) };
    static STATE: Cell<u64> = const { Cell::new(0) };
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// What the monotonic clock shows, if not the real time.
    static MONOTONIC: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Runs `f` on a fresh thread whose entropy and wall clock depend only on `seed`.
///
/// # Errors
/// The panic of `f`, as `std::thread::JoinHandle::join` returns it.
///
/// # Panics
/// The functions of this file are not linked in, or no thread can be started.
pub fn sealed<T: Send + 'static>(seed: u64, f: impl FnOnce() -> T + Send + 'static) -> std::thread::Result<T> {
    crate::statics::fill();
    std::thread::Builder::new()
        .name("simulation".to_owned())
        .stack_size(8 << 20)
        .spawn(move || {
            STATE.set(seed);
            NOW.set(Duration::ZERO);
            SEALED.set(true);
            assert_linked();
            let result = f();
            SEALED.set(false);
            result
        })
        .expect("the system has room for a thread")
        .join()
}

/// Sets the wall clock of this thread to `now` after [`EPOCH`].
pub fn set_wall_clock(now: Duration) {
    NOW.set(now);
}

/// The time of this thread's simulation; `None` outside one.
#[cfg(feature = "str0m")]
pub(crate) fn time() -> Option<Duration> {
    is_sealed().then(|| NOW.get())
}

/// Calls a library that reads the monotonic clock although it is told the time, and keeps in statics what it has read. On
/// a sealed thread the clock stands still meanwhile, at `time` after a point that is the same in all simulations.
/// Elsewhere it is the real one.
#[cfg(feature = "str0m")]
pub(crate) fn within<T>(time: Duration, f: impl FnOnce() -> T) -> T {
    struct Real;
    impl Drop for Real {
        fn drop(&mut self) {
            MONOTONIC.set(None);
        }
    }
    MONOTONIC.set(Some(MONOTONIC_EPOCH + time));
    let _real = Real;
    f()
}

/// Refers to every symbol, so that the linker includes this object file, and checks that calls reach these functions.
fn assert_linked() {
    let symbols: [*const (); 4] =
        [getrandom as *const (), getentropy as *const (), syscall as *const (), clock_gettime as *const ()];
    std::hint::black_box(symbols);
    let before = STATE.get();
    let mut byte = 0u8;
    // SAFETY: one byte of a live variable; libc's declaration is the symbol that this file defines.
    unsafe { libc::getrandom(std::ptr::from_mut(&mut byte).cast(), 1, 0) };
    assert_ne!(before, STATE.get(), "the entropy shim is not linked into this program");
}

fn is_sealed() -> bool {
    // `try_with`, because a destructor may request entropy while the thread's locals are being destroyed.
    SEALED.try_with(Cell::get).unwrap_or(false)
}

/// Fills a buffer from the thread's SplitMix64 stream. A length of zero draws no number.
///
/// # Safety
/// `buffer` points to `len` writable bytes.
unsafe fn fill(buffer: *mut u8, len: usize) {
    let mut state = STATE.get();
    let mut word = 0u64;
    for i in 0..len {
        if i % 8 == 0 {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            word = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            word ^= word >> 31;
        }
        // SAFETY: `i < len`, and the caller guarantees `len` writable bytes.
        unsafe { *buffer.add(i) = (word >> ((i % 8) * 8)) as u8 };
    }
    STATE.set(state);
}

/// The address of libc's own definition of `name`, looked up once.
fn real(slot: &AtomicPtr<c_void>, name: &CStr) -> *mut c_void {
    let known = slot.load(Relaxed);
    if !known.is_null() {
        return known;
    }
    // SAFETY: the name is a C string, and libc defines the symbol.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    slot.store(found, Relaxed);
    found
}

/// `getrandom(2)`.
///
/// # Safety
/// As for the libc function: `buffer` points to `len` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, len: size_t, flags: u32) -> ssize_t {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    type Function = unsafe extern "C" fn(*mut u8, size_t, u32) -> ssize_t;
    if is_sealed() {
        // SAFETY: the caller guarantees it.
        unsafe { fill(buffer, len) };
        return len.cast_signed();
    }
    // SAFETY: libc's function of this name has this type.
    unsafe { std::mem::transmute::<*mut c_void, Function>(real(&REAL, c"getrandom"))(buffer, len, flags) }
}

/// `getentropy(3)`.
///
/// # Safety
/// As for the libc function: `buffer` points to `len` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getentropy(buffer: *mut u8, len: size_t) -> c_int {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    type Function = unsafe extern "C" fn(*mut u8, size_t) -> c_int;
    if is_sealed() {
        // SAFETY: the caller guarantees it.
        unsafe { fill(buffer, len) };
        return 0;
    }
    // SAFETY: libc's function of this name has this type.
    unsafe { std::mem::transmute::<*mut c_void, Function>(real(&REAL, c"getentropy"))(buffer, len) }
}

/// `syscall(2)`. It is variadic in C, but on x86-64 and AArch64 Linux six integer registers hold all arguments of any
/// system call.
///
/// # Safety
/// As for the libc function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    type Function = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;
    if number == libc::SYS_getrandom && is_sealed() {
        // SAFETY: SYS_getrandom's first two arguments are a buffer and its length; the caller guarantees that they are
        // valid.
        unsafe { fill(a as *mut u8, b as usize) };
        return b;
    }
    // SAFETY: libc's function of this name reads the same registers that this call fills.
    unsafe { std::mem::transmute::<*mut c_void, Function>(real(&REAL, c"syscall"))(number, a, b, c, d, e, f) }
}

/// `clock_gettime(2)`: on a sealed thread the wall clock shows the simulation's time, and the monotonic clock what
/// [`MONOTONIC`] says. All other clocks are real.
///
/// # Safety
/// As for the libc function: `time` points to a writable `timespec`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    type Function = unsafe extern "C" fn(clockid_t, *mut timespec) -> c_int;
    let simulated = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE if is_sealed() => Some(EPOCH + NOW.get()),
        libc::CLOCK_MONOTONIC if is_sealed() => MONOTONIC.get(),
        _ => None,
    };
    if let Some(now) = simulated {
        let value = timespec { tv_sec: now.as_secs().cast_signed(), tv_nsec: c_long::from(now.subsec_nanos()) };
        // SAFETY: the caller guarantees it.
        unsafe { time.write(value) };
        return 0;
    }
    // SAFETY: libc's function of this name has this type.
    unsafe { std::mem::transmute::<*mut c_void, Function>(real(&REAL, c"clock_gettime"))(clock, time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;

    fn draw(seed: u64) -> (u64, [u8; 16], u64) {
        sealed(seed, || {
            let mut ring = [0u8; 16];
            let provider = rtc::crypto::default_provider().expect("ring is compiled in");
            provider.random().fill(&mut ring).expect("entropy never fails");
            set_wall_clock(Duration::from_secs(7));
            #[allow(clippy::disallowed_methods)] // the shim's own test
            let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
            (RandomState::new().hash_one(1), ring, wall.as_secs())
        })
        .expect("no panic")
    }

    #[test]
    fn one_seed_gives_one_stream_and_another_gives_another() {
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1).0, draw(2).0);
        assert_ne!(draw(1).1, draw(2).1);
        assert_eq!(draw(1).2, EPOCH.as_secs() + 7);
    }

    #[cfg(feature = "str0m")]
    #[test]
    #[allow(clippy::disallowed_methods)] // the shim's own test
    fn the_monotonic_clock_is_the_simulations_only_within_a_call() {
        use std::time::Instant;
        let at = |seconds| within(Duration::from_secs(seconds), Instant::now);
        let read = move || sealed(1, move || (at(0), at(7), Instant::now())).expect("no panic");
        let (first, second) = (read(), read());
        assert_eq!((first.0, first.1), (second.0, second.1), "it is the same in every simulation");
        assert_eq!(first.1 - first.0, Duration::from_secs(7));
        assert!(first.2 != first.0 && second.2 > first.2, "the real clock goes on");
        assert!(at(0) >= second.2, "outside a simulation it is real");
    }

    #[test]
    fn outside_a_simulation_entropy_is_real() {
        let real = || {
            std::thread::Builder::new()
                .spawn(|| RandomState::new().hash_one(1))
                .expect("thread")
                .join()
                .expect("no panic")
        };
        assert_ne!(real(), real());
    }
}
