//! What the compiler left in a model for the edgeTPU: how many bytes of weights stay on the chip, how many cross to it at
//! every run, and which models were compiled to share it.
//!
//! Each `edgetpu-custom-op` carries a package (libedgetpu's `executable.fbs`): executables that run with all they need,
//! ones that only load weights, and ones that run with weights loaded before.

use edgemux_runtime_api::runtime::OnChip;
use edgemux_tflite_common::file::{Custom, EDGETPU_OPERATOR, File};
use edgemux_tflite_common::flatbuffer::{Malformed, bare_root, root};

const IDENTIFIER: &[u8; 4] = b"DWN1";

/// Numbers of fields in libedgetpu's schema.
mod number {
    pub(super) const PACKAGE_MULTI_EXECUTABLE: usize = 1;
    pub(super) const MULTI_EXECUTABLE_EXECUTABLES: usize = 0;
    pub(super) const EXECUTABLE_PARAMETERS: usize = 6;
    pub(super) const EXECUTABLE_TYPE: usize = 13;
    pub(super) const EXECUTABLE_TOKEN: usize = 14;
}

/// The type of an executable that loads weights and does nothing else.
const PARAMETER_CACHING: i16 = 1;

/// One operator's weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weights {
    /// Bytes that stay on the chip.
    pub(crate) cached_bytes: u64,
    /// Bytes that cross to it at every run.
    pub(crate) streamed_bytes: u64,
    /// Is there an executable that loads weights?
    pub(crate) caches: bool,
    /// Equal for models that were compiled together; 0 if its weights can be beside nobody else's.
    pub(crate) token: u64,
}

/// The weights of every operator of the model that runs on the edgeTPU; `None` for one that cannot be read.
pub(crate) fn weights(file: &File<'_>) -> Vec<Option<Weights>> {
    file.custom_operators.iter().filter(|custom| custom.name == EDGETPU_OPERATOR).map(of_operator).collect()
}

fn of_operator(custom: &Custom<'_>) -> Option<Weights> {
    // The options are a FlexBuffer with the package as a string in it; the package begins four bytes before its
    // identifier.
    let at = custom.options.windows(4).skip(4).position(|four| four == IDENTIFIER)?;
    of_package(custom.options.get(at..)?)
}

fn of_package(package: &[u8]) -> Option<Weights> {
    let read = || -> Result<Option<Weights>, Malformed> {
        let Some(package) = root(package, IDENTIFIER) else { return Ok(None) };
        let multi = package?.bytes(number::PACKAGE_MULTI_EXECUTABLE)?;
        let mut weights = Weights::default();
        let executables = bare_root(multi)?.strings(number::MULTI_EXECUTABLE_EXECUTABLES)?;
        for executable in &executables {
            let executable = bare_root(executable)?;
            let bytes = executable.bytes(number::EXECUTABLE_PARAMETERS)?.len() as u64;
            if executable.i16(number::EXECUTABLE_TYPE)? == PARAMETER_CACHING {
                weights.cached_bytes += bytes;
                weights.caches = true;
            } else {
                weights.streamed_bytes += bytes;
            }
            weights.token = executable.u64(number::EXECUTABLE_TOKEN)?.max(weights.token);
        }
        Ok((!executables.is_empty()).then_some(weights))
    };
    read().ok().flatten()
}

/// The whole model's, if all of it can be read.
pub(crate) fn on_chip(operators: &[Option<Weights>]) -> Option<OnChip> {
    let all: Vec<Weights> = operators.iter().copied().collect::<Option<_>>()?;
    let token = all.first()?.token;
    let one = token != 0 && all.iter().all(|weights| weights.token == token);
    Some(OnChip {
        cached_bytes: all.iter().map(|weights| weights.cached_bytes).sum(),
        streamed_bytes: all.iter().map(|weights| weights.streamed_bytes).sum(),
        group: one.then_some(token),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/models/{name}.tflite", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn of(name: &str) -> Option<OnChip> {
        on_chip(&weights(&File::parse(&model(name)).unwrap()))
    }

    #[test]
    fn bytes_and_group_are_those_that_the_compiler_wrote() {
        let told = |cached_bytes, streamed_bytes, group| Some(OnChip { cached_bytes, streamed_bytes, group });
        assert_eq!(of("alone"), told(6000, 0, Some(11)));
        assert_eq!(of("together_1"), told(3000, 500, Some(22)));
        assert_eq!(of("together_2"), told(2000, 0, Some(22)));
        assert_eq!(of("streamed"), told(0, 9000, None));
        assert_eq!(of("mixed"), told(1000, 0, Some(33)));
    }

    #[test]
    fn a_package_that_cannot_be_read_is_unknown_not_wrong() {
        assert_eq!(of("echo"), None, "its options hold no package");
        assert_eq!(on_chip(&[]), None);
        let bytes = model("alone");
        let file = File::parse(&bytes).unwrap();
        let options = file.custom_operators[0].options;
        let whole = of_operator(&file.custom_operators[0]).unwrap();
        for len in 0..options.len() {
            let cut = Custom { name: EDGETPU_OPERATOR.into(), options: &options[..len] };
            let read = of_operator(&cut);
            assert!(read.is_none_or(|read| read == whole), "{len} bytes: {read:?}");
        }
    }
}
