//! Runs sequences, collects and explains differences, makes them small.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::cc;
use crate::differences;
use crate::run::{Difference, ENGINE, ORACLE, Outcome, Rig, Run, Verdict, hex, rc_name};
use crate::sides::DIED;
use crate::step::{Id, Seq, Step};

/// An unexplained difference, the first of its kind.
pub(crate) struct Finding {
    pub(crate) sequence: String,
    pub(crate) count: u64,
    pub(crate) text: String,
    place: &'static str,
    steps: Vec<Step>,
    at: Id,
    /// Whether it came again on new TPMs; random bytes can make a difference that means nothing.
    pub(crate) confirmed: bool,
    /// What was sent and answered.
    first: String,
    report: String,
}

/// Counts and findings of a whole run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) undecided: u64,
    pub(crate) undecided_texts: BTreeMap<String, u64>,
    pub(crate) skipped: u64,
    pub(crate) explained: BTreeMap<&'static str, u64>,
    /// The same by command, place and codes: where a rule explains more than it should, it shows.
    pub(crate) explained_texts: BTreeMap<(&'static str, String), u64>,
    pub(crate) findings: BTreeMap<String, Finding>,
    /// The shortest successful command of each kind, as the engine got it.
    pub(crate) seeds: BTreeMap<u32, Vec<u8>>,
    /// swtpm's response codes by command.
    pub(crate) codes: BTreeMap<(u32, u32), u64>,
}

/// How often a finding is tried to be seen again.
const REPLAYS: usize = 4;

/// What a step did to the run.
pub(crate) enum Effect {
    /// The TPMs are in the same state.
    Together,
    /// One succeeded where the other did not, or one is in failure mode.
    Apart,
}

impl Report {
    /// Takes note of a step's verdict.
    pub(crate) fn note(
        &mut self,
        name: &str,
        steps: &[Step],
        verdict: Verdict,
        outcome: Option<&Outcome>,
    ) -> Effect {
        if let Some(outcome) = outcome {
            *self.codes.entry((outcome.code, outcome.rc[ORACLE])).or_default() += 1;
            if outcome.rc[ENGINE] == 0 {
                let sent = &outcome.sent[ENGINE];
                let seed = self.seeds.entry(outcome.code).or_insert_with(|| sent.clone());
                if sent.len() < seed.len() {
                    seed.clone_from(sent);
                }
            }
        }
        match verdict {
            Verdict::Same => self.passed += 1,
            Verdict::Skipped => self.skipped += 1,
            Verdict::Undecided => {
                self.undecided += 1;
                if let Some(outcome) = outcome {
                    let [a, b, c] = outcome.rc.map(rc_name);
                    let text = format!("{}: {a}, {b}; {c}", cc::name(outcome.code));
                    *self.undecided_texts.entry(text).or_default() += 1;
                    return apart(outcome);
                }
            }
            Verdict::Different(found) => {
                self.differences(name, steps, &found, outcome);
                return outcome.map_or(Effect::Together, apart);
            }
        }
        Effect::Together
    }

    fn differences(
        &mut self,
        name: &str,
        steps: &[Step],
        found: &[Difference],
        outcome: Option<&Outcome>,
    ) {
        let mut failed = false;
        for difference in found {
            if let Some(rule) = outcome.and_then(|o| differences::explain(o, difference)) {
                *self.explained.entry(rule.reason).or_default() += 1;
                let text = outcome.map(|o| {
                    let [expected, _, got] = o.rc.map(rc_name);
                    format!("{}, {}: {expected}, {got}", cc::name(o.code), difference.place)
                });
                let text = text.unwrap_or_default();
                *self.explained_texts.entry((rule.reason, text)).or_default() += 1;
                continue;
            }
            failed = true;
            let command = outcome.map_or("control channel".to_owned(), |o| cc::name(o.code));
            // Bytes differ from run to run: the place is enough to tell two findings apart.
            let key = match difference.place {
                "code" | "panic" => format!("{command}: {}", difference.text),
                place => format!("{command}: {place}"),
            };
            let finding = self.findings.entry(key).or_insert_with(|| Finding {
                sequence: name.to_owned(),
                count: 0,
                text: format!("{command}: {}", difference.text),
                place: difference.place,
                steps: steps.to_vec(),
                at: steps.len() - 1,
                confirmed: true,
                first: outcome.map(exchange).unwrap_or_default(),
                report: String::new(),
            });
            finding.count += 1;
        }
        if failed {
            self.failed += 1;
        } else {
            self.passed += 1;
        }
    }

    /// Makes each finding small and describes it.
    pub(crate) fn minimize(&mut self, rig: &mut Rig, most: usize) -> Result<()> {
        let budget = std::time::Duration::from_secs(60);
        let begun = std::time::Instant::now();
        for finding in self.findings.values_mut().take(most) {
            if begun.elapsed() > budget {
                break;
            }
            finding.minimize(rig)?;
            if !finding.confirmed {
                self.failed = self.failed.saturating_sub(finding.count);
                self.undecided += finding.count;
            }
        }
        Ok(())
    }

    pub(crate) fn print(&self) {
        let mut findings: Vec<&Finding> = self.findings.values().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.count));
        for finding in findings {
            let what = if finding.confirmed { "DIFFERENT" } else { "different once, never again" };
            println!("{what} ({} times) {}", finding.count, shorten(&finding.text, 400));
            println!("  in \"{}\", step {}", finding.sequence, finding.at);
            print!("{}", finding.report);
        }
        for (text, count) in &self.undecided_texts {
            println!("undecided ({count} times) {}", shorten(text, 200));
        }
        for (reason, count) in &self.explained {
            println!("intended ({count} times): {reason}");
        }
    }
}

