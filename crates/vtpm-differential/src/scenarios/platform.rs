//! Start-up, self-test, random numbers, capabilities, hierarchies, dictionary attack, clocks
//! (Part 3, clauses 9, 10, 16, 24, 25, 26, 29, 30).

use crate::cc;
use crate::crypto::Hash;
use crate::sides::HashOp;
use crate::step::{Seq, Step, cmd, password};
use crate::templates::*;

pub(super) fn all() -> Vec<Seq> {
    vec![
        startup(),
        shutdown_cycles(),
        self_tests(),
        random(),
        capabilities(),
        hierarchies(),
        clear(),
        lockout(),
        clocks(),
        drtm(),
        unknown_commands(),
        seeds(),
        presence(),
    ]
}

fn startup() -> Seq {
    let mut s = Seq::bare("startup: what is answered before and after");
    s.run(cmd(cc::GET_RANDOM).u16(8));
    s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x100).u32(1));
    s.run(cmd(cc::SHUTDOWN).u16(0));
    s.run(cmd(cc::STARTUP).u16(2));
    s.run(cmd(cc::STARTUP).u16(1));
    s.run(cmd(cc::STARTUP));
    s.run(cmd(cc::STARTUP).pw().u16(0));
    s.run(cmd(cc::STARTUP).u16(0));
    s.run(cmd(cc::STARTUP).u16(0));
    s.run(cmd(cc::STARTUP).u16(7));
    s.run(cmd(cc::SHUTDOWN).u16(2));
    s.run(cmd(cc::SHUTDOWN).pw().u16(0));
    s.run(cmd(cc::SHUTDOWN).u16(0).b([0]));
    s
}

fn shutdown_cycles() -> Seq {
    let mut s = Seq::new("startup: reset, restart and resume");
    let state = |s: &mut Seq| {
        s.run(cmd(cc::READ_CLOCK));
        s.run(cmd(cc::PCR_READ).b(pcrs(Hash::Sha256, [0xff, 0xff, 0xff])));
        s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(64));
        s.run(cmd(cc::GET_CAPABILITY).u32(1).u32(0x0200_0000).u32(64));
        s.run(cmd(cc::GET_CAPABILITY).u32(1).u32(0x0300_0000).u32(64));
        s.run(cmd(cc::GET_CAPABILITY).u32(1).u32(0x8000_0000).u32(64));
    };
    for (shutdown, startup) in
        [(Some(1), 1), (Some(1), 0), (Some(0), 0), (None, 0), (Some(0), 1), (None, 1)]
    {
        let extend =
            |pcr: u32| cmd(cc::PCR_EXTEND).h(pcr).pw().u32(1).u16(0xb).b([pcr as u8 + 1; 32]);
        for pcr in [0, 7, 16, 17, 20, 23] {
            s.run(extend(pcr));
        }
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(PLATFORM).pw().b2(b"platform"));
        s.run(cmd(cc::HIERARCHY_CONTROL).h(OWNER).pw().u32(ENDORSEMENT).u8(0));
        s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).pw().u8(1));
        let session = s.run(super::start_session(0, Hash::Sha256));
        s.run(cmd(cc::CONTEXT_SAVE).of(session));
        if let Some(kind) = shutdown {
            s.run(cmd(cc::SHUTDOWN).u16(kind));
        }
        s.step(Step::Init);
        s.run(cmd(cc::STARTUP).u16(startup));
        s.run(cmd(cc::STARTUP).u16(0));
        state(&mut s);
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(PLATFORM).pw().b2(b""));
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(PLATFORM).pwd(b"platform").b2(b""));
        s.run(cmd(cc::HIERARCHY_CONTROL).h(PLATFORM).pw().u32(ENDORSEMENT).u8(1));
    }
    // A command after Shutdown undoes what was kept.
    s.run(cmd(cc::SHUTDOWN).u16(1));
    s.run(cmd(cc::PCR_EXTEND).h(3).pw().u32(0));
    s.step(Step::Init);
    s.run(cmd(cc::STARTUP).u16(1));
    s.run(cmd(cc::STARTUP).u16(0));
    s.run(cmd(cc::SHUTDOWN).u16(1));
    s.run(cmd(cc::GET_RANDOM).u16(4));
    s.step(Step::Init);
    s.run(cmd(cc::STARTUP).u16(1));
    s.step(Step::Init);
    s.step(Step::Locality(3));
    s.run(cmd(cc::STARTUP).u16(0));
    s.step(Step::Locality(0));
    state(&mut s);
    s
}

