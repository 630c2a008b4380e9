//! How the program is linked: to start fast, and to run on any host with the same or a newer glibc.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        // A position-independent executable has 6,700 addresses to adjust at each start: 0.7 ms of a one-shot client's
        // 2.5 ms. This one is linked to a fixed address; its stack, heap and libraries stay where chance puts them.
        println!("cargo:rustc-link-arg-bins=-no-pie");
        // Names of the C library that a run never uses need not be looked up before it starts.
        println!("cargo:rustc-link-arg-bins=-Wl,-z,lazy");
        if let Some(directory) = std::env::var_os("OUT_DIR") {
            link_libgcc_statically(std::path::Path::new(&directory));
        }
    }
}

/// The compiler's support library goes into the program, so that glibc is all that a host must have. The standard
/// library asks the linker for `gcc_s` by name; this directory, searched first, answers with the static halves of it.
fn link_libgcc_statically(directory: &std::path::Path) {
    if std::fs::write(directory.join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n").is_ok() {
        println!("cargo:rustc-link-arg-bins=-L{}", directory.display());
    }
}
