//! What the shim offers, made safe. Beside opening CUDA ([`crate::cuda`]), `unsafe` stands here and nowhere else.

use std::ffi::{CStr, CString, c_char, c_double, c_int, c_void};
use std::path::Path;
use std::ptr::{self, NonNull};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

/// The processor, or a CUDA device by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Cpu,
    Cuda(u8),
}

impl Device {
    pub(crate) fn is_cuda(self) -> bool {
        self != Self::Cpu
    }

    pub(crate) fn for_tch(self) -> tch::Device {
        match self {
            Self::Cpu => tch::Device::Cpu,
            Self::Cuda(number) => tch::Device::Cuda(number.into()),
        }
    }

    fn number(self) -> c_int {
        match self {
            Self::Cpu => -1,
            Self::Cuda(number) => number.into(),
        }
    }
}

/// What libtorch said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TorchError(pub(crate) String);

impl From<tch::TchError> for TorchError {
    fn from(error: tch::TchError) -> Self {
        Self(error.to_string())
    }
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// libtorch, or the model, says so.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// The model answers with something else than its signature says.
    #[error("{0}")]
    Signature(String),
}

impl From<tch::TchError> for Failure {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}

/// Memory of a device, in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeviceMemory {
    /// That nobody uses, this process or another.
    pub(crate) free: u64,
    /// In all.
    pub(crate) total: u64,
    /// That libtorch uses in this process.
    pub(crate) allocated: u64,
    /// That libtorch has taken from the device in this process.
    pub(crate) reserved: u64,
}

#[repr(C)]
struct RawModule {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawLane {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawMeter {
    _opaque: [u8; 0],
}

// shim/shim.h says what each of these does.
unsafe extern "C" {
    fn em_error() -> *const c_char;
    fn em_version() -> *const c_char;
    fn em_device_count() -> c_int;
    fn em_device_open(device: c_int) -> c_int;
    fn em_device_check(device: c_int) -> c_int;
    fn em_device_memory(device: c_int, memory: *mut DeviceMemory) -> c_int;
    fn em_device_trim(device: c_int) -> c_int;
    fn em_pinned(bytes: i64, tensor: *mut *mut C_tensor) -> c_int;
    fn em_module_load(
        file: *const c_char,
        device: c_int,
        optimize: bool,
        module: *mut *mut RawModule,
    ) -> c_int;
    fn em_module_free(module: *mut RawModule);
    fn em_module_arguments(module: *const RawModule, least: *mut usize, most: *mut usize);
    fn em_module_keeps_state(module: *const RawModule) -> bool;
    fn em_module_reads_only(module: *const RawModule, input: usize) -> bool;
    fn em_module_forward(
        module: *mut RawModule,
        inputs: *const *const C_tensor,
        input_count: usize,
        names: *const *const c_char,
        outputs: *mut *mut C_tensor,
        output_count: usize,
    ) -> c_int;
    fn em_lane_new(device: c_int, lane: *mut *mut RawLane) -> c_int;
    fn em_lane_free(lane: *mut RawLane);
    fn em_lane_stream(lane: *const RawLane) -> i64;
    fn em_lane_mark(lane: *mut RawLane, index: c_int) -> c_int;
    fn em_lane_wait(lane: *mut RawLane, index: c_int) -> c_int;
    fn em_lane_elapsed(lane: *mut RawLane, from: c_int, to: c_int, milliseconds: *mut c_double) -> c_int;
    fn em_meter_start(device: c_int, meter: *mut *mut RawMeter) -> c_int;
    fn em_meter_stop(meter: *mut RawMeter, held: *mut i64, peak: *mut i64) -> c_int;
    fn malloc_trim(pad: usize) -> c_int;
    fn _exit(status: c_int) -> !;
}

/// What the shim returns for a model that does not keep to its signature.
const MISMATCH: c_int = 2;

fn check(failed: c_int) -> Result<(), TorchError> {
    if failed == 0 {
        return Ok(());
    }
    // SAFETY: the shim's text lives on this thread until its next failure, and is copied before that.
    let said = unsafe { CStr::from_ptr(em_error()) };
    Err(TorchError(said.to_string_lossy().trim_end().to_owned()))
}

/// A constructor that succeeded gave something.
fn given<T>(pointer: *mut T) -> Result<NonNull<T>, TorchError> {
    NonNull::new(pointer).ok_or_else(|| TorchError("libtorch gave nothing".into()))
}

// === the device ===

/// The version of libtorch that this was compiled for.
pub(crate) fn version() -> String {
    // SAFETY: a literal of the shim.
    unsafe { CStr::from_ptr(em_version()) }.to_string_lossy().into_owned()
}

/// How many CUDA devices libtorch sees.
pub(crate) fn device_count() -> usize {
    // SAFETY: it takes nothing and throws nothing.
    usize::try_from(unsafe { em_device_count() }).unwrap_or(0)
}

impl Device {
    /// Makes this process's context on a CUDA device; the processor needs none.
    pub(crate) fn open(self) -> Result<(), TorchError> {
        match self {
            Self::Cpu => Ok(()),
            // SAFETY: any number may be tried.
            Self::Cuda(_) => check(unsafe { em_device_open(self.number()) }),
        }
    }

