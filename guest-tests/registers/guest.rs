//! The guest: its instructions, the ELF file around them, and what it says.

use std::arch::global_asm;

use crate::step::{self, Step};

/// Where the guest lies, and its list of steps on pages of their own.
const CODE: u64 = 0x10_0000;
const STEPS: u64 = 0x20_0000;

// Registers: rbx the step, ebp its number. Each loop iteration serves one step. Nothing is pushed.
// The serial port is written without waiting: the VMM's is always ready. What is said: "P\n", or
// "F", eight digits of the step's number, eight of what was found, "\n".
global_asm!(
    ".pushsection .rodata.registers_guest, \"a\"",
    ".global registers_guest_start",
    ".global registers_guest_end",
    "registers_guest_start:",
    "  mov ebx, 0x200000",
    "  xor ebp, ebp",
    "2:",
    "  mov eax, [rbx]",
    "  mov ecx, [rbx + 4]",
    "  mov edi, [rbx + 8]",
    "  mov esi, [rbx + 12]",
    "  mov r8d, [rbx + 16]",
    "  mov r9d, 1000000",
    "  test eax, eax",
    "  jz 70f",
    "  cmp eax, 1",
    "  je 30f",
    // Read; eax is the kind, edx what was found.
    "10:",
    "  cmp ecx, 1",
    "  je 11f",
    "  cmp ecx, 2",
    "  je 12f",
    "  mov edx, [rdi]",
    "  jmp 13f",
    "11:",
    "  movzx edx, byte ptr [rdi]",
    "  jmp 13f",
    "12:",
    "  movzx edx, word ptr [rdi]",
    "13:",
    "  mov r10d, edx",
    "  and r10d, r8d",
    "  cmp r10d, esi",
    "  je 60f",
    "  cmp eax, 3",
    "  jne 80f",
    "  pause",
    "  dec r9d",
    "  jnz 10b",
    "  jmp 80f",
    // Write.
    "30:",
    "  mov eax, esi",
    "  cmp ecx, 1",
    "  je 31f",
    "  cmp ecx, 2",
    "  je 32f",
    "  mov [rdi], eax",
    "  jmp 60f",
    "31:",
    "  mov [rdi], al",
    "  jmp 60f",
    "32:",
    "  mov [rdi], ax",
    // Next step.
    "60:",
    "  add rbx, 32",
    "  inc ebp",
    "  jmp 2b",
    // Passed.
    "70:",
    "  mov r11d, edx",
    "  mov edx, 0x3f8",
    "  mov al, 0x50",
    "  out dx, al",
    "  jmp 90f",
    // Failed: the number, then what was found, as digits.
    "80:",
    "  mov r11d, edx",
    "  mov edx, 0x3f8",
    "  mov al, 0x46",
    "  out dx, al",
    "  mov r10d, ebp",
    "  mov esi, 2",
    "81:",
    "  mov ecx, 8",
    "82:",
    "  rol r10d, 4",
    "  mov eax, r10d",
    "  and eax, 15",
    "  add eax, 0x30",
    "  cmp eax, 0x3a",
    "  jb 83f",
    "  add eax, 0x27",
    "83:",
    "  out dx, al",
    "  dec ecx",
    "  jnz 82b",
    "  mov r10d, r11d",
    "  dec esi",
    "  jnz 81b",
    // End of line, then off: sleep type 5 and "go" into the sleep control port.
    "90:",
    "  mov al, 0x0a",
    "  out dx, al",
    "  mov edx, 0x600",
    "  mov al, 0x34",
    "  out dx, al",
    "91:",
    "  hlt",
    "  jmp 91b",
    "registers_guest_end:",
    ".popsection",
);

unsafe extern "C" {
    static registers_guest_start: u8;
    static registers_guest_end: u8;
}

fn code() -> Vec<u8> {
    let (start, end) = (&raw const registers_guest_start, &raw const registers_guest_end);
    // SAFETY: both symbols bound one run of bytes in this program's read-only data (above).
    let bytes = unsafe {
        let length = end.offset_from_unsigned(start);
        std::slice::from_raw_parts(start, length)
    };
    bytes.to_vec()
}

/// An ELF file with the guest and its steps.
pub(crate) fn image(steps: &[Step]) -> Vec<u8> {
    const HEADER: u64 = 64;
    const ENTRY: u64 = 56;
    let (code, list) = (code(), step::list(steps));
    let first = HEADER + 2 * ENTRY;
    let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |image: &mut Vec<u8>, value: u16| image.extend(value.to_le_bytes());
    let word = |image: &mut Vec<u8>, value: u32| image.extend(value.to_le_bytes());
    let long = |image: &mut Vec<u8>, value: u64| image.extend(value.to_le_bytes());
    // An executable for x86-64, with two program headers behind this one.
    half(&mut image, 2);
    half(&mut image, 62);
    word(&mut image, 1);
    long(&mut image, CODE);
    long(&mut image, HEADER);
    long(&mut image, 0);
    word(&mut image, 0);
    for value in [HEADER as u16, ENTRY as u16, 2, 0, 0, 0] {
        half(&mut image, value);
    }
    let parts = [(first, CODE, &code), (first + code.len() as u64, STEPS, &list)];
    for (offset, address, bytes) in parts {
        let size = bytes.len() as u64;
        word(&mut image, 1);
        word(&mut image, 7);
        for value in [offset, address, address, size, size, 1] {
            long(&mut image, value);
        }
    }
    image.extend(code);
    image.extend(list);
    image
}

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every step.
    Passed,
    /// A step found something else.
    Failed {
        /// Its number.
        step: usize,
        /// What it found.
        found: u32,
    },
}

/// What the guest said on its console.
pub(crate) fn verdict(said: &[u8]) -> Option<Verdict> {
    let text = std::str::from_utf8(said).ok()?.trim_end();
    if text == "P" {
        return Some(Verdict::Passed);
    }
    let (number, found) = text.strip_prefix('F')?.split_at_checked(8)?;
    let step = usize::from_str_radix(number, 16).ok()?;
    Some(Verdict::Failed { step, found: u32::from_str_radix(found, 16).ok()? })
}
