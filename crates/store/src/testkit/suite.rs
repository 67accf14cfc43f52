//! The list of all contracts.

/// Makes one test of every contract: `store::conformance!(Folder::new());`
///
/// The expression is evaluated anew in each test and gives a [`Reopen`](crate::testkit::Reopen) over an
/// empty database. The calling crate needs `tokio` with its test macro.
#[macro_export]
macro_rules! conformance {
    ($place:expr) => {
        $crate::conformance! { @suite $place;
            units: [
                a_unit_that_fails_leaves_nothing,
                a_unit_sees_its_own_writes,
                units_at_once_are_each_kept_whole_or_undone_whole,
                a_panic_ends_only_its_own_unit,
                a_read_sees_one_moment,
                a_write_is_seen_by_every_later_read,
                queued_units_run_in_order_though_nobody_waits,
                closing_finishes_what_is_queued_and_refuses_the_rest,
            ];
            foresight: [
                what_is_foreseen_changes_no_answer,
            ];
            log: [
                an_empty_log_has_bounds,
                every_durable_event_comes_back_whole,
                an_event_that_is_not_durable_is_refused,
                pages_of_the_log_are_in_order,
                cursors_are_contiguous_and_announced_in_order_under_load,
                pruning_removes_the_oldest_and_never_reuses_a_cursor,
                pruning_leaves_no_hole,
                an_undone_pruning_removes_nothing,
                the_events_of_a_run_are_found_by_its_id_alone,
            ];
            sessions: [
                a_session_comes_back_whole_and_is_replaced_by_its_key,
                lists_are_newest_first_in_pages,
                lists_are_filtered,
                ephemeral_sessions_are_never_listed,
                idle_sessions_are_told_oldest_first,
                deleting_takes_everything_of_the_session_and_nothing_else,
            ];
            messages: [
                a_message_comes_back_whole,
                each_transcript_counts_from_one,
                an_id_is_taken_once,
                pages_are_cut_from_the_newest,
                messages_of_a_run_include_the_one_it_answers,
                the_first_user_text_is_found,
                a_summary_takes_the_place_of_the_head,
                the_head_is_removed,
                a_message_goes_over_to_another_transcript,
                clearing_can_keep_system_messages,
                what_came_behind_is_told_while_the_beginning_stands,
                token_estimates_add_up,
            ];
            search: [
                all_words_must_occur_in_any_case,
                search_is_confined_to_agent_session_and_roles,
                hostile_text_is_only_text,
                better_matches_come_first_within_the_limit,
                removed_messages_are_not_found,
                snippets_are_short_and_show_the_word,
            ];
            runs: [
                a_run_comes_back_whole_in_every_state,
                a_run_id_is_taken_once_and_an_unknown_run_is_not_updated,
                only_an_unfinished_run_is_gone_on_with,
                unfinished_runs_come_in_the_order_of_acceptance,
                recent_runs_come_newest_first,
                inputs_wait_in_order_until_cleared,
                tool_calls_keep_their_order_and_are_replaced_in_place,
            ];
            tokens: [
                a_token_comes_back_whole_and_is_found_by_its_hash,
                a_hash_belongs_to_one_token,
                tokens_are_listed_newest_first,
                old_tokens_are_pruned,
            ];
            facts: [
                a_fact_comes_back_whole,
                one_agent_has_a_fact_once,
                facts_are_listed_newest_first,
            ];
            documents: [
                a_document_comes_back_whole_and_is_replaced,
                documents_are_listed_by_kind_in_order_of_id,
                deleting_tells_whether_there_was_one,
            ];
            kept: [
                what_is_kept_comes_back_whole_and_is_replaced,
                the_oldest_go_by_age_number_and_size,
            ];
            nodes: [
                a_node_comes_back_whole_and_its_next_life_replaces_it,
                a_removed_node_writes_nothing,
                a_run_is_gone_on_with_by_its_owner_alone,
                orphans_are_unfinished_runs_of_nodes_that_are_gone,
                a_session_belongs_to_whoever_runs_or_holds_it,
                a_claim_is_granted_once,
            ];
            reopening: [
                everything_is_there_after_closing,
                everything_is_there_after_dropping,
                cursors_go_on_where_they_were,
            ];
        }
    };
    (@suite $place:expr; $($module:ident: [$($contract:ident),* $(,)?];)*) => {
        $(
            mod $module {
                #[allow(unused_imports, reason = "the expression may use names of the caller")]
                use super::*;

                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $contract() {
                        let place = $place;
                        $crate::testkit::$module::$contract(&place).await;
                    }
                )*
            }
        )*
    };
}
