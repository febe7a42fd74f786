//! The cases, by name. Each starts workers of its own and leaves nothing behind.

mod dying;
mod greeting;
mod loading;
mod regions;
mod running;

use std::pin::Pin;

use crate::{CaseResult, Subject};

/// One promise, and how it is checked.
#[derive(Debug)]
pub struct Case {
    /// The promise.
    pub name: &'static str,
    pub(crate) run: for<'a> fn(&'a Subject) -> Running<'a>,
}

type Running<'a> = Pin<Box<dyn Future<Output = CaseResult> + 'a>>;

macro_rules! cases {
    ($($module:ident: $($name:ident)+;)+) => {
        /// Every case that is run against a worker process.
        pub const CASES: &[Case] =
            &[$($(Case { name: stringify!($name), run: |subject| Box::pin($module::$name(subject)) }),+),+];
    };
}

cases! {
    greeting:
        the_probe_names_runtime_and_formats
        the_handshake_tells_what_the_probe_tells
        another_version_is_refused
        a_message_that_makes_no_sense_ends_the_worker
        a_device_of_another_kind_is_refused
        options_that_make_no_sense_are_refused;
    loading:
        a_model_is_loaded_with_its_signature
        a_broken_file_is_refused_and_the_worker_lives
        a_file_that_cannot_be_read_is_refused
        a_truncated_file_kills_nobody
        an_unloaded_session_is_not_run
        unloading_frees_what_loading_took;
    running:
        known_inputs_give_known_outputs
        the_times_told_fit_in_the_time_taken
        two_sessions_take_turns
        many_requests_reuse_their_buffers
        outputs_larger_than_expected_arrive
        outputs_nobody_wants_are_left_out
        empty_tensors_come_through
        inputs_that_do_not_fit_are_refused_and_the_worker_lives
        outputs_outlive_their_request
        a_decoupled_model_responds_many_times
        a_request_is_cancelled_while_it_runs
        a_cancel_that_comes_late_harms_nobody
        a_ping_is_answered_while_a_request_runs
        two_lanes_run_at_once;
    regions:
        a_clients_memory_is_read_and_written_in_place
        a_clients_memory_may_begin_anywhere
        an_output_over_an_input_is_refused
        an_output_that_does_not_fit_its_region_is_refused
        a_region_that_shrank_is_refused;
    dying:
        stop_ends_the_worker_whatever_it_does
        a_killed_worker_is_reported_at_once
        a_dropped_worker_leaves_no_process
        a_worker_without_a_daemon_leaves;
}