fn shorten(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let head: String = text.chars().take(most).collect();
    format!("{head}... ({} characters)", text.len())
}

fn apart(outcome: &Outcome) -> Effect {
    let [oracle, control, engine] = outcome.rc;
    let same_effect = (oracle == 0) == (engine == 0) && (oracle == 0) == (control == 0);
    let failed = outcome.in_failure_mode[ORACLE] != outcome.in_failure_mode[ENGINE];
    let died = outcome.rc.contains(&DIED);
    if same_effect && !failed && !died { Effect::Together } else { Effect::Apart }
}

/// Runs a written sequence to its end: a step after which the TPMs are in different states is left
/// out and the sequence begins again.
pub(crate) fn run_sequence(rig: &mut Rig, seq: &Seq, report: &mut Report) -> Result<()> {
    let mut left_out = BTreeSet::new();
    let mut noted = 0;
    'again: for _ in 0..40 {
        let mut run = Run::fresh(rig)?;
        for (id, step) in seq.steps.iter().enumerate() {
            if left_out.contains(&id) {
                run.outcomes.push(None);
                continue;
            }
            let verdict = run.step(step)?;
            if id < noted {
                continue;
            }
            noted = id + 1;
            let mut steps = seq.steps[..=id].to_vec();
            left_out.iter().filter(|out| **out < id).for_each(|out| steps[*out] = Step::Nothing);
            let effect = report.note(&seq.name, &steps, verdict, run.outcomes[id].as_ref());
            if matches!(effect, Effect::Apart) {
                left_out.insert(id);
                continue 'again;
            }
        }
        break;
    }
    Ok(())
}

/// Runs the steps on new TPMs; the last one's differences.
fn replay(rig: &mut Rig, steps: &[Step]) -> Result<(Option<Outcome>, Vec<Difference>)> {
    let mut run = Run::fresh(rig)?;
    let mut last = Vec::new();
    for step in steps {
        last = match run.step(step)? {
            Verdict::Different(found) => found,
            _ => Vec::new(),
        };
    }
    Ok((run.outcomes.pop().flatten(), last))
}

impl Finding {
    fn shows(&self, rig: &mut Rig, steps: &[Step], place: &str) -> Result<bool> {
        let (outcome, found) = replay(rig, steps)?;
        Ok(found.iter().any(|difference| {
            difference.place == place
                && outcome.as_ref().is_none_or(|o| differences::explain(o, difference).is_none())
        }))
    }

    fn minimize(&mut self, rig: &mut Rig) -> Result<()> {
        let place = self.place;
        let mut shown = false;
        for _ in 0..REPLAYS {
            shown = shown || self.shows(rig, &self.steps.clone(), place)?;
        }
        if !shown {
            self.confirmed = place == "panic";
            self.report.clone_from(&self.first);
            return Ok(());
        }
        // First only what the last step needs, and starts; then all, cut down by halves.
        let mut steps = self.steps.clone();
        let needed = closure(&steps);
        let lone: Vec<Step> = (steps.iter().enumerate())
            .map(|(id, step)| if needed.contains(&id) { step.clone() } else { Step::Nothing })
            .collect();
        if self.shows(rig, &lone, place)? {
            steps = lone;
        }
        let mut size = steps.len() / 2;
        let mut attempts = 0;
        while size > 0 && attempts < 150 {
            let mut at = 0;
            while at + 1 < steps.len() && attempts < 150 {
                let mut fewer = steps.clone();
                let end = (at + size).min(steps.len() - 1);
                if fewer[at..end].iter().any(|step| !matches!(step, Step::Nothing)) {
                    fewer[at..end].fill(Step::Nothing);
                    attempts += 1;
                    if self.shows(rig, &fewer, place)? {
                        steps = fewer;
                    }
                }
                at += size;
            }
            size /= 2;
        }
        self.describe(rig, &steps)
    }

    fn describe(&mut self, rig: &mut Rig, steps: &[Step]) -> Result<()> {
        let mut run = Run::fresh(rig)?;
        let mut out = String::new();
        for (id, step) in steps.iter().enumerate() {
            let verdict = run.step(step)?;
            let Some(outcome) = &run.outcomes[id] else {
                if !matches!(step, Step::Nothing | Step::Command(_)) {
                    out += &format!("  - {step:?}\n");
                }
                continue;
            };
            if id + 1 < steps.len() {
                out += &format!("  - {} {}\n", cc::name(outcome.code), hex(&outcome.sent[ENGINE]));
            } else {
                out += &exchange(outcome);
                if let Verdict::Different(found) = verdict {
                    for difference in found {
                        out += &format!("    {}: {}\n", difference.place, difference.text);
                    }
                }
            }
        }
        self.report = out;
        Ok(())
    }
}

/// A command and its answers, in hexadecimal.
fn exchange(outcome: &Outcome) -> String {
    let answer = |side: usize| format!("{} {}", rc_name(outcome.rc[side]), hex(&outcome.got[side]));
    format!(
        "  - {} {}\n    swtpm:  {}\n    engine: {}\n",
        cc::name(outcome.code),
        hex(&outcome.sent[ENGINE]),
        answer(ORACLE),
        answer(ENGINE)
    )
}

/// The steps that the last one needs, itself and the starts among them.
fn closure(steps: &[Step]) -> BTreeSet<Id> {
    let mut needed = BTreeSet::new();
    let mut open = vec![steps.len() - 1];
    for (id, step) in steps.iter().enumerate() {
        if matches!(step, Step::Command(command) if command.code == cc::STARTUP) {
            open.push(id);
        }
    }
    while let Some(id) = open.pop() {
        if needed.insert(id)
            && let Some(step) = steps.get(id)
        {
            open.extend(step.needs());
        }
    }
    needed
}
