//! Writes completions/ and man/ from the table of flags: `cargo run --example generate`.

#[path = "../tests/support/generate.rs"]
mod generate;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in generate::files()? {
        let file = root.join(&path);
        if let Some(room) = file.parent() {
            std::fs::create_dir_all(room)?;
        }
        std::fs::write(&file, text)?;
        eprintln!("{path}");
    }
    Ok(())
}
