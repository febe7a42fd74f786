//! Packages name the C library that they need. It is written down, since it cannot be asked for another architecture's; so it
//! is compared with what the binaries ask for.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::build::Target;

const SYMBOLS: &str = "GLIBC_2.";
const DEPENDENCY: &str = "libc6 (>= 2.";

/// Fails unless the package depends on the C library of its newest symbols, or a later one.
pub(super) fn compare(target: &Target, crates: &[&str], deb: &Value) -> Result<()> {
    let depends = deb["depends"].as_str().unwrap_or_default();
    let named = number_after(depends.as_bytes(), DEPENDENCY)
        .max()
        .with_context(|| format!("{depends:?} does not name {DEPENDENCY}..)"))?;
    for name in crates {
        let file = target.binaries().join(name);
        let binary = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let asked = number_after(&binary, SYMBOLS).max().unwrap_or_default();
        if asked > named {
            bail!("{name} asks for {SYMBOLS}{asked}, its package for {DEPENDENCY}{named})");
        }
    }
    Ok(())
}

/// The numbers that follow `text` wherever it stands.
fn number_after<'a>(bytes: &'a [u8], text: &'a str) -> impl Iterator<Item = u32> + 'a {
    bytes.windows(text.len()).enumerate().filter(move |(_, window)| *window == text.as_bytes()).filter_map(
        move |(at, _)| {
            let rest = bytes.get(at + text.len()..)?;
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).take(3);
            digits.fold(None, |number, digit| Some(number.unwrap_or(0) * 10 + u32::from(digit - b'0')))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_is_found_in_the_middle_of_bytes() {
        let bytes = b"\0GLIBC_2.4\0x\xffGLIBC_2.34\0GLIBC_2.\0GLIBC_2.17";
        assert_eq!(number_after(bytes, SYMBOLS).collect::<Vec<_>>(), [4, 34, 17]);
        assert_eq!(number_after(b"a, libc6 (>= 2.31), b", DEPENDENCY).max(), Some(31));
    }
}
