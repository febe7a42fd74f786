//! The published measurements of a shared edgeTPU and of a Jetson Nano, held against the models: those of the paper that
//! they come from, and ours.
//!
//! The figures are those of Liang, Hanafy, Ali-Eldin, Shenoy, ACM TAAS 18(1), 2023 (doi 10.1145/3582080); what was taken
//! from where stands at the head of each file in `calibration/data`.

mod compare;
mod data;
#[cfg(feature = "plot")]
mod figure;
mod report;
mod summary;
mod together;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use edgemux_calibration::predict::PredictError;
use thiserror::Error;

pub(crate) use data::ProfileName;
pub(crate) use report::Published;

/// Why there is no comparison.
#[derive(Debug, Error)]
pub(crate) enum PublishedError {
    /// A table of this program's own.
    #[error("the data built into this command cannot be read: {0}")]
    Data(String),
    #[error("cannot predict a published setting: {0}")]
    Predict(#[from] PredictError),
    #[error("cannot write {path}: {cause}")]
    Write { path: PathBuf, cause: io::Error },
    #[cfg(feature = "plot")]
    #[error(transparent)]
    Plot(#[from] crate::plot::PlotError),
}

impl PublishedError {
    /// A stable name for scripts.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Data(_) => "INTERNAL",
            Self::Predict(_) => "PREDICTION",
            Self::Write { .. } => "WRITE",
            #[cfg(feature = "plot")]
            Self::Plot(_) => "WRITE",
        }
    }
}

/// Compares, and writes table and plot into a folder, which is made if it is not there.
pub(crate) fn run(folder: &Path, profile: ProfileName) -> Result<Published, PublishedError> {
    let points = compare::points(profile)?;
    let mut summaries = Vec::new();
    for name in ProfileName::ALL {
        summaries.push(summary::of(name, &compare::points(name)?));
    }
    fs::create_dir_all(folder).map_err(|cause| unwritten(folder, cause))?;
    let mut published = Published::new(profile, points, summaries, together::both()?);
    for (name, text) in [("published.csv", published.csv()), ("published.md", published.markdown())] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|cause| unwritten(&path, cause))?;
        published.files.push(path);
    }
    #[cfg(feature = "plot")]
    for name in ["published.svg", "published.png"] {
        let path = folder.join(name);
        crate::plot::write(&path, &figure::PublishedFigure::new(&published.points))?;
        published.files.push(path);
    }
    Ok(published)
}

fn unwritten(path: &Path, cause: io::Error) -> PublishedError {
    PublishedError::Write { path: path.to_owned(), cause }
}
