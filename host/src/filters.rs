//! The built-in filters as components, compiled with the program by `build.rs`.

include!(concat!(env!("OUT_DIR"), "/filters.rs"));
