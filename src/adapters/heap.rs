//! The system's allocator: set up to stay small, and told to give back what a round used. The only unsafe code here.

/// By default glibc gives each thread a pool of its own and keeps what was freed in all of them: with a push of 500
/// commits, where the heap in use was 23 MiB, 46 stayed resident; with two pools that give back what they do not need it
/// was 30, at the same speed. One alone would save another MiB or two, but threads would wait for each other: a start
/// with 4,000 messages took a third longer. Whoever sets `MALLOC_ARENA_MAX` decides by himself. To be called first, while
/// the process has one thread.
#[allow(unsafe_code)] // mallopt has no safe door
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_small() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: stores two numbers inside the allocator, which its documentation allows at any time.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 2);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * 1024);
        }
    }
}

/// Gives free pages back that lie between used ones; takes milliseconds. By itself glibc only shortens its pools.
#[allow(unsafe_code)] // malloc_trim has no safe door
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn give_back() {
    // SAFETY: touches free memory only, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_small() {}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}
