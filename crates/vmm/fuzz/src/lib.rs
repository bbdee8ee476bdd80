//! The VMM's virtio devices without the rest of the VMM, and a bench to put them on.
//!
//! The sources are those of the VMM. Of its other modules they use an error and a type, which are
//! here in short; where the VMM's differ in what matters, this does not compile.

pub mod bench;

/// What `vmm::error` has for devices.
pub mod error {
    use std::{io, path::PathBuf};

    pub type Result<T, E = Error> = std::result::Result<T, E>;

    #[derive(Debug, thiserror::Error)]
    pub enum Error {
        #[error("cannot {action} {path}: {source}")]
        File { action: &'static str, path: PathBuf, source: io::Error },
        #[error("cannot {action}: {source}")]
        Host { action: &'static str, source: io::Error },
        #[error("{device}: {reason}")]
        Virtio { device: String, reason: String },
        #[error("snapshot: {0}")]
        Snapshot(String),
        #[error("the thread of {0} has ended")]
        Thread(String),
    }

    impl Error {
        pub fn file(
            action: &'static str,
            path: impl Into<PathBuf>,
        ) -> impl FnOnce(io::Error) -> Self {
            let path = path.into();
            move |source| Self::File { action, path, source }
        }

        pub fn host(action: &'static str) -> impl FnOnce(io::Error) -> Self {
            move |source| Self::Host { action, source }
        }
    }
}

/// What `vmm::memory` has for devices.
pub mod memory {
    pub type GuestMemory = vm_memory::GuestMemoryMmap<vm_memory::bitmap::AtomicBitmap>;
}

#[path = "../../src/virtio/mod.rs"]
pub mod virtio;
