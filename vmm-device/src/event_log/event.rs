//! Kinds of events (TCG PC Client Platform Firmware Profile).

/// An event's type. Values that are not named here can be held too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EventType(pub u32);

impl EventType {
    /// Option ROMs and other code of the platform's firmware.
    #[doc(alias = "EV_POST_CODE")]
    pub const POST_CODE: Self = Self(0x01);
    /// Information only: nothing is extended.
    #[doc(alias = "EV_NO_ACTION")]
    pub const NO_ACTION: Self = Self(0x03);
    /// The border between firmware and operating system, in PCRs 0 to 7.
    #[doc(alias = "EV_SEPARATOR")]
    pub const SEPARATOR: Self = Self(0x04);
    /// An action, named by a string.
    #[doc(alias = "EV_ACTION")]
    pub const ACTION: Self = Self(0x05);
    /// Something of the operating system or its loader; see [`tagged_event`].
    #[doc(alias = "EV_EVENT_TAG")]
    pub const EVENT_TAG: Self = Self(0x06);
    /// Contents of the static root of trust for measurement.
    #[doc(alias = "EV_S_CRTM_CONTENTS")]
    pub const S_CRTM_CONTENTS: Self = Self(0x07);
    /// Version of the static root of trust for measurement.
    #[doc(alias = "EV_S_CRTM_VERSION")]
    pub const S_CRTM_VERSION: Self = Self(0x08);
    /// The platform's configuration.
    #[doc(alias = "EV_PLATFORM_CONFIG_FLAGS")]
    pub const PLATFORM_CONFIG_FLAGS: Self = Self(0x0A);
    /// ACPI and other tables.
    #[doc(alias = "EV_TABLE_OF_DEVICES")]
    pub const TABLE_OF_DEVICES: Self = Self(0x0B);
    /// Code of the loader, and what it loads: kernel, initrd, command line.
    #[doc(alias = "EV_IPL")]
    pub const IPL: Self = Self(0x0D);
    /// Data of the loader.
    #[doc(alias = "EV_IPL_PARTITION_DATA")]
    pub const IPL_PARTITION_DATA: Self = Self(0x0E);
    /// A UEFI firmware blob.
    #[doc(alias = "EV_EFI_PLATFORM_FIRMWARE_BLOB")]
    pub const EFI_PLATFORM_FIRMWARE_BLOB: Self = Self(0x8000_0008);
    /// A UEFI handoff table.
    #[doc(alias = "EV_EFI_HANDOFF_TABLES")]
    pub const EFI_HANDOFF_TABLES: Self = Self(0x8000_0009);
}

/// Event data of [`EventType::EVENT_TAG`]: `TCG_PCClientTaggedEvent` of the same profile.
/// Linux's EFI stub and systemd-stub use such events for initrd and load options.
pub fn tagged_event(id: u32, data: &[u8]) -> Vec<u8> {
    let mut event = Vec::with_capacity(data.len().saturating_add(8));
    event.extend_from_slice(&id.to_le_bytes());
    event.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
    event.extend_from_slice(data);
    event
}
