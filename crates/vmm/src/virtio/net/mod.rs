//! A network card: virtio-net (virtio 1.2, clause 5.1) over a tap interface of the host.
//!
//! Whole frames, one a buffer, no offloads: header and frame are separate things here, so nothing
//! that a guest puts into the header reaches the host's kernel.
//!
//! After a restore the card says on the network where it is now (one RARP request, as other VMMs
//! do), so that switches send to the new place.

mod mac;
mod tap;

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use tracing::{debug, warn};
use virtio_bindings::{
    virtio_ids::VIRTIO_ID_NET,
    virtio_net::{VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS, VIRTIO_NET_S_LINK_UP},
};

pub use self::{mac::Mac, tap::Tap};
use super::{
    model::{Complaints, Model, Next},
    ring::{BATCH, Chain, Fault, Ring, Turn},
};
use crate::{
    error::{Error, Result},
    memory::GuestMemory,
};

const QUEUE_SIZE: u16 = 256;
/// `struct virtio_net_hdr`, with the number of buffers (clause 5.1.6).
const HEADER_SIZE: usize = 12;
/// That of a received frame: nothing to say, and one buffer.
const RECEIVED: [u8; HEADER_SIZE] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
/// Largest frame: an IP packet of 64 KiB behind an Ethernet header with two VLAN tags.
const MAX_FRAME: usize = 65_535 + 22;
/// Smallest frame: its addresses and type.
const MIN_FRAME: usize = 14;

/// A network card.
pub struct Net {
    link: File,
    mac: Mac,
    /// A header and the largest frame.
    packet: Box<[u8]>,
    /// The network does not know yet that the card has moved.
    announce: bool,
    complaints: Complaints,
}

impl Net {
    /// A card with address `mac`, whose frames go through `link`: one a read and one a write. A
    /// [`Tap`], or a datagram socket.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn new(link: impl Into<OwnedFd>, mac: Mac) -> Result<Self> {
        let link = link.into();
        tap::set_nonblocking(&link).map_err(Error::host("set up a network interface"))?;
        Ok(Self {
            link: link.into(),
            mac,
            packet: vec![0; HEADER_SIZE + MAX_FRAME].into(),
            announce: false,
            complaints: Complaints::default(),
        })
    }

    /// Its address; after a restore the one that was saved.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Sends a frame of the guest. One that cannot be sent is lost, as on any network.
    fn transmit(&mut self, memory: &GuestMemory, chain: Chain) -> Result<usize, Fault> {
        let mut packet = chain.readable;
        let has_header = packet.split_to(HEADER_SIZE).is_some();
        if !has_header || !(MIN_FRAME..=MAX_FRAME).contains(&packet.len()) {
            debug!(size = packet.len(), "a frame of the guest that cannot be");
            return Ok(0);
        }
        let size = packet.read(memory, &mut self.packet)?;
        if let Some(frame) = self.packet.get(..size) {
            send(&self.link, frame, &mut self.complaints);
        }
        Ok(0)
    }

    /// Hands frames to the guest while both are there, frames and buffers.
    fn receive(&mut self, ring: &mut Ring, turn: Turn<'_>) -> Result<Next, Fault> {
        for _ in 0..BATCH {
            if turn.is_over() {
                return Ok(Next { again: true, watch: true });
            }
            let Some(chain) = ring.next_or_wait()? else { return Ok(Next::default()) };
            let Some(frame) = self.packet.get_mut(HEADER_SIZE..) else {
                return Ok(Next::default());
            };
            match self.link.read(frame) {
                Ok(size) if size > 0 => self.deliver(ring, &chain, size)?,
                outcome => {
                    ring.put_back();
                    match outcome.map_err(|cause| (cause.kind(), cause)) {
                        Err((ErrorKind::WouldBlock, _)) => {
                            return Ok(Next { again: false, watch: true });
                        }
                        Err((ErrorKind::Interrupted, _)) => {}
                        failed => {
                            self.link_failed(failed.map_err(|(_, cause)| cause));
                            return Ok(Next::default());
                        }
                    }
                }
            }
        }
        Ok(Next { again: true, watch: true })
    }

    /// Puts the frame of `size` bytes into the guest's buffer. A frame too large for it is lost.
    fn deliver(&mut self, ring: &mut Ring, chain: &Chain, size: usize) -> Result<(), Fault> {
        let size = HEADER_SIZE.saturating_add(size);
        let fits = size <= chain.writable.len();
        let Some(packet) = self.packet.get_mut(..size).filter(|_| fits) else {
            debug!(size, "a frame too large for the guest's buffer");
            ring.put_back();
            return Ok(());
        };
        if let Some(header) = packet.first_chunk_mut() {
            *header = RECEIVED;
        }
        chain.writable.write(ring.memory(), packet)?;
        ring.complete(chain.head, size)
    }

    /// Leaves the link alone until the guest rings the next time.
    fn link_failed(&mut self, outcome: std::io::Result<usize>) {
        if self.complaints.allow() {
            match outcome {
                Ok(_) => warn!(mac = %self.mac, "the network interface was closed"),
                Err(cause) => warn!(mac = %self.mac, "nothing can be received: {cause}"),
            }
        }
    }
}

impl Model for Net {
    fn kind(&self) -> u32 {
        VIRTIO_ID_NET
    }

    fn features(&self) -> u64 {
        1 << VIRTIO_NET_F_MAC | 1 << VIRTIO_NET_F_STATUS
    }

    /// To the guest, from the guest.
    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE; 2]
    }

    /// `struct virtio_net_config` (clause 5.1.4), up to the status.
    fn config(&self) -> Vec<u8> {
        let mut config = self.mac.octets().to_vec();
        config.extend((VIRTIO_NET_S_LINK_UP as u16).to_le_bytes());
        config
    }

    /// The guest knows its address, so the card takes it over.
    fn adopt_config(&mut self, saved: &[u8]) -> Result<()> {
        let refuse = || Error::Snapshot("a network card's address is damaged".into());
        let (mac, rest) = saved.split_first_chunk().ok_or_else(refuse)?;
        let mac = Mac::new(*mac).ok_or_else(refuse)?;
        if rest.len() != 2 {
            return Err(refuse());
        }
        self.mac = mac;
        self.announce = true;
        Ok(())
    }

    fn activate(&mut self, _features: u64) {}

    fn serve(&mut self, rings: &mut [Ring], turn: Turn<'_>) -> Result<Next, Fault> {
        let [to_guest, from_guest] = rings else { return Ok(Next::default()) };
        if std::mem::take(&mut self.announce) {
            send(&self.link, &self.mac.announcement(), &mut self.complaints);
        }
        let more = from_guest.drain(turn, |memory, chain| self.transmit(memory, chain))?;
        let next = self.receive(to_guest, turn)?;
        Ok(Next { again: next.again || more, ..next })
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.link.as_fd())
    }

    fn system_calls(&self) -> &'static [libc::c_long] {
        &[]
    }
}

fn send(mut link: &File, frame: &[u8], complaints: &mut Complaints) {
    match link.write(frame) {
        Ok(_) => {}
        // The network is full.
        Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
        Err(cause) => {
            if complaints.allow() {
                warn!("a frame of the guest cannot be sent: {cause}; is the interface up?");
            }
        }
    }
}
