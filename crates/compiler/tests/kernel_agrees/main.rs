//! The compiled program answers as `decide()` does: on the real hook, for each strategy, with and without CAP_PERFMON.

mod agree;
mod cases;
mod deliver;
mod extremes;
mod live;
mod random;
mod rights;

use sklookup_compiler::Strategy;
use sklookup_testbed::kernel_trial;

fn main() {
    let mut trials = Vec::new();
    for strategy in [Strategy::Branches, Strategy::Hash] {
        for hardened in [false, true] {
            let how = if hardened { "_without_cap_perfmon" } else { "" };
            let mut add = |name: &str, test: fn(Strategy)| {
                trials.push(kernel_trial(&format!("{strategy}::{name}{how}"), move |_| {
                    if hardened {
                        rights::drop_perfmon();
                    }
                    test(strategy);
                }));
            };
            add("random_packets_get_what_decide_says", agree::random_packets);
            add("every_member_of_a_label_is_tried_in_order", deliver::members_in_order);
            add("an_empty_label_does_what_its_binding_says", deliver::empty_label);
            add("a_socket_that_cannot_be_selected_is_counted_by_reason", deliver::faults);
            add("an_empty_policy_passes_everything", deliver::empty_policy);
            add("counters_shared_by_cpus_count_the_same", agree::random_packets_with_shards);
            if strategy == Strategy::Hash {
                add("counters_that_share_a_value_count_the_same", agree::random_packets_with_pages);
                add("every_prefix_length_with_every_condition_is_loaded", extremes::every_length);
                add("lists_as_long_as_they_get_are_searched", extremes::long_lists);
                add("ten_thousand_bindings_and_labels", extremes::many);
            }
        }
        trials.push(kernel_trial(&format!("{strategy}::the_cases_of_the_definition_hold"), move |sandbox| {
            cases::decide(strategy, sandbox);
        }));
        trials.push(kernel_trial(&format!("{strategy}::random_packets_over_interfaces"), move |sandbox| {
            agree::interfaces(strategy, sandbox);
        }));
        trials.push(kernel_trial(
            &format!("{strategy}::an_earlier_selection_is_left_so_and_counted"),
            move |sandbox| {
                deliver::already_selected(strategy, sandbox);
            },
        ));
    }
    sklookup_testbed::main(trials)
}
