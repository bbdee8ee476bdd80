//! TPM 2.0 Library Part 2: the structures on the wire, family 2.0, revision 1.59, with additions
//! of revision 1.83 where a command needs them.
//!
//! Integers and identifiers are open (they take any value); the checked types (`TPMI_`, `TPMT_`,
//! `TPMS_`) reject what the specification rejects, with exactly its response code. What a type
//! rejects depends on the algorithms of the profile, which the [`Reader`] carries.
//!
//! Architecture invariant: nothing here knows a TPM's state.

mod algorithm;
mod attributes;
mod buffer;
mod codec;
mod constants;
mod handle;
mod nv2;
mod public;
mod rc;
mod structures;

pub use algorithm::*;
pub use attributes::*;
pub use buffer::*;
pub use codec::{List, Marshal, Places, Reader, Unmarshal, marshal_sized};
pub(crate) use codec::{open_integer, structure};
pub use constants::*;
pub use handle::*;
pub use nv2::*;
pub use public::*;
pub use rc::Rc;
pub use structures::*;
