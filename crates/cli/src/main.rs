//! The `skans` binary: arguments in, output and exit codes out. No logic lives here.
fn main() {}
