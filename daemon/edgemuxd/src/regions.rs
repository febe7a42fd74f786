//! Shared memory regions that clients have registered. The daemon opens them and never maps them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use edgemux_runtime_api::client::{Region, RegionError, RegionSlice};

use crate::access::Caller;
use crate::config::Current;

/// Why a region was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The name is taken.
    #[error("shared memory region '{0}' already in manager")]
    Taken(String),
    /// As many as may be.
    #[error("{0} shared memory regions are registered, as many as limits.shared-memory-regions allows")]
    TooMany(usize),
    /// Not the caller's to have read and written.
    #[error(
        "Unable to open shared memory region: '{name}': {key:?} is user {owner}'s, and not of whoever asks"
    )]
    NotYours {
        /// The region's name.
        name: String,
        /// The object's.
        key: String,
        /// The object's owner.
        owner: u32,
    },
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
    current: Current,
    by_name: RwLock<BTreeMap<String, Arc<Region>>>,
}

impl Regions {
    /// None yet, at most as many as configured.
    pub fn new(current: Current) -> Self {
        Self { current, by_name: RwLock::default() }
    }

    /// Those of one caller. Others may have regions of the same names.
    pub fn of<'a>(&'a self, caller: &'a Caller) -> Own<'a> {
        Own { regions: self, caller }
    }
}

/// The regions of one caller.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    regions: &'a Regions,
    caller: &'a Caller,
}

impl Own<'_> {
    /// Registers `len` bytes from `offset` on of the POSIX shared memory object `key` as `name`.
    pub fn register(self, name: &str, key: &str, offset: u64, len: u64) -> Result<(), RegisterError> {
        let mut regions = self.regions.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let scoped = self.caller.scoped(name);
        if regions.contains_key(&scoped) {
            return Err(RegisterError::Taken(name.to_owned()));
        }
        let limit = self.regions.current.get().limits.shared_memory_regions;
        if regions.len() >= limit {
            return Err(RegisterError::TooMany(limit));
        }
        let region = Region::open(key, offset, len)
            .map_err(|error| RegisterError::Region { name: name.to_owned(), error })?;
        if !self.caller.may_share_memory_of(region.owner()) {
            let (name, key, owner) = (name.to_owned(), key.to_owned(), region.owner());
            return Err(RegisterError::NotYours { name, key, owner });
        }
        regions.insert(scoped, Arc::new(region));
        Ok(())
    }

    /// Forgets a region; requests that use it keep it until they are over. An unknown one is no error.
    pub fn unregister(self, name: &str) {
        let mut regions = self.regions.by_name.write().unwrap_or_else(PoisonError::into_inner);
        regions.remove(&self.caller.scoped(name));
    }

    /// Forgets all.
    pub fn unregister_all(self) {
        let own = self.caller.scoped("");
        let mut regions = self.regions.by_name.write().unwrap_or_else(PoisonError::into_inner);
        regions.retain(|name, _| !name.starts_with(&own));
    }

    /// The regions, by name.
    pub fn list(self) -> BTreeMap<String, Arc<Region>> {
        let own = self.caller.scoped("");
        let regions = self.regions.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let names = regions.iter().filter_map(|(name, region)| Some((name.strip_prefix(&own)?, region)));
        names.map(|(name, region)| (name.to_owned(), Arc::clone(region))).collect()
    }

    /// `len` bytes from `offset` on of the region `name`.
    pub fn slice(self, name: &str, offset: u64, len: u64) -> Result<RegionSlice, SliceError> {
        let regions = self.regions.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let region =
            regions.get(&self.caller.scoped(name)).ok_or_else(|| SliceError::Unknown(name.to_owned()))?;
        RegionSlice::new(Arc::clone(region), offset, len).ok_or_else(|| SliceError::Outside(name.to_owned()))
    }
}