fn self_tests() -> Seq {
    let mut s = Seq::new("self-test");
    s.run(cmd(cc::SELF_TEST).u8(1));
    s.run(cmd(cc::SELF_TEST).u8(0));
    s.run(cmd(cc::SELF_TEST).u8(2));
    s.run(cmd(cc::SELF_TEST));
    s.run(cmd(cc::GET_TEST_RESULT));
    s.run(cmd(cc::INCREMENTAL_SELF_TEST).u32(0));
    s.run(cmd(cc::INCREMENTAL_SELF_TEST).u32(2).u16(0xb).u16(6));
    s.run(cmd(cc::INCREMENTAL_SELF_TEST).u32(1).u16(0x99));
    s.run(cmd(cc::INCREMENTAL_SELF_TEST).u32(65).b([0, 0xb].repeat(65)));
    s.run(cmd(cc::INCREMENTAL_SELF_TEST).u32(2).u16(0xb));
    s
}

fn random() -> Seq {
    let mut s = Seq::new("random numbers");
    for size in [0, 1, 16, 32, 48, 64, 65, 0xffff] {
        s.run(cmd(cc::GET_RANDOM).u16(size));
    }
    for size in [0, 1, 127, 128, 129] {
        s.run(cmd(cc::STIR_RANDOM).b2(vec![5; size]));
    }
    s.run(cmd(cc::GET_RANDOM));
    s.run(cmd(cc::GET_RANDOM).u16(1).u8(0));
    s.run(cmd(cc::GET_RANDOM).pw().u16(1));
    s
}

fn capabilities() -> Seq {
    let mut s = Seq::new("capabilities");
    for capability in (0..=11).chain([0x100, 0x101, u32::MAX]) {
        for (property, count) in
            [(0, 0), (0, 1), (0, 5), (0, 1000), (1, 2), (0x100, 7), (0x11f, 3), (0xffff_ffff, 1)]
        {
            s.run(cmd(cc::GET_CAPABILITY).u32(capability).u32(property).u32(count));
        }
    }
    for group in [0x100, 0x120, 0x200, 0x207, 0x300] {
        s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(group).u32(127));
    }
    for property in 0x100..0x140 {
        s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(property).u32(1));
    }
    for property in 0x200..0x21f {
        s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(property).u32(1));
    }
    for kind in [0u32, 1, 2, 3, 0x40, 0x80, 0x81, 0x90, 0x05] {
        s.run(cmd(cc::GET_CAPABILITY).u32(1).u32(kind << 24).u32(64));
        s.run(cmd(cc::GET_CAPABILITY).u32(1).u32(kind << 24 | 7).u32(2));
    }
    for code in 0x11f..0x1a2 {
        s.run(cmd(cc::GET_CAPABILITY).u32(2).u32(code).u32(1));
    }
    for alg in 0..0x48 {
        s.run(cmd(cc::GET_CAPABILITY).u32(0).u32(alg).u32(1));
    }
    for code in [0x2000_0000, 0x0200_0000, 0x1_0000] {
        s.run(cmd(cc::GET_CAPABILITY).u32(2).u32(code).u32(3));
    }
    for curve in 0..0x22 {
        s.run(cmd(cc::ECC_PARAMETERS).u16(curve));
    }
    s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x100));
    s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x100).u32(1).u8(0));
    super::test_parms(&mut s);
    s
}