    /// Waits for everything on the device; an error means that the device is of no more use to this process.
    pub(crate) fn check(self) -> Result<(), TorchError> {
        // SAFETY: the number is one of `device_count`, which `Torch::open` has checked.
        check(unsafe { em_device_check(self.number()) })
    }

    pub(crate) fn memory(self) -> Result<DeviceMemory, TorchError> {
        let mut memory = DeviceMemory::default();
        // SAFETY: `memory` has the layout of `em_memory`.
        check(unsafe { em_device_memory(self.number(), &mut memory) })?;
        Ok(memory)
    }

    /// Gives the memory that nobody uses back, to the device and to the system.
    pub(crate) fn trim(self) {
        // SAFETY: it takes a number. A failure means a broken device, which the next request will tell of.
        unsafe { em_device_trim(self.number()) };
        // SAFETY: it may be called at any time.
        unsafe { malloc_trim(0) };
    }
}

// === modules ===

/// A TorchScript module on a device.
#[derive(Debug)]
pub(crate) struct Module(NonNull<RawModule>);

// SAFETY: libtorch's modules may be run from any thread, and from several at once unless they change themselves, which
// `model::TorchModel` keeps apart by a lock.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    pub(crate) fn load(file: &Path, device: Device, optimize: bool) -> Result<Self, TorchError> {
        let file = file.to_str().and_then(|file| CString::new(file).ok());
        let file = file.ok_or_else(|| TorchError("its name is not UTF-8".into()))?;
        let mut module = ptr::null_mut();
        // SAFETY: `file` ends with a zero, `module` is a place for the answer.
        check(unsafe { em_module_load(file.as_ptr(), device.number(), optimize, &mut module) })?;
        given(module).map(Self)
    }

    /// How many inputs `forward` needs at least and takes at most.
    pub(crate) fn arguments(&self) -> (usize, usize) {
        let (mut least, mut most) = (0, 0);
        // SAFETY: the module lives as long as `self`.
        unsafe { em_module_arguments(self.0.as_ptr(), &mut least, &mut most) };
        (least, most)
    }

    /// Does `forward` change the module?
    pub(crate) fn keeps_state(&self) -> bool {
        // SAFETY: the module lives as long as `self`.
        unsafe { em_module_keeps_state(self.0.as_ptr()) }
    }

    /// Does `forward` leave the memory of this input as it is, and keep no hold on it?
    pub(crate) fn reads_only(&self, input: usize) -> bool {
        // SAFETY: the module lives as long as `self`; any number may be asked for.
        unsafe { em_module_reads_only(self.0.as_ptr(), input) }
    }

    /// Runs `forward`; its outputs are contiguous, one for each name.
    pub(crate) fn forward(&self, inputs: &[Tensor], names: &[CString]) -> Result<Vec<Tensor>, Failure> {
        let inputs: Vec<_> = inputs.iter().map(Tensor::as_ptr).collect();
        let names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let mut outputs = vec![ptr::null_mut(); names.len()];
        // SAFETY: pointers and lengths belong together, and everything outlives the call. That nobody else runs a module
        // that changes itself is the caller's care, see `Sync` above.
        let failed = unsafe {
            em_module_forward(
                self.0.as_ptr(),
                inputs.as_ptr(),
                inputs.len(),
                names.as_ptr(),
                outputs.as_mut_ptr(),
                outputs.len(),
            )
        };
        // SAFETY: what is not null is a tensor that was made for us; a failure may leave some of them.
        let tensor = |tensor: &mut C_tensor| unsafe { Tensor::from_ptr(tensor) };
        // SAFETY: as above, and each is seen once.
        let made = outputs.into_iter().filter_map(|output| unsafe { output.as_mut() }.map(tensor));
        let made: Vec<_> = made.collect();
        match (failed, check(failed)) {
            (_, Ok(())) => Ok(made),
            (MISMATCH, Err(error)) => Err(Failure::Signature(error.0)),
            (_, Err(error)) => Err(error.into()),
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: it came from `em_module_load` and is freed once.
        unsafe { em_module_free(self.0.as_ptr()) };
    }
}

// === lanes ===

/// A stream that the calling thread works on from now on, and marks on it.
#[derive(Debug)]
pub(crate) struct Stream(NonNull<RawLane>);

impl Stream {
    pub(crate) fn new(device: Device) -> Result<Self, TorchError> {
        let mut lane = ptr::null_mut();
        // SAFETY: `lane` is a place for the answer.
        check(unsafe { em_lane_new(device.number(), &mut lane) })?;
        given(lane).map(Self)
    }

    /// The device's number for it.
    pub(crate) fn id(&self) -> i64 {
        // SAFETY: the lane lives as long as `self`.
        unsafe { em_lane_stream(self.0.as_ptr()) }
    }

    /// Sets a mark after all work so far.
    pub(crate) fn mark(&self, mark: Mark) -> Result<(), TorchError> {
        // SAFETY: the lane lives as long as `self` and stays on its thread: `Stream` is neither `Send` nor `Sync`.
        check(unsafe { em_lane_mark(self.0.as_ptr(), mark as c_int) })
    }

