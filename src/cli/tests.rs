//! The shape of the command line.

use super::*;

#[test]
fn section_23_the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn section_23_usage_errors_exit_64_and_help_0() {
    for (arguments, status) in [
        (vec!["lynceus", "--help"], 0),
        (vec!["lynceus", "run", "--help"], 0),
        (vec!["lynceus", "version"], 0),
        (vec!["lynceus", "plan", "--nope"], 64),
        (vec!["lynceus", "nope"], 64),
        (vec!["lynceus", "test"], 64),
    ] {
        let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        assert_eq!(dispatch(arguments.clone()), status, "{arguments:?}");
    }
}

#[test]
fn section_23_every_command_has_help() {
    fn walk(command: &clap::Command, path: &str) {
        for sub in command.get_subcommands() {
            let path = format!("{path} {}", sub.get_name());
            assert!(sub.get_about().is_some() || sub.get_name() == "help", "{path} says nothing about itself");
            for argument in sub.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}: {} says nothing about itself", argument.get_id());
            }
            walk(sub, &path);
        }
    }
    let mut command = Cli::command();
    command.build();
    walk(&command, "lynceus");
}