fn hierarchies() -> Seq {
    let mut s = Seq::new("hierarchies: authorization, policy, enables");
    for hierarchy in [OWNER, ENDORSEMENT, LOCKOUT, PLATFORM, NULL, 0x4000_0010, 0x4000_0001 + 1, 0]
    {
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(hierarchy).pw().b2(b"new\0\0"));
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(hierarchy).pw().b2(b""));
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(hierarchy).pwd(b"new").b2(b""));
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(hierarchy).b2(b""));
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(hierarchy).pw().b2([1; 65]));
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(hierarchy).pw().b2([1; 64]));
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(hierarchy).pwd(&[1; 64]).b2(b""));
        s.run(cmd(cc::SET_PRIMARY_POLICY).h(hierarchy).pw().b2([2; 32]).u16(0xb));
        s.run(cmd(cc::SET_PRIMARY_POLICY).h(hierarchy).pw().b2([2; 31]).u16(0xb));
        s.run(cmd(cc::SET_PRIMARY_POLICY).h(hierarchy).pw().b2([2; 32]).u16(0x10));
        s.run(cmd(cc::SET_PRIMARY_POLICY).h(hierarchy).pw().b2([]).u16(0x10));
        s.run(cmd(cc::SET_PRIMARY_POLICY).h(hierarchy).pw().b2([]).u16(0xb));
        s.run(cmd(cc::GET_CAPABILITY).u32(9).u32(hierarchy).u32(5));
        s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(2));
    }
    for auth in [OWNER, ENDORSEMENT, PLATFORM, LOCKOUT, NULL] {
        for (enable, state) in [
            (OWNER, 0),
            (OWNER, 1),
            (ENDORSEMENT, 0),
            (0x4000_000d, 0),
            (0x4000_000d, 1),
            (NULL, 0),
            (OWNER, 2),
        ] {
            s.run(cmd(cc::HIERARCHY_CONTROL).h(auth).pw().u32(enable).u8(state));
            s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x201).u32(1));
            s.run(cmd(cc::CREATE_PRIMARY).h(enable).pw());
        }
        s.run(cmd(cc::HIERARCHY_CONTROL).h(PLATFORM).pw().u32(ENDORSEMENT).u8(1));
    }
    s.run(cmd(cc::HIERARCHY_CONTROL).h(PLATFORM).pw().u32(PLATFORM).u8(0));
    s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(PLATFORM).pw().b2(b""));
    s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x201).u32(1));
    s
}

fn clear() -> Seq {
    let mut s = Seq::new("clear");
    for auth in [OWNER, ENDORSEMENT, NULL, LOCKOUT, PLATFORM] {
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).pw().b2(b"o"));
        s.run(cmd(cc::NV_DEFINE_SPACE).h(PLATFORM).pw().b2([]).b2(super::nv_public(
            0x0180_0001,
            0x4404_0001,
            8,
        )));
        s.run(cmd(cc::CLEAR).h(auth).pw());
        s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(64));
        s.run(cmd(cc::CLEAR_CONTROL).h(auth).pw().u8(1));
        s.run(cmd(cc::CLEAR_CONTROL).h(auth).pw().u8(2));
        s.run(cmd(cc::CLEAR).h(PLATFORM).pw());
        s.run(cmd(cc::CLEAR).h(LOCKOUT).pwd(b"wrong"));
        s.run(cmd(cc::CLEAR).h(LOCKOUT).pw());
        s.run(cmd(cc::CLEAR_CONTROL).h(auth).pw().u8(0));
        s.run(cmd(cc::CLEAR_CONTROL).h(PLATFORM).pw().u8(0));
        s.run(cmd(cc::READ_CLOCK));
    }
    s
}

