//! Ethernet addresses.

use std::{fmt, fs::File, io::Read, str::FromStr};

use crate::error::{Error, Result};

/// Group bit of an address' first octet: no card's own address.
const MULTICAST: u8 = 1;
/// Bit of addresses that no manufacturer has given.
const LOCAL: u8 = 2;
/// Smallest frame that goes over a wire, without its checksum.
const SMALLEST: usize = 60;

/// The address of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac([u8; 6]);

impl Mac {
    /// An address from its octets; `None` if it is all zeros or names a group.
    pub fn new(octets: [u8; 6]) -> Option<Self> {
        let [first, ..] = octets;
        (octets != [0; 6] && first & MULTICAST == 0).then_some(Self(octets))
    }

    /// A random one, of those that are free for all to use.
    ///
    /// # Errors
    /// [`Error::File`] without the host's random number generator.
    pub fn random() -> Result<Self> {
        const SOURCE: &str = "/dev/urandom";
        let mut octets = [0; 6];
        File::open(SOURCE)
            .and_then(|mut source| source.read_exact(&mut octets))
            .map_err(Error::file("draw a network address from", SOURCE))?;
        let [first, rest @ ..] = octets;
        let [a, b, c, d, e] = rest;
        Ok(Self([first & !MULTICAST | LOCAL, a, b, c, d, e]))
    }

    /// Its octets.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// A frame that tells switches where this address is: a RARP request about itself (RFC 903),
    /// which no host answers or minds.
    pub(super) fn announcement(self) -> [u8; SMALLEST] {
        const BROADCAST: [u8; 6] = [0xff; 6];
        const RARP: [u8; 2] = [0x80, 0x35];
        /// Ethernet, IPv4, lengths of both, "request reverse".
        const QUESTION: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 3];
        const NOBODY: [u8; 4] = [0; 4];
        let parts: [&[u8]; 7] = [&BROADCAST, &self.0, &RARP, &QUESTION, &self.0, &NOBODY, &self.0];
        let mut frame = [0; SMALLEST];
        for (to, from) in frame.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        frame
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no network address; they look like 52:54:00:12:34:56");
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| {
                part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit())
            });
            *octet = u8::from_str_radix(part.ok_or_else(wrong)?, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        Self::new(octets).ok_or_else(|| {
            format!("{text} names a group of cards or none; make its first octet 52")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        let mac: Mac = "52:54:00:12:ab:FF".parse().unwrap();
        assert_eq!(mac.octets(), [0x52, 0x54, 0, 0x12, 0xab, 0xff]);
        assert_eq!(mac.to_string(), "52:54:00:12:ab:ff");
    }

    #[test]
    fn what_is_no_address_of_a_card_is_refused() {
        for text in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52:54:00:12:34:5g",
            "52:54:0:12:34:56",
            "+2:54:00:12:34:56",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_random_address_is_local_and_of_one_card() {
        let [first, ..] = Mac::random().unwrap().octets();
        assert_eq!(first & (LOCAL | MULTICAST), LOCAL);
    }

    #[test]
    fn the_announcement_is_a_rarp_request_about_the_card_itself() {
        let mac = Mac::new([0x52, 1, 2, 3, 4, 5]).unwrap();
        let frame = mac.announcement();
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[6..12], mac.octets());
        assert_eq!(frame[12..22], [0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3]);
        assert_eq!(frame[22..28], mac.octets());
        assert_eq!(frame[32..38], mac.octets());
        assert_eq!(frame[38..], [0; 22]);
    }
}
