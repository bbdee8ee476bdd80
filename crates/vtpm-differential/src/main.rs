//! Sends the same commands to the engine and to swtpm and compares the answers.

#![allow(dead_code, reason = "while it grows")]

mod cc;
mod client;
mod crypto;
mod decode;
mod differences;
mod keys;
mod run;
mod scenarios;
mod sides;
mod step;
mod templates;

use anyhow::Result;
use run::{Rig, Run, Verdict};

fn main() -> Result<()> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut rig = Rig::start()?;
    let mut known = std::collections::BTreeMap::<String, (u64, String)>::new();
    for seq in scenarios::all() {
        let mut run = Run::fresh(&mut rig)?;
        let mut counts = [0; 4];
        for (id, step) in seq.steps.iter().enumerate() {
            match run.step(step)? {
                Verdict::Same => counts[0] += 1,
                Verdict::Skipped => counts[1] += 1,
                Verdict::Undecided => {
                    counts[2] += 1;
                    let o = run.outcomes[id].as_ref().unwrap();
                    println!("undecided {} {:x?}", cc::name(o.code), o.rc);
                }
                Verdict::Different(d) => {
                    counts[3] += 1;
                    let text = match run.outcomes[id].as_ref() {
                        Some(o) => format!("{} {}: {}", cc::name(o.code), d.place, d.text),
                        None => d.text.clone(),
                    };
                    let sent = run.outcomes[id].as_ref().map(|o| run::hex(&o.sent[2])).unwrap_or_default();
                    let e = known.entry(text.chars().take(200).collect()).or_insert((0, format!("{} step {id}: {sent}", seq.name)));
                    e.0 += 1;
                }
            }
        }
        println!("{}: same {} skipped {} undecided {} different {}", seq.name, counts[0], counts[1], counts[2], counts[3]);
    }
    for (text, (n, first)) in known {
        println!("{n:5} {text}\n        {first}");
    }
    println!("{} commands", rig.commands);
    Ok(())
}
