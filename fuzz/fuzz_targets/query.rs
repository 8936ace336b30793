//! A line that `electra predict` and the page are asked, and the settings that the page sends.
#![no_main]

use electra::finetune::FinetuneOptions;
use electra::query::Input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    let _ = Input::from_line(line, "line 1");
    if let Ok(value) = serde_json::from_str(line)
        && let Ok(options) = FinetuneOptions::from_json(value)
        && options.config.check().is_ok()
    {
        let _ = options.config.steps(&[7, 0, 30]);
    }
});
