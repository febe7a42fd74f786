//! What of a runtime is well and what is not: both are said, since one that cannot drive the GPU may drive the processor.

use super::Check;
use super::machine::{Hardware, Machine, Runtime};

pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    machine.runtimes.iter().map(|runtime| check(runtime, &machine.hardware)).collect()
}

fn check(runtime: &Runtime, hardware: &[Hardware]) -> Check {
    let name = format!("runtime:{}", runtime.runtime);
    let runs = format!("runs {}", runtime.model_file);
    let Some(program) = &runtime.program else {
        // Nobody needs all of them: whether one is missed, the hardware says.
        let why = runtime.problem.as_deref().unwrap_or_default();
        return Check::ok(name, format!("not installed ({runs}): {why}"));
    };
    let version = runtime.version.as_deref().unwrap_or("of unknown version");
    let is = format!("{version}, {runs}");
    let drives: Vec<_> = hardware.iter().filter(|one| runtime.drives(one)).map(Hardware::shown).collect();
    let drives = drives.join(", ");
    let advice = || runtime.remedy.clone().unwrap_or_else(|| without_remedy(runtime));
    let Some(problem) = &runtime.problem else {
        let drives = match (runtime.made_for().is_empty(), drives.is_empty()) {
            (true, _) => "stands in for hardware, and drives none".to_owned(),
            (false, true) => format!("there is no {} here for it to drive", runtime.made_for().join(" or ")),
            (false, false) => format!("drives {drives}"),
        };
        return Check::ok(name, format!("{is}; {drives}; {program}"));
    };
    if !drives.is_empty() {
        let finding = format!("{is}; drives {drives}, but: {problem}; {program}");
        return Check::warn(name, finding, format!("{}; what it drives is not affected", advice()));
    }
    let finding = format!("{is}; it drives nothing here: {problem}; {program}");
    // Of what it is made for nothing may be here anyway.
    let is_missed = hardware.iter().any(|one| runtime.made_for().contains(&one.kind()));
    let of = |grade: fn(String, String, String) -> Check| grade(name, finding, advice());
    if is_missed || runtime.is_built_in() { of(Check::fail) } else { of(Check::warn) }
}

fn without_remedy(runtime: &Runtime) -> String {
    let page = match runtime.is_built_in() {
        true => return "install the daemon anew".to_owned(),
        false => format!("runtimes/{}/README.md", runtime.runtime),
    };
    format!("mend that ({page} says what it needs), or remove the runtime")
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::super::machine::examples::{hardware, not_installed, runtime};
    use super::*;

    #[test]
    fn what_works_and_what_does_not_are_both_said() {
        let here = [hardware("cpu"), hardware("nvidia:0")];
        let torch = runtime("torch", &["cpu"], Some("gpu: libcuda.so.1 is not there"));
        let said = check(&torch, &here);
        assert_eq!(said.grade, Grade::Warn);
        for part in ["lib 7.1", "model.torch", "drives cpu (it)", "libcuda.so.1", "/usr/lib/edgemux/"] {
            assert!(said.finding.contains(part), "{part}: {said:?}");
        }
        let said = check(&runtime("torch", &["cpu", "gpu"], None), &here);
        assert_eq!((said.grade, said.advice), (Grade::Ok, None));
        assert!(said.finding.contains("drives cpu (it), nvidia:0 (it)"), "{}", said.finding);
    }

    #[test]
    fn a_broken_runtime_fails_where_there_is_hardware_for_it() {
        let broken = runtime("edgetpu", &[], Some("libedgetpu.so.1 is not there"));
        assert_eq!(check(&broken, &[hardware("cpu"), hardware("coral-usb:1-2")]).grade, Grade::Fail);
        let said = check(&broken, &[hardware("cpu")]);
        assert_eq!(said.grade, Grade::Warn, "nothing is missed here");
        assert!(said.finding.contains("libedgetpu.so.1 is not there"), "{said:?}");
        let of_remedy = Runtime { remedy: Some("do this".into()), ..broken };
        assert_eq!(check(&of_remedy, &[hardware("cpu")]).advice.unwrap(), "do this");
        let built_in = check(&runtime("onnx", &[], Some("broken")), &[hardware("cpu")]);
        assert_eq!(
            (built_in.grade, built_in.advice.unwrap().as_str()),
            (Grade::Fail, "install the daemon anew")
        );
    }

    #[test]
    fn a_runtime_that_is_not_installed_or_has_nothing_to_drive_is_no_fault() {
        let said = check(&not_installed("tflite"), &[hardware("cpu")]);
        assert!(said.grade == Grade::Ok && said.finding.contains("in none of"), "{said:?}");
        let said = check(&runtime("edgetpu", &["edgetpu"], None), &[hardware("cpu")]);
        assert!(said.grade == Grade::Ok && said.finding.contains("no edgetpu here"), "{said:?}");
        let said = check(&runtime("emulator", &["gpu"], None), &[hardware("nvidia:0")]);
        assert!(said.grade == Grade::Ok && said.finding.contains("stands in"), "{said:?}");
    }
}
