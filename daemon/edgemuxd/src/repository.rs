//! The model repository: `NAME/VERSION/model.FORMAT`, and `NAME/model.toml` with the terms that load it at start.
//!
//! A version may be there in several formats, for devices of several kinds: `model_edgetpu.tflite` as the edgeTPU's compiler
//! made it, and beside it `model.tflite`, which the processor can run.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use edgemux_tflite_common::file::{EDGETPU_OPERATOR, File};

use crate::runtimes::Format;
use crate::terms::{Terms, TermsError};

/// Is this a model's, version's or device's name? Such a name is one folder below another, never a way out.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Why a model is not to be had from the repository.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Not a name.
    #[error("{0:?} is no model name: 1 to 64 letters, digits, '.', '_' or '-', and neither '.' nor '..'")]
    Name(String),
    /// A name for a session that is a model's.
    #[error("'{0}' is a model of the repository: a session has its model's name, or one that no model has")]
    Taken(String),
    /// Not a version.
    #[error("{0:?} is no model version: a whole number of at least 1")]
    Version(String),
    /// No such model.
    #[error("model '{model}' is not found in the repository {repository}")]
    NoModel {
        /// The name.
        model: String,
        /// The folder looked in.
        repository: PathBuf,
    },
    /// No such version of it.
    #[error("model '{model}' has no version '{version}' in the repository {repository}")]
    NoVersion {
        /// The name.
        model: String,
        /// The version.
        version: String,
        /// The folder looked in.
        repository: PathBuf,
    },
    /// A version without a model file.
    #[error("{folder} holds no model file: one of {known} is needed")]
    NoFile {
        /// The version's folder.
        folder: PathBuf,
        /// The names a model file may have.
        known: String,
    },
    /// A folder or file that cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A broken `model.toml`.
    #[error("{file}: {error}")]
    Declaration {
        /// The file.
        file: PathBuf,
        /// Where and what.
        error: Box<toml::de::Error>,
    },
    /// A `model.toml` whose terms cannot be.
    #[error("{file}: {error}")]
    Terms {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        error: TermsError,
    },
}

/// A version of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelVersion {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u64,
    /// Its files, at least one, each in another format.
    pub files: Vec<ModelFile>,
}

/// A model file that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// The model, as clients ask for it.
    pub model: String,
    /// The repository's name of it, where that is another.
    pub source: Option<String>,
    /// The version.
    pub version: u64,
    /// The file.
    pub path: PathBuf,
    /// What it holds.
    pub format: Format,
}

impl ModelVersion {
    /// `MODEL/VERSION`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.model, self.version)
    }

    /// The same under another name, which no model of the repository has.
    pub fn served_as(mut self, name: &str) -> Self {
        for file in &mut self.files {
            file.source = Some(std::mem::replace(&mut file.model, name.to_owned()));
        }
        self.model = name.to_owned();
        self
    }

    /// Has it a name of its own?
    pub fn is_renamed(&self) -> bool {
        self.files.iter().any(|file| file.source.is_some())
    }

    /// Looks into those files of which the name does not tell enough. Reads them.
    pub fn look_inside(&mut self) {
        for file in self.files.iter_mut().filter(|file| file.format == Format::Tflite) {
            if is_compiled(&file.path) {
                file.format = Format::EdgetpuTflite;
            }
        }
    }
}

impl ModelFile {
    /// The file's own name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Is a part of this `.tflite` for an edgeTPU? Of what cannot be read or is none, its runtime will say so.
fn is_compiled(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    let operators = File::parse(&bytes).map(|file| file.custom_operators);
    operators.is_ok_and(|operators| operators.iter().any(|custom| custom.name == EDGETPU_OPERATOR))
}

/// A folder of models.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
}

