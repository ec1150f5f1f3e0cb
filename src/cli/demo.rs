//! `demo`: the whole story on one machine, told on the terminal.

use clap::Args;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Stay after the story, until interrupted.
    #[arg(long)]
    pub keep: bool,
}

/// Runs `demo`.
pub fn run(_args: DemoArgs) -> u8 {
    super::fail(1, "the stage is being built")
}
