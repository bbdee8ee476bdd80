//! Context management: Part 3, clause 28.

pub(crate) mod context_load;
pub(crate) mod context_save;
pub(crate) mod evict_control;
pub(crate) mod flush_context;
#[cfg(test)]
pub(crate) mod test_util;
