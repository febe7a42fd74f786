//! Model files for the tests.

use std::path::{Path, PathBuf};

/// An emulated model: FP32 input `INPUT0` of four elements, and its copy `OUTPUT0`.
#[derive(Clone, Debug)]
pub struct Emulated {
    mean_ms: f64,
    responses: u32,
    cv: Option<f64>,
    reload_ms: Option<f64>,
    group: Option<String>,
    memory_bytes: u64,
    faults: String,
    terms: Option<String>,
}

impl Emulated {
    /// Takes `mean_ms` for each request, always the same; runs on `gpu0`, loaded at start.
    pub fn new(mean_ms: f64) -> Self {
        Self {
            mean_ms,
            responses: 1,
            cv: None,
            reload_ms: None,
            group: None,
            memory_bytes: 0,
            faults: String::new(),
            terms: Some("devices = ['gpu']\n".into()),
        }
    }

    /// Runs on `tpu0`.
    pub fn on_tpu(mut self) -> Self {
        self.terms = Some("devices = ['edgetpu']\n".into());
        self
    }

    /// Is in the repository, and not loaded at start.
    pub fn not_at_start(mut self) -> Self {
        self.terms = None;
        self
    }

    /// Takes times that vary by this coefficient, lognormally.
    pub fn varied(mut self, cv: f64) -> Self {
        self.cv = Some(cv);
        self
    }

    /// Takes so much longer after another model has run, or one of another group.
    pub fn reloads(mut self, ms: f64) -> Self {
        self.reload_ms = Some(ms);
        self
    }

    /// If it reloads: keeps the parameters of others of this group, and they keep its own.
    pub fn group(mut self, group: &str) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Holds this much of the device's memory.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Is loaded at start under these terms, as `model.toml` writes them.
    pub fn terms(mut self, terms: &str) -> Self {
        self.terms = Some(terms.into());
        self
    }

    /// Answers each request this often.
    pub fn responses(mut self, responses: u32) -> Self {
        self.responses = responses;
        self
    }

    /// Adds a `[[fault]]`: its keys, as a model file writes them. Requests are numbered from 1 after each load, the two
    /// of the warm-up included.
    pub fn fault(mut self, keys: &str) -> Self {
        self.faults += &format!("[[fault]]\n{keys}\n");
        self
    }

    /// Takes `ms` for the first request after the warm-up: time for others to queue behind it.
    pub fn first_takes(self, ms: f64) -> Self {
        let factor = ms / self.mean_ms;
        self.fault(&format!("kind = 'slow-down'\nafter-requests = 3\nfactor = {factor:.1}\nrequests = 1"))
    }

    /// Writes version 1 of it as the model `name`.
    pub fn write(&self, repository: &Path, name: &str) {
        self.write_version(repository, name, 1);
    }

    /// Writes it as this version of the model `name`.
    pub fn write_version(&self, repository: &Path, name: &str, version: u32) {
        let Self { mean_ms, responses, faults, terms, .. } = self;
        let service = match self.cv {
            Some(cv) => format!("cv = {cv}\n"),
            None => "distribution = 'deterministic'\n".to_owned(),
        };
        let reload = match self.reload_ms {
            Some(ms) => format!("[reload]\noverhead-ms = {ms:.3}\non-chip-bytes = 1000000\n"),
            None => String::new(),
        };
        let group = self.group.as_ref().map_or_else(String::new, |group| format!("group = '{group}'\n"));
        let memory = format!("[memory]\nat-rest-bytes = {}\n", self.memory_bytes);
        let tensor = |kind: &str| {
            format!("[[{kind}]]\nname = '{}0'\ndatatype = 'FP32'\nshape = [4]\n", kind.to_uppercase())
        };
        let text = format!(
            "responses = {responses}\n{}{}[service]\nmean-ms = {mean_ms:.3}\n{service}{reload}{group}{memory}{faults}",
            tensor("input"),
            tensor("output")
        );
        write(repository, name, &format!("{version}/model.emu.toml"), text.as_bytes());
        if let Some(terms) = terms {
            write(repository, name, "model.toml", terms.as_bytes());
        }
    }
}

/// Writes a file below the folder of the model `name`.
pub(crate) fn write(repository: &Path, name: &str, file: &str, contents: &[u8]) {
    let path = repository.join(name).join(file);
    std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder for the model");
    std::fs::write(path, contents).expect("the model's file");
}

/// A model of `examples/models`.
pub(crate) fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models").join(file)
}
