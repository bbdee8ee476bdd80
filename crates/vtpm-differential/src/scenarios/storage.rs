//! PCR and NV (Part 3, clauses 22 and 31).

use super::nv_public;
use crate::cc;
use crate::crypto::Hash;
use crate::step::{Seq, Step, cmd};
use crate::templates::*;

pub(super) fn all() -> Vec<Seq> {
    vec![
        pcr(),
        pcr_auth(),
        allocate(),
        nv_ordinary(),
        nv_kinds(),
        nv_define_errors(),
        nv_locks(),
        nv_special(),
    ]
}

fn pcr() -> Seq {
    let mut s = Seq::new("PCR: extend, event, read, reset");
    for pcr in [0, 9, 16, 17, 23, 24, 0x4000_0007, 0x4000_0001] {
        s.run(cmd(cc::PCR_EXTEND).h(pcr).pw().u32(1).u16(0xb).b([1; 32]));
        s.run(cmd(cc::PCR_EXTEND).h(pcr).pw().u32(2).u16(4).b([1; 20]).u16(0xb).b([2; 32]));
        s.run(cmd(cc::PCR_EXTEND).h(pcr).pw().u32(0));
        s.run(cmd(cc::PCR_EXTEND).h(pcr).pw().u32(1).u16(0x10));
        s.run(cmd(cc::PCR_EXTEND).h(pcr).pw().u32(1).u16(0x12).b([1; 32]));
        s.run(cmd(cc::PCR_EXTEND).h(pcr).pw().u32(6));
        s.run(cmd(cc::PCR_EXTEND).h(pcr).pwd(b"x").u32(0));
        s.run(cmd(cc::PCR_EXTEND).h(pcr).u32(0));
        s.run(cmd(cc::PCR_EVENT).h(pcr).pw().b2(b"event"));
        s.run(cmd(cc::PCR_EVENT).h(pcr).pw().b2([1; 1024]));
        s.run(cmd(cc::PCR_EVENT).h(pcr).pw().b2([1; 1025]));
        s.run(cmd(cc::PCR_EVENT).h(pcr).pw().b2([]));
        s.run(cmd(cc::PCR_RESET).h(pcr).pw());
        s.run(cmd(cc::PCR_SET_AUTH_VALUE).h(pcr).pw().b2(b"a"));
        s.run(cmd(cc::PCR_SET_AUTH_POLICY).h(PLATFORM).pw().b2([3; 32]).u16(0xb).u32(pcr));
    }
    s.run(cmd(cc::PCR_SET_AUTH_POLICY).h(OWNER).pw().b2([3; 32]).u16(0xb).u32(20));
    for (digest, alg) in [(32, 0xb), (0, 0x10), (31, 0xb), (20, 4), (0, 0xb)] {
        s.run(cmd(cc::PCR_SET_AUTH_POLICY).h(PLATFORM).pw().b2(vec![3; digest]).u16(alg).u32(20));
    }
    s.run(cmd(cc::PCR_SET_AUTH_VALUE).h(20).pw().b2(b"a"));
    s.run(cmd(cc::PCR_EXTEND).h(20).pwd(b"a").u32(0));
    for select in [[0, 0, 0], [1, 0, 0], [0xff, 0, 0], [0xff, 0xff, 0xff]] {
        for hash in Hash::ALL {
            s.run(cmd(cc::PCR_READ).b(pcrs(hash, select)));
        }
    }
    s.run(cmd(cc::PCR_READ).u32(2).u16(4).u8(3).b([1, 0, 0]).u16(0xb).u8(3).b([2, 0, 0]));
    s.run(cmd(cc::PCR_READ).u32(1).u16(0xb).u8(2).b([1, 0]));
    s.run(cmd(cc::PCR_READ).u32(1).u16(0xb).u8(4).b([1, 0, 0, 0]));
    s.run(cmd(cc::PCR_READ).u32(1).u16(0x55).u8(3).b([1, 0, 0]));
    s.run(cmd(cc::PCR_READ).u32(0));
    s.run(cmd(cc::PCR_READ).u32(17));
    s.run(cmd(cc::GET_CAPABILITY).u32(5).u32(0).u32(10));
    s.run(cmd(cc::GET_CAPABILITY).u32(7).u32(0).u32(100));
    s
}

