//! The `nuncio` program: a thin shell over the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    nuncio::cli::run(nuncio::cli::parse(), give_back)
}

/// Gives memory back to the system that nobody has any more. By itself the allocator would do so when
/// this thread frees something later, which it may never do.
#[expect(unsafe_code, reason = "the allocator has no safe form of it")]
fn give_back() {
    unsafe extern "C" {
        fn mi_collect(force: bool);
    }
    // SAFETY: mimalloc is the allocator of this program, and any thread may call this at any time.
    unsafe { mi_collect(true) }
}
