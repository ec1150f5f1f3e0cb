//! Hands over to `cli`; nothing else.

fn main() -> std::process::ExitCode {
    lynceus::cli::main()
}