fn pcr_auth() -> Seq {
    let mut s = Seq::new("PCR: authorization values");
    let extend =
        |pcr, value: &[u8]| cmd(cc::PCR_EXTEND).h(pcr).pwd(value).u32(1).u16(0xb).b([5; 32]);
    s.step(Step::Locality(2));
    for (old, new) in [(&b""[..], &b"group"[..]), (b"group", b"other"), (b"other\0\0", b"")] {
        for pcr in [20, 21, 22] {
            s.run(extend(pcr, b""));
            s.run(extend(pcr, b"group"));
        }
        s.run(cmd(cc::PCR_SET_AUTH_VALUE).h(21).pwd(b"wrong").b2(new));
        s.run(cmd(cc::PCR_SET_AUTH_VALUE).h(21).b2(new));
        // One group has the three: whichever is named sets the value of all.
        s.run(cmd(cc::PCR_SET_AUTH_VALUE).h(21).pwd(old).b2(new));
        s.run(cmd(cc::PCR_SET_AUTH_VALUE).h(16).pw().b2(new));
    }
    s.run(cmd(cc::PCR_SET_AUTH_VALUE).h(22).pw().b2([7; 64]));
    s.run(cmd(cc::PCR_SET_AUTH_VALUE).h(22).pwd(&[7; 64]).b2([8; 65]));
    // A resume keeps the value, a restart does not.
    for start in [1, 0] {
        s.run(cmd(cc::SHUTDOWN).u16(1));
        s.step(Step::Init);
        s.run(cmd(cc::STARTUP).u16(start));
        s.step(Step::Locality(2));
        s.run(extend(20, b""));
        s.run(extend(20, &[7; 64]));
    }
    s
}

fn allocate() -> Seq {
    let mut s = Seq::new("PCR: allocation of banks");
    s.run(cmd(cc::PCR_ALLOCATE).h(OWNER).pw().b(pcrs(Hash::Sha1, [0xff, 0xff, 0xff])));
    s.run(cmd(cc::PCR_ALLOCATE).h(PLATFORM).pw().b(pcrs(Hash::Sha1, [0xff, 0xff, 0xff])));
    s.run(cmd(cc::PCR_ALLOCATE).h(PLATFORM).pw().b(pcrs(Hash::Sha384, [0xff, 0xff, 0])));
    s.run(cmd(cc::PCR_ALLOCATE).h(PLATFORM).pw().b(pcrs(Hash::Sha256, [0, 0, 0])));
    s.run(cmd(cc::GET_CAPABILITY).u32(5).u32(0).u32(10));
    s.run(cmd(cc::SHUTDOWN).u16(1));
    s.run(cmd(cc::PCR_ALLOCATE).h(PLATFORM).pw().b(pcrs(Hash::Sha512, [0xff, 0xff, 0xff])));
    s.run(cmd(cc::SHUTDOWN).u16(1));
    s.step(Step::Init);
    s.run(cmd(cc::STARTUP).u16(1));
    s.run(cmd(cc::STARTUP).u16(0));
    s.run(cmd(cc::GET_CAPABILITY).u32(5).u32(0).u32(10));
    s.run(cmd(cc::GET_CAPABILITY).u32(7).u32(0).u32(100));
    s.run(cmd(cc::PCR_EVENT).h(3).pw().b2(b"event"));
    s.run(cmd(cc::PCR_EXTEND).h(2).pw().u32(2).u16(4).b([1; 20]).u16(0xb).b([2; 32]));
    for hash in Hash::ALL {
        s.run(cmd(cc::PCR_READ).b(pcrs(hash, [0x0c, 0, 0])));
    }
    s.run(cmd(cc::PCR_ALLOCATE).h(PLATFORM).pw().u32(0));
    s.run(cmd(cc::PCR_ALLOCATE).h(PLATFORM).pw().u32(1).u16(0x99).u8(3).b([0, 0, 0]));
    s.run(cmd(cc::PCR_ALLOCATE).h(PLATFORM).pw().u32(1).u16(0xb).u8(1).b([0]));
    s
}

const INDEX: u32 = 0x0180_0010;

