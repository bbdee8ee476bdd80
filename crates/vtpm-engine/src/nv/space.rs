//! Accounting of NV space (`TPM_RC_NV_SPACE`).
//!
//! Sizes are nominal, so that they stay the same over releases of the saved state's format: each
//! is at least what its entity takes in a saved state. Room for as many persistent objects and
//! counters as the PC Client profile demands is kept back from everything else.

use super::NvIndex;
use crate::tpm::Tpm;
use crate::wire::{NvAttributes, NvPublic, NvType, Rc};

/// Bytes of an index besides its contents: public area, authorization value, bookkeeping.
const INDEX_SIZE: u32 = 128;
/// Bytes of a persistent object of any kind.
const OBJECT_SIZE: u32 = 1536;
/// `TPM_PT_HR_PERSISTENT_MIN`: persistent objects for which there is always room.
pub(crate) const MIN_PERSISTENT: u32 = 7;
/// Counters for which there is always room.
pub(crate) const MIN_COUNTERS: u32 = 8;
/// Bytes of a counter, which may be orderly.
const COUNTER_SIZE: u32 = INDEX_SIZE + 2 * 8;

/// Bytes that an index takes: an orderly one has its contents twice, in RAM and in NV.
fn index_size(public: &NvPublic) -> u32 {
    let copies = if public.attributes.has(NvAttributes::ORDERLY) { 2 } else { 1 };
    u32::from(public.data_size.0).saturating_mul(copies).saturating_add(INDEX_SIZE)
}

fn is_counter(public: &NvPublic) -> bool {
    NvType::of(public.attributes) == Some(NvType::Counter)
}

impl Tpm {
    /// Free bytes of NV, those kept back for counters and persistent objects among them.
    pub(crate) fn nv_space_left(&self) -> u32 {
        let indices = self.nv.indices.values().map(|index| index_size(&index.public));
        let used = indices
            .fold(self.persistent_count().saturating_mul(OBJECT_SIZE), |sum, size| {
                sum.saturating_add(size)
            });
        self.profile.limits.nv_bytes.saturating_sub(used)
    }

    /// `TPM_PT_HR_PERSISTENT`: how many persistent objects there are.
    pub(crate) fn persistent_count(&self) -> u32 {
        u32::try_from(self.nv.objects.len()).unwrap_or(u32::MAX)
    }

    /// `TPM_PT_HR_PERSISTENT_AVAIL`: how many more persistent objects there is room for.
    pub(crate) fn persistent_available(&self) -> u32 {
        let slots = u32::from(self.profile.limits.persistent_objects);
        let bytes = self.nv_space_left().saturating_sub(self.counter_reserve());
        slots.saturating_sub(self.persistent_count()).min(bytes / OBJECT_SIZE)
    }

    /// `TPM_PT_NV_COUNTERS`: how many counters there are.
    pub(crate) fn counter_count(&self) -> u32 {
        let counters =
            self.nv.indices.values().filter(|index: &&NvIndex| is_counter(&index.public));
        u32::try_from(counters.count()).unwrap_or(u32::MAX)
    }

    /// `TPM_PT_NV_COUNTERS_AVAIL`: how many more counters there is room for.
    pub(crate) fn counters_available(&self) -> u32 {
        self.nv_space_left().saturating_sub(self.object_reserve()) / COUNTER_SIZE
    }

    /// `TPM_RC_NV_SPACE` unless there is room for another persistent object.
    pub(crate) fn check_object_space(&self) -> Result<(), Rc> {
        if self.persistent_available() > 0 { Ok(()) } else { Err(Rc::NV_SPACE) }
    }

    /// `TPM_RC_NV_SPACE` unless there is room for the index.
    pub(super) fn check_index_space(&self, public: &NvPublic) -> Result<(), Rc> {
        let counters = if is_counter(public) { 0 } else { self.counter_reserve() };
        let reserved = self.object_reserve().saturating_add(counters);
        let available = self.nv_space_left().saturating_sub(reserved);
        if index_size(public) <= available { Ok(()) } else { Err(Rc::NV_SPACE) }
    }

    fn counter_reserve(&self) -> u32 {
        MIN_COUNTERS.saturating_sub(self.counter_count()).saturating_mul(COUNTER_SIZE)
    }

    fn object_reserve(&self) -> u32 {
        MIN_PERSISTENT.saturating_sub(self.persistent_count()).saturating_mul(OBJECT_SIZE)
    }
}

#[cfg(test)]
mod tests {
    use crate::Profile;
    use crate::commands::nv::test_util::{self, ORDINARY};
    use crate::test_util::Client;
    use crate::wire::{NvAttributes, Rc};

    const COUNTER: NvAttributes = NvAttributes(ORDINARY.0 | 0x10);

    fn small(nv_bytes: u32) -> Client {
        let mut profile = Profile::few_slots();
        profile.limits.nv_bytes = nv_bytes;
        let mut client = Client::with_profile(profile);
        test_util::start(&mut client);
        client
    }

    fn fill(client: &mut Client, attributes: NvAttributes, size: u16) -> u32 {
        let mut count = 0;
        loop {
            match client.run(&test_util::define(test_util::INDEX + count, attributes, size)) {
                Ok(_) => count += 1,
                Err(rc) => {
                    assert_eq!(rc, Rc::NV_SPACE);
                    return count;
                }
            }
        }
    }

    #[test]
    fn ordinary_indices_leave_room_for_the_counters_and_objects_that_are_promised() {
        let mut client = small(20_000);
        assert!(fill(&mut client, ORDINARY, 1000) > 0);
        assert!(client.tpm.persistent_available() >= super::MIN_PERSISTENT);
        for counter in 0..super::MIN_COUNTERS {
            let index = test_util::INDEX + 1000 + counter;
            client.run(&test_util::define(index, COUNTER, 8)).unwrap();
        }
        assert!(client.tpm.persistent_available() >= super::MIN_PERSISTENT);
    }

    #[test]
    fn undefining_gives_the_space_back() {
        let mut client = small(20_000);
        let before = client.tpm.nv_space_left();
        client.run(&test_util::define(test_util::INDEX, ORDINARY, 100)).unwrap();
        assert_eq!(client.tpm.nv_space_left(), before - 228);
        client.run(&test_util::undefine(test_util::INDEX)).unwrap();
        assert_eq!(client.tpm.nv_space_left(), before);
    }

    #[test]
    fn the_default_profile_has_room_for_64_of_the_largest_indices() {
        let mut client = Client::started();
        assert!(fill(&mut client, ORDINARY, 2048) >= 64);
    }
}