fn lockout() -> Seq {
    let mut s = Seq::new("dictionary attack protection");
    let key = s.run(primary(
        OWNER,
        b"right",
        &ecc(
            FIXED_TPM | FIXED_PARENT | ORIGIN | USER_WITH_AUTH | SIGN,
            NONE,
            &scheme(ECDSA, Hash::Sha256),
        ),
    ));
    let free = s.run(primary(
        OWNER,
        b"right",
        &ecc(
            FIXED_TPM | FIXED_PARENT | ORIGIN | USER_WITH_AUTH | NO_DA | SIGN,
            NONE,
            &scheme(ECDSA, Hash::Sha256),
        ),
    ));
    let sign = |id, auth: &[u8]| {
        cmd(cc::SIGN).of(id).pwd(auth).b2([1; 32]).b(NONE).u16(0x8024).u32(NULL).b2([])
    };
    s.run(cmd(cc::DICTIONARY_ATTACK_PARAMETERS).h(OWNER).pw().u32(2).u32(1000).u32(1000));
    s.run(cmd(cc::DICTIONARY_ATTACK_PARAMETERS).h(LOCKOUT).pw().u32(2).u32(1000).u32(1000));
    for _ in 0..3 {
        s.run(sign(free, b"wrong"));
        s.run(sign(key, b"wrong"));
        s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(64));
    }
    s.run(sign(key, b"right"));
    s.run(sign(free, b"right"));
    s.run(cmd(cc::DICTIONARY_ATTACK_LOCK_RESET).h(OWNER).pw());
    s.run(cmd(cc::DICTIONARY_ATTACK_LOCK_RESET).h(LOCKOUT).pw());
    s.run(sign(key, b"right"));
    s.run(sign(key, b"wrong"));
    s.run(cmd(cc::DICTIONARY_ATTACK_LOCK_RESET).h(LOCKOUT).pwd(b"x"));
    s.run(cmd(cc::DICTIONARY_ATTACK_LOCK_RESET).h(LOCKOUT).pw());
    s.run(sign(key, b"right"));
    s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(64));
    s.run(cmd(cc::DICTIONARY_ATTACK_PARAMETERS).h(LOCKOUT).pw().u32(0).u32(0).u32(0));
    s.step(Step::Init);
    s.run(cmd(cc::STARTUP).u16(0));
    s.run(cmd(cc::DICTIONARY_ATTACK_LOCK_RESET).h(LOCKOUT).pw());
    s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(64));
    // A wrong password, then a crash: the failure counts at the next start.
    s.run(cmd(cc::DICTIONARY_ATTACK_PARAMETERS).h(LOCKOUT).pw().u32(1).u32(1000).u32(0));
    let key = s.run(primary(
        OWNER,
        b"right",
        &ecc(
            FIXED_TPM | FIXED_PARENT | ORIGIN | USER_WITH_AUTH | SIGN,
            NONE,
            &scheme(ECDSA, Hash::Sha256),
        ),
    ));
    s.run(sign(key, b"right"));
    s.step(Step::Init);
    s.run(cmd(cc::STARTUP).u16(0));
    s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(64));
    s
}

fn clocks() -> Seq {
    let mut s = Seq::new("clock");
    s.run(cmd(cc::READ_CLOCK));
    s.run(cmd(cc::READ_CLOCK).u8(0));
    s.run(cmd(cc::CLOCK_SET).h(OWNER).pw().u64(1 << 30));
    s.run(cmd(cc::CLOCK_SET).h(OWNER).pw().u64(1));
    s.run(cmd(cc::CLOCK_SET).h(PLATFORM).pw().u64(1 << 40));
    s.run(cmd(cc::CLOCK_SET).h(PLATFORM).pw().u64(0xffff_0000_0000_0000));
    s.run(cmd(cc::CLOCK_SET).h(PLATFORM).pw().u64(0xffff_0000_0000_0001));
    s.run(cmd(cc::CLOCK_SET).h(ENDORSEMENT).pw().u64(1 << 41));
    s.run(cmd(cc::CLOCK_SET).h(LOCKOUT).pw().u64(1 << 41));
    for rate in 0..=255 {
        s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).pw().u8(rate));
    }
    s.run(cmd(cc::CLOCK_RATE_ADJUST).h(ENDORSEMENT).pw().u8(0));
    s.run(cmd(cc::READ_CLOCK));
    s
}

