//! What `wit-bindgen` makes of the contract in `wit/`. Nothing here is written by hand, and only
//! [`crate::host`] and [`crate::guest`] name it.

#![expect(clippy::mem_forget, reason = "generated")]

wit_bindgen::generate!({
    world: "filter",
    path: "wit",
    pub_export_macro: true,
    export_macro_name: "__export_bindings",
    default_bindings_module: "nuncio_sdk::__private::bindings",
});
