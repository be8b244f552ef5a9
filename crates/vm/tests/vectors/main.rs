//! What instructions do: `testdata/vectors.txt`, made by asking the kernel, replayed on the interpreter.
//!
//! A form is one instruction, or the few that it takes to see what one does; a vector is a form with what it finds and what
//! it leaves. [`forms`] states what is asked, [`oracle`] asks the kernel, [`replay`] the interpreter. `testdata/vectors.txt`
//! holds the kernel's answers, so that everyone can compare; where BPF can be loaded, a test asks again.
//!
//! After a change of [`forms`]: `SKLOOKUP_WRITE_VECTORS=1 cargo test -p sklookup-vm --test vectors`, as root.

mod conformance;
mod coverage;
mod file;
mod forms;
mod oracle;
mod plugin;
mod replay;
mod tail_calls;

use sklookup_testbed::{Trial, kernel_trial, plain_trial};

fn main() {
    // Bytes in memory lie the other way round than where the vectors were made.
    let elsewhere = cfg!(target_endian = "big");
    let replayed: [(&str, fn()); 3] = [
        ("the_interpreter_does_what_the_kernel_does", replay::on_a_map_value),
        ("memory_on_the_stack_is_as_in_a_map", replay::on_the_stack),
        ("the_plugin_prints_what_vectors_say", plugin::prints_what_vectors_say),
    ];
    let plain: [(&str, fn()); 9] = [
        ("what_linux_refuses_is_refused", replay::refused_as_linux_does),
        ("every_instruction_that_decodes_has_a_vector", coverage::every_shape),
        ("what_has_no_vector_is_refused_by_name", coverage::the_rest_is_refused),
        ("every_group_of_bpf_conformance_has_vectors_at_each_version", coverage::every_group),
        ("the_plugin_takes_memory_before_and_after_options", plugin::takes_memory_before_and_after_options),
        ("the_plugin_calls_by_register", plugin::calls_by_register),
        ("the_plugin_says_what_is_wrong_and_fails", plugin::says_what_is_wrong_and_fails),
        ("the_file_has_just_what_is_asked", file::has_what_is_asked),
        ("the_file_reads_back_as_it_was_written", file::round_trip),
    ];
    let mut trials: Vec<Trial> =
        replayed.map(|(name, test)| plain_trial(name, test).with_ignored_flag(elsewhere)).into();
    trials.extend(plain.map(|(name, test)| plain_trial(name, test)));
    trials.push(
        kernel_trial("the_kernel_still_answers_so", |_| oracle::agrees_with_the_file()).with_ignored_flag(elsewhere),
    );
    trials.push(kernel_trial("tail_calls_are_as_in_the_kernel", |_| tail_calls::are_as_in_the_kernel()));
    sklookup_testbed::main(trials)
}
