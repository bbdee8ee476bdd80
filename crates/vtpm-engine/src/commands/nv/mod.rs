//! Non-volatile storage: Part 3, clause 31 (revision 1.59), and clause 31 of revision 1.83.

pub(crate) mod nv_certify;
pub(crate) mod nv_change_auth;
pub(crate) mod nv_define_space;
pub(crate) mod nv_define_space_2;
pub(crate) mod nv_extend;
pub(crate) mod nv_global_write_lock;
pub(crate) mod nv_increment;
pub(crate) mod nv_read;
pub(crate) mod nv_read_lock;
pub(crate) mod nv_read_public;
pub(crate) mod nv_read_public_2;
pub(crate) mod nv_set_bits;
pub(crate) mod nv_undefine_space;
pub(crate) mod nv_undefine_space_special;
pub(crate) mod nv_write;
pub(crate) mod nv_write_lock;

#[cfg(test)]
pub(crate) mod test_util;
