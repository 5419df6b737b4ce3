//! A folder of a test's own, for configurations and keys.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder below the temporary one. Dropping it removes it and all that is in it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An empty one, which no other test has.
    #[expect(clippy::new_without_default, reason = "a default must not write to the disk")]
    pub fn new() -> Self {
        Self::below(std::env::temp_dir())
    }

    /// The same below another folder.
    pub fn below(parent: impl AsRef<Path>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("herenow-test-{}-{number}", std::process::id());
        let path = parent.as_ref().join(name);
        std::fs::create_dir_all(&path).expect("the folder can be written");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file as editors do it: a half-written file is never seen.
    pub fn write(&self, name: &str, text: &str) {
        let (draft, file) = (self.0.join("draft"), self.0.join(name));
        std::fs::write(&draft, text).expect("the folder can be written");
        std::fs::rename(draft, file).expect("the folder can be written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
