//! The promises of hotrun, each kept from outside: the real program, real projects, real clients.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that can't do its work fails the test it works for"
)]

mod common;

mod a_debugger_is_not_interrupted;
mod a_doctor_says_what_to_mend;
mod a_hundred_reloads_refuse_nobody;
mod a_page_instead_of_silence;
mod a_person_chooses_the_target;
mod a_random_day_ends_well;
mod a_service_manager_is_told;
mod a_target_has_one_hotrun;
mod a_terminal_has_keys_and_a_status_line;
mod activation_is_accepted;
mod all_of_the_program_is_pinned;
mod an_address_in_use_is_explained;
mod an_idle_hotrun_costs_little;
mod browsers_reload_after_live;
mod cargo_is_the_users_own;
mod clients_may_wait_for_the_next_version;
mod config_edits_apply_live;
mod crash_after_swap_rolls_back;
mod crash_at_start_keeps_live;
mod ctl_is_never_early;
mod ctrl_c_leaves_no_orphans;
mod defects_of_hotrun_are_survived;
mod editors_are_led_to_the_errors;
mod edits_are_found_without_events;
mod every_save_is_seen;
mod failed_build_keeps_live;
mod faults_of_processes_lose_no_client;
mod faults_on_the_disk_cost_no_answer;
mod file_names_have_any_bytes;
mod handover_learns;
mod hooks_run_around_the_app;
mod hostile_apps_are_replaced;
mod hotrun_may_be_init;
mod init_writes_what_is_read;
mod it_documents_itself;
mod no_refused_connection_during_swap;
mod odd_programs_are_answered;
mod once_is_a_smoke_test;
mod only_the_program_is_built;
mod plain_output_without_terminal;
mod readiness_is_proved_as_configured;
mod ready_timeout_keeps_old;
mod remembered_addresses_are_kept;
mod requests_end_before_the_stop_signal;
mod requests_in_flight_finish;
mod rules_choose_the_reaction;
mod saves_become_one_build;
mod several_services_side_by_side;
mod sigkill_leaves_nothing;
mod signals_mean_what_they_mean_elsewhere;
mod sockets_of_every_kind;
mod stopped_candidates_are_recognised;
mod the_app_is_started_as_by_cargo_run;
mod the_app_may_have_the_terminal;
mod the_background_is_followed;
mod the_clock_may_be_set;
mod the_first_build_waits_for_nothing;
mod the_last_save_wins;
mod the_log_file_has_every_line;
mod the_switch_is_atomic;
mod tidy;
mod unread_output_is_bounded;
mod verify_tells_what_a_client_saw;
mod what_cargo_can_do_works;
mod what_is_not_held_is_said;
mod what_the_app_listens_on_is_held;
mod windows_keeps_its_promises;
mod without_cargo_the_program_is_the_same;
mod workers_never_run_twice;
mod wrong_inputs_say_what_to_do;
