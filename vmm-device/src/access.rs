//! Register accesses of any size and alignment, cut into pieces that touch one register.
//!
//! A piece has 1, 2 or 4 bytes and is aligned to its size, as on a bus and in QEMU's memory core.

/// The part of an access that falls into one aligned 32-bit word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Offset of the word, a multiple of 4.
    pub(crate) word: u64,
    /// First byte within the word, 0 to 3.
    pub(crate) first: usize,
    /// Bytes touched: 1, 2 or 4.
    pub(crate) size: usize,
    /// Where this piece begins in the access's data.
    pub(crate) at: usize,
}

impl Piece {
    /// The piece's bytes of `data`, moved to their place in the word; the other bytes are zero.
    pub(crate) fn value(&self, data: &[u8]) -> u32 {
        let mut word = [0; 4];
        for (slot, byte) in word.iter_mut().skip(self.first).zip(self.bytes(data)) {
            *slot = *byte;
        }
        u32::from_le_bytes(word)
    }

    /// Bits of the word that the piece covers.
    pub(crate) fn mask(&self) -> u32 {
        let mut word = [0; 4];
        for slot in word.iter_mut().skip(self.first).take(self.size) {
            *slot = 0xFF;
        }
        u32::from_le_bytes(word)
    }

    /// The piece's bytes of `data`.
    pub(crate) fn bytes<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        data.get(self.at..).and_then(|rest| rest.get(..self.size)).unwrap_or_default()
    }

    /// The piece's bytes of `data`, to be filled.
    pub(crate) fn bytes_mut<'a>(&self, data: &'a mut [u8]) -> &'a mut [u8] {
        data.get_mut(self.at..).and_then(|rest| rest.get_mut(..self.size)).unwrap_or_default()
    }

    /// Copies the piece's part of the register value `word` into `data`.
    pub(crate) fn fill(&self, word: u32, data: &mut [u8]) {
        let bytes = word.to_le_bytes();
        for (slot, byte) in self.bytes_mut(data).iter_mut().zip(bytes.iter().skip(self.first)) {
            *slot = *byte;
        }
    }
}

/// Cuts an access of `length` bytes at `offset` into pieces, in address order. Addresses that
/// would wrap around are left out.
pub(crate) fn pieces(offset: u64, length: usize) -> impl Iterator<Item = Piece> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = length.checked_sub(at).filter(|left| *left > 0)?;
        let address = offset.checked_add(at as u64)?;
        let first = (address & 3) as usize;
        let aligned = 1 << first.trailing_zeros().min(2);
        let whole = 1 << left.ilog2().min(2);
        let piece = Piece { word: address & !3, first, size: aligned.min(whole), at };
        at = at.saturating_add(piece.size);
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(offset: u64, length: usize) -> Vec<(u64, usize, usize)> {
        pieces(offset, length).map(|piece| (piece.word, piece.first, piece.size)).collect()
    }

    #[test]
    fn an_access_is_cut_into_aligned_pieces() {
        assert_eq!(sizes(0x18, 8), [(0x18, 0, 4), (0x1c, 0, 4)]);
        assert_eq!(sizes(0x1a, 4), [(0x18, 2, 2), (0x1c, 0, 2)]);
        assert_eq!(sizes(0x19, 4), [(0x18, 1, 1), (0x18, 2, 2), (0x1c, 0, 1)]);
        assert_eq!(sizes(0x1b, 2), [(0x18, 3, 1), (0x1c, 0, 1)]);
        assert_eq!(sizes(0x18, 3), [(0x18, 0, 2), (0x18, 2, 1)]);
        assert_eq!(sizes(0x18, 0), []);
    }

    #[test]
    fn a_piece_has_its_value_and_mask_in_their_place() {
        let cut: Vec<_> = pieces(0x1a, 4).collect();
        assert_eq!(cut[0].value(&[1, 2, 3, 4]), 0x0201_0000);
        assert_eq!(cut[0].mask(), 0xffff_0000);
        assert_eq!(cut[1].value(&[1, 2, 3, 4]), 0x0000_0403);
    }

    #[test]
    fn an_access_at_the_end_of_the_address_space_stops_there() {
        assert_eq!(pieces(u64::MAX, 4).count(), 1);
    }
}