    /// Waits until the device has reached a mark.
    pub(crate) fn wait(&self, mark: Mark) -> Result<(), TorchError> {
        // SAFETY: as for `mark`.
        check(unsafe { em_lane_wait(self.0.as_ptr(), mark as c_int) })
    }

    /// Nanoseconds of the device between two marks that it has reached.
    pub(crate) fn elapsed_ns(&self, from: Mark, to: Mark) -> Result<u64, TorchError> {
        let mut milliseconds = 0.0;
        // SAFETY: as for `mark`.
        check(unsafe { em_lane_elapsed(self.0.as_ptr(), from as c_int, to as c_int, &mut milliseconds) })?;
        Ok((milliseconds.max(0.0) * 1e6) as u64)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: it came from `em_lane_new` and is freed once.
        unsafe { em_lane_free(self.0.as_ptr()) };
    }
}

/// Moments of a request on the device.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    Begun = 0,
    InputsThere = 1,
    Run = 2,
    OutputsBack = 3,
}

// === memory ===

/// Runs `work` and counts what this thread allocates on `device` meanwhile: bytes still held at its end, and the most
/// held at once.
pub(crate) fn metered<T>(device: Device, work: impl FnOnce() -> T) -> Result<(T, u64, u64), TorchError> {
    let mut meter = ptr::null_mut();
    // SAFETY: `meter` is a place for the answer.
    check(unsafe { em_meter_start(device.number(), &mut meter) })?;
    let meter = given(meter)?;
    let done = work();
    let (mut held, mut peak) = (0, 0);
    // SAFETY: it came from `em_meter_start` on this thread and is stopped once.
    check(unsafe { em_meter_stop(meter.as_ptr(), &mut held, &mut peak) })?;
    Ok((done, u64::try_from(held).unwrap_or(0), u64::try_from(peak).unwrap_or(0)))
}

/// A tensor over memory that the caller keeps.
///
/// # Safety
/// `bytes` must outlive the tensor and whatever shares its memory, and nothing may write through them.
pub(crate) unsafe fn over(bytes: &[u8], shape: &[i64], kind: Kind) -> Result<Tensor, TorchError> {
    // SAFETY: an empty list of strides means contiguous, and the caller has checked that the length is that of the shape.
    Ok(unsafe { Tensor::f_from_blob(bytes.as_ptr(), shape, &[], kind, tch::Device::Cpu) }?)
}

/// Host memory that a device reads without a detour.
#[derive(Debug)]
pub(crate) struct Pinned {
    tensor: Tensor,
    len: usize,
}

impl Pinned {
    pub(crate) fn new(len: usize) -> Result<Self, TorchError> {
        let bytes = i64::try_from(len).map_err(|_| TorchError("more bytes than there are".into()))?;
        let mut tensor = ptr::null_mut();
        // SAFETY: `tensor` is a place for the answer.
        check(unsafe { em_pinned(bytes, &mut tensor) })?;
        // SAFETY: it was made for us.
        let tensor = unsafe { Tensor::from_ptr(given(tensor)?.as_ptr()) };
        Ok(Self { tensor, len })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Writes `bytes` at `offset` and returns them as a tensor over this memory.
    pub(crate) fn put(
        &mut self,
        offset: usize,
        bytes: &[u8],
        shape: &[i64],
        kind: Kind,
    ) -> Result<Tensor, TorchError> {
        let end = offset.checked_add(bytes.len()).filter(|&end| end <= self.len);
        if end.is_none() {
            return Err(TorchError("staging memory is too small".into()));
        }
        // SAFETY: the memory is ours, `self.len` bytes long, and no device reads it: the request before this one is over.
        unsafe {
            let into = self.tensor.data_ptr().cast::<u8>().add(offset);
            ptr::copy_nonoverlapping(bytes.as_ptr(), into, bytes.len());
        }
        let part = self.tensor.f_narrow(0, offset as i64, bytes.len() as i64)?;
        Ok(part.f_view_dtype(kind)?.f_view_(shape)?)
    }
}

/// Copies a contiguous tensor on the host into `into`, which is as long.
pub(crate) fn copy_out(tensor: &Tensor, into: &mut [u8]) -> Result<(), TorchError> {
    let bytes = tensor.numel() * tensor.f_kind()?.elt_size_in_bytes();
    if bytes != into.len() || tensor.device() != tch::Device::Cpu || !tensor.is_contiguous() {
        return Err(TorchError("an output is not where it should be".into()));
    }
    if bytes > 0 {
        let from: *const c_void = tensor.data_ptr();
        // SAFETY: the tensor is on the host and contiguous, so that many bytes lie there; `into` is memory of the request's
        // outputs, which no tensor shares.
        unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), into.as_mut_ptr(), bytes) };
    }
    Ok(())
}

/// Ends the process as it is. libtorch's own ends when its libraries are torn down, and does not bear that while threads
/// still run models.
pub(crate) fn leave(status: i32) -> ! {
    // SAFETY: it may be called at any time.
    unsafe { _exit(status) }
}
