//! Memory and disk that are written all the time, and checked.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use crate::wire::{Fault, Result};

const PAGE: usize = 4096;
const WORDS: usize = PAGE / 8;
const BLOCK: usize = 4096;
const BLOCKS: u64 = 64;

/// Pages that each hold one number, over and over; all are written in each turn.
pub(crate) struct Memory {
    pages: Vec<[u64; WORDS]>,
    turn: u64,
}

impl Memory {
    pub(crate) fn new(mib: usize) -> Self {
        let mut memory = Self { pages: vec![[0; WORDS]; mib * (1 << 20) / PAGE], turn: 0 };
        memory.fill();
        memory
    }

    /// Checks a few pages, and writes all of them anew.
    pub(crate) fn turn(&mut self) -> Result<()> {
        let step = (self.pages.len() / 8).max(1);
        for number in (0..self.pages.len()).step_by(step) {
            self.check_page(number)?;
        }
        self.turn += 1;
        self.fill();
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<()> {
        (0..self.pages.len()).try_for_each(|number| self.check_page(number))
    }

    fn fill(&mut self) {
        for (number, page) in self.pages.iter_mut().enumerate() {
            page.fill(mark(self.turn, number));
        }
    }

    fn check_page(&self, number: usize) -> Result<()> {
        let mark = mark(self.turn, number);
        match self.pages.get(number) {
            Some(page) if page.iter().all(|word| *word == mark) => Ok(()),
            _ => Err(Fault(format!("page {number} of the agent's memory has changed"))),
        }
    }
}

fn mark(turn: u64, page: usize) -> u64 {
    turn.rotate_left(32) ^ page as u64
}

/// Blocks of a disk that each end in the digest of what is before.
pub(crate) struct Disk {
    file: File,
    /// The turn in which each block was written last; 0 if never.
    written: Vec<u64>,
}

impl Disk {
    pub(crate) fn open(path: &str) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|cause| Fault(format!("{path}: {cause}")))?;
        Ok(Self { file, written: vec![0; BLOCKS as usize] })
    }

    /// Writes one block, durably, and reads another.
    pub(crate) fn turn(&mut self, turn: u64) -> Result<()> {
        let block = turn % BLOCKS;
        self.file.write_all_at(&contents(block, turn), block * BLOCK as u64)?;
        self.file.sync_data()?;
        if let Some(written) = self.written.get_mut(block as usize) {
            *written = turn;
        }
        self.check_block((turn / 2) % BLOCKS)
    }

    pub(crate) fn check(&mut self) -> Result<()> {
        (0..BLOCKS).try_for_each(|block| self.check_block(block))
    }

    fn check_block(&self, block: u64) -> Result<()> {
        let Some(turn) = self.written.get(block as usize).filter(|turn| **turn != 0) else {
            return Ok(());
        };
        let mut found = vec![0; BLOCK];
        self.file.read_exact_at(&mut found, block * BLOCK as u64)?;
        if found == contents(block, *turn) {
            Ok(())
        } else {
            Err(Fault(format!("block {block} of the disk is not what was written in turn {turn}")))
        }
    }
}

fn contents(block: u64, turn: u64) -> Vec<u8> {
    let seed = Sha256::new().chain_update(block.to_be_bytes()).chain_update(turn.to_be_bytes());
    seed.finalize().iter().copied().cycle().take(BLOCK).collect()
}
