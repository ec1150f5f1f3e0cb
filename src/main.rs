//! Hands over to `cli`; nothing else.

/// Frees pages of many small objects sooner than the system's allocator, and lists of Applications load faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    lynceus::cli::main()
}
