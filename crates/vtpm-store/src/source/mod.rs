//! The key sources that need no hardware. Each must be asked for by name; where there is a
//! physical TPM, that is the source to use.

#[cfg_attr(
    not(test),
    expect(clippy::arithmetic_side_effects, reason = "digits of a nibble, which is below 16")
)]
mod key_file;
mod passphrase;
mod plain;
mod wrap;

pub use key_file::KeyFile;
pub use passphrase::{Cost, Passphrase};
pub use plain::Plain;
