//! Registers and bits of the CRB interface, in the order of their offsets (PTP, CRB interface).

/// Size of the region: one locality.
pub const SIZE: u64 = 0x1000;

/// Who uses the TPM.
pub const LOC_STATE: u64 = 0x00;
/// `LOC_STATE`: 0 once a dynamic launch has happened.
///
/// The PTP gives the bit the sense of `TPM_ACCESS`, where 1 is the state without a launch; QEMU and
/// OpenVMM follow it, Cloud Hypervisor shows the flag itself. No driver reads it.
pub const LOC_STATE_NOT_ESTABLISHED: u32 = 1 << 0;
/// `LOC_STATE`: a locality is active.
pub const LOC_STATE_ASSIGNED: u32 = 1 << 1;
/// `LOC_STATE`: the other bits are valid. Always set.
pub const LOC_STATE_VALID: u32 = 1 << 7;

/// Requests and relinquishes the TPM; reads 0.
pub const LOC_CTRL: u64 = 0x08;
/// `LOC_CTRL`: request.
pub const LOC_CTRL_REQUEST: u32 = 1;
/// `LOC_CTRL`: relinquish.
pub const LOC_CTRL_RELINQUISH: u32 = 2;

/// Whether this locality has the TPM.
pub const LOC_STS: u64 = 0x0C;
/// `LOC_STS`: it has.
pub const LOC_STS_GRANTED: u32 = 1 << 0;

/// Interface type and capabilities, low half.
pub const INTF_ID: u64 = 0x30;
/// CRB active, version 1, locality 0 only, 64-byte transfers, no FIFO, CRB selected.
pub const INTF_ID_VALUE: u32 = 0x0002_5811;
/// Vendor (low half) and device (high half).
pub const INTF_ID2: u64 = 0x34;

/// Ready and idle requests; reads 0 once done, which is at once.
pub const CTRL_REQ: u64 = 0x40;
/// `CTRL_REQ`: take a command.
pub const CTRL_REQ_READY: u32 = 1;
/// `CTRL_REQ`: take none.
pub const CTRL_REQ_IDLE: u32 = 2;

/// Status.
pub const CTRL_STS: u64 = 0x44;
/// `CTRL_STS`: the TPM is broken.
pub const CTRL_STS_ERROR: u32 = 1 << 0;
/// `CTRL_STS`: idle.
pub const CTRL_STS_IDLE: u32 = 1 << 1;

/// Cancels the running command with 1.
pub const CTRL_CANCEL: u64 = 0x48;
/// Starts a command with 1; reads 1 until it is complete.
pub const CTRL_START: u64 = 0x4C;

/// Which causes interrupt.
pub const INT_ENABLE: u64 = 0x50;
/// Causes that have interrupted; write 1 to clear.
pub const INT_STATUS: u64 = 0x54;
/// `INT_ENABLE` and `INT_STATUS`: START has become 0.
pub const INT_START: u32 = 1 << 0;
/// `INT_ENABLE` and `INT_STATUS`: idle has become 0.
pub const INT_READY: u32 = 1 << 1;
/// `INT_ENABLE`: the "established" flag was cleared. Never happens from locality 0.
pub const INT_ESTABLISHMENT_CLEAR: u32 = 1 << 2;
/// `INT_ENABLE` and `INT_STATUS`: the TPM was granted.
pub const INT_LOCALITY_CHANGE: u32 = 1 << 3;
/// All causes.
pub const INT_CAUSES: u32 = 0xF;
/// `INT_ENABLE`: interrupts at all.
pub const INT_GLOBAL: u32 = 1 << 31;

/// Bytes of the command buffer.
pub const CMD_SIZE: u64 = 0x58;
/// Address of the command buffer, low half.
pub const CMD_LADDR: u64 = 0x5C;
/// Address of the command buffer, high half.
pub const CMD_HADDR: u64 = 0x60;
/// Bytes of the response buffer.
pub const RSP_SIZE: u64 = 0x64;
/// Address of the response buffer, low half.
pub const RSP_LADDR: u64 = 0x68;
/// Address of the response buffer, high half.
pub const RSP_HADDR: u64 = 0x6C;

/// Commands and responses.
pub const DATA_BUFFER: u64 = 0x80;
/// Bytes of `DATA_BUFFER`.
pub const DATA_BUFFER_SIZE: usize = 0xF80;
