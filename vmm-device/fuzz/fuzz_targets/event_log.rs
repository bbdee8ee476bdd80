//! An event log that holds anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm_device::event_log::{ParsedLog, SoftwareDigests};

fuzz_target!(|data: &[u8]| {
    if let Ok(log) = ParsedLog::parse(data) {
        assert!(log.length <= data.len());
        let _ = log.replay(&SoftwareDigests);
        assert_eq!(ParsedLog::parse(&data[..log.length]).as_ref(), Ok(&log));
    }
});
