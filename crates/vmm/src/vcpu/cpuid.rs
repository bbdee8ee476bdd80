//! What the guest sees of its processors.

use std::arch::x86_64::__cpuid;

use kvm_bindings::CpuId;

/// Feature bits of leaf 1, `ecx`.
mod leaf_1_ecx {
    pub(super) const X2APIC: u32 = 1 << 21;
    pub(super) const TSC_DEADLINE: u32 = 1 << 24;
    pub(super) const HYPERVISOR: u32 = 1 << 31;
    /// FMA, XSAVE, OSXSAVE, AVX, F16C: what needs XCR0.
    pub(super) const EXTENDED_STATE: u32 = 1 << 12 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 29;
}

/// Leaf 7, `ebx`: AVX2 and all of AVX-512.
const LEAF_7_EBX_VECTORS: u32 =
    1 << 5 | 1 << 16 | 1 << 17 | 1 << 21 | 1 << 26 | 1 << 27 | 0xf << 28;
/// Leaf 7, `ecx`: AVX-512 additions, VAES, VPCLMULQDQ.
const LEAF_7_ECX_VECTORS: u32 = 1 << 1 | 1 << 6 | 0xf << 9 | 1 << 14;
/// Leaf 0x8000_0001, `ecx`: XOP and FMA4.
const LEAF_AMD_ECX_VECTORS: u32 = 1 << 11 | 1 << 16;

/// The leaf with the hypervisor's name.
const LEAF_HYPERVISOR: u32 = 0x4000_0000;

/// Whether this host is itself emulated by QEMU (TCG).
///
/// Its nested SVM does not intercept XSETBV: a guest that uses XCR0 sets that of the host, and
/// neither side can save it. So its guests are not shown XSAVE.
pub(super) fn host_is_emulated() -> bool {
    let leaf = __cpuid(LEAF_HYPERVISOR);
    let name = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes).concat();
    name == b"TCGTCGTCGTCG"
}

/// Makes of what KVM supports what processor `index` of `count` shows.
pub(super) fn adapt(cpuid: &mut CpuId, index: u8, count: u8, mask_extended_state: bool) {
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => {
                entry.ecx |= leaf_1_ecx::X2APIC | leaf_1_ecx::TSC_DEADLINE | leaf_1_ecx::HYPERVISOR;
                // Local APIC identifier, and how many there are in the package.
                entry.ebx = entry.ebx & 0xffff | u32::from(count) << 16 | u32::from(index) << 24;
                if mask_extended_state {
                    entry.ecx &= !leaf_1_ecx::EXTENDED_STATE;
                }
            }
            // One thread a core; cores are what the package has.
            4 => entry.eax = entry.eax & 0x3fff | u32::from(count.saturating_sub(1)) << 26,
            7 if mask_extended_state && entry.index == 0 => {
                entry.ebx &= !LEAF_7_EBX_VECTORS;
                entry.ecx &= !LEAF_7_ECX_VECTORS;
            }
            0xb | 0x1f => topology(entry, index, count),
            0xd if mask_extended_state => {
                (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0);
            }
            0x8000_0001 if mask_extended_state => entry.ecx &= !LEAF_AMD_ECX_VECTORS,
            // Cores of the package, and bits of the identifier that number them.
            0x8000_0008 => {
                let bits = u8::BITS - count.saturating_sub(1).leading_zeros();
                entry.ecx = entry.ecx & !0xf0ff | u32::from(count.saturating_sub(1)) | bits << 12;
            }
            // Extended APIC identifier and one thread a core, on AMD.
            0x8000_001e => {
                entry.eax = index.into();
                entry.ebx = index.into();
                entry.ecx = 0;
            }
            _ => {}
        }
    }
}

/// Extended topology: level 0 is threads, of which a core has one; level 1 is cores.
fn topology(entry: &mut kvm_bindings::kvm_cpuid_entry2, index: u8, count: u8) {
    const THREADS: u32 = 1;
    const CORES: u32 = 2;
    let core_bits = u8::BITS - count.saturating_sub(1).leading_zeros();
    let (shift, processors, kind) = match entry.index {
        0 => (0, 1, THREADS),
        1 => (core_bits, u32::from(count), CORES),
        _ => (0, 0, 0),
    };
    entry.eax = shift;
    entry.ebx = processors;
    entry.ecx = entry.index | kind << 8;
    entry.edx = index.into();
}

#[cfg(test)]
mod tests {
    use kvm_bindings::kvm_cpuid_entry2;

    use super::*;

    fn shown(function: u32, mask: bool) -> kvm_cpuid_entry2 {
        let all = kvm_cpuid_entry2 { function, ebx: !0, ecx: !0, ..Default::default() };
        let mut cpuid = CpuId::from_entries(&[all]).unwrap();
        adapt(&mut cpuid, 3, 4, mask);
        cpuid.as_slice()[0]
    }

    #[test]
    fn each_processor_has_its_own_identifier() {
        assert_eq!(shown(1, false).ebx >> 16, 0x0304);
        assert_eq!(shown(0xb, false).edx, 3);
        assert_eq!(shown(0x8000_001e, false).eax, 3);
    }

    #[test]
    fn xsave_and_what_needs_it_are_hidden_where_xcr0_cannot_be_saved() {
        let masked = shown(1, true).ecx;
        assert_eq!(masked & leaf_1_ecx::EXTENDED_STATE, 0);
        assert_eq!(shown(7, true).ebx & LEAF_7_EBX_VECTORS, 0);
        assert_ne!(shown(1, false).ecx & leaf_1_ecx::EXTENDED_STATE, 0);
    }

    #[test]
    fn the_deadline_timer_and_x2apic_are_always_shown() {
        let both = leaf_1_ecx::X2APIC | leaf_1_ecx::TSC_DEADLINE;
        assert_eq!(shown(1, true).ecx & both, both);
    }
}
