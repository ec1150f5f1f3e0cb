//! The command line: composes everything, owns flags and exit codes.
