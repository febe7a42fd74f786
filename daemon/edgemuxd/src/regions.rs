//! Shared memory regions that clients have registered. The daemon opens them and never maps them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use edgemux_runtime_api::client::{Region, RegionError, RegionSlice};

/// Why a region was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The name is taken.
    #[error("shared memory region '{0}' already in manager")]
    Taken(String),
    /// As many as may be.
    #[error("{0} shared memory regions are registered, as many as limits.shared-memory-regions allows")]
    TooMany(usize),
    /// The memory itself.
    #[error("Unable to open shared memory region: '{name}': {error}")]
    Region {
        /// The region's name.
        name: String,
        /// Why.
        error: RegionError,
    },
}

/// Why a stretch of a region cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// No such region.
    #[error("Unable to find shared memory region: '{0}'")]
    Unknown(String),
    /// Outside of it.
    #[error("Invalid offset + byte size for shared memory region: '{0}'")]
    Outside(String),
}

/// Registered regions by name.
#[derive(Debug)]
pub struct Regions {
    limit: usize,
    by_name: RwLock<BTreeMap<String, Arc<Region>>>,
}

impl Regions {
    /// None yet, at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self { limit, by_name: RwLock::default() }
    }

    /// Registers `len` bytes from `offset` on of the POSIX shared memory object `key` as `name`.
    pub fn register(&self, name: &str, key: &str, offset: u64, len: u64) -> Result<(), RegisterError> {
        let mut regions = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        if regions.contains_key(name) {
            return Err(RegisterError::Taken(name.to_owned()));
        }
        if regions.len() >= self.limit {
            return Err(RegisterError::TooMany(self.limit));
        }
        let region = Region::open(key, offset, len)
            .map_err(|error| RegisterError::Region { name: name.to_owned(), error })?;
        regions.insert(name.to_owned(), Arc::new(region));
        Ok(())
    }

    /// Forgets a region; requests that use it keep it until they are over. An unknown one is no error.
    pub fn unregister(&self, name: &str) {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Forgets all.
    pub fn unregister_all(&self) {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The regions, by name.
    pub fn list(&self) -> BTreeMap<String, Arc<Region>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `len` bytes from `offset` on of the region `name`.
    pub fn slice(&self, name: &str, offset: u64, len: u64) -> Result<RegionSlice, SliceError> {
        let regions = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let region = regions.get(name).ok_or_else(|| SliceError::Unknown(name.to_owned()))?;
        RegionSlice::new(Arc::clone(region), offset, len).ok_or_else(|| SliceError::Outside(name.to_owned()))
    }
}
