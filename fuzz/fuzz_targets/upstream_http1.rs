//! See [`nuncio_fuzz::proxy::upstream_http1`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| nuncio_fuzz::proxy::upstream_http1(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    nuncio_fuzz::replay(nuncio_fuzz::proxy::upstream_http1)
}
