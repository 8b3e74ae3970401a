//! The files of the checkout as text.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::Result;

/// Folders with Rust code of ours.
const CODE: [&str; 3] = ["crates/", "integration/", "xtask/"];

/// What is made here, not written: the entries of .gitignore, and git's own.
const SKIPPED: [&str; 3] = [".git", ".pganatomy", "target"];

/// Files by path from the root, with `/` between folders.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Everything below `root` that somebody wrote.
    pub(crate) fn read(root: &Path) -> Result<Tree> {
        let mut tree = Tree::default();
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
        for entry in fs::read_dir(folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if prefix.is_empty() && SKIPPED.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_dir() {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).map_err(|e| format!("{path}: {e}"))?;
                self.files.insert(path, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        Ok(())
    }

    /// A tree for tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Tree { files: files.collect() }
    }

    /// Replaces a file's text.
    pub(crate) fn insert(&mut self, path: String, text: String) {
        self.files.insert(path, text);
    }

    /// All files.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The Rust files of the project.
    pub(crate) fn rust_files(&self) -> impl Iterator<Item = (&str, &str)> {
        let ours = |path: &str| CODE.iter().any(|folder| path.starts_with(folder)) && path.ends_with(".rs");
        self.files().filter(move |(path, _)| ours(path))
    }

    /// The documents.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| path.ends_with(".md"))
    }

    /// The names of the crates in `crates/`: the folders with a Cargo.toml.
    pub(crate) fn crates(&self) -> impl Iterator<Item = &str> {
        self.files.keys().filter_map(|path| {
            let name = path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
            (!name.contains('/')).then_some(name)
        })
    }

    /// A file's text.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Is there a file or a folder at `path`? `*` stands for any end of it.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let beginning = path.split('*').next().unwrap_or(path);
        if beginning.len() < path.len() {
            return self.files.keys().any(|file| file.starts_with(beginning));
        }
        let path = path.trim_end_matches('/');
        let inside = format!("{path}/");
        path.is_empty() || self.files.contains_key(path) || self.files.keys().any(|f| f.starts_with(&inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_folders_and_patterns_exist() {
        let tree = Tree::of(&[("crates/a/Cargo.toml", ""), ("crates/a/src/lib.rs", ""), ("b.rs", "")]);
        for path in ["crates/a/src/lib.rs", "crates/a/src", "crates/a/", "crates/*", "b.rs"] {
            assert!(tree.exists(path), "{path}");
        }
        for path in ["crates/b", "crates/a/src/li", "x*"] {
            assert!(!tree.exists(path), "{path}");
        }
        assert_eq!(tree.crates().collect::<Vec<_>>(), ["a"]);
        assert_eq!(tree.rust_files().map(|(path, _)| path).collect::<Vec<_>>(), ["crates/a/src/lib.rs"]);
    }

    #[test]
    fn what_is_made_here_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["target", "crates/target"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
            fs::write(folder.path().join(path).join("a.rs"), "").unwrap();
        }
        let tree = Tree::read(folder.path()).unwrap();
        assert_eq!(tree.files().map(|(path, _)| path).collect::<Vec<_>>(), ["crates/target/a.rs"]);
    }
}
