//! Registers and bits of the TIS interface (the FIFO interface of the PTP), by offset.
//!
//! Offsets are from the start of a locality's 4 KiB page.

/// Size of the region: five localities of 4 KiB.
pub const SIZE: u64 = 0x5000;

/// Who uses the TPM.
pub const ACCESS: u64 = 0x00;
/// `ACCESS`: the other bits are valid. Always set.
pub const ACCESS_VALID: u32 = 1 << 7;
/// `ACCESS`: this locality is active; writing it releases the TPM.
pub const ACCESS_ACTIVE: u32 = 1 << 5;
/// `ACCESS`: a higher locality took the TPM away; write to clear.
pub const ACCESS_BEEN_SEIZED: u32 = 1 << 4;
/// `ACCESS`: take the TPM from a lower locality. Never reads back.
pub const ACCESS_SEIZE: u32 = 1 << 3;
/// `ACCESS`: another locality requests the TPM.
pub const ACCESS_PENDING: u32 = 1 << 2;
/// `ACCESS`: this locality requests the TPM.
pub const ACCESS_REQUEST: u32 = 1 << 1;
/// `ACCESS`: 0 once a dynamic launch has happened.
pub const ACCESS_NOT_ESTABLISHED: u32 = 1 << 0;

/// Which causes interrupt.
pub const INT_ENABLE: u64 = 0x08;
/// `INT_ENABLE` and `INT_STATUS`: a response is available.
pub const INT_DATA_AVAILABLE: u32 = 1 << 0;
/// `INT_ENABLE` and `INT_STATUS`: `STS` has become valid.
pub const INT_STS_VALID: u32 = 1 << 1;
/// `INT_ENABLE` and `INT_STATUS`: this locality has become active.
pub const INT_LOCALITY_CHANGE: u32 = 1 << 2;
/// `INT_ENABLE`: polarity, kept for the guest and without effect.
pub const INT_POLARITY: u32 = 3 << 3;
/// `INT_ENABLE`: polarity after reset, low level.
pub const INT_POLARITY_LOW_LEVEL: u32 = 1 << 3;
/// `INT_ENABLE` and `INT_STATUS`: the TPM takes a command.
pub const INT_COMMAND_READY: u32 = 1 << 7;
/// `INT_ENABLE`: interrupts at all.
pub const INT_GLOBAL: u32 = 1 << 31;
/// All causes.
pub const INT_CAUSES: u32 =
    INT_DATA_AVAILABLE | INT_STS_VALID | INT_LOCALITY_CHANGE | INT_COMMAND_READY;

/// Interrupt number; written by nobody.
pub const INT_VECTOR: u64 = 0x0C;
/// Causes that have interrupted; write 1 to clear.
pub const INT_STATUS: u64 = 0x10;

/// What the interface can do.
pub const INTF_CAPABILITY: u64 = 0x14;
/// Interface 1.3 for TPM 2, 64-byte transfers, dynamic burst count, level-low interrupts, and the
/// four causes of [`INT_CAUSES`].
pub const INTF_CAPABILITY_VALUE: u32 = 0x3000_0697;

/// Status and control.
pub const STS: u64 = 0x18;
/// `STS`: TPM 2 (bits 26 and 27).
pub const STS_FAMILY_TPM2: u32 = 1 << 26;
/// `STS`, written: clear the "established" flag; localities 3 and 4 only.
pub const STS_RESET_ESTABLISHMENT: u32 = 1 << 25;
/// `STS`, written: cancel the running command.
pub const STS_CANCEL: u32 = 1 << 24;
/// `STS`: lowest bit of the burst count (bits 8 to 23).
pub const STS_BURST_SHIFT: u32 = 8;
/// `STS`: "data available" and "expect" are right.
pub const STS_VALID: u32 = 1 << 7;
/// `STS`: the TPM takes a command; writing it makes it so.
pub const STS_COMMAND_READY: u32 = 1 << 6;
/// `STS`, written: run the command.
pub const STS_GO: u32 = 1 << 5;
/// `STS`: response bytes are left.
pub const STS_DATA_AVAILABLE: u32 = 1 << 4;
/// `STS`: command bytes are missing.
pub const STS_EXPECT: u32 = 1 << 3;
/// `STS`: the self test is complete.
pub const STS_SELF_TEST_DONE: u32 = 1 << 2;
/// `STS`, written: read the response again from its start.
pub const STS_RESPONSE_RETRY: u32 = 1 << 1;

/// Locality 4 only, write only: the dynamic launch's data is complete.
pub const HASH_END: u64 = 0x20;
/// Command and response bytes; at locality 4 during a dynamic launch, its data.
pub const DATA_FIFO: u64 = 0x24;
/// Locality 4 only, write only: a dynamic launch begins.
pub const HASH_START: u64 = 0x28;

/// Interface selection.
pub const INTERFACE_ID: u64 = 0x30;
/// FIFO interface, five localities, CRB not there.
pub const INTERFACE_ID_VALUE: u32 = 0x2100;
/// `INTERFACE_ID`: the selection is locked, for all localities at once.
pub const INTERFACE_ID_LOCK: u32 = 1 << 19;

/// First offset of the wide FIFO.
pub const XDATA_FIFO: u64 = 0x80;
/// First offset behind the wide FIFO.
pub const XDATA_FIFO_END: u64 = 0xC0;

/// Vendor (low half) and device (high half).
pub const DID_VID: u64 = 0xF00;
/// Revision.
pub const RID: u64 = 0xF04;

/// What a FIFO gives when it has nothing.
pub const NO_DATA: u8 = 0xFF;