fn nv_ordinary() -> Seq {
    let mut s = Seq::new("NV: ordinary indices");
    // ownerwrite, authwrite, ownerread, authread, noDA
    let attributes = 0x0206_0006;
    s.run(cmd(cc::NV_READ_PUBLIC).h(INDEX));
    s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2(b"nv").b2(nv_public(INDEX, attributes, 40)));
    s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2(b"nv").b2(nv_public(INDEX, attributes, 40)));
    s.run(cmd(cc::NV_READ_PUBLIC).h(INDEX));
    s.run(cmd(cc::NV_READ).h(OWNER).h(INDEX).pw().u16(8).u16(0));
    s.run(cmd(cc::NV_CERTIFY).h(NULL).h(OWNER).h(INDEX).pw().pw().b2([]).b(NONE).u16(8).u16(0));
    s.run(cmd(cc::NV_WRITE).h(OWNER).h(INDEX).pw().b2([7; 41]).u16(0));
    s.run(cmd(cc::NV_WRITE).h(OWNER).h(INDEX).pw().b2([7; 40]).u16(1));
    s.run(cmd(cc::NV_WRITE).h(OWNER).h(INDEX).pw().b2([]).u16(0));
    s.run(cmd(cc::NV_READ_PUBLIC).h(INDEX));
    s.run(cmd(cc::NV_WRITE).h(OWNER).h(INDEX).pw().b2([7; 40]).u16(0));
    s.run(cmd(cc::NV_WRITE).h(INDEX).h(INDEX).pwd(b"nv").b2(b"mid").u16(10));
    s.run(cmd(cc::NV_WRITE).h(INDEX).h(INDEX).pwd(b"bad").b2(b"mid").u16(10));
    s.run(cmd(cc::NV_WRITE).h(PLATFORM).h(INDEX).pw().b2(b"mid").u16(10));
    s.run(cmd(cc::NV_WRITE).h(ENDORSEMENT).h(INDEX).pw().b2(b"mid").u16(10));
    s.run(cmd(cc::NV_WRITE).h(INDEX + 1).h(INDEX).pw().b2(b"mid").u16(10));
    s.run(cmd(cc::NV_WRITE).h(OWNER).h(INDEX + 1).pw().b2(b"mid").u16(10));
    for (size, offset) in [
        (40, 0),
        (0, 0),
        (0, 40),
        (0, 41),
        (1, 39),
        (1, 40),
        (41, 0),
        (2048, 0),
        (2049, 0),
        (1025, 0),
        (0xffff, 0xffff),
    ] {
        s.run(cmd(cc::NV_READ).h(OWNER).h(INDEX).pw().u16(size).u16(offset));
    }
    s.run(cmd(cc::NV_READ).h(INDEX).h(INDEX).pwd(b"nv").u16(8).u16(8));
    s.run(cmd(cc::NV_READ).h(PLATFORM).h(INDEX).pw().u16(8).u16(8));
    s.run(cmd(cc::NV_READ_PUBLIC).h(INDEX));
    s.run(cmd(cc::NV_INCREMENT).h(OWNER).h(INDEX).pw());
    s.run(cmd(cc::NV_EXTEND).h(OWNER).h(INDEX).pw().b2(b"x"));
    s.run(cmd(cc::NV_SET_BITS).h(OWNER).h(INDEX).pw().u64(1));
    s.run(cmd(cc::NV_CHANGE_AUTH).h(INDEX).pwd(b"nv").b2(b"new"));
    s.run(cmd(cc::NV_UNDEFINE_SPACE_SPECIAL).h(INDEX).h(PLATFORM).pw().pw());
    s.run(cmd(cc::NV_UNDEFINE_SPACE).h(PLATFORM).h(INDEX).pw());
    s.run(cmd(cc::NV_UNDEFINE_SPACE).h(OWNER).h(INDEX).pwd(b"x"));
    s.run(cmd(cc::NV_UNDEFINE_SPACE).h(OWNER).h(INDEX).pw());
    s.run(cmd(cc::NV_UNDEFINE_SPACE).h(OWNER).h(INDEX).pw());
    s
}

fn nv_kinds() -> Seq {
    let mut s = Seq::new("NV: counters, bit fields, extend, PIN");
    let rw = 0x0206_0006;
    for kind in 0..16u32 {
        for size in [0, 8, 32, 33] {
            let index = INDEX + kind;
            s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2(b"").b2(nv_public(
                index,
                rw | kind << 4,
                size,
            )));
            s.run(cmd(cc::NV_DEFINE_SPACE).h(PLATFORM).pw().b2(b"").b2(nv_public(
                index,
                (rw | kind << 4 | 0x4000_0001) & !4,
                size,
            )));
            s.run(cmd(cc::NV_WRITE).h(OWNER).h(index).pw().b2([0, 0, 0, 0, 0, 0, 0, 3]).u16(0));
            for _ in 0..2 {
                s.run(cmd(cc::NV_INCREMENT).h(OWNER).h(index).pw());
                s.run(cmd(cc::NV_SET_BITS).h(OWNER).h(index).pw().u64(0x8000_0000_0000_0010));
                s.run(cmd(cc::NV_EXTEND).h(OWNER).h(index).pw().b2(b"measured"));
                s.run(cmd(cc::NV_READ).h(OWNER).h(index).pw().u16(8).u16(0));
                s.run(cmd(cc::NV_READ).h(OWNER).h(index).pw().u16(size).u16(0));
                s.run(cmd(cc::NV_READ).h(index).h(index).pwd(b"wrong").u16(8).u16(0));
                s.run(cmd(cc::NV_READ).h(index).h(index).pw().u16(8).u16(0));
                s.run(cmd(cc::NV_READ_PUBLIC).h(index));
            }
            s.run(cmd(cc::NV_UNDEFINE_SPACE).h(OWNER).h(index).pw());
            s.run(cmd(cc::NV_UNDEFINE_SPACE).h(PLATFORM).h(index).pw());
        }
    }
    s
}

