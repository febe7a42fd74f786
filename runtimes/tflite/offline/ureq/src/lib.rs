//! Nothing: the build script of edgefirst-tflite-sys calls ureq only with its feature `vendored`, which is off.
