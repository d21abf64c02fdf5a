//! Dispatch only; see [`tapline::cli`].

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    tapline::cli::run().into()
}
