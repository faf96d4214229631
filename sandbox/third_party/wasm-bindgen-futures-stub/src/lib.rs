//! An empty stand-in for a crate that is only used on wasm targets.

#[cfg(target_family = "wasm")]
compile_error!("stub: wasm targets are not built in this workspace");
