//! Where commands and responses lie.

use zeroize::Zeroizing;

use crate::BufferError;

/// Memory that the guest and the model share.
///
/// The CRB model reads commands from it and writes responses to it; [`Ppi`](crate::ppi::Ppi) keeps
/// its registers in one.
pub trait CommandBuffer {
    /// Reads `data.len()` bytes from `offset` on.
    ///
    /// # Errors
    /// [`BufferError`] if any of them cannot be read; `data` is unspecified then.
    fn read(&self, offset: usize, data: &mut [u8]) -> Result<(), BufferError>;

    /// Writes `data` to `offset`.
    ///
    /// # Errors
    /// [`BufferError`] if any of it cannot be written.
    fn write(&mut self, offset: usize, data: &[u8]) -> Result<(), BufferError>;

    /// Whether the bytes are part of guest memory, which a snapshot carries anyway. If not, the
    /// device's own snapshot carries them.
    fn is_guest_memory(&self) -> bool {
        false
    }
}

/// A buffer that only the model can reach: every access to it is trapped.
#[derive(Clone)]
pub struct InMemoryBuffer(Zeroizing<Vec<u8>>);

impl InMemoryBuffer {
    /// A buffer of `size` zeros.
    pub fn new(size: usize) -> Self {
        Self(Zeroizing::new(vec![0; size]))
    }
}

impl Default for InMemoryBuffer {
    /// As large as CRB's data buffer.
    fn default() -> Self {
        Self::new(super::spec::DATA_BUFFER_SIZE)
    }
}

fn out_of_range(offset: usize, length: usize) -> BufferError {
    BufferError::OutOfRange { offset, length }
}

impl CommandBuffer for InMemoryBuffer {
    fn read(&self, offset: usize, data: &mut [u8]) -> Result<(), BufferError> {
        let source = self.0.get(offset..).and_then(|rest| rest.get(..data.len()));
        data.copy_from_slice(source.ok_or(out_of_range(offset, data.len()))?);
        Ok(())
    }

    fn write(&mut self, offset: usize, data: &[u8]) -> Result<(), BufferError> {
        let target = self.0.get_mut(offset..).and_then(|rest| rest.get_mut(..data.len()));
        target.ok_or(out_of_range(offset, data.len()))?.copy_from_slice(data);
        Ok(())
    }
}

#[cfg(feature = "vm-memory")]
pub use guest::GuestBuffer;

#[cfg(feature = "vm-memory")]
mod guest {
    use vm_memory::{Bytes, GuestAddress, GuestAddressSpace};

    use super::{CommandBuffer, out_of_range};
    use crate::BufferError;

    /// A buffer inside guest memory, so that the guest reaches it without an exit.
    #[derive(Clone, Debug)]
    pub struct GuestBuffer<S> {
        space: S,
        address: GuestAddress,
        size: usize,
    }

    impl<S: GuestAddressSpace> GuestBuffer<S> {
        /// The `size` bytes at `address`. Whether memory is there shows at the first access.
        pub fn new(space: S, address: GuestAddress, size: usize) -> Self {
            Self { space, address, size }
        }

        fn place(&self, offset: usize, length: usize) -> Result<GuestAddress, BufferError> {
            offset
                .checked_add(length)
                .filter(|end| *end <= self.size)
                .and_then(|_| self.address.0.checked_add(offset as u64))
                .map(GuestAddress)
                .ok_or(out_of_range(offset, length))
        }
    }

    impl<S: GuestAddressSpace> CommandBuffer for GuestBuffer<S> {
        fn read(&self, offset: usize, data: &mut [u8]) -> Result<(), BufferError> {
            let place = self.place(offset, data.len())?;
            let result = self.space.memory().read_slice(data, place);
            result.map_err(|cause| BufferError::GuestMemory(cause.to_string()))
        }

        fn write(&mut self, offset: usize, data: &[u8]) -> Result<(), BufferError> {
            let place = self.place(offset, data.len())?;
            let result = self.space.memory().write_slice(data, place);
            result.map_err(|cause| BufferError::GuestMemory(cause.to_string()))
        }

        fn is_guest_memory(&self) -> bool {
            true
        }
    }
}
