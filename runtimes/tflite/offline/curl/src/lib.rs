//! tflitec's build script can download TensorFlow Lite's headers, for which it depends on curl, and so on OpenSSL and its
//! headers, a system package. Here the headers are those that `cargo xtask native` lays out, and nothing is to be
//! downloaded in a build: this crate takes curl's place and refuses.

/// As much of curl as the build script calls.
pub mod easy {
    /// A transfer that never is.
    #[derive(Default)]
    pub struct Easy;

    impl Easy {
        /// Begins.
        pub fn new() -> Self {
            Self
        }

        /// Takes any address.
        ///
        /// # Errors
        /// None.
        pub fn url(&mut self, _: &str) -> Result<(), String> {
            Ok(())
        }

        /// Takes what would be called with the contents.
        ///
        /// # Errors
        /// None.
        pub fn write_function<F>(&mut self, _: F) -> Result<(), String>
        where
            F: FnMut(&[u8]) -> Result<usize, String> + Send + 'static,
        {
            Ok(())
        }

        /// Refuses.
        ///
        /// # Errors
        /// Always.
        pub fn perform(&self) -> Result<(), String> {
            Err("nothing is downloaded here: set TFLITEC_HEADER_DIR, as `cargo xtask native` does".into())
        }
    }
}
