//! Chooses and sets up the allocator, and hands over to `cli`; nothing else.

/// Lists of Applications load faster than with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 2 and 3.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Freed pages go back to the system at once. By default they do a second later, when the thread that freed them works
/// again; after the first list of all Applications that may be never, and a third of the memory would be lost to it.
#[allow(unsafe_code)] // mimalloc's options have no safe door
fn free_at_once() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: stores one number inside the allocator; its documentation allows this at any time, and no other thread
        // runs yet.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) }
    }
}

/// The allocator asks for huge pages, of which each holds 2 MiB for whatever little is used of it: twenty MiB more for a
/// daemon of this size, and nothing faster. Where the kernel has no such switch they stay.
#[allow(unsafe_code)] // no safe door either
#[cfg(target_os = "linux")]
fn no_huge_pages() {
    if std::env::var_os("MIMALLOC_ALLOW_THP").is_none() {
        // SAFETY: changes a flag of this process's address space and touches no memory.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    }
}

#[cfg(not(target_os = "linux"))]
fn no_huge_pages() {}

fn main() -> std::process::ExitCode {
    free_at_once();
    no_huge_pages();
    lynceus::cli::main()
}