fn drtm() -> Seq {
    let mut s = Seq::bare("D-RTM and H-CRTM");
    let read = |s: &mut Seq| {
        s.run(cmd(cc::PCR_READ).b(pcrs(Hash::Sha256, [1, 0, 0x83])));
        s.run(cmd(cc::PCR_READ).b(pcrs(Hash::Sha256, [0xfe, 0xff, 0x7c])));
        s.step(Step::Established);
    };
    for started in [false, true] {
        if started {
            s.step(Step::Init);
            s.run(cmd(cc::STARTUP).u16(0));
        }
        s.step(Step::Hash(HashOp::Start));
        s.step(Step::Hash(HashOp::Data(b"measured".to_vec())));
        s.step(Step::Hash(HashOp::Data(vec![9; 1000])));
        s.step(Step::Hash(HashOp::End));
        s.run(cmd(cc::STARTUP).u16(0));
        read(&mut s);
    }
    s.step(Step::ResetEstablished);
    s.step(Step::Established);
    s.step(Step::Locality(4));
    s.step(Step::ResetEstablished);
    s.step(Step::Established);
    for locality in 0..5 {
        s.step(Step::Locality(locality));
        for pcr in [0, 15, 16, 17, 20, 21, 22, 23] {
            s.run(cmd(cc::PCR_EXTEND).h(pcr).pw().u32(1).u16(0xb).b([locality; 32]));
            s.run(cmd(cc::PCR_RESET).h(pcr).pw());
        }
        read(&mut s);
    }
    s.step(Step::Locality(0));
    s.run(cmd(cc::SHUTDOWN).u16(1));
    s.step(Step::Init);
    s.run(cmd(cc::STARTUP).u16(1));
    read(&mut s);
    s
}

fn unknown_commands() -> Seq {
    let mut s = Seq::new("commands that are not there, and handles of all kinds");
    for code in (0x11f..0x1a8).chain([0, 0x100, 0x2000_0000, 0xffff_ffff]) {
        s.run(cmd(code));
        s.run(cmd(code).pw());
        s.run(cmd(code).u32(0));
        s.run(cmd(code).u32(NULL));
        s.run(cmd(code).u32(0x8000_0000));
        s.run(cmd(code).h(NULL).h(NULL).pw().b([0; 16]));
        s.run(cmd(code).h(OWNER).pw().b([0; 16]));
        s.run(cmd(code).h(0x8000_0000).h(0x8000_0001).pw().pw().b([0; 16]));
        s.run(cmd(code).h(0x8100_0000).pw());
        s.run(cmd(code).h(0x0180_0000).pw());
        s.run(cmd(code).h(0x0200_0000).pw());
        s.run(cmd(code).h(0x0300_0000).h(0x0300_0001));
        s.run(cmd(code).h(0x9000_0000));
        s.run(cmd(code).h(PLATFORM).pw().pw().pw().pw());
    }
    s
}

fn seeds() -> Seq {
    let mut s = Seq::new("hierarchies: new seeds");
    let public = ecc(STORAGE, AES128, NONE);
    for (code, hierarchy) in [(cc::CHANGE_EPS, ENDORSEMENT), (cc::CHANGE_PPS, PLATFORM)] {
        s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(ENDORSEMENT).pw().b2(b"e"));
        let key = s.run(primary(hierarchy, b"", &public));
        let owner = s.run(primary(OWNER, b"", &public));
        s.run(cmd(code).h(ENDORSEMENT).pw());
        s.run(cmd(code).h(PLATFORM).pwd(b"wrong"));
        s.run(cmd(code).h(PLATFORM).pw());
        s.run(cmd(cc::READ_PUBLIC).of(key));
        s.run(cmd(cc::READ_PUBLIC).of(owner));
        s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(64));
        flush(&mut s, owner);
        s.run(primary(hierarchy, b"", &public));
    }
    s
}

fn presence() -> Seq {
    let mut s = Seq::new("physical presence, algorithm set, field upgrade");
    s.run(cmd(cc::PP_COMMANDS).h(PLATFORM).pw().u32(1).u32(0x126).u32(0));
    s.run(cmd(cc::PP_COMMANDS).h(OWNER).pw().u32(0).u32(0));
    s.run(cmd(cc::GET_CAPABILITY).u32(3).u32(0).u32(100));
    s.run(cmd(cc::SET_ALGORITHM_SET).h(PLATFORM).pw().u32(5));
    s.run(cmd(cc::SET_ALGORITHM_SET).h(OWNER).pw().u32(5));
    s.run(cmd(cc::SET_ALGORITHM_SET).h(PLATFORM).auth(password(b"no")).u32(5));
    s.run(cmd(cc::GET_CAPABILITY).u32(6).u32(0x200).u32(64));
    s
}