fn nv_define_errors() -> Seq {
    let mut s = Seq::new("NV: every attribute bit at definition");
    for base in [0x0206_0006u32, 0x4006_0004, 0x0004_0004, 0x0206_0016, 0x0206_0046, 0x4206_0084] {
        for bit in 0..32 {
            for auth in [OWNER, PLATFORM] {
                s.run(cmd(cc::NV_DEFINE_SPACE).h(auth).pw().b2(b"").b2(nv_public(
                    INDEX,
                    base ^ 1 << bit,
                    8,
                )));
                s.run(cmd(cc::NV_UNDEFINE_SPACE).h(OWNER).h(INDEX).pw());
                s.run(cmd(cc::NV_UNDEFINE_SPACE).h(PLATFORM).h(INDEX).pw());
            }
        }
    }
    for index in [0x0100_0000, 0x01c0_0002, 0x01ff_ffff, 0x0200_0000, 0x8100_0000, 0x0180_0000] {
        s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2(b"").b2(nv_public(index, 0x0206_0006, 8)));
        s.run(cmd(cc::GET_CAPABILITY).u32(1).u32(0x0100_0000).u32(20));
    }
    for size in [0, 1, 2047, 2048, 2049, 0xffff] {
        s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2(b"").b2(nv_public(
            INDEX,
            0x0206_0006,
            size,
        )));
        s.run(cmd(cc::NV_UNDEFINE_SPACE).h(OWNER).h(INDEX).pw());
    }
    let public = |alg: u16, policy: &[u8]| {
        [
            &INDEX.to_be_bytes()[..],
            &alg.to_be_bytes(),
            &0x0206_0006u32.to_be_bytes(),
            &b2(policy),
            &[0, 8],
        ]
        .concat()
    };
    for alg in [0, 4, 0xb, 0xc, 0xd, 0x10, 0x12, 0x27] {
        for policy in [0, 20, 32, 33] {
            s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2(b"").b2(public(alg, &vec![1; policy])));
            s.run(cmd(cc::NV_UNDEFINE_SPACE).h(OWNER).h(INDEX).pw());
        }
    }
    s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2([1; 33]).b2(nv_public(INDEX, 0x0206_0006, 8)));
    s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2([1; 32]).b2(nv_public(INDEX, 0x0206_0006, 8)));
    s.run(cmd(cc::NV_DEFINE_SPACE).h(ENDORSEMENT).pw().b2([]).b2(nv_public(INDEX, 0x0206_0006, 8)));
    s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2([]).b2([]));
    s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2([]).u16(13).b(nv_public(
        INDEX,
        0x0206_0006,
        8,
    )));
    s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2([]).u16(15).b(nv_public(
        INDEX,
        0x0206_0006,
        8,
    )));
    s
}

