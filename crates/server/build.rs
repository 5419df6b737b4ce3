//! Embeds the console, the demo and the SDK's sources, so that the binary serves them from anywhere.
//! Knows file names alone; which files are served, and how, is decided in `embedded`, `console` and
//! `dev`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    // Read when it runs, not when it was compiled: a cached build script may serve another checkout.
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts");
    let root = Path::new(&here).join("../..").canonicalize()?;
    let mut entries = String::new();
    let folders = [
        ("console/", root.join("console")),
        ("demo/", root.join("demo")),
        ("sdk/", root.join("sdk/src")),
    ];
    for (url, folder) in folders {
        println!("cargo:rerun-if-changed={}", folder.display());
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        files.sort();
        for file in files {
            let below = file.strip_prefix(&folder).expect("it was found below the folder");
            let path = below.to_str().expect("the project's file names are UTF-8");
            let url = format!("{url}{}", path.replace('\\', "/"));
            println!("cargo:rerun-if-changed={}", file.display());
            entries.push_str(&format!(
                "({url:?}, include_bytes!({:?})),\n",
                file.display().to_string()
            ));
        }
    }
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it for build scripts"));
    fs::write(out.join("files.rs"), format!("&[\n{entries}]"))
}

/// Hidden files are editors' and version control's. A folder that is missing holds nothing.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
