//! The `nuncio` program: a thin shell over the library.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    nuncio::cli::run(nuncio::cli::Cli::parse())
}
