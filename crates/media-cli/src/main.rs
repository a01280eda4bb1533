//! The program `media` with the providers that its features build in.

fn main() -> std::process::ExitCode {
    media_cli::main_with(media_registry::Registry::built_in())
}
