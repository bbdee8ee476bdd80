//! Entropy: virtio-rng (virtio 1.2, clause 5.4), from the host's random number generator.

use std::fs::File;

use tracing::warn;
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;
use vm_memory::ReadVolatile;

use super::{
    model::{Complaints, Model, Next},
    ring::{Chain, Fault, Ring, Turn},
};
use crate::{
    error::{Error, Result},
    memory::GuestMemory,
};

const SOURCE: &str = "/dev/urandom";
const QUEUE_SIZE: u16 = 64;
/// Bytes for one request at most: a driver takes what it gets (clause 5.4.6).
const LIMIT: usize = 64 << 10;

/// An entropy device.
pub struct Entropy {
    source: File,
    complaints: Complaints,
}

impl Entropy {
    /// One that draws from the host's kernel.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn new() -> Result<Self> {
        let source = File::open(SOURCE).map_err(Error::file("draw entropy from", SOURCE))?;
        Ok(Self { source, complaints: Complaints::default() })
    }

    fn answer(&mut self, memory: &GuestMemory, chain: Chain) -> Result<usize, Fault> {
        let mut room = chain.writable;
        let size = room.len().min(LIMIT);
        let Some(room) = room.split_to(size) else { return Ok(0) };
        let mut written: usize = 0;
        for slice in room.slices(memory) {
            let mut slice = slice?;
            if let Err(cause) = self.source.read_exact_volatile(&mut slice) {
                if self.complaints.allow() {
                    warn!("the guest gets too little entropy: {SOURCE}: {cause}");
                }
                break;
            }
            written = written.saturating_add(slice.len());
        }
        Ok(written)
    }
}

impl Model for Entropy {
    fn kind(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn activate(&mut self, _features: u64) {}

    fn serve(&mut self, rings: &mut [Ring], turn: Turn<'_>) -> Result<Next, Fault> {
        let [ring] = rings else { return Ok(Next::default()) };
        let again = ring.drain(turn, |memory, chain| self.answer(memory, chain))?;
        Ok(Next { again, watch: false })
    }

    fn system_calls(&self) -> &'static [libc::c_long] {
        &[]
    }
}