impl Repository {
    /// The repository in `root`, which must be a folder that can be read.
    pub fn open(root: &Path) -> Result<Self, RepositoryError> {
        let read = |error| RepositoryError::Read { path: root.to_owned(), error };
        let root = root.canonicalize().map_err(read)?;
        std::fs::read_dir(&root).map_err(read)?;
        Ok(Self { root })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every model with its versions, in order. Folders that are no models are passed over.
    pub fn models(&self) -> Result<BTreeMap<String, Vec<u64>>, RepositoryError> {
        let mut models = BTreeMap::new();
        for name in subfolders(&self.root)? {
            if is_name(&name) {
                let versions = self.versions(&name)?;
                models.insert(name, versions);
            }
        }
        Ok(models)
    }

    /// A version of a model; an empty `version` asks for the newest.
    pub fn find(&self, model: &str, version: &str) -> Result<ModelVersion, RepositoryError> {
        if !is_name(model) {
            return Err(RepositoryError::Name(model.to_owned()));
        }
        if !self.root.join(model).is_dir() {
            return Err(RepositoryError::NoModel { model: model.to_owned(), repository: self.root.clone() });
        }
        let versions = self.versions(model)?;
        let found = match version {
            "" => versions.last().copied(),
            asked => Some(parse_version(asked)?).filter(|version| versions.contains(version)),
        };
        let found = found.ok_or_else(|| RepositoryError::NoVersion {
            model: model.to_owned(),
            version: version.to_owned(),
            repository: self.root.clone(),
        })?;
        self.files(model, found)
    }

    /// Checks a name that a session is to have beside the repository's models.
    pub fn check_session_name(&self, name: &str) -> Result<(), RepositoryError> {
        if !is_name(name) {
            return Err(RepositoryError::Name(name.to_owned()));
        }
        if self.root.join(name).is_dir() {
            return Err(RepositoryError::Taken(name.to_owned()));
        }
        Ok(())
    }

    /// The terms in `NAME/model.toml`; `None` where there is no such file.
    pub fn declared(&self, model: &str) -> Result<Option<Terms>, RepositoryError> {
        let file = self.root.join(model).join("model.toml");
        let text = match std::fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| RepositoryError::Read { path: file.clone(), error })?,
        };
        let terms: Terms = toml::from_str(&text)
            .map_err(|error| RepositoryError::Declaration { file: file.clone(), error: Box::new(error) })?;
        terms.check().map_err(|error| RepositoryError::Terms { file, error })?;
        Ok(Some(terms))
    }

    fn versions(&self, model: &str) -> Result<Vec<u64>, RepositoryError> {
        let mut versions: Vec<_> =
            subfolders(&self.root.join(model))?.iter().filter_map(|name| parse_version(name).ok()).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    fn files(&self, model: &str, version: u64) -> Result<ModelVersion, RepositoryError> {
        let folder = self.root.join(model).join(version.to_string());
        let mut files = Vec::new();
        for format in Format::ALL {
            let path = folder.join(format.file_name());
            match path.try_exists() {
                Ok(true) => {
                    files.push(ModelFile { model: model.to_owned(), source: None, version, path, format });
                }
                Ok(false) => {}
                Err(error) => return Err(RepositoryError::Read { path, error }),
            }
        }
        if files.is_empty() {
            let known = Format::ALL.map(Format::file_name).join(", ");
            return Err(RepositoryError::NoFile { folder, known });
        }
        Ok(ModelVersion { model: model.to_owned(), version, files })
    }
}

/// A version as its folder is named: no sign, no leading zero.
fn parse_version(text: &str) -> Result<u64, RepositoryError> {
    match text.parse() {
        Ok(version)
            if version > 0 && text.bytes().next().is_some_and(|first| (b'1'..=b'9').contains(&first)) =>
        {
            Ok(version)
        }
        _ => Err(RepositoryError::Version(text.to_owned())),
    }
}