fn nv_locks() -> Seq {
    let mut s = Seq::new("NV: locks, orderly, clear at start");
    // writedefine, write_stclear, globallock, clear_stclear, orderly, read_stclear
    for extra in
        [0u32, 0x2000, 0x4000, 0x8000, 0x0800_0000, 0x0400_0000, 0x8000_0000, 0x8c00_0000, 0xc400]
    {
        let index = INDEX + (extra >> 12 & 0xff);
        s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2(b"").b2(nv_public(
            index,
            0x0206_0006 | extra,
            8,
        )));
        s.run(cmd(cc::NV_READ_LOCK).h(OWNER).h(index).pw());
        s.run(cmd(cc::NV_WRITE_LOCK).h(OWNER).h(index).pw());
        s.run(cmd(cc::NV_WRITE).h(OWNER).h(index).pw().b2([1; 8]).u16(0));
        s.run(cmd(cc::NV_WRITE_LOCK).h(OWNER).h(index).pw());
        s.run(cmd(cc::NV_WRITE).h(OWNER).h(index).pw().b2([1; 8]).u16(0));
        s.run(cmd(cc::NV_READ).h(OWNER).h(index).pw().u16(8).u16(0));
        s.run(cmd(cc::NV_READ_LOCK).h(OWNER).h(index).pw());
        s.run(cmd(cc::NV_READ).h(OWNER).h(index).pw().u16(8).u16(0));
        s.run(cmd(cc::NV_READ_PUBLIC).h(index));
        s.run(cmd(cc::NV_GLOBAL_WRITE_LOCK).h(OWNER).pw());
        s.run(cmd(cc::NV_WRITE).h(OWNER).h(index).pw().b2([2; 8]).u16(0));
        for (shutdown, startup) in [(1, 1), (1, 0), (0, 0), (2, 0)] {
            s.run(cmd(cc::NV_READ_PUBLIC).h(index));
            if shutdown < 2 {
                s.run(cmd(cc::SHUTDOWN).u16(shutdown));
            }
            s.step(Step::Init);
            s.run(cmd(cc::STARTUP).u16(startup));
            s.run(cmd(cc::NV_READ_PUBLIC).h(index));
            s.run(cmd(cc::NV_READ).h(OWNER).h(index).pw().u16(8).u16(0));
            s.run(cmd(cc::NV_WRITE).h(OWNER).h(index).pw().b2([3; 8]).u16(0));
        }
        s.run(cmd(cc::NV_UNDEFINE_SPACE).h(OWNER).h(index).pw());
    }
    // Orderly counters survive a crash with a jump.
    s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2(b"").b2(nv_public(INDEX, 0x0606_0016, 8)));
    for crash in [false, true, false] {
        for _ in 0..3 {
            s.run(cmd(cc::NV_INCREMENT).h(OWNER).h(INDEX).pw());
        }
        if !crash {
            s.run(cmd(cc::SHUTDOWN).u16(0));
        }
        s.step(Step::Init);
        s.run(cmd(cc::STARTUP).u16(0));
        s.run(cmd(cc::NV_READ).h(OWNER).h(INDEX).pw().u16(8).u16(0));
    }
    s.run(cmd(cc::NV_GLOBAL_WRITE_LOCK).h(ENDORSEMENT).pw());
    s.run(cmd(cc::NV_GLOBAL_WRITE_LOCK).h(PLATFORM).pw());
    s
}

fn nv_special() -> Seq {
    let mut s = Seq::new("NV: undefining by policy, changing authorization by policy");
    let policy_for = |code: u32| {
        Hash::Sha256.of(&[&[0; 32], &cc::POLICY_COMMAND_CODE.to_be_bytes(), &code.to_be_bytes()])
    };
    for code in [cc::NV_UNDEFINE_SPACE_SPECIAL, cc::NV_CHANGE_AUTH] {
        let attributes: u32 = 0x4207_0005 | if code == cc::NV_CHANGE_AUTH { 0 } else { 0x400 };
        let public = [
            &INDEX.to_be_bytes()[..],
            &[0, 0xb],
            &attributes.to_be_bytes(),
            &b2(&policy_for(code)),
            &[0, 8],
        ]
        .concat();
        s.run(cmd(cc::NV_DEFINE_SPACE).h(PLATFORM).pw().b2(b"old").b2(public));
        s.run(cmd(cc::NV_READ_PUBLIC).h(INDEX));
        s.run(
            cmd(cc::NV_DEFINE_SPACE)
                .h(PLATFORM)
                .pw()
                .b2(b"old")
                .b2(nv_public(INDEX, attributes, 8)),
        );
        let session = s.run(super::start_session(1, Hash::Sha256));
        s.run(cmd(cc::POLICY_COMMAND_CODE).of(session).u32(code));
        s.run(cmd(cc::POLICY_GET_DIGEST).of(session));
        let auth = crate::step::hmac(session, 1, b"");
        match code {
            cc::NV_CHANGE_AUTH => {
                s.run(cmd(code).h(INDEX).pwd(b"old").b2(b"new"));
                s.run(cmd(cc::NV_WRITE).h(PLATFORM).h(INDEX).pw().b2([1; 8]).u16(0));
                s.run(cmd(code).h(INDEX).auth(auth.after(b"new")).b2(b"new"))
            }
            _ => s.run(cmd(code).h(INDEX).h(PLATFORM).auth(auth).pw()),
        };
        s.run(cmd(cc::NV_READ).h(INDEX).h(INDEX).pwd(b"new").u16(8).u16(0));
        s.run(cmd(cc::NV_UNDEFINE_SPACE).h(PLATFORM).h(INDEX).pw());
        s.run(cmd(cc::NV_READ_PUBLIC).h(INDEX));
    }
    s
}
