//! The one command; all logic stands in the library and under `command`.
#![forbid(unsafe_code)]

mod command;

fn main() -> std::process::ExitCode {
    command::main()
}
