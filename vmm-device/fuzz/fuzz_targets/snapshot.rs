//! A snapshot that holds anything: refused, or a device that works and saves itself again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm_device::{
    NoEvents, Polled, RegisterModel,
    crb::{Crb, CrbConfig, CrbState, InMemoryBuffer},
    ppi::{self, Ppi},
    tis::{Tis, TisConfig, TisState},
};

fn use_it(model: &mut impl RegisterModel) {
    let _ = model.resume();
    let _ = model.complete(&[0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0]);
    for offset in (0..0x5000).step_by(4) {
        model.read(offset, &mut [0; 4]);
        let _ = model.write(offset, &[0x42; 4]);
    }
}

fuzz_target!(|data: &[u8]| {
    if let Ok(state) = TisState::from_bytes(data)
        && let Ok(mut tis) = Tis::restore(TisConfig::default(), Polled, NoEvents, &state)
    {
        assert_eq!(tis.save(), state);
        use_it(&mut tis);
        let again = tis.save();
        assert!(Tis::restore(TisConfig::default(), Polled, NoEvents, &again).is_ok());
    }
    if let Ok(state) = CrbState::from_bytes(data) {
        let config = CrbConfig { interrupts: true, ..Default::default() };
        let buffer = InMemoryBuffer::default();
        if let Ok(mut crb) = Crb::restore(config, buffer, Polled, NoEvents, &state) {
            use_it(&mut crb);
            assert!(crb.save().is_ok());
        }
    }
    if let Ok(ppi) = Ppi::restore(InMemoryBuffer::new(ppi::SIZE), data) {
        assert!(ppi.pending().is_ok());
    }
});
