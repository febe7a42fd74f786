//! What a lane's thread owns: a stream of the device, set once, on which all that the thread starts runs.

use std::cell::RefCell;
use std::rc::Rc;

use crate::sys::{Device, Stream, TorchError};

/// The calling thread's stream on `device`.
pub(crate) fn stream(device: Device) -> Result<Rc<Stream>, TorchError> {
    thread_local! {
        static STREAM: RefCell<Option<(Device, Rc<Stream>)>> = const { RefCell::new(None) };
    }
    STREAM.with_borrow_mut(|held| match held {
        Some((there, stream)) if *there == device => Ok(Rc::clone(stream)),
        _ => {
            let stream = Rc::new(Stream::new(device)?);
            if let Device::Cuda(number) = device {
                eprintln!(
                    "edgemux-runtime-torch: a thread works on stream {} of device {number}",
                    stream.id()
                );
            }
            // libtorch gives each thread its number of threads when it first asks.
            tch::get_num_threads();
            *held = Some((device, Rc::clone(&stream)));
            Ok(stream)
        }
    })
}