fn subfolders(path: &Path) -> Result<Vec<String>, RepositoryError> {
    let read = |error| RepositoryError::Read { path: path.to_owned(), error };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(read)? {
        let entry = entry.map_err(read)?;
        // Follows links: operators keep large models elsewhere.
        if entry.path().is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(files: &[&str]) -> (tempfile::TempDir, Repository) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let repository = Repository::open(folder.path()).unwrap();
        (folder, repository)
    }

    #[test]
    fn the_newest_version_is_the_largest_number() {
        let (_folder, repository) =
            repository(&["a/2/model.onnx", "a/10/model.onnx", "a/09/model.onnx", "a/x/model.onnx"]);
        assert_eq!(repository.find("a", "").unwrap().version, 10);
        assert_eq!(repository.find("a", "2").unwrap().version, 2);
        assert_eq!(repository.models().unwrap()["a"], [2, 10]);
    }

    #[test]
    fn names_that_climb_out_are_refused_before_any_file_is_touched() {
        let (_folder, repository) = repository(&["a/1/model.onnx"]);
        for name in ["", ".", "..", "../a", "a/1", "/etc", "a\0", "a b", "ä", &"x".repeat(65)] {
            assert!(matches!(repository.find(name, ""), Err(RepositoryError::Name(_))), "{name:?}");
        }
        for version in ["0", "-1", "+1", "01", "../1", "1/", "99999999999999999999", " 1"] {
            assert!(matches!(repository.find("a", version), Err(RepositoryError::Version(_))), "{version:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let (_folder, repository) = repository(&["a/1/readme.txt", "b/readme.txt"]);
        assert!(matches!(repository.find("c", ""), Err(RepositoryError::NoModel { .. })));
        assert!(matches!(repository.find("b", ""), Err(RepositoryError::NoVersion { .. })));
        assert!(matches!(repository.find("a", "3"), Err(RepositoryError::NoVersion { .. })));
        let error = repository.find("a", "1").unwrap_err().to_string();
        assert!(error.contains("model.onnx") && error.contains("model.emu.toml"), "{error}");
    }

    #[test]
    fn a_version_in_several_formats_has_a_file_of_each_and_a_compiled_one_is_known_from_inside() {
        let (folder, repository) =
            repository(&["a/1/model.onnx", "a/1/model_edgetpu.tflite", "a/1/model.tflite"]);
        let formats = |found: &ModelVersion| found.files.iter().map(|file| file.format).collect::<Vec<_>>();
        let mut found = repository.find("a", "").unwrap();
        let by_name = [Format::Onnx, Format::Tflite, Format::EdgetpuTflite];
        assert_eq!(formats(&found), by_name);
        // What is no model at all is left to its runtime to refuse.
        found.look_inside();
        assert_eq!(formats(&found), by_name);
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes/edgetpu/tests/models");
        for (model, format) in [("echo", Format::EdgetpuTflite), ("processor_only", Format::Tflite)] {
            std::fs::copy(
                models.join(model).with_extension("tflite"),
                folder.path().join("a/1/model.tflite"),
            )
            .unwrap();
            let mut found = repository.find("a", "").unwrap();
            found.look_inside();
            assert_eq!(found.files[1].format, format, "{model}");
        }
    }

    #[test]
    fn a_declaration_gives_terms_and_a_broken_one_says_where() {
        let (folder, repository) = repository(&["a/1/model.onnx", "b/1/model.onnx"]);
        let declare = |text: &str| std::fs::write(folder.path().join("a/model.toml"), text).unwrap();
        assert!(repository.declared("b").unwrap().is_none());
        declare("");
        assert!(repository.declared("a").unwrap().is_some());
        declare("version = 1\nrate-hz = 10.0\npriority = 1\n[objective]\nquantile = 0.99\nlatency-ms = 20.0");
        let terms = repository.declared("a").unwrap().unwrap();
        assert_eq!((terms.version, terms.rate_hz), (Some(1), Some(10.0)));
        for broken in ["rate-hz = -1.0", "rate-hz = inf", "rate = 1.0", "objective = 3"] {
            declare(broken);
            let error = repository.declared("a").expect_err(broken).to_string();
            assert!(error.contains("model.toml"), "{error}");
        }
    }

    #[test]
    fn a_repository_that_is_no_folder_is_refused() {
        let (folder, _) = repository(&["file"]);
        assert!(matches!(Repository::open(&folder.path().join("file")), Err(RepositoryError::Read { .. })));
        assert!(matches!(Repository::open(&folder.path().join("none")), Err(RepositoryError::Read { .. })));
    }
}
